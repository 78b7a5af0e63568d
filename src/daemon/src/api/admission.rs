//! Who gets a connection: a bound for each user, room kept for operators and for the commands that agents run.
//!
//! ```text
//! accepted -> seated (waiting for a request <-> serving one) -> gone
//!     |            '- idle while its pool is full: closed to make room
//!     '- pool full of connections that all serve: refused, with word when to come again
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// Connections of root, of this process's user and of `hacluster` together.
pub(super) const MAX_OPERATORS: usize = 192;
/// Connections of any other user.
pub(super) const MAX_PER_USER: usize = 48;
/// Connections of all other users together.
pub(super) const MAX_USERS: usize = 192;
/// Further connections of processes that this one has started: agents' helper commands.
pub(super) const MAX_HELPERS: usize = 128;

/// Which bound a connection counts against.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Pool {
    Operators,
    User(u32),
    Helpers,
}

/// Everybody's places.
#[derive(Clone, Default)]
pub(super) struct Admission(Arc<Mutex<Seats>>);

#[derive(Default)]
struct Seats {
    next: u64,
    seats: BTreeMap<u64, Seat>,
}

struct Seat {
    pool: Pool,
    /// Requests that are being served.
    serving: usize,
    idle_since: Instant,
    close: Arc<Notify>,
}

/// A connection's place, until it is dropped.
pub(super) struct Place {
    admission: Admission,
    number: u64,
    close: Arc<Notify>,
}

/// Held while a request is served.
pub(super) struct Serving {
    admission: Admission,
    number: u64,
}

impl Admission {
    /// A place in `pool`; `is_helper` is asked only if there is no other. `None` if all places serve.
    pub fn admit(&self, pool: Pool, now: Instant, is_helper: impl FnOnce() -> bool) -> Option<Place> {
        let mut seats = self.seats();
        if seats.has_room(pool) || seats.make_room(pool) {
            return Some(self.seat(&mut seats, pool, now));
        }
        (is_helper() && seats.has_room(Pool::Helpers)).then(|| self.seat(&mut seats, Pool::Helpers, now))
    }

    fn seat(&self, seats: &mut Seats, pool: Pool, now: Instant) -> Place {
        let (number, close) = (seats.next, Arc::new(Notify::new()));
        seats.next += 1;
        seats.seats.insert(number, Seat { pool, serving: 0, idle_since: now, close: close.clone() });
        Place { admission: self.clone(), number, close }
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seats {
    fn count(&self, of: impl Fn(Pool) -> bool) -> usize {
        self.seats.values().filter(|s| of(s.pool)).count()
    }

    fn has_room(&self, pool: Pool) -> bool {
        match pool {
            Pool::Operators => self.count(|p| p == Pool::Operators) < MAX_OPERATORS,
            Pool::Helpers => self.count(|p| p == Pool::Helpers) < MAX_HELPERS,
            Pool::User(_) => {
                self.count(|p| p == pool) < MAX_PER_USER && self.count(|p| matches!(p, Pool::User(_))) < MAX_USERS
            }
        }
    }

    /// Closes the connection that has been idle the longest, of those that stand in the way: the user's own if it has all it
    /// may have, else of the user that has most. However short that was: a client sends its request as soon as it is connected,
    /// so that one in a flood of connections that ask nothing is served before its turn to go comes.
    fn make_room(&mut self, pool: Pool) -> bool {
        let from = match pool {
            Pool::User(_) if self.count(|p| p == pool) < MAX_PER_USER => self.largest_user().unwrap_or(pool),
            _ => pool,
        };
        let idle = |s: &Seat| s.pool == from && s.serving == 0;
        let oldest = self.seats.iter().filter(|(_, s)| idle(s)).min_by_key(|(_, s)| s.idle_since).map(|(n, _)| *n);
        let Some(seat) = oldest.and_then(|n| self.seats.remove(&n)) else { return false };
        seat.close.notify_one();
        true
    }

    fn largest_user(&self) -> Option<Pool> {
        let mut counts: BTreeMap<Pool, usize> = BTreeMap::new();
        let users = self.seats.values().map(|s| s.pool).filter(|p| matches!(p, Pool::User(_)));
        users.for_each(|p| *counts.entry(p).or_default() += 1);
        counts.into_iter().max_by_key(|(_, n)| *n).map(|(p, _)| p)
    }
}

impl Place {
    /// Until the place is needed for another connection.
    pub async fn taken_away(&self) {
        self.close.notified().await;
    }

    pub fn server(&self) -> impl Fn() -> Serving + Clone + use<> {
        let (admission, number) = (self.admission.clone(), self.number);
        move || {
            if let Some(seat) = admission.seats().seats.get_mut(&number) {
                seat.serving += 1;
            }
            Serving { admission: admission.clone(), number }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.seats().seats.remove(&self.number);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(seat) = self.admission.seats().seats.get_mut(&self.number) {
            seat.serving = seat.serving.saturating_sub(1);
            seat.idle_since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never() -> bool {
        false
    }

    #[test]
    fn each_user_has_a_bound_and_operators_have_their_own_room() {
        let (admission, now) = (Admission::default(), Instant::now());
        let (mut places, mut serving) = (Vec::new(), Vec::new());
        let mut busy = |pool: Pool, place: Option<Place>| {
            serving.extend(place.as_ref().map(|p| p.server()()));
            places.extend(place);
            admission.seats().count(|p| p == pool)
        };
        let users = (1..=9).map(|uid| {
            let pool = Pool::User(uid);
            (0..60).fold(0, |_, _| busy(pool, admission.admit(pool, now, never)))
        });
        assert_eq!(users.sum::<usize>(), MAX_USERS, "four users fill what users may have");
        for n in 1..=MAX_OPERATORS {
            assert_eq!(busy(Pool::Operators, admission.admit(Pool::Operators, now, never)), n, "room for operators");
        }
        assert!(admission.admit(Pool::Operators, now, never).is_none());
        for _ in 0..MAX_HELPERS {
            let place = admission.admit(Pool::Operators, now, || true);
            assert!(place.is_some(), "room for helper commands");
            busy(Pool::Helpers, place);
        }
        assert!(admission.admit(Pool::Operators, now, || true).is_none());
        drop((places, serving));
        assert!(admission.admit(Pool::User(7), now, never).is_some());
    }

    #[tokio::test]
    async fn the_idle_make_room_and_the_serving_do_not() {
        let (admission, now) = (Admission::default(), Instant::now());
        let places: Vec<Place> = (0..MAX_PER_USER).filter_map(|_| admission.admit(Pool::User(1), now, never)).collect();
        let serving: Vec<Serving> = places.iter().skip(1).map(|p| p.server()()).collect();
        assert!(admission.admit(Pool::User(1), now, never).is_some());
        places[0].taken_away().await;
        let again = admission.admit(Pool::User(1), now, never).expect("its place");
        let _busy = again.server()();
        assert!(admission.admit(Pool::User(1), now, never).is_none(), "all serve");
        drop(serving);
    }

    #[test]
    fn a_newcomer_takes_from_the_user_that_has_most() {
        let (admission, now) = (Admission::default(), Instant::now());
        let mut places: Vec<Place> = Vec::new();
        for (uid, count) in [(1, 48), (2, 48), (3, 48), (4, 47), (5, 1)] {
            (0..count).for_each(|_| places.extend(admission.admit(Pool::User(uid), now, never)));
        }
        let newcomer = admission.admit(Pool::User(5), now, never);
        assert!(newcomer.is_some());
        assert_eq!(admission.seats().count(|p| p == Pool::User(5)), 2);
    }
}
