//! Keys and sealing: AES-256-GCM under keys derived from the cluster's authkey with HKDF-SHA-256.
//!
//! Every key belongs to one direction between two nodes and to their sessions, so a packet of another cluster name, direction,
//! or process life does not open. Nonces are counters that never repeat within a session, hence no randomness is needed here.

use crate::frame::Session;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk};
use aws_lc_rs::hmac;
use base::NodeId;

/// Bytes that sealing adds to the body.
pub const OVERHEAD: usize = 16;

const SALT: &[u8] = b"bascule wire 1";

/// What is made of the authkey as soon as it is read, so that the bytes of the file need not stay in memory. Wiped by the library
/// that seals when it is dropped; two of the same authkey are equal.
#[derive(Clone)]
pub struct Root {
    prk: Prk,
    /// Says which it is without saying it.
    mark: [u8; 16],
}

impl Root {
    /// `authkey`: the file's bytes as they are (corosync's are 128 to 4096). Empty for a cluster without authentication:
    /// packets are then only protected against accidents.
    pub fn new(authkey: &[u8]) -> Root {
        // HKDF's extraction (RFC 5869, 2.2) done by itself: the library's own keeps the authkey for as long as what it makes of it.
        let extracted = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SALT), authkey);
        let prk = Prk::new_less_safe(HKDF_SHA256, extracted.as_ref());
        let mut mark = [0; 16];
        // Of so few bytes it cannot fail; if it did, all would be alike, and a changed key would not be told.
        let _ = prk.expand(&[b"mark"], Mark).and_then(|okm| okm.fill(&mut mark));
        Root { prk, mark }
    }
}

impl Root {
    /// The same for two of the same authkey, and of no use to one who looks for it.
    pub fn mark(&self) -> [u8; 16] {
        self.mark
    }
}

impl PartialEq for Root {
    fn eq(&self, other: &Root) -> bool {
        self.mark == other.mark
    }
}

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Root(of an authkey)")
    }
}

/// Length of [`Root`]'s mark.
struct Mark;

impl KeyType for Mark {
    fn len(&self) -> usize {
        16
    }
}

/// The cluster's secret, from which the others come.
pub struct Master {
    prk: Prk,
    cluster: Vec<u8>,
}

impl Master {
    pub fn new(root: &Root, cluster: &str) -> Master {
        Master { prk: root.prk.clone(), cluster: cluster.as_bytes().to_vec() }
    }

    /// For hellos: bound to the sender's session only, since the receiver's is not known yet.
    pub fn hello_key(&self, from: NodeId, to: NodeId, session: &Session) -> Option<Key> {
        self.derive(b"hello", from, to, &[session])
    }

    /// For everything else: bound to both sessions.
    pub fn data_key(&self, from: NodeId, to: NodeId, from_session: &Session, to_session: &Session) -> Option<Key> {
        self.derive(b"data", from, to, &[from_session, to_session])
    }

    fn derive(&self, purpose: &[u8], from: NodeId, to: NodeId, sessions: &[&Session]) -> Option<Key> {
        let (from, to) = (from.0.to_le_bytes(), to.0.to_le_bytes());
        let length = (self.cluster.len() as u64).to_le_bytes();
        let mut info: Vec<&[u8]> = vec![purpose, &[0], &length, &self.cluster, &from, &to];
        info.extend(sessions.iter().map(|s| s.as_slice()));
        let okm = self.prk.expand(&info, &AES_256_GCM).ok()?;
        Some(Key(LessSafeKey::new(UnboundKey::from(okm))))
    }
}

/// One direction of one session.
pub struct Key(LessSafeKey);

impl Key {
    /// `header` followed by the sealed body. `counter` must never repeat under one key.
    pub fn seal(&self, counter: u64, header: &[u8], body: &[u8]) -> Option<Vec<u8>> {
        let mut packet = Vec::with_capacity(header.len() + body.len() + OVERHEAD);
        self.seal_into(counter, header, body, &mut packet)?;
        Some(packet)
    }

    /// As [`Key::seal`], behind what `out` has; if it fails, what stands there is no packet.
    pub fn seal_into(&self, counter: u64, header: &[u8], body: &[u8], out: &mut Vec<u8>) -> Option<()> {
        out.extend_from_slice(header);
        let at = out.len();
        out.extend_from_slice(body);
        let tag = self.0.seal_in_place_separate_tag(nonce(counter), Aad::from(header), out.get_mut(at..)?).ok()?;
        out.extend_from_slice(tag.as_ref());
        Some(())
    }

    /// The body, if header and body are exactly what was sealed.
    pub fn open(&self, counter: u64, header: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let mut body = sealed.to_vec();
        let length = self.open_in_place(counter, header, &mut body)?.len();
        body.truncate(length);
        Some(body)
    }

    /// As [`Key::open`], where it stands. What does not open is lost.
    pub fn open_in_place<'p>(&self, counter: u64, header: &[u8], sealed: &'p mut [u8]) -> Option<&'p [u8]> {
        self.0.open_in_place(nonce(counter), Aad::from(header), sealed).ok().map(|body| &*body)
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0u8; 12];
    bytes[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_what_hkdf_extracts_and_tells_keys_apart() {
        let okm = |prk: &Prk| {
            let mut out = [0; 16];
            prk.expand(&[b"x"], Mark).and_then(|okm| okm.fill(&mut out)).expect("short");
            out
        };
        for key in [&[][..], &[7; 128], &[9; 4096]] {
            let of_library = aws_lc_rs::hkdf::Salt::new(HKDF_SHA256, SALT).extract(key);
            assert_eq!(okm(&Root::new(key).prk), okm(&of_library));
            assert_eq!(Root::new(key), Root::new(key));
            assert_ne!(Root::new(key), Root::new(&[8; 128]));
        }
    }
}
