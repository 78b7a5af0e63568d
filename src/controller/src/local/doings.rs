//! What an input makes this node do and tell.

use crate::api::Output;
use crate::message::{OpIdentity, OpRecord};

/// What came of an input.
#[derive(Default)]
pub struct Doings {
    pub outputs: Vec<Output>,
    pub reports: Vec<OpRecord>,
    /// Results that nobody was told of yet, for alerts: no repetition, and ends of recurring operations too.
    pub news: Vec<OpRecord>,
    pub begun: Vec<OpIdentity>,
}

impl Doings {
    /// Nothing at all, as of nearly every tick.
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty() && self.reports.is_empty() && self.news.is_empty() && self.begun.is_empty()
    }

    /// The report made last tells something new.
    pub(super) fn last_is_news(&mut self) {
        self.news.extend(self.reports.last().cloned());
    }
}
