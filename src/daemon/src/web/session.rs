//! Who has logged in: a random word in a cookie stands for a user, for a while.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Without a request for so long one has to log in again.
const IDLE: Duration = Duration::from_secs(1_800);
/// Even with requests.
const LONGEST: Duration = Duration::from_secs(12 * 3_600);
/// Of all users; the one that rested longest gives way.
const MAX_SESSIONS: usize = 1_000;
const WORD_BYTES: usize = 32;
const COOKIE: &str = "__Host-bascule";

#[derive(Default)]
pub struct Sessions {
    open: Mutex<BTreeMap<String, Session>>,
}

struct Session {
    user: String,
    since: Instant,
    used: Instant,
}

impl Sessions {
    /// The value of `Set-Cookie`, for a user who has shown who it is.
    pub fn open(&self, user: &str) -> Option<String> {
        let mut word = [0; WORD_BYTES];
        aws_lc_rs::rand::fill(&mut word).ok()?;
        let word: String = word.iter().map(|b| format!("{b:02x}")).collect();
        let now = Instant::now();
        let mut open = self.lock(now);
        if open.len() >= MAX_SESSIONS {
            let oldest = open.iter().min_by_key(|(_, s)| s.used).map(|(w, _)| w.clone());
            oldest.and_then(|w| open.remove(&w));
        }
        open.insert(word.clone(), Session { user: user.to_owned(), since: now, used: now });
        Some(format!("{COOKIE}={word}; Path=/; Secure; HttpOnly; SameSite=Strict"))
    }

    /// Whose the cookie is; a request keeps it alive.
    pub fn user(&self, cookies: Option<&str>) -> Option<String> {
        let now = Instant::now();
        let mut open = self.lock(now);
        let session = open.get_mut(word(cookies?)?)?;
        session.used = now;
        Some(session.user.clone())
    }

    /// Ends it; the value of `Set-Cookie` that makes the browser forget it.
    pub fn close(&self, cookies: Option<&str>) -> String {
        if let Some(word) = cookies.and_then(word) {
            self.lock(Instant::now()).remove(word);
        }
        format!("{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0")
    }

    fn lock(&self, now: Instant) -> std::sync::MutexGuard<'_, BTreeMap<String, Session>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, s| now.duration_since(s.used) < IDLE && now.duration_since(s.since) < LONGEST);
        open
    }
}

fn word(cookies: &str) -> Option<&str> {
    cookies.split(';').find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_stands_for_its_user_until_it_is_closed() {
        let sessions = Sessions::default();
        let cookie = sessions.open("hacluster").expect("random numbers");
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && cookie.contains("Secure"));
        let sent = format!("other=1; {}", cookie.split(';').next().expect("a pair"));
        assert_eq!(sessions.user(Some(&sent)).as_deref(), Some("hacluster"));
        for wrong in [None, Some(""), Some("__Host-bascule="), Some("__Host-bascule=00"), Some("bascule=x")] {
            assert_eq!(sessions.user(wrong), None);
        }
        assert!(sessions.close(Some(&sent)).contains("Max-Age=0"));
        assert_eq!(sessions.user(Some(&sent)), None);
    }

    #[test]
    fn there_is_a_limit_to_them() {
        let sessions = Sessions::default();
        let first = sessions.open("u").expect("random numbers");
        for _ in 0..MAX_SESSIONS {
            sessions.open("u");
        }
        assert_eq!(sessions.user(first.split(';').next()), None, "the one that rested longest");
    }
}
