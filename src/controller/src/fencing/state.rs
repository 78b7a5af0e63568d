//! What all members hold alike: fencing under way, history, failures, and which life of which node was fenced.
//!
//! Only ordered messages and the start of a view change it; what a change means is returned as [`Turn`]s. What belongs to a node's
//! record of membership (its `node_state`) is the replica's, which is told by [`Turn::Down`].

use super::{Ask, CLUSTER, Ended, FenceAction, FenceId, FenceOp, FenceOrder, Outcome, Step};
use crate::api::ViewId;
use base::outside::{Reason, Value, Word};
use base::{NodeId, WallTime};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Entries of the history; the oldest give way.
pub const MAX_HISTORY: usize = 500;
/// Entries that a member brings to a view, for those who were apart from it.
pub const TOLD_HISTORY: usize = 16;
/// Fencing under way at the same time, waiting ones included.
const MAX_OPEN: usize = 64;
/// Requests that one fencing answers.
const MAX_ASKERS: usize = 64;
/// Outcomes kept of one fencing; past it, it has failed.
pub const MAX_TRIED: usize = 128;

/// A fencing that has no verdict yet, or whose target has still to obey.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fencing {
    pub ask: Ask,
    /// Requests that are answered by it, its own first.
    pub askers: Vec<FenceId>,
    /// The target's life that is meant; 0 where it was never seen.
    pub incarnation: u64,
    pub asked_ms: i64,
    pub attempt: u32,
    pub running: Option<FenceOrder>,
    pub tried: Vec<Outcome>,
    /// It worked; the target is a member and has been told.
    pub obeying: bool,
    /// The cluster asked for it because the target was lost, and nobody has asked for it since.
    #[serde(default)]
    pub lost: bool,
    /// The target it was lost for is back, and the cluster's state says what is to be done now: no further device is tried.
    #[serde(default)]
    pub needless: bool,
}

/// A fencing that is over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    pub id: FenceId,
    pub target: u32,
    pub name: Word,
    pub action: FenceAction,
    pub client: Word,
    pub origin: Word,
    pub incarnation: u64,
    /// Number of the node that did it; `None` with success is an operator's word.
    pub delegate: Option<u32>,
    pub device: Word,
    pub ok: bool,
    pub reason: Reason,
    pub asked_ms: i64,
    pub completed_ms: i64,
    /// Where no life was known: the target has been met since, and [`State::meet`] has judged.
    #[serde(default)]
    pub met: bool,
    /// [`State::acquit`] has found that the target lives, whatever the agent has said.
    #[serde(default)]
    pub contradicted: bool,
}

/// What a member says of itself at the start of a view.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Life {
    pub incarnation: u64,
    /// How long it has lasted, by the member's own clock of what passes; 0 where it does not say.
    pub lasted_ms: u64,
}

/// What a member tells of the past at the start of a view.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Told<'a> {
    pub entries: &'a [Entry],
    /// The teller's time of day at that moment: entries that it has applied are this old by it.
    pub wall_ms: i64,
}

/// The replicated state.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    pub open: Vec<Fencing>,
    /// Newest last.
    pub history: VecDeque<Entry>,
    /// The life of each node that was fenced last.
    pub fenced: BTreeMap<u32, u64>,
    /// Failures since the last success, or since the node came.
    pub failures: BTreeMap<u32, u32>,
}

/// What a change means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Turn {
    /// A node is to run a device.
    Order(FenceOrder),
    /// The target, which is a member, was fenced and has to act on it.
    Obey { target: NodeId, incarnation: u64 },
    /// The target is down: its state is to say so.
    Down { target: NodeId },
    /// The target was unfenced: its attributes are to say so.
    Up { target: NodeId, attributes: Vec<(Word, Value)>, at_ms: i64 },
    /// Over; these requests are answered by it.
    Over { entry: Box<Entry>, askers: Vec<FenceId> },
    /// The cluster has asked for what was done already.
    Settled { target: NodeId, action: FenceAction },
    /// Answered without anything being done.
    Refused { asker: FenceId, target: NodeId, why: String },
    /// The others have fenced this member, and it has fenced them: all live, and it is among those who stay.
    Acquitted { target: NodeId },
    /// It is not needed any more; neither done nor failed.
    Withdrawn { id: FenceId, target: NodeId },
}

/// Who is there, as far as fencing has to know.
pub trait Members {
    fn view(&self) -> ViewId;
    fn is_member(&self, node: NodeId) -> bool;
    /// The life of a node that was seen last; 0 if it never was.
    fn life(&self, node: NodeId) -> u64;
}

impl State {
    /// What is being done to a target: one at a time, in the order of the requests.
    pub fn active(&self) -> impl Iterator<Item = &Fencing> {
        self.open
            .iter()
            .enumerate()
            .filter(|(at, f)| !self.open[..*at].iter().any(|o| o.ask.target == f.ask.target))
            .map(|(_, f)| f)
    }

    /// The fencing under way that is enough for this request.
    pub fn joinable(&self, target: NodeId, action: FenceAction) -> Option<&Fencing> {
        self.open.iter().find(|f| f.answers(target.0, action))
    }

    /// Whether this life of the node was fenced with success.
    pub fn is_fenced(&self, node: NodeId, incarnation: u64) -> bool {
        self.fenced.get(&node.0).is_some_and(|life| *life == incarnation)
    }

    pub fn apply(&mut self, op: &FenceOp, at: WallTime, members: &impl Members) -> Vec<Turn> {
        match op {
            FenceOp::Ask(ask) => self.ask(ask, at, members),
            FenceOp::Outcome(outcome) => {
                self.outcome(outcome);
                Vec::new()
            }
            FenceOp::Verdict { id, ok, reason, last } => self.verdict(*id, *ok, reason, *last, at, members),
            FenceOp::Confirm { id, target, name, client, origin } => {
                let ask = Ask {
                    id: *id,
                    target: *target,
                    name: name.clone(),
                    action: FenceAction::Off,
                    client: client.clone(),
                    origin: origin.clone(),
                    timeout_ms: 0,
                    delay_ms: 0,
                    tolerance_ms: 0,
                    attributes: Vec::new(),
                    view: None,
                };
                self.confirm(&ask, at, members)
            }
            FenceOp::Forget { target } => {
                let of = |n: u32| target.is_none_or(|t| t == n);
                self.history.retain(|e| !of(e.target));
                self.failures.retain(|n, _| !of(*n));
                Vec::new()
            }
        }
    }

    fn ask(&mut self, ask: &Ask, at: WallTime, members: &impl Members) -> Vec<Turn> {
        if ask.view.is_some_and(|view| view != members.view()) {
            return Vec::new();
        }
        let recent = |e: &&Entry| {
            let since = at.0.saturating_sub(e.completed_ms);
            let within = i64::try_from(ask.tolerance_ms).unwrap_or(i64::MAX);
            e.ok && e.target == ask.target && e.action == ask.action && (0..=within).contains(&since)
        };
        if ask.tolerance_ms > 0
            && let Some(entry) = self.history.iter().rev().find(recent)
        {
            return vec![Turn::Over { entry: Box::new(entry.clone()), askers: vec![ask.id] }];
        }
        let target = NodeId(ask.target);
        let lost = ask.by_cluster() && !members.is_member(target);
        if let Some(open) = self.open.iter_mut().find(|f| f.answers(ask.target, ask.action)) {
            if open.askers.len() < MAX_ASKERS {
                open.lost &= lost;
                open.askers.push(ask.id);
                return Vec::new();
            }
            return vec![refused(ask, format!("{MAX_ASKERS} requests wait for it already"))];
        }
        if ask.by_cluster() && ask.action.kills() && self.is_fenced(target, members.life(target)) {
            // Its state may have been taken from somebody who did not know.
            return vec![Turn::Down { target }, Turn::Settled { target, action: ask.action }];
        }
        if self.open.len() >= MAX_OPEN {
            return vec![refused(ask, format!("{MAX_OPEN} nodes are being fenced already"))];
        }
        self.open.push(Fencing {
            incarnation: members.life(target),
            askers: vec![ask.id],
            asked_ms: at.0,
            attempt: 0,
            running: None,
            tried: Vec::new(),
            obeying: false,
            lost,
            needless: false,
            ask: ask.clone(),
        });
        Vec::new()
    }

    /// The DC's order was delivered.
    pub fn order(&mut self, order: &FenceOrder) -> Vec<Turn> {
        let Some(open) = self.open.iter_mut().find(|f| f.ask.id == order.id) else { return Vec::new() };
        open.attempt = order.attempt;
        open.running = Some(order.clone());
        vec![Turn::Order(order.clone())]
    }

    fn outcome(&mut self, outcome: &Outcome) {
        let Some(open) = self.open.iter_mut().find(|f| f.ask.id == outcome.id) else { return };
        let current = open.running.as_ref().is_some_and(|o| o.attempt == outcome.attempt);
        // One that was given up and has worked after all has still worked.
        if current || outcome.ended == Ended::Done {
            open.tried.push(outcome.clone());
        }
        if current || outcome.ended == Ended::Done && open.running.as_ref().is_some_and(|o| o.step == outcome.step) {
            open.running = None;
        }
    }

    fn verdict(
        &mut self,
        id: FenceId,
        ok: bool,
        reason: &Reason,
        last: bool,
        at: WallTime,
        members: &impl Members,
    ) -> Vec<Turn> {
        let Some(open) = self.open.iter_mut().find(|f| f.ask.id == id) else { return Vec::new() };
        let target = NodeId(open.ask.target);
        if !ok && last {
            self.open.retain(|f| f.ask.id != id);
            return vec![Turn::Withdrawn { id, target }];
        }
        let there = members.is_member(target) && members.life(target) == open.incarnation;
        if ok && open.ask.action.kills() && there && !last {
            if open.obeying {
                return Vec::new();
            }
            open.obeying = true;
            open.running = None;
            let incarnation = open.incarnation;
            self.fenced.insert(target.0, incarnation);
            return vec![Turn::Obey { target, incarnation }];
        }
        self.end(id, ok, reason.clone(), at, members)
    }

    /// A view begins: targets that have obeyed (or were killed before they could) are gone, and who comes anew has no failures.
    pub fn view(&mut self, at: WallTime, members: &impl Members) -> Vec<Turn> {
        let gone = |f: &&Fencing| {
            let target = NodeId(f.ask.target);
            f.obeying && !(members.is_member(target) && members.life(target) == f.incarnation)
        };
        let over: Vec<FenceId> = self.open.iter().filter(gone).map(|f| f.ask.id).collect();
        self.failures.retain(|n, _| !members.is_member(NodeId(*n)));
        for f in &mut self.open {
            f.needless |= f.lost && !f.obeying && members.is_member(NodeId(f.ask.target));
        }
        over.into_iter().flat_map(|id| self.end(id, true, Reason::default(), at, members)).collect()
    }

    fn end(&mut self, id: FenceId, ok: bool, reason: Reason, at: WallTime, members: &impl Members) -> Vec<Turn> {
        let Some(place) = self.open.iter().position(|f| f.ask.id == id) else { return Vec::new() };
        let open = self.open.remove(place);
        let done = open.tried.iter().rev().find(|t| t.ended == Ended::Done);
        let last = done.or(open.tried.last());
        let entry = Entry {
            delegate: last.map(|t| t.executor),
            device: last.map(|t| t.step.device.clone()).unwrap_or_default(),
            ok,
            reason,
            ..Entry::of(&open.ask, open.incarnation, open.asked_ms, at)
        };
        self.close(entry, open.askers, open.ask.attributes, members)
    }

    fn confirm(&mut self, ask: &Ask, at: WallTime, members: &impl Members) -> Vec<Turn> {
        let target = NodeId(ask.target);
        if members.is_member(target) {
            let why = format!("{} is a member of the cluster: it is not down", ask.name);
            return vec![refused(ask, why)];
        }
        let mut askers = vec![ask.id];
        let mut asked_ms = at.0;
        self.open.retain(|f| {
            let ends = f.ask.target == ask.target && f.ask.action.kills();
            if ends {
                askers.extend(f.askers.iter().copied());
                asked_ms = asked_ms.min(f.asked_ms);
            }
            !ends
        });
        let entry = Entry { ok: true, ..Entry::of(ask, members.life(target), asked_ms, at) };
        self.close(entry, askers, Vec::new(), members)
    }

    fn close(
        &mut self,
        entry: Entry,
        mut askers: Vec<FenceId>,
        attributes: Vec<(Word, Value)>,
        members: &impl Members,
    ) -> Vec<Turn> {
        let target = NodeId(entry.target);
        let mut turns = Vec::new();
        if !entry.ok {
            let count = self.failures.entry(entry.target).or_default();
            *count = count.saturating_add(1);
        } else if entry.action.kills() {
            self.failures.remove(&entry.target);
            self.fenced.insert(entry.target, entry.incarnation);
            self.open.retain(|f| {
                let answered = f.is_answered_by(&entry);
                if answered {
                    askers.extend(f.askers.iter().copied());
                }
                !answered
            });
            // Who is back already is another life, of which nothing was said.
            let back = members.is_member(target) && members.life(target) != entry.incarnation;
            if !back {
                turns.push(Turn::Down { target });
            }
        } else {
            self.failures.remove(&entry.target);
            turns.push(Turn::Up { target, attributes, at_ms: entry.completed_ms });
        }
        self.remember(entry.clone());
        turns.push(Turn::Over { entry: Box::new(entry), askers });
        turns
    }

    fn remember(&mut self, entry: Entry) {
        if self.history.iter().any(|e| e.id == entry.id) {
            return;
        }
        self.history.push_back(entry);
        while self.history.len() > MAX_HISTORY {
            self.history.pop_front();
        }
    }

    /// What this member tells of the past at the start of a view.
    pub fn told(&self) -> Vec<Entry> {
        let older = self.history.len().saturating_sub(TOLD_HISTORY);
        self.history.iter().skip(older).cloned().collect()
    }

    /// Takes in what members tell of the past; all do so alike.
    pub fn learn(&mut self, told: &[Told<'_>], lives: &BTreeMap<NodeId, Life>) {
        let mut all: Vec<&Entry> = told.iter().flat_map(|t| t.entries).collect();
        all.sort_by_key(|e| (e.completed_ms, e.id));
        for entry in all {
            let new = !self.history.iter().any(|e| e.id == entry.id);
            if new && entry.killed() && entry.incarnation != 0 {
                self.fenced.insert(entry.target, entry.incarnation);
            }
            self.remember(entry.clone());
        }
        told.iter().for_each(|t| self.meet(t, lives));
    }

    /// All members were fenced while they were apart, each half by the other, and all live: an agent has lied on either side. If
    /// all obeyed, nobody would be left to hold anything. So those whose content counts stay, or the lowest of them where it is the
    /// same content; the others obey, and that is as good as any verdict: nothing is held twice.
    pub fn acquit(&mut self, lives: &BTreeMap<NodeId, Life>, losers: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        let all = lives.iter().all(|(node, life)| self.is_fenced(*node, life.incarnation));
        if lives.len() < 2 || !all {
            return BTreeSet::new();
        }
        let winners = lives.keys().copied().filter(|node| !losers.contains(node));
        let stay: BTreeSet<NodeId> = if losers.is_empty() { winners.take(1).collect() } else { winners.collect() };
        self.fenced.retain(|node, _| !stay.contains(&NodeId(*node)));
        let of = |e: &Entry| lives.get(&NodeId(e.target)).filter(|_| stay.contains(&NodeId(e.target)));
        // Those who learn of it later learn this with it.
        for entry in self.history.iter_mut() {
            entry.contradicted |= of(entry).is_some_and(|life| life.incarnation == entry.incarnation);
        }
        stay
    }

    /// Nodes that were fenced before anybody here had ever met them. Which life was meant nobody can say but by its age: one that
    /// has lasted longer than it is since the fencing has lived through it, and obeys; one that began later is what is to come back.
    /// Only lengths of time are compared, no two clocks, and once only, at the first meeting.
    fn meet(&mut self, told: &Told<'_>, lives: &BTreeMap<NodeId, Life>) {
        let unmet = told.entries.iter().filter(|e| e.killed() && e.incarnation == 0 && !e.met);
        for entry in unmet {
            let Some(life) = lives.get(&NodeId(entry.target)).filter(|l| l.incarnation != 0) else { continue };
            let Some(own) = self.history.iter_mut().find(|e| e.id == entry.id && !e.met) else { continue };
            own.met = true;
            let since = u64::try_from(told.wall_ms.saturating_sub(entry.completed_ms)).unwrap_or(0);
            if life.lasted_ms > since {
                own.incarnation = life.incarnation;
                self.fenced.insert(entry.target, life.incarnation);
            }
        }
    }
}

fn refused(ask: &Ask, why: String) -> Turn {
    Turn::Refused { asker: ask.id, target: NodeId(ask.target), why }
}

impl Entry {
    /// What was asked, of which life of the target; what came of it is still to be said.
    fn of(ask: &Ask, incarnation: u64, asked_ms: i64, at: WallTime) -> Entry {
        Entry {
            id: ask.id,
            target: ask.target,
            name: ask.name.clone(),
            action: ask.action,
            client: ask.client.clone(),
            origin: ask.origin.clone(),
            incarnation,
            delegate: None,
            device: Word::default(),
            ok: false,
            reason: Reason::default(),
            asked_ms,
            completed_ms: at.0,
            met: false,
            contradicted: false,
        }
    }

    fn killed(&self) -> bool {
        self.ok && self.action.kills() && !self.contradicted
    }
}

impl Ask {
    fn by_cluster(&self) -> bool {
        *self.client == *CLUSTER
    }
}

impl Fencing {
    /// Whether the cluster wants done what this has done, to the same life of the target. Whatever it does, that life is over.
    fn is_answered_by(&self, done: &Entry) -> bool {
        let same = self.ask.target == done.target && self.incarnation == done.incarnation;
        same && done.killed() && self.ask.action.kills() && self.ask.by_cluster()
    }

    /// Whether a request for this is answered by it.
    fn answers(&self, target: u32, action: FenceAction) -> bool {
        self.ask.target == target && self.ask.action.covers(action) && !self.needless
    }

    /// What a step has come to, by executor.
    pub fn outcomes<'a>(&'a self, step: &'a Step) -> impl Iterator<Item = &'a Outcome> {
        self.tried.iter().filter(move |t| t.step == *step)
    }
}
