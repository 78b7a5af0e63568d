//! One address that may be held elsewhere, from the first question to the verdict.
//!
//! A task of its own asks, so that it goes on when the start that wanted to know has failed or was given up.

use super::peers::{self, Who};
use super::question::{Question, Step};
use super::{Event, Inner, LanError, MAX_CONTESTS, Verdict, lock};
use crate::lease::Vip;
use kernel::clock::boottime;
use kernel::inquiry::{Heard, Inquiry, InquiryError, Mac, Use};
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Before a socket that failed is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// Strangers that are told by name.
const MAX_TOLD: usize = 16;

/// A contest under way.
pub(super) struct Contest {
    verdict: watch::Receiver<Option<Ending>>,
    /// In words, once somebody has answered.
    kept: Option<String>,
    /// Starts that wait for the verdict.
    waiting: usize,
    /// A start has failed for it.
    failed: bool,
    /// Told already.
    strangers: BTreeSet<Mac>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Ending {
    Free(Duration),
    /// Nobody is silent any more.
    Healed,
}

/// A start that waits. If it is given up, it has failed.
struct Waiting<'a> {
    inner: &'a Inner,
    resource: &'a str,
    settled: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut contests = lock(&self.inner.contests);
        if let Some(contest) = contests.get_mut(self.resource) {
            contest.waiting = contest.waiting.saturating_sub(1);
            contest.failed |= !self.settled;
        } else if !self.settled {
            drop(contests);
            let text = "the start was given up while the address became free".to_owned();
            (self.inner.on_event)(Event::Ended { resource: self.resource.to_owned(), text, failed: true });
        }
    }
}

pub(super) async fn wait(inner: &Arc<Inner>, resource: &str, vip: &Vip, inquiry: Inquiry) -> Result<Verdict, LanError> {
    let mut verdict = join(inner, resource, vip, inquiry)?;
    let mut waiting = Waiting { inner, resource, settled: false };
    let ended = verdict.wait_for(Option::is_some);
    let ending = match tokio::time::timeout(inner.bounds.contest(), ended).await {
        Ok(Ok(ending)) => ending.clone(),
        Ok(Err(_)) | Err(_) => None,
    };
    match ending {
        Some(Ending::Free(at)) => {
            waiting.settled = true;
            Ok(Verdict::Free(at))
        }
        Some(Ending::Healed) => {
            // Told as failed by the one who ended it.
            waiting.settled = true;
            Ok(Verdict::Kept("the ring has formed again: the cluster decides who holds it".to_owned()))
        }
        None => {
            let kept = lock(&inner.contests).get(resource).and_then(|c| c.kept.clone());
            Ok(Verdict::Kept(kept.unwrap_or_else(|| format!("{} cannot be asked for", vip.addr))))
        }
    }
}

/// One more start waits for this contest, which begins now if there is none.
fn join(
    inner: &Arc<Inner>,
    resource: &str,
    vip: &Vip,
    inquiry: Inquiry,
) -> Result<watch::Receiver<Option<Ending>>, LanError> {
    let mut contests = lock(&inner.contests);
    if let Some(contest) = contests.get_mut(resource) {
        contest.waiting += 1;
        return Ok(contest.verdict.clone());
    }
    if contests.len() >= MAX_CONTESTS {
        return Err(LanError::TooMany);
    }
    let (to, verdict) = watch::channel(None);
    let contest =
        Contest { verdict: verdict.clone(), kept: None, waiting: 1, failed: false, strangers: BTreeSet::new() };
    contests.insert(resource.to_owned(), contest);
    drop(contests);
    let asker = Asker { inner: Arc::downgrade(inner), resource: resource.to_owned(), vip: vip.clone() };
    tokio::spawn(asker.run(inquiry, to));
    Ok(verdict)
}

struct Asker {
    inner: Weak<Inner>,
    resource: String,
    vip: Vip,
}

impl Asker {
    async fn run(self, inquiry: Inquiry, to: watch::Sender<Option<Ending>>) {
        let ending = loop {
            tokio::select! {
                biased;
                () = self.healed() => break Ending::Healed,
                at = self.until_free(&inquiry) => match at {
                    Ok(at) => break Ending::Free(at),
                    Err(error) => {
                        tracing::warn!(resource = self.resource, %error, "nobody can be asked who holds the address");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        };
        self.end(ending, &to);
    }

    /// Until no node is silent any more.
    async fn healed(&self) {
        let Some(mut changed) = self.inner.upgrade().map(|i| i.silent_changed.subscribe()) else { return };
        while self.inner.upgrade().is_some_and(|i| lock(&i.peers).any_silent()) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    async fn until_free(&self, inquiry: &Inquiry) -> Result<Duration, InquiryError> {
        let Some(bounds) = self.inner.upgrade().map(|i| i.bounds) else { return Ok(boottime()) };
        let mut question = Question::new(bounds, boottime());
        loop {
            let heard = match question.step(boottime()) {
                Step::Ask => {
                    inquiry.ask()?;
                    continue;
                }
                Step::Wait(until) => {
                    let over = Instant::now() + until.saturating_sub(boottime());
                    tokio::time::timeout_at(over, inquiry.heard()).await.unwrap_or_else(|_| Ok(Vec::new()))?
                }
                // What came while this process did not run.
                Step::Free => match inquiry.heard_now()? {
                    nothing if nothing.is_empty() => return Ok(boottime()),
                    heard if !self.heeds(inquiry.mac(), &heard) => return Ok(boottime()),
                    heard => heard,
                },
            };
            if self.heeds(inquiry.mac(), &heard) {
                question.answered(boottime());
            }
        }
    }

    /// Whether any of it keeps this node away. The first of its kind is told.
    fn heeds(&self, me: Mac, heard: &[Heard]) -> bool {
        let Some(inner) = self.inner.upgrade() else { return false };
        let mut kept = None;
        for one in heard {
            let (who, heeds) = {
                let peers = lock(&inner.peers);
                (peers.who(one.mac), peers.heeds(me, one))
            };
            if heeds {
                kept = Some((who, one.mac));
            } else if who == Who::Stranger && one.what == Use::Held {
                self.stranger(&inner, one.mac);
            }
        }
        if let Some((who, mac)) = &kept {
            self.keep_away(&inner, who, *mac);
        }
        kept.is_some()
    }

    fn keep_away(&self, inner: &Inner, who: &Who, mac: Mac) {
        let (addr, mac) = (self.vip.addr, peers::text(mac));
        let text = match who {
            Who::Silent(name) => {
                format!("{addr} is answered for by {mac} of node {name}, which is silent and lives: staying away")
            }
            _ => format!("{addr} is answered for by {mac}, perhaps of a silent node: staying away"),
        };
        if let Some(contest) = lock(&inner.contests).get_mut(&self.resource)
            && contest.kept.as_ref() != Some(&text)
        {
            contest.kept = Some(text.clone());
        } else {
            return;
        }
        (inner.on_event)(Event::Contested { resource: self.resource.clone(), text });
    }

    fn stranger(&self, inner: &Inner, mac: Mac) {
        let new = lock(&inner.contests)
            .get_mut(&self.resource)
            .is_some_and(|contest| contest.strangers.len() < MAX_TOLD && contest.strangers.insert(mac));
        if new {
            let (addr, mac) = (self.vip.addr, peers::text(mac));
            let text =
                format!("{addr} is used by {mac}, which belongs to none of the cluster's nodes: a duplicate address");
            (inner.on_event)(Event::Duplicate { resource: self.resource.clone(), text });
        }
    }

    fn end(self, ending: Ending, to: &watch::Sender<Option<Ending>>) {
        let Some(inner) = self.inner.upgrade() else { return };
        // Removed first: who comes from now on asks anew.
        let contest = lock(&inner.contests).remove(&self.resource);
        let text = match ending {
            Ending::Free(_) => format!("{} is not answered for any more", self.vip.addr),
            Ending::Healed => "no node is silent any more: the cluster decides who holds it".to_owned(),
        };
        // A start that waits is told that it fails.
        let failed = contest.as_ref().is_some_and(|c| c.failed || ending == Ending::Healed && c.waiting > 0);
        let told = contest.is_some_and(|c| c.kept.is_some());
        let _ = to.send(Some(ending));
        if failed || told {
            (inner.on_event)(Event::Ended { resource: self.resource, text, failed });
        }
    }
}
