//! A node's disk: the stored CIB, the records of instances, the ring's number. Writes take time, and the disk may hang, be
//! full, lie, or be pulled out of the machine.

use controller::{Persist, Record};
use std::collections::BTreeMap;
use std::sync::Arc;
use xml::Element;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mood {
    #[default]
    Well,
    /// Each write takes so many ms.
    Slow(u64),
    /// Every write fails, and is tried again until it is done.
    Full,
    /// No write ends.
    Hung,
    /// Writes end, and are gone when the machine loses its power.
    Forgets,
}

/// The stored configuration.
#[derive(Clone)]
pub struct Content {
    pub ticket: u64,
    pub cib: Arc<Element>,
    pub lineage: String,
}

#[derive(Clone, Default)]
pub struct Disk {
    pub mood: Mood,
    pub content: Option<Content>,
    /// What is left of the content when the power fails, if that is something else.
    pub kept: Option<Content>,
    pub records: BTreeMap<String, Record>,
    pub ring_seq: u64,
    /// Writes that were begun in this life of the daemon and have not ended.
    pub under_way: Vec<Persist>,
}

impl Disk {
    pub fn set_mood(&mut self, mood: Mood) {
        if mood == Mood::Forgets && self.kept.is_none() {
            self.kept.clone_from(&self.content);
        }
        self.mood = mood;
    }

    /// It has had the time to write everything that it said it had.
    pub fn heal(&mut self) {
        self.mood = Mood::Well;
        self.kept = None;
    }

    /// Gives whether it has forgotten something.
    pub fn power_lost(&mut self, kept: usize, records: bool) -> bool {
        self.cut_off(kept);
        if !records {
            // They are in a directory that begins empty.
            self.records.clear();
        }
        let Some(before) = self.kept.take() else { return false };
        self.content = Some(Content { ticket: 0, ..before });
        true
    }

    /// The write with this ticket, and every older one, has reached the platter.
    pub fn done(&mut self, ticket: u64) {
        let Some(at) = self.under_way.iter().position(|p| p.ticket == ticket) else { return };
        let saved = self.under_way.swap_remove(at);
        self.under_way.retain(|p| p.ticket > ticket);
        if self.content.as_ref().is_none_or(|c| c.ticket < ticket) {
            self.content = Some(Content { ticket, cib: saved.cib, lineage: saved.lineage });
        }
    }

    /// The daemon or the machine has ended in the middle of its writes: the `kept` oldest of them had got through.
    pub fn cut_off(&mut self, kept: usize) {
        let mut begun = std::mem::take(&mut self.under_way);
        begun.sort_by_key(|p| p.ticket);
        if let Some(saved) = begun.into_iter().take(kept).last() {
            self.content = Some(Content { ticket: saved.ticket, cib: saved.cib, lineage: saved.lineage });
        }
        if let Some(content) = &mut self.content {
            // Tickets count from the start of each life.
            content.ticket = 0;
        }
    }
}
