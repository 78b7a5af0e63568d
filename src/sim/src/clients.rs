//! What operators do, and what they were told.

use crate::plan::Wish;
use crate::world::{What, World};
use base::outside::Word;
use base::{NodeId, Time};
use controller::{FenceRequest, Input, Request, Response, Safety};
use std::collections::BTreeMap;

/// A change that can be found again.
#[derive(Clone, Debug)]
pub struct Asked {
    pub at: Time,
    pub node: NodeId,
    pub life: u64,
    pub what: Mark,
    pub answer: Option<Answer>,
    /// Whose disk held it when it was told as safe.
    pub holders: Vec<NodeId>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mark {
    /// A property with this name.
    Property(String),
    /// A transient attribute of the node that was asked.
    Attribute(String),
    Other,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    Safe,
    Provisional,
    Unchanged,
    Refused,
}

#[derive(Default)]
pub struct Clients {
    pub asked: BTreeMap<u64, Asked>,
    last: u64,
}

fn word(text: &str) -> Word {
    Word::checked(text).unwrap_or_else(|e| unreachable!("the simulator's own word {text}: {e}"))
}

fn element(text: &str) -> xml::Element {
    xml::parse(text).unwrap_or_else(|e| unreachable!("the simulator's own request: {e}\n{text}"))
}

fn upsert(section: &str, text: &str) -> Request {
    Request::Cib(cib::Request::upsert(section, element(&format!("<{section}>{text}</{section}>"))))
}

fn delete(path: &str) -> Request {
    Request::Cib(cib::Request::delete_xpath(path, false))
}

fn property(name: &str, value: &str) -> Request {
    let pair = format!("<nvpair id=\"opt-{name}\" name=\"{name}\" value=\"{value}\"/>");
    upsert("crm_config", &format!("<cluster_property_set id=\"cib-bootstrap-options\">{pair}</cluster_property_set>"))
}

fn standby(of: NodeId, value: &str) -> Request {
    let pair = format!("<nvpair id=\"nodes-{of}-standby\" name=\"standby\" value=\"{value}\"/>");
    let set = format!("<instance_attributes id=\"nodes-{of}\">{pair}</instance_attributes>");
    upsert("nodes", &format!("<node id=\"{of}\" uname=\"node{of}\">{set}</node>"))
}

impl World {
    pub(crate) fn wish(&mut self, index: usize, node: NodeId, wish: Wish) {
        let (mark, request) = match wish {
            Wish::Write => (Mark::Property(format!("w{index}")), property(&format!("w{index}"), "v")),
            Wish::Attribute => {
                let value = base::outside::Value::checked(index.to_string()).ok();
                let name = format!("a{index}");
                (Mark::Attribute(name.clone()), Request::Attribute { node: None, name: word(&name), value })
            }
            Wish::Standby { of } => (Mark::Other, standby(of, "on")),
            Wish::Move { resource, to } => {
                let id = format!("cli-{index}");
                let text =
                    format!("<rsc_location id=\"{id}\" rsc=\"{resource}\" node=\"node{to}\" score=\"INFINITY\"/>");
                (Mark::Other, upsert("constraints", &text))
            }
            Wish::Ban { resource, from } => {
                let id = format!("cli-{index}");
                let text =
                    format!("<rsc_location id=\"{id}\" rsc=\"{resource}\" node=\"node{from}\" score=\"-INFINITY\"/>");
                (Mark::Other, upsert("constraints", &text))
            }
            Wish::Cleanup => (Mark::Other, cleanup(false)),
            Wish::Refresh => (Mark::Other, cleanup(true)),
            Wish::Change { resource, value } => (Mark::Other, self.change(&resource, value)),
            Wish::Delete { resource } => {
                self.book.deleted = true;
                (Mark::Other, delete(&format!("//primitive[@id='{resource}']")))
            }
            Wish::Disable { resource } => (Mark::Other, target_role(&self.plan.configuration, &resource, "Stopped")),
            Wish::Maintenance => (Mark::Other, property("maintenance-mode", "true")),
            Wish::Tickets { granted } => (Mark::Other, tickets(&self.plan.configuration, granted)),
            Wish::Stop => {
                self.host_mut(node).wanted = false;
                (Mark::Other, Request::Shutdown { cancel: false })
            }
            Wish::Fence { of } => {
                let action = controller::fencing::FenceAction::Reboot;
                let target = word(&format!("node{of}"));
                let client = word("sim");
                let request = FenceRequest { target, action, timeout_ms: 0, delay_ms: 0, tolerance_ms: 0, client };
                self.book.fenced_by_hand(of, self.now);
                (Mark::Other, Request::Fence(request))
            }
        };
        self.ask(node, mark, request);
    }

    pub(crate) fn unwish(&mut self, index: usize, node: NodeId, wish: Wish) {
        match wish {
            Wish::Standby { of } => self.ask(node, Mark::Other, standby(of, "off")),
            Wish::Move { .. } | Wish::Ban { .. } => {
                self.ask(node, Mark::Other, delete(&format!("//rsc_location[@id='cli-{index}']")));
            }
            Wish::Delete { resource } => self.bring_back(node, &resource),
            Wish::Disable { resource } => {
                let request = target_role(&self.plan.configuration, &resource, "Started");
                self.ask(node, Mark::Other, request);
            }
            Wish::Maintenance => self.ask(node, Mark::Other, property("maintenance-mode", "false")),
            Wish::Tickets { .. } => self.ask(node, Mark::Other, tickets(&self.plan.configuration, true)),
            Wish::Stop => {
                self.host_mut(node).wanted = true;
                self.after(1_000, node, 0, What::Start);
            }
            _ => {}
        }
    }

    /// The operator undoes at a healthy cluster what was asked of an ailing one.
    pub fn tidy(&mut self) {
        let node = self.site.nodes[0];
        // Where an agent has said that something is not there which is, everything is looked for anew.
        let mut requests = vec![property("maintenance-mode", "false"), cleanup(!self.book.monitors_trusted)];
        if !self.plan.configuration.tickets().is_empty() {
            requests.push(tickets(&self.plan.configuration, true));
        }
        for (index, step) in self.plan.steps.clone().into_iter().enumerate() {
            let crate::plan::Deed::Client { wish, .. } = step.deed else { continue };
            match wish {
                Wish::Standby { of } => requests.push(standby(of, "off")),
                Wish::Move { .. } | Wish::Ban { .. } => {
                    requests.push(delete(&format!("//rsc_location[@id='cli-{index}']")));
                }
                Wish::Disable { resource } => {
                    requests.push(target_role(&self.plan.configuration, &resource, "Started"));
                }
                Wish::Delete { resource } => self.bring_back(node, &resource),
                _ => {}
            }
        }
        for request in requests {
            self.ask(node, Mark::Other, request);
        }
    }

    fn bring_back(&mut self, node: NodeId, resource: &str) {
        let Some(primitive) = self.plan.configuration.primitive(resource) else { return };
        let inner = primitive.to_xml(&primitive.value);
        let text = match self.plan.configuration.group_of(resource) {
            Some(group) => format!("<group id=\"{group}\">{inner}</group>"),
            None => inner,
        };
        self.ask(node, Mark::Other, upsert("resources", &text));
    }

    fn change(&self, resource: &str, value: u64) -> Request {
        let Some(primitive) = self.plan.configuration.primitive(resource) else { return cleanup(false) };
        let value = if primitive.agent == "IPaddr2" {
            format!("{}.{value}", primitive.value.replace("10.0.0.", "10.0."))
        } else {
            value.to_string()
        };
        let set = primitive.to_xml(&value);
        let text = match self.plan.configuration.group_of(resource) {
            Some(group) => format!("<group id=\"{group}\">{set}</group>"),
            None => match self
                .plan
                .configuration
                .clones
                .iter()
                .find(|c| self.plan.configuration.primitives[c.of].id == resource)
            {
                Some(clone) => format!("<clone id=\"{}\">{set}</clone>", clone.id),
                None => set,
            },
        };
        upsert("resources", &text)
    }

    pub fn ask(&mut self, node: NodeId, what: Mark, request: Request) {
        self.clients.last += 1;
        let client = self.clients.last;
        let host = self.host(node);
        if !host.runs() || host.process.as_ref().is_some_and(|p| p.hung_until.is_some()) {
            return;
        }
        let asked = Asked { at: self.now, node, life: host.lives, what, answer: None, holders: Vec::new() };
        self.clients.asked.insert(client, asked);
        if let Some(p) = &mut self.host_mut(node).process {
            p.clients.insert(client);
        }
        self.input(node, Input::Client { id: client, request });
        self.drain(node);
    }

    pub(crate) fn answered(&mut self, node: NodeId, client: u64, response: &Response) {
        let answer = match response {
            Response::Done { safety: Safety::Safe, .. } => Answer::Safe,
            Response::Done { safety: Safety::Provisional, .. } => Answer::Provisional,
            Response::Done { .. } | Response::Fencing(_) => Answer::Unchanged,
            Response::Failed { .. } => Answer::Refused,
        };
        if let Some(asked) = self.clients.asked.get_mut(&client) {
            asked.answer = Some(answer);
            let what = asked.what.clone();
            if answer == Answer::Safe {
                self.check_safe(client, &what);
            }
            self.tell(node, || format!("client {client} ({what:?}) is told {answer:?}: {}", shown(response)));
        }
    }
}

fn shown(response: &Response) -> String {
    match response {
        Response::Failed { code, message } => format!("{code} {message}"),
        _ => String::new(),
    }
}

fn tickets(configuration: &crate::generate::Configuration, granted: bool) -> Request {
    let states =
        configuration.tickets().into_iter().map(|t| format!("<ticket_state id=\"{t}\" granted=\"{granted}\"/>"));
    let states: std::collections::BTreeSet<String> = states.collect();
    upsert("status", &format!("<tickets>{}</tickets>", states.into_iter().collect::<String>()))
}

fn cleanup(refresh: bool) -> Request {
    Request::Cleanup { resource: None, node: None, operation: None, refresh }
}

fn target_role(configuration: &crate::generate::Configuration, resource: &str, role: &str) -> Request {
    let pair = format!("<nvpair id=\"{resource}-role\" name=\"target-role\" value=\"{role}\"/>");
    let meta = format!("<meta_attributes id=\"{resource}-meta\">{pair}</meta_attributes>");
    let kind = if configuration.groups.iter().any(|(g, _)| g == resource) { "group" } else { "primitive" };
    let rest = if kind == "primitive" { " class=\"ocf\" provider=\"heartbeat\"" } else { "" };
    let agent = configuration.primitive(resource).map(|p| format!(" type=\"{}\"", p.agent)).unwrap_or_default();
    upsert("resources", &format!("<{kind} id=\"{resource}\"{rest}{agent}>{meta}</{kind}>"))
}
