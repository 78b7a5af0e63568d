//! `crm cib cibstatus`: events that are thought of, one after the other, and what the cluster would do then.

use crate::crm_mon::View;
use crate::crm_simulate;
use crate::edit::error;
use crate::source::{Failure, Source};
use base::ids::same_node;
use std::ffi::OsString;
use xml::Element;

const STATUSES: [&str; 6] = ["pending", "done", "cancelled", "timeout", "notsupported", "error"];
/// crmsh's names of exit codes.
const CODES: [(&str, i32); 11] = [
    ("success", 0),
    ("unknown", 1),
    ("generic", 1),
    ("args", 2),
    ("unimplemented", 3),
    ("perm", 4),
    ("installed", 5),
    ("configured", 6),
    ("not_running", 7),
    ("master", 8),
    ("failed_master", 9),
];

/// The events of a session, as options of `crm_simulate`.
#[derive(Default)]
pub struct WhatIf {
    events: Vec<(&'static str, String)>,
}

impl WhatIf {
    pub fn run(&mut self, source: &Source, words: &[&str]) -> Result<String, Failure> {
        match words {
            ["show"] => {
                let status = self.after(source)?.child("status").cloned().unwrap_or_else(|| Element::new("status"));
                Ok(format!("{}\n", status.to_pretty()))
            }
            ["show", "changed"] => {
                Ok(self.events.iter().map(|(o, v)| format!("{} {v}\n", o.trim_start_matches('-'))).collect())
            }
            ["load"] | ["load", "live"] | ["origin"] if words[0] != "origin" => {
                self.events.clear();
                Ok(String::new())
            }
            ["origin"] => Ok(match source {
                Source::Live(_) => "live\n".to_owned(),
                Source::File(path) => format!("{}\n", path.display()),
            }),
            ["save", file] => {
                let text = self.after(source)?.to_pretty();
                let failed = |e: std::io::Error| error(format!("cibstatus.save: {file}: {e}"));
                kernel::files::replace(std::path::Path::new(file), text.as_bytes(), 0o600).map_err(failed)?;
                Ok(String::new())
            }
            ["node", node, state] => self.node(source, node, state),
            ["op", operation, resource, code, rest @ ..] => self.operation(source, operation, resource, code, rest),
            ["quorum", value] if ["true", "false"].contains(value) => self.one("--quorum", value),
            ["ticket", ticket, what] => {
                let option = match *what {
                    "grant" | "granted" => "--ticket-grant",
                    "revoke" | "revoked" => "--ticket-revoke",
                    "standby" => "--ticket-standby",
                    "activate" => "--ticket-activate",
                    other => {
                        return Err(error(format!(
                            "cib.cibstatus.ticket: '{other}' is none of grant, revoke, standby, activate"
                        )));
                    }
                };
                self.one(option, ticket)
            }
            ["simulate", ..] => self.simulate(source, &["-S"]),
            ["run", ..] => self.simulate(source, &["-R"]),
            _ => Err(error(
                "cib.cibstatus: show [changed], node NODE online|offline|unclean, op OPERATION RESOURCE CODE [STATUS] [NODE], \
                 quorum true|false, ticket TICKET grant|revoke|standby|activate, run, simulate, save FILE, load, origin",
            )),
        }
    }

    fn one(&mut self, option: &'static str, value: &str) -> Result<String, Failure> {
        self.events.push((option, value.to_owned()));
        Ok(String::new())
    }

    fn node(&mut self, source: &Source, node: &str, state: &str) -> Result<String, Failure> {
        let option = match state {
            "online" => "--node-up",
            "offline" => "--node-down",
            "unclean" => "--node-fail",
            other => return Err(error(format!("cib.cibstatus.node: '{other}' is none of online, offline, unclean"))),
        };
        let cib = source.cib()?;
        let states = cib.child("status").into_iter().flat_map(Element::elements);
        let is_there = states.filter_map(|s| s.attr("uname")).any(|n| same_node(n, node));
        let made = self.events.iter().any(|(o, n)| *o == "--node-up" && same_node(n, node));
        self.one(option, node)?;
        Ok(if is_there || made { String::new() } else { format!("INFO: node {node} created\n") })
    }

    fn operation(
        &mut self,
        source: &Source,
        operation: &str,
        resource: &str,
        code: &str,
        rest: &[&str],
    ) -> Result<String, Failure> {
        let (status, node) = match rest {
            [] => ("done", None),
            [status] => (*status, None),
            [status, node, ..] => (*status, Some(*node)),
        };
        if !STATUSES.contains(&status) {
            return Err(error(format!("cib.cibstatus.op: Invalid operation status '{status}'")));
        }
        if ["pending", "cancelled"].contains(&status) {
            return Err(error(format!(
                "cib.cibstatus.op: an operation that is {status} has no result that anything follows from"
            )));
        }
        let known = CODES.iter().find(|(name, _)| *name == code).map(|(_, code)| *code);
        let code = known.or_else(|| code.parse().ok());
        let code = code.ok_or_else(|| {
            error("cib.cibstatus.op: the exit code is a number, or one of success, unknown, args, not_running, …")
        })?;
        // What timed out, or could not be done, has failed whatever its code says.
        let code = if ["timeout", "error", "notsupported"].contains(&status) && code == 0 { 1 } else { code };
        let cib = source.cib()?;
        let view = View::of(&cib)?;
        let r = crate::cluster::find(&view.cluster.resources, resource);
        let r = r.ok_or_else(|| error(format!("cib.cibstatus.op: resource {resource} does not exist")))?;
        let node = match node {
            Some(node) => node.to_owned(),
            None => r.held_by().into_iter().next().map(|n| n.to_owned()).ok_or_else(|| {
                error(format!("cib.cibstatus.op: {resource} runs nowhere: name the node, behind the status (done)"))
            })?,
        };
        let interval = interval_ms(&cib, resource, operation);
        self.one("--op-inject", &format!("{resource}_{operation}_{interval}@{node}={code}"))
    }

    fn args(&self, source: &Source) -> Vec<OsString> {
        let mut args: Vec<OsString> = match source {
            Source::File(path) => vec!["-x".into(), path.into()],
            Source::Live(_) => vec!["-L".into()],
        };
        self.events.iter().for_each(|(option, value)| args.extend([(*option).into(), value.into()]));
        args
    }

    fn simulate(&self, source: &Source, how: &[&str]) -> Result<String, Failure> {
        let mut args = self.args(source);
        args.extend(how.iter().map(OsString::from));
        match crm_simulate::main(args) {
            0 => Ok(String::new()),
            code => Err(Failure::new(code, "")),
        }
    }

    /// The document with all events in it.
    fn after(&self, source: &Source) -> Result<Element, Failure> {
        if self.events.is_empty() {
            return source.cib();
        }
        let file = std::env::temp_dir().join(format!("crm-cibstatus-{}.xml", std::process::id()));
        let mut args = self.args(source);
        args.extend(["-Q".into(), "-R".into(), "-I".into(), file.clone().into()]);
        let code = crm_simulate::main(args);
        let read = match code {
            0 => crate::cibadmin::read_xml(Some(&file), None, false),
            code => Err(Failure::new(code, "")),
        };
        let _ = std::fs::remove_file(&file);
        read?.map(|(cib, _)| cib).ok_or_else(|| error("cib.cibstatus: nothing came of it"))
    }
}

/// Of the operation as it is configured; 0 where it is not repeated.
fn interval_ms(cib: &Element, resource: &str, operation: &str) -> u64 {
    let e = cib.child("configuration").and_then(|c| crate::edit::find_resource(c, resource));
    let ops = e.and_then(|e| e.child("operations")).into_iter().flat_map(|o| o.elements_named("op"));
    let mut of =
        ops.filter(|op| op.attr("name") == Some(operation)).filter_map(|op| cib::interval_ms(op.attr("interval")?));
    of.next().unwrap_or(0)
}
