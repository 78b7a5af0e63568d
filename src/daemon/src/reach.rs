//! The quorum heuristic of a pair: a half that reaches none of `quorum.ping_targets` has no vote while the other node is away.
//!
//! All targets are asked all the time, so that the answer is known when a cut comes. One that answers is enough.

use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// Between two rounds of questions; also how long an answer may take.
const EVERY: Duration = Duration::from_millis(250);
/// Rounds in a row without any answer, after which nothing is reached any more.
const MISSED: u32 = 3;

/// From the last answer to the end of the vote, at most.
pub const NOTICED: Duration = Duration::from_millis(EVERY.as_millis() as u64 * (MISSED as u64 + 1));

/// Whether any target answers; `true` from the start where there are none.
pub fn start(targets: Vec<IpAddr>) -> watch::Receiver<bool> {
    let (to, reached) = watch::channel(targets.is_empty());
    if !targets.is_empty() {
        tokio::spawn(ask(targets, to));
    }
    reached
}

async fn ask(targets: Vec<IpAddr>, to: watch::Sender<bool>) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut missed = MISSED;
    while !to.is_closed() {
        tick.tick().await;
        let mut asked = JoinSet::new();
        for target in &targets {
            let target = *target;
            asked.spawn(async move { agents::answers_ping(target, EVERY).await });
        }
        let mut any = false;
        while let Some(answer) = asked.join_next().await {
            if answer.unwrap_or(false) {
                any = true;
                break;
            }
        }
        missed = if any { 0 } else { missed.saturating_add(1) };
        to.send_if_modified(|reached| std::mem::replace(reached, missed < MISSED) != (missed < MISSED));
    }
}
