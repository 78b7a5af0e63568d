//! `pcs quorum device`: the arbitrator's section in this host's corosync.conf. The file is edited here alone; it says what is left
//! to do, since no daemon of pcs carries it to the others.

use crate::source::Failure;
use base::exit::crm;
use std::fmt::Write as _;
use std::path::PathBuf;

const MAX_BYTES: u64 = 1024 * 1024;
const GENERIC: &[&str] = &["timeout", "sync_timeout"];
const NET: &[&str] = &[
    "host",
    "port",
    "algorithm",
    "tls",
    "tie_breaker",
    "connect_timeout",
    "force_ip_version",
    "keep_active_partition_tie_breaker",
];
const HEURISTICS: &[&str] = &["mode", "timeout", "sync_timeout", "interval"];
/// What excludes a device, and so goes with it.
const BESIDE: &[&str] = &["two_node", "auto_tie_breaker", "auto_tie_breaker_node", "last_man_standing"];

fn error(text: impl Into<String>) -> Failure {
    Failure::new(crm::ERROR, format!("Error: {}", text.into()))
}

pub fn device(words: &[&str]) -> Result<(String, i32), Failure> {
    let edited = |edit: &dyn Fn(&str) -> Result<String, Failure>| {
        let file =
            std::env::var_os("COROSYNC_MAIN_CONFIG_FILE").map_or("/etc/corosync/corosync.conf".into(), PathBuf::from);
        let failed = |e: std::io::Error| error(format!("{}: {e}", file.display()));
        let old = kernel::files::read_regular(&file, MAX_BYTES).map_err(failed)?;
        let new = edit(&String::from_utf8_lossy(&old))?;
        kernel::files::replace(&file, new.as_bytes(), 0o644).map_err(failed)?;
        let name = file.display();
        let text = format!("{name} is changed. Copy it to every node, then run on one of them: corosync-cfgtool -R\n");
        Ok((text, crm::OK))
    };
    match words {
        ["status", ..] => {
            let status: wire::api::QuorumStatus = crate::client::Client::from_env().get("/v1/quorum")?;
            let node: wire::api::NodeStatus = crate::client::Client::from_env().get("/v1/status")?;
            let device = status.device.as_ref().ok_or_else(|| error("no quorum device is set up"))?;
            let full = words.contains(&"--full");
            Ok((crate::corosync::device_text(&status, &node, device, full), crm::OK))
        }
        ["add", rest @ ..] => {
            let section = section(rest)?;
            edited(&|old| match named(old, "device") {
                Some(_) => Err(error("quorum device is already defined")),
                None => insert(&without_beside(old), &section),
            })
        }
        ["remove" | "delete"] => edited(&|old| {
            let (from, to) =
                named(old, "device").ok_or_else(|| error("no quorum device is defined in this cluster"))?;
            Ok(lines_without(old, from, to))
        }),
        ["heuristics", "remove" | "delete"] => edited(&|old| {
            let (from, to) = named(old, "heuristics").ok_or_else(|| error("no heuristics are defined"))?;
            Ok(lines_without(old, from, to))
        }),
        _ => Err(error(
            "expected status, add [OPTIONS] model net host=HOST algorithm=ffsplit|lms [OPTIONS] [heuristics mode=on exec_NAME=…], \
             remove, or heuristics remove",
        )),
    }
}

/// The lines of `device {}` from the words of `add`.
fn section(words: &[&str]) -> Result<String, Failure> {
    let model = words.iter().position(|w| *w == "model").ok_or_else(|| error("expected `model net`"))?;
    let (generic, rest) = words.split_at(model);
    let [_, "net", rest @ ..] = rest else { return Err(error("the model has to be net")) };
    let split = rest.iter().position(|w| *w == "heuristics").unwrap_or(rest.len());
    let (net, heuristics) = rest.split_at(split);
    let pairs = |words: &[&str], known: &[&str]| -> Result<Vec<(String, String)>, Failure> {
        let pair = |word: &&str| {
            let (key, value) =
                word.split_once('=').ok_or_else(|| error(format!("missing value of '{word}' option")))?;
            let program = known == HEURISTICS && key.starts_with("exec_");
            if !program && !known.contains(&key) {
                return Err(error(format!("invalid quorum device option '{key}', allowed: {}", known.join(", "))));
            }
            if value.is_empty() || value.chars().any(char::is_control) || value.contains(['{', '}']) {
                return Err(error(format!("'{value}' is not a valid {key} value")));
            }
            Ok((key.to_owned(), value.to_owned()))
        };
        words.iter().map(pair).collect()
    };
    let (generic, net) = (pairs(generic, GENERIC)?, pairs(net, NET)?);
    let heuristics = pairs(heuristics.get(1..).unwrap_or_default(), HEURISTICS)?;
    let value = |name: &str| net.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str());
    for required in ["host", "algorithm"] {
        if value(required).is_none() {
            return Err(error(format!("required quorum device model option '{required}' is missing")));
        }
    }
    let mut out = String::from("    device {\n        model: net\n");
    if value("algorithm") == Some("ffsplit") {
        out += "        votes: 1\n";
    }
    let lines = |pairs: &[(String, String)], indent: &str| {
        pairs.iter().fold(String::new(), |all, (key, value)| format!("{all}{indent}{key}: {value}\n"))
    };
    out += &lines(&generic, "        ");
    for (name, pairs) in [("net", &net), ("heuristics", &heuristics)] {
        if !pairs.is_empty() {
            let _ = writeln!(out, "        {name} {{");
            out += &lines(pairs, "            ");
            out += "        }\n";
        }
    }
    Ok(out + "    }\n")
}

/// First and last line of the section of this name within quorum {}.
fn named(text: &str, name: &str) -> Option<(usize, usize)> {
    let mut path: Vec<(String, usize)> = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('#') {
        } else if let Some(opened) = line.strip_suffix('{') {
            path.push((opened.trim().to_owned(), n));
        } else if line == "}" {
            let (closed, from) = path.pop()?;
            if closed == name && path.first().is_some_and(|(outer, _)| outer == "quorum") {
                return Some((from, n));
            }
        }
    }
    None
}

fn lines_without(text: &str, from: usize, to: usize) -> String {
    let kept = text.lines().enumerate().filter(|(n, _)| !(from..=to).contains(n));
    kept.fold(String::new(), |out, (_, line)| out + line + "\n")
}

/// What a device excludes, taken out of quorum {}.
fn without_beside(text: &str) -> String {
    let mut depth = Vec::new();
    let mut out = String::new();
    for line in text.lines() {
        let bare = line.trim();
        let key = bare.split_once(':').map(|(k, _)| k.trim()).unwrap_or_default();
        if !bare.starts_with('#') {
            if let Some(opened) = bare.strip_suffix('{') {
                depth.push(opened.trim());
            } else if bare == "}" {
                depth.pop();
            } else if depth == ["quorum"] && BESIDE.contains(&key) {
                continue;
            }
        }
        out += line;
        out.push('\n');
    }
    out
}

/// Before the end of quorum {}.
fn insert(text: &str, section: &str) -> Result<String, Failure> {
    let mut depth: Vec<&str> = Vec::new();
    let mut out = String::new();
    let mut done = false;
    for line in text.lines() {
        let bare = line.trim();
        if !bare.starts_with('#') {
            if let Some(opened) = bare.strip_suffix('{') {
                depth.push(opened.trim());
            } else if bare == "}" {
                if depth == ["quorum"] && !done {
                    out += section;
                    done = true;
                }
                depth.pop();
            }
        }
        out += line;
        out.push('\n');
    }
    if done { Ok(out) } else { Err(error("corosync.conf has no section quorum {}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "totem {\n    version: 2\n}\nquorum {\n    provider: corosync_votequorum\n    # two_node: 0\n    two_node: 1\n}\nlogging {\n}\n";

    #[test]
    fn a_device_goes_in_and_comes_out_and_what_excludes_it_goes() {
        let words = "model net host=arb algorithm=ffsplit heuristics mode=on exec_ping=/bin/true";
        let device = section(&words.split(' ').collect::<Vec<_>>()).expect("sound");
        let new = insert(&without_beside(FILE), &device).expect("a quorum section");
        let wanted = "    # two_node: 0\n    device {\n        model: net\n        votes: 1\n        net {\n            host: arb\n            algorithm: ffsplit\n        }\n        heuristics {\n            mode: on\n            exec_ping: /bin/true\n        }\n    }\n}\nlogging {\n";
        assert!(new.contains(wanted) && !new.contains("    two_node: 1"), "{new}");
        let (from, to) = named(&new, "heuristics").expect("there");
        assert!(!lines_without(&new, from, to).contains("exec_ping"));
        let (from, to) = named(&new, "device").expect("there");
        assert_eq!(lines_without(&new, from, to), without_beside(FILE));
        assert!(named(FILE, "device").is_none());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (words, said) in [
            ("host=a", "expected `model net`"),
            ("model disk", "has to be net"),
            ("model net algorithm=lms", "'host' is missing"),
            ("model net host=a", "'algorithm' is missing"),
            ("model net host=a algorithm=lms colour=red", "invalid quorum device option 'colour'"),
            ("model net host=a{ algorithm=lms", "not a valid host value"),
            ("votes=3 model net host=a algorithm=lms", "invalid quorum device option 'votes'"),
        ] {
            let failure = section(&words.split(' ').collect::<Vec<_>>()).expect_err(words);
            assert!(failure.message.contains(said), "{words}: {}", failure.message);
        }
        assert!(insert("totem {\n}\n", "").is_err());
    }
}
