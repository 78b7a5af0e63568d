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
    /// The report made last tells something new.
    pub(super) fn last_is_news(&mut self) {
        self.news.extend(self.reports.last().cloned());
    }
}
