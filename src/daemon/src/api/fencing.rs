//! `POST /v1/fencing`: bodies to the controller's requests, and back.

use super::authority::Caller;
use super::{ANSWER_WITHIN, within};
use base::outside::Word;
use controller::fencing::query::{DeviceInfo, Event, FencingAnswer, FencingQuery};
use controller::fencing::topology::{Level, Target};
use controller::{FenceRequest, Request, Response as Answer};
use std::time::Duration;
use wire::api::{
    FenceDevice, FenceEvent, FenceLevel, FenceLevelTarget, FenceState, FenceTarget, FencingCall, FencingOp,
    FencingReply,
};

/// A fencing may take several devices' time; its asker's own patience ends it sooner.
const VERDICT_WITHIN: Duration = Duration::from_secs(600);

pub(super) async fn run(caller: &Caller, call: FencingCall) -> FencingReply {
    let client = if call.client.is_empty() { Word::cleaned("api") } else { call.client.clone() };
    let timeout_ms = call.timeout_ms;
    let text = |w: Word| w.to_string();
    let query = |query| (Request::FencingQuery { query, timeout_ms }, within(timeout_ms).saturating_add(ANSWER_WITHIN));
    let (request, patience) = match call.op {
        FencingOp::Devices { target } => query(FencingQuery::Devices { target: target.map(text) }),
        FencingOp::Targets { device } => query(FencingQuery::Targets { device: text(device) }),
        FencingOp::Monitor { device } => query(FencingQuery::Monitor { device: text(device) }),
        FencingOp::Levels { target } => query(FencingQuery::Levels { target: target.map(text) }),
        FencingOp::History { target } => query(FencingQuery::History { target: target.map(text) }),
        FencingOp::Confirm { target } => (Request::ConfirmDown { target, client }, ANSWER_WITHIN),
        FencingOp::Cleanup { target } => (Request::ForgetFencing { target }, ANSWER_WITHIN),
        FencingOp::Fence { target, action, delay_ms, tolerance_ms, tag } => {
            let client = tag.map_or(client.clone(), |tag| Word::cleaned(&format!("{client} ({tag})")));
            let request = FenceRequest { target, action, timeout_ms, delay_ms, tolerance_ms, client };
            (Request::Fence(request), VERDICT_WITHIN)
        }
    };
    reply(caller.ask(request, patience).await)
}

fn reply(answer: Answer) -> FencingReply {
    match answer {
        Answer::Done { .. } => FencingReply::default(),
        Answer::Failed { code, message } => FencingReply { code, message: Some(message), ..FencingReply::default() },
        Answer::Fencing(answer) => {
            let FencingAnswer { code, message, devices, targets, levels, history } = *answer;
            FencingReply {
                code,
                message,
                devices: devices.into_iter().map(device).collect(),
                targets: targets.into_iter().map(target).collect(),
                levels: levels.into_iter().map(level).collect(),
                history: history.into_iter().map(event).collect(),
            }
        }
    }
}

fn target((node, port): (String, Option<String>)) -> FenceTarget {
    FenceTarget { node, port }
}

fn device(info: DeviceInfo) -> FenceDevice {
    FenceDevice {
        host_check: info.check.name().to_owned(),
        targets: info.targets.into_iter().map(target).collect(),
        running_on: info.running_on,
        priority: info.device.priority,
        disabled: info.device.disabled,
        id: info.device.id,
        agent: info.device.agent,
    }
}

fn level(level: Level) -> FenceLevel {
    let target = match level.target {
        Target::Node(name) => FenceLevelTarget::Node(name),
        Target::Pattern(pattern) => FenceLevelTarget::Pattern(pattern),
        Target::Attribute { name, value } => FenceLevelTarget::Attribute { name, value },
    };
    FenceLevel { id: level.id, target, index: level.index, devices: level.devices }
}

pub(crate) fn event(event: Event) -> FenceEvent {
    FenceEvent {
        id: event.id.to_string(),
        target: event.target,
        action: event.action.to_owned(),
        state: match event.ok {
            None => FenceState::Pending,
            Some(true) => FenceState::Success,
            Some(false) => FenceState::Failed,
        },
        delegate: event.delegate,
        device: Some(event.device).filter(|d| !d.is_empty()),
        client: event.client,
        origin: event.origin,
        asked_ms: event.asked_ms,
        completed_ms: event.completed_ms,
        exit_reason: Some(event.reason).filter(|r| !r.is_empty()),
        detail: event.detail,
    }
}
