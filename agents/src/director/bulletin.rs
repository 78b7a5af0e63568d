//! What directors of one resource tell each other, and its form in the cluster's ordered messages.
//!
//! A bulletin stands for itself: it needs no other to be read, so none is ever put together from parts of parts. Its first
//! byte tells it from the controllers' own messages.

use base::ipvs::ServiceKey;
use ldirectord::service::{MarkEntry, VerdictEntry};
use serde::{Deserialize, Serialize};

/// First byte of every bulletin; controllers' messages begin with their version, a small number.
const MARK: u8 = 0x42;
/// Second byte.
const VERSION: u8 = 1;
/// A bulletin longer than this is not read.
pub const MAX_BULLETIN_BYTES: usize = 64 * 1024;

/// Whether an ordered message is a bulletin.
pub fn is_bulletin(payload: &[u8]) -> bool {
    payload.first() == Some(&MARK)
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Bulletin {
    /// Resource id, without the number of a clone's instance.
    pub director: String,
    /// Tells the lives of one node's process apart; the later one is greater while the machine is up.
    pub life: u64,
    /// Counts the complete accounts ([`Body::All`]) of one life; what is said later refers to the last one.
    pub account: u64,
    pub body: Body,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum Body {
    /// A part of everything that is known; the first has number 0.
    All { part: u32, last: bool, entries: Vec<VerdictEntry> },
    /// Servers that came up or went down, or are new.
    Changed { entries: Vec<VerdictEntry> },
    /// All else stands: no check of these services is older than so many ms.
    Fresh { ages_ms: Vec<(ServiceKey, u64)> },
    /// Drains and maintenance by command; each entry stands for itself, and refers to no account.
    Marks { entries: Vec<MarkEntry> },
}

/// Why a payload is not a bulletin.
#[derive(Debug, thiserror::Error)]
pub enum BulletinError {
    #[error("bulletin of {bytes} bytes, at most {MAX_BULLETIN_BYTES} are read")]
    TooLong { bytes: usize },
    #[error("bulletin of version {found:?}, expected {VERSION}")]
    Version { found: Option<u8> },
    #[error("unreadable bulletin: {0}")]
    Json(#[from] serde_json::Error),
}

pub(crate) fn encode(bulletin: &Bulletin) -> Vec<u8> {
    let mut out = vec![MARK, VERSION];
    // Plain data of our own; writing to memory does not fail.
    let _ = serde_json::to_writer(&mut out, bulletin);
    out
}

pub(crate) fn decode(payload: &[u8]) -> Result<Bulletin, BulletinError> {
    if payload.len() > MAX_BULLETIN_BYTES {
        return Err(BulletinError::TooLong { bytes: payload.len() });
    }
    match payload.split_at_checked(2) {
        Some(([MARK, VERSION], body)) => Ok(serde_json::from_slice(body)?),
        _ => Err(BulletinError::Version { found: payload.get(1).copied() }),
    }
}
