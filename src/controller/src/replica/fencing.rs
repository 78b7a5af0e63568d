//! Fencing in the replicated content: orders and reports applied, and what they mean for a node's state.

use super::{Effect, Replica};
use crate::api::ViewId;
use crate::fencing::state::{Life, Members, Told, Turn};
use crate::fencing::{FenceOp, FenceOrder, watchdog_timeout_ms};
use crate::message::{Snapshot, State};
use crate::status;
use base::{NodeId, WallTime};
use std::collections::{BTreeMap, BTreeSet};

/// The level from which on fencing is replicated.
pub const FENCING_LEVEL: u32 = 3;

/// Who is there, apart from the state that is being changed.
struct There {
    view: ViewId,
    members: BTreeSet<NodeId>,
    lives: BTreeMap<NodeId, u64>,
}

impl Members for There {
    fn view(&self) -> ViewId {
        self.view
    }

    fn is_member(&self, node: NodeId) -> bool {
        self.members.contains(&node)
    }

    fn life(&self, node: NodeId) -> u64 {
        self.lives.get(&node).copied().unwrap_or(0)
    }
}

impl Replica {
    pub fn life_of(&self, node: NodeId) -> u64 {
        self.lives.get(&node).copied().unwrap_or(0)
    }

    /// Whether all members take part in fencing; below, the DC does it alone and tells the result.
    pub fn shares_fencing(&self) -> bool {
        self.level() >= FENCING_LEVEL
    }

    /// Whether a member can be ordered to run a device by the DC `dc`.
    pub fn can_execute(&self, node: NodeId, dc: NodeId) -> bool {
        if self.shares_fencing() { self.ready.get(&node).copied().unwrap_or(true) || node == dc } else { node == dc }
    }

    /// How long after its loss a node's own watchdog has reset it, if that way is in use.
    pub fn watchdog_timeout_ms(&self) -> Option<u64> {
        watchdog_timeout_ms(self.cib.root(), self.watchdogs.values().copied().max().unwrap_or(0))
    }

    /// Whether the target's own watchdog resets it: it has one, and it is without quorum because this side has it, alone.
    pub fn counts_on_watchdog(&self, target: NodeId) -> bool {
        let told = self.members.contains(&target);
        self.watchdogs.contains_key(&target) && self.watchdog_timeout_ms().is_some() && (told || self.is_firm())
    }

    fn there(&self) -> There {
        There { view: self.view, members: self.members.clone(), lives: self.lives.clone() }
    }

    pub(super) fn load_fencing(&mut self, snapshot: &Snapshot) {
        self.fencing = snapshot.fencing.clone();
        self.lives = snapshot.lives.iter().map(|(n, life)| (NodeId(*n), *life)).collect();
        self.watchdogs = snapshot.watchdogs.iter().map(|(n, ms)| (NodeId(*n), *ms)).collect();
    }

    /// Whether the node's present life was fenced: it ends when it learns of it, and is down for everybody until then.
    pub(super) fn is_fenced(&self, node: NodeId) -> bool {
        self.shares_fencing() && self.fencing.is_fenced(node, self.life_of(node))
    }

    /// At the start of a view: which life of each member this is.
    pub(super) fn meet_lives(&mut self, states: &BTreeMap<NodeId, State>) {
        for (node, state) in states {
            self.lives.insert(*node, state.incarnation);
            match state.watchdog_ms {
                0 => drop(self.watchdogs.remove(node)),
                ms => drop(self.watchdogs.insert(*node, ms)),
            }
        }
    }

    /// At the start of a view, what one member alone has known until now: members below [`FENCING_LEVEL`] do not keep it, so nobody may
    /// rely on it; the past is for people. But a target that was a member when its device had done it, and is none any more, is
    /// down: returns what follows, which the others still have to be told.
    pub(super) fn end_fencing_alone(&mut self) -> Vec<Turn> {
        let shared = self.shares_fencing();
        let was_alone = std::mem::replace(&mut self.fencing_alone, !shared);
        if shared && !was_alone {
            return Vec::new();
        }
        let mut old = std::mem::take(&mut self.fencing);
        old.open.retain(|f| f.obeying);
        let turns = old.view(self.wall, &self.there());
        self.fencing.history = old.history;
        if !shared {
            self.fencing.open = old.open;
        }
        turns
    }

    /// At the start of a view: what members know of the past. Returns who stays although it was fenced, as everybody was.
    pub(super) fn learn_fencing(
        &mut self,
        states: &BTreeMap<NodeId, State>,
        losers: &BTreeSet<NodeId>,
    ) -> BTreeSet<NodeId> {
        let told: Vec<Told<'_>> = states.values().map(|s| Told { entries: &s.fencing, wall_ms: s.wall_ms }).collect();
        let life = |s: &State| Life { incarnation: s.incarnation, lasted_ms: s.lasted_ms };
        let lives = states.iter().map(|(node, s)| (*node, life(s))).collect();
        self.fencing.learn(&told, &lives);
        self.fencing.acquit(&lives, losers)
    }

    /// With a view that begins: whose fencing is over.
    pub(super) fn begin_fencing(&mut self) -> Vec<Turn> {
        let fenced: Vec<NodeId> = self.members.iter().copied().filter(|n| self.is_fenced(*n)).collect();
        for node in fenced {
            self.cib.edit_status(|s| status::fenced(s, node));
        }
        let there = self.there();
        let turns = self.fencing.view(self.wall, &there);
        turns.iter().for_each(|turn| drop(self.write_turn(turn)));
        turns
    }

    pub(super) fn apply_order(&mut self, order: &FenceOrder, effects: &mut Vec<Effect>) {
        effects.extend(self.fencing.order(order).into_iter().map(Effect::Fence));
    }

    pub(super) fn apply_fencing(&mut self, op: &FenceOp, at: WallTime, effects: &mut Vec<Effect>) {
        let there = self.there();
        for turn in self.fencing.apply(op, at, &there) {
            if let Some(reason) = self.write_turn(&turn) {
                effects.push(Effect::Changed { reason });
            }
            effects.push(Effect::Fence(turn));
        }
    }

    /// As [`Replica::apply_fencing`], on this member alone; nothing of the CIB changes.
    pub fn fence_alone(&mut self, op: &FenceOp, at: WallTime) -> Vec<Turn> {
        let there = self.there();
        self.fencing.apply(op, at, &there)
    }

    /// As for [`Replica::fence_alone`].
    pub fn order_alone(&mut self, order: &FenceOrder) -> Vec<Turn> {
        self.fencing.order(order)
    }

    fn write_turn(&mut self, turn: &Turn) -> Option<String> {
        match turn {
            Turn::Down { target } => {
                self.meet(*target);
                self.cib.edit_status(|s| status::fenced(s, *target));
                self.name_state(*target);
                Some(format!("node {target} fenced"))
            }
            Turn::Up { target, attributes, at_ms } => {
                let at = WallTime(*at_ms).secs().to_string();
                let own = [("#node-unfenced", at.as_str())].into_iter();
                let all = own.chain(attributes.iter().map(|(n, v)| (n.as_str(), v.as_str())));
                self.cib
                    .edit_status(|s| all.fold(false, |c, (n, v)| status::set_attribute(s, *target, n, Some(v)) || c));
                Some(format!("node {target} unfenced"))
            }
            _ => None,
        }
    }
}
