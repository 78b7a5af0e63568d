//! Digests. SHA-256 over what the members of a cluster hold alike; and operation digests as Pacemaker's histories have them: MD5 over the parameters, sorted, framed as its oldest version.

use base::text::hex;
use md5::{Digest, Md5};
use sha2::Sha256;
use std::collections::BTreeMap;
use xml::Element;

/// Of a message or a document.
pub type Sha = [u8; 32];

pub fn sha(bytes: &[u8]) -> Sha {
    Sha256::digest(bytes).into()
}

/// The next link of a chain: what it was, and what was applied.
pub fn link(chain: &str, parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    hash.update(chain.as_bytes());
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())
}

/// Of a whole CIB, status and all; work that grows with the CIB, for a worker.
pub fn of_document(root: &Element) -> String {
    hex(&sha(root.to_compact().as_bytes()))
}

/// What the cluster itself adds to an action's parameters.
const ADDED: [&str; 6] = ["id", "crm_feature_set", "op-digest", "on_node", "on_node_uuid", "pcmk_external_ip"];

/// `op-digest` of an operation with these parameters (instance parameters and `CRM_meta_*` as the graph gives them).
pub fn of_params(params: &BTreeMap<String, String>, interval_ms: u64) -> String {
    of(&counted(params, interval_ms))
}

/// The parameters that count. Only recurring operations depend on their timeout.
pub fn counted(params: &BTreeMap<String, String>, interval_ms: u64) -> BTreeMap<String, String> {
    let counts = |name: &str| {
        let own = !name.starts_with("CRM_meta_") && !ADDED.contains(&name);
        own || (interval_ms > 0 && name == "CRM_meta_timeout")
    };
    params.iter().filter(|(name, _)| counts(name)).map(|(n, v)| (n.clone(), v.clone())).collect()
}

/// Digest of exactly these parameters.
pub fn of(params: &BTreeMap<String, String>) -> String {
    let text = xml::digest_form("parameters", params.iter().map(|(n, v)| (n.as_str(), v.as_str())));
    md5_hex(text.as_bytes())
}

pub fn md5_hex(bytes: &[u8]) -> String {
    hex(&Md5::digest(bytes))
}

/// A UUID's form of `seed`, for transition keys.
pub fn uuid(seed: u64) -> String {
    let h = md5_hex(&seed.to_le_bytes());
    format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_pacemaker_writes_them() {
        let timeout = BTreeMap::from([("CRM_meta_timeout".to_owned(), "20000".to_owned())]);
        assert_eq!(of_params(&timeout, 0), "f2317cad3d54cec5d7d7aa7d0bf35cf8");
        assert_eq!(of_params(&timeout, 10000), "4811cef7f7f94e3a35a70be7916cb2fd");
        let added = BTreeMap::from([("crm_feature_set".to_owned(), "3.20.1".to_owned())]);
        assert_eq!(of_params(&added, 0), "f2317cad3d54cec5d7d7aa7d0bf35cf8");
    }

    #[test]
    fn uuid_has_its_form() {
        let id = uuid(42);
        assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    }
}
