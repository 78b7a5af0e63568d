//! Stopping a resource and starting it again: its target role is what it was before, whatever happens.

use crate::edit::{self, edit, error};
use crate::source::{Failure, Source};
use std::time::{Duration, Instant};

/// Longest time that the resource has to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(120);
const NAME: &str = "target-role";

pub fn run(source: &Source, id: &str) -> Result<(), Failure> {
    if source.client().is_none() {
        return Err(error("restart needs the running cluster"));
    }
    let before = stop(source, id)?;
    let stopped = wait(source, id);
    put(source, id, &before)?;
    stopped
}

/// The role that was asked for until now; none is empty.
fn stop(source: &Source, id: &str) -> Result<String, Failure> {
    let cib = source.cib()?;
    let e = cib.child("configuration").and_then(|c| edit::find_resource(c, id));
    let e = e.ok_or_else(|| error(format!("Resource '{id}' does not exist")))?;
    let own = crate::nvpairs::find(e, "meta_attributes", NAME, None, None);
    let before = own.first().and_then(|p| p.pair.attr("value")).unwrap_or_default().to_owned();
    if before == "Stopped" {
        return Err(error(format!("'{id}' is not to run (target-role Stopped): nothing to restart")));
    }
    put(source, id, "Stopped")?;
    Ok(before)
}

fn put(source: &Source, id: &str, role: &str) -> Result<(), Failure> {
    edit(source, |configuration| {
        let e = edit::resource_mut(configuration, id)?;
        edit::set_pairs(e, "meta_attributes", &format!("{id}-meta_attributes"), &[(NAME.to_owned(), role.to_owned())]);
        Ok(())
    })
}

fn wait(source: &Source, id: &str) -> Result<(), Failure> {
    let end = Instant::now() + STOP_TIMEOUT;
    loop {
        let cib = source.cib()?;
        let cluster = crate::cluster::read(&cib, crate::source::now())?;
        let r = crate::cluster::find(&cluster.resources, id).ok_or_else(|| error(format!("'{id}' is gone")))?;
        if r.active_on.is_empty() {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(error(format!("{id} has not stopped within {} s", STOP_TIMEOUT.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
