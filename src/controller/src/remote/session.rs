//! A cluster node's side of one connection to a remote executor.
//!
//! ```text
//! hello --register's reply--> ready --exec: [register resource] exec--> reply (refused?) .. notification: done
//! ```
//!
//! Results find their way by a token that comes back with them, so that neither order nor numbers of the other side matter. What is
//! repeated is asked for each time: the remote node holds nothing that another cluster node would not know of.

use super::message::{self, op};
use super::{Proxied, message::OLDEST};
use crate::api::{ExecResult, OpStatus};
use crate::record::AgentName;
use base::exit::OcfCode;
use base::{Operation, Reason};
use std::collections::{BTreeMap, BTreeSet};
use xml::Element;

/// Calls under way over one connection.
const MAX_CALLS: usize = 8192;
/// Begins a token.
const TOKEN: &str = "bascule:";

/// What a message of the other side means.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// It takes orders now.
    Ready,
    /// It will not.
    Refused(String),
    Done {
        call: u64,
        result: ExecResult,
    },
    /// It is alive.
    Poked,
    /// Another cluster node has connected.
    Rival,
    Proxied(Proxied),
}

#[derive(Default)]
pub struct Session {
    number: u32,
    ready: bool,
    /// Agents by resource, as the other side knows them.
    registered: BTreeMap<String, AgentName>,
    calls: BTreeSet<u64>,
    /// Calls by the number of their request.
    requests: BTreeMap<u32, u64>,
    out: Vec<Element>,
}

impl Session {
    /// A connection was made; `client` is what this node calls itself.
    pub fn begin(client: &str) -> Session {
        let mut session = Session::default();
        session.send(message::hello(client));
        session
    }

    /// Messages to be sent, in order.
    pub fn take_out(&mut self) -> Vec<Element> {
        std::mem::take(&mut self.out)
    }

    pub fn is_ready(&self) -> bool {
        self.ready
    }

    pub fn poke(&mut self) {
        self.send(message::poke());
    }

    /// Asks for one run; [`Event::Done`] of the same call answers. False if that is one too many.
    pub fn exec(&mut self, call: u64, operation: &Operation) -> bool {
        if self.calls.len() >= MAX_CALLS {
            return false;
        }
        let agent = AgentName::of(&operation.instance);
        let resource = operation.instance.id.clone();
        if self.registered.get(&resource) != Some(&agent) {
            self.send(message::register(operation));
            self.registered.insert(resource, agent);
        }
        let request = self.send(message::exec(operation, &format!("{TOKEN}{call}")));
        self.calls.insert(call);
        self.requests.insert(request, call);
        true
    }

    /// Nobody waits for this call any more. What runs there runs to its end or its deadline.
    pub fn give_up(&mut self, call: u64) {
        self.calls.remove(&call);
        self.requests.retain(|_, c| *c != call);
    }

    pub fn forward(&mut self, proxied: &Proxied) {
        self.send(message::proxied(proxied));
    }

    pub fn receive(&mut self, message: &Element) -> Option<Event> {
        match message.attr("lrmd_remote_msg_type") {
            Some("notify") => self.notified(message),
            Some("reply") => self.replied(message),
            _ => None,
        }
    }

    fn notified(&mut self, message: &Element) -> Option<Event> {
        if message.attr("lrmd_ipc_session").is_some() {
            return message::read_proxied(message).map(Event::Proxied);
        }
        match message.attr("lrmd_op")? {
            op::RSC_EXEC => {
                let call = message.attr("lrmd_rsc_userdata_str")?.strip_prefix(TOKEN)?.parse().ok()?;
                self.done(call, message::result(message))
            }
            op::POKE => Some(Event::Poked),
            op::NEW_CLIENT => Some(Event::Rival),
            _ => None,
        }
    }

    fn replied(&mut self, message: &Element) -> Option<Event> {
        let code = message::number(message, "lrmd_rc").unwrap_or(0);
        if message.attr("lrmd_op") == Some(op::REGISTER) {
            return Some(self.admitted(message, code));
        }
        let request = u32::try_from(message::number(message, "lrmd_remote_msg_id")?).ok()?;
        let call = self.requests.remove(&request)?;
        if code >= 0 {
            return None;
        }
        let reason = format!("the remote executor refused the operation (error {})", -code);
        let refused = ExecResult { status: OpStatus::Error, ..ExecResult::done(OcfCode::ERROR) };
        self.registered.clear();
        self.done(call, ExecResult { reason: Reason::cleaned(&reason), ..refused })
    }

    fn admitted(&mut self, message: &Element, code: i64) -> Event {
        let version = message.attr("lrmd_protocol_version").unwrap_or("1.0");
        if code != 0 || message::version_of(version).is_none_or(|v| v < OLDEST) {
            let (major, minor) = OLDEST;
            return Event::Refused(format!(
                "the remote executor speaks version {version} of the protocol (error {}), expected {major}.{minor} or later",
                -code
            ));
        }
        self.ready = true;
        Event::Ready
    }

    fn done(&mut self, call: u64, result: ExecResult) -> Option<Event> {
        self.requests.retain(|_, c| *c != call);
        self.calls.remove(&call).then_some(Event::Done { call, result })
    }

    fn send(&mut self, message: Element) -> u32 {
        self.number = self.number.wrapping_add(1).max(1);
        self.out.push(message::stamp(message, self.number, "request"));
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Instance;

    fn operation(agent: &str) -> Operation {
        let params = [("fake", "1"), ("0odd", "x<y")].map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        let instance = Instance {
            id: "d".into(),
            class: "ocf".into(),
            provider: Some("heartbeat".into()),
            agent: agent.into(),
            params,
        };
        let meta = [("timeout".to_owned(), "20000".to_owned())].into();
        let (action, node) = ("start".to_owned(), "far".to_owned());
        Operation { instance, action, timeout_ms: 20_000, meta, node, ..Operation::default() }
    }

    fn notify(token: &str, code: &str, status: &str) -> Element {
        Element::new("lrmd_notify")
            .with("lrmd_remote_msg_type", "notify")
            .with("lrmd_op", op::RSC_EXEC)
            .with("lrmd_rsc_userdata_str", token)
            .with("lrmd_exec_rc", code)
            .with("lrmd_exec_op_status", status)
            .with("lrmd_exec_time", "12")
    }

    fn reply(number: &str, code: &str) -> Element {
        Element::new("lrmd_reply")
            .with("lrmd_remote_msg_type", "reply")
            .with("lrmd_remote_msg_id", number)
            .with("lrmd_rc", code)
    }

    #[test]
    fn from_hello_to_a_result() {
        let mut session = Session::begin("n1");
        let hello = session.take_out();
        assert_eq!(hello[0].attr("lrmd_op"), Some("register"));
        assert!(!session.is_ready());
        let admitted = reply("1", "0").with("lrmd_op", "register").with("lrmd_protocol_version", "1.2");
        assert_eq!(session.receive(&admitted), Some(Event::Ready));
        assert!(session.exec(7, &operation("Dummy")));
        let out = session.take_out();
        assert_eq!(out.iter().filter_map(|m| m.attr("lrmd_op")).collect::<Vec<_>>(), [op::RSC_REGISTER, op::RSC_EXEC]);
        let data = out[1].child("lrmd_calldata").and_then(|d| d.child("lrmd_rsc")).expect("data");
        let sent = message::read_attributes(data);
        assert_eq!(sent.get("fake").map(String::as_str), Some("1"));
        assert_eq!(sent.get("0odd").map(String::as_str), Some("x<y"));
        assert_eq!(sent.get("CRM_meta_timeout").map(String::as_str), Some("20000"));
        assert_eq!(session.receive(&reply("3", "41")), None, "taken");
        let done = session.receive(&notify("bascule:7", "0", "0"));
        assert!(
            matches!(&done, Some(Event::Done { call: 7, result }) if result.code == OcfCode::OK && result.exec_ms == 12)
        );
        assert_eq!(session.receive(&notify("bascule:7", "0", "0")), None, "once");
        assert!(session.exec(8, &operation("Dummy")));
        assert_eq!(session.take_out().len(), 1, "it knows the resource by now");
        assert!(session.exec(9, &operation("Other")));
        assert_eq!(session.take_out().len(), 2, "another agent under the same name");
    }

    #[test]
    fn refusals_and_noise() {
        let mut session = Session::begin("n1");
        session.take_out();
        let old = reply("1", "-71").with("lrmd_op", "register").with("lrmd_protocol_version", "0.9");
        assert!(matches!(session.receive(&old), Some(Event::Refused(_))));
        assert!(session.exec(7, &operation("Dummy")));
        let refused = session.receive(&reply("3", "-19"));
        assert!(matches!(&refused, Some(Event::Done { call: 7, result }) if result.status == OpStatus::Error));
        session.take_out();
        assert!(session.exec(8, &operation("Dummy")));
        assert_eq!(session.take_out().len(), 2, "it is told the resource anew");
        session.give_up(8);
        for noise in
            [notify("bascule:8", "0", "0"), notify("bascule:x", "0", "0"), notify("8", "0", "0"), reply("x", "-1")]
        {
            assert_eq!(session.receive(&noise), None);
        }
        assert_eq!(session.receive(&Element::new("x")), None);
    }

    #[test]
    fn what_programs_say_through_it() {
        for op in [
            super::super::ProxyOp::New { server: "attrd".into() },
            super::super::ProxyOp::Request { id: 4, user: "root".into(), body: Element::new("attrd").with("x", "1") },
            super::super::ProxyOp::Response { id: 4, body: Element::new("ack") },
            super::super::ProxyOp::Event { body: Element::new("e") },
            super::super::ProxyOp::Destroy,
            super::super::ProxyOp::ShutdownAsked,
            super::super::ProxyOp::ShutdownAnswer { granted: true },
        ] {
            let proxied = Proxied { session: "s".into(), op };
            assert_eq!(message::read_proxied(&message::proxied(&proxied)), Some(proxied));
        }
    }
}
