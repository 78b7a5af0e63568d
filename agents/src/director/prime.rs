//! The table before the address: directors are primed when one of their addresses is about to come here.

use super::slot::{Role, Slot, Stamp, State};
use super::{Directors, Inner, load, lock};
use base::net::same_network;
use ldirectord::config::Config;
use ldirectord::service::{Options, Place};
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The address waits no longer than this for its tables, whatever happens.
const PRIME_LIMIT: Duration = Duration::from_secs(3);
/// How long the address waits for first checks of servers of which nothing is known. Without them its table is empty.
const SETTLE_LIMIT: Duration = Duration::from_millis(1000);
const SETTLE_LOOK: Duration = Duration::from_millis(10);
/// A primed director that the cluster does not start within this goes back to standby.
const START_WITHIN: Duration = Duration::from_secs(60);

impl Directors {
    /// Programs the tables of all directors of this node that serve `addr` and are not active. Returns when they are
    /// complete as far as anything is known, or after [`PRIME_LIMIT`]: an address without its table is better than none.
    pub(crate) async fn prime(&self, addr: IpAddr) {
        let place = self.inner.place(addr);
        let all = async {
            for slot in self.inner.slots() {
                let mut state = slot.state.lock().await;
                self.inner.prime_one(&slot, &mut state, &place).await;
            }
        };
        if tokio::time::timeout(PRIME_LIMIT, all).await.is_err() {
            tracing::warn!("the table for {addr} was not complete within {} ms", PRIME_LIMIT.as_millis());
        }
    }

    /// The address goes: what was primed for it and not started goes back to standby.
    pub(crate) async fn unprime(&self, addr: IpAddr) {
        for slot in self.inner.slots() {
            let mut state = slot.state.lock().await;
            if state.running.as_ref().is_some_and(|r| r.role == Role::Primed && r.primed_for.contains(&addr)) {
                self.inner.stand_down(&slot, &mut state).await;
            }
        }
    }
}

impl Inner {
    /// The address, and the marks that packets to it get by the mark agents of this node.
    pub(super) fn place(&self, addr: IpAddr) -> Place {
        let marked = lock(&self.fwmarks);
        let these =
            marked.values().filter(|m| m.prefixes.iter().any(|(at, len)| *len > 0 && same_network(*at, addr, *len)));
        Place { addr, marks: these.map(|m| m.mark).collect() }
    }

    async fn prime_one(self: &Arc<Self>, slot: &Arc<Slot>, state: &mut State, place: &Place) {
        let addr = place.addr;
        let told = self.told(&slot.resource);
        let taken = match &mut state.running {
            Some(r) if r.role == Role::Active => return,
            Some(r) => {
                if let Err(error) = r.follow_file(&state.config).await {
                    tracing::warn!("{}: the former configuration is used: {error}", slot.resource);
                }
                r.director.take_over(told, Some(place.clone())).await
            }
            None => match load(&state.config).await {
                Ok(accepted) if serves(&accepted.config, place) => {
                    let options = Options { active: true, verdicts: told.clone(), ..Options::default() };
                    let stamp = Stamp::of(&state.config);
                    match self.launch_with(&slot.resource, state, accepted.config, stamp, options, Role::Standby).await
                    {
                        Ok(running) => {
                            let running = state.running.insert(running);
                            running.director.take_over(told, Some(place.clone())).await
                        }
                        Err(_) => None,
                    }
                }
                Ok(_) => None,
                Err(error) => {
                    tracing::warn!("{}: no table for {addr}: {error}", slot.resource);
                    None
                }
            },
        };
        let (Some(taken), Some(running)) = (taken, state.running.as_mut()) else { return };
        let first = running.role == Role::Standby;
        running.role = Role::Primed;
        running.primed_for.insert(addr);
        if taken.unchecked > 0 {
            settle(&running.director, place).await;
        }
        if first {
            self.say_taken(&slot.resource, Some(taken), &format!("table programmed before {addr} is announced"));
            tokio::spawn(expire(Arc::downgrade(self), slot.clone()));
        }
    }

    /// As a stop of the cluster would.
    async fn stand_down(&self, slot: &Slot, state: &mut State) {
        tracing::info!("{}: back to standby: the cluster does not start it here", slot.resource);
        if let Err(outcome) = self.demote(slot, state).await {
            tracing::warn!("{}: {}", slot.resource, outcome.reason);
        }
    }
}

/// First checks of unknown servers are under way: what they find goes into the table before the address is there.
async fn settle(director: &ldirectord::service::Director, place: &Place) {
    let all = async {
        while !director.is_settled(place.clone()).await {
            tokio::time::sleep(SETTLE_LOOK).await;
        }
    };
    let _ = tokio::time::timeout(SETTLE_LIMIT, all).await;
    director.set_active(true).await;
}

async fn expire(inner: Weak<Inner>, slot: Arc<Slot>) {
    tokio::time::sleep(START_WITHIN).await;
    let Some(inner) = inner.upgrade() else { return };
    let mut state = slot.state.lock().await;
    if state.running.as_ref().is_some_and(|r| r.role == Role::Primed) {
        inner.stand_down(&slot, &mut state).await;
    }
}

fn serves(config: &Config, place: &Place) -> bool {
    config.virtuals.iter().any(|v| place.is_of(&v.key))
}
