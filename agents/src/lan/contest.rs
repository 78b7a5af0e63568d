//! One address that may be held elsewhere: asked for until it is taken, and whoever wants it waits for the verdict.
//!
//! A task of its own asks, so that it goes on when the start that wanted to know has failed or was given up, and so that many
//! addresses are asked for at once: while the first address of a group waits, [`in_advance`] has all others asked for that this
//! node may have to take, and their starts find a verdict.
//!
//! ```text
//!   Asking ─nobody answers─► Free(when), asked on ─► taken, or wanted by nobody for LINGER
//!      ▲                       │ answered
//!      └───────────────────────┘              nobody is silent any more: Healed
//! ```

use super::apart::Apart;
use super::peers::{self, Who};
use super::question::{Question, Step};
use super::{Event, Inner, LanError, MAX_CONTESTS, Verdict, lock};
use crate::lease::Vip;
use crate::net::Net;
use base::lease::Bounds;
use kernel::addr::Link;
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
/// Addresses that are asked for before anybody starts them; with more, each of the rest is asked for at its start.
const MAX_IN_ADVANCE: usize = 128;
/// How long after the last start that wanted to know anything an address is asked for that nobody waits for.
const LINGER: Duration = Duration::from_millis(500);

/// A contest under way.
pub(super) struct Contest {
    stand: watch::Receiver<Stand>,
    /// In words, once somebody has answered, until it is free.
    kept: Option<String>,
    /// The same was told: a start has wanted the address.
    told: bool,
    /// Starts that wait for the verdict.
    waiting: usize,
    /// A start has failed for it.
    failed: bool,
    /// Told already.
    strangers: BTreeSet<Mac>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stand {
    Asking,
    /// Nobody held it at that moment (boot clock).
    Free(Duration),
    /// Nobody is silent any more.
    Healed,
}

impl Stand {
    /// Whether it answers a start now: a moment that is long past leaves time for somebody else.
    fn settles(self) -> bool {
        match self {
            Stand::Asking => false,
            Stand::Free(at) => boottime().saturating_sub(at) < Bounds::STANDARD.in_flight,
            Stand::Healed => true,
        }
    }
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

pub(super) async fn wait(inner: &Arc<Inner>, resource: &str, vip: &Vip) -> Result<Verdict, LanError> {
    *lock(&inner.asked_last) = boottime();
    let end = Instant::now() + inner.bounds.contest();
    let links = Net::open()?.links().await?;
    let Some(mut stand) = join(inner, resource, vip, &links, true)? else { return Ok(Verdict::Free(boottime())) };
    let mut waiting = Waiting { inner, resource, settled: false };
    in_advance(inner, &links);
    // Without a verdict in time; or the contest has ended, since another start has just taken it.
    let ended = tokio::time::timeout_at(end, stand.wait_for(|s| s.settles())).await;
    let ended = ended.ok().and_then(|stand| stand.ok().map(|s| *s));
    match ended {
        Some(Stand::Free(at)) => {
            waiting.settled = true;
            return Ok(Verdict::Free(at));
        }
        Some(_) => {
            // Told as failed by the one who ended it.
            waiting.settled = true;
            return Ok(Verdict::Kept("the ring has formed again: the cluster decides who holds it".to_owned()));
        }
        None => {}
    }
    let kept = lock(&inner.contests).get(resource).and_then(|c| c.kept.clone());
    Ok(Verdict::Kept(kept.unwrap_or_else(|| format!("{} cannot be asked for", vip.addr))))
}

/// Addresses that this node does not hold are likely to be wanted next.
fn in_advance(inner: &Arc<Inner>, links: &[Link]) {
    let elsewhere: Vec<(String, Vip)> = {
        let (known, contests) = (lock(&inner.elsewhere), lock(&inner.contests));
        let room = MAX_IN_ADVANCE.saturating_sub(contests.len());
        let all = known.iter().filter(|(resource, _)| !contests.contains_key(*resource)).take(room);
        all.map(|(resource, vip)| (resource.clone(), vip.clone())).collect()
    };
    for (resource, vip) in elsewhere {
        // Its start tells what is wrong.
        let _ = join(inner, &resource, &vip, links, false);
    }
}

/// One more start waits for this contest, or is to come; it begins now if there is none. `None`: there are no neighbours.
fn join(
    inner: &Arc<Inner>,
    resource: &str,
    vip: &Vip,
    links: &[Link],
    waits: bool,
) -> Result<Option<watch::Receiver<Stand>>, LanError> {
    let mut contests = lock(&inner.contests);
    if let Some(contest) = contests.get_mut(resource) {
        contest.waiting += usize::from(waits);
        return Ok(Some(contest.stand.clone()));
    }
    if contests.len() >= MAX_CONTESTS {
        return Err(LanError::TooMany);
    }
    let link = links.iter().find(|l| l.index == vip.interface_index);
    let Some(inquiry) = link.map(|l| Inquiry::open(l, vip.addr)).transpose()?.flatten() else { return Ok(None) };
    let (to, stand) = watch::channel(Stand::Asking);
    let contest = Contest {
        stand: stand.clone(),
        kept: None,
        told: false,
        waiting: usize::from(waits),
        failed: false,
        strangers: BTreeSet::new(),
    };
    contests.insert(resource.to_owned(), contest);
    drop(contests);
    let asker = Asker { inner: Arc::downgrade(inner), resource: resource.to_owned(), vip: vip.clone(), to };
    tokio::spawn(asker.run(inquiry));
    Ok(Some(stand))
}

struct Asker {
    inner: Weak<Inner>,
    resource: String,
    vip: Vip,
    to: watch::Sender<Stand>,
}

impl Asker {
    async fn run(self, inquiry: Inquiry) {
        let shared = Arc::new(inquiry);
        let _apart = Apart::of(&shared);
        // Declared last, so it goes first.
        let inquiry = shared;
        loop {
            tokio::select! {
                biased;
                // Taken, or not to be taken here any more.
                () = self.to.closed() => return,
                () = self.healed() => return self.end_healed(),
                ended = self.ask(&inquiry) => match ended {
                    Ok(()) => return,
                    Err(error) => {
                        tracing::warn!(resource = self.resource, %error, "nobody can be asked who holds the address");
                        let _ = self.to.send(Stand::Asking);
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
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

    /// Until nobody wants the answer.
    async fn ask(&self, inquiry: &Inquiry) -> Result<(), InquiryError> {
        let Some(bounds) = self.inner.upgrade().map(|i| i.bounds) else { return Ok(()) };
        let mut question = Question::new(bounds, boottime());
        loop {
            let heard = match question.step(boottime()) {
                Step::Ask => {
                    if !self.wanted() {
                        return Ok(());
                    }
                    inquiry.ask()?;
                    continue;
                }
                Step::Wait(until) => {
                    let over = Instant::now() + until.saturating_sub(boottime());
                    tokio::time::timeout_at(over, inquiry.heard()).await.unwrap_or_else(|_| Ok(Vec::new()))?
                }
                Step::Free => {
                    // What came while this process did not run counts as well.
                    let heard = inquiry.heard_now()?;
                    if !self.heeds(inquiry.mac(), &heard) {
                        self.free(boottime());
                        continue;
                    }
                    question.answered(boottime());
                    continue;
                }
            };
            if self.heeds(inquiry.mac(), &heard) {
                question.answered(boottime());
            }
        }
    }

    /// Whether anybody may still want to know; if not, the contest is over.
    fn wanted(&self) -> bool {
        let Some(inner) = self.inner.upgrade() else { return false };
        let idle = boottime().saturating_sub(*lock(&inner.asked_last)) > LINGER;
        let mut contests = lock(&inner.contests);
        let wanted = contests.get(&self.resource).is_some_and(|c| c.waiting > 0 || c.failed || !idle);
        if !wanted {
            contests.remove(&self.resource);
        }
        wanted
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
            let _ = self.to.send(Stand::Asking);
            self.keep_away(&inner, who, *mac);
        }
        kept.is_some()
    }

    /// Told once somebody wants the address here.
    fn keep_away(&self, inner: &Inner, who: &Who, mac: Mac) {
        let (addr, mac) = (self.vip.addr, peers::text(mac));
        let text = match who {
            Who::Silent(name) => {
                format!("{addr} is answered for by {mac} of node {name}, which is silent and lives: staying away")
            }
            _ => format!("{addr} is answered for by {mac}, perhaps of a silent node: staying away"),
        };
        {
            let mut contests = lock(&inner.contests);
            let Some(contest) = contests.get_mut(&self.resource) else { return };
            let news = contest.kept.as_ref() != Some(&text) || !contest.told;
            contest.kept = Some(text.clone());
            if !news || contest.waiting == 0 && !contest.failed {
                return;
            }
            contest.told = true;
        }
        (inner.on_event)(Event::Contested { resource: self.resource.clone(), text });
    }

    fn stranger(&self, inner: &Inner, mac: Mac) {
        let new = lock(&inner.contests)
            .get_mut(&self.resource)
            .is_some_and(|contest| contest.strangers.len() < MAX_TOLD && contest.strangers.insert(mac));
        if new {
            let text = super::duplicate(self.vip.addr, mac);
            (inner.on_event)(Event::Duplicate { resource: self.resource.clone(), text });
        }
    }

    /// Nobody holds it; what has failed or was told for it before is over.
    fn free(&self, at: Duration) {
        let Some(inner) = self.inner.upgrade() else { return };
        let (failed, told) = match lock(&inner.contests).get_mut(&self.resource) {
            Some(contest) => {
                contest.kept = None;
                (std::mem::take(&mut contest.failed), std::mem::take(&mut contest.told))
            }
            None => (false, false),
        };
        let _ = self.to.send(Stand::Free(at));
        if failed || told {
            let text = format!("{} is not answered for any more", self.vip.addr);
            (inner.on_event)(Event::Ended { resource: self.resource.clone(), text, failed });
        }
    }

    fn end_healed(self) {
        let Some(inner) = self.inner.upgrade() else { return };
        // Removed first: who comes from now on asks anew.
        let contest = lock(&inner.contests).remove(&self.resource);
        // A start that waits is told that it fails.
        let failed = contest.as_ref().is_some_and(|c| c.failed || c.waiting > 0);
        let told = contest.is_some_and(|c| c.told);
        let _ = self.to.send(Stand::Healed);
        if failed || told {
            let text = "no node is silent any more: the cluster decides who holds it".to_owned();
            (inner.on_event)(Event::Ended { resource: self.resource, text, failed });
        }
    }
}
