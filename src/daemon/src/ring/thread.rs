//! The loop of the ring's thread: inputs drained, core stepped, outputs performed, the one next timer armed.

use super::batch::Batches;
use super::links::{Received, Report as Said, Source};
use super::unread::Unread;
use super::unreserved::Unreserved;
use super::watch::Watch;
use super::{Command, LEAVE_AFTER, Links, MAX_BACKLOG, NOT_READY_AFTER, Options, Report, RingEvent, Shared, Status};
use crate::clock;
use base::lease::Bounds;
use base::{NodeId, Time};
use bytes::Bytes;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use std::collections::{BTreeMap, VecDeque};
use std::io::Read;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc::{self, error::TrySendError};
use wire::rekey::Endpoints;
use wire::session::{Dropped, Opened};

/// Packets taken from one link before the others have their turn.
const PACKETS_PER_TURN: usize = 64;
/// Longest sleep: permits and readiness are looked at that often.
const LOOK_EVERY: Duration = Bounds::STANDARD.look;
const STATUS_EVERY: Duration = Duration::from_millis(100);
/// Between two reports on the same host with a taken number, and such hosts told of within that time.
const STRANGER_EVERY: Duration = Duration::from_secs(60);
const MAX_TOLD: usize = 16;
/// How long a leaving node goes on, so that its farewell gets out.
const FAREWELL: Duration = Duration::from_millis(100);
const LARGEST_PACKET: usize = 65536;

pub(super) struct Parts {
    pub links: Links,
    pub inbox: mpsc::Receiver<Command>,
    pub woken: UnixStream,
    pub events: mpsc::Sender<Report>,
    pub shared: Arc<Shared>,
}

/// What there may be to read; a bit for each link.
#[derive(Clone, Copy)]
struct Due {
    woken: bool,
    packets: u8,
    errors: u8,
    answers: u8,
}

impl Due {
    const ALL: Due = Due { woken: true, packets: u8::MAX, errors: u8::MAX, answers: u8::MAX };
}

/// Bytes that sealing adds to a frame.
const SEALING: usize = wire::frame::DATA_HEADER + wire::seal::OVERHEAD;

struct Thread {
    node: totem::Node,
    endpoint: Endpoints,
    parts: Parts,
    options: Options,
    buffer: Vec<u8>,
    batches: Batches,
    due: Due,
    /// Messages that the core had no room for yet.
    waiting: VecDeque<Bytes>,
    /// Reports that the controller's task has not taken yet.
    backlog: VecDeque<Report>,
    current: bool,
    ready: bool,
    watch: Watch,
    unread: Unread,
    /// Hosts with a taken number that were told of, and when.
    told: BTreeMap<(NodeId, IpAddr), Time>,
    unreserved: Unreserved,
    looked: Time,
    published: Time,
    status: Status,
    leaving: Option<Time>,
    ended: Option<String>,
}

pub(super) fn run(me: NodeId, options: Options, parts: Parts) {
    let mut status = Status::default();
    if options.realtime {
        match kernel::realtime::round_robin(kernel::realtime::RING_PRIORITY) {
            Ok(()) => status.realtime = true,
            Err(error) => tracing::warn!("the ring's thread runs without real-time priority: {error}"),
        }
        match kernel::realtime::lock_memory() {
            Ok(()) => status.memory_locked = true,
            Err(error) => tracing::warn!("memory is not locked: {error}"),
        }
    }
    let now = clock::now();
    let mut endpoint = Endpoints::new(&options.key, me, &options.cluster_name, options.session);
    endpoint.set_peers(now, options.nodes.iter().map(|n| n.id));
    let node = totem::Node::new(options.core.clone(), now);
    let mut thread = Thread {
        node,
        endpoint,
        parts,
        options,
        buffer: vec![0; LARGEST_PACKET],
        batches: Batches::default(),
        due: Due::ALL,
        waiting: VecDeque::new(),
        backlog: VecDeque::new(),
        current: false,
        ready: false,
        watch: Watch::new(now),
        unread: Unread::default(),
        told: BTreeMap::new(),
        unreserved: Unreserved::default(),
        looked: Time::ZERO,
        published: Time::ZERO,
        status,
        leaving: None,
        ended: None,
    };
    while thread.ended.is_none() {
        thread.turn();
    }
    thread.options.permit.revoke();
    let text = thread.ended.take().unwrap_or_default();
    let last = Report { at: clock::now(), event: RingEvent::Ended(text) };
    thread.backlog.push_back(last);
    thread.publish(clock::now());
    // The ring is left; from here on waiting harms nobody.
    for report in thread.backlog.drain(..) {
        if thread.parts.events.blocking_send(report).is_err() {
            return;
        }
    }
}

impl Thread {
    fn turn(&mut self) {
        // Before the time by which the ring is judged: a stop of the process after it must not lengthen a permit.
        let booted = kernel::clock::boottime();
        let now = clock::now();
        let timeout = self.node.poll_timeout().is_some_and(|t| t <= now);
        if timeout {
            // What has come meanwhile speaks for the peers before they are judged by the time.
            self.due = Due::ALL;
        }
        self.commands(now);
        let more = self.packets(now);
        if timeout {
            self.node.handle_timeout(now);
        }
        self.look(now, booted);
        self.outputs(now);
        self.hellos(now);
        self.deliver();
        if self.leaving.is_some_and(|t| t <= now) {
            self.ended.get_or_insert_with(|| "left".to_owned());
        }
        self.due = Due::ALL;
        if !more && self.ended.is_none() {
            self.due = self.sleep();
        }
    }

    fn commands(&mut self, now: Time) {
        let mut sink = [0; 64];
        while self.due.woken && matches!(self.parts.woken.read(&mut sink), Ok(n) if n == sink.len()) {}
        while self.waiting.len() < super::COMMANDS {
            match self.parts.inbox.try_recv() {
                Ok(Command::Broadcast(payload)) => self.waiting.push_back(payload.into()),
                Ok(Command::Change(change)) => self.change(now, *change),
                Ok(Command::StepOut(out)) => {
                    self.waiting.clear();
                    self.options.permit.revoke();
                    self.node.step_out(now, out);
                }
                Ok(Command::Leave) => self.leave(now),
                Err(mpsc::error::TryRecvError::Empty) => break,
                Err(mpsc::error::TryRecvError::Disconnected) => {
                    self.leave(now);
                    break;
                }
            }
        }
        while let Some(payload) = self.waiting.pop_front() {
            match self.node.broadcast(now, payload.clone()) {
                Ok(()) => {}
                Err(totem::BroadcastError::QueueFull { .. }) => {
                    self.waiting.push_front(payload);
                    break;
                }
                Err(error) => tracing::error!("a message was not sent: {error}"),
            }
        }
    }

    /// All that could stand against it was looked at before the nodes agreed on it; what still does leaves this node as it was.
    fn change(&mut self, now: Time, change: super::Change) {
        if let Err(error) = self.parts.links.reconfigure(&change.nodes, change.block_unlisted) {
            return tracing::error!("reload: the links stay as they were: {error}");
        }
        self.endpoint.set_peers(now, change.nodes.iter().map(|n| n.id));
        if let Some((root, session)) = change.key {
            self.endpoint.rekey(now, &root, &self.options.cluster_name, session);
        }
        if let Err(error) = self.node.reconfigure(now, change.core) {
            tracing::error!("reload: the ring stays as it was: {error}");
        }
        self.publish(now);
    }

    fn leave(&mut self, now: Time) {
        if self.leaving.is_none() {
            self.node.leave(now);
            self.leaving = Some(now + FAREWELL);
        }
    }

    /// True if some link may have more.
    fn packets(&mut self, now: Time) -> bool {
        let mut more = false;
        let mut buffer = std::mem::take(&mut self.buffer);
        for link in 0..self.parts.links.count() {
            let due = |set: u8| set >> link & 1 == 1;
            for turn in 0..PACKETS_PER_TURN {
                if !due(self.due.packets) {
                    break;
                }
                let Some(packet) = self.parts.links.receive(link, &mut buffer) else { break };
                for bytes in buffer[..packet.length].chunks_mut(packet.each.max(1)) {
                    self.packet(now, link, &packet, bytes);
                }
                more |= turn + 1 == PACKETS_PER_TURN;
            }
            let answers = if due(self.due.answers) { self.parts.links.answers(link) } else { Vec::new() };
            for peer in answers {
                self.node.host_answered(now, peer);
            }
            let errors = if due(self.due.errors) { self.parts.links.errors(link) } else { Vec::new() };
            for (peer, said) in errors {
                match said {
                    Said::Unreachable => self.node.link_error(now, peer, link),
                    Said::TooLarge => self.node.too_large(now, peer, link, None),
                }
            }
        }
        self.buffer = buffer;
        more
    }

    fn packet(&mut self, now: Time, link: u8, packet: &Received, bytes: &mut [u8]) {
        if packet.blocked {
            if let Some(refusal) = self.endpoint.refuse(bytes) {
                self.parts.links.answer(now, link, packet.from, &refusal);
            }
            return;
        }
        // What is dropped is counted by the endpoint.
        match self.endpoint.open(now, bytes) {
            Ok(Opened::Data(from, frame)) => {
                self.unread.read(now, from);
                self.node.handle(now, from, link, frame);
            }
            Ok(Opened::Hello(from, _)) => self.unread.read(now, from),
            Ok(Opened::Refused(node)) => {
                if let Some(text) = self.unread.refused(now, node) {
                    self.report(now, RingEvent::Unreadable { node, text });
                }
            }
            Err(why) => self.not_opened(now, packet.peer, why),
        }
    }

    fn not_opened(&mut self, now: Time, peer: Option<NodeId>, why: Dropped) {
        let Some(node) = peer else { return };
        if let Some(text) = self.unread.unread(now, node, why) {
            self.report(now, RingEvent::Unreadable { node, text });
        }
    }

    /// Others than those of the nodelist, that use its numbers. Each is told once in a while.
    fn strangers(&mut self, now: Time) {
        self.told.retain(|_, at| now.since(*at) < STRANGER_EVERY);
        for (node, address) in self.parts.links.strangers() {
            if self.told.len() < MAX_TOLD && self.told.insert((node, address), now).is_none() {
                self.report(now, RingEvent::TakenNumber { node, address });
            }
        }
        self.status.strangers = self.told.keys().copied().collect();
    }

    /// Readiness, lease permit, status: at least every [`LOOK_EVERY`].
    fn look(&mut self, now: Time, booted: Duration) {
        if now.since(self.looked) < LOOK_EVERY / 2 && self.looked != Time::ZERO {
            return;
        }
        self.looked = now;
        self.strangers(now);
        if let Some(text) = self.unreserved.look(now, &mut *self.options.reserve) {
            tracing::error!("{text}");
        }
        let silent = self.watch.look(now, Time(self.parts.shared.tick.load(Ordering::Acquire)));
        let ready = silent < NOT_READY_AFTER;
        if ready != self.ready {
            self.ready = ready;
            self.node.set_ready(now, ready);
            if !ready {
                tracing::error!("the controller has not ticked for {} ms: this node is not ready", silent.as_millis());
            }
        }
        self.node.set_quorate(now, self.parts.shared.quorate.load(Ordering::Acquire));
        if silent > LEAVE_AFTER && self.leaving.is_none() {
            tracing::error!("the controller has not ticked for {} ms: leaving the ring", silent.as_millis());
            self.leave(now);
        }
        let current = self.node.is_current(now) && self.leaving.is_none();
        if current != self.current {
            self.current = current;
            self.report(now, RingEvent::Current(current));
        }
        if current && ready && self.parts.shared.owners_current.load(Ordering::Acquire) {
            self.options.permit.set_until(booted + Bounds::STANDARD.permit);
        }
        if now.since(self.published) >= STATUS_EVERY {
            self.publish(now);
        }
    }

    fn publish(&mut self, now: Time) {
        self.published = now;
        self.status.totem = self.node.status(now);
        self.status.dropped = self.endpoint.dropped();
        self.status.links = self.parts.links.counters;
        self.status.traffic = self.parts.links.traffic();
        self.status.unreadable = self.unread.present(now);
        // A reader that holds the lock just now gets the next snapshot.
        if let Ok(mut shared) = self.parts.shared.status.try_lock() {
            shared.clone_from(&self.status);
        }
    }

    fn outputs(&mut self, now: Time) {
        while let Some(output) = self.node.poll_output() {
            self.output(now, output);
        }
        for batch in self.batches.take() {
            self.parts.links.send_batch(&batch);
            self.batches.done(batch);
        }
        // A smaller one is due at once then.
        for (to, link, length) in self.parts.links.refused() {
            self.node.too_large(now, to, link, Some(length.saturating_sub(SEALING)));
        }
    }

    fn send(&mut self, to: NodeId, link: u8, frame: &[u8]) {
        let (endpoint, unsealed) = (&mut self.endpoint, &mut self.status.unsealed);
        let full = self.batches.push((to, link), frame.len() + SEALING, |out| {
            let sealed = endpoint.seal(to, frame, out).is_ok();
            *unsealed += u64::from(!sealed);
            sealed
        });
        if let Some(batch) = full {
            self.parts.links.send_batch(&batch);
            self.batches.done(batch);
        }
    }

    fn output(&mut self, now: Time, output: totem::Output) {
        match output {
            totem::Output::Send { to, link, frame } => self.send(to, link, &frame),
            totem::Output::Echo { to, link } => self.parts.links.ask(to, link),
            totem::Output::Deliver(message) => self.report(now, RingEvent::Deliver(message)),
            totem::Output::Safe { view, seq } => self.report(now, RingEvent::Safe { view, seq }),
            totem::Output::Transitional(_) => self.report(now, RingEvent::Transitional),
            totem::Output::View(view) => {
                self.report(now, RingEvent::View(view));
                self.publish(now);
            }
            totem::Output::SaveRingSeq(seq) => self.reserve(seq),
            totem::Output::Event(event) => {
                if matches!(event, totem::Event::StartedOver { .. }) {
                    // What was permitted was permitted by a ring that is over.
                    self.options.permit.revoke();
                }
                self.report(now, RingEvent::Event(event));
            }
        }
    }

    /// Ring numbers are reserved well ahead. Where the disk does not follow, the ring goes on: a number that is used again
    /// after a crash is put right by the others' numbers, a ring that waits for a disk by nobody.
    fn reserve(&mut self, seq: u64) {
        let reserved = (self.options.reserve)(seq);
        self.unreserved.used(clock::now(), seq, reserved);
        self.status.unreserved += u64::from(!reserved);
    }

    fn hellos(&mut self, now: Time) {
        while let Some((to, packet)) = self.endpoint.poll_transmit(now) {
            self.parts.links.send_on_all(to, &packet);
        }
    }

    fn report(&mut self, at: Time, event: RingEvent) {
        self.backlog.push_back(Report { at, event });
    }

    fn deliver(&mut self) {
        while let Some(report) = self.backlog.pop_front() {
            match self.parts.events.try_send(report) {
                Ok(()) => {}
                Err(TrySendError::Full(report)) => {
                    self.backlog.push_front(report);
                    break;
                }
                Err(TrySendError::Closed(_)) => {
                    self.ended = Some("the controller's task has ended".to_owned());
                    return;
                }
            }
        }
        if self.backlog.len() > MAX_BACKLOG {
            self.ended = Some(format!("the controller left {} events untaken", self.backlog.len()));
        }
    }

    /// Until something comes or is due; gives what may be read.
    fn sleep(&mut self) -> Due {
        let now = clock::now();
        let mut due = now + LOOK_EVERY;
        for t in [self.node.poll_timeout(), self.endpoint.poll_timeout(), self.leaving].into_iter().flatten() {
            due = due.min(t);
        }
        if !self.backlog.is_empty() {
            due = due.min(now + Duration::from_millis(1));
        }
        let wait = due.since(now);
        let (sources, mut fds): (Vec<Source>, Vec<PollFd<'_>>) =
            self.parts.links.sources().map(|(source, fd)| (source, PollFd::new(fd, PollFlags::POLLIN))).unzip();
        fds.push(PollFd::new(self.parts.woken.as_fd(), PollFlags::POLLIN));
        // An error (a signal) only makes the next turn come early.
        if ppoll(&mut fds, Some(TimeSpec::from_duration(wait)), None).is_err() {
            return Due::ALL;
        }
        let events = |fd: &PollFd<'_>| fd.revents().unwrap_or(PollFlags::all());
        let mut due =
            Due { woken: fds.last().is_some_and(|fd| !events(fd).is_empty()), packets: 0, errors: 0, answers: 0 };
        for (source, fd) in sources.iter().zip(&fds).filter(|(_, fd)| !events(fd).is_empty()) {
            match *source {
                Source::Packets(link) => {
                    due.packets |= 1 << link;
                    due.errors |= u8::from(events(fd).contains(PollFlags::POLLERR)) << link;
                }
                Source::Answers(link) => due.answers |= 1 << link,
            }
        }
        due
    }
}
