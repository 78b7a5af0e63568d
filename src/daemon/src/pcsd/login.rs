//! Log-ins: the user's password by PAM, or a token that was printed on this host and counts once. Whoever fails waits.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use wire::pcsd::{Auth, Token, USER, file, sha256};
use zeroize::Zeroizing;

/// Failures of one address before it has to wait; then twice as long each time.
const FREE_FAILURES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// After so long without a failure all is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);
/// Addresses that are remembered.
const MAX_ADDRESSES: usize = 4096;
/// Passwords that are checked at the same time; each failure takes PAM some seconds.
const MAX_CHECKS: usize = 4;
/// Characters of a password.
const MAX_PASSWORD_BYTES: usize = 512;

#[derive(Debug, PartialEq, Eq)]
pub enum Denied {
    Wrong,
    /// Seconds.
    Wait(u64),
    /// Nobody can log in this way.
    Impossible(String),
}

pub struct Logins {
    dir: PathBuf,
    /// PAM's service.
    service: Option<String>,
    failures: Mutex<BTreeMap<IpAddr, Failures>>,
    checks: Semaphore,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Logins {
    pub fn new(dir: &Path, service: Option<String>) -> Logins {
        Logins { dir: dir.to_owned(), service, failures: Mutex::default(), checks: Semaphore::new(MAX_CHECKS) }
    }

    /// How the caller has shown who it is.
    pub async fn check(&self, auth: Auth, from: IpAddr) -> Result<&'static str, Denied> {
        // It counts as a failure until it has succeeded, so that many at once are no way around the wait.
        self.begin(from, Instant::now())?;
        let outcome = match (auth.token, auth.password) {
            (Some(token), _) => self.token(&token).map(|()| "token"),
            (None, Some(password)) => self.password(&auth.user, Zeroizing::new(password)).await.map(|()| "password"),
            (None, None) => Err(Denied::Wrong),
        };
        match &outcome {
            Ok(_) | Err(Denied::Impossible(_)) => {
                self.failures().remove(&network(from));
            }
            Err(_) => {}
        }
        outcome
    }

    fn failures(&self) -> std::sync::MutexGuard<'_, BTreeMap<IpAddr, Failures>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, from: IpAddr, now: Instant) -> Result<(), Denied> {
        let mut all = self.failures();
        all.retain(|_, f| now.duration_since(f.last) < FORGOTTEN_AFTER);
        let from = network(from);
        if all.len() >= MAX_ADDRESSES && !all.contains_key(&from) {
            let oldest = all.iter().min_by_key(|(_, f)| f.last).map(|(a, _)| *a);
            oldest.and_then(|a| all.remove(&a));
        }
        let entry = all.entry(from).or_insert(Failures { count: 0, last: now });
        let wait = wait_after(entry.count);
        let over = now.duration_since(entry.last);
        if over < wait {
            return Err(Denied::Wait((wait - over).as_secs() + 1));
        }
        *entry = Failures { count: entry.count.saturating_add(1), last: now };
        Ok(())
    }

    /// A token is a file whose name is the digest of its secret: taking the file away is using it.
    fn token(&self, text: &str) -> Result<(), Denied> {
        let token = Token::parse(text).ok_or(Denied::Wrong)?;
        let path = self.dir.join(file::TOKENS).join(sha256(token.secret.as_bytes()));
        let until = kernel::files::read_regular(&path, 64).map_err(|_| Denied::Wrong)?;
        let until: i64 = String::from_utf8_lossy(&until).trim().parse().map_err(|_| Denied::Wrong)?;
        std::fs::remove_file(&path).map_err(|_| Denied::Wrong)?;
        if jiff::Timestamp::now().as_second() <= until { Ok(()) } else { Err(Denied::Wrong) }
    }

    async fn password(&self, user: &str, password: Zeroizing<String>) -> Result<(), Denied> {
        let service = self.service.clone().ok_or_else(|| {
            Denied::Impossible(
                "no PAM service for log-ins by password is there (/etc/pam.d/bascule or /etc/pam.d/pcsd): use a token, or copy configs/pam.d/bascule"
                    .to_owned(),
            )
        })?;
        if user != USER || password.is_empty() || password.len() > MAX_PASSWORD_BYTES || password.contains('\0') {
            return Err(Denied::Wrong);
        }
        let Ok(_turn) = self.checks.acquire().await else { return Err(Denied::Wrong) };
        let checked = tokio::task::spawn_blocking(move || kernel::pam::check(&service, USER, &password)).await;
        match checked.unwrap_or_else(|e| Err(e.to_string())) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Denied::Wrong),
            Err(why) => Err(Denied::Impossible(why)),
        }
    }
}

/// One host has a whole /64 of addresses.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

fn wait_after(failures: u32) -> Duration {
    match failures.checked_sub(FREE_FAILURES) {
        None => Duration::ZERO,
        Some(more) => FIRST_WAIT.saturating_mul(2u32.saturating_pow(more.min(16))).min(LONGEST_WAIT),
    }
}

/// The first service that is there.
pub fn pam_service() -> Option<String> {
    ["bascule", "pcsd"].iter().find(|s| Path::new("/etc/pam.d").join(s).exists()).map(|s| (*s).to_owned())
}

/// Makes a token that counts once, and for so long.
pub fn new_token(dir: &Path, pin: &str, lasts: Duration) -> Result<Token, String> {
    let mut secret = [0; Token::SECRET_BYTES];
    aws_lc_rs::rand::fill(&mut secret).map_err(|_| "no random numbers".to_owned())?;
    let token = Token::new(&secret, pin);
    let tokens = dir.join(file::TOKENS);
    let failed = |e: std::io::Error| format!("{}: {e}", tokens.display());
    kernel::files::private_dir(&tokens).map_err(failed)?;
    forget_old(&tokens);
    let until = jiff::Timestamp::now().as_second().saturating_add(i64::try_from(lasts.as_secs()).unwrap_or(0));
    let path = tokens.join(sha256(token.secret.as_bytes()));
    kernel::files::replace(&path, until.to_string().as_bytes(), 0o600).map_err(failed)?;
    Ok(token)
}

fn forget_old(tokens: &Path) {
    let now = jiff::Timestamp::now().as_second();
    for entry in std::fs::read_dir(tokens).into_iter().flatten().flatten() {
        let until = kernel::files::read_regular(&entry.path(), 64).ok();
        let until = until.and_then(|t| String::from_utf8_lossy(&t).trim().parse::<i64>().ok());
        if until.is_none_or(|until| until < now) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(token: &str) -> Auth {
        Auth { user: USER.to_owned(), password: None, token: Some(token.to_owned()), from: "n1".to_owned() }
    }

    #[tokio::test]
    async fn a_token_counts_once_and_not_for_ever() {
        let dir = tempfile::tempdir().expect("a directory");
        let logins = Logins::new(dir.path(), None);
        let from: IpAddr = [192, 0, 2, 1].into();
        let token = new_token(dir.path(), &sha256(b"k"), Duration::from_secs(60)).expect("made").text();
        assert_eq!(logins.check(auth(&token), from).await, Ok("token"));
        assert_eq!(logins.check(auth(&token), from).await, Err(Denied::Wrong));
        let path = dir.path().join(file::TOKENS).join(sha256(Token::parse(&token).expect("one").secret.as_bytes()));
        std::fs::write(path, "1").expect("written");
        assert_eq!(logins.check(auth(&token), from).await, Err(Denied::Wrong), "over");
        let password = Auth { token: None, password: Some("x".to_owned()), ..auth("") };
        assert!(matches!(logins.check(password, from).await, Err(Denied::Impossible(_))));
    }

    #[tokio::test]
    async fn whoever_fails_waits_longer_each_time_and_others_do_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let logins = Logins::new(dir.path(), None);
        let from: IpAddr = [192, 0, 2, 1].into();
        for _ in 0..FREE_FAILURES {
            assert_eq!(logins.check(auth("wrong"), from).await, Err(Denied::Wrong));
        }
        assert!(matches!(logins.check(auth("wrong"), from).await, Err(Denied::Wait(1..=3))));
        assert_eq!(logins.check(auth("wrong"), [192, 0, 2, 2].into()).await, Err(Denied::Wrong));
        assert_eq!((wait_after(5), wait_after(7), wait_after(4000)), (FIRST_WAIT, FIRST_WAIT * 4, LONGEST_WAIT));
        // A good token does not help before its time either: else each guess would be tried.
        let token = new_token(dir.path(), &sha256(b"k"), Duration::from_secs(60)).expect("made").text();
        assert!(matches!(logins.check(auth(&token), from).await, Err(Denied::Wait(_))));
    }

    #[test]
    fn the_table_of_addresses_is_bounded() {
        let logins = Logins::new(Path::new("/nonexistent"), None);
        for n in 0..MAX_ADDRESSES as u32 + 100 {
            let _ = logins.begin(IpAddr::from(n.to_be_bytes()), Instant::now());
        }
        assert_eq!(logins.failures().len(), MAX_ADDRESSES);
    }
}
