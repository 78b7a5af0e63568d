//! Bodies of `wire::api` to requests of the controller, and its answers back.

use super::authority::Caller;
use super::within;
use base::exit::crm;
use cib::{CibError, Op, Options, Target};
use controller::{Request, Response as Answer, Safety};
use wire::api::{CibCall, CibOp, CibReply, CibTarget, CleanupCall, Done};

/// What of a caller's name goes into the CIB.
const MAX_CLIENT_CHARS: usize = 64;

/// Payloads up to this size are handled at once; larger ones have their cost known, on a thread of their own, before they are
/// ordered.
const SMALL_BYTES: usize = 32 * 1024;

pub(super) async fn cib(caller: &Caller, call: CibCall) -> CibReply {
    let dry_run = call.options.dry_run;
    let timeout = within(call.options.timeout_ms);
    let bytes = |call: &CibCall| call.xml.as_ref().map_or(0, String::len);
    let small = bytes(&call) + call.steps.iter().map(bytes).sum::<usize>() <= SMALL_BYTES;
    let user = caller.user().to_owned();
    let made = match small {
        true => request(&user, call),
        false => match caller.heavy(move || request(&user, call)).await {
            Ok(made) => made,
            Err(error) => return refused(error.code, error.message),
        },
    };
    let request = match made {
        Ok(request) => request,
        Err((code, message)) => return refused(code, message),
    };
    if !request.writes() {
        return query(caller, request).await;
    }
    if dry_run {
        return rehearse(caller, request).await;
    }
    let request = match small && !caller.is_limited().await {
        true => request,
        false => match foresee(caller, request).await {
            Ok(request) => request,
            Err(reply) => return *reply,
        },
    };
    reply(caller.ask(Request::Cib(request), timeout).await)
}

fn refused(code: i32, message: String) -> CibReply {
    CibReply { code, message: Some(message), ..CibReply::default() }
}

fn refusal(error: &CibError) -> CibReply {
    refused(error.exit_code(), error.explain())
}

/// Answered from what is applied here, and written out beside everything else.
async fn query(caller: &Caller, request: cib::Request) -> CibReply {
    let (cib, version) = match caller.cib().await {
        Ok(seen) => seen,
        Err(error) => return refused(error.code, error.message),
    };
    let answer = move || cib.query(&request).map(|found| found.to_compact());
    match caller.heavy(answer).await {
        Ok(Ok(xml)) => CibReply { xml: Some(xml), version: self::version(version), ..CibReply::default() },
        Ok(Err(error)) => refusal(&error),
        Err(error) => refused(error.code, error.message),
    }
}

/// Tries a request on a copy, so that one which no member would take is refused before it is ordered: for what it costs, and for
/// what its user may not. All else may be another thing by the time of its turn; and what the user may is checked again then.
async fn foresee(caller: &Caller, request: cib::Request) -> Result<cib::Request, Box<CibReply>> {
    match caller.rehearse(request.clone()).await {
        Ok(Err(error)) if cib::limits::is_cost(&error) || error.exit_code() == crm::INSUFFICIENT_PRIV => {
            Err(Box::new(refusal(&error)))
        }
        Ok(_) => Ok(request),
        Err(error) => Err(Box::new(refused(error.code, error.message))),
    }
}

/// A write that is tried on a copy: what it would answer.
async fn rehearse(caller: &Caller, request: cib::Request) -> CibReply {
    match caller.rehearse(request).await {
        Ok(Ok(outcome)) => CibReply {
            xml: outcome.answer.map(|e| e.to_compact()),
            version: version(outcome.version),
            ..CibReply::default()
        },
        Ok(Err(error)) => refusal(&error),
        Err(error) => refused(error.code, error.message),
    }
}

fn request(user: &str, call: CibCall) -> Result<cib::Request, (i32, String)> {
    let steps = call.steps.iter().map(step).collect::<Result<Vec<_>, _>>()?;
    if (call.op == CibOp::Transaction) == steps.is_empty() {
        return Err((crm::USAGE, "steps and the operation `transaction` go together".to_owned()));
    }
    let mut request = step(&call)?;
    request.steps = steps;
    request.expected =
        call.expected.map(|e| cib::Expected { admin_epoch: e.admin_epoch, epoch: e.epoch, num_updates: e.num_updates });
    request.at = crate::clock::wall();
    request.user = user.to_owned();
    let client: String = call.options.client.chars().take(MAX_CLIENT_CHARS).collect();
    request.client = if client.is_empty() { "api".to_owned() } else { client };
    cib::limits::check_request(&request)
        .and_then(|()| cib::runnable::check(&request))
        .map_err(|e| (e.exit_code(), e.to_string()))?;
    Ok(request)
}

/// One operation, without what concerns the whole request.
fn step(call: &CibCall) -> Result<cib::Request, (i32, String)> {
    let payload = match call.xml.as_deref() {
        Some(text) => Some(xml::parse(text).map_err(|e| (crm::DATAERR, e.to_string()))?),
        None => None,
    };
    let target = match &call.target {
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
        CibOp::Transaction => Op::Transaction,
    }
}

pub(super) async fn cleanup(caller: &Caller, call: CleanupCall) -> Done {
    let operation = call.operation.map(|o| (o, call.interval_ms.unwrap_or(0)));
    let request = Request::Cleanup { resource: call.resource, node: call.node, operation, refresh: call.refresh };
    done(caller.ask(request, within(0)).await)
}

pub(super) fn done(answer: Answer) -> Done {
    match answer {
        Answer::Done { safety, .. } => Done { code: crm::OK, message: None, safety: self::safety(safety) },
        Answer::Failed { code, message } => Done { code, message: Some(message), ..Done::default() },
        Answer::Fencing(answer) => Done { code: answer.code, message: answer.message, ..Done::default() },
    }
}

pub(super) fn reply(answer: Answer) -> CibReply {
    match answer {
        Answer::Done { safety, answer, version } => {
            let message = (safety == Safety::Provisional).then(|| {
                "accepted, but without quorum or on too few disks: it may be lost at a merge or a power failure"
                    .to_owned()
            });
            let xml = answer.map(|e| e.to_compact());
            CibReply { code: crm::OK, message, xml, safety: self::safety(safety), version }
        }
        Answer::Failed { code, message } => CibReply { code, message: Some(message), ..CibReply::default() },
        Answer::Fencing(answer) => CibReply { code: answer.code, message: answer.message, ..CibReply::default() },
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
