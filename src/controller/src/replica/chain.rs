//! The chain: a digest over everything that was applied, so that members can tell in one word whether they are in step.
//!
//! Since level 2 it is SHA-256 over the bytes of the messages. Below, MD5 over their senders and numbers, as older programs have
//! it; all members of a view go by the lowest level among them.

use super::{CONFIG_LOG, Replica};
use crate::digest::{self, Sha, md5_hex};
use base::NodeId;

/// Configurations that go to the disk: a node that missed a few changes is then known to be merely behind.
const CONFIG_LOG_ON_DISK: usize = 32;

impl Replica {
    /// Text to keep beside the CIB on disk.
    pub fn lineage_text(&self) -> String {
        let older = self.config_log.len().saturating_sub(CONFIG_LOG_ON_DISK);
        self.config_log.iter().skip(older).fold(self.lineage.to_string(), |text, config| text + " " + config)
    }

    /// The level at which all members of the view are.
    pub fn level(&self) -> u32 {
        self.levels.values().copied().min().unwrap_or(1)
    }

    pub(super) fn advance(&mut self, bytes: &[u8]) {
        if self.level() >= 2 {
            self.chain = digest::link(&self.chain, &[bytes]);
            return;
        }
        let mut all = self.chain.clone().into_bytes();
        all.extend_from_slice(bytes);
        self.chain = md5_hex(&all);
    }

    pub(super) fn log_config(&mut self) {
        let version = self.cib.version();
        let text = format!("{} {version}", self.chain);
        self.config_log.push_back(if self.level() >= 2 {
            digest::link("", &[text.as_bytes()])
        } else {
            md5_hex(text.as_bytes())
        });
        while self.config_log.len() > CONFIG_LOG {
            self.config_log.pop_front();
        }
    }

    /// A message is applied.
    pub(super) fn chain_message(&mut self, sender: NodeId, digest: &Sha) {
        if self.level() >= 2 {
            self.chain = digest::link(&self.chain, &[&sender.0.to_le_bytes(), digest]);
        }
    }

    /// What older programs put into the chain for a message.
    pub(super) fn advance_old(&mut self, text: impl FnOnce() -> String) {
        if self.level() < 2 {
            self.advance(text().as_bytes());
        }
    }
}
