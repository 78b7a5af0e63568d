//! Fencing as the node's API tells of it: asking, and the history in the words of `stonith_admin` and `crm_mon`.

use crate::client::Client;
use crate::clock;
use crate::source::{Failure, checked_if};
use base::exit::crm;
use base::ids::same_node;
use std::time::Duration;
use wire::api::{FenceEvent, FenceState, FencingCall, FencingOp, FencingReply};
use xml::Element;

/// The answer comes after the devices' time; the daemon knows it better than the client.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Asks the node. A code other than 0 in the reply is the failure, with the reply's message.
pub fn ask(client: &Client, program: &str, timeout_ms: u64, op: FencingOp) -> Result<FencingReply, Failure> {
    let name = checked_if("client", Some(program))?.unwrap_or_default();
    let mut client = client.clone();
    client.timeout = match op {
        FencingOp::Fence { .. } => PATIENCE,
        _ => Duration::from_millis(timeout_ms).max(crate::client::DEFAULT_TIMEOUT),
    };
    let call = FencingCall { op, timeout_ms, client: name };
    let reply: FencingReply = client.post("/v1/fencing", &call)?;
    match reply.code {
        crm::OK => Ok(reply),
        code => {
            let words = || crate::report::exit_words(code).to_owned();
            Err(Failure::new(code, reply.message.filter(|m| !m.is_empty()).unwrap_or_else(words)))
        }
    }
}

/// Pending ones first, then the others, the newest first.
pub fn sorted(mut history: Vec<FenceEvent>) -> Vec<FenceEvent> {
    history.sort_by_key(|e| (e.state != FenceState::Pending, std::cmp::Reverse(e.completed_ms)));
    history
}

/// The newest of each flavour: target, action, result, and of failures the node that tried.
pub fn reduced(history: &[FenceEvent]) -> Vec<FenceEvent> {
    let mut out: Vec<FenceEvent> = Vec::new();
    for event in history {
        let same = |e: &FenceEvent| {
            event.state != FenceState::Pending
                && same_node(&e.target, &event.target)
                && e.action == event.action
                && e.state == event.state
                && (e.state == FenceState::Success || e.delegate == event.delegate)
        };
        if !out.iter().any(same) {
            out.push(event.clone());
        }
    }
    out
}

/// Who did the same successfully after `event`, if anybody has.
fn later_success<'a>(event: &FenceEvent, history: &'a [FenceEvent]) -> Option<&'a str> {
    let later = |e: &&FenceEvent| {
        e.state == FenceState::Success
            && same_node(&e.target, &event.target)
            && e.action == event.action
            && e.completed_ms > event.completed_ms
    };
    let mut all = history.iter().filter(later);
    let same = all.clone().find(|e| event.delegate.is_none() || e.delegate == event.delegate);
    same.or_else(|| all.next()).map(|e| e.delegate.as_deref().unwrap_or("some node"))
}

/// How an event is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Form {
    /// For programs (`delegate=…, client=…`) rather than in a sentence.
    pub technical: bool,
    /// All events are shown, so that none is the last of its kind.
    pub full: bool,
}

/// One event as a line of text.
pub fn describe(event: &FenceEvent, history: &[FenceEvent], form: Form) -> String {
    let over = event.state != FenceState::Pending;
    let what = match event.action.as_str() {
        "on" => "unfencing",
        "off" => "turning off",
        "" => "fencing",
        other => other,
    };
    let delegate = event.delegate.as_deref().filter(|_| over);
    let state = match event.state {
        FenceState::Pending => "pending",
        FenceState::Success => "successful",
        FenceState::Failed => "failed",
    };
    let reason = event.exit_reason.as_deref().filter(|_| event.state == FenceState::Failed);
    let mut text = format!("{what} of {}", event.target);
    if !form.technical {
        text += &delegate.map(|d| format!(" by {d}")).unwrap_or_default();
        text += &format!(" for {}@{}", event.client, event.origin);
        if !form.full {
            text += " last";
        }
    }
    text += &format!(" {state}");
    text += &reason.map(|r| format!(" ({r})")).unwrap_or_default();
    let detail = event.detail.as_deref().filter(|_| !over);
    text += &detail.map(|d| format!(" ({d})")).unwrap_or_default();
    let at = over.then(|| clock::stamp_us(event.completed_ms.saturating_mul(1000)));
    if form.technical {
        text += ": ";
        text += &delegate.map(|d| format!("delegate={d}, ")).unwrap_or_default();
        text += &format!("client={}, origin={}", event.client, event.origin);
        let word = match (form.full, event.state) {
            (true, _) => "completed",
            (false, FenceState::Failed) => "last-failed",
            (false, _) => "last-successful",
        };
        text += &at.map(|at| format!(", {word}='{at}'")).unwrap_or_default();
    } else {
        text += &at.map(|at| format!(" at {at}")).unwrap_or_default();
    }
    if event.state == FenceState::Failed
        && let Some(by) = later_success(event, history)
    {
        text += &format!(" (a later attempt from {by} succeeded)");
    }
    text
}

/// `fence_event`.
pub fn element(event: &FenceEvent) -> Element {
    let mut e = Element::new("fence_event")
        .with("action", &event.action)
        .with("target", &event.target)
        .with("client", &event.client)
        .with("origin", &event.origin);
    match event.state {
        FenceState::Failed => {
            e.set("status", "failed");
            e.set("exit-reason", event.exit_reason.as_deref().unwrap_or_default());
        }
        FenceState::Success => e.set("status", "success"),
        FenceState::Pending => {
            e.set("status", "pending");
            e.set("extended-status", event.detail.as_deref().unwrap_or("1"));
        }
    }
    if let Some(delegate) = &event.delegate {
        e.set("delegate", delegate);
    }
    if event.state != FenceState::Pending {
        e.set("completed", clock::stamp_us(event.completed_ms.saturating_mul(1000)));
    }
    e
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(state: FenceState, action: &str, delegate: &str, completed_ms: i64) -> FenceEvent {
        FenceEvent {
            target: "d2".into(),
            action: action.into(),
            state,
            delegate: (!delegate.is_empty()).then(|| delegate.into()),
            client: "stonith_admin.12".into(),
            origin: "d1".into(),
            completed_ms,
            exit_reason: (state == FenceState::Failed).then(|| "No such device".into()),
            ..FenceEvent::default()
        }
    }

    fn without_time(text: &str) -> String {
        let words = text.split(' ').map(|w| if w.contains("1970-01-01") || w.contains("00:00:") { "T" } else { w });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_order_is_pending_then_newest() {
        let all = sorted(vec![
            event(FenceState::Success, "off", "d1", 1000),
            event(FenceState::Failed, "off", "d1", 3000),
            event(FenceState::Pending, "reboot", "", 0),
        ]);
        assert_eq!(all.iter().map(|e| e.completed_ms).collect::<Vec<_>>(), [0, 3000, 1000]);
    }

    #[test]
    fn only_the_newest_of_each_flavour_is_kept() {
        let all = [
            event(FenceState::Pending, "off", "", 0),
            event(FenceState::Pending, "off", "", 0),
            event(FenceState::Success, "off", "d1", 9),
            event(FenceState::Success, "off", "d3", 8),
            event(FenceState::Failed, "off", "d1", 7),
            event(FenceState::Failed, "off", "d3", 6),
            event(FenceState::Failed, "off", "d1", 5),
        ];
        let kept: Vec<i64> = reduced(&all).iter().map(|e| e.completed_ms).collect();
        assert_eq!(kept, [0, 0, 9, 7, 6]);
    }

    #[test]
    fn events_are_told_in_the_original_words() {
        let failed = event(FenceState::Failed, "reboot", "d1", 1000);
        let human = Form { technical: false, full: false };
        let words = describe(&failed, &[], human);
        assert!(
            words.starts_with("reboot of d2 by d1 for stonith_admin.12@d1 last failed (No such device) at "),
            "{words}"
        );
        let later = [event(FenceState::Success, "reboot", "d3", 5000), failed.clone()];
        let words = describe(&failed, &later, Form { technical: true, full: false });
        assert!(words.starts_with(
            "reboot of d2 failed (No such device): delegate=d1, client=stonith_admin.12, origin=d1, last-failed='"
        ));
        assert!(words.ends_with(" (a later attempt from d3 succeeded)"), "{words}");
        let pending = event(FenceState::Pending, "off", "", 0);
        assert_eq!(describe(&pending, &[], human), "turning off of d2 for stonith_admin.12@d1 last pending");
        let done = event(FenceState::Success, "on", "d1", 1000);
        let words = describe(&done, &[], Form { technical: true, full: true });
        assert!(
            without_time(&words)
                .starts_with("unfencing of d2 successful: delegate=d1, client=stonith_admin.12, origin=d1,")
        );
        assert!(words.contains(", completed='"), "{words}");
    }

    #[test]
    fn elements_follow_the_schema_of_fence_events() {
        let attrs = |e: &FenceEvent| element(e).attrs().map(|(n, _)| n.to_owned()).collect::<Vec<_>>();
        let failed = attrs(&event(FenceState::Failed, "off", "d1", 1));
        assert_eq!(failed, ["action", "target", "client", "origin", "status", "exit-reason", "delegate", "completed"]);
        let pending = attrs(&event(FenceState::Pending, "off", "", 0));
        assert_eq!(pending, ["action", "target", "client", "origin", "status", "extended-status"]);
    }
}
