//! Whether clients may be drawn to this node for an address: for those who announce it.

use super::slot::Role;
use super::{Directors, base_id};
use std::net::IpAddr;

impl Directors {
    /// `Err` says why not. `director`: the resource that counts; else every active one that serves the address.
    pub(crate) async fn fit(&self, addr: IpAddr, director: Option<&str>) -> Result<(), String> {
        let (mut services, mut serving) = (0, false);
        for slot in self.inner.slots() {
            if director.is_some_and(|d| d != slot.resource && d != base_id(&slot.resource)) {
                continue;
            }
            // Asked often, so nobody waits for the slot meanwhile.
            let active = slot
                .state
                .lock()
                .await
                .running
                .as_ref()
                .filter(|r| r.role == Role::Active)
                .map(|r| r.director.handle());
            let Some(director) = active else { continue };
            let Some(found) = director.fitness(self.inner.place(addr)).await else {
                return Err(format!("director {} has ended unexpectedly", slot.resource));
            };
            if found.services > 0
                && let Some(fault) = found.fault
            {
                return Err(format!("director {}: {fault}", slot.resource));
            }
            services += found.services;
            serving |= found.serving;
        }
        match (services, serving) {
            (0, _) => Err("no active director of this node serves it".to_owned()),
            (_, false) => Err("no real server is up here".to_owned()),
            _ => Ok(()),
        }
    }
}
