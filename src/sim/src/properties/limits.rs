//! Queues stay within what their owners name as limits.

/// Events that the controller's task may leave untaken (`daemon::ring::MAX_BACKLOG`).
const BACKLOG: usize = 100_000;
/// Messages that wait for room in the ring.
const WAITING: usize = 4_096;

#[derive(Default)]
pub struct Limits {
    pub backlog: usize,
    pub waiting: usize,
}

impl Limits {
    pub fn backlog(&mut self, n: usize) {
        self.backlog = self.backlog.max(n);
    }

    pub fn waiting(&mut self, n: usize) {
        self.waiting = self.waiting.max(n);
    }

    pub fn broken(&self) -> Option<String> {
        if self.backlog > BACKLOG {
            return Some(format!("{} events wait for the controller's task", self.backlog));
        }
        (self.waiting > WAITING).then(|| format!("{} messages wait for the ring", self.waiting))
    }
}
