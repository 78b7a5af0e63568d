//! Node attributes that agents set on their own node: scores of gateways, warmth, deviations of kernel settings.
//!
//! In the daemon they go to the cluster as an [`Event`]; outside, `attrd_updater` takes them. Setting the same value again
//! costs one message and changes nothing, so agents set theirs at every monitor and need no memory of a merge.

use crate::host::Event;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Attributes whose change is being waited out, at most; more are set at once.
const MAX_DAMPED: usize = 1024;

type Send = Arc<dyn Fn(Event) + std::marker::Send + Sync>;

#[derive(Clone)]
pub(crate) struct Attributes {
    send: Send,
    damped: Arc<Mutex<BTreeMap<String, Damped>>>,
}

#[derive(Default)]
struct Damped {
    last_sent: Option<String>,
    /// Number of the newest change.
    newest: u64,
}

impl Attributes {
    pub fn new(send: Send) -> Attributes {
        Attributes { send, damped: Arc::default() }
    }

    /// `None` removes the attribute.
    pub fn set(&self, name: &str, value: Option<&str>) {
        (self.send)(Event::Attribute { name: name.to_owned(), value: value.map(str::to_owned) });
    }

    /// Sets a value that differs from the last one only if it still does after `wait`: all nodes that lose the same
    /// gateway then have the same score when the cluster decides.
    pub fn set_damped(&self, name: &str, value: &str, wait: Duration) {
        let mut damped = self.damped.lock().unwrap_or_else(PoisonError::into_inner);
        if damped.len() >= MAX_DAMPED && !damped.contains_key(name) {
            return self.set(name, Some(value));
        }
        let entry = damped.entry(name.to_owned()).or_default();
        entry.newest += 1;
        let sent = entry.last_sent.as_deref();
        if sent == Some(value) || wait.is_zero() || sent.is_none() {
            entry.last_sent = Some(value.to_owned());
            return self.set(name, Some(value));
        }
        let (me, name, value, mine) = (self.clone(), name.to_owned(), value.to_owned(), entry.newest);
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let mut damped = me.damped.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(entry) = damped.get_mut(&name) else { return };
            if entry.newest == mine {
                entry.last_sent = Some(value.clone());
                me.set(&name, Some(&value));
            }
        });
    }

    pub fn remove(&self, name: &str) {
        self.damped.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        self.set(name, None);
    }
}

/// Outside the daemon: the command of the same name of this program or of Pacemaker.
pub(crate) fn by_command(name: &str, value: Option<&str>) {
    let mut command = std::process::Command::new("attrd_updater");
    command.args(["-n", name]);
    match value {
        Some(value) => command.args(["-U", value]),
        None => command.arg("-D"),
    };
    match command.stdin(std::process::Stdio::null()).output() {
        Ok(out) if out.status.success() => {}
        Ok(out) => kernel::errln!("attrd_updater: {}", String::from_utf8_lossy(&out.stderr).trim()),
        Err(error) => kernel::errln!("attrd_updater: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded() -> (Attributes, Arc<Mutex<Vec<Option<String>>>>) {
        let seen: Arc<Mutex<Vec<Option<String>>>> = Arc::default();
        let to = seen.clone();
        let send = move |event| {
            if let Event::Attribute { value, .. } = event {
                to.lock().unwrap().push(value);
            }
        };
        (Attributes::new(Arc::new(send)), seen)
    }

    #[tokio::test]
    async fn a_value_that_comes_back_in_time_is_never_seen_to_change() {
        let (attributes, seen) = recorded();
        let wait = Duration::from_millis(300);
        attributes.set_damped("pingd", "100", wait);
        attributes.set_damped("pingd", "0", wait);
        tokio::time::sleep(Duration::from_millis(50)).await;
        attributes.set_damped("pingd", "100", wait);
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(seen.lock().unwrap().iter().all(|v| v.as_deref() == Some("100")));
        attributes.set_damped("pingd", "0", wait);
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(seen.lock().unwrap().last(), Some(&Some("0".to_owned())));
    }
}
