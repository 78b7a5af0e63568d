//! corosync.conf changes while the cluster runs: what the operator does to it, and how the daemons take it over.
//!
//! ```text
//!   operator: stops who goes ─> writes the file to all disks ─> asks a node to reload, again until everybody runs with it
//!   daemons:  Ask ─> each reads its file ─> Vote ─> all take it over at the same place of the order, or nobody does
//! ```
//!
//! The nodelist changes by one node at a time, and by the next one only when everybody runs with the last: majorities of two
//! lists that follow each other always meet.

use crate::clients::Mark;
use crate::plan::Change;
use crate::site::Site;
use crate::world::{What, World};
use base::{NodeId, Time};
use controller::{Input, Request};
use quorum::reload::{Lists, Members, Message, Shared, Step};
use std::rc::Rc;
use std::time::Duration;

/// The daemons' own ordered messages. No message of a controller begins like that; the number of the message follows.
const RELOAD: &[u8] = b"\xFFreload";
/// Reading a file takes so long, in µs, at least and at most; now and then a name service hangs.
const READING_US: (u64, u64) = (500, 30_000);
const HANGING_US: u64 = 25_000_000;
/// As in the daemon: who waits longer gives up for all.
const READ_WITHIN: Duration = Duration::from_secs(20);
/// The ring's thread takes a change over so much later than the core task, at most.
const RING_LATER_US: u64 = 5_000;
/// The operator looks again after that time,
const LOOKS_US: u64 = 500_000;
/// asks again after that one,
const AGAIN: Duration = Duration::from_secs(3);
/// and gives a node up that does not stop, or pulls its plug.
const STOPPED_WITHIN: Duration = Duration::from_secs(15);

/// One plan in so many has an operator who does not wait for the node to stop.
const HASTY: u64 = 4;

/// What a process knows of reloads.
#[derive(Default)]
pub struct Reloads {
    pub agreement: quorum::reload::Agreement,
    read: Option<Rc<Site>>,
    number: u64,
    /// Its own attempt, and since when.
    waiting: Option<(u64, Time)>,
}

/// The operator's work at the nodelist.
#[derive(Clone, Debug)]
pub struct Work {
    by: NodeId,
    begun: Time,
    /// Who has to stop first.
    stopping: Option<NodeId>,
    asked: Option<Time>,
}

impl World {
    /// The step of a plan.
    pub(crate) fn change_file(&mut self, by: NodeId, change: Change) {
        let mut file = (*self.site).clone();
        file.number += 1;
        match change {
            Change::DeadAfter { ms } => {
                file.dead_after = Duration::from_millis(ms);
                self.write_file(file, None);
                return self.ask_reload(by);
            }
            Change::Remove { of } => {
                if !self.may_change() || !file.nodes.contains(&of) || file.nodes.len() < 3 {
                    return;
                }
                self.host_mut(of).wanted = false;
                self.ask(of, Mark::Other, Request::Shutdown { cancel: false });
                self.work = Some(Work { by, begun: self.now, stopping: Some(of), asked: None });
                // Some operators do not wait: it is the daemons that refuse, for as long as it is in the ring.
                if self.plan.seed.is_multiple_of(HASTY) {
                    file.nodes.retain(|n| *n != of);
                    self.write_file(file, None);
                }
            }
            Change::Add { of, wiped, missing } => {
                if !self.may_change() || file.nodes.contains(&of) {
                    return;
                }
                file.nodes.push(of);
                file.nodes.sort();
                self.write_file(file, missing);
                self.install(of, wiped);
                self.work = Some(Work { by, begun: self.now, stopping: None, asked: None });
            }
        }
        self.after(LOOKS_US, by, 0, What::Operator);
    }

    /// Nothing is under way, and everybody who lives runs with the file.
    fn may_change(&self) -> bool {
        self.work.is_none() && self.file_runs()
    }

    pub(crate) fn file_runs(&self) -> bool {
        self.hosts().filter_map(|h| h.process.as_ref()).all(|p| p.site.number == self.site.number)
    }

    fn write_file(&mut self, file: Site, missing: Option<NodeId>) {
        let file = Rc::new(file);
        self.site = Rc::clone(&file);
        for host in self.all_hosts_mut().filter(|h| Some(h.id) != missing) {
            host.file = Rc::clone(&file);
        }
        self.tell(NodeId(0), || format!("the file {} lists {:?}", file.number, crate::core::numbers(&file.nodes)));
    }

    fn install(&mut self, of: NodeId, wiped: bool) {
        let starts = self.rng.between(0, 4_000_000);
        let host = self.host_mut(of);
        if wiped {
            host.disk = Default::default();
        }
        host.wanted = true;
        if wiped {
            self.book.evs.another_machine(of);
        }
        self.tell(of, || format!("is to be a node, {}", if wiped { "with nothing on its disk" } else { "again" }));
        let powered = self.host(of).powered;
        self.after(starts, of, 0, if powered { What::Start } else { What::Boot });
    }

    /// The operator goes on.
    pub(crate) fn operator_looks(&mut self) {
        let Some(mut work) = self.work.take() else { return };
        if let Some(of) = work.stopping {
            let written = !self.site.nodes.contains(&of);
            let late = self.now.since(work.begun) > STOPPED_WITHIN || self.healing;
            if self.host(of).process.is_none() || written && late {
                self.power_off(of, None);
                let mut file = (*self.site).clone();
                file.number += 1;
                file.nodes.retain(|n| *n != of);
                self.write_file(file, None);
                work.stopping = None;
            } else if written {
                self.ask_reload(work.by);
            } else if self.now.since(work.begun) > STOPPED_WITHIN || self.healing {
                self.host_mut(of).wanted = true;
                return self.after(1_000, of, 0, What::Start);
            }
        } else if self.file_runs() {
            return self.tell(NodeId(0), || "everybody runs with the file".to_owned());
        } else if work.asked.is_none_or(|at| self.now.since(at) > AGAIN) {
            // What was forgotten in the first place has been found by then.
            let file = Rc::clone(&self.site);
            if work.asked.is_some() {
                self.all_hosts_mut().for_each(|h| h.file = Rc::clone(&file));
            }
            work.asked = Some(self.now);
            self.ask_reload(work.by);
        }
        self.after(LOOKS_US, work.by, 0, What::Operator);
        self.work = Some(work);
    }

    /// In the end everybody has the file, and somebody who runs with another one is asked to take it over.
    pub(crate) fn finish_reload(&mut self) {
        let file = Rc::clone(&self.site);
        self.all_hosts_mut().for_each(|h| h.file = Rc::clone(&file));
        let behind = |h: &&crate::host::Host| h.process.as_ref().is_some_and(|p| p.site.number != file.number);
        let behind = self.hosts().find(behind).map(|h| h.id);
        if let Some(id) = behind.filter(|_| self.work.is_none()) {
            self.work = Some(Work { by: id, begun: self.now, stopping: None, asked: None });
            self.operator_looks();
        }
    }

    fn ask_reload(&mut self, by: NodeId) {
        let able = |w: &World, id: NodeId| {
            let host = w.host(id);
            host.runs() && host.process.as_ref().is_some_and(|p| p.hung_until.is_none() && p.reloads.waiting.is_none())
        };
        let behind =
            |w: &World, id: NodeId| w.host(id).process.as_ref().is_some_and(|p| p.site.number != w.site.number);
        let all: Vec<NodeId> = self.hosts().map(|h| h.id).filter(|id| able(self, *id)).collect();
        let first = all.iter().copied().find(|id| *id == by && behind(self, *id));
        let Some(id) = first.or_else(|| all.into_iter().find(|id| behind(self, *id))) else { return };
        let (now, file) = (self.now, Rc::clone(&self.host(id).file));
        let Some(p) = &mut self.host_mut(id).process else { return };
        if p.members.is_empty() {
            // Nobody to agree with.
            return self.take_over(id, file);
        }
        p.reloads.number += 1;
        let number = p.reloads.number;
        p.reloads.waiting = Some((number, now));
        self.tell(id, || format!("is asked to take file {} over", file.number));
        self.order(id, Message::Ask { number, shared: file.shared() });
        self.drain(id);
    }

    fn order(&mut self, id: NodeId, message: Message) {
        let mut payload = RELOAD.to_vec();
        payload.extend((self.orders.len() as u64).to_be_bytes());
        self.orders.push(message);
        self.broadcast(id, payload);
    }

    /// Whether the message was one of the daemons' own.
    pub(crate) fn ordered(&mut self, id: NodeId, m: &totem::Message) -> bool {
        let Some(number) = m.payload.strip_prefix(RELOAD) else { return false };
        let number = number.try_into().map_or(0, u64::from_be_bytes);
        let Some(message) = self.orders.get(number as usize).cloned() else { return false };
        let Some(p) = &mut self.host_mut(id).process else { return true };
        let cancelled = matches!(message, Message::Cancel { .. });
        let step = p.reloads.agreement.receive(m.sender, message, Site::name);
        if cancelled && step == Step::Nothing && m.sender == id {
            // Lost on the way: nobody knows of it any more.
            p.reloads.waiting = None;
        }
        self.reload_step(id, step, Some((m.view, m.seq)));
        true
    }

    pub(crate) fn reload_view(&mut self, id: NodeId, members: &[NodeId]) {
        let Some(p) = &mut self.host_mut(id).process else { return };
        let step = p.reloads.agreement.view(members);
        self.reload_step(id, step, None);
    }

    fn reload_step(&mut self, id: NodeId, step: Step, at: Option<(totem::ViewId, u64)>) {
        let Some(p) = &mut self.host_mut(id).process else { return };
        match step {
            Step::Nothing => {}
            Step::Read { asker, number, shared } => {
                let hangs = self.rng.percent(2);
                let us = if hangs { HANGING_US } else { self.rng.between(READING_US.0, READING_US.1) };
                self.soon(us, id, What::FileRead { asker, number, shared: Rc::new(shared) });
            }
            Step::Apply { asker, number } => {
                if asker == id {
                    p.reloads.waiting = None;
                }
                if let Some(file) = p.reloads.read.take() {
                    if let Some((view, seq)) = at {
                        self.check_reload(id, &file, (view, seq), (asker, number));
                    }
                    self.take_over(id, file);
                }
            }
            Step::Drop { asker, number, why } => {
                if asker == id && p.reloads.waiting.is_some_and(|(n, _)| n == number) {
                    p.reloads.waiting = None;
                }
                if p.reloads.agreement.under_way().is_none() {
                    p.reloads.read = None;
                }
                self.tell(id, || format!("takes no file over: {}", why.join("; ")));
            }
        }
    }

    /// The file has been read, for the vote.
    pub(crate) fn file_read(&mut self, id: NodeId, asker: NodeId, number: u64, shared: &Shared) {
        let now = self.now;
        let file = Rc::clone(&self.host(id).file);
        let Some(p) = &mut self.host_mut(id).process else { return };
        if p.reloads.agreement.under_way() != Some((asker, number)) {
            return;
        }
        let local = p.clock.shows(now);
        let peers = p.totem.status(local).peers;
        let works = |node: NodeId| {
            let links = peers.iter().filter(|l| l.node == node).flat_map(|l| &l.links);
            links.filter(|l| l.up && l.heard_by_peer).map(|l| l.link).collect()
        };
        let members: Members = p.controller.status().members.into_iter().map(|n| (n, works(n))).collect();
        let (runs, wanted) = (p.site.listed(), file.listed());
        let lists = Lists { me: id, file_name: "corosync.conf", links: p.site.links, runs: &runs, file: &wanted };
        let mut refusals = lists.against(&members);
        refusals.extend(file.shared().differences(shared, "corosync.conf", &Site::name(asker)));
        p.reloads.read = refusals.is_empty().then_some(file);
        self.order(id, Message::Vote { asker, number, refusals });
    }

    /// Looked at with every tick.
    pub(crate) fn reload_late(&mut self, id: NodeId) {
        let now = self.now;
        let Some(p) = &mut self.host_mut(id).process else { return };
        let late = p.reloads.waiting.as_mut().filter(|(_, since)| now.since(*since) > READ_WITHIN);
        let Some((number, since)) = late else { return };
        *since = now;
        let number = *number;
        self.order(id, Message::Cancel { number });
    }

    /// From here on the process runs with the file; its ring's thread a moment later.
    fn take_over(&mut self, id: NodeId, file: Rc<Site>) {
        let now = self.now;
        let later = self.rng.below(RING_LATER_US);
        let Some(p) = &mut self.host_mut(id).process else { return };
        p.site = Rc::clone(&file);
        let before = p.quorum.is_quorate();
        let refused = p.quorum.reconfigure(file.quorum_config(id)).err();
        self.tell(id, || format!("takes file {} over", file.number));
        if let Some(why) = refused {
            self.book.fail("reload", now, format!("node {id} cannot take over its file: {why}"));
        }
        self.soon(later, id, What::RingChange);
        self.count_votes(id);
        self.device_configured(id);
        self.judged(id);
        if self.host(id).process.as_ref().is_some_and(|p| p.quorum.is_quorate() != before) {
            self.quorum_told(id);
        }
    }

    /// The ring's thread: with the file that its process runs with by now.
    pub(crate) fn ring_change(&mut self, id: NodeId) {
        let now = self.now;
        let Some(p) = &mut self.host_mut(id).process else { return };
        let local = p.clock.shows(now);
        if let Err(why) = p.totem.reconfigure(local, p.site.ring(id, 0)) {
            self.book.fail("reload", now, format!("the ring of node {id} cannot take over its file: {why}"));
        }
    }

    /// What a majority is, for the controller.
    pub(crate) fn count_votes(&mut self, id: NodeId) {
        let Some(p) = &mut self.host_mut(id).process else { return };
        let config = p.quorum.config();
        let two_node = config.two_node_effective();
        let votes = config.votes.keys().map(|n| (*n, p.quorum.votes_of(*n))).collect();
        p.controller.set_nodes(p.site.names(), votes, p.quorum.expected_votes(), two_node);
    }

    /// Quorum has changed without a view.
    pub(crate) fn quorum_told(&mut self, id: NodeId) {
        let now = self.now;
        let Some(p) = &mut self.host_mut(id).process else { return };
        let (quorate, local) = (p.quorum.is_quorate(), p.clock.shows(now));
        p.totem.set_quorate(local, quorate);
        self.judged(id);
        self.input(id, Input::Quorum { quorate });
    }
}
