//! Tells the other nodes what this node's active directors know: changes at once, ages now and then; and what operators have asked
//! for by command, which every director tells.

use super::bulletin::{Body, Bulletin, encode};
use super::outbox::{FRESH_EVERY, MAX_SHARED, Outbox};
use super::slot::{Role, Running};
use super::{Inner, base_id, lock};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// Sends a payload as an ordered message to all nodes; `false`: not now.
pub type Share = Arc<dyn Fn(Vec<u8>) -> bool + Send + Sync>;

/// Before a director that was busy is looked at again.
const BUSY: Duration = Duration::from_millis(100);
/// Changes that come within this time travel together.
const COALESCE: Duration = Duration::from_millis(20);

/// Runs until the directors are gone.
pub(super) async fn run(inner: Weak<Inner>, share: Share) {
    let mut tick = tokio::time::interval(FRESH_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let Some(news) = inner.upgrade().map(|i| i.news.clone()) else { return };
    let mut again = false;
    loop {
        tokio::select! {
            () = news.notified() => tokio::time::sleep(COALESCE).await,
            _ = tick.tick() => {}
            () = tokio::time::sleep(BUSY), if again => {}
        }
        let Some(inner) = inner.upgrade() else { return };
        hear_marks(&inner).await;
        let published = publish(&inner, &share).await;
        again = !inner.agree().await || !published;
    }
}

/// Gives marks of other nodes to the directors of this one.
async fn hear_marks(inner: &Inner) {
    if !inner.marks_heard.swap(false, Ordering::AcqRel) {
        return;
    }
    for slot in inner.slots() {
        // One that is just being started or stopped has its turn in the next round.
        let Ok(state) = slot.state.try_lock() else {
            inner.marks_heard.store(true, Ordering::Release);
            continue;
        };
        if let Some(running) = &state.running {
            let marks = lock(&inner.board).marks(base_id(&slot.resource));
            running.director.import_marks(marks).await;
        }
    }
}

/// `false` if a director was busy: what it knows is told later.
async fn publish(inner: &Inner, share: &Share) -> bool {
    let mut all = true;
    let newcomers = inner.newcomers.swap(false, Ordering::AcqRel);
    if inner.alone.load(Ordering::Acquire) {
        return true;
    }
    for slot in inner.slots() {
        // A director that is just being started or stopped has its turn in the next round.
        let Ok(mut state) = slot.state.try_lock() else {
            inner.newcomers.fetch_or(newcomers, Ordering::AcqRel);
            all = false;
            continue;
        };
        let state = &mut *state;
        let now = kernel::clock::boottime();
        let marks = inner.common_marks(&slot.resource, state.running.as_ref()).await;
        let mut bodies = state.outbox.step_marks(marks, now, newcomers);
        if let Some(running) = state.running.as_ref().filter(|r| matches!(r.role, Role::Active)) {
            bodies.extend(verdicts(&slot.resource, &mut state.outbox, running, newcomers).await);
        }
        for body in bodies {
            let director = base_id(&slot.resource).to_owned();
            let bulletin = Bulletin { director, life: inner.life, account: state.outbox.account(), body };
            if !share(encode(&bulletin)) {
                tracing::debug!("{}: what is known could not be shared now", slot.resource);
                state.outbox.reset();
                break;
            }
        }
    }
    all
}

async fn verdicts(resource: &str, outbox: &mut Outbox, running: &Running, newcomers: bool) -> Vec<Body> {
    let verdicts = running.director.export_verdicts().await;
    let over = verdicts.entries.len().saturating_sub(MAX_SHARED);
    if over > 0 && outbox.account() == 0 {
        tracing::warn!("{resource}: {over} servers more than {MAX_SHARED}: their state is not shared");
    }
    outbox.step(&verdicts, kernel::clock::boottime(), newcomers)
}
