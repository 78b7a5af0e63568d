//! The one authorisation point of pcsd: every request passes [`Gate::admit`], and what it leads to takes the [`Permit`] that it
//! gave. What was asked, by whom and with what outcome is in the audit log.
//!
//! | caller | may |
//! |---|---|
//! | shows no key, or one that is not known here | log in |
//! | shows the key of a host that has logged in, or that a known host vouched for | all |
//!
//! As with pcsd, whoever may give orders to a host can become root on it: the files that it stages are taken as they are.

use super::lists;
use serde::Serialize;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use wire::pcsd::{MAX_AUTH_BYTES, MAX_REQUEST_BYTES, file, path};

/// The log before it is moved aside; one older is kept.
const MAX_AUDIT_BYTES: u64 = 4 * 1024 * 1024;
const PIN_SHOWN: usize = 16;

/// What can be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    Login,
    Host,
    Stage,
    Commit,
    Abort,
    Service,
    Fetch,
    Forget,
    Add,
}

impl Ask {
    pub fn of(path: &str) -> Option<Ask> {
        Some(match path {
            path::AUTH => Ask::Login,
            path::HOST => Ask::Host,
            path::STAGE => Ask::Stage,
            path::COMMIT => Ask::Commit,
            path::ABORT => Ask::Abort,
            path::SERVICE => Ask::Service,
            path::FETCH => Ask::Fetch,
            path::FORGET => Ask::Forget,
            path::ADD => Ask::Add,
            _ => return None,
        })
    }

    /// Changes something, or gives away a secret.
    fn is_audited(self) -> bool {
        self != Ask::Host
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    pub from: SocketAddr,
    /// Of the key that it has shown, and proved to have.
    pub pin: Option<String>,
}

/// That a request may be carried out.
pub struct Permit {
    ask: Ask,
    pub peer: Peer,
    /// What the host is called here.
    pub name: String,
}

impl Permit {
    pub fn ask(&self) -> Ask {
        self.ask
    }

    /// How much the body may have.
    pub fn body_bytes(&self) -> usize {
        if self.ask == Ask::Login { MAX_AUTH_BYTES } else { MAX_REQUEST_BYTES }
    }
}

pub struct Gate {
    dir: PathBuf,
    audit: Mutex<()>,
}

/// What a line of the audit log is about: a host's request, or something done through the page, which has log-ins of its own.
#[derive(Serialize)]
#[serde(untagged)]
enum Asked {
    Host(Ask),
    Page(&'static str),
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    from: String,
    host: &'a str,
    key: &'a str,
    ask: Asked,
    outcome: &'a str,
    detail: &'a str,
}

impl Gate {
    pub fn new(dir: &Path) -> Gate {
        Gate { dir: dir.to_owned(), audit: Mutex::new(()) }
    }

    /// The list is read anew: who has been taken off it is refused at once, on open connections as well.
    pub fn admit(&self, peer: &Peer, ask: Ask) -> Result<Permit, String> {
        let permit = |name: &str| Permit { ask, peer: peer.clone(), name: name.to_owned() };
        if ask == Ask::Login {
            return Ok(permit("(log-in)"));
        }
        let refused = match (&peer.pin, lists::authorised(&self.dir)) {
            (_, Err(why)) => why,
            (None, _) => "no key was shown: expected the client certificate of a host".to_owned(),
            (Some(pin), Ok(list)) => match list.hosts.get(pin) {
                Some(host) => return Ok(permit(&host.name)),
                None => "this host is not authorised here: run 'pcs host auth' first".to_owned(),
            },
        };
        self.note(&permit("(unknown)"), "refused", &refused);
        Err(refused)
    }

    /// Into the audit log, and the usual one.
    pub fn note(&self, permit: &Permit, outcome: &str, detail: &str) {
        if !permit.ask.is_audited() && outcome == "done" {
            return;
        }
        let key: String = permit.peer.pin.iter().flat_map(|p| p.chars()).take(PIN_SHOWN).collect();
        tracing::info!(
            "{:?} of {} ({}): {outcome}: {}",
            permit.ask,
            permit.name,
            permit.peer.from,
            detail.escape_debug()
        );
        let line = Line {
            time: lists::now(),
            from: permit.peer.from.to_string(),
            host: &permit.name,
            key: &key,
            ask: Asked::Host(permit.ask),
            outcome,
            detail,
        };
        if let Err(error) = self.append(&line) {
            tracing::error!("audit log: {error}");
        }
    }

    /// What somebody does who looks at the page: the node's API decides what this user may.
    pub fn note_page(&self, peer: &Peer, user: &str, outcome: &str, what: &str) {
        tracing::info!("page of {} ({}): {outcome}: {}", user.escape_debug(), peer.from, what.escape_debug());
        let from = peer.from.to_string();
        let line =
            Line { time: lists::now(), from, host: user, key: "", ask: Asked::Page("page"), outcome, detail: what };
        if let Err(error) = self.append(&line) {
            tracing::error!("audit log: {error}");
        }
    }

    fn append(&self, line: &Line<'_>) -> std::io::Result<()> {
        let _turn = self.audit.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let path = self.dir.join(file::AUDIT);
        if std::fs::metadata(&path).is_ok_and(|m| m.len() > MAX_AUDIT_BYTES) {
            std::fs::rename(&path, self.dir.join(format!("{}.1", file::AUDIT)))?;
        }
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let mut file = kernel::files::open_private_to_append(&path)?;
        file.write_all(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_known_key_may_do_more_than_log_in() {
        let dir = tempfile::tempdir().expect("a directory");
        let gate = Gate::new(dir.path());
        let (known, other) = (wire::pcsd::sha256(b"a"), wire::pcsd::sha256(b"b"));
        lists::authorise(dir.path(), &known, "n1", "token").expect("written");
        let from: SocketAddr = ([192, 0, 2, 1], 5).into();
        let peer = |pin: Option<&String>| Peer { from, pin: pin.cloned() };
        let all = [
            path::AUTH,
            path::HOST,
            path::STAGE,
            path::COMMIT,
            path::ABORT,
            path::SERVICE,
            path::FETCH,
            path::FORGET,
            path::ADD,
        ];
        for ask in all.map(|p| Ask::of(p).expect("known")) {
            let may = |pin| gate.admit(&peer(pin), ask).is_ok();
            assert_eq!((may(None), may(Some(&other)), may(Some(&known))), (ask == Ask::Login, ask == Ask::Login, true));
        }
        assert_eq!(Ask::of("/v1/other"), None);
        lists::forget(dir.path(), std::slice::from_ref(&known)).expect("written");
        assert!(gate.admit(&peer(Some(&known)), Ask::Host).is_err());
        std::fs::write(dir.path().join(file::AUTHORISED), "nonsense").expect("written");
        assert!(gate.admit(&peer(Some(&known)), Ask::Host).is_err(), "what cannot be read allows nothing");
        let audit = std::fs::read_to_string(dir.path().join(file::AUDIT)).expect("a log");
        assert!(
            audit.lines().count() > 10 && audit.lines().all(|l| serde_json::from_str::<serde_json::Value>(l).is_ok())
        );
    }
}
