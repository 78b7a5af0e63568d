//! Drain, maintenance and edits of servers by command.

use super::{Core, Event};
use crate::config::service_id;
use crate::plan::real_id;
use crate::service::edits::{RealError, RealRequest, decide};
use crate::service::notices;
use crate::service::operator::{MarkError, MarkRequest, Marked, Wish, select};
use policy::{Edit, MarkEntry, RealId, Record};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::oneshot;

impl Core {
    /// Marks servers. The answer comes when the marks are on disk and the table has been set accordingly.
    pub(super) fn mark(&mut self, request: MarkRequest, done: oneshot::Sender<Result<Vec<Marked>, MarkError>>) {
        let reals: Vec<RealId> = match select(&self.config, &request.real, request.virtual_service.as_deref()) {
            Ok(found) => found.into_iter().map(|(id, _)| id).collect(),
            Err(e) => {
                let _ = done.send(Err(e));
                return;
            }
        };
        let changed: BTreeSet<RealId> =
            reals.iter().copied().filter(|id| self.marks.set(*id, request.wish, request.on)).collect();
        for id in &changed {
            let text = match (request.wish, request.on) {
                (Wish::Drain, true) => "Draining",
                (Wish::Drain, false) => "No longer draining",
                (Wish::Maintenance, true) => "Maintenance asked for on",
                (Wish::Maintenance, false) => "Maintenance no longer asked for on",
            };
            self.log(&format!("{text} real server, by command: {}", notices::pair(&id.service, &id.dest)));
        }
        self.apply_marks();
        if !changed.is_empty() {
            self.changed.send_modify(|n| *n += 1);
        }
        self.settle(reals, changed, done);
    }

    /// Changes servers against the file; as [`Core::mark`].
    pub(super) fn edit(&mut self, request: RealRequest, done: oneshot::Sender<Result<Vec<Marked>, RealError>>) {
        let edits = match decide(&self.file, &self.config, &self.marks, &request) {
            Ok(edits) => edits,
            Err(e) => {
                let _ = done.send(Err(e));
                return;
            }
        };
        let reals = edits.iter().map(|(id, _)| *id).collect();
        let changed: BTreeSet<RealId> =
            edits.into_iter().filter(|(id, edit)| self.marks.edit(*id, *edit)).map(|(id, _)| id).collect();
        if !changed.is_empty() {
            self.follow_file();
            self.tell_edits(&changed, "by command");
        }
        let (marked, answer) = oneshot::channel();
        self.settle(reals, changed, marked);
        tokio::spawn(async move {
            let answer = answer.await.unwrap_or(Err(MarkError::Stopped));
            let _ = done.send(answer.map_err(RealError::from));
        });
    }

    fn tell_edits(&self, changed: &BTreeSet<RealId>, how: &str) {
        for id in changed {
            let (server, service) = (notices::server(&id.dest), service_id(&id.service));
            let found = self.differences.iter().find(|d| d.server == server && d.virtual_service == service);
            match found {
                Some(difference) => self.log(&format!("Real server changed {how}: {difference}")),
                None => self.log(&format!("Real server as the file says again, {how}: {server} ({service})")),
            }
        }
    }

    /// Answers a command when it is on disk and in the table.
    fn settle(
        &mut self,
        reals: Vec<RealId>,
        changed: BTreeSet<RealId>,
        done: oneshot::Sender<Result<Vec<Marked>, MarkError>>,
    ) {
        let saved = self.marks.save();
        let (placed, in_table) = oneshot::channel();
        if self.active {
            self.waiting.push(placed);
            self.whole_due = true;
        }
        let events = self.events_in.clone();
        tokio::spawn(async move {
            if let Err(why) = saved.await {
                let _ = done.send(Err(why));
                return;
            }
            // An error means that no pass will come, as this director is not active.
            let _ = in_table.await;
            let _ = events.send(Event::Marked { reals, changed, done }).await;
        });
    }

    /// Marks that were set at another director of the group hold here as well, and over a restart.
    pub(super) fn import_marks(&mut self, entries: &[MarkEntry]) -> usize {
        let before: BTreeMap<RealId, Edit> = self.marks.edits().into_iter().collect();
        let (changed, new) = self.marks.merge(entries);
        let edited: BTreeSet<RealId> =
            changed.iter().copied().filter(|id| before.get(id).copied() != self.marks.get(id).edit).collect();
        if !edited.is_empty() {
            self.follow_file();
            self.tell_edits(&edited, "by command at another director");
        }
        for id in changed.iter().filter(|id| !edited.contains(id)) {
            let mark = self.marks.get(id);
            let text = match (mark.drained, mark.maintenance) {
                (true, true) => "Draining and maintenance",
                (true, false) => "Draining",
                (false, true) => "Maintenance",
                (false, false) => "Neither drain nor maintenance",
            };
            let pair = notices::pair(&id.service, &id.dest);
            self.log(&format!("{text}, by command at another director: {pair}"));
        }
        self.apply_marks();
        self.whole_due |= self.active && !changed.is_empty();
        if new {
            let (saved, logger) = (self.marks.save(), self.options.logger.clone());
            tokio::spawn(async move {
                if let Err(why) = saved.await {
                    logger.log(&format!("Drains and maintenance of another director: {why}"));
                }
            });
        }
        changed.len()
    }

    pub(super) fn marked(
        &mut self,
        reals: &[RealId],
        changed: &BTreeSet<RealId>,
        done: oneshot::Sender<Result<Vec<Marked>, MarkError>>,
    ) {
        let marked = reals.iter().map(|id| self.describe(*id, changed.contains(id))).collect();
        let _ = done.send(Ok(marked));
    }

    fn describe(&self, id: RealId, changed: bool) -> Marked {
        let counts = self.counts.get(&id);
        let v = self.plan.virtuals.iter().find(|v| v.service.key == id.service);
        let others = v.map(|v| v.reals.iter().filter(|r| self.health.get(&v.id(r)).is_some_and(Record::takes)).count());
        let persistent = v.is_some_and(|v| v.service.flags & base::ipvs::service_flags::PERSISTENT != 0);
        Marked {
            virtual_service: service_id(&id.service),
            server: notices::server(&id.dest),
            changed,
            in_directory: self.in_directory(&id),
            active_conns: counts.map(|c| c.active),
            inactive_conns: counts.map(|c| c.inactive),
            persistent,
            takers: others.unwrap_or(0),
        }
    }

    pub(in crate::service) fn in_directory(&self, id: &RealId) -> bool {
        self.config.virtuals.iter().filter(|v| v.key == id.service).any(|v| {
            v.reals.iter().any(|real| {
                let ports = [real.port, id.dest.port];
                real_id(v, real) == *id
                    && self.dir_marks.iter().any(|m| m.covers(real.name.as_deref(), real.addr, ports))
            })
        })
    }

    /// Health follows all marks: the directory's and the operator's.
    pub(super) fn apply_marks(&mut self) {
        let now = self.now();
        let config = self.config.clone();
        for v in &config.virtuals {
            for real in &v.reals {
                let id = real_id(v, real);
                let asked = self.marks.get(&id);
                let ports = [real.port, id.dest.port];
                let on = asked.maintenance
                    || self.dir_marks.iter().any(|m| m.covers(real.name.as_deref(), real.addr, ports));
                if self.health.set_maintenance(id, on, now) {
                    let word = if on { "put into" } else { "taken out of" };
                    let pair = notices::pair(&id.service, &id.dest);
                    self.options.logger.log(&format!("Real server {word} maintenance: {pair}"));
                    self.dirty.insert(id.service);
                    self.tell_news(&id);
                }
                if self.health.set_drained(id, asked.drained, now) {
                    self.dirty.insert(id.service);
                }
            }
        }
    }
}
