//! The end of a node that was fenced, and the hardware watchdog that makes sure of it.
//!
//! The watchdog is fed by the core task's tick, so that a machine whose core hangs is reset; and only while the controller says that
//! this node may live ([`controller::Controller::may_feed`]).
//!
//! A node that must die, and not only end (`fencing-reaction=panic`, or the others count on its watchdog), goes in this order: the
//! watchdog is left with [`LAST_S`], since it works whatever else hangs; what is held is dropped; the kernel resets the machine
//! (sysrq, then `reboot(2)`). A machine that is not this node's own is never touched ([`kernel::machine`]).

use super::core::Core;
use crate::clock;
use base::{Names, Time};
use kernel::machine::{self, Place};
use kernel::watchdog::Watchdog;
use std::time::Duration;

/// How long the ring may take to let a fenced node go; then the process ends all the same.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);
/// How long the end of the process waits for the directors' tables: without its address nobody reaches one any more.
const TABLES_WITHIN: Duration = Duration::from_secs(5);
/// What the watchdog leaves a node that must die.
const LAST_S: u32 = 1;
/// With this variable the kernel's own way is not tried, only the watchdog's: for whoever wants to see that it works.
const WATCHDOG_ONLY_VAR: &str = "BASCULE_RESET_BY_WATCHDOG";

/// Why the node has ended, other than in good order.
pub(super) struct End {
    pub reason: String,
    /// Of the process.
    pub code: i32,
}

/// This node was fenced, and ends.
pub(super) struct Obeying {
    pub why: String,
    until: Time,
    /// Takes the directors' tables and the connection sync away; what is left of them, in words.
    tables: tokio::task::JoinHandle<Vec<String>>,
}

impl Obeying {
    /// Whoever comes next to this machine finds no table that a fenced node has left behind.
    pub async fn without_tables(self) -> String {
        match tokio::time::timeout(TABLES_WITHIN, self.tables).await {
            Ok(left) => left.unwrap_or_default().iter().for_each(|l| tracing::error!("left in the table: {l}")),
            Err(_) => tracing::error!("the directors' tables were not removed within {} s", TABLES_WITHIN.as_secs()),
        }
        self.why
    }
}

/// The hardware watchdog, if there is one, and whether it is fed.
#[derive(Default)]
pub(super) struct Dog {
    watchdog: Option<Watchdog>,
    starved: bool,
}

impl Dog {
    /// Opens the device, which arms it; a node that should have one and has none says so.
    pub fn open(wanted: Option<&(std::path::PathBuf, u32)>, place: &Place) -> (Dog, Option<String>) {
        let Some((device, timeout_s)) = wanted else { return (Dog::default(), None) };
        if let Place::Namespaces(why) = place {
            let why =
                format!("the machine around this node is not its own ({why}): {} is left alone", device.display());
            return (Dog::default(), Some(format!("there is no watchdog: {why}")));
        }
        match Watchdog::open(device, *timeout_s) {
            Ok(watchdog) => {
                tracing::info!(
                    "watchdog {}: resets this machine {} s after the last tick",
                    device.display(),
                    watchdog.timeout_s()
                );
                (Dog { watchdog: Some(watchdog), ..Dog::default() }, None)
            }
            Err(error) => (Dog::default(), Some(format!("there is no watchdog: {error}"))),
        }
    }

    /// The machine is to go down as soon as the device can bring it about.
    fn hasten(&mut self) {
        let Some(watchdog) = &mut self.watchdog else { return };
        if let Err(error) = watchdog.set_timeout(LAST_S) {
            tracing::warn!("{error}");
        }
    }

    /// 0 without one.
    pub fn timeout_ms(&self) -> u64 {
        self.watchdog.as_ref().map_or(0, |w| u64::from(w.timeout_s()) * 1000)
    }

    pub fn tick(&mut self, may_live: bool) {
        let Some(watchdog) = &mut self.watchdog else { return };
        if may_live {
            self.starved = false;
            if let Err(error) = watchdog.feed() {
                tracing::error!("{error}");
            }
        } else if !std::mem::replace(&mut self.starved, true) {
            let seconds = watchdog.timeout_s();
            tracing::error!(
                "the watchdog is fed no more: the machine is reset within {seconds} s unless quorum comes back"
            );
        }
    }

    /// An orderly end.
    pub fn disarm(&mut self) {
        if let Some(Err(error)) = self.watchdog.take().map(Watchdog::disarm) {
            tracing::error!("{error}");
        }
    }
}

impl Core {
    /// Everything that this node holds goes at once; then the ring is left, so that the others see it, and the process ends.
    pub(super) async fn obey(&mut self, why: String, panic: bool) {
        tracing::error!("{why}: dropping all addresses and directors, and ending");
        self.timeline.add("obey", "", &why);
        if panic {
            self.dog.hasten();
        }
        self.ring.set_owners_current(false);
        self.performer.drop_everything().await;
        if panic && std::env::var_os(WATCHDOG_ONLY_VAR).is_none() {
            tracing::error!("{}: only its watchdog can end it now", machine::reset(&Place::here()));
        }
        let (agents, reason) = (self.performer.agents.clone(), why.clone());
        let tables = tokio::spawn(async move { agents.abandon(&reason).await });
        self.obeying = Some(Obeying { why, until: clock::now() + LEAVE_WITHIN, tables });
        self.ring.leave().await;
    }

    /// With every tick.
    pub(super) fn watch_over(&mut self) {
        self.dog.tick(self.controller.may_feed());
        if let Some(obeying) = self.obeying.as_ref().filter(|o| o.until <= clock::now()) {
            self.end(obeying.why.clone());
        }
    }
}

impl super::perform::Performer {
    /// Addresses first, then what was started by this process.
    pub(super) async fn drop_everything(&mut self) {
        self.owners(Names::default()).await;
        self.cancel_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_in_a_laboratory_leaves_the_machines_watchdog_alone() {
        let wanted = (std::path::PathBuf::from("/nonexistent/watchdog"), 5);
        let (dog, why) = Dog::open(Some(&wanted), &Place::Namespaces("a laboratory".to_owned()));
        assert!(why.is_some_and(|w| w.contains("is left alone")), "it is not even opened");
        assert_eq!(dog.timeout_ms(), 0);
        let (_, why) = Dog::open(Some(&wanted), &Place::Machine);
        assert!(why.is_some_and(|w| w.contains("modprobe softdog")), "it was tried");
        assert_eq!(Dog::open(None, &Place::Machine).1, None);
    }
}
