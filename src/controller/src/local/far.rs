//! What is otherwise where operations run on a remote node: numbers go on from another member's, and the connection may break.

use super::{Doings, Exec, Local, State};
use crate::api::Output;
use crate::controller::not_connected;
use base::WallTime;

impl Local {
    /// Results are numbered from there on.
    pub fn count_from(&mut self, last_call: u64) {
        self.last_call = self.last_call.max(last_call);
    }

    /// There is no connection (any more): what was asked for once has no result, what is repeated just ends.
    pub fn abandon(&mut self) -> Doings {
        let mut doings = Doings::default();
        for (call, task) in self.tasks.take_all() {
            if task.state == State::Running {
                doings.outputs.push(Output::Cancel { call });
            }
            if task.exec.identity.interval_ms == 0 {
                self.report(&mut doings, &task, not_connected(), task.begun_wall);
            }
        }
        doings
    }

    /// Tells that this operation cannot even be tried.
    pub fn refuse(&mut self, exec: Exec, wall: WallTime) -> Doings {
        let mut doings = Doings::default();
        self.report_plain(&mut doings, &exec, &not_connected(), wall);
        doings
    }
}
