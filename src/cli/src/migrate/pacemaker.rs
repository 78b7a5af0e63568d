//! A corosync + Pacemaker node, running or not: `corosync.conf`, the CIB, the files of its directors, and what is set in sysconfig.

use super::report::{Place, Report};
use super::{Made, Wanted};
use crate::appliance::cf;
use crate::edit::{self, error};
use crate::pcs::setup::section;
use crate::source::Failure;
use base::exit::crm;
use regex::Regex;
use std::path::{Path, PathBuf};
use xml::Element;

const MAX_BYTES: u64 = 64 * 1024 * 1024;
const CONF: &str = "etc/corosync/corosync.conf";
const CIB: &str = "var/lib/pacemaker/cib/cib.xml";
const DIRECTOR: &str = "etc/ha.d/ldirectord.cf";
const SYSCONFIG: [&str; 2] = ["etc/sysconfig", "etc/default"];
/// Keys that Pacemaker and the set-up tools write by themselves.
const WRITTEN: [&str; 5] =
    ["cluster-infrastructure", "cluster-name", "dc-version", "have-watchdog", "last-lrm-refresh"];
/// What a key of sysconfig becomes.
const KEYS: [(&str, &str); 12] = [
    ("PCMK_logfile", "logging { logfile } of corosync.conf"),
    ("PCMK_debug", "logging { debug } of corosync.conf"),
    ("PCMK_logfacility", "logging { syslog_facility } of corosync.conf"),
    ("PCMK_logpriority", "logging { syslog_priority } of corosync.conf"),
    ("PCMK_fail_fast", "a member that cannot follow stops anyway"),
    ("PCMK_ipc_buffer", "has no counterpart: requests are bounded otherwise"),
    ("PCMK_schema_directory", "schemas are in the program"),
    ("PCMK_panic_action", "stonith-watchdog-timeout and the watchdog"),
    ("SBD_DEVICE", "stays in sbd's own file: Debian's sbd runs beside the node"),
    ("SBD_PACEMAKER", "no: sbd watches the disk, the node has the watchdog"),
    ("SBD_WATCHDOG_DEV", "resources { watchdog_device } of corosync.conf"),
    ("SBD_WATCHDOG_TIMEOUT", "resources { watchdog_timeout } of corosync.conf"),
];

pub fn migrate(root: &Path, wanted: &Wanted, report: &mut Report) -> Result<Made, Failure> {
    let mut made = Made::default();
    let conf = root.join(CONF);
    made.files.push(("corosync.conf".to_owned(), corosync(&conf, report)?));
    let path = wanted.cib.clone().unwrap_or_else(|| root.join(CIB));
    let root_element = cib(&path, report)?;
    let directors = directors(&root_element);
    for file in &directors {
        let at = root.join(file.strip_prefix("/").unwrap_or(file));
        if let Some(text) = director(&at, report)? {
            let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            made.files.push((name, text));
        }
    }
    made.files.push(("cib.xml".to_owned(), root_element.to_pretty() + "\n"));
    for dir in SYSCONFIG {
        for name in ["pacemaker", "corosync", "sbd", "ldirectord"] {
            sysconfig(&root.join(dir).join(name), report);
        }
    }
    Ok(made)
}

fn read(path: &Path) -> Result<String, Failure> {
    let bytes = kernel::files::read_regular(path, MAX_BYTES);
    let bytes = bytes.map_err(|e| Failure::new(crm::NOINPUT, format!("{}: {e}", path.display())))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The file as it may run here: what the node would refuse is cured where the cure is plain.
fn corosync(path: &Path, report: &mut Report) -> Result<String, Failure> {
    let text = read(path)?;
    let shown = path.display().to_string();
    let line = |key: &str| {
        let at = text.lines().position(|l| l.trim_start().starts_with(key));
        Place::new(&shown, at.map_or(0, |n| n as u32 + 1))
    };
    let mut conf = section(&text).map_err(|why| Failure::new(crm::DATAERR, format!("{shown}: {why}")))?;
    for gone in ["service", "aisexec", "uidgid", "amf"] {
        if conf.remove_section(gone) {
            report.differs(&line(gone), gone, "left out: the section has no meaning any more");
        }
    }
    let totem = conf.section_mut("totem");
    if totem.value("transport").is_some_and(|t| t != "knet") {
        report.differs(&line("transport"), "transport", "knet: links are sealed, and each has heartbeats");
        totem.set("transport", "knet");
        totem.remove_section("interface");
    }
    let open = totem.value("secauth") == Some("off") || totem.value("crypto_cipher").is_none_or(|c| c == "none");
    if open {
        let at = if totem.value("secauth").is_some() { line("secauth") } else { line("totem") };
        report.differs(
            &at,
            "secauth, crypto",
            "crypto_cipher: aes256, crypto_hash: sha256; the key: bascule corosync-keygen, copied to all",
        );
        totem.remove("secauth");
        totem.set("crypto_cipher", "aes256");
        totem.set("crypto_hash", "sha256");
    }
    if totem.value("token").is_some() {
        report.differs(
            &line("token:"),
            "token",
            "kept: without it a dead node is noticed after 120 ms, with it after the token",
        );
    }
    report.maps(&line("nodelist"), "nodelist", format!("{} nodes, as they are", conf.nodes().count()));
    let new = conf.text();
    checked(&new, &shown, report)?;
    Ok(new)
}

/// What the node says of the file that is written.
fn checked(text: &str, shown: &str, report: &mut Report) -> Result<(), Failure> {
    let dir = scratch()?;
    let file = dir.join("corosync.conf");
    let run = || -> std::io::Result<std::process::Output> {
        std::fs::write(&file, text)?;
        let program = std::env::current_exe()?;
        let mut command = std::process::Command::new(program);
        // Without the key, which is none of this: it is told apart below.
        command.args(["node", "--check", "--json", "--config"]).arg(&file).output()
    };
    let out = run();
    let _ = std::fs::remove_dir_all(&dir);
    let out = out.map_err(|e| error(format!("the new corosync.conf cannot be checked: {e}")))?;
    let value: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
    let place = Regex::new(r"^[^:]*:(\d+)").map_err(|e| error(e.to_string()))?;
    for told in value["findings"].as_array().into_iter().flatten().filter_map(|f| f.as_str()) {
        let told = told.replace(&file.display().to_string(), "the new corosync.conf");
        let line = place.captures(&told).and_then(|c| c[1].parse().ok()).unwrap_or(0);
        let at = Place::new(&format!("{shown}, as it is written"), line);
        // Of this host and its key others know better.
        let here = told.contains("authkey") || told.contains("this host") || told.contains("no node of");
        match told.contains(": refused:") && !here {
            true => report.cannot(&at, "corosync.conf", told),
            false => report.differs(&at, "corosync.conf", told),
        }
    }
    Ok(())
}

fn scratch() -> Result<PathBuf, Failure> {
    let dir = std::env::temp_dir().join(format!("bascule-migrate-{}", std::process::id()));
    kernel::files::private_dir(&dir).map_err(|e| error(format!("{}: {e}", dir.display())))?;
    Ok(dir)
}

/// The configuration alone: status is of the cluster that was.
fn cib(path: &Path, report: &mut Report) -> Result<Element, Failure> {
    let text = read(path)?;
    let shown = path.display().to_string();
    let mut root = xml::parse(&text).map_err(|e| Failure::new(crm::DATAERR, format!("{shown}: {e}")))?;
    if root.name() != "cib" {
        return Err(Failure::new(crm::DATAERR, format!("{shown}: expected a document <cib>, found <{}>", root.name())));
    }
    let problems = cib::schema::verify(&root);
    for problem in &problems {
        let at = Place::new(&shown, problem.line);
        match problem.severity {
            cib::Severity::Error => report.cannot(&at, &problem.path, problem.message.clone()),
            _ => report.differs(&at, &problem.path, problem.message.clone()),
        }
    }
    root.retain_elements(|e| e.name() != "status");
    root.push(Element::new("status"));
    let at = |e: &Element| Place::new(&shown, e.line());
    let Some(configuration) = root.child_mut("configuration") else {
        return Err(Failure::new(crm::DATAERR, format!("{shown}: there is no configuration")));
    };
    if let Some(properties) = configuration.child_mut("crm_config") {
        for set in properties.elements_mut() {
            for pair in crate::nvpairs::written(set).filter(|p| p.attr("name").is_some_and(|n| WRITTEN.contains(&n))) {
                report.differs(&at(pair), pair.attr("name").unwrap_or_default(), "left out: it is written anew");
            }
            set.retain_elements(|p| !p.attr("name").is_some_and(|n| WRITTEN.contains(&n)));
        }
    }
    for e in configuration.descendants() {
        element(e, &at(e), report);
    }
    Ok(root)
}

fn element(e: &Element, at: &Place, report: &mut Report) {
    let id = e.id().unwrap_or_default();
    match e.name() {
        "primitive" => {
            let agent = edit::agent_of(e);
            let what = format!("{} {id} ({agent})", e.name());
            match agent.as_str() {
                "ocf:pacemaker:remote" => report.differs(
                    at,
                    &what,
                    "as it is; on the host 'bascule remote' or pacemaker-remoted, with a key of at most 512 bytes",
                ),
                _ if crate::agents::native_document(&agent).is_some() => {
                    report.maps(at, &what, "as it is, by the agent in the program")
                }
                _ if edit::agent_is_there(&agent) => report.maps(at, &what, "as it is, by the agent that is installed"),
                _ => report.differs(
                    at,
                    &what,
                    "as it is; the agent is not installed on this host: it has to be on every node",
                ),
            }
        }
        "bundle" => report.cannot(
            at,
            &format!("bundle {id}"),
            "bundles are not run here: run the container as a resource of its own, or what is in it",
        ),
        "rsc_location" | "rsc_order" | "rsc_colocation" | "rsc_ticket" | "group" | "clone" | "master" | "template"
        | "alert" | "fencing-level" | "acl_role" | "acl_target" | "tag" => {
            report.maps(at, &format!("{} {id}", e.name()), "as it is")
        }
        _ if crate::nvpairs::names(e, "remote-node") => report.differs(
            at,
            "remote-node",
            "as it is; in the guest 'bascule remote' or pacemaker-remoted, with a key of at most 512 bytes",
        ),
        _ => {}
    }
}

/// Of the cluster's directors, else the usual one.
fn directors(root: &Element) -> Vec<PathBuf> {
    let of = root.descendants().filter(|e| e.name() == "primitive" && e.attr("type") == Some("ldirectord"));
    let mut files: Vec<PathBuf> = of
        .map(|e| {
            let named = e.descendants().find(|p| p.attr("name") == Some("configfile")).and_then(|p| p.attr("value"));
            PathBuf::from(named.map_or_else(|| format!("/{DIRECTOR}"), str::to_owned))
        })
        .collect();
    files.sort();
    files.dedup();
    files
}

/// Taken as it is; what a director says of it is told.
fn director(path: &Path, report: &mut Report) -> Result<Option<String>, Failure> {
    let shown = path.display().to_string();
    let text = match kernel::files::read_regular(path, MAX_BYTES) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(e) => {
            report.cannot(&Place::new(&shown, 0), "ldirectord.cf", format!("cannot be read: {e}"));
            return Ok(None);
        }
    };
    match ::ldirectord::config::parse(&text, &mut ::ldirectord::config::System::default()) {
        Ok(accepted) => {
            for v in &accepted.config.virtuals {
                let what = format!("virtual, {} real servers", v.reals.len());
                report.maps(&Place::new(&shown, v.line), &what, "as it is");
            }
            for w in &accepted.warnings {
                report.differs(
                    &Place::new(&shown, w.line),
                    &w.found,
                    format!("{} {}", w.expected, w.cure).trim().to_owned(),
                );
            }
        }
        Err(refused) => {
            for e in &refused.errors {
                report.cannot(
                    &Place::new(&shown, e.line),
                    &e.found,
                    format!("expected {} {}", e.expected, e.cure).trim().to_owned(),
                );
            }
        }
    }
    if cf::read(&text).is_err() {
        report.cannot(&Place::new(&shown, 0), "ldirectord.cf", "a director would refuse the file: see above");
    }
    Ok(Some(text))
}

/// Shell lines `KEY=VALUE`.
fn sysconfig(path: &Path, report: &mut Report) {
    let Ok(bytes) = kernel::files::read_regular(path, MAX_BYTES) else { return };
    let shown = path.display().to_string();
    for (number, line) in (1..).zip(String::from_utf8_lossy(&bytes).lines()) {
        let line = line.trim().trim_start_matches("export ");
        let Some((key, value)) = line.split_once('=').filter(|(k, _)| !k.starts_with('#') && !k.is_empty()) else {
            continue;
        };
        if value.trim_matches('"').is_empty() {
            continue;
        }
        let at = Place::new(&shown, number);
        match KEYS.iter().find(|(k, _)| *k == key) {
            Some((_, becomes)) => report.differs(&at, key, *becomes),
            None => report.cannot(&at, key, "no counterpart is known: see 'bascule node --help' and corosync.conf"),
        }
    }
}
