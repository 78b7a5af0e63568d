//! `pcs booth status|start|stop|enable|disable|restart` and tickets that are granted: by way of booth's own command, of its unit, and
//! of the cluster's resources.

use super::{Instance, instances};
use crate::edit::{self, error};
use crate::grammar::Line;
use crate::pcs::unable;
use crate::source::{Failure, Source};
use std::path::Path;
use std::process::{Command, Output};
use xml::Element;

/// What `booth status` ends with where no daemon runs.
const NOT_RUNNING: i32 = 7;

fn booth(words: &[&str]) -> Result<Output, Failure> {
    Command::new("booth").args(words).output().map_err(|e| {
        let cure = match e.kind() {
            std::io::ErrorKind::NotFound => " (install booth: apt install booth-pacemaker)",
            _ => "",
        };
        error(format!("unable to run booth: {e}{cure}"))
    })
}

/// What it wrote: errors first.
fn said(out: &Output) -> String {
    let lines = [&out.stderr, &out.stdout].map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
    lines.into_iter().filter(|t| !t.is_empty()).collect::<Vec<_>>().join("\n")
}

/// Tickets, peers and daemon, each under its title.
pub fn status(at: &Instance) -> Result<String, Failure> {
    if !at.conf.exists() {
        return Err(unable(&[format!(
            "there is no booth configuration '{}' here: pcs booth setup makes one, or it is copied from another site",
            at.conf.display()
        )]));
    }
    let mut text = String::new();
    for (verb, title, what) in
        [("list", "TICKETS:", "tickets"), ("peers", "PEERS:", "peers"), ("status", "DAEMON STATUS:", "daemon")]
    {
        let out = booth(&[verb, "-c", &at.name])?;
        let idle = verb == "status" && out.status.code() == Some(NOT_RUNNING);
        if !out.status.success() && !idle {
            return Err(unable(&[format!(
                "unable to get status of booth {what}: {} (is booth running here? pcs booth start, or pcs booth create ip)",
                said(&out)
            )]));
        }
        let shown = String::from_utf8_lossy(&out.stdout);
        if !shown.is_empty() {
            text += &format!("{title}\n{shown}\n");
        }
    }
    Ok(text)
}

/// `grant` and `revoke`, at the site that is named, or at this one.
pub fn ticket(source: &Source, at: &Instance, verb: &str, ticket: &str, site: &[&str]) -> Result<String, Failure> {
    let own;
    let site = match site {
        [site] => *site,
        _ => {
            own = bound_address(&source.cib()?, &at.conf)
                .ok_or_else(|| unable(&["cannot determine local site ip, please specify site parameter".to_owned()]))?;
            &own
        }
    };
    // Which daemon is asked is a matter of the site's address: the file only has to name it.
    let out = booth(&[verb, "-c", &at.name, "-s", site, ticket])?;
    match out.status.success() {
        true => Ok(String::new()),
        false => {
            let why = said(&out);
            Err(unable(&[format!("unable to {verb} booth ticket '{ticket}' for site '{site}', reason: {why}")]))
        }
    }
}

/// The address in the group of the daemon's resource.
fn bound_address(cib: &Element, conf: &Path) -> Option<String> {
    let configuration = cib.child("configuration")?;
    let ids = instances(configuration, conf);
    let groups = configuration.child("resources")?.descendants().filter(|e| e.name() == "group");
    let with =
        |g: &&Element| g.elements_named("primitive").filter_map(Element::id).any(|id| ids.iter().any(|i| i == id));
    let mut addresses = groups.filter(with).flat_map(|g| g.elements_named("primitive")).filter_map(|p| {
        let is = p.attr("type") == Some("IPaddr2");
        let ip = p.descendants().find(|nv| nv.attr("name") == Some("ip"))?.attr("value")?;
        is.then(|| ip.to_owned())
    });
    let first = addresses.next()?;
    addresses.next().is_none().then_some(first)
}

fn unit(name: &str) -> String {
    format!("booth@{name}.service")
}

/// The answer of `systemctl is-active` and its like; where there is no systemd, nothing runs by it.
pub fn unit_says(name: &str, question: &str) -> bool {
    let asked = Command::new("systemctl").args([question, "--quiet", &unit(name)]).output();
    asked.is_ok_and(|out| out.status.success())
}

/// The unit of an arbitrator.
pub fn service(at: &Instance, verb: &str) -> Result<String, Failure> {
    let unit = unit(&at.name);
    let failed = |why: &str| {
        let otherwise = match verb {
            "start" => format!("; without systemd: boothd daemon -c {}", at.name),
            "stop" => format!("; without systemd: boothd stop -c {}", at.name),
            _ => String::new(),
        };
        error(format!("Unable to {verb} {unit}: {why}{otherwise}"))
    };
    let out = Command::new("systemctl").args([verb, &unit]).output().map_err(|e| failed(&e.to_string()))?;
    if !out.status.success() {
        return Err(failed(&said(&out)));
    }
    let done = match verb {
        "stop" => "stopped".to_owned(),
        "start" => "started".to_owned(),
        verb => format!("{verb}d"),
    };
    kernel::errln!("booth@{} {done}", at.name);
    Ok(String::new())
}

/// Of the resources that run the daemon here.
pub fn restart(source: &Source, at: &Instance, line: &Line) -> Result<String, Failure> {
    let cib = source.cib()?;
    let found = cib.child("configuration").map(|c| instances(c, &at.conf)).unwrap_or_default();
    match found.as_slice() {
        [] => return Err(unable(&[format!("booth instance '{}' not found in cib", at.name)])),
        [_] => {}
        _ if line.has("--force") => {}
        _ => {
            return Err(unable(&[format!(
                "found more than one booth instance '{}' in cib, use --force to override",
                at.name
            )]));
        }
    }
    for id in &found {
        if edit::find_resource(cib.child("configuration").unwrap_or(&cib), id).is_some() {
            crate::restart::run(source, id, None)?;
        }
    }
    Ok(String::new())
}
