//! One address: announced or not. Pure: time is an argument.

use std::time::Duration;

/// Where an address may be; the interfaces of [`super::Tracks`] have this order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Up = 0,
    Drain = 1,
}

impl Place {
    pub fn word(self) -> &'static str {
        match self {
            Place::Up => "up",
            Place::Drain => "drain",
        }
    }
}

#[derive(Default, Debug)]
pub(super) struct Track {
    announced: bool,
    fit_since: Option<Duration>,
    why_not: Option<String>,
    /// It was not there when last looked at.
    missing: bool,
    /// It went without being withdrawn.
    lapsed: bool,
    draining: bool,
}

impl Track {
    /// Whether to announce it now, or to withdraw it; nothing if it is as it should be. What is not fit goes at once; what is comes
    /// back when it has been so for `settle`.
    pub fn step(&mut self, fit: &Result<(), String>, settle: Duration, now: Duration) -> Option<bool> {
        match fit {
            Err(why) => {
                self.fit_since = None;
                self.why_not = Some(why.clone());
                self.announced.then_some(false)
            }
            Ok(()) => {
                let since = *self.fit_since.get_or_insert(now);
                if self.announced {
                    return None;
                }
                let waits = now.saturating_sub(since) < settle;
                self.why_not =
                    waits.then(|| format!("fit again, and announced when it stays so for {} ms", settle.as_millis()));
                (!waits).then_some(true)
            }
        }
    }

    pub fn placed(&mut self, place: Place, there: bool) {
        if place == Place::Drain {
            self.draining = there;
        } else {
            self.missing = false;
            self.announced = there;
            self.lapsed &= !there;
            self.why_not = self.why_not.take().filter(|_| !there);
        }
    }

    /// Takes in whether it is there; tells whether it was missing before, too.
    pub fn missed(&mut self, there: bool) -> bool {
        let twice = self.missing && !there;
        self.missing = !there;
        twice
    }

    pub fn drains(&self) -> bool {
        self.draining
    }

    pub fn lapsed(&mut self) {
        *self = Track { lapsed: true, why_not: Some("its lease has lapsed".to_owned()), ..Track::default() };
    }

    pub fn has_lapsed(&self) -> bool {
        self.lapsed
    }

    pub fn is_announced(&self) -> bool {
        self.announced
    }

    pub fn why_not(&self) -> Option<&str> {
        self.why_not.as_deref()
    }
}
