//! Stopping a resource and starting it again. It is asked for as before in the end, also where the command is interrupted; and what
//! would not stop is not touched.

use crate::crm_resource::foresight;
use crate::edit::{self, edit, error};
use crate::source::{Failure, Source};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::time::{Duration, Instant};
use xml::Element;

/// The resource has at least so long to stop; longer where its stop operation says so.
const STOP_TIMEOUT: Duration = Duration::from_secs(120);
/// What the cluster does around a stop.
const BESIDE_STOP: Duration = Duration::from_secs(20);
/// Whoever waits is told this often what for.
const PATIENCE: Duration = Duration::from_secs(10);
const NAME: &str = "target-role";

/// `timeout` is for the stop; without it, the stop operation's own.
pub fn run(source: &Source, id: &str, timeout: Option<Duration>) -> Result<(), Failure> {
    if source.client().is_none() {
        return Err(error("restart needs the running cluster"));
    }
    let cib = source.cib()?;
    let e = cib.child("configuration").and_then(|c| edit::find_resource(c, id));
    let e = e.ok_or_else(|| error(format!("Resource '{id}' does not exist")))?;
    let own = crate::nvpairs::find(e, "meta_attributes", NAME, None, None);
    let before = own.first().and_then(|p| p.pair.attr("value")).unwrap_or_default();
    if before == "Stopped" {
        return Err(error(format!("'{id}' is not to run (target-role Stopped): nothing to restart")));
    }
    would_stop(&cib, id)?;
    let limit = timeout.unwrap_or_else(|| STOP_TIMEOUT.max(stop_timeout(e) + BESIDE_STOP));
    let held = Held::signals()?;
    edit(source, |configuration| put(configuration, id, "Stopped"))?;
    let stopped = wait(source, id, limit, &held, None);
    let restored = edit(source, |configuration| put(configuration, id, before));
    stopped.and(restored)
}

/// One instance of several: it is kept off the node until it has stopped there, and may run there again.
pub fn on_node(source: &Source, id: &str, node: &str, timeout: Option<Duration>) -> Result<(), Failure> {
    if source.client().is_none() {
        return Err(error("restart needs the running cluster"));
    }
    let cib = source.cib()?;
    let configuration = cib.child("configuration").ok_or_else(|| error("the CIB has no configuration"))?;
    let e = edit::find_resource(configuration, id).ok_or_else(|| error(format!("Resource '{id}' does not exist")))?;
    let cluster = crate::cluster::read(&cib, crate::source::now())?;
    let node = crate::cluster::node_name(&cluster, node).map_err(|n| error(format!("Node '{n}' not found")))?;
    let around = |kind: &str| kind == "clone" || kind == "master" || kind == "bundle";
    let resources = configuration.child("resources");
    let holder = resources.into_iter().flat_map(Element::elements).filter(|h| around(h.name()));
    let several = holder.into_iter().find(|h| h.descendants().any(|d| std::ptr::eq(d, e)));
    let r = crate::cluster::find(&cluster.resources, several.and_then(Element::id).unwrap_or(id));
    let r = r.ok_or_else(|| error(format!("Resource '{id}' does not exist")))?;
    if !r.held_by().into_iter().any(|n| base::ids::same_node(n, node)) {
        return Err(error(format!("{id} is not running on {node} and so cannot be restarted")));
    }
    // What runs in one place is restarted where it is.
    let Some(several) = several.and_then(Element::id) else { return run(source, id, timeout) };
    let ban = format!("cli-ban-{several}-on-{node}");
    if configuration.find_id(&ban).is_some() {
        return Err(error(format!(
            "{several} is banned from {node} already: crm_resource -r {several} --clear -N {node}"
        )));
    }
    let limit = timeout.unwrap_or_else(|| STOP_TIMEOUT.max(stop_timeout(e) + BESIDE_STOP));
    let held = Held::signals()?;
    edit(source, |configuration| {
        let away =
            [("id", ban.as_str()), ("rsc", several), ("role", "Started"), ("node", node), ("score", "-INFINITY")];
        let away = away.iter().fold(Element::new("rsc_location"), |e, (name, value)| e.with(name, value));
        configuration.child_or_insert("constraints").push(away);
        Ok(())
    })?;
    let stopped = wait(source, several, limit, &held, Some(node));
    let restored = edit(source, |configuration| {
        configuration.child_or_insert("constraints").retain_elements(|c| c.id() != Some(&ban));
        Ok(())
    });
    stopped.and(restored)
}

fn put(configuration: &mut Element, id: &str, role: &str) -> Result<(), Failure> {
    let e = edit::resource_mut(configuration, id)?;
    edit::set_pairs(e, "meta_attributes", &format!("{id}-meta_attributes"), &[(NAME.to_owned(), role.to_owned())]);
    Ok(())
}

/// A restart that cannot stop the resource would leave it neither stopped nor wanted, for as long as it waits.
fn would_stop(cib: &Element, id: &str) -> Result<(), Failure> {
    let mut copy = cib.clone();
    let configuration = copy.child_mut("configuration").ok_or_else(|| error("the CIB has no configuration"))?;
    put(configuration, id, "Stopped")?;
    match foresight::carried_out(copy, id) {
        Some(after) if !after.active_on.is_empty() => Err(error(format!(
            "'{id}' would stay active on {}: nothing was done ('bascule explain {id}' and 'crm_mon' say what holds it)",
            after.active_on.join(", ")
        ))),
        _ => Ok(()),
    }
}

/// The longest that a stop in this element may take.
fn stop_timeout(e: &Element) -> Duration {
    let own =
        (e.name() == "op" && e.attr("name") == Some("stop")).then(|| e.attr("timeout").and_then(cib::interval_ms));
    let own = Duration::from_millis(own.flatten().unwrap_or(0));
    e.elements().map(stop_timeout).fold(own, Duration::max)
}

/// Until it has stopped, everywhere or on that node.
fn wait(source: &Source, id: &str, limit: Duration, held: &Held, node: Option<&str>) -> Result<(), Failure> {
    let began = Instant::now();
    let mut told = began;
    loop {
        let cib = source.cib()?;
        let cluster = crate::cluster::read(&cib, crate::source::now())?;
        let r = crate::cluster::find(&cluster.resources, id).ok_or_else(|| error(format!("'{id}' is gone")))?;
        let counts = |n: &&str| node.is_none_or(|node| base::ids::same_node(n, node));
        let at = r.held_by().into_iter().filter(counts).collect::<Vec<&str>>().join(", ");
        if at.is_empty() {
            return Ok(());
        }
        if let Some(signal) = held.came() {
            return Err(Failure::new(128 + signal as i32, format!("{signal}: {id} had not stopped on {at} yet")));
        }
        if began.elapsed() > limit {
            return Err(error(format!("{id} has not stopped on {at} within {} s", limit.as_secs())));
        }
        if told.elapsed() > PATIENCE {
            told = Instant::now();
            kernel::errln!(
                "waiting for {id} to stop on {at} ({} s of {} s)",
                began.elapsed().as_secs(),
                limit.as_secs()
            );
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Signals that would end the command, held back: the role is put back first.
struct Held(SignalFd);

impl Held {
    fn signals() -> Result<Held, Failure> {
        let failed = |e: nix::Error| error(format!("signals cannot be held back: {e}"));
        let set: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        set.thread_block().map_err(failed)?;
        SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).map(Held).map_err(failed)
    }

    fn came(&self) -> Option<Signal> {
        let info = self.0.read_signal().ok()??;
        Signal::try_from(info.ssi_signo as i32).ok()
    }
}
