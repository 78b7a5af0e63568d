//! A host's daemon begins and ends; its ring: frames and timers in, frames out, readiness, and the permit for leases.

use crate::clock::Clock;
use crate::host::{Pause, Paused};
use crate::process::{Core, Process, Report};
use crate::world::{What, World};
use base::lease::Bounds;
use base::{NodeId, Time};
use bytes::Bytes;
use cib::Cib;
use controller::{Controller, Owners};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

const B: Bounds = Bounds::STANDARD;
const NOT_READY_AFTER: Duration = Duration::from_secs(2);
const LEAVE_AFTER: Duration = Duration::from_secs(5);
/// The most that one look can witness of the controller's silence.
const WITNESSED_AT_MOST: Duration = Duration::from_millis(500);
const TICK_US: u64 = 100_000;
/// A node that starts listens that long for the other one of `two_node`.
const LISTEN: Duration = Duration::from_secs(3);
/// Ring numbers are reserved on disk so far ahead.
const RESERVED: u64 = 1_000;
/// The service manager starts a daemon that has failed after this time.
const RESTART_US: u64 = 1_000_000;
/// And an operator one that has ended in good order, or because it was fenced.
const OPERATOR_US: u64 = 5_000_000;

/// How a process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It was killed.
    Killed,
    /// It ended of its own accord, as asked.
    Left,
    /// It was fenced, and obeys.
    Obeyed,
}

impl World {
    pub(crate) fn boot(&mut self, id: NodeId) {
        let host = self.host_mut(id);
        if host.powered {
            return;
        }
        host.powered = true;
        self.tell(id, || "the machine is on".to_owned());
        self.start(id);
    }

    /// Starts the daemon on what its disk has.
    pub(crate) fn start(&mut self, id: NodeId) {
        let host = self.host_mut(id);
        let listed = host.file.nodes.contains(&id);
        if !host.powered || host.process.is_some() || !host.wanted || host.paused.is_some() || !listed {
            return;
        }
        let site = Rc::clone(&host.file);
        host.lives += 1;
        let (life, drift) = (host.lives, host.drift_ppm);
        let records: Vec<_> = host.disk.records.values().cloned().collect();
        let ring_seq = host.disk.ring_seq;
        let clock = Clock::new(self.now, drift);
        let local = clock.shows(self.now);
        // Its high part tells starts apart; totem counts up from it when it starts over.
        let incarnation = (u64::from(id.0) << 48) | (life << 20);
        let mut ring = site.ring(id, incarnation);
        ring.ring_seq = ring_seq;
        let (cib, lineage) = match self.stored(id) {
            Ok(stored) => stored,
            Err(e) => return self.book.fail("stored", self.now, format!("node {id} cannot read what it stored: {e}")),
        };
        let mut quorum = site.quorum(id);
        quorum.listen(true);
        let mut config = site.controller(id, incarnation);
        if let Some(level) = self.plan.older.get(&id).filter(|_| life == 1) {
            config.feature_level = *level;
        }
        let mut controller = Controller::new(config, cib, &lineage, local);
        let wall = self.wall_of(id);
        controller.restore(wall, records);
        let process = Process {
            life,
            me: id,
            site,
            clock,
            totem: Core::new(totem::Node::new(ring, local)),
            quorum,
            controller: Core::new(controller),
            hung_until: None,
            backlog: VecDeque::new(),
            waiting: VecDeque::new(),
            ready: false,
            current: false,
            permit_until: Time::ZERO,
            owners: Owners::default(),
            ticked: local,
            looked: local,
            silent: Duration::ZERO,
            members: Vec::new(),
            view: totem::ViewId::NONE,
            reloads: Default::default(),
            arbitration: Default::default(),
            listening: Some(local + LISTEN),
            kept: BTreeMap::new(),
            devices: BTreeSet::new(),
            running: BTreeMap::new(),
            asking: BTreeMap::new(),
            newest_schedule: 0,
            newest_digest: 0,
            ring_timer: None,
            due_timer: None,
            leaving: false,
            clients: BTreeSet::new(),
        };
        let heard_out = process.clock.when(local + LISTEN);
        self.host_mut(id).process = Some(process);
        self.tell(id, || format!("the daemon starts, life {life}"));
        self.book.life_begins(id, life);
        self.soon(10, id, What::Look);
        self.soon(20, id, What::Tick);
        self.soon(B.renew.as_micros() as u64, id, What::Renew);
        self.at(heard_out, id, life, What::HeardOut);
        self.count_votes(id);
        self.device_configured(id);
        self.drain(id);
    }

    /// The configuration on a node's disk and where it comes from; an empty one on a disk without.
    fn stored(&self, id: NodeId) -> Result<(Cib, String), cib::CibError> {
        match &self.host(id).disk.content {
            Some(c) => Ok((Cib::from_element((*c.cib).clone())?, c.lineage.clone())),
            None => Ok((Cib::new_empty(self.wall()), String::new())),
        }
    }

    /// The daemon is gone; what its machine holds is left to the guard and to the kernel.
    pub(crate) fn end_process(&mut self, id: NodeId, end: End) {
        let now = self.now;
        let begun = self.host(id).disk.under_way.len();
        let kept = if end == End::Killed { self.rng.below(begun as u64 + 1) as usize } else { begun };
        let host = self.host_mut(id);
        let Some(process) = host.process.take() else { return };
        host.disk.cut_off(kept);
        host.deferred.clear();
        let life = process.life;
        self.device_ends(process.arbitration.connection);
        self.book.life_ends(id, life, now);
        self.tell(id, || format!("the daemon ends: {end:?}"));
        // Half of what agents were at still comes to its end.
        for operation in process.running.into_values() {
            if self.rng.percent(50) {
                self.take_effect(id, &operation);
            }
        }
        match end {
            End::Obeyed => {
                for held in std::mem::take(&mut self.host_mut(id).addresses).into_values() {
                    self.book.active.lost(id, &held.resource);
                }
            }
            End::Killed | End::Left => {
                let notices = self.rng.between(1, B.silence.as_millis() as u64) * 1000;
                self.after(notices, id, life, What::Guard);
            }
        }
        match end {
            End::Killed => self.after(RESTART_US, id, 0, What::Start),
            // Somebody who puts everything right starts it again, also where a stop of long ago has come to its end only now.
            End::Obeyed | End::Left if self.healing => self.after(OPERATOR_US, id, 0, What::Start),
            _ => {}
        }
    }

    /// The machine loses its power; `back_ms` later it is on again.
    pub(crate) fn power_off(&mut self, id: NodeId, back_ms: Option<u64>) {
        let now = self.now;
        let begun = self.host(id).disk.under_way.len() as u64;
        let kept = self.rng.below(begun + 1) as usize;
        let records = self.rng.percent(50);
        let host = self.host_mut(id);
        if !host.powered {
            return;
        }
        let forgot = host.disk.power_lost(kept, records);
        let held: Vec<String> = host.addresses.keys().cloned().collect();
        let life = host.process.as_ref().map(|p| p.life);
        host.lose_power();
        if let Some(life) = life {
            self.book.life_ends(id, life, now);
        }
        self.book.power_lost(id);
        self.wires_fall_silent(id);
        if forgot {
            self.book.forgetful.insert(id);
        }
        self.book.takeover.lost(now, held);
        self.tell(id, || "the machine is off".to_owned());
        if let Some(ms) = back_ms {
            self.after(ms * 1_000, id, 0, What::Boot);
        }
    }

    pub(crate) fn pause(&mut self, id: NodeId, pause: Pause, ms: u64) {
        let now = self.now;
        let until = now + Duration::from_millis(ms);
        let host = self.host_mut(id);
        if !host.powered || host.paused.is_some() || (host.process.is_none() && pause != Pause::Machine) {
            return;
        }
        let life = host.lives;
        host.paused = Some(Paused { what: pause, since: now, until });
        self.tell(id, || format!("stands still for {ms} ms: {pause:?}"));
        self.at(until, id, 0, What::Wake { until });
        if pause == Pause::Daemon {
            let notices = self.rng.between(B.silence.as_millis() as u64, B.stopped().as_millis() as u64) * 1_000;
            self.after(notices, id, life, What::Guard);
        }
    }

    pub(crate) fn wake(&mut self, id: NodeId, until: Time) {
        let now = self.now;
        let host = self.host_mut(id);
        let Some(paused) = host.paused.take_if(|p| p.until == until) else { return };
        if paused.what == Pause::Machine {
            let stood = until.since(paused.since);
            let host = self.host_mut(id);
            if let Some(process) = &mut host.process {
                process.clock.stand_still(stood);
            }
            // The kernel's own timers stood still as well.
            host.addresses.values_mut().for_each(|held| held.until = held.until + stood);
            let again: Vec<(String, Time)> = host.addresses.iter().map(|(a, h)| (a.clone(), h.until)).collect();
            for (address, at) in again {
                self.at(at, id, 0, What::Lapse { address });
            }
        }
        let mut waiting = std::mem::take(&mut self.host_mut(id).deferred);
        // The ring's thread reads its sockets before it looks at its timers; the controller's task comes after it.
        waiting.sort_by_key(|e| match e.what {
            What::Frame { .. } | What::EchoReply { .. } => 0,
            What::RingTimer => 1,
            _ => 2,
        });
        self.tell(id, || "goes on".to_owned());
        for event in waiting {
            self.at(now, event.host, event.life, event.what);
        }
        self.notice_losses(id);
        if self.host(id).process.is_none() {
            self.after(RESTART_US, id, 0, What::Start);
        }
    }

    pub(crate) fn frame(&mut self, id: NodeId, from: NodeId, link: u8, frame: &[u8]) {
        let now = self.now;
        let Some(p) = &mut self.host_mut(id).process else { return };
        let local = p.clock.shows(now);
        p.totem.handle(local, from, link, frame);
    }

    pub(crate) fn ring_timer(&mut self, id: NodeId) {
        let now = self.now;
        let Some(p) = &mut self.host_mut(id).process else { return };
        // One that was armed for later, and replaced by an earlier one, is of no use any more.
        if p.ring_timer.is_none_or(|at| at > now) {
            return;
        }
        p.ring_timer = None;
        let local = p.clock.shows(now);
        p.totem.handle_timeout(local);
    }

    /// Readiness, and the permit for leases.
    pub(crate) fn look(&mut self, id: NodeId) {
        let now = self.now;
        self.soon(B.look.as_micros() as u64, id, What::Look);
        let Some(p) = &mut self.host_mut(id).process else { return };
        let local = p.clock.shows(now);
        p.silent += local.since(p.looked).min(WITNESSED_AT_MOST);
        p.looked = local;
        p.silent = p.silent.min(local.since(p.ticked));
        let (silent, ready) = (p.silent, p.silent < NOT_READY_AFTER);
        if ready != p.ready {
            p.ready = ready;
            p.totem.set_ready(local, ready);
        }
        let quorate = p.quorum.is_quorate();
        p.totem.set_quorate(local, quorate);
        let current = p.totem.is_current(local) && !p.leaving;
        if current != p.current {
            p.current = current;
            p.backlog.push_back(Report::Current(current));
        }
        if current && ready && p.owners.current {
            p.permit_until = now + B.permit;
        }
        if silent > LEAVE_AFTER && !p.leaving {
            p.leaving = true;
            p.totem.leave(local);
            self.tell(id, || "the controller does not tick: leaves the ring".to_owned());
            self.drain(id);
            self.end_process(id, End::Killed);
        }
    }

    pub(crate) fn tick(&mut self, id: NodeId) {
        let now = self.now;
        self.soon(TICK_US, id, What::Tick);
        let Some(p) = &mut self.host_mut(id).process else { return };
        p.ticked = p.clock.shows(now);
        self.input(id, controller::Input::Tick);
        self.reload_late(id);
    }

    /// Performs everything that ring and controller want done, until neither wants more.
    pub(crate) fn drain(&mut self, id: NodeId) {
        loop {
            let Some(p) = &mut self.host_mut(id).process else { return };
            if let Some(output) = p.totem.outlet().poll_output() {
                self.ring_output(id, output);
            } else if p.hung_until.is_none()
                && let Some(report) = p.backlog.pop_front()
            {
                self.report(id, report);
            } else if p.hung_until.is_none()
                && let Some(output) = p.controller.outlet().poll_output()
            {
                self.core_output(id, output);
            } else {
                break;
            }
        }
        self.arm(id);
    }

    fn ring_output(&mut self, id: NodeId, output: totem::Output) {
        let now = self.now;
        let Some(p) = &mut self.host_mut(id).process else { return };
        let report = match output {
            totem::Output::Send { to, link, frame } => return self.send(id, to, link, frame),
            totem::Output::Echo { to, link } => {
                return self.carry(id, to, link, What::EchoRequest { from: id, link });
            }
            totem::Output::SaveRingSeq(seq) => {
                let host = self.host_mut(id);
                if host.disk.ring_seq < seq {
                    host.disk.ring_seq = seq + RESERVED;
                }
                return;
            }
            totem::Output::Deliver(message) => {
                self.book.evs.delivered(id, &message);
                self.book.links.delivered(id, message.sender, &message.payload);
                Report::Deliver(message)
            }
            totem::Output::Safe { view, seq } => {
                self.book.evs.safe(id, view, seq);
                Report::Safe { view, seq }
            }
            totem::Output::Transitional(t) => {
                self.book.evs.transitional(id, &t);
                Report::Transitional
            }
            totem::Output::View(view) => {
                self.book.evs.view(id, &view, now);
                Report::View(view)
            }
            totem::Output::Event(event) => {
                if matches!(event, totem::Event::StartedOver { .. }) {
                    p.permit_until = Time::ZERO;
                    self.book.evs.starts_over(id);
                }
                Report::Event(event)
            }
        };
        if let Some(p) = &mut self.host_mut(id).process {
            p.backlog.push_back(report);
            let waiting = p.backlog.len();
            self.book.limits.backlog(waiting);
        }
    }

    pub(crate) fn send(&mut self, from: NodeId, to: NodeId, link: u8, frame: Bytes) {
        if self.net.fits(link, frame.len()) {
            self.carry(from, to, link, What::Frame { from, link, frame });
        }
    }

    fn carry(&mut self, from: NodeId, to: NodeId, link: u8, what: What) {
        let copies = self.net.carry(&mut self.rng, link, from, to);
        if !self.host(to).powered {
            return;
        }
        let life = self.host(to).lives;
        match copies.0 {
            [Some(first), Some(second)] => {
                self.after(first, to, life, what.clone());
                self.after(second, to, life, what);
            }
            [one, other] => {
                if let Some(delay) = one.or(other) {
                    self.after(delay, to, life, what);
                }
            }
        }
    }

    /// The kernel answers, whatever the daemon does.
    pub(crate) fn echo_request(&mut self, id: NodeId, from: NodeId, link: u8) {
        let host = self.host(id);
        if host.powered && host.paused.is_none_or(|p| p.what != Pause::Machine) {
            self.carry(id, from, link, What::EchoReply { from: id });
        }
    }

    pub(crate) fn echo_reply(&mut self, id: NodeId, from: NodeId) {
        let now = self.now;
        let Some(p) = &mut self.host_mut(id).process else { return };
        let local = p.clock.shows(now);
        p.totem.host_answered(local, from);
    }

    /// Arms the next timers of ring and controller.
    fn arm(&mut self, id: NodeId) {
        let now = self.now;
        let Some(p) = &mut self.host_mut(id).process else { return };
        let life = p.life;
        let due = |local: Option<Time>, armed: &mut Option<Time>, clock: &Clock| {
            let at = clock.when(local?).max(now + Duration::from_micros(1));
            if armed.is_some_and(|before| before <= at && before >= now) {
                return None;
            }
            *armed = Some(at);
            Some(at)
        };
        let ring = due(p.totem.deadline(totem::Node::poll_timeout), &mut p.ring_timer, &p.clock);
        // A task that hangs looks at its timers when it goes on.
        let hangs = p.hung_until.is_some();
        let core = due(p.controller.deadline(Controller::poll_timeout).filter(|_| !hangs), &mut p.due_timer, &p.clock);
        let device = p.arbitration.client.as_ref().and_then(quorum::qdevice::Device::poll_timeout).filter(|_| !hangs);
        let device = due(device, &mut p.arbitration.timer, &p.clock);
        if let Some(at) = ring {
            self.at(at, id, life, What::RingTimer);
        }
        if let Some(at) = core {
            self.at(at, id, life, What::Due);
        }
        if let Some(at) = device {
            self.at(at, id, life, What::DeviceTimer);
        }
    }

    /// What this host's calendar shows.
    pub(crate) fn wall_of(&self, id: NodeId) -> base::WallTime {
        base::WallTime(self.wall().0 + self.host(id).wall_ahead_ms)
    }
}
