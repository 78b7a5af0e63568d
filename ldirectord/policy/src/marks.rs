//! What operators have asked for by command, as directors of one group keep it in common: drains, maintenance, and servers that
//! are added, removed or weighted otherwise than the file says.
//!
//! Each command makes the mark's version one greater than any that this director knows of the server. Of two versions the greater
//! counts; of two different marks with the same version (commands on both sides of a split group) both wishes count, since a server
//! that stays out is noticed and one that serves against the operator's word does harm. A mark that was taken back is kept with its
//! version, so that nobody's older one brings it back. Merging is the same in any order and however often.

use crate::plan::RealId;
use base::ipvs::Forward;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// More than these are not taken from a file or a peer.
pub const MAX_MARKS: usize = 20_000;
/// Marks that were taken back and are remembered as such; the lowest versions go first.
pub const MAX_CLEARED: usize = 1_024;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Mark {
    #[serde(default)]
    pub maintenance: bool,
    #[serde(default)]
    pub drained: bool,
    /// Where it is not as the file says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edit: Option<Edit>,
}

/// A server that an operator has changed against the file. The later variant counts where a split group has given two.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Edit {
    /// The file's server with another weight.
    Weight(u32),
    /// One that the file does not have; `port` as the command gave it, which the table may not have (see `forward`).
    Added { port: u16, forward: Forward, weight: u32 },
    /// The file's server is left out.
    Removed,
}

impl Mark {
    pub fn is_clear(self) -> bool {
        self == Mark::default()
    }

    /// Whether it keeps the server from serving as it would.
    fn holds_back(self) -> bool {
        self.maintenance || self.drained
    }
}

/// As it is written to a file, and told to other directors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MarkEntry {
    pub real: RealId,
    #[serde(flatten)]
    pub mark: Mark,
    #[serde(default)]
    pub version: u64,
}

/// Marks also of servers that the present configuration does not have: who removes one by mistake finds it again.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Marks {
    reals: BTreeMap<RealId, (Mark, u64)>,
}

impl Marks {
    pub fn get(&self, id: &RealId) -> Mark {
        self.reals.get(id).map(|(mark, _)| *mark).unwrap_or_default()
    }

    /// A command. Tells whether that is a change.
    pub fn set(&mut self, id: RealId, mark: Mark) -> bool {
        let (before, version) = self.reals.get(&id).copied().unwrap_or_default();
        if before == mark {
            return false;
        }
        self.reals.insert(id, (mark, version.saturating_add(1)));
        self.forget_cleared();
        true
    }

    /// What another director or a file knows. Returns the servers whose mark has changed, and whether anything is new.
    pub fn merge(&mut self, entries: &[MarkEntry]) -> (Vec<RealId>, bool) {
        let (mut changed, mut new) = (Vec::new(), false);
        for entry in entries {
            if self.reals.len() >= MAX_MARKS && !self.reals.contains_key(&entry.real) {
                continue;
            }
            let own = self.reals.get(&entry.real).copied();
            let (mark, version) = own.unwrap_or_default();
            let merged = match entry.version.cmp(&version) {
                _ if own.is_none() => (entry.mark, entry.version),
                std::cmp::Ordering::Greater => (entry.mark, entry.version),
                std::cmp::Ordering::Equal => (mark.and(entry.mark), version),
                std::cmp::Ordering::Less => (mark, version),
            };
            if own != Some(merged) {
                self.reals.insert(entry.real, merged);
                new = true;
            }
            if mark != merged.0 {
                changed.push(entry.real);
            }
        }
        self.forget_cleared();
        (changed, new)
    }

    pub fn entries(&self) -> Vec<MarkEntry> {
        self.reals
            .iter()
            .map(|(real, (mark, version))| MarkEntry { real: *real, mark: *mark, version: *version })
            .collect()
    }

    /// Servers that are drained or in maintenance and not in `known`.
    pub fn absent(&self, known: impl Fn(&RealId) -> bool) -> Vec<RealId> {
        self.reals.iter().filter(|(id, (mark, _))| mark.holds_back() && !known(id)).map(|(id, _)| *id).collect()
    }

    /// What is otherwise than the file says.
    pub fn edits(&self) -> Vec<(RealId, Edit)> {
        self.reals.iter().filter_map(|(id, (mark, _))| Some((*id, mark.edit?))).collect()
    }

    fn forget_cleared(&mut self) {
        let mut cleared: Vec<(u64, RealId)> = self
            .reals
            .iter()
            .filter(|(_, (mark, _))| mark.is_clear())
            .map(|(id, (_, version))| (*version, *id))
            .collect();
        if cleared.len() <= MAX_CLEARED {
            return;
        }
        cleared.sort_unstable();
        for (_, id) in &cleared[..cleared.len() - MAX_CLEARED] {
            self.reals.remove(id);
        }
    }
}

impl Mark {
    /// Both wishes.
    fn and(self, other: Mark) -> Mark {
        Mark {
            maintenance: self.maintenance || other.maintenance,
            drained: self.drained || other.drained,
            edit: self.edit.max(other.edit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::ipvs::{DestKey, Protocol, ServiceKey};

    const DRAINED: Mark = Mark { maintenance: false, drained: true, edit: None };
    const OUT: Mark = Mark { maintenance: true, drained: false, edit: None };
    const CLEAR: Mark = Mark { maintenance: false, drained: false, edit: None };

    fn real(n: u32) -> RealId {
        let service = ServiceKey::Address { protocol: Protocol::Tcp, addr: [192, 0, 2, 1].into(), port: 80 };
        RealId { service, dest: DestKey { addr: std::net::Ipv4Addr::from_bits(n).into(), port: 80 } }
    }

    fn tell(from: &Marks, to: &mut Marks) -> Vec<RealId> {
        to.merge(&from.entries()).0
    }

    #[test]
    fn the_newest_command_counts_whoever_tells_it_and_when() {
        let (mut one, mut two, mut three) = (Marks::default(), Marks::default(), Marks::default());
        assert!(one.set(real(1), DRAINED) && !one.set(real(1), DRAINED));
        assert_eq!(tell(&one, &mut two), [real(1)]);
        assert_eq!(two.get(&real(1)), DRAINED);
        assert_eq!(two.merge(&one.entries()), (Vec::new(), false), "told twice");
        assert!(two.set(real(1), CLEAR));
        assert_eq!(tell(&one, &mut two), [], "an older word brings nothing back");
        // Whoever hears both, in whatever order, ends with the same.
        tell(&one, &mut three);
        tell(&two, &mut three);
        assert_eq!(tell(&two, &mut one), [real(1)]);
        assert_eq!((one.clone(), two.clone()), (two.clone(), three));
        assert!(one.absent(|_| false).is_empty(), "taken back is not marked");
        assert!(one.set(real(1), OUT));
        assert_eq!(tell(&one, &mut two), [real(1)]);
        assert_eq!(two.absent(|_| false), [real(1)]);
    }

    #[test]
    fn both_wishes_of_a_split_group_count() {
        let (mut one, mut two) = (Marks::default(), Marks::default());
        one.set(real(1), DRAINED);
        two.set(real(1), OUT);
        let both = Mark { maintenance: true, drained: true, edit: None };
        tell(&one, &mut two);
        tell(&two, &mut one);
        assert_eq!((one.get(&real(1)), two.get(&real(1))), (both, both));
        assert_eq!(one, two);
    }

    #[test]
    fn edits_travel_as_marks_do() {
        let (mut one, mut two) = (Marks::default(), Marks::default());
        let weight = |n| Mark { edit: Some(Edit::Weight(n)), ..CLEAR };
        one.set(real(1), weight(3));
        assert_eq!(tell(&one, &mut two), [real(1)]);
        assert_eq!(two.edits(), [(real(1), Edit::Weight(3))]);
        assert!(one.absent(|_| false).is_empty(), "nothing keeps it from serving");
        // A split group: one side takes it out, the other weights it.
        one.set(real(1), weight(5));
        two.set(real(1), Mark { edit: Some(Edit::Removed), ..DRAINED });
        tell(&one, &mut two);
        tell(&two, &mut one);
        assert_eq!((one.edits(), one.get(&real(1)).drained), (vec![(real(1), Edit::Removed)], true));
        assert_eq!(one, two);
        one.set(real(1), CLEAR);
        tell(&one, &mut two);
        assert!(two.edits().is_empty());
    }

    #[test]
    fn what_is_kept_has_a_limit() {
        let mut marks = Marks::default();
        for n in 0..MAX_CLEARED as u32 + 10 {
            marks.set(real(n), DRAINED);
            marks.set(real(n), CLEAR);
        }
        assert_eq!(marks.entries().len(), MAX_CLEARED);
        let many: Vec<MarkEntry> =
            (0..MAX_MARKS as u32 + 5_000).map(|n| MarkEntry { real: real(n), mark: OUT, version: 9 }).collect();
        marks.merge(&many);
        assert_eq!(marks.entries().len(), MAX_MARKS);
    }

    #[test]
    fn a_file_without_versions_is_read() {
        let old = r#"{"real":{"service":{"fwmark":{"mark":5,"family":"IPv4"}},"dest":{"addr":"10.0.0.1","port":80}},"drained":true}"#;
        let entry: MarkEntry = serde_json::from_str(old).unwrap();
        assert_eq!((entry.mark, entry.version), (DRAINED, 0));
        let mut marks = Marks::default();
        assert_eq!(marks.merge(&[entry]), (vec![entry.real], true));
    }
}
