//! Agents: what an operation does to its machine, how long it takes, and how it goes wrong.
//!
//! `IPaddr2` places an address as a lease; every other agent places a thing that goes by its parameters, so that an agent which
//! is stopped with others than it was started with leaves something behind.

use crate::host::Held;
use crate::process::Kept;
use crate::world::{What, World};
use base::exit::OcfCode;
use base::lease::Bounds;
use base::{Instance, NodeId, Operation, Reason};
use controller::{ExecResult, Input, OpStatus, Record};
use std::collections::BTreeMap;
use std::time::Duration;

/// An operation takes that long, in µs, at least and at most.
const TAKES_US: (u64, u64) = (1_000, 25_000);
const LEASE: Duration = Bounds::STANDARD.lifetime;

/// What is wrong with an agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mood {
    Fails(OcfCode),
    /// It does nothing and ends with its time-out.
    Hangs,
    /// It says that it has succeeded and has done nothing; for starts only.
    Lies,
    Slow(u64),
    /// It does its work, and prints what nobody should.
    Rubbish,
    /// A recurring monitor says that nothing is there; probes tell the truth.
    Denies,
}

/// By node, instance and action; whatever is not here is well.
pub type Moods = BTreeMap<(NodeId, String, String), Mood>;

/// What is placed for an instance, other than an address.
pub fn thing(instance: &Instance) -> String {
    let params: Vec<String> = instance.params.iter().map(|(n, v)| format!("{n}={v}")).collect();
    format!("{} {} {}", instance.agent, instance.id, params.join(" "))
}

pub fn address(instance: &Instance) -> Option<&str> {
    if instance.agent == "IPaddr2" { instance.params.get("ip").map(String::as_str) } else { None }
}

impl World {
    pub(crate) fn execute(&mut self, id: NodeId, call: u64, operation: Operation, record: Option<Box<Record>>) {
        if let Some(record) = record {
            self.host_mut(id).disk.records.insert(record.instance.id.clone(), *record);
        }
        let key = (id, operation.instance.id.clone(), operation.action.clone());
        let us = match self.agents.get(&key) {
            Some(Mood::Hangs) => operation.timeout_ms.max(1) * 1_000,
            Some(Mood::Slow(ms)) => (ms * 1_000).min(operation.timeout_ms.max(1) * 1_000),
            _ => self.rng.between(TAKES_US.0, TAKES_US.1),
        };
        self.tell(id, || format!("runs {}", operation.key()));
        self.begins(id, &operation);
        if let Some(p) = &mut self.host_mut(id).process {
            p.running.insert(call, operation);
        }
        self.soon(us, id, What::Agent { call });
    }

    /// What has to hold when an operation begins.
    fn begins(&mut self, id: NodeId, operation: &Operation) {
        self.check_needless(id, operation);
        if operation.action == "start" {
            self.check_order(id, &operation.instance.id);
            self.check_active(id, &operation.instance.id);
        }
    }

    pub(crate) fn cancel(&mut self, id: NodeId, call: u64) {
        if let Some(p) = &mut self.host_mut(id).process {
            p.running.remove(&call);
            p.asking.remove(&call);
        }
    }

    pub(crate) fn agent_ends(&mut self, id: NodeId, call: u64) {
        let Some(operation) = self.running_operation(id, call) else { return };
        let starts_address = operation.action == "start" && address(&operation.instance).is_some();
        let silent = self.host(id).process.as_ref().is_some_and(|p| !p.owners.silent.is_empty());
        let key = (id, operation.instance.id.clone(), operation.action.clone());
        if starts_address && silent && !self.agents.contains_key(&key) {
            return self.begin_asking(id, call);
        }
        let mut result = match self.agents.get(&key).cloned() {
            Some(Mood::Fails(code)) => {
                let mut result = ExecResult::done(code);
                result.reason = Reason::cleaned("it was told to fail");
                result
            }
            Some(Mood::Hangs) => ExecResult::timeout("it hangs"),
            Some(Mood::Lies) if operation.action == "start" => ExecResult::done(OcfCode::OK),
            Some(Mood::Denies) if operation.interval_ms > 0 => ExecResult::done(OcfCode::NOT_RUNNING),
            Some(Mood::Slow(ms)) if ms >= operation.timeout_ms => {
                // It has done its work, and nobody waits for it any more.
                self.take_effect(id, &operation);
                ExecResult::timeout("it was too slow")
            }
            _ => ExecResult::done(self.take_effect(id, &operation)),
        };
        if self.agents.get(&key) == Some(&Mood::Rubbish) {
            result.reason = Reason::cleaned("\u{1b}[31m]]>&<\0 \u{fffe} not printable");
        }
        self.finish(id, call, result);
    }

    pub(crate) fn finish(&mut self, id: NodeId, call: u64, result: ExecResult) {
        let Some(p) = &mut self.host_mut(id).process else { return };
        let Some(operation) = p.running.remove(&call) else { return };
        p.asking.remove(&call);
        if operation.interval_ms == 0 || result.code != OcfCode::OK || result.status != OpStatus::Done {
            self.tell(id, || format!("{} is over: {} {:?}", operation.key(), result.code.0, result.status));
        }
        self.input(id, Input::Executed { call, result });
    }

    /// Does what the operation does to its machine, and says what the agent says.
    pub(crate) fn take_effect(&mut self, id: NodeId, operation: &Operation) -> OcfCode {
        let instance = &operation.instance;
        if instance.class == "stonith" {
            return self.device_operation(id, operation);
        }
        let code = match address(instance) {
            Some(address) => self.address_operation(id, operation, address),
            None => self.thing_operation(id, operation),
        };
        if operation.action == "monitor" && code == OcfCode::NOT_RUNNING {
            self.book.active.stopped(id, &instance.id);
        }
        code
    }

    fn thing_operation(&mut self, id: NodeId, operation: &Operation) -> OcfCode {
        let instance = &operation.instance;
        let thing = thing(instance);
        let host = self.host_mut(id);
        let here = host.placed.contains_key(&thing);
        match operation.action.as_str() {
            "start" => {
                host.placed.insert(thing, instance.id.clone());
                self.started(id, &instance.id);
                OcfCode::OK
            }
            "stop" => {
                host.placed.remove(&thing);
                host.promoted.remove(&instance.id);
                self.book.active.stopped(id, &instance.id);
                OcfCode::OK
            }
            "monitor" if here && host.promoted.contains(&instance.id) => OcfCode::PROMOTED,
            "monitor" if here => OcfCode::OK,
            "monitor" => OcfCode::NOT_RUNNING,
            "promote" if here => {
                host.promoted.insert(instance.id.clone());
                OcfCode::OK
            }
            "demote" => {
                host.promoted.remove(&instance.id);
                if here { OcfCode::OK } else { OcfCode::NOT_RUNNING }
            }
            "promote" => OcfCode::NOT_RUNNING,
            "notify" | "reload-agent" | "reload" => OcfCode::OK,
            _ => OcfCode::UNIMPLEMENTED,
        }
    }

    fn address_operation(&mut self, id: NodeId, operation: &Operation, address: &str) -> OcfCode {
        let now = self.now;
        let resource = operation.instance.id.clone();
        let host = self.host_mut(id);
        match operation.action.as_str() {
            "start" => {
                let until = now + LEASE;
                host.addresses.insert(address.to_owned(), Held { resource: resource.clone(), since: now, until });
                if let Some(p) = &mut host.process {
                    p.kept.insert(resource.clone(), Kept { address: address.to_owned(), since: now });
                }
                self.at(until, id, 0, What::Lapse { address: address.to_owned() });
                self.started(id, &resource);
                OcfCode::OK
            }
            "stop" => {
                host.addresses.remove(address);
                if let Some(p) = &mut host.process {
                    p.kept.remove(&resource);
                }
                self.book.active.stopped(id, &resource);
                OcfCode::OK
            }
            "monitor" if host.addresses.contains_key(address) => OcfCode::OK,
            "monitor" => OcfCode::NOT_RUNNING,
            "notify" | "reload-agent" | "reload" => OcfCode::OK,
            _ => OcfCode::UNIMPLEMENTED,
        }
    }
}
