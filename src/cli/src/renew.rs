//! `bascule renew`: the node of this host ends and starts again, and what it holds goes on: after an upgrade of the program.
//!
//! The cluster is in maintenance meanwhile, so that nobody takes over what has not failed; the node makes its addresses permanent and
//! leaves the ring; its successor finds all of it running. The kernel's table forwards without either.

use crate::args::{self, Command};
use crate::client::{CallError, Client};
use crate::edit::{self, edit, error};
use crate::hosts;
use crate::report::Common;
use crate::source::{Failure, Source};
use base::exit::crm;
use clap::Parser;
use scheduler::status::Resource;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::time::{Duration, Instant};
use wire::api::{Done, NodeStatus, ShutdownCall};

const PROPERTY: &str = "maintenance-mode";
const SET: &str = "cib-bootstrap-options";
const LOOK_EACH: Duration = Duration::from_millis(50);

/// Restart the node of this host without stopping what it runs: takes an upgraded program into use
#[derive(Parser, Debug)]
#[command(
    name = "renew",
    disable_version_flag = true,
    after_help = "Examples:\n  bascule renew               on one node after the other, once the new package is installed there\n  bascule renew --wait 300    where probes take long\n\nThe cluster is in maintenance (nothing fails over) from the beginning to the end, a few seconds. If the new program\ndoes not come up it stays so, and says how to go on.\n\nExit codes: 0 done; 1 failed; 102 no node runs here; 124 not within its time"
)]
pub struct Renew {
    /// Longest time for each step
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u16).range(1..))]
    wait: u16,
    #[command(flatten)]
    common: Common,
}

pub fn main(args: Vec<OsString>) -> i32 {
    args::run::<Renew>(args)
}

impl Command for Renew {
    const NAME: &'static str = "renew";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        let source = Source::open();
        let client = source.client().ok_or_else(|| error("renew needs the running cluster"))?;
        let before: NodeStatus = client.get("/v1/status")?;
        let held = holds(&source, &before.name)?;
        if before.members.len() > 1 && !before.quorate {
            return Err(error("the cluster has no quorum: 'corosync-quorumtool -s' tells more; nothing was done"));
        }
        let ours = maintenance(&source, true)?;
        let renewed = self.anew(&source, client, &before);
        let stays = |why: Failure| {
            match ours {
            true => Failure { details: vec![
                "the cluster is in maintenance still; when this node runs again: pcs property unset maintenance-mode".to_owned(),
            ], ..why },
            false => why,
        }
        };
        let (after, absent) = renewed.map_err(stays)?;
        if ours {
            maintenance(&source, false).map_err(stays)?;
        }
        self.until(&format!("{} to run what it ran before", before.name), || {
            Ok(holds(&source, &before.name)?.is_superset(&held))
        })?;
        let what = match held.is_empty() {
            true => "it held nothing".to_owned(),
            false => format!("what it held is here: {}", held.into_iter().collect::<Vec<_>>().join(", ")),
        };
        let (name, old, new) = (&before.name, &before.version, &after.version);
        self.common.write(&format!("{name}: {old} -> {new}; away for {} ms; {what}\n", absent.as_millis()))?;
        Ok(crm::OK)
    }
}

impl Renew {
    /// Hands back the new node's status, once it is a member as before, and for how long there was none.
    fn anew(&self, source: &Source, client: &Client, before: &NodeStatus) -> Result<(NodeStatus, Duration), Failure> {
        self.until("the cluster to come to rest", || Ok(idle(&client.get("/v1/status")?)))?;
        let done: Done = client.post("/v1/shutdown", &ShutdownCall { keep_resources: true })?;
        if done.code != 0 {
            return Err(Failure::new(done.code, done.message.unwrap_or_default()));
        }
        let left = Instant::now();
        self.until("the node to end", || {
            Ok(matches!(client.get::<NodeStatus>("/v1/status"), Err(CallError::NotRunning { .. })))
        })?;
        hosts::own_service().start().map_err(|why| error(format!("the node does not start: {why}")))?;
        let mut after = None;
        self.until("the node to be back among the others", || {
            let Ok(now) = client.get::<NodeStatus>("/v1/status") else { return Ok(false) };
            let back = now.started != before.started && now.members.len() >= before.members.len() && idle(&now);
            after = back.then_some(now);
            Ok(after.is_some())
        })?;
        let absent = left.elapsed();
        // What runs is known by probes; before the last of them maintenance must not end.
        self.until("what runs here to be known", || Ok(probed(&source.cib()?, &before.name)))?;
        after.map(|now| (now, absent)).ok_or_else(|| error("the node does not answer"))
    }

    fn until(&self, what: &str, mut done: impl FnMut() -> Result<bool, Failure>) -> Result<(), Failure> {
        let end = Instant::now() + Duration::from_secs(self.wait.into());
        while !done()? {
            if Instant::now() > end {
                return Err(Failure::new(crm::TIMEOUT, format!("waited {} s for {what}", self.wait)));
            }
            std::thread::sleep(LOOK_EACH);
        }
        Ok(())
    }
}

fn idle(status: &NodeStatus) -> bool {
    matches!(status.controller.as_str(), "idle" | "following") && status.dc.is_some()
}

/// Whether each primitive has a result of this node; what was never tried there has none, so nothing is asked of those that the
/// cluster does not probe.
fn probed(cib: &xml::Element, node: &str) -> bool {
    let mut states = cib.child("status").into_iter().flat_map(xml::Element::elements);
    let own = states.find(|s| s.attr("uname").is_some_and(|n| base::ids::same_node(n, node)));
    let known = own.into_iter().flat_map(xml::Element::descendants).filter(|e| e.name() == "lrm_resource").count();
    let all = cib.child("configuration").and_then(|c| c.child("resources")).into_iter();
    let all = all.flat_map(xml::Element::descendants);
    let asked = all.filter(|e| e.name() == "primitive" && e.attr("class") != Some("stonith")).count();
    known >= asked
}

/// Switches the cluster's maintenance; false if it was so already.
fn maintenance(source: &Source, on: bool) -> Result<bool, Failure> {
    if cib::config::property(&source.cib()?, PROPERTY).is_some_and(base::text::is_true) == on {
        return Ok(false);
    }
    let value = if on { "true" } else { "" };
    edit(source, |configuration| {
        let section = configuration.child_or_insert("crm_config");
        edit::set_pairs(section, "cluster_property_set", SET, &[(PROPERTY.to_owned(), value.to_owned())]);
        Ok(true)
    })
}

/// Names of what runs on the node.
fn holds(source: &Source, node: &str) -> Result<BTreeSet<String>, Failure> {
    let cluster = crate::cluster::read(&source.cib()?, crate::source::now())?;
    let mut names = BTreeSet::new();
    let mut left: Vec<&Resource> = cluster.resources.iter().collect();
    while let Some(r) = left.pop() {
        if r.children.is_empty() && r.active_on.iter().any(|n| base::ids::same_node(n, node)) {
            names.insert(r.name.clone());
        }
        left.extend(&r.children);
    }
    Ok(names)
}
