//! `pcs status`, `pcs cluster`, `pcs quorum`, `pcs config`; and what Bascule does otherwise.

use super::{constraint, node, resource};
use crate::client::{CallError, Client};
use crate::crm_mon::{CrmMon, View};
use crate::edit::error;
use crate::grammar::Line;
use crate::report::{Common, Format};
use crate::source::{Failure, Source};
use base::exit::crm;
use scheduler::status::Resource;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// A node's resources have so long to move away; it goes on stopping after that.
const STOP_LIMIT: Duration = Duration::from_secs(1200);
/// Whoever waits is told this often what for.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

pub fn status(source: &Source, line: &Line, words: &[&str]) -> Result<String, Failure> {
    match words {
        [] | ["status"] => full_status(source, line),
        words => part_of_status(source, words),
    }
}

fn part_of_status(source: &Source, words: &[&str]) -> Result<String, Failure> {
    match words {
        ["resources"] => resource::run(source, &Line::default(), &["status"]),
        ["nodes"] => nodes(source),
        ["nodes", which] => node_names(source, which),
        ["quorum"] => quorum(&Line::default(), &["status"]).map(|(text, _)| text),
        ["cluster"] => cluster_status(source),
        ["xml"] => {
            let options =
                CrmMon { common: Common { output_as: Format::Xml, ..Common::default() }, ..CrmMon::default() };
            with_view(source, |view| options.render(view))
        }
        _ => Err(error(format!("unknown status command '{}' (see: pcs help)", words.join(" ")))),
    }
}

fn with_view<T>(source: &Source, work: impl FnOnce(&View<'_>) -> Result<T, Failure>) -> Result<T, Failure> {
    let cib = source.cib()?;
    work(&View::live(source, &cib)?)
}

fn full_status(source: &Source, line: &Line) -> Result<String, Failure> {
    let live = source.status()?;
    let file = super::corosync::summary(line)?;
    with_view(source, |view| {
        let name = match (&file, &live) {
            (Some((name, ..)), _) => name.clone(),
            (None, Some(status)) => status.cluster_name.clone(),
            (None, None) => view.cluster.options.get("cluster-name").cloned().unwrap_or_default(),
        };
        let mut out = format!("Cluster name: {name}\n");
        let mut warnings = view.warnings.clone();
        let fences = view.cib.descendants().any(|e| e.name() == "primitive" && e.attr("class") == Some("stonith"));
        if view.cluster.fencing_enabled && !fences {
            warnings.push("No stonith devices and stonith-enabled is not false".to_owned());
        }
        if !warnings.is_empty() {
            let _ = writeln!(out, "\nWARNINGS:\n{}\n", warnings.join("\n"));
        }
        let full = line.has("--full");
        let shown = CrmMon {
            inactive: !line.has("--hide-inactive"),
            show_detail: full,
            show_node_attributes: full,
            failcounts: full,
            // They stand above.
            exclude: vec!["warnings".to_owned()],
            ..CrmMon::default()
        };
        let text = shown.render(view)?;
        out += &if live.is_none() { crate::report::of_a_file(&text) } else { text };
        if file.is_some() {
            return Ok(out);
        }
        let state = if live.is_some() { "active (bascule node)" } else { "unknown (a file is shown)" };
        let pcsd = match (live.is_some(), super::hosts::answers_here()) {
            (false, _) => state,
            (true, true) => "active (bascule pcsd)",
            (true, false) => "inactive",
        };
        if full && live.is_some() {
            out += &super::hosts::section().unwrap_or_default();
        }
        let _ = write!(out, "\nDaemon Status:\n  corosync: {state}\n  pacemaker: {state}\n  pcsd: {pcsd}\n");
        Ok(out)
    })
}

fn cluster_status(source: &Source) -> Result<String, Failure> {
    with_view(source, |view| {
        let options = CrmMon { include: vec!["none".into(), "summary".into(), "nodes".into()], ..CrmMon::default() };
        let text = options.render(view)?;
        let indented: String =
            text.lines().map(|l| if l.is_empty() { "\n".to_owned() } else { format!(" {l}\n") }).collect();
        Ok(format!("Cluster Status:\n{indented}"))
    })
}

fn nodes(source: &Source) -> Result<String, Failure> {
    with_view(source, |view| {
        let all = &view.cluster.nodes;
        let line = |title: &str, names: Vec<&str>| {
            format!(" {title}:{}\n", names.iter().map(|n| format!(" {n}")).collect::<String>())
        };
        let of = |fits: fn(&scheduler::status::Node) -> bool| {
            all.iter().filter(|n| fits(n)).map(|n| n.name.as_str()).collect::<Vec<_>>()
        };
        Ok(String::from("Pacemaker Nodes:\n")
            + &line("Online", of(|n| n.online && !n.standby && !n.maintenance))
            + &line("Standby", of(|n| n.online && n.standby))
            + &line("Standby with resource(s) running", of(|n| n.online && n.standby && !n.running.is_empty()))
            + &line("Maintenance", of(|n| n.online && n.maintenance))
            + &line("Offline", of(|n| !n.online)))
    })
}

/// Names alone: of the members as the node knows them, and of the nodes in the CIB.
fn node_names(source: &Source, which: &str) -> Result<String, Failure> {
    let mut out = String::new();
    let line = |names: &[String]| format!(" {}\n", names.join(" "));
    let live = source.status()?;
    if let Some(status) = &live {
        out += "Corosync Nodes:\n";
        match which {
            "config" => out += &line(&status.nodes.iter().map(|n| n.name.clone()).collect::<Vec<_>>()),
            _ => {
                let of = |member: bool| status.nodes.iter().filter(move |n| n.member == member);
                for (title, member) in [("Online", true), ("Offline", false)] {
                    let names: String = of(member).map(|n| format!(" {}", n.name)).collect();
                    let _ = writeln!(out, " {title}:{names}");
                }
            }
        }
    }
    match which {
        "both" => out += &nodes(source)?,
        "config" => {
            let cib = source.cib()?;
            let all = cib.child("configuration").and_then(|c| c.child("nodes"));
            let names = all.into_iter().flat_map(|n| n.elements()).filter_map(|e| e.attr("uname")).map(str::to_owned);
            let _ = write!(out, "Pacemaker Nodes:\n{}", line(&names.collect::<Vec<_>>()));
        }
        _ => {}
    }
    Ok(out)
}

pub fn quorum(line: &Line, words: &[&str]) -> Result<(String, i32), Failure> {
    match words {
        [] | ["status" | "config"] => {
            let status: wire::api::QuorumStatus = crate::client::Client::from_env().get("/v1/quorum")?;
            Ok((crate::corosync::quorum_text(&status), crm::OK))
        }
        ["device", "status"] => {
            let status: wire::api::QuorumStatus = crate::client::Client::from_env().get("/v1/quorum")?;
            let node: wire::api::NodeStatus = crate::client::Client::from_env().get("/v1/status")?;
            let device = status.device.as_ref().ok_or_else(|| error("no quorum device is set up"))?;
            Ok((crate::corosync::device_text(&status, &node, device, line.has("--full")), crm::OK))
        }
        _ => Err(error(
            "votes that a running cluster expects are set by 'corosync-quorumtool -e VOTES'; for good by quorum.expected_votes in corosync.conf",
        )),
    }
}

pub fn run(source: &Source, line: &Line, words: &[&str]) -> Result<(String, i32), Failure> {
    let text = match words {
        [] | ["status"] => cluster_status(source)?,
        ["verify"] => return verify(source, line),
        ["cib-upgrade"] => {
            source.call(crate::attributes::sign(cib::Request::new(cib::Op::Upgrade, cib::Target::Whole, None)))?;
            kernel::errln!("Cluster CIB has been upgraded to latest version");
            String::new()
        }
        ["cib"] => source.cib()?.to_pretty(),
        ["cib", file] => {
            let text = source.cib()?.to_pretty();
            std::fs::write(file, text).map_err(|e| error(format!("Unable to write {file}: {e}")))?;
            String::new()
        }
        ["cib-push", file] => push(source, file)?,
        _ => return Err(error(format!("unknown cluster command '{}' (see: pcs help)", words.join(" ")))),
    };
    Ok((text, crm::OK))
}

/// Stops this node's daemon; the cluster moves its resources away first.
pub fn stop(source: &Source) -> Result<String, Failure> {
    let own = match source.local_node() {
        // It is about to end, or has: no more than that is wanted.
        Err(failure) if failure.code == crm::DISCONNECT => None,
        own => Some(own?),
    };
    let client = source.client().ok_or_else(|| error("needs the running cluster"))?;
    match client.post("/v1/shutdown", &wire::api::ShutdownCall::default()) {
        Ok(wire::api::Done { code: 0 | crm::DISCONNECT, .. }) => {}
        Ok(done) => return Err(Failure::new(done.code, done.message.unwrap_or_default())),
        // It was stopping already, and ended before it answered.
        Err(CallError::Protocol(_) | CallError::NotRunning { .. }) => {}
        Err(e) if e.exit_code() == crm::DISCONNECT => {}
        Err(e) => return Err(e.into()),
    }
    until_gone(source, client, own.as_deref().unwrap_or("the node"))?;
    Ok("Stopping Cluster...\n".to_owned())
}

/// Until nobody answers here any more; what the node runs moves away before.
fn until_gone(source: &Source, client: &Client, own: &str) -> Result<(), Failure> {
    let (began, mut told) = (Instant::now(), Instant::now());
    // A node that answers that it is shutting down is still there.
    while !matches!(client.get::<wire::api::NodeStatus>("/v1/status"), Err(CallError::NotRunning { .. })) {
        if began.elapsed() > STOP_LIMIT {
            return Err(error(format!(
                "{own} has not stopped within {} s: 'pcs status' says what holds it",
                STOP_LIMIT.as_secs()
            )));
        }
        if told.elapsed() > STOP_PATIENCE {
            told = Instant::now();
            let held = holding(source, own).unwrap_or_default();
            kernel::errln!("waiting for {held} to stop or move away ({} s)", began.elapsed().as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// What a node still has.
fn holding(source: &Source, own: &str) -> Result<String, Failure> {
    with_view(source, |view| {
        let there = view.all_resources().iter().flat_map(parts).filter(|r| r.held_by().contains(own));
        let told = there.map(|r| format!("{}{}", r.name, if r.blocked { " (blocked)" } else { "" }));
        let told: Vec<String> = told.collect();
        Ok(if told.is_empty() { own.to_owned() } else { told.join(", ") })
    })
}

/// The primitives of a resource.
fn parts(r: &Resource) -> Vec<&Resource> {
    match r.children.is_empty() {
        true => vec![r],
        false => r.children.iter().flat_map(parts).collect(),
    }
}

/// Silence means that it is valid; `--full` says what is wrong.
fn verify(source: &Source, line: &Line) -> Result<(String, i32), Failure> {
    let problems = cib::schema::verify(&source.cib()?);
    let bad: Vec<String> =
        problems.iter().filter(|p| p.severity < cib::Severity::Info).map(|p| p.to_string()).collect();
    match (bad.is_empty(), line.has("--full")) {
        (true, _) => Ok((String::new(), crm::OK)),
        (false, true) => Err(super::unable(&[format!("invalid cib:\n{}\n", bad.join("\n"))])),
        (false, false) => Err(super::unable(&["invalid cib:\n\nUse --full for more details.".to_owned()])),
    }
}

/// Puts the configuration of a file in place of the cluster's; the status stays.
fn push(source: &Source, file: &str) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file).map_err(|e| error(format!("unable to read {file}: {e}")))?;
    let new = xml::parse(&text).map_err(|e| error(format!("{file}: {e}")))?;
    let configuration = new.child("configuration").cloned();
    let configuration = configuration.ok_or_else(|| error(format!("{file}: no configuration in it")))?;
    let read = cib::Version::of(&new)?;
    let have = cib::Version::of(&source.cib()?)?;
    if (have.admin_epoch, have.epoch) > (read.admin_epoch, read.epoch) {
        return Err(error(format!(
            "the cluster's configuration ({have}) is newer than the file ({read}): fetch it anew with 'pcs cluster cib {file}'"
        )));
    }
    crate::edit::put_back(source, have, configuration)?;
    Ok("CIB updated\n".to_owned())
}

/// All of the configuration, part by part; with `--corosync_conf` that of the file too.
pub fn config(source: &Source, line: &Line) -> Result<String, Failure> {
    let indented = |text: String, by: &str| -> String {
        text.lines().map(|l| if l.is_empty() { "\n".to_owned() } else { format!("{by}{l}\n") }).collect()
    };
    let file = super::corosync::summary(line)?;
    let cib = source.cib()?;
    let configuration = cib.child("configuration");
    let mut out = String::new();
    let corosync = match (&file, source.status()?) {
        (Some((name, nodes, _)), _) => Some((name.clone(), nodes.clone())),
        (None, Some(status)) => Some((status.cluster_name, status.nodes.into_iter().map(|n| n.name).collect())),
        (None, None) => None,
    };
    let name = crate::cluster::read(&cib, crate::source::now())?.options.get("cluster-name").cloned();
    let name = corosync.as_ref().map(|(name, _)| name.clone()).or(name).unwrap_or_default();
    let _ = writeln!(out, "Cluster Name: {name}");
    if let Some((_, nodes)) = &corosync {
        let _ = writeln!(out, "Corosync Nodes:\n {}", nodes.join(" "));
    }
    let nodes = configuration.and_then(|c| c.child("nodes")).into_iter().flat_map(|n| n.elements());
    let nodes: Vec<&str> = nodes.filter_map(|e| e.attr("uname")).collect();
    let _ = writeln!(out, "Pacemaker Nodes:\n {}", nodes.join(" "));
    let resources = super::describe::text(source, |e| e.attr("class") != Some("stonith"))?;
    let _ = write!(out, "\nResources:\n{}", indented(resources, "  "));
    let devices = super::describe::text(source, |e| e.attr("class") == Some("stonith"))?;
    let _ = write!(out, "\nStonith Devices:\n{}", indented(devices, "  "));
    let levels = super::stonith::config(source)?;
    let _ = write!(out, "Fencing Levels:\n{}\n", indented(levels, "  "));
    out += &constraint::list(source, &Line::default(), &["location", "order", "colocation", "ticket"])?;
    let _ = write!(out, "\n{}", super::alert::config(source)?);
    let defaults = resource::run(source, &Line::default(), &["defaults"])?;
    let _ = write!(out, "\nResources Defaults:\n{}", indented(defaults, "  "));
    let defaults = resource::run(source, &Line::default(), &["op", "defaults"])?;
    let _ = write!(out, "Operations Defaults:\n{}\n", indented(defaults, "  "));
    out += &node::property(source, &["config"], false)?;
    let _ =
        write!(out, "\nTags:\n{}", indented(super::tag::config(source, &[])?, " ").replace("  No tags", " No tags"));
    if let Some((_, _, quorum)) = file {
        let _ = write!(out, "\nQuorum:\n{}", indented(quorum, "  "));
    }
    Ok(out)
}

pub fn elsewhere(what: &str) -> Failure {
    let cure = match what {
        "client" => "hosts are known by the keys that 'bascule pcsd' makes ('pcs host auth')",
        "qdevice" => {
            "what pcsd does with it is done by hand: corosync-qdevice-net-certutil --help (-Q does all of it by ssh)"
        }
        _ => "a site for disasters is set up by hand",
    };
    error(format!("'pcs {what}' is not part of Bascule: {cure}"))
}
