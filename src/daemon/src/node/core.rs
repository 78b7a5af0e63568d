//! The one task that owns controller and quorum.
//!
//! It waits for whatever comes first (a report of the ring, a client, a finished agent, a schedule, a timer), steps the
//! controller, and performs every output before it waits again. Nothing else touches the two cores.

use super::board::{self, Board, Shown};
use super::fenced::{self, End};
use super::hindrance::{Happening, Hindrances};
use super::keep::Note;
use super::notices::{self, Notices, Taken};
use super::orders;
use super::perform::Performer;
use super::reload::Reloads;
use super::signals::Wish;
use super::stalls::Stalls;
use super::view;
use crate::changes::Changes;
use crate::clock;
use crate::groups;
use crate::ring::{Report, Ring, RingEvent, UNREADABLE_FOR};
use crate::schedule::Answer;
use crate::timeline::Timeline;
use base::exit::crm;
use base::{NodeId, Time};
use controller::fencing::executor::AgentResult;
use controller::{AgentFacts, AgentName, Controller, ExecResult, Input, Request, Response};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use waits::{digested, sleep_until};

mod asks;
mod waits;

pub(super) use asks::channel;
pub use asks::{Ask, Asker, LeaveRefused};

/// Between two signs of life to the ring.
const TICK_EVERY: Duration = Duration::from_millis(100);
/// A node that starts listens that long for the other one of `two_node`.
const LISTEN: Duration = Duration::from_secs(3);
/// Inputs handled before the task looks at its timers again.
const BURST: usize = 256;
/// Begins the warning that nothing can be decided.
const NO_TRANSITION: &str = "no transition: ";
/// The controller's client number of the daemon's own requests.
const OWN: u64 = 0;

/// Everything that the task waits for.
pub(super) struct Inbox {
    pub reports: mpsc::Receiver<Report>,
    pub asks: mpsc::Receiver<Ask>,
    pub executed: mpsc::UnboundedReceiver<(u64, ExecResult)>,
    /// What agents say of their parameters.
    pub facts: mpsc::UnboundedReceiver<(AgentName, AgentFacts)>,
    pub scheduled: mpsc::UnboundedReceiver<Answer>,
    pub fenced: mpsc::UnboundedReceiver<(u64, AgentResult)>,
    pub notes: mpsc::UnboundedReceiver<Note>,
    pub happenings: mpsc::UnboundedReceiver<Happening>,
    /// What this node's directors tell the others; comes last, since nothing waits for it.
    pub bulletins: mpsc::Receiver<Vec<u8>>,
    /// Whether a ping target of quorum{} answers.
    pub reach: watch::Receiver<bool>,
    /// Planned shutdown (first), immediate leave (second), or the files are to be read again.
    pub signals: mpsc::Receiver<Wish>,
}

/// What the node is, for status.
pub(super) struct Identity {
    /// What runs; logging{} as it was applied last.
    pub settings: super::settings::Settings,
    pub args: super::args::Args,
    pub data_plane: &'static str,
    pub started: base::WallTime,
    pub standing: Vec<String>,
    /// What the last reload left to be said.
    pub reload: Option<String>,
}

/// What works beside the two cores.
pub(super) struct Beside {
    pub board: Board,
    pub dog: fenced::Dog,
    pub claims: super::start::ClaimsTask,
    pub changes: Changes,
    pub clients_in_groups: groups::Clients,
}

pub(super) struct Core {
    pub controller: Controller,
    pub quorum: quorum::Quorum,
    pub ring: Ring,
    pub performer: Performer,
    pub timeline: Timeline,
    pub identity: Identity,
    pub ring_id: Option<totem::ViewId>,
    clients: BTreeMap<u64, oneshot::Sender<Response>>,
    next_client: u64,
    board: Board,
    /// When what is shown has to be renewed; `None` while nothing has happened since, nor time passed.
    renew_at: Option<Time>,
    shown_at: Time,
    /// Until then this node listens for the others before it believes itself alone.
    listening: Option<Time>,
    pub reloads: Reloads,
    /// Who came along from this node's last view, and whether it was quorate there.
    pub came_along: BTreeSet<NodeId>,
    pub quorate_before: bool,
    pub barrier_kept: u32,
    pub claims: super::start::ClaimsTask,
    pub arbitration: super::device::Arbitration,
    watchdog: crate::service::Watchdog,
    /// Peers that are heard but cannot be read, and until when that is held to be so.
    unreadable: BTreeMap<NodeId, Time>,
    pub hindrances: Hindrances,
    pub stalls: Stalls,
    pub notices: Notices,
    /// The digest that is being computed.
    digesting: Option<tokio::task::JoinHandle<(u64, String)>>,
    leaving: bool,
    ended: Option<String>,
    pub obeying: Option<fenced::Obeying>,
    pub dog: fenced::Dog,
    pub teller: super::told::Teller,
    pub changes: Changes,
    pub clients_in_groups: groups::Clients,
}

impl Core {
    pub fn new(
        controller: Controller,
        quorum: quorum::Quorum,
        ring: Ring,
        performer: Performer,
        identity: Identity,
        Beside { board, dog, claims, changes, clients_in_groups }: Beside,
    ) -> Core {
        let mut quorum = quorum;
        quorum.listen(true);
        let identity_barrier = identity.settings.barrier;
        let teller = super::told::Teller::new(identity.settings.me());
        Core {
            controller,
            quorum,
            ring,
            timeline: performer.timeline.clone(),
            performer,
            identity,
            ring_id: None,
            clients: BTreeMap::new(),
            next_client: OWN + 1,
            board,
            renew_at: None,
            shown_at: Time::ZERO,
            listening: Some(clock::now() + LISTEN),
            reloads: Reloads::default(),
            came_along: BTreeSet::new(),
            quorate_before: false,
            barrier_kept: identity_barrier,
            claims,
            arbitration: Default::default(),
            watchdog: crate::service::Watchdog::from_env(),
            unreadable: BTreeMap::new(),
            hindrances: Hindrances::default(),
            stalls: Stalls::default(),
            notices: Notices::default(),
            digesting: None,
            leaving: false,
            ended: None,
            obeying: None,
            dog,
            teller,
            changes,
            clients_in_groups,
        }
    }

    /// Runs until the ring is left; says why.
    pub async fn run(mut self, mut inbox: Inbox) -> Result<(), End> {
        let mut tick = tokio::time::interval(TICK_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.step(Input::Tick).await;
        self.device_configured().await;
        while self.ended.is_none() {
            let due = self.controller.poll_timeout().map(clock::instant);
            let heard_out = self.listening.map(clock::instant);
            let renew = self.renew_at.map(clock::instant);
            let votes = self.votes_due().map(clock::instant);
            let device = self.arbitration.due().map(clock::instant);
            // No order among them: whoever comes in great numbers must not starve the others.
            tokio::select! {
                _ = tick.tick() => {
                    self.step(Input::Tick).await;
                    self.watchdog.alive(clock::now());
                    self.watch_over();
                    self.reload_late().await;
                    self.keep_barrier();
                    self.stalls_due();
                }
                Some(report) = inbox.reports.recv() => {
                    self.report(report).await;
                    for _ in 0..BURST {
                        let Ok(report) = inbox.reports.try_recv() else { break };
                        self.report(report).await;
                    }
                }
                Some((call, result)) = inbox.executed.recv() => self.step(Input::Executed { call, result }).await,
                Some((agent, facts)) = inbox.facts.recv() => self.step(Input::Facts { agent, facts }).await,
                Some((ticket, result)) = inbox.scheduled.recv() => self.scheduled(ticket, result).await,
                Some((call, result)) = inbox.fenced.recv() => self.step(Input::FenceAgent { call, result }).await,
                (ticket, digest) = digested(&mut self.digesting) => self.step(Input::Digested { ticket, digest }).await,
                Some(note) = inbox.notes.recv() => self.note(note).await,
                Some(happening) = inbox.happenings.recv() => self.happened(happening).await,
                Some(wish) = inbox.signals.recv() => match wish {
                    Wish::Stop => self.stop().await,
                    Wish::Reload => self.reload(None),
                },
                Some(outcome) = self.reloads.next() => self.reload_read(outcome).await,
                Some(ask) = inbox.asks.recv() => self.asked(ask).await,
                () = sleep_until(due) => self.step(Input::Tick).await,
                () = sleep_until(heard_out) => self.heard_out().await,
                Ok(()) = inbox.reach.changed() => {
                    let any = *inbox.reach.borrow_and_update();
                    self.reached(any).await;
                }
                () = sleep_until(renew) => {}
                () = self.board.wanted() => self.renew_within(Duration::ZERO),
                () = sleep_until(votes) => self.votes_time().await,
                () = sleep_until(device) => self.device_time().await,
                event = self.arbitration.next() => self.device_event(event).await,
                Some(bulletin) = inbox.bulletins.recv() => {
                    if self.ring_id.is_some() {
                        self.ring.broadcast(bulletin).await;
                    }
                }
            }
            let now = clock::now();
            self.ring.tick(now);
            if self.renew_at.is_some_and(|at| at <= now) {
                self.show();
            }
        }
        self.performer.finish(self.obeying.is_some()).await;
        match (self.obeying, self.ended) {
            // Left as it is: the watchdog, too, sees to it that this node is down.
            (Some(obeying), _) => Err(End { reason: obeying.without_tables().await, code: crm::FATAL }),
            (None, Some(reason)) if !self.leaving => Err(End { reason, code: crm::ERROR }),
            _ => {
                self.dog.disarm();
                Ok(())
            }
        }
    }

    /// The task ends with the step that it is in.
    pub(super) fn end(&mut self, reason: String) {
        self.ended = Some(reason);
    }

    /// One step of the controller and all that it wants done.
    pub async fn step(&mut self, input: Input) {
        let mut only_time = matches!(input, Input::Tick);
        self.controller.handle(clock::now(), clock::wall(), input);
        let mut answers = Vec::new();
        while let Some(output) = self.controller.poll_output() {
            only_time = false;
            match output {
                controller::Output::Reply { .. } => answers.push(output),
                _ => self.perform(output).await,
            }
        }
        self.renew_within(if only_time { board::IDLE_EVERY } else { board::RENEW_EVERY });
        if !answers.is_empty() {
            // Whoever is told of a change can see it.
            self.show();
        }
        for answer in answers {
            self.perform(answer).await;
        }
    }

    /// What readers see is renewed so long after the last time, or sooner.
    fn renew_within(&mut self, time: Duration) {
        let at = self.shown_at + time;
        self.renew_at = Some(self.renew_at.map_or(at, |t| t.min(at)));
    }

    /// Renews what readers see.
    pub fn show(&mut self) {
        self.renew_at = None;
        self.shown_at = clock::now();
        let (status, quorum, groups) = (view::status(self), view::quorum(self), self.groups());
        self.board.show(Shown { cib: self.controller.cib().clone(), status, quorum, groups });
    }

    async fn perform(&mut self, output: controller::Output) {
        match output {
            controller::Output::Broadcast(payload) => {
                self.ring.broadcast(payload).await;
            }
            controller::Output::Reply { id, response } => {
                if let Some(to) = self.clients.remove(&id) {
                    // A client that has gone needs no answer.
                    let _ = to.send(response);
                } else if let (OWN, Response::Failed { message, .. }) = (id, &response) {
                    tracing::warn!("shutting down: {message}");
                }
            }
            controller::Output::Owners(owners) => {
                self.ring.set_owners_current(owners.current);
                let silent: BTreeMap<_, _> =
                    owners.silent.into_iter().map(|n| (n, self.controller.config().name_of(n))).collect();
                self.performer.agents.lan().set_silent(silent.clone());
                self.performer.to.standing.send_modify(|s| s.silent = silent);
                self.performer.owners(owners.resources).await;
            }
            controller::Output::Leave => self.leave().await,
            controller::Output::Digest { ticket, cib } => {
                // One that is still being computed is of no interest any more.
                self.digesting = Some(tokio::task::spawn_blocking(move || (ticket, controller::digest_of(&cib))));
            }
            controller::Output::FailStop { reason, return_after_ms } => self.step_out(reason, return_after_ms).await,
            controller::Output::Obey { reason, panic } => self.obey(reason, panic).await,
            other => self.performer.perform(other),
        }
    }

    async fn leave(&mut self) {
        if !self.leaving {
            self.leaving = true;
            self.timeline.add("leave", "", "all resources are stopped or released; leaving the ring");
            self.ring.leave().await;
        }
    }

    /// This node cannot follow the others. What it was is kept in status until the daemon ends.
    async fn step_out(&mut self, reason: String, return_after_ms: u64) {
        let text = format!("{reason}: left the ring, coming back by snapshot after {return_after_ms} ms");
        tracing::error!("{text}");
        self.timeline.add("fail_stop", "", &text);
        self.keep_showing(text);
        self.ring.step_out(Duration::from_millis(return_after_ms)).await;
    }

    async fn happened(&mut self, happening: Happening) {
        match happening {
            Happening::Failed { resource, code, reason } => self.step(Input::Failed { resource, code, reason }).await,
            Happening::Hindered { resource, text } => self.hindrances.add(resource, text),
            Happening::Troubled { resource, text } => {
                self.hindrances.add(resource.clone(), text.clone());
                self.step(Input::Trouble { resource, text }).await;
            }
            Happening::Free { resource } => self.hindrances.remove(&resource),
        }
        self.renew_within(board::RENEW_EVERY);
    }

    async fn report(&mut self, report: Report) {
        match report.event {
            RingEvent::View(view) => self.view(report.at, view).await,
            RingEvent::Deliver(m) if orders::is_order(&m.payload) => self.ordered(m.sender, &m.payload).await,
            RingEvent::Deliver(m) if groups::is_message(&m.payload) => {
                self.clients_in_groups.deliver(m.sender, self.me(), &m.payload);
            }
            RingEvent::Deliver(m) if agents::is_bulletin(&m.payload) => self.bulletin(m.sender, &m.payload),
            RingEvent::Deliver(m) => {
                let view = view_id(m.view);
                self.step(Input::Deliver { sender: m.sender, view, seq: m.seq, payload: m.payload }).await;
            }
            RingEvent::Safe { view, seq } => self.step(Input::Safe { view: view_id(view), seq }).await,
            RingEvent::Transitional => self.step(Input::Transitional).await,
            RingEvent::Current(current) => self.step(Input::Ring { current }).await,
            RingEvent::Event(event) => self.event(report.at, event).await,
            RingEvent::Unreadable { node, text } => self.unreadable(report.at, node, &text),
            RingEvent::TakenNumber { node, address } => {
                self.taken(report.at, Taken { node, address });
                self.ring.broadcast(Taken { node, address }.encode()).await;
            }
            RingEvent::Ended(reason) => {
                self.timeline.add("ring_ended", "", &reason);
                self.end(reason);
            }
        }
    }

    /// Here or at another node somebody was heard under a taken number.
    fn taken(&self, at: Time, taken: Taken) {
        let text = taken.words(&self.controller.config().name_of(taken.node));
        tracing::error!("{text}");
        self.timeline.add_at(at, "taken_number", &taken.address.to_string(), &text);
    }

    /// What directors of other nodes know of the servers; beside the cluster's state, and no part of it.
    fn bulletin(&mut self, sender: NodeId, payload: &[u8]) {
        if sender == self.me() {
            // What this node's directors say counts for them when it has been delivered to all.
            if !notices::is_notice(payload) && !agents::lan::is_card(payload) {
                let _ = self.performer.agents.directors().receive_own(sender, payload);
            }
            return;
        }
        if notices::is_notice(payload) {
            let news = self.notices.receive(clock::now(), payload);
            return news.into_iter().for_each(|news| self.taken(clock::now(), news));
        }
        if agents::lan::is_card(payload) {
            return self.performer.agents.lan().receive(sender, payload);
        }
        if let Err(error) = self.performer.agents.directors().receive(sender, payload) {
            tracing::warn!("node {sender}: {error}");
        }
    }

    async fn view(&mut self, at: Time, view: totem::View) {
        let first = self.ring_id.is_none();
        self.ring_id = Some(view.id);
        self.performer.agents.directors().set_members(view.members.iter().copied().collect(), !view.joined.is_empty());
        let me = self.me();
        self.performer.agents.lan().greet(view.members.iter().copied().filter(|n| *n != me).collect());
        if self.unreadable.iter().any(|(node, until)| *until > clock::now() && !view.members.contains(node)) {
            self.listening = Some(clock::now() + UNREADABLE_FOR);
            self.quorum.listen(true);
        }
        self.quorate_before = self.quorum.is_quorate();
        self.device_view(&view).await;
        self.quorum.set_view(&view.members);
        self.count_votes();
        self.reload_view(&view.members).await;
        let names: Vec<String> = view.members.iter().map(|n| self.controller.config().name_of(*n)).collect();
        let quorate = self.quorum.is_quorate();
        let text = format!("members {}{}", names.join(" "), if quorate { ", quorate" } else { ", not quorate" });
        self.timeline.add_at(at, "ring", &view.id.to_string(), &text);
        tracing::info!("ring {}: {text}", view.id);
        self.tell_view(&view).await;
        self.quorum_changed();
        self.tell_run_time(&view).await;
        self.tell_device(true).await;
        self.step(Input::View { id: view_id(view.id), members: view.members, quorate }).await;
        if !first && !view.joined.is_empty() {
            // A node that comes back may have announced our addresses of late.
            self.performer.reannounce();
        }
    }

    /// See `ring::unread` for what this may do and what it may not.
    fn unreadable(&mut self, at: Time, node: NodeId, text: &str) {
        let until = clock::now() + UNREADABLE_FOR;
        if self.unreadable.insert(node, until).is_none_or(|before| before < at) {
            let name = self.controller.config().name_of(node);
            tracing::error!("node {name} lives, but no ring can be formed with it: {text}");
            self.timeline.add_at(at, "unreadable", &name, text);
        }
        if !self.quorum.is_quorate() {
            self.hold_back();
        }
    }

    /// While an absent peer is heard, this node does not become quorate alone.
    fn hold_back(&mut self) {
        let (now, members) = (clock::now(), self.controller.status().members);
        let absent = self.unreadable.iter().filter(|(node, until)| **until > now && !members.contains(node));
        if let Some(until) = absent.map(|(_, until)| *until).max() {
            self.listening = Some(self.listening.map_or(until, |t| t.max(until)));
            self.quorum.listen(true);
        }
    }

    async fn heard_out(&mut self) {
        self.listening = None;
        if self.quorum.listen(false) {
            self.quorum_changed();
            let quorate = self.quorum.is_quorate();
            self.timeline.add("quorum", "", "nobody else was heard since the start: quorate alone");
            self.step(Input::Quorum { quorate }).await;
        }
    }

    pub fn quorum_changed(&mut self) {
        let quorate = self.quorum.is_quorate();
        self.ring.set_quorate(quorate);
        self.tell_quorum(quorate);
        self.performer.to.standing.send_modify(|s| s.quorate = quorate);
        // What is announced stays while the arbitrator is being asked; whoever contests an address has to be sure.
        self.performer.agents.set_quorate(quorate || self.is_undecided());
    }

    async fn event(&mut self, at: Time, event: totem::Event) {
        if let totem::Event::LocalStall { stalled_ms } = event {
            self.stalled(at, stalled_ms);
            return self.step(Input::Stalled { ms: stalled_ms }).await;
        }
        let (kind, subject, text) = view::describe(&event, self.me(), |n| self.controller.config().name_of(n));
        self.timeline.add_at(at, kind, &subject, &text);
        self.tell_event(&event);
        match event {
            totem::Event::PeerFlags { node, ready, quorate } => {
                if self.quorum.learn(node, quorate) {
                    self.quorum_changed();
                    let quorate = self.quorum.is_quorate();
                    self.step(Input::Quorum { quorate }).await;
                }
                self.quorum_changed();
                self.step(Input::PeerReady { node, ready }).await;
            }
            totem::Event::PeerLeft { node } => {
                self.quorum.parted(node);
                tracing::info!("{kind} {subject}: {text}");
            }
            totem::Event::StartedOver { .. } => {
                tracing::warn!("{kind} {subject}: {text}");
                self.step(Input::StartedOver).await;
            }
            totem::Event::LinkUp { .. } | totem::Event::Gather { .. } => tracing::debug!("{kind} {subject}: {text}"),
            _ => tracing::info!("{kind} {subject}: {text}"),
        }
    }

    /// A failed run is shown until one succeeds.
    async fn scheduled(&mut self, ticket: u64, result: Result<Box<scheduler::Schedule>, String>) {
        self.identity.standing.retain(|t| !t.starts_with(NO_TRANSITION));
        if let Err(why) = &result {
            tracing::error!("{NO_TRANSITION}{why}");
            self.keep_showing(format!("{NO_TRANSITION}{why}"));
        }
        self.step(Input::Scheduled { ticket, result }).await;
    }

    async fn note(&mut self, note: Note) {
        match note {
            Note::Stored { ticket, written } => self.step(Input::Stored { ticket, written }).await,
            Note::Storage { failing, text } => {
                self.timeline.add(if failing { "storage_failed" } else { "storage_ok" }, "", &text);
            }
            Note::Discarded { file, reason } => {
                let text = format!("{reason}: what lost is kept in {}", file.display());
                tracing::warn!("{text}");
                self.timeline.add("discarded", &file.display().to_string(), &text);
                self.keep_showing(text);
            }
        }
    }

    /// A warning that status keeps showing; the newest sixteen.
    fn keep_showing(&mut self, text: String) {
        self.identity.standing.retain(|t| *t != text);
        self.identity.standing.push(text);
        if self.identity.standing.len() > 16 {
            self.identity.standing.remove(0);
        }
    }

    async fn stop(&mut self) {
        if self.performer.asked_to_stop() {
            tracing::warn!("second signal: leaving at once");
            return self.leave().await;
        }
        tracing::info!("shutting down: resources are moved away first (a second signal leaves at once)");
        self.step(Input::Client { id: OWN, request: Request::Shutdown { cancel: false } }).await;
    }

    async fn asked(&mut self, ask: Ask) {
        match ask {
            Ask::Request(request, to) => {
                let id = self.next_client;
                self.next_client += 1;
                // Those whose clients gave up are forgotten here, so the map is bounded by the clients that wait.
                self.clients.retain(|_, c| !c.is_closed());
                self.clients.insert(id, to);
                self.step(Input::Client { id, request: *request }).await;
            }
            Ask::Reload(to) => self.reload(Some(to)),
            Ask::Votes(call, to) => self.votes(call, to).await,
            Ask::Kill(node, to) => self.kill(node, to).await,
            Ask::Group(wish) => self.group_wish(wish).await,
            Ask::ReopenLogs => self.reopen_logs(),
            Ask::Leave(keep_resources, to) => {
                let result = match keep_resources {
                    true if !view::in_maintenance(self.controller.cib().root()) => Err(LeaveRefused::NotInMaintenance),
                    true => self.performer.make_permanent().await.map_err(LeaveRefused::Addresses),
                    false => Ok(()),
                };
                let left = result.is_ok();
                let _ = to.send(result);
                if left {
                    self.leave().await;
                }
            }
        }
    }

    pub fn me(&self) -> NodeId {
        self.identity.settings.me()
    }
}

fn view_id(id: totem::ViewId) -> controller::ViewId {
    controller::ViewId { seq: id.seq, rep: id.rep }
}
