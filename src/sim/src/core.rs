//! The controller's task: what the ring reports and the world answers goes into the controller, and what it wants is done.

use crate::process::Report;
use crate::ring::End;
use crate::world::{What, World};
use base::{NodeId, Time, WallTime};
use controller::{Input, Output, Persist, Response};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use xml::Element;

/// A schedule takes that long, in µs, at least and at most.
const SCHEDULING_US: (u64, u64) = (2_000, 20_000);
const DIGESTING_US: u64 = 3_000;
/// A healthy disk takes that long for one write, in µs, at least and at most.
const WRITING_US: (u64, u64) = (500, 15_000);

pub(crate) fn view_id(id: totem::ViewId) -> controller::ViewId {
    controller::ViewId { seq: id.seq, rep: id.rep }
}

impl World {
    pub(crate) fn input(&mut self, id: NodeId, input: Input) {
        let (now, wall) = (self.now, self.wall_of(id));
        let Some(p) = &mut self.host_mut(id).process else { return };
        let local = p.clock.shows(now);
        p.controller.handle(local, wall, input);
    }

    pub(crate) fn due(&mut self, id: NodeId) {
        let now = self.now;
        let Some(p) = &mut self.host_mut(id).process else { return };
        if p.due_timer.is_none_or(|at| at > now) {
            return;
        }
        p.due_timer = None;
        self.input(id, Input::Tick);
    }

    pub(crate) fn unhung(&mut self, id: NodeId) {
        let now = self.now;
        if let Some(p) = &mut self.host_mut(id).process
            && p.hung_until.is_some_and(|at| at <= now)
        {
            p.hung_until = None;
        }
        self.notice_losses(id);
    }

    pub(crate) fn heard_out(&mut self, id: NodeId) {
        let now = self.now;
        let Some(p) = &mut self.host_mut(id).process else { return };
        let local = p.clock.shows(now);
        if p.listening.take_if(|at| *at <= local).is_some() && p.quorum.listen(false) {
            self.quorum_told(id);
        }
    }

    pub(crate) fn report(&mut self, id: NodeId, report: Report) {
        match report {
            Report::View(view) => self.view(id, view),
            Report::Deliver(m) => {
                if self.ordered(id, &m) {
                    return;
                }
                let view = view_id(m.view);
                self.input(id, Input::Deliver { sender: m.sender, view, seq: m.seq, payload: m.payload });
            }
            Report::Safe { view, seq } => self.input(id, Input::Safe { view: view_id(view), seq }),
            Report::Transitional => self.input(id, Input::Transitional),
            Report::Current(current) => self.input(id, Input::Ring { current }),
            Report::Event(event) => self.event(id, event),
        }
    }

    fn view(&mut self, id: NodeId, view: totem::View) {
        let now = self.now;
        let Some(p) = &mut self.host_mut(id).process else { return };
        p.members.clone_from(&view.members);
        p.view = view.id;
        self.device_view(id, &view);
        let Some(p) = &mut self.host_mut(id).process else { return };
        p.quorum.set_view(&view.members);
        self.count_votes(id);
        self.reload_view(id, &view.members);
        let Some(p) = &mut self.host_mut(id).process else { return };
        let (quorate, local) = (p.quorum.is_quorate(), p.clock.shows(now));
        p.totem.set_quorate(local, quorate);
        self.judged(id);
        self.book.links.view();
        let open = self.devices.switched.iter_mut().filter(|s| s.by == id && s.done.is_none());
        open.filter(|s| view.members.contains(&s.target)).for_each(|s| s.met = true);
        self.check_needless_view(id, &view.members);
        self.tell(id, || format!("view {} of {:?}, quorate {quorate}", view.id, numbers(&view.members)));
        self.input(id, Input::View { id: view_id(view.id), members: view.members, quorate });
    }

    fn event(&mut self, id: NodeId, event: totem::Event) {
        let Some(p) = &mut self.host_mut(id).process else { return };
        match event {
            totem::Event::PeerFlags { node, ready, quorate } => {
                if p.quorum.learn(node, quorate) {
                    self.quorum_told(id);
                }
                self.input(id, Input::PeerReady { node, ready });
            }
            totem::Event::LocalStall { stalled_ms } => self.input(id, Input::Stalled { ms: stalled_ms }),
            totem::Event::StartedOver { .. } => self.input(id, Input::StartedOver),
            totem::Event::LinkUp { .. } | totem::Event::LinkDown { .. } => {}
            other => self.tell(id, || format!("ring: {other:?}")),
        }
    }

    pub(crate) fn core_output(&mut self, id: NodeId, output: Output) {
        let now = self.now;
        match output {
            Output::Broadcast(payload) => self.broadcast(id, payload),
            Output::Execute { call, operation, record } => self.execute(id, call, operation, record),
            Output::Record(record) => drop(self.host_mut(id).disk.records.insert(record.instance.id.clone(), *record)),
            Output::Unrecord { instance } => drop(self.host_mut(id).disk.records.remove(&instance)),
            Output::Cancel { call } => self.cancel(id, call),
            Output::Schedule { ticket, cib, wall } => {
                let us = self.rng.between(SCHEDULING_US.0, SCHEDULING_US.1);
                if let Some(p) = &mut self.host_mut(id).process {
                    p.newest_schedule = ticket;
                }
                self.soon(us, id, What::Schedule { ticket, cib, wall });
            }
            Output::Reply { id: client, response } => self.reply(id, client, response),
            Output::Persist(saved) => self.persist(id, saved),
            Output::Discarded { reason, .. } => {
                self.tell(id, || format!("discarded: {reason}"));
            }
            Output::Owners(owners) => {
                if let Some(p) = &mut self.host_mut(id).process {
                    p.owners = owners;
                }
            }
            Output::FenceAgent { call, run } => self.fence_agent(id, call, Rc::new(run)),
            Output::Obey { reason, panic } => {
                self.tell(id, || format!("obeys: {reason}"));
                if panic {
                    self.power_off(id, Some(5_000));
                } else {
                    self.end_process(id, End::Obeyed);
                }
            }
            Output::Timeline(e) => self.book.story.timeline(now, id, &e),
            Output::Alert(_) | Output::Notify(_) => {}
            Output::Digest { ticket, cib } => {
                if let Some(p) = &mut self.host_mut(id).process {
                    p.newest_digest = ticket;
                }
                self.soon(DIGESTING_US, id, What::Digest { ticket, cib });
            }
            Output::FailStop { reason, return_after_ms } => {
                self.book.fail_stops += 1;
                self.tell(id, || format!("cannot follow: {reason}"));
                if let Some(p) = &mut self.host_mut(id).process {
                    p.waiting.clear();
                    p.permit_until = Time::ZERO;
                    let local = p.clock.shows(now);
                    p.totem.step_out(local, Duration::from_millis(return_after_ms));
                }
                self.book.evs.starts_over(id);
            }
            Output::Leave => self.leave(id),
        }
    }

    fn leave(&mut self, id: NodeId) {
        let now = self.now;
        let Some(p) = &mut self.host_mut(id).process else { return };
        let local = p.clock.shows(now);
        p.totem.leave(local);
        while let Some(output) = self.host_mut(id).process.as_mut().and_then(|p| p.totem.poll_output()) {
            if let totem::Output::Send { to, link, frame } = output {
                self.send(id, to, link, frame);
            }
        }
        self.end_process(id, End::Left);
    }

    pub(crate) fn broadcast(&mut self, id: NodeId, payload: Vec<u8>) {
        let now = self.now;
        let Some(p) = &mut self.host_mut(id).process else { return };
        let local = p.clock.shows(now);
        p.waiting.push_back(payload);
        let mut sent = Vec::new();
        while let Some(payload) = p.waiting.pop_front() {
            match p.totem.broadcast(local, payload.clone()) {
                Err(totem::BroadcastError::QueueFull { .. }) => {
                    p.waiting.push_front(payload);
                    break;
                }
                Ok(()) => sent.push(payload),
                // What is said after the ring was left goes nowhere.
                Err(totem::BroadcastError::Left) => {}
                Err(error @ totem::BroadcastError::TooLarge { .. }) => {
                    self.book.fail("limits", now, format!("node {id}: {error}"));
                    return;
                }
            }
        }
        let (waiting, members) = (p.waiting.len(), p.members.clone());
        self.book.limits.waiting(waiting);
        sent.iter().for_each(|payload| self.book.links.sent(now, id, &members, payload));
    }

    pub(crate) fn schedule(&mut self, id: NodeId, ticket: u64, cib: &Arc<Element>, wall: WallTime) {
        let newest = self.host(id).process.as_ref().is_some_and(|p| p.newest_schedule == ticket);
        if !newest {
            return;
        }
        let result = scheduler::schedule(cib, wall, &scheduler::Options::default());
        self.book.schedules += 1;
        match &result {
            Ok(schedule) => {
                if let Err(wrong) = crate::properties::transitions::check(cib, schedule) {
                    self.book.fail("transitions", self.now, format!("node {id}: {wrong}"));
                }
            }
            Err(e) => self.book.fail("transitions", self.now, format!("node {id}: no schedule: {e}")),
        }
        let result = result.map(Box::new).map_err(|e| e.to_string());
        self.input(id, Input::Scheduled { ticket, result });
    }

    pub(crate) fn digest(&mut self, id: NodeId, ticket: u64, cib: &Element) {
        if self.host(id).process.as_ref().is_some_and(|p| p.newest_digest == ticket) {
            self.input(id, Input::Digested { ticket, digest: controller::digest_of(cib) });
        }
    }

    fn persist(&mut self, id: NodeId, saved: Persist) {
        let ticket = saved.ticket;
        let us = match self.host(id).disk.mood {
            crate::disk::Mood::Slow(ms) => ms * 1_000,
            _ => self.rng.between(WRITING_US.0, WRITING_US.1),
        };
        self.host_mut(id).disk.under_way.push(saved);
        self.soon(us, id, What::Written { ticket });
    }

    /// A write ends, if the disk lets it.
    pub(crate) fn written(&mut self, id: NodeId, ticket: u64) {
        const AGAIN_US: u64 = 250_000;
        let disk = &mut self.host_mut(id).disk;
        if !disk.under_way.iter().any(|p| p.ticket == ticket) {
            // A newer write has taken it along.
            return;
        }
        match disk.mood {
            crate::disk::Mood::Hung => self.soon(AGAIN_US, id, What::Written { ticket }),
            crate::disk::Mood::Full => {
                let newest = disk.under_way.iter().map(|p| p.ticket).max().unwrap_or_default();
                if newest == ticket {
                    self.soon(AGAIN_US, id, What::Written { ticket });
                } else {
                    disk.under_way.retain(|p| p.ticket != ticket);
                }
                self.input(id, Input::Stored { ticket, written: false });
            }
            crate::disk::Mood::Well | crate::disk::Mood::Forgets | crate::disk::Mood::Slow(_) => {
                disk.done(ticket);
                self.input(id, Input::Stored { ticket, written: true });
            }
        }
    }

    fn reply(&mut self, id: NodeId, client: u64, response: Response) {
        if let Some(p) = &mut self.host_mut(id).process {
            p.clients.remove(&client);
        }
        self.answered(id, client, &response);
    }
}

pub(crate) fn numbers(nodes: &[NodeId]) -> Vec<u32> {
    nodes.iter().map(|n| n.0).collect()
}
