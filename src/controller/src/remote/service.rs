//! The executor's side: what cluster nodes ask of this remote node, one operation at a time on each resource.
//!
//! ```text
//! exec: queued --resource free--> running --result--> told, forgotten
//!          ^                         '--recurring--> resting --interval over--> queued
//!          '- cancelled: the rounds end
//! ```
//!
//! Nodes of ours repeat operations themselves; those of Pacemaker leave that to the executor, and it tells only what changes where they
//! ask for it. When the last cluster node has gone, nothing is repeated any more; what runs stays.

use super::message::{self, op};
use super::{Proxied, ProxyOp};
use crate::api::{ExecResult, OpStatus};
use crate::record::AgentName;
use base::exit::OcfCode;
use base::{Instance, Operation, Time};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use xml::Element;

/// Resources, and operations under way or repeated.
const MAX_RESOURCES: usize = 8192;
const MAX_OPERATIONS: usize = 8192;
/// Longest time-out and interval that is taken: a year.
const MAX_MS: u64 = 366 * 24 * 3600 * 1000;

/// Bits of a request's options.
const NOTIFY_ONLY_ME: i64 = 2;
const NOTIFY_CHANGES: i64 = 4;

const ENODEV: i64 = -19;
const EINVAL: i64 = -22;
const EPROTO: i64 = -71;
const EOPNOTSUPP: i64 = -95;
const ENOSPC: i64 = -28;

/// What the daemon has to do.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    Send {
        client: u64,
        message: Element,
    },
    /// Answered by [`Service::finished`].
    Execute {
        call: u64,
        operation: Operation,
    },
    /// For a program of this node that has asked the cluster.
    Proxied {
        client: u64,
        message: Proxied,
    },
}

#[derive(Default)]
pub struct Service {
    /// This node's name, as operations call it.
    name: Option<String>,
    clients: BTreeMap<u64, Client>,
    resources: BTreeMap<String, Resource>,
    last_call: u64,
    out: VecDeque<Output>,
}

#[derive(Default)]
struct Client {
    /// Has said who it is, and is told of things.
    named: bool,
    /// Answers what programs here ask of the cluster.
    provider: bool,
}

struct Resource {
    agent: AgentName,
    running: Option<Task>,
    queued: VecDeque<Task>,
    resting: Vec<(Time, Task)>,
}

#[derive(Clone)]
struct Task {
    call: u64,
    client: u64,
    options: i64,
    operation: Operation,
    token: String,
    interval_ms: u64,
    delay_ms: u64,
    told: Option<(OcfCode, OpStatus)>,
    cancelled: bool,
}

impl Service {
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// What the cluster calls this node, if an operation has said so.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// One that has the key has connected.
    pub fn connected(&mut self, client: u64) {
        let news = Element::new("lrmd_notify").with("lrmd_op", op::NEW_CLIENT);
        self.notify_all(&news);
        self.clients.insert(client, Client::default());
    }

    pub fn disconnected(&mut self, client: u64) {
        self.clients.remove(&client);
        if self.clients.values().any(|c| c.named) {
            return;
        }
        for resource in self.resources.values_mut() {
            resource.resting.clear();
            resource.queued.retain(|t| t.interval_ms == 0);
            if let Some(task) = &mut resource.running {
                task.cancelled = true;
            }
        }
    }

    /// The cluster node that programs here speak to: the one that connected last.
    pub fn provider(&self) -> Option<u64> {
        self.clients.iter().rev().find(|(_, c)| c.provider).map(|(id, _)| *id)
    }

    /// For the cluster, through `client`.
    pub fn forward(&mut self, client: u64, message: &Proxied) {
        let message = message::stamp(message::proxied(message), 0, "notify");
        self.out.push_back(Output::Send { client, message });
    }

    pub fn receive(&mut self, now: Time, client: u64, request: &Element) {
        let Some(operation) = request.attr("lrmd_op") else { return };
        let data = request.child("lrmd_calldata").and_then(|d| d.child("lrmd_rsc"));
        let id = data.and_then(|d| d.attr("lrmd_rsc_id")).map(str::to_owned);
        let mut reply = Element::new("lrmd_reply");
        let code = match operation {
            op::REGISTER => self.admit(client, request, &mut reply),
            op::FORWARD => {
                if let Some(message) = message::read_proxied(request) {
                    self.out.push_back(Output::Proxied { client, message });
                }
                0
            }
            op::POKE => 0,
            op::CHECK => return,
            op::RSC_REGISTER => data.map_or(EINVAL, |d| self.register(d)),
            op::RSC_UNREGISTER => id.as_deref().map_or(EINVAL, |id| self.unregister(id)),
            op::RSC_INFO => id.as_deref().map_or(EINVAL, |id| self.inform(id, &mut reply)),
            op::RSC_EXEC => data.map_or(EINVAL, |d| self.exec(now, client, request, d)),
            op::RSC_CANCEL => data.map_or(EINVAL, |d| self.cancel(d)),
            op::RECURRING => self.list(id.as_deref(), &mut reply),
            _ => EOPNOTSUPP,
        };
        let asked = message::number(request, "lrmd_callid").unwrap_or(0).to_string();
        let number = message::number(request, "lrmd_remote_msg_id").and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        reply.set("lrmd_rc", code.to_string());
        reply.set("lrmd_callid", &asked);
        self.out.push_back(Output::Send { client, message: message::stamp(reply, number, "reply") });
        if matches!(operation, op::POKE | op::RSC_REGISTER) || operation == op::RSC_UNREGISTER && code == 0 {
            let mut news = Element::new("lrmd_notify")
                .with("lrmd_rc", code.to_string())
                .with("lrmd_callid", asked)
                .with("lrmd_op", operation);
            if let Some(id) = id {
                news.set("lrmd_rsc_id", id);
            }
            self.notify_all(&news);
        }
    }

    fn admit(&mut self, client: u64, request: &Element, reply: &mut Element) -> i64 {
        let version = request.attr("lrmd_protocol_version").unwrap_or_default();
        reply.set("lrmd_op", op::REGISTER);
        reply.set("lrmd_clientid", client.to_string());
        reply.set("lrmd_protocol_version", message::PROTOCOL);
        if message::version_of(version).is_none_or(|v| v < message::OLDEST) {
            return EPROTO;
        }
        let provider = request.attr("lrmd_is_ipc_provider").is_some_and(|v| matches!(v, "true" | "1"));
        self.clients.insert(client, Client { named: true, provider });
        0
    }

    fn register(&mut self, data: &Element) -> i64 {
        let text = |name| data.attr(name).unwrap_or_default().to_owned();
        let (id, class, agent) = (text("lrmd_rsc_id"), text("lrmd_class"), text("lrmd_type"));
        if id.is_empty() || class.is_empty() || agent.is_empty() {
            return EINVAL;
        }
        let agent = AgentName { class, provider: data.attr("lrmd_provider").map(str::to_owned), agent };
        if let Some(known) = self.resources.get_mut(&id) {
            known.agent = agent;
            return 0;
        }
        if self.resources.len() >= MAX_RESOURCES {
            return ENOSPC;
        }
        let fresh = Resource { agent, running: None, queued: VecDeque::new(), resting: Vec::new() };
        self.resources.insert(id, fresh);
        0
    }

    fn unregister(&mut self, id: &str) -> i64 {
        match self.resources.get_mut(id) {
            None => ENODEV,
            // It goes when it is done.
            Some(resource) if resource.running.is_some() => {
                resource.queued.clear();
                resource.resting.clear();
                0
            }
            Some(_) => {
                self.resources.remove(id);
                0
            }
        }
    }

    fn inform(&self, id: &str, reply: &mut Element) -> i64 {
        let Some(resource) = self.resources.get(id) else { return ENODEV };
        reply.set("lrmd_rsc_id", id);
        reply.set("lrmd_class", &resource.agent.class);
        if let Some(provider) = &resource.agent.provider {
            reply.set("lrmd_provider", provider);
        }
        reply.set("lrmd_type", &resource.agent.agent);
        0
    }

    fn list(&self, id: Option<&str>, reply: &mut Element) -> i64 {
        if id.is_some_and(|id| !self.resources.contains_key(id)) {
            return ENODEV;
        }
        for (name, resource) in self.resources.iter().filter(|(name, _)| id.is_none_or(|id| id == *name)) {
            let mut entry = Element::new("lrmd_rsc").with("lrmd_rsc_id", name);
            for task in resource.tasks().filter(|t| t.interval_ms > 0 && !t.cancelled) {
                entry.push(
                    Element::new("lrmd_rsc_op")
                        .with("lrmd_rsc_action", &task.operation.action)
                        .with("lrmd_rsc_interval", task.interval_ms.to_string())
                        .with("lrmd_timeout", task.operation.timeout_ms.to_string()),
                );
            }
            reply.push(entry);
        }
        0
    }

    fn exec(&mut self, now: Time, client: u64, request: &Element, data: &Element) -> i64 {
        let under_way: usize = self.resources.values().map(|r| r.tasks().count()).sum();
        let text = |name| data.attr(name).unwrap_or_default();
        let number = |name| message::number(data, name).map_or(0, |n| u64::try_from(n).unwrap_or(0).min(MAX_MS));
        let (id, action) = (text("lrmd_rsc_id").to_owned(), text("lrmd_rsc_action").to_owned());
        let Some(resource) = self.resources.get_mut(&id) else { return ENODEV };
        if action.is_empty() {
            return EINVAL;
        }
        if under_way >= MAX_OPERATIONS {
            return ENOSPC;
        }
        let (mut params, mut meta) = (BTreeMap::new(), BTreeMap::new());
        for (name, value) in message::read_attributes(data) {
            match name.strip_prefix(Operation::META_PREFIX) {
                Some(name) => drop(meta.insert(name.to_owned(), value)),
                None if name == "crm_feature_set" => {}
                None => drop(params.insert(name, value)),
            }
        }
        if let Some(name) = meta.get("on_node") {
            self.name = Some(name.clone());
        }
        let AgentName { class, provider, agent } = resource.agent.clone();
        let interval_ms = number("lrmd_rsc_interval");
        if matches!(action.as_str(), "stop" | "demote" | "promote") {
            resource.end_rounds(|_| true);
        } else {
            // A new one takes the place of the old.
            resource.end_rounds(|t| t.operation.action == action && t.interval_ms == interval_ms);
        }
        self.last_call += 1;
        let operation = Operation {
            instance: Instance { id, class, provider, agent, params },
            action,
            interval_ms,
            timeout_ms: number("lrmd_timeout"),
            meta,
            node: self.name.clone().unwrap_or_default(),
        };
        let task = Task {
            call: self.last_call,
            client,
            options: message::number(request, "lrmd_callopt").unwrap_or(0),
            operation,
            token: text("lrmd_rsc_userdata_str").to_owned(),
            interval_ms,
            delay_ms: number("lrmd_rsc_start_delay"),
            told: None,
            cancelled: false,
        };
        if task.delay_ms > 0 {
            resource.resting.push((now + Duration::from_millis(task.delay_ms), task));
        } else {
            resource.queued.push_back(task);
        }
        let call = i64::try_from(self.last_call).unwrap_or(i64::MAX);
        self.run();
        call
    }

    fn cancel(&mut self, data: &Element) -> i64 {
        let (id, action) = (data.attr("lrmd_rsc_id").unwrap_or_default(), data.attr("lrmd_rsc_action"));
        let interval_ms = message::number(data, "lrmd_rsc_interval").unwrap_or(0);
        let Some(resource) = self.resources.get_mut(id) else { return ENODEV };
        let ended =
            resource.end_rounds(|t| Some(t.operation.action.as_str()) == action && t.interval_ms as i64 == interval_ms);
        if ended.is_empty() {
            return EOPNOTSUPP;
        }
        for task in ended {
            let code = task.told.map_or(OcfCode::OK, |(code, _)| code);
            let result = ExecResult { status: OpStatus::Cancelled, ..ExecResult::done(code) };
            self.tell(&task, &result);
        }
        0
    }

    /// An operation, or a round of one, has ended.
    pub fn finished(&mut self, now: Time, call: u64, result: &ExecResult) {
        let of_call = |r: &&mut Resource| r.running.as_ref().is_some_and(|t| t.call == call);
        let Some(resource) = self.resources.values_mut().find(of_call) else { return };
        let Some(mut task) = resource.running.take() else { return };
        let seen = (result.code, result.status);
        let news = task.told != Some(seen) || task.options & NOTIFY_CHANGES == 0;
        task.told = Some(seen);
        let tells = news && !task.cancelled;
        if task.interval_ms > 0 && !task.cancelled {
            resource.resting.push((now + Duration::from_millis(task.interval_ms), task.clone()));
        }
        if tells {
            self.tell(&task, result);
        }
        self.run();
    }

    pub fn deadline(&self) -> Option<Time> {
        self.resources.values().flat_map(|r| r.resting.iter().map(|(at, _)| *at)).min()
    }

    pub fn tick(&mut self, now: Time) {
        for resource in self.resources.values_mut() {
            let (due, rest) = std::mem::take(&mut resource.resting).into_iter().partition(|(at, _)| *at <= now);
            resource.resting = rest;
            let due: Vec<(Time, Task)> = due;
            resource.queued.extend(due.into_iter().map(|(_, task)| task));
        }
        self.run();
    }

    fn run(&mut self) {
        for resource in self.resources.values_mut().filter(|r| r.running.is_none()) {
            let Some(task) = resource.queued.pop_front() else { continue };
            self.out.push_back(Output::Execute { call: task.call, operation: task.operation.clone() });
            resource.running = Some(task);
        }
    }

    fn tell(&mut self, task: &Task, result: &ExecResult) {
        let Task { operation, .. } = task;
        let mut news = Element::new("lrmd_notify")
            .with("lrmd_timeout", operation.timeout_ms.to_string())
            .with("lrmd_rsc_interval", task.interval_ms.to_string())
            .with("lrmd_rsc_start_delay", task.delay_ms.to_string())
            .with("lrmd_exec_rc", result.code.0.to_string())
            .with("lrmd_exec_op_status", result.status.number().to_string())
            .with("lrmd_callid", task.call.to_string())
            .with("lrmd_rsc_deleted", "0")
            .with("lrmd_exec_time", result.exec_ms.to_string())
            .with("lrmd_queue_time", result.queue_ms.to_string())
            .with("lrmd_op", op::RSC_EXEC)
            .with("lrmd_rsc_id", &operation.instance.id)
            .with("lrmd_rsc_action", &operation.action)
            .with("lrmd_rsc_userdata_str", &task.token);
        if !result.reason.is_empty() {
            news.set("lrmd_rsc_exit_reason", &*result.reason);
        }
        news.push(message::attributes(operation));
        if task.options & NOTIFY_ONLY_ME == 0 {
            return self.notify_all(&news);
        }
        if self.clients.contains_key(&task.client) {
            let message = message::stamp(news, 0, "notify");
            self.out.push_back(Output::Send { client: task.client, message });
        }
    }

    fn notify_all(&mut self, news: &Element) {
        for (client, _) in self.clients.iter().filter(|(_, c)| c.named) {
            let message = message::stamp(news.clone(), 0, "notify");
            self.out.push_back(Output::Send { client: *client, message });
        }
    }

    /// Asks the cluster to move everything away from here; false if no cluster node is there that could.
    pub fn ask_to_end(&mut self) -> bool {
        let Some(client) = self.provider() else { return false };
        self.forward(client, &Proxied { session: "0".to_owned(), op: ProxyOp::ShutdownAsked });
        true
    }
}

impl Resource {
    fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.running.iter().chain(&self.queued).chain(self.resting.iter().map(|(_, t)| t))
    }

    /// Ends repetition; what runs runs to its end, and is not told.
    fn end_rounds(&mut self, chosen: impl Fn(&Task) -> bool) -> Vec<Task> {
        let chosen = |t: &Task| t.interval_ms > 0 && !t.cancelled && chosen(t);
        let mut ended: Vec<Task> = Vec::new();
        if let Some(task) = self.running.as_mut().filter(|t| chosen(t)) {
            ended.push(task.clone());
            task.cancelled = true;
        }
        ended.extend(self.queued.iter().chain(self.resting.iter().map(|(_, t)| t)).filter(|t| chosen(t)).cloned());
        self.queued.retain(|t| !chosen(t));
        self.resting.retain(|(_, t)| !chosen(t));
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::super::session::{Event, Session};
    use super::*;

    /// A cluster node of ours and the executor, joined without a network.
    struct Pair {
        service: Service,
        session: Session,
        events: Vec<Event>,
        ran: Vec<(u64, String)>,
    }

    impl Pair {
        fn new() -> Pair {
            let mut pair =
                Pair { service: Service::default(), session: Session::begin("n1"), events: vec![], ran: vec![] };
            pair.service.connected(1);
            pair.pump();
            assert_eq!(pair.events, [Event::Ready]);
            pair
        }

        fn pump(&mut self) {
            loop {
                let sent = self.session.take_out();
                let idle = sent.is_empty();
                sent.iter().for_each(|m| self.service.receive(Time::ZERO, 1, m));
                let mut heard = false;
                while let Some(output) = self.service.poll_output() {
                    heard = true;
                    match output {
                        Output::Send { client: 1, message } => self.events.extend(self.session.receive(&message)),
                        Output::Execute { call, operation } => {
                            self.ran.push((call, format!("{} {}", operation.instance.agent, operation.action)));
                        }
                        _ => {}
                    }
                }
                if idle && !heard {
                    return;
                }
            }
        }
    }

    fn operation(action: &str) -> Operation {
        let instance = Instance {
            id: "d".into(),
            class: "ocf".into(),
            provider: Some("heartbeat".into()),
            agent: "Dummy".into(),
            params: [("fake".to_owned(), "1".to_owned())].into(),
        };
        let meta = [("on_node".to_owned(), "far".to_owned())].into();
        Operation { instance, action: action.into(), timeout_ms: 1000, meta, ..Operation::default() }
    }

    #[test]
    fn both_sides_understand_each_other() {
        let mut pair = Pair::new();
        assert!(pair.session.exec(5, &operation("start")) && pair.session.exec(6, &operation("monitor")));
        pair.pump();
        assert_eq!(pair.ran, [(1, "Dummy start".to_owned())], "one at a time");
        assert_eq!(pair.service.name(), Some("far"));
        pair.service.finished(Time::ZERO, 1, &ExecResult::done(OcfCode::OK));
        pair.pump();
        assert!(matches!(pair.events.last(), Some(Event::Done { call: 5, result }) if result.code == OcfCode::OK));
        assert_eq!(pair.ran.len(), 2);
        pair.session.poke();
        pair.pump();
        assert_eq!(pair.events.last(), Some(&Event::Poked));
        pair.service.connected(2);
        pair.pump();
        assert_eq!(pair.events.last(), Some(&Event::Rival));
        assert_eq!(pair.service.provider(), Some(1));
    }

    fn request(operation: &str, data: Element) -> Element {
        Element::new("lrmd_command")
            .with("lrmd_op", operation)
            .with("lrmd_callopt", "4")
            .with("lrmd_remote_msg_id", "9")
            .with_child(Element::new("lrmd_calldata").with_child(data))
    }

    fn monitor() -> Element {
        Element::new("lrmd_rsc")
            .with("lrmd_rsc_id", "d")
            .with("lrmd_rsc_action", "monitor")
            .with("lrmd_rsc_interval", "100")
    }

    #[test]
    fn an_operation_is_repeated_and_tells_what_changes() {
        let mut service = Service::default();
        service.connected(1);
        service.receive(Time::ZERO, 1, &message::hello("pacemaker"));
        service.receive(Time::ZERO, 1, &message::register(&operation("monitor")));
        service.receive(Time::ZERO, 1, &request(op::RSC_EXEC, monitor()));
        let count = |service: &mut Service| {
            let (mut runs, mut told) = (0, 0);
            while let Some(output) = service.poll_output() {
                match output {
                    Output::Execute { .. } => runs += 1,
                    Output::Send { message, .. } if message.attr("lrmd_exec_rc").is_some() => told += 1,
                    _ => {}
                }
            }
            (runs, told)
        };
        assert_eq!(count(&mut service), (1, 0));
        let mut at = Time::ZERO;
        for (code, tells) in [(OcfCode::OK, 1), (OcfCode::OK, 0), (OcfCode::NOT_RUNNING, 1), (OcfCode::NOT_RUNNING, 0)]
        {
            service.finished(at, 1, &ExecResult::done(code));
            assert_eq!(count(&mut service), (0, tells));
            at = service.deadline().expect("the next round");
            service.tick(at);
            assert_eq!(count(&mut service), (1, 0));
        }
        service.finished(at, 1, &ExecResult::done(OcfCode::NOT_RUNNING));
        service.receive(at, 1, &request(op::RSC_CANCEL, monitor()));
        assert_eq!((service.deadline(), count(&mut service).1), (None, 1));
        service.receive(at, 1, &request(op::RSC_EXEC, monitor()));
        service.disconnected(1);
        service.finished(at, 2, &ExecResult::done(OcfCode::OK));
        assert_eq!(service.deadline(), None, "nobody is left who would listen");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let mut service = Service::default();
        service.connected(1);
        let mut code = |message: &Element| {
            service.receive(Time::ZERO, 1, message);
            let mut answered = None;
            while let Some(output) = service.poll_output() {
                if let Output::Send { message, .. } = output {
                    answered = answered.or(message::number(&message, "lrmd_rc"));
                }
            }
            answered
        };
        assert_eq!(code(&Element::new("x")), None);
        assert_eq!(code(&Element::new("x").with("lrmd_op", "y")), Some(EOPNOTSUPP));
        assert_eq!(code(&request(op::RSC_EXEC, monitor())), Some(ENODEV));
        assert_eq!(code(&request(op::RSC_REGISTER, Element::new("lrmd_rsc"))), Some(EINVAL));
        assert_eq!(code(&Element::new("x").with("lrmd_op", op::RSC_EXEC)), Some(EINVAL));
        assert_eq!(code(&request(op::RSC_CANCEL, monitor())), Some(ENODEV));
        assert_eq!(code(&message::hello("n").with("lrmd_protocol_version", "0.9")), Some(EPROTO));
    }
}
