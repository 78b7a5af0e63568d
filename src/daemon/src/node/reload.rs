//! SIGHUP: log files are opened again, corosync.conf is read again, and what can change at run time changes.
//!
//! That is logging{}. Everything else waits for a restart, and is told key by key, in log and status, until the file says
//! again what runs. A file that is refused changes nothing.

use super::args::Args;
use super::settings::{self, Settings};
use crate::logging;
use std::collections::BTreeMap;

/// Keys told one by one; the rest is counted.
const MAX_TOLD: usize = 12;

/// What a reload came to.
pub(super) enum Outcome {
    /// Lines of the file that are refused; everything goes on as it was.
    Refused(Vec<String>),
    Read {
        settings: Box<Settings>,
        /// Of log files that could not be opened.
        problems: Vec<String>,
    },
}

/// Reads the files again; takes as long as the disk and the name service do, so never on the core task.
pub(super) fn read(args: &Args, logging_now: &crate::config::Logging) -> Outcome {
    match settings::read(args) {
        Ok(settings) => {
            let problems = logging::apply(&settings.config.logging);
            Outcome::Read { settings: Box::new(settings), problems }
        }
        Err(refused) => {
            // A log that was moved away is opened again, whatever the file says.
            logging::apply(logging_now);
            Outcome::Refused(refused.lines)
        }
    }
}

/// What of the file waits for a restart, as one sentence for log and status.
pub(super) fn waiting(runs: &Settings, file: &Settings) -> Option<String> {
    let mut keys = differing(&runs.config.kept, &file.config.kept);
    if runs.key != file.key {
        keys.push("authkey".to_owned());
    }
    if keys.is_empty() {
        return None;
    }
    let more = keys.len().saturating_sub(MAX_TOLD);
    keys.truncate(MAX_TOLD);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("corosync.conf has changed, and waits for a restart of this node: {}{rest}", keys.join(", ")))
}

/// Flat names of keys that are not the same in both, logging{} apart.
fn differing(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<String> {
    let mut all: Vec<&String> = old.keys().chain(new.keys()).collect();
    all.sort();
    all.dedup();
    let waits = |key: &&&String| !key.starts_with("logging.") && old.get(**key) != new.get(**key);
    all.iter().filter(waits).map(|k| (*k).clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_change_is_named() {
        let of = |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let old = of(&[("totem.token", "1000"), ("logging.debug", "off"), ("quorum.two_node", "1")]);
        let new = of(&[("totem.token", "3000"), ("logging.debug", "on"), ("nodelist.node.1.name", "b")]);
        assert_eq!(differing(&old, &new), ["nodelist.node.1.name", "quorum.two_node", "totem.token"]);
        assert!(differing(&old, &old).is_empty());
    }
}
