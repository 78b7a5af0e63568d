//! `pcs booth`: `booth.conf` of this host (or of an instance, or one of one's own) and its tickets, the resources that run a site's
//! daemon, and by way of booth's own command what runs and who has which ticket. What runs on other hosts is theirs.

mod daemon;
mod files;

use super::report::{Report, quoted};
use super::unable;
use crate::edit::{self, NewPrimitive, edit, error, pair};
use crate::grammar::Line;
use crate::source::{Failure, Source};
use std::path::{Path, PathBuf};
use xml::Element;

/// Where booth looks for its files.
const DIR: &str = "/etc/booth";
/// An option that some releases need for the key to count, and others do not know.
const ENABLE_AUTHFILE: &str = "enable-authfile";
const MAX_BYTES: u64 = 1024 * 1024;
const TICKET: [&str; 9] = [
    "acquire-after",
    "attr-prereq",
    "before-acquire-handler",
    "expire",
    "mode",
    "renewal-freq",
    "retries",
    "timeout",
    "weights",
];

/// One of the daemons that may run on a host: `--name`, or the files that `--booth-conf` and `--booth-key` say.
pub struct Instance {
    name: String,
    conf: PathBuf,
    key: PathBuf,
}

impl Instance {
    fn of(line: &Line) -> Result<Instance, Failure> {
        let name = line.value("--name").unwrap_or("booth");
        if name.contains('/') || name.is_empty() {
            return Err(unable(&[format!("booth name '{name}' is not valid, it cannot contain '/' characters")]));
        }
        let beside = |option: &str, end: &str| {
            line.value(option).map_or_else(|| Path::new(DIR).join(format!("{name}.{end}")), PathBuf::from)
        };
        Ok(Instance { name: name.to_owned(), conf: beside("--booth-conf", "conf"), key: beside("--booth-key", "key") })
    }
}

pub fn run(source: &Source, line: &Line, words: &[&str]) -> Result<String, Failure> {
    let at = Instance::of(line)?;
    match words {
        ["config"] => Ok(read(&at.conf)?),
        ["ticket", "list"] => Ok(tickets(&read(&at.conf)?).map(|(_, name)| format!("{name}\n")).collect()),
        ["ticket", "add", ticket, options @ ..] => {
            let new = with_ticket(&read(&at.conf)?, ticket, options, Report::of(line))?;
            write(&at.conf, &new)
        }
        ["ticket", "remove" | "delete", ticket] => {
            let new = without_ticket(&read(&at.conf)?, ticket)?;
            write(&at.conf, &new)
        }
        ["ticket", verb @ ("grant" | "revoke"), ticket, site @ ..] => daemon::ticket(source, &at, verb, ticket, site),
        ["create", "ip", address] => create(source, &at, address),
        ["remove" | "delete"] => remove(source, &at),
        ["setup", peers @ ..] => files::setup(&at, line, peers),
        ["destroy"] => files::destroy(source, &at, line),
        ["status"] => daemon::status(&at),
        ["restart"] => daemon::restart(source, &at, line),
        [verb @ ("start" | "stop" | "enable" | "disable")] => daemon::service(&at, verb),
        ["enable-authfile"] => write(&at.conf, &with_authfile(&read(&at.conf)?, true)),
        ["clean-enable-authfile"] => write(&at.conf, &with_authfile(&read(&at.conf)?, false)),
        ["config" | "pull" | "sync", ..] => Err(error(format!(
            "what is on other hosts is copied by hand: scp -p {0} {1} HOST:{DIR}/ (and the other way round), with the key readable by \
             its owner alone",
            at.conf.display(),
            at.key.display()
        ))),
        _ => Err(error(format!("unknown command 'booth {}' (see: pcs booth help)", words.join(" ")))),
    }
}

/// With the option, before the tickets, or without it.
fn with_authfile(text: &str, on: bool) -> String {
    let kept = text.lines().filter(|line| setting(line).is_none_or(|(name, _)| name != ENABLE_AUTHFILE));
    let own = on.then(|| format!("{ENABLE_AUTHFILE} = yes\n"));
    own.into_iter().chain(kept.map(|line| format!("{line}\n"))).collect()
}

fn read(path: &Path) -> Result<String, Failure> {
    let shown = path.display();
    let bytes = kernel::files::read_regular(path, MAX_BYTES).map_err(|e| {
        let why = match e.kind() {
            std::io::ErrorKind::NotFound => "No such file or directory".to_owned(),
            _ => e.to_string(),
        };
        unable(&[format!("Unable to read Booth configuration '{shown}': {why}: '{shown}'")])
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn write(path: &Path, text: &str) -> Result<String, Failure> {
    replace(path, text.as_bytes(), 0o644)?;
    Ok(String::new())
}

fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let failed = |e: std::io::Error| error(format!("Unable to write {}: {e}", path.display()));
    kernel::files::replace(path, bytes, mode).map_err(failed)
}

/// `NAME = VALUE` of a line, without quotes.
fn setting(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    (!line.trim_start().starts_with('#')).then(|| (name.trim(), value.trim().trim_matches('"')))
}

/// Tickets with the numbers of the lines that they begin in.
fn tickets(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter_map(|(at, line)| match setting(line) {
        Some(("ticket", name)) => Some((at, name)),
        _ => None,
    })
}

fn with_ticket(text: &str, ticket: &str, options: &[&str], mut report: Report) -> Result<String, Failure> {
    let pairs = options.iter().map(|w| pair(w)).collect::<Result<Vec<_>, _>>()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if ticket.is_empty() || !ticket.chars().all(plain) {
        report
            .error(format!("booth ticket name '{ticket}' is not valid, use up to 63 alphanumeric characters or dash"));
    }
    if tickets(text).any(|(_, name)| name == ticket) {
        report.error(format!("booth ticket name '{ticket}' already exists in configuration"));
    }
    let odd: Vec<&str> = pairs.iter().map(|(n, _)| n.as_str()).filter(|n| !TICKET.contains(n)).collect();
    if !odd.is_empty() {
        let word = if odd.len() == 1 { "option" } else { "options:" };
        let allowed = quoted(TICKET.iter().copied());
        report.forceable(&format!("invalid booth ticket {word} {}, allowed options are: {allowed}", quoted(odd)));
    }
    for (name, value) in &pairs {
        if value.trim().is_empty() || value.chars().any(char::is_control) {
            report.error(format!("'{}' is not a valid {name} value", value.escape_default()));
        }
    }
    let mode = pairs.iter().find(|(n, _)| n == "mode").map(|(_, v)| v.to_lowercase());
    if mode.as_deref().is_some_and(|m| !["auto", "manual"].contains(&m)) {
        report.forceable(&format!("'{}' is not a valid mode value, use 'auto', 'manual'", mode.unwrap_or_default()));
    }
    report.done()?;
    let mut out = text.trim_end().to_owned() + "\n";
    out += &format!("ticket = \"{ticket}\"\n");
    pairs.iter().for_each(|(name, value)| out += &format!("  {name} = {value}\n"));
    Ok(out)
}

/// The ticket's line and those of its options, up to the next ticket.
fn without_ticket(text: &str, ticket: &str) -> Result<String, Failure> {
    let all: Vec<(usize, &str)> = tickets(text).collect();
    let Some(index) = all.iter().position(|(_, name)| *name == ticket) else {
        return Err(unable(&[format!("booth ticket name '{ticket}' does not exist")]));
    };
    let (from, to) = (all[index].0, all.get(index + 1).map_or(usize::MAX, |(at, _)| *at));
    let kept = text.lines().enumerate().filter(|(at, _)| !(from..to).contains(at));
    Ok(kept.map(|(_, line)| format!("{line}\n")).collect())
}

/// The site's address and its daemon, as a group; refused where the file is not there.
fn create(source: &Source, at: &Instance, address: &str) -> Result<String, Failure> {
    read(&at.conf)?;
    let (name, conf) = (&at.name, at.conf.display().to_string());
    edit(source, |configuration| {
        if !instances(configuration, &at.conf).is_empty() {
            return Err(unable(&[format!("booth instance '{name}' is already created as cluster resource")]));
        }
        let group = format!("booth-{name}-group");
        let mut members = Vec::new();
        for (what, agent, param) in [
            ("ip", "ocf:heartbeat:IPaddr2", ("ip", address)),
            ("service", "ocf:pacemaker:booth-site", ("config", &conf)),
        ] {
            let id = format!("booth-{name}-{what}");
            edit::needs_free_id(configuration, &id)?;
            let operations = crate::agents::describe(agent).map(|d| d.operations()).unwrap_or_default();
            let params = vec![(param.0.to_owned(), param.1.to_owned())];
            let new = NewPrimitive { id: &id, agent, params, meta: Vec::new(), operations }.element()?;
            configuration.child_or_insert("resources").push(new);
            members.push(id);
        }
        edit::group_add(configuration, &group, &members)?;
        Ok(String::new())
    })
}

/// Services of that file.
fn instances(configuration: &Element, conf: &Path) -> Vec<String> {
    let conf = conf.to_str();
    let resources = configuration.child("resources").into_iter().flat_map(Element::descendants);
    let is = |e: &&Element| {
        let config = e.descendants().any(|p| p.attr("name") == Some("config") && p.attr("value") == conf);
        e.name() == "primitive" && e.attr("type") == Some("booth-site") && config
    };
    resources.filter(is).filter_map(Element::id).map(str::to_owned).collect()
}

fn remove(source: &Source, at: &Instance) -> Result<String, Failure> {
    edit(source, |configuration| {
        let found = instances(configuration, &at.conf);
        if found.is_empty() {
            return Err(unable(&[format!("booth instance '{}' not found in cib", at.name)]));
        }
        for id in found {
            let ip = id.strip_suffix("-service").map(|stem| format!("{stem}-ip"));
            let ip = ip.filter(|ip| edit::find_resource(configuration, ip).is_some());
            for gone in ip.into_iter().chain([id]) {
                edit::delete_resource(configuration, &gone)?;
                kernel::errln!("Deleting Resource - {gone}");
            }
        }
        Ok(String::new())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# two sites\nsite = 10.0.0.1\nticket = \"T1\"\n  expire = 600\n# of T2\nticket=T2\n";

    #[test]
    fn tickets_come_and_go_and_all_else_stays() {
        let report = || Report::of(&Line::default());
        let new = with_ticket(FILE, "T3", &["retries=5"], report()).expect("sound");
        assert_eq!(new, format!("{FILE}ticket = \"T3\"\n  retries = 5\n"));
        let less = without_ticket(&new, "T2").expect("there");
        assert_eq!(
            less,
            "# two sites\nsite = 10.0.0.1\nticket = \"T1\"\n  expire = 600\n# of T2\nticket = \"T3\"\n  retries = 5\n"
        );
        for (ticket, option, why) in [
            ("T1", "expire=1", "already exists"),
            ("T 4", "expire=1", "is not valid"),
            ("T4", "a=b", "option 'a'"),
            ("T4", "mode=x", "'auto'"),
        ] {
            let failure = with_ticket(FILE, ticket, &[option], report()).expect_err(why);
            assert!(failure.message.contains(why), "{}", failure.message);
        }
        assert!(without_ticket(FILE, "T9").is_err());
    }
}
