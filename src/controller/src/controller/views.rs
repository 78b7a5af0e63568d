//! Views: state told at the start, content taken over at the end of the exchange, stale resources stopped before joining.

use super::Controller;
use crate::alerts::Event;
use crate::api::{Alert, Output, ViewId};
use crate::disks::Disks;
use crate::fatal::Fatal;
use crate::message::{InFlight, Message, Snapshot, Standing, State};
use crate::replica::Turnover;
use crate::status;
use crate::sync::{Exchange, Merge};
use base::{NodeId, Word};
use std::collections::BTreeSet;
use xml::Element;

impl Controller {
    pub(super) fn on_view(&mut self, id: ViewId, members: &[NodeId], quorate: bool) {
        self.quorate = quorate;
        self.failed = false;
        self.checks.reset();
        self.synced = false;
        self.ring_current = true;
        self.view_ending = false;
        self.doubtful = self.now < self.stalled_until;
        self.assembler.clear();
        self.coordinator.reset();
        self.fencing.driver.reset();
        self.exchange = Some(Exchange::new(id, members.iter().copied().collect()));
        let list: Vec<String> = members.iter().map(|n| self.config.name_of(*n)).collect();
        let quorum = if quorate { "quorate" } else { "no quorum" };
        self.timeline("view", &format!("{}.{}", id.rep, id.seq), format!("members {}; {quorum}", list.join(" ")));
        let state = self.my_state(id);
        self.broadcast(&Message::State(Box::new(state)));
    }

    fn my_state(&self, view: ViewId) -> State {
        let me = self.config.me;
        let own = self.replica.status().and_then(|s| status::node_state(s, me));
        let running = self.replica.in_flight.values().filter(|f| f.host() == me);
        State {
            view,
            name: Word::cleaned(&self.config.my_name()),
            nodes: self.config.nodes.iter().map(|(n, name)| (n.0, Word::cleaned(name))).collect(),
            cluster_name: Word::cleaned(&self.config.cluster_name),
            program: Word::cleaned(&self.config.version),
            incarnation: self.config.incarnation,
            lasted_ms: self.now.since(self.began).as_millis() as u64,
            feature_level: self.config.feature_level,
            ready: true,
            quorate: self.quorate,
            two_node: self.config.two_node,
            votes: Some(self.config.votes_of(me)),
            wall_ms: self.wall.0,
            lineage: self.replica.lineage.to_string(),
            version: self.replica.version(),
            chain: self.replica.chain.clone(),
            since: self.replica.since.get(&me).copied().unwrap_or(view.seq),
            node_state: own.map(Element::to_compact).unwrap_or_default(),
            in_flight: running.cloned().collect::<Vec<InFlight>>(),
            standing: self.standing,
            fencing: self.replica.fencing.told(),
            watchdog_ms: self.config.watchdog_ms,
        }
    }

    pub(super) fn finish_exchange(&mut self, seq: u64, snapshot: Option<Box<Snapshot>>) -> Result<(), Fatal> {
        let Some(exchange) = self.exchange.take() else { return Ok(()) };
        let Some(merge) = exchange.merge else { return Ok(()) };
        let lost_merge = merge.losers.contains(&self.config.me);
        if let Some(snapshot) = snapshot.filter(|_| lost_merge) {
            self.take_over(&merge, &snapshot)?;
        }
        self.standing = Standing::Good;
        let was_dc = self.replica.dc;
        let turnover = self.replica.install(exchange.view, &exchange.states, &merge);
        self.synced = true;
        self.count("views");
        self.after_install(&turnover, was_dc);
        if self.fenced_at_a_view(&turnover) {
            return Ok(());
        }
        if self.was_synced && !turnover.gained.is_empty() {
            // Who was away may hold less than its history says, an address whose lease is over: look at once.
            self.local.hasten(self.now);
            self.coordinator.pause(self.now);
        }
        self.was_synced = true;
        self.doubtful = false;
        self.applied = (exchange.view, seq);
        let votes = self.replica.members.iter().map(|n| (*n, self.config.votes_of(*n))).collect();
        let disks = Disks::new(votes, self.config.expected_votes);
        let failed = self.clients.synced(self.applied, disks, lost_merge);
        self.clients.wanted_on_disk(self.now, seq);
        self.reply(failed);
        self.answer_safe();
        self.unwind();
        for early in exchange.waiting {
            // Its effect rests on the exchange, so it is no safer than that.
            self.apply(early.sender, exchange.view, seq, early.ordered)?;
        }
        for message in self.clients.unsent() {
            self.broadcast(&Message::Op(Box::new(message)));
        }
        Ok(())
    }

    /// Replaces this node's content by the winner's; what it had is handed out if it is in nobody's past.
    fn take_over(&mut self, merge: &Merge, snapshot: &Snapshot) -> Result<(), Fatal> {
        let old = self.replica.cib.clone();
        let known = self.replica.config_log.back().is_some_and(|c| snapshot.config_log.contains(c));
        let unreadable = |e: cib::CibError| Fatal::Snapshot { winner: merge.winner, error: e.to_string() };
        self.replica.load(snapshot).map_err(unreadable)?;
        let same = old.section("configuration") == self.replica.cib.section("configuration");
        let empty = old.section("configuration").is_none_or(|c| c.elements().all(|s| s.elements().next().is_none()));
        if !known && !same && !empty {
            let (had, got) = (old.version(), self.replica.cib.version());
            let reason = format!("configuration {had} gave way to {got} of {}", self.config.name_of(merge.winner));
            self.timeline("discarded", &self.config.my_name(), reason.clone());
            self.outputs.push_back(Output::Alert(Alert::Discarded { reason: reason.clone() }));
            self.outputs.push_back(Output::Discarded { cib: old.shared_root(), reason });
        }
        self.persist_wanted = true;
        Ok(())
    }

    fn after_install(&mut self, turnover: &Turnover, was_dc: Option<NodeId>) {
        self.persist_wanted = true;
        let dc = self.replica.dc.map_or_else(String::new, |n| self.config.name_of(n));
        self.timeline("synced", &self.config.my_name(), format!("CIB {}, DC {dc}", self.replica.cib.version()));
        if was_dc != self.replica.dc {
            self.timeline("dc", &dc, "is the coordinator".to_owned());
        }
        for node in &turnover.gained {
            let name = self.config.name_of(*node);
            self.timeline("node_joined", &name, "is online".to_owned());
            self.notify(&Event::Node { name: name.clone(), id: *node, member: true });
            self.outputs.push_back(Output::Alert(Alert::Node { name, online: true }));
        }
        for node in &turnover.lost {
            let name = self.config.name_of(*node);
            let planned = self.replica.leaving.contains(node);
            if planned {
                self.departed.left(*node, self.now);
            } else {
                self.coordinator.hold(self.now, *node, turnover, &self.replica, &self.config);
            }
            self.timeline("node_lost", &name, if planned { "has left" } else { "is lost" }.to_owned());
            self.notify(&Event::Node { name: name.clone(), id: *node, member: false });
            self.outputs.push_back(Output::Alert(Alert::Node { name, online: false }));
        }
        let members = self.replica.members.clone();
        self.departed.here(&members);
        self.replica.leaving.retain(|n| members.contains(n));
        if self.is_coordinator() {
            self.coordinator.begin(self.now);
            self.coordinator.change(self.now, "view", true);
        }
    }

    /// Stops here what runs elsewhere since this node was out; then it may join.
    fn unwind(&mut self) {
        let me = self.config.me;
        if !self.replica.joining.contains(&me) {
            return;
        }
        let active = |node: NodeId| {
            let state = self.replica.status().and_then(|s| status::node_state(s, node));
            state.map(status::active).unwrap_or_default()
        };
        let elsewhere: BTreeSet<String> =
            self.replica.members.iter().filter(|n| **n != me).flat_map(|n| active(*n)).collect();
        // What the history calls active may be gone by now (an expired address), but has to be stopped on record too.
        let held = self.local.held().resources().iter().map(str::to_owned);
        let mine: BTreeSet<String> = active(me).into_iter().chain(held).collect();
        let cloned = self.replica.cloned();
        let double: BTreeSet<String> =
            mine.intersection(&elsewhere).filter(|r| !cloned.contains(*r)).cloned().collect();
        let stops = self.local.stops_for(&double);
        // Stops of an earlier view may still be under way.
        self.unwinding.extend(stops.iter().map(|s| s.identity.resource.clone()));
        for mut stop in stops {
            stop.view = self.replica.view;
            self.timeline("unwind", &stop.identity.key, "runs elsewhere since the merge: stopping it here".to_owned());
            let doings = self.local.start(self.now, self.wall, stop);
            self.perform(doings);
        }
        self.join_if_unwound();
    }

    pub(super) fn join_if_unwound(&mut self) {
        if self.unwinding.is_empty() && self.replica.joining.contains(&self.config.me) {
            self.broadcast(&Message::Joined { view: self.replica.view });
        }
    }
}
