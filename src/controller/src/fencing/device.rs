//! Fence devices: primitives of class `stonith`, with the parameters by which the cluster uses them (`pcmk_*`).
//!
//! What an agent says of itself ([`Facts`]) is known only where it is installed, so the DC plans without it: a device whose rule for
//! targets depends on it "may" fence anybody, and the executor finds out.

use super::FenceAction;
use base::Score;
use base::ids::same_node;
use base::{secret, text};
use cib::config::{self, Index};
use std::collections::BTreeMap;
use std::fmt;
use xml::Element;

/// Name of the device that stands for a target's own watchdog; it needs no primitive.
pub const WATCHDOG: &str = "watchdog";
/// A delay decides which half wins; a longer one (`600h`, say) would let a loss wait for as long.
pub const MAX_DELAY_MS: u64 = 600_000;
/// Names in what an agent lists; no device has as many outlets.
pub const MAX_LISTED: usize = 4096;

/// How it is found out whom a device can fence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HostCheck {
    StaticList,
    /// The agent's `list`.
    DynamicList,
    /// The agent's `status` of the target.
    Status,
    /// Everybody.
    None,
    /// Not said: list if the agent can, else status if it can, else everybody.
    ByAgent,
}

impl HostCheck {
    pub fn name(self) -> &'static str {
        match self {
            HostCheck::StaticList => "static-list",
            HostCheck::DynamicList => "dynamic-list",
            HostCheck::Status => "status",
            HostCheck::None | HostCheck::ByAgent => "none",
        }
    }
}

/// What an agent's meta-data say.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Facts {
    pub list: bool,
    pub status: bool,
    pub reboot: bool,
    /// It has an `on` that is to run whenever a node comes up.
    pub automatic: bool,
    /// `on` has to run on the target itself.
    pub on_target: bool,
    pub has_plug: bool,
    pub has_port: bool,
}

/// Whether a device can fence a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Covers {
    Yes,
    /// The agent has to be asked.
    Perhaps,
    No,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Device {
    pub id: String,
    pub agent: String,
    /// All instance attributes; [`Device::input`] says what the agent gets of them.
    pub params: BTreeMap<String, String>,
    pub check: HostCheck,
    pub listed: Vec<String>,
    /// Node names and what the device calls them.
    pub map: Vec<(String, String)>,
    pub priority: i64,
    /// Why it is not to be used.
    pub disabled: Option<String>,
}

/// Secrets do not appear, wherever it is printed.
impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Device");
        out.field("id", &self.id).field("agent", &self.agent).field("params", &secret::all_shown(&self.params));
        out.field("priority", &self.priority).field("disabled", &self.disabled).finish()
    }
}

/// All devices in the order of the document.
pub fn all(cib: &Element) -> Vec<Device> {
    let index = Index::new(cib);
    let mut found = Vec::new();
    if let Some(resources) = cib.child("configuration").and_then(|c| c.child("resources")) {
        collect(resources, &index, None, &mut found);
    }
    found
}

pub fn find(cib: &Element, id: &str) -> Option<Device> {
    all(cib).into_iter().find(|d| d.id == id)
}

fn collect(holder: &Element, index: &Index<'_>, stopped: Option<&str>, found: &mut Vec<Device>) {
    for e in holder.elements() {
        let off = |e: &Element| {
            let meta = config::values(e, "meta_attributes", index);
            meta.get("target-role").is_some_and(|r| r.eq_ignore_ascii_case("stopped"))
        };
        let stopped = stopped.or_else(|| e.id().filter(|_| off(e)));
        match e.name() {
            "primitive" if e.attr("class") == Some("stonith") => found.extend(read(e, index, stopped)),
            "group" | "clone" | "master" => collect(e, index, stopped, found),
            _ => {}
        }
    }
}

fn read(primitive: &Element, index: &Index<'_>, stopped: Option<&str>) -> Option<Device> {
    let params: BTreeMap<String, String> = config::values(primitive, "instance_attributes", index)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let meta = config::values(primitive, "meta_attributes", index);
    let priority = meta.get("priority").or(params.get("priority").map(String::as_str).as_ref()).copied();
    let priority = priority.and_then(Score::parse).map_or(0, |s| i64::from(s.value()));
    let disabled = stopped.map(|by| format!("target-role of {by} is Stopped"));
    Some(Device { priority, disabled, ..Device::new(primitive.id()?, primitive.attr("type")?, params) })
}

/// `node1:1;node2:2,3`: entries between semicolons or white space, a colon or an equals sign within; a backslash takes the next
/// character as it is.
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let (mut name, mut word) = (None, String::new());
    let mut chars = text.chars().chain(std::iter::once(';'));
    while let Some(c) = chars.next() {
        match c {
            '\\' => word.extend(chars.next()),
            ':' | '=' if name.is_none() => name = Some(std::mem::take(&mut word)),
            ';' | ' ' | '\t' | '\n' => {
                let port = std::mem::take(&mut word);
                if let Some(name) = name.take().filter(|n| !n.is_empty() && !port.is_empty()) {
                    out.push((name, port));
                }
            }
            c => word.push(c),
        }
    }
    out
}

/// A list of names between commas, semicolons or white space.
pub fn names(text: &str) -> Vec<String> {
    let between = |c: char| matches!(c, ';' | ',') || c.is_whitespace();
    let words = text.split(between).map(|w| w.trim_matches(['\'', '"'])).filter(|w| !w.is_empty());
    words.take(MAX_LISTED).map(str::to_owned).collect()
}

impl Device {
    /// With what follows from its parameters.
    pub fn new(id: &str, agent: &str, params: BTreeMap<String, String>) -> Device {
        let map = pairs(params.get("pcmk_host_map").map_or("", String::as_str));
        let listed = names(params.get("pcmk_host_list").map_or("", String::as_str));
        let check = match params.get("pcmk_host_check").map(String::as_str) {
            Some("static-list") => HostCheck::StaticList,
            Some("dynamic-list") => HostCheck::DynamicList,
            Some("status") => HostCheck::Status,
            Some("none") => HostCheck::None,
            _ if !map.is_empty() || !listed.is_empty() => HostCheck::StaticList,
            _ => HostCheck::ByAgent,
        };
        let (id, agent) = (id.to_owned(), agent.to_owned());
        Device { id, agent, params, check, listed, map, priority: 0, disabled: None }
    }

    /// What the device calls `node`.
    pub fn port<'a>(&'a self, node: &'a str) -> &'a str {
        self.map.iter().find(|(name, _)| same_node(name, node)).map_or(node, |(_, port)| port)
    }

    pub fn covers(&self, node: &str) -> Covers {
        let mapped = self.map.iter().any(|(name, _)| same_node(name, node));
        match self.check {
            HostCheck::None => Covers::Yes,
            HostCheck::StaticList if mapped || self.listed.iter().any(|n| same_node(n, node)) => Covers::Yes,
            HostCheck::StaticList => Covers::No,
            HostCheck::DynamicList | HostCheck::Status | HostCheck::ByAgent => Covers::Perhaps,
        }
    }

    /// Whether the device names the node itself, rather than to take anybody.
    pub fn names(&self, node: &str) -> bool {
        self.check == HostCheck::StaticList && self.covers(node) == Covers::Yes
    }

    /// How targets are found, once it is known what the agent can do.
    pub fn check_with(&self, facts: Option<&Facts>) -> HostCheck {
        match (self.check, facts) {
            (HostCheck::ByAgent, Some(f)) if f.list => HostCheck::DynamicList,
            (HostCheck::ByAgent, Some(f)) if f.status => HostCheck::Status,
            (HostCheck::ByAgent, _) => HostCheck::None,
            (check, _) => check,
        }
    }

    /// `pcmk_<action>_timeout`, or `default_ms`.
    pub fn timeout_ms(&self, action: &str, default_ms: u64) -> u64 {
        let own = self.params.get(&format!("pcmk_{action}_timeout")).and_then(|v| text::parse_interval_ms(v));
        own.filter(|ms| *ms > 0).unwrap_or(default_ms)
    }

    /// How often the agent is run within its time.
    pub fn tries(&self, action: &str) -> u32 {
        let own = self.params.get(&format!("pcmk_{action}_retries")).and_then(|v| v.trim().parse::<u32>().ok());
        own.unwrap_or(2).max(1)
    }

    /// `pcmk_action_limit`; `None` = no bound.
    pub fn limit(&self) -> Option<usize> {
        match self.params.get("pcmk_action_limit").and_then(|v| v.trim().parse::<i64>().ok()) {
            Some(n) if n < 0 => None,
            Some(n) if n > 0 => usize::try_from(n).ok(),
            _ => Some(1),
        }
    }

    /// `pcmk_delay_base` (one for all, or by node), and a random part that brings it to `pcmk_delay_max` at most; `seed` gives it.
    pub fn delay_ms(&self, node: &str, seed: u64) -> u64 {
        let ms = |v: &str| text::parse_interval_ms(v.trim());
        let base = self.params.get("pcmk_delay_base").map_or("", String::as_str);
        let by_node = pairs(base);
        let base = match by_node.iter().find(|(name, _)| same_node(name, node)) {
            Some((_, value)) => ms(value),
            None if by_node.is_empty() => ms(base),
            None => None,
        };
        let base = base.unwrap_or(0);
        let max = self.params.get("pcmk_delay_max").and_then(|v| ms(v)).unwrap_or(0);
        let delay = if max <= base { base } else { base + seed % (max - base + 1) };
        delay.min(MAX_DELAY_MS)
    }

    /// What the agent reads on its standard input for `action`, done to `target` if there is one.
    pub fn input(&self, action: &str, target: Option<&str>, facts: Option<&Facts>) -> Vec<(String, String)> {
        let hidden = |name: &str, value: &str| {
            name.starts_with("pcmk_")
                || name.starts_with("CRM_meta_")
                || matches!(name, "action" | "option" | "provides" | "priority" | "stonith-timeout" | "nodename")
                || name.contains(['\n', '='])
                || value.contains('\n')
        };
        let own = self.params.iter().filter(|(n, v)| !hidden(n, v));
        let mut out: Vec<(String, String)> = own.map(|(n, v)| (n.clone(), v.clone())).collect();
        let verb = self.params.get(&format!("pcmk_{action}_action")).map_or(action, String::as_str);
        out.push(("action".to_owned(), text::one_line(verb, 256)));
        if let Some(target) = target {
            out.push(("nodename".to_owned(), target.to_owned()));
            let argument = match self.params.get("pcmk_host_argument").map(String::as_str) {
                Some(name) => vec![name],
                None => default_arguments(facts),
            };
            for name in argument.into_iter().filter(|n| *n != "none" && !n.is_empty() && !n.contains(['\n', '='])) {
                let given = self.params.get(name).is_some_and(|v| v != "dynamic");
                if !given {
                    out.retain(|(n, _)| n != name);
                    out.push((name.to_owned(), self.port(target).to_owned()));
                }
            }
        }
        out
    }

    /// What the agent is asked for where a fencing wants `action`: one that cannot reboot switches off.
    pub fn mapped(&self, action: FenceAction, facts: Option<&Facts>) -> FenceAction {
        let own = self.params.contains_key("pcmk_reboot_action");
        match facts {
            Some(f) if action == FenceAction::Reboot && !f.reboot && !own => FenceAction::Off,
            _ => action,
        }
    }
}

/// Agents call the outlet `plug`, older ones `port`; of those of which nothing is known each ignores the other's name.
fn default_arguments(facts: Option<&Facts>) -> Vec<&'static str> {
    match facts {
        None => vec!["port", "plug"],
        Some(f) if f.has_plug => vec!["plug"],
        Some(f) if f.has_port => vec!["port"],
        Some(_) => Vec::new(),
    }
}

impl Facts {
    /// From the document that `-o metadata` gives.
    pub fn read(document: &str) -> Option<Facts> {
        let root = xml::parse(document).ok().filter(|r| r.name() == "resource-agent")?;
        let mut facts = Facts::default();
        let is_on = |e: &Element, name: &str| e.attr(name).is_some_and(text::is_true);
        for action in root.child("actions").into_iter().flat_map(|a| a.elements_named("action")) {
            match action.attr("name").unwrap_or_default() {
                "list" => facts.list = true,
                "status" => facts.status = true,
                "reboot" => facts.reboot = true,
                "on" => {
                    // `required` is the former name.
                    facts.automatic |= is_on(action, "automatic") || is_on(action, "required");
                    facts.on_target |= is_on(action, "on_target");
                }
                _ => {}
            }
        }
        for parameter in root.child("parameters").into_iter().flat_map(|p| p.elements_named("parameter")) {
            match parameter.attr("name").unwrap_or_default() {
                "plug" => facts.has_plug = true,
                "port" => facts.has_port = true,
                _ => {}
            }
        }
        Some(facts)
    }
}

/// Whether constraints keep the device off a node: there it is not used for fencing either.
pub fn is_banned(cib: &Element, device: &str, node: &str) -> bool {
    let constraints = cib.child("configuration").and_then(|c| c.child("constraints"));
    let of_device = |e: &&Element| e.name() == "rsc_location" && e.attr("rsc") == Some(device);
    let never =
        |score: Option<&str>| score.and_then(Score::parse).is_some_and(|s| s.value() <= -Score::INFINITY.value());
    let by_rule = |rule: &Element| {
        let mut parts = rule.elements();
        let (Some(e), None) = (parts.next(), parts.next()) else { return false };
        let names = e.name() == "expression" && e.attr("attribute") == Some("#uname");
        let same = e.attr("value").is_some_and(|v| same_node(v, node));
        names
            && never(rule.attr("score"))
            && match e.attr("operation") {
                Some("eq") => same,
                Some("ne") => !same,
                _ => false,
            }
    };
    constraints.into_iter().flat_map(|c| c.elements()).filter(of_device).any(|e| {
        let here = e.attr("node").is_some_and(|n| same_node(n, node));
        here && never(e.attr("score")) || e.elements_named("rule").any(by_rule)
    })
}
