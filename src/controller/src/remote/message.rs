//! Requests, replies and notifications: attributes of one element, and what they carry below it.

use crate::api::{ExecResult, OpStatus};
use base::exit::OcfCode;
use base::{Operation, Reason};
use std::collections::BTreeMap;
use xml::Element;

/// Version of the protocol that we speak: without relative time-outs and the like, so that every server since 1.1.12 understands.
pub const PROTOCOL: &str = "1.1";
/// What a server must speak at least.
pub const OLDEST: (u32, u32) = (1, 0);

/// Names of operations.
pub mod op {
    pub const REGISTER: &str = "register";
    pub const RSC_REGISTER: &str = "lrmd_rsc_register";
    pub const RSC_UNREGISTER: &str = "lrmd_rsc_unregister";
    pub const RSC_EXEC: &str = "lrmd_rsc_exec";
    pub const RSC_CANCEL: &str = "lrmd_rsc_cancel";
    pub const RSC_INFO: &str = "lrmd_rsc_info";
    pub const RECURRING: &str = "lrmd_get_recurring";
    pub const CHECK: &str = "lrmd_check";
    pub const POKE: &str = "lrmd_rsc_poke";
    pub const NEW_CLIENT: &str = "lrmd_rsc_new_client";
    pub const FORWARD: &str = "ipc_fwd";
}

/// Only who asked is told of the result.
const NOTIFY_ONLY_ME: &str = "2";

/// What becomes of a request in its sender's hands: its number and whether it is a request, a reply or a notification.
pub fn stamp(message: Element, number: u32, kind: &str) -> Element {
    message.with("lrmd_remote_msg_id", number.to_string()).with("lrmd_remote_msg_type", kind)
}

fn command(operation: &str, options: &str) -> Element {
    Element::new("lrmd_command")
        .with("t", "lrmd")
        .with("lrmd_op", operation)
        .with("lrmd_timeout", "0")
        .with("lrmd_callopt", options)
}

fn with_data(operation: &str, options: &str, data: Element) -> Element {
    command(operation, options).with_child(Element::new("lrmd_calldata").with_child(data))
}

/// The first message of a connection.
pub fn hello(client: &str) -> Element {
    Element::new("lrmd_command")
        .with("t", "lrmd")
        .with("lrmd_op", op::REGISTER)
        .with("lrmd_clientname", client)
        .with("lrmd_protocol_version", PROTOCOL)
        .with("lrmd_is_ipc_provider", "true")
}

pub fn poke() -> Element {
    command(op::POKE, "0")
}

/// Tells which agent a resource is run by.
pub fn register(operation: &Operation) -> Element {
    let instance = &operation.instance;
    let mut data = Element::new("lrmd_rsc").with("lrmd_rsc_id", &instance.id).with("lrmd_class", &instance.class);
    if let Some(provider) = &instance.provider {
        data.set("lrmd_provider", provider);
    }
    with_data(op::RSC_REGISTER, "0", data.with("lrmd_type", &instance.agent))
}

/// One run of an operation; `token` comes back with its result. Repetition is our own business.
pub fn exec(operation: &Operation, token: &str) -> Element {
    let data = Element::new("lrmd_rsc")
        .with("lrmd_rsc_id", &operation.instance.id)
        .with("lrmd_rsc_action", &operation.action)
        .with("lrmd_rsc_userdata_str", token)
        .with("lrmd_rsc_interval", "0")
        .with("lrmd_timeout", operation.timeout_ms.to_string())
        .with("lrmd_rsc_start_delay", "0");
    with_data(op::RSC_EXEC, NOTIFY_ONLY_ME, data.with_child(attributes(operation)))
}

/// Parameters, and what the cluster tells: names that XML takes as attributes, all others as children.
pub fn attributes(operation: &Operation) -> Element {
    let mut args = Element::new("attributes");
    let meta = operation.meta.iter().map(|(name, value)| (format!("{}{name}", Operation::META_PREFIX), value));
    let params = operation.instance.params.iter().map(|(name, value)| (name.clone(), value));
    let version = [("crm_feature_set".to_owned(), cib::FEATURE_SET.to_owned())];
    let all = version.iter().map(|(n, v)| (n.clone(), v)).chain(params).chain(meta);
    for (name, value) in all {
        if is_attribute_name(&name) {
            args.set(&name, value);
        } else {
            args.push(Element::new("param").with("name", name).with("value", value));
        }
    }
    args
}

fn is_attribute_name(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    first && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// What [`attributes`] wrote, or another cluster's node did.
pub fn read_attributes(parent: &Element) -> BTreeMap<String, String> {
    let Some(args) = parent.child("attributes") else { return BTreeMap::new() };
    let pairs = args.attrs().map(|(n, v)| (n.to_owned(), v.to_owned()));
    let child = |e: &Element| Some((e.attr("name")?.to_owned(), e.attr("value")?.to_owned()));
    pairs.chain(args.elements_named("param").filter_map(child)).collect()
}

pub fn number(message: &Element, name: &str) -> Option<i64> {
    message.attr(name)?.trim().parse().ok()
}

/// The result that a notification tells.
pub fn result(message: &Element) -> ExecResult {
    let number = |name: &str| number(message, name).unwrap_or(0);
    let code = OcfCode(i32::try_from(number("lrmd_exec_rc")).unwrap_or(OcfCode::ERROR.0));
    let status = match number("lrmd_exec_op_status") {
        0 => OpStatus::Done,
        1 => OpStatus::Cancelled,
        2 => OpStatus::Timeout,
        3 => OpStatus::NotSupported,
        // No agent, no provider for its class: it is not there.
        7 | 9 | 10 => OpStatus::NotInstalled,
        8 => OpStatus::NotConnected,
        _ => OpStatus::Error,
    };
    let ms = |name: &str| u64::try_from(number(name)).unwrap_or(0);
    ExecResult {
        code,
        status,
        reason: Reason::cleaned(message.attr("lrmd_rsc_exit_reason").unwrap_or_default()),
        exec_ms: ms("lrmd_exec_time"),
        queue_ms: ms("lrmd_queue_time"),
    }
}

/// What a program on the remote node wants of the cluster, or is told by it.
#[derive(Clone, PartialEq, Debug)]
pub struct Proxied {
    /// Names the program's connection.
    pub session: String,
    pub op: ProxyOp,
}

#[derive(Clone, PartialEq, Debug)]
pub enum ProxyOp {
    /// A program has connected to this service.
    New {
        server: String,
    },
    Request {
        id: i64,
        user: String,
        body: Element,
    },
    Response {
        id: i64,
        body: Element,
    },
    Event {
        body: Element,
    },
    Destroy,
    /// The remote executor wants to end.
    ShutdownAsked,
    ShutdownAnswer {
        granted: bool,
    },
}

pub fn read_proxied(message: &Element) -> Option<Proxied> {
    let session = message.attr("lrmd_ipc_session")?.to_owned();
    let body = || message.child("lrmd_ipc_msg").and_then(|m| m.elements().next()).cloned();
    let id = number(message, "lrmd_ipc_msg_id").unwrap_or(0);
    let text = |name| message.attr(name).unwrap_or_default().to_owned();
    let op = match message.attr("lrmd_ipc_op")? {
        "new" => ProxyOp::New { server: text("lrmd_ipc_server") },
        "request" => ProxyOp::Request { id, user: text("lrmd_ipc_user"), body: body()? },
        "response" => ProxyOp::Response { id, body: body()? },
        "event" => ProxyOp::Event { body: body()? },
        "destroy" => ProxyOp::Destroy,
        "shutdown_req" => ProxyOp::ShutdownAsked,
        "shutdown_ack" => ProxyOp::ShutdownAnswer { granted: true },
        "shutdown_nack" => ProxyOp::ShutdownAnswer { granted: false },
        _ => return None,
    };
    Some(Proxied { session, op })
}

pub fn proxied(message: &Proxied) -> Element {
    let base = Element::new("lrmd_ipc_proxy").with("lrmd_op", op::FORWARD);
    let named = |name: &str| base.clone().with("lrmd_ipc_op", name).with("lrmd_ipc_session", &message.session);
    let with = |e: Element, body: &Element| e.with_child(Element::new("lrmd_ipc_msg").with_child(body.clone()));
    match &message.op {
        ProxyOp::New { server } => named("new").with("lrmd_ipc_server", server),
        ProxyOp::Request { id, user, body } => {
            with(named("request").with("lrmd_ipc_user", user).with("lrmd_ipc_msg_id", id.to_string()), body)
        }
        ProxyOp::Response { id, body } => with(named("response").with("lrmd_ipc_msg_id", id.to_string()), body),
        ProxyOp::Event { body } => with(named("event"), body),
        ProxyOp::Destroy => named("destroy"),
        ProxyOp::ShutdownAsked => named("shutdown_req"),
        ProxyOp::ShutdownAnswer { granted: true } => named("shutdown_ack"),
        ProxyOp::ShutdownAnswer { granted: false } => named("shutdown_nack"),
    }
}

/// `MAJOR.MINOR` of a version.
pub fn version_of(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.');
    Some((parts.next()?.parse().ok()?, parts.next().unwrap_or("0").parse().ok()?))
}
