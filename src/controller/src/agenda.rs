//! The tasks of a node by their call number, found by resource, by state and by time without a look at the others.

use base::Time;
use std::collections::{BTreeMap, BTreeSet};

/// What a task is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Queued,
    Running,
    Resting { until: Time },
}

/// What an agenda has to know of its tasks.
pub trait Entry {
    fn resource(&self) -> &str;
    fn state(&self) -> State;
}

/// To change a task, take it out and put it back: so the agenda always knows its state.
pub struct Agenda<T> {
    tasks: BTreeMap<u64, T>,
    of: BTreeMap<String, BTreeSet<u64>>,
    queued: BTreeSet<u64>,
    resting: BTreeSet<(Time, u64)>,
    /// Tasks that run, by resource.
    running: BTreeMap<String, usize>,
}

impl<T> Default for Agenda<T> {
    fn default() -> Agenda<T> {
        Agenda {
            tasks: BTreeMap::new(),
            of: BTreeMap::new(),
            queued: BTreeSet::new(),
            resting: BTreeSet::new(),
            running: BTreeMap::new(),
        }
    }
}

impl<T: Entry> Agenda<T> {
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    pub fn insert(&mut self, call: u64, task: T) {
        self.remove(call);
        match task.state() {
            State::Queued => drop(self.queued.insert(call)),
            State::Resting { until } => drop(self.resting.insert((until, call))),
            State::Running => *self.running.entry(task.resource().to_owned()).or_default() += 1,
        }
        match self.of.get_mut(task.resource()) {
            Some(calls) => drop(calls.insert(call)),
            None => drop(self.of.insert(task.resource().to_owned(), BTreeSet::from([call]))),
        }
        self.tasks.insert(call, task);
    }

    pub fn remove(&mut self, call: u64) -> Option<T> {
        let task = self.tasks.remove(&call)?;
        match task.state() {
            State::Queued => drop(self.queued.remove(&call)),
            State::Resting { until } => drop(self.resting.remove(&(until, call))),
            State::Running => {
                if let Some(count) = self.running.get_mut(task.resource()) {
                    *count -= 1;
                    if *count == 0 {
                        self.running.remove(task.resource());
                    }
                }
            }
        }
        if let Some(calls) = self.of.get_mut(task.resource()) {
            calls.remove(&call);
            if calls.is_empty() {
                self.of.remove(task.resource());
            }
        }
        Some(task)
    }

    /// Tasks of a resource, oldest first.
    pub fn of<'a>(&'a self, resource: &str) -> impl Iterator<Item = (u64, &'a T)> {
        let calls = self.of.get(resource).into_iter().flatten();
        calls.filter_map(|call| Some((*call, self.tasks.get(call)?)))
    }

    /// Takes out the tasks whose rest is over.
    pub fn take_due(&mut self, now: Time) -> Vec<(u64, T)> {
        let due: Vec<u64> = self.resting.iter().take_while(|(until, _)| *until <= now).map(|(_, call)| *call).collect();
        due.into_iter().filter_map(|call| Some((call, self.remove(call)?))).collect()
    }

    /// Takes out all that rest.
    pub fn take_resting(&mut self) -> Vec<(u64, T)> {
        let all: Vec<u64> = self.resting.iter().map(|(_, call)| *call).collect();
        all.into_iter().filter_map(|call| Some((call, self.remove(call)?))).collect()
    }

    /// Takes out everything.
    pub fn take_all(&mut self) -> Vec<(u64, T)> {
        let all: Vec<u64> = self.tasks.keys().copied().collect();
        all.into_iter().filter_map(|call| Some((call, self.remove(call)?))).collect()
    }

    /// When the first rest is over.
    pub fn next_due(&self) -> Option<Time> {
        self.resting.first().map(|(until, _)| *until)
    }

    /// The oldest queued task of each resource on which nothing runs.
    pub fn runnable(&self) -> Vec<u64> {
        let mut chosen = BTreeSet::new();
        let resource = |call: &u64| self.tasks.get(call).map(|t| t.resource());
        let free = |call: &&u64| resource(call).is_some_and(|r| !self.running.contains_key(r) && chosen.insert(r));
        self.queued.iter().filter(free).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Task(&'static str, State);

    impl Entry for Task {
        fn resource(&self) -> &str {
            self.0
        }

        fn state(&self) -> State {
            self.1
        }
    }

    fn at(ms: u64) -> State {
        State::Resting { until: Time::from_millis(ms) }
    }

    #[test]
    fn tasks_are_found_by_resource_state_and_time() {
        let mut agenda = Agenda::default();
        let tasks = [
            (1, Task("a", at(30))),
            (2, Task("a", State::Queued)),
            (3, Task("a", State::Queued)),
            (4, Task("b", State::Running)),
            (5, Task("b", State::Queued)),
            (6, Task("c", at(10))),
        ];
        tasks.into_iter().for_each(|(call, task)| agenda.insert(call, task));
        assert_eq!(agenda.runnable(), [2], "one of a, and none of b");
        assert_eq!(agenda.of("a").map(|(call, _)| call).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(agenda.next_due(), Some(Time::from_millis(10)));
        let mut b = agenda.remove(4).expect("it is there");
        b.1 = at(20);
        agenda.insert(4, b);
        assert_eq!(agenda.runnable(), [2, 5]);
        let due = agenda.take_due(Time::from_millis(20));
        assert_eq!(due.iter().map(|(call, _)| *call).collect::<Vec<_>>(), [6, 4]);
        assert_eq!((agenda.next_due(), agenda.len()), (Some(Time::from_millis(30)), 4));
        assert_eq!((agenda.take_resting().len(), agenda.next_due()), (1, None));
        for call in 2..=5 {
            let _ = agenda.remove(call);
        }
        assert!(agenda.len() == 0 && agenda.of.is_empty() && agenda.running.is_empty() && agenda.queued.is_empty());
    }
}
