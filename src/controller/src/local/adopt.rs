//! What is in place by a record: looked at, and told to the cluster if it is there.

use super::{Bump, Doings, Local, MAX_OPERATIONS, Placed, Record, State, Step, Task};
use base::{Time, WallTime};

impl Local {
    /// Takes over records of a former life: looks after each instance, and tells of those that are there.
    pub fn restore(&mut self, now: Time, wall: WallTime, mut records: Vec<Record>) -> Doings {
        let mut doings = Doings::default();
        records.sort_by_key(|r| r.order);
        records.truncate(MAX_OPERATIONS / 2);
        for record in records {
            self.last_call = self.last_call.max(record.order);
            self.adopt(now, wall, &record);
            self.placed.insert(record.instance.id.clone(), Placed { record, told: None });
        }
        self.run_queued(now, wall, &mut doings);
        doings
    }

    /// Looks whether what a record says is there, and tells if it is.
    fn adopt(&mut self, now: Time, wall: WallTime, record: &Record) {
        let exec = self.own(record, "monitor", Bump::None);
        let task = Task { adopts: true, step: Step::Main, ..Task::new(exec, now, wall) };
        let call = self.next_call();
        self.tasks.insert(call, task);
    }

    /// [`Local::restore`], of one instance that this node has a record of.
    pub fn look_after(&mut self, now: Time, wall: WallTime, resource: &str) -> Doings {
        let mut doings = Doings::default();
        if let Some(record) = self.record(resource).cloned() {
            self.adopt(now, wall, &record);
            self.run_queued(now, wall, &mut doings);
        }
        doings
    }

    /// Instances with a record, of which no operation is under way or waits for its turn.
    pub fn idle_records(&self) -> impl Iterator<Item = String> {
        self.placed
            .keys()
            .filter(|id| self.tasks.of(id).all(|(_, t)| matches!(t.state, State::Resting { .. })))
            .cloned()
    }
}
