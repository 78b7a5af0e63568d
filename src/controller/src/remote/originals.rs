//! What the original's own programs on a remote node say to the original's daemons through the connection, as far as agents need it:
//! node attributes (`attrd`) and the CIB (`cib_rw`, `cib_ro`).
//!
//! Sources: `lib/common/ipc_attrd.c`, `daemons/attrd/attrd_ipc.c`, `lib/cib/cib_native.c` of Pacemaker 2.1.

use crate::api::{Request, Response};
use base::NodeId;
use base::exit::crm;
use base::outside::{Value, Word};
use cib::{Op, Target};
use xml::Element;

/// Services that are offered.
pub const SERVERS: [&str; 4] = ["attrd", "cib_rw", "cib_ro", "cib_shm"];

/// What a message asks for, and how its answer is made.
#[derive(Debug)]
pub enum Asked {
    /// Answered without asking anybody.
    Answer(Element),
    /// The request, and the frame of its answer.
    Cib(Box<cib::Request>, Element),
    Attribute(Request),
    /// Values of an attribute on one node, or all.
    Values {
        name: String,
        node: Option<String>,
    },
}

/// Bits of the CIB's call options.
mod option {
    pub const XPATH: i64 = 0x2;
    pub const MULTIPLE: i64 = 0x4;
    pub const CAN_CREATE: i64 = 0x8;
    pub const NO_CHILDREN: i64 = 0x20;
    pub const XPATH_ADDRESS: i64 = 0x40;
    pub const DRY_RUN: i64 = 0x200;
}

/// Legacy error numbers.
const ENXIO: i64 = -6;
const EACCES: i64 = -13;
const EEXIST: i64 = -17;
const EINVAL: i64 = -22;
const EOPNOTSUPP: i64 = -95;

/// `node` is the one whose program asks, `session` its connection.
pub fn read(server: &str, message: &Element, node: &str, session: &str) -> Asked {
    match server {
        "attrd" => attribute(message, node),
        _ => cib(message, session, server == "cib_ro"),
    }
}

fn ack(status: i32) -> Element {
    Element::new("ack").with("function", "bascule").with("line", "0").with("status", status.to_string())
}

fn attribute(message: &Element, node: &str) -> Asked {
    let text = |name| message.attr(name).filter(|v: &&str| !v.is_empty());
    let target = text("attr_host").filter(|host| *host != "localhost").map(str::to_owned);
    let (Some(task), name) = (text("task"), text("attr_name")) else { return Asked::Answer(ack(crm::PROTOCOL)) };
    match (task, name) {
        ("query", Some(name)) => {
            let all = message.attr("attr_host").is_none();
            let own = || (!all).then(|| node.to_owned());
            Asked::Values { name: name.to_owned(), node: target.or_else(own) }
        }
        ("update" | "update-both", Some(name)) => Asked::Attribute(Request::Attribute {
            node: Some(Word::cleaned(&target.unwrap_or_else(|| node.to_owned()))),
            name: Word::cleaned(name),
            value: message.attr("attr_value").map(Value::cleaned),
        }),
        // Every value is always known to all, and at once.
        ("update-delay" | "refresh", _) => Asked::Answer(ack(crm::OK)),
        ("clear-failure", _) => {
            let interval = text("attr_clear_interval").and_then(base::text::parse_interval_ms).unwrap_or(0);
            Asked::Attribute(Request::Cleanup {
                resource: text("attr_resource").map(Word::cleaned),
                node: Some(Word::cleaned(&target.unwrap_or_else(|| node.to_owned()))),
                operation: text("attr_clear_operation").map(|op| (Word::cleaned(op), interval)),
                refresh: false,
            })
        }
        _ => Asked::Answer(ack(crm::PROTOCOL)),
    }
}

/// The answer to a query of an attribute: every node of `status` that has it.
pub fn values(status: &Element, name: &str, node: Option<&str>) -> Element {
    let mut reply =
        Element::new("build_query_reply").with("t", "attrd").with("subt", "query").with("attr_version", "4");
    let mut known = false;
    for state in status.elements_named("node_state") {
        let Some(uname) = state.attr("uname").or(state.id()) else { continue };
        let number = number_of(state.id().unwrap_or(uname));
        let Some(value) = crate::status::attribute(status, number, name) else { continue };
        known = true;
        if node.is_none_or(|n| base::ids::same_node(n, uname)) {
            reply.push(Element::new("node").with("attr_host", uname).with("attr_value", value));
        }
    }
    if known {
        reply.set("attr_name", name);
        // Asked of one node, it is told of that node, value or not.
        if let Some(node) = node.filter(|_| reply.elements().next().is_none()) {
            reply.push(Element::new("node").with("attr_host", node));
        }
    }
    reply
}

fn number_of(id: &str) -> NodeId {
    id.parse().map_or_else(|_| NodeId::of_remote(id), NodeId)
}

/// The answer to a change of an attribute.
pub fn changed(response: &Response) -> Element {
    ack(match response {
        Response::Failed { code, .. } => *code,
        _ => crm::OK,
    })
}

fn cib(message: &Element, session: &str, read_only: bool) -> Asked {
    let text = |name| message.attr(name).filter(|v: &&str| !v.is_empty());
    let operation = text("cib_op").unwrap_or_default();
    let mut reply = Element::new("cib-reply").with("t", "cib").with("cib_op", operation).with("cib_clientid", session);
    for name in ["cib_callid", "cib_callopt"] {
        if let Some(value) = text(name) {
            reply.set(name, value);
        }
    }
    let op = match operation {
        "register" => return Asked::Answer(reply.with("cib_rc", "0")),
        "noop" | "cib_notify" => return Asked::Answer(reply.with("cib_rc", "0")),
        "cib_query" => Op::Query,
        "cib_create" => Op::Create,
        "cib_modify" => Op::Modify,
        "cib_replace" => Op::Replace,
        "cib_delete" => Op::Delete,
        "cib_apply_diff" => Op::Patch,
        "cib_bump" => Op::Bump,
        _ => return Asked::Answer(refused(reply, EOPNOTSUPP)),
    };
    let options = super::message::number(message, "cib_callopt").unwrap_or(0);
    let has = |bit| options & bit != 0;
    if has(option::XPATH_ADDRESS) || has(option::DRY_RUN) {
        return Asked::Answer(refused(reply, EOPNOTSUPP));
    }
    if read_only && op.writes() {
        return Asked::Answer(refused(reply, EACCES));
    }
    let target = match text("cib_section") {
        None => Target::Whole,
        Some(path) if has(option::XPATH) => Target::XPath(path.to_owned()),
        Some("cib" | "all") => Target::Whole,
        Some(section) => Target::Section(section.to_owned()),
    };
    let payload = message.child("cib_calldata").and_then(|d| d.elements().next()).cloned();
    let mut request = cib::Request::new(op, target, payload);
    request.options.allow_create = has(option::CAN_CREATE) || op == Op::Modify && !has(option::XPATH);
    request.options.multiple = has(option::MULTIPLE);
    request.options.no_children = has(option::NO_CHILDREN);
    request.client = text("cib_clientname").unwrap_or("remote").to_owned();
    Asked::Cib(Box::new(request), reply)
}

fn refused(reply: Element, code: i64) -> Element {
    reply.with("cib_rc", code.to_string())
}

/// Fills in the frame of an answer.
pub fn answered(reply: Element, response: &Response) -> Element {
    match response {
        Response::Done { answer, .. } => {
            let reply = reply.with("cib_rc", "0");
            match answer {
                Some(answer) => reply.with_child(Element::new("cib_calldata").with_child(answer.clone())),
                None => reply,
            }
        }
        Response::Failed { code, .. } => refused(
            reply,
            match *code {
                crm::NOSUCH => ENXIO,
                crm::EXISTS => EEXIST,
                crm::INSUFFICIENT_PRIV => EACCES,
                _ => EINVAL,
            },
        ),
        Response::Fencing(_) => refused(reply, EINVAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn e(text: &str) -> Element {
        xml::parse(text).expect("XML")
    }

    #[test]
    fn an_attribute_is_set_deleted_and_asked_for() {
        let ask = |text: &str| read("attrd", &e(text), "far", "s");
        let set = ask("<x t=\"attrd\" task=\"update\" attr_name=\"a\" attr_value=\"1\"/>");
        let Asked::Attribute(Request::Attribute { node, name, value }) = set else { panic!("{set:?}") };
        assert_eq!((node.as_deref(), &*name, value.as_deref()), (Some("far"), "a", Some("1")));
        let gone = ask("<x t=\"attrd\" task=\"update\" attr_name=\"a\" attr_host=\"n1\"/>");
        assert!(matches!(gone, Asked::Attribute(Request::Attribute { node: Some(n), value: None, .. }) if &*n == "n1"));
        for noise in ["<x/>", "<x task=\"update\"/>", "<x task=\"format\" attr_name=\"a\"/>"] {
            assert!(matches!(ask(noise), Asked::Answer(a) if a.attr("status") == Some("76")), "{noise}");
        }
        let status = e(
            "<status><node_state id=\"1\" uname=\"n1\"><transient_attributes id=\"1\"><instance_attributes id=\"s\">\
                        <nvpair id=\"p\" name=\"a\" value=\"5\"/></instance_attributes></transient_attributes></node_state></status>",
        );
        let told = values(&status, "a", None).to_compact();
        assert!(
            told.contains("<node attr_host=\"n1\" attr_value=\"5\"/>") && told.contains("attr_name=\"a\""),
            "{told}"
        );
        let told = values(&status, "a", Some("far")).to_compact();
        assert!(told.contains("<node attr_host=\"far\"/>"), "{told}");
        assert_eq!(values(&status, "b", None).attr("attr_name"), None);
    }

    #[test]
    fn the_cib_is_asked_and_answers_in_the_originals_words() {
        let ask = |server: &str, text: &str| read(server, &e(text), "far", "s");
        let hello = ask("cib_rw", "<cib_command t=\"cib\" cib_op=\"register\" cib_clientname=\"crm_attribute\"/>");
        assert!(
            matches!(hello, Asked::Answer(a) if a.attr("cib_clientid") == Some("s") && a.attr("cib_op") == Some("register"))
        );
        let query = "<cib_command t=\"cib\" cib_op=\"cib_query\" cib_section=\"//nvpair\" cib_callid=\"3\" cib_callopt=\"4098\"/>";
        let Asked::Cib(request, frame) = ask("cib_rw", query) else { panic!("a query") };
        assert_eq!((request.op, &request.target), (Op::Query, &Target::XPath("//nvpair".into())));
        let found = Response::Done {
            safety: crate::api::Safety::Unchanged,
            answer: Some(Element::new("nvpair")),
            version: (0, 0, 0),
        };
        let told = answered(frame.clone(), &found);
        assert_eq!((told.attr("cib_callid"), told.attr("cib_rc")), (Some("3"), Some("0")));
        assert!(told.child("cib_calldata").is_some_and(|d| d.child("nvpair").is_some()));
        let none = Response::Failed { code: crm::NOSUCH, message: String::new() };
        assert_eq!(answered(frame, &none).attr("cib_rc"), Some("-6"));
        let change = query.replace("cib_query", "cib_delete");
        assert!(matches!(ask("cib_ro", &change), Asked::Answer(a) if a.attr("cib_rc") == Some("-13")));
        assert!(
            matches!(ask("cib_rw", "<x cib_op=\"cib_erase\"/>"), Asked::Answer(a) if a.attr("cib_rc") == Some("-95"))
        );
    }
}
