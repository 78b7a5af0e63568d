//! Bodies of `wire::api` to requests of the controller, and its answers back.

use super::{State, ask, within};
use base::exit::crm;
use cib::{Op, Options, Target};
use controller::{Request, Response as Answer, Safety};
use wire::api::{CibCall, CibOp, CibReply, CibTarget, CleanupCall, Done};

/// What of a caller's name goes into the CIB.
const MAX_CLIENT_CHARS: usize = 64;

pub(super) async fn cib(state: &State, user: &str, call: CibCall) -> CibReply {
    let dry_run = call.options.dry_run;
    let timeout = within(call.options.timeout_ms);
    let request = match request(user, call) {
        Ok(request) => request,
        Err(message) => return CibReply { code: crm::DATAERR, message: Some(message), ..CibReply::default() },
    };
    if dry_run && request.op.writes() {
        return rehearse(state, &request, timeout).await;
    }
    reply(ask(state, Request::Cib(request), timeout).await)
}

/// A write that is tried on a copy: what it would answer.
async fn rehearse(state: &State, request: &cib::Request, timeout: std::time::Duration) -> CibReply {
    let whole = ask(state, Request::Cib(cib::Request::query(Target::Whole)), timeout).await;
    let document = match whole {
        Answer::Done { answer: Some(document), .. } => document,
        other => return reply(other),
    };
    let tried = cib::Cib::from_element(document).and_then(|mut copy| copy.apply(request));
    match tried {
        Ok(outcome) => CibReply {
            xml: outcome.answer.map(|e| e.to_pretty()),
            version: version(outcome.version),
            ..CibReply::default()
        },
        Err(error) => CibReply { code: error.exit_code(), message: Some(error.to_string()), ..CibReply::default() },
    }
}

fn request(user: &str, call: CibCall) -> Result<cib::Request, String> {
    let payload = match call.xml.as_deref() {
        Some(text) => Some(xml::parse(text).map_err(|e| e.to_string())?),
        None => None,
    };
    let target = match call.target {
        CibTarget::Whole => Target::Whole,
        CibTarget::Section(name) => Target::Section(name.to_string()),
        CibTarget::XPath(expression) => Target::XPath(expression.to_string()),
    };
    let mut request = cib::Request::new(op(call.op), target, payload);
    request.options = Options {
        allow_create: call.options.allow_create,
        multiple: call.op == CibOp::DeleteAll,
        no_children: call.options.no_children,
        score_update: call.options.score,
        force: call.options.force,
    };
    request.at = crate::clock::wall();
    request.user = user.to_owned();
    let client: String = call.options.client.chars().take(MAX_CLIENT_CHARS).collect();
    request.client = if client.is_empty() { "api".to_owned() } else { client };
    Ok(request)
}

fn op(op: CibOp) -> Op {
    match op {
        CibOp::Query => Op::Query,
        CibOp::Create => Op::Create,
        CibOp::Modify => Op::Modify,
        CibOp::Replace => Op::Replace,
        CibOp::Delete | CibOp::DeleteAll => Op::Delete,
        CibOp::Patch => Op::Patch,
        CibOp::Erase => Op::Erase,
        CibOp::Bump => Op::Bump,
        CibOp::Upgrade => Op::Upgrade,
    }
}

pub(super) async fn cleanup(state: &State, call: CleanupCall) -> Done {
    let operation = call.operation.map(|o| (o, call.interval_ms.unwrap_or(0)));
    let request = Request::Cleanup { resource: call.resource, node: call.node, operation, refresh: call.refresh };
    done(ask(state, request, within(0)).await)
}

pub(super) fn done(answer: Answer) -> Done {
    match answer {
        Answer::Done { safety, .. } => Done { code: crm::OK, message: None, safety: self::safety(safety) },
        Answer::Failed { code, message } => Done { code, message: Some(message), ..Done::default() },
    }
}

pub(super) fn reply(answer: Answer) -> CibReply {
    match answer {
        Answer::Done { safety, answer, version } => {
            let message = (safety == Safety::Provisional).then(|| {
                "accepted, but without quorum or on too few disks: it may be lost at a merge or a power failure"
                    .to_owned()
            });
            let xml = answer.map(|e| e.to_pretty());
            CibReply { code: crm::OK, message, xml, safety: self::safety(safety), version }
        }
        Answer::Failed { code, message } => CibReply { code, message: Some(message), ..CibReply::default() },
    }
}

pub(super) fn safety(safety: Safety) -> wire::api::Safety {
    match safety {
        Safety::Unchanged => wire::api::Safety::Unchanged,
        Safety::Provisional => wire::api::Safety::Provisional,
        Safety::Safe => wire::api::Safety::Safe,
    }
}

pub(super) fn version(v: cib::Version) -> (u64, u64, u64) {
    (v.admin_epoch, v.epoch, v.num_updates)
}
