//! Addresses as leases: renewed while the ring permits it, taken away by the guard or by the kernel; and the question to the
//! LAN before an address is taken from a node that has fallen silent.

use crate::process::Asking;
use crate::world::{What, World};
use base::exit::OcfCode;
use base::lease::Bounds;
use base::{NodeId, Reason};
use controller::{ExecResult, Input};
use std::time::Duration;

const B: Bounds = Bounds::STANDARD;

impl World {
    pub(crate) fn renew(&mut self, id: NodeId) {
        let now = self.now;
        self.soon(B.renew.as_micros() as u64, id, What::Renew);
        let host = self.host_mut(id);
        let Some(p) = &host.process else { return };
        if p.permit_until <= now {
            return;
        }
        let mut again = Vec::new();
        for (resource, kept) in &p.kept {
            let owned = p.owners.resources.contains(resource) || now.since(kept.since) < B.owner_grace;
            if let Some(held) = host.addresses.get_mut(&kept.address).filter(|_| owned) {
                held.until = now + B.lifetime;
                again.push((kept.address.clone(), held.until));
            }
        }
        for (address, at) in again {
            self.at(at, id, 0, What::Lapse { address });
        }
    }

    /// The kernel takes away what nobody has renewed, up to [`Bounds::expiry`] late.
    pub(crate) fn lapse(&mut self, id: NodeId, address: &str) {
        let now = self.now;
        let late = Duration::from_micros(self.rng.below(B.expiry.as_micros() as u64));
        let host = self.host_mut(id);
        if host.paused.is_some_and(|p| p.what == crate::host::Pause::Machine) {
            return;
        }
        let Some(held) = host.addresses.get_mut(address) else { return };
        let over = held.until <= now;
        // Looked at once when it is due; the second look comes after the kernel's own delay.
        if !over {
            return;
        }
        if now.since(held.until) == Duration::ZERO && late > Duration::ZERO {
            self.at(now + late, id, 0, What::Lapse { address: address.to_owned() });
            return;
        }
        self.lose_address(id, address, "its lease is over");
    }

    /// The guard takes the addresses of a daemon that has ended or does not run.
    pub(crate) fn guard_acts(&mut self, id: NodeId, life: u64) {
        let host = self.host(id);
        let gone = host.process.as_ref().is_none_or(|p| p.life != life);
        let stopped = host.paused.is_some_and(|p| p.what == crate::host::Pause::Daemon);
        let guard_runs = host.powered && (host.paused.is_none() || stopped);
        if !guard_runs || !(gone || stopped) {
            return;
        }
        // Those of a later life are another guard's.
        let own = host.process.as_ref().filter(|p| p.life != life);
        let kept: Vec<String> = own.map(|p| p.kept.values().map(|k| k.address.clone()).collect()).unwrap_or_default();
        let addresses: Vec<String> = host.addresses.keys().filter(|a| !kept.contains(a)).cloned().collect();
        for address in addresses {
            self.lose_address(id, &address, "its guard has taken it away");
        }
    }

    /// An address goes without having been stopped.
    pub(crate) fn lose_address(&mut self, id: NodeId, address: &str, why: &str) {
        let host = self.host_mut(id);
        let Some(held) = host.addresses.remove(address) else { return };
        self.book.active.lost(id, &held.resource);
        self.tell(id, || format!("{address} is gone: {why}"));
        self.notice_losses(id);
    }

    /// The daemon learns of addresses that are gone, if it runs; else when it does.
    pub(crate) fn notice_losses(&mut self, id: NodeId) {
        let host = self.host_mut(id);
        let Some(p) = host.process.as_mut().filter(|p| host.paused.is_none() && p.hung_until.is_none()) else { return };
        let gone = |kept: &crate::process::Kept| !host.addresses.contains_key(&kept.address);
        let lost: Vec<String> = p.kept.iter().filter(|(_, k)| gone(k)).map(|(r, _)| r.clone()).collect();
        for resource in lost {
            let Some(p) = &mut self.host_mut(id).process else { return };
            p.kept.remove(&resource);
            let reason = Reason::cleaned("its address is gone");
            self.input(id, Input::Failed { resource, code: OcfCode::NOT_RUNNING, reason });
            self.drain(id);
        }
    }

    pub(crate) fn begin_asking(&mut self, id: NodeId, call: u64) {
        let now = self.now;
        let Some(p) = &mut self.host_mut(id).process else { return };
        p.asking.entry(call).or_insert(Asking { began: now, asked: 0 });
        self.ask_lan(id, call);
    }

    pub(crate) fn ask_lan(&mut self, id: NodeId, call: u64) {
        let now = self.now;
        let Some(operation) = self.running_operation(id, call) else { return };
        let Some(address) = crate::agents::address(&operation.instance).map(str::to_owned) else { return };
        let answered = self
            .hosts()
            .any(|h| h.id != id && h.answers() && h.addresses.contains_key(&address) && self.net.meet(id, h.id));
        let Some(p) = &mut self.host_mut(id).process else { return };
        let nobody_silent = p.owners.silent.is_empty();
        let Some(asking) = p.asking.get_mut(&call) else { return };
        if nobody_silent {
            let mut result = ExecResult::done(OcfCode::ERROR);
            result.reason = Reason::cleaned("no node is silent any more");
            return self.finish(id, call, result);
        }
        if answered {
            asking.asked = 0;
            if now.since(asking.began) > B.contest() {
                let mut result = ExecResult::done(OcfCode::ERROR);
                result.reason = Reason::cleaned("a silent node holds it");
                return self.finish(id, call, result);
            }
            return self.soon(B.again.as_micros() as u64, id, What::Ask { call });
        }
        asking.asked += 1;
        if asking.asked > Bounds::PROBES {
            let code = self.take_effect(id, &operation);
            return self.finish(id, call, ExecResult::done(code));
        }
        let wait = if asking.asked == Bounds::PROBES { B.answer } else { B.probe };
        self.soon(wait.as_micros() as u64, id, What::Ask { call });
    }
}
