//! What is shown is what is: the histories of the status say of each primitive what its machine says. At rest for all nodes; on
//! the way for each that is in step, unless it came to differ no longer ago than a monitor needs to find out.

use crate::world::World;
use base::{NodeId, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use xml::Element;

/// The longest interval of a monitor, its run, and the way of its report.
const FOUND_OUT: Duration = Duration::from_secs(12);
/// The cluster is looked at that often.
const EVERY: Duration = Duration::from_secs(1);

/// What is shown in another way than it is.
#[derive(Default)]
pub struct Shown {
    looked: Time,
    /// Node, its life, instance: since when.
    wrong: BTreeMap<(NodeId, u64, String), Time>,
    /// Of whom some agent has not told the truth, or not in time.
    pub moody: BTreeSet<(NodeId, String)>,
}

/// What a history entry says of its instance.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    Active,
    Inactive,
    /// A start or a stop has failed, and nobody has looked since.
    Unknown,
}

/// The newest operation that tells counts.
fn says(resource: &Element) -> Says {
    let number = |op: &Element, name: &str| op.attr(name).and_then(|v| v.parse::<i64>().ok()).unwrap_or(-1);
    let mut operations: Vec<&Element> = resource.elements().filter(|o| number(o, "op-status") >= 0).collect();
    operations.sort_by_key(|o| number(o, "call-id"));
    let mut says = Says::Inactive;
    for op in operations {
        let code = number(op, "rc-code");
        match op.attr("operation") {
            Some("start" | "stop") if code != 0 => says = Says::Unknown,
            Some("start" | "promote" | "demote") => says = Says::Active,
            Some("stop") => says = Says::Inactive,
            Some("monitor") if code == 7 => says = Says::Inactive,
            Some("monitor") if code == 0 || code == 8 => says = Says::Active,
            _ => {}
        }
    }
    says
}

/// What is shown as active, and what as unknown.
fn shown(status: &Element, node: NodeId) -> (BTreeSet<String>, BTreeSet<String>) {
    let id = node.to_string();
    let state = status.elements_named("node_state").find(|s| s.id() == Some(&id));
    let resources = state.and_then(|s| s.child("lrm")).and_then(|l| l.child("lrm_resources"));
    let entries = resources.into_iter().flat_map(|r| r.elements());
    let (mut active, mut unknown) = (BTreeSet::new(), BTreeSet::new());
    for entry in entries.filter(|r| r.attr("class") != Some("stonith")) {
        let into = match says(entry) {
            Says::Active => &mut active,
            Says::Unknown => &mut unknown,
            Says::Inactive => continue,
        };
        into.extend(entry.id().map(str::to_owned));
    }
    (active, unknown)
}

impl World {
    pub(crate) fn watch_status(&mut self) {
        let now = self.now;
        if now.since(self.book.shown.looked) < EVERY {
            return;
        }
        let before = std::mem::take(&mut self.book.shown.wrong);
        let mut wrong = BTreeMap::new();
        for host in self.hosts() {
            for instance in self.shown_wrong(host) {
                let key = (host.id, host.lives, instance);
                let since = before.get(&key).copied().unwrap_or(now);
                wrong.insert(key, since);
            }
        }
        let late = wrong.iter().find(|(_, since)| now.since(**since) > FOUND_OUT);
        let text = late.map(|((id, _, instance), since)| {
            format!("node {id}: {instance} has been shown otherwise than it is for {:?}", now.since(*since))
        });
        self.book.shown.wrong = wrong;
        self.book.shown.looked = now;
        if let Some(text) = text {
            self.book.fail("status", now, text);
        }
    }

    /// Instances of which a node that is in step says itself what is not so, and at which no agent is.
    fn shown_wrong(&self, host: &crate::host::Host) -> Vec<String> {
        let in_step = |p: &&crate::process::Process| p.controller.is_synced() && p.hung_until.is_none();
        let Some(p) = host.process.as_ref().filter(|_| host.runs()).filter(in_step) else { return Vec::new() };
        let Some(status) = p.controller.cib().root().child("status") else { return Vec::new() };
        let ((shown, unknown), real) = (shown(status, host.id), host.active());
        let differs = real.iter().filter(|r| !shown.contains(**r)).map(|r| (*r).to_owned());
        let differs = differs.chain(shown.iter().filter(|s| !real.contains(s.as_str())).cloned());
        let busy = |instance: &String| p.running.values().any(|o| o.instance.id == *instance);
        let moody = |instance: &String| self.book.shown.moody.contains(&(host.id, instance.clone()));
        differs.filter(|i| !unknown.contains(i) && !busy(i) && !moody(i)).collect()
    }
}

pub fn check(world: &World) -> Result<(), String> {
    let Some(p) = world.hosts().find_map(|h| h.process.as_ref()) else { return Err("nobody is there".to_owned()) };
    let Some(status) = p.controller.cib().root().child("status") else { return Err("no status".to_owned()) };
    for host in world.hosts() {
        let (shown, unknown) = shown(status, host.id);
        let real = host.active().into_iter().filter(|r| !unknown.contains(*r)).map(str::to_owned);
        let real: BTreeSet<String> = real.collect();
        if shown != real {
            return Err(format!("node {} is shown with {shown:?} and has {real:?}", host.id));
        }
    }
    Ok(())
}
