//! Fence agents: executables that read `name=value` lines on standard input and answer by their exit code
//! (Fence Agent API). Devices come from the CIB's primitives of class `stonith`.

use super::child::Program;
use super::{Ended, MAX_REASON_BYTES, Places, child, env};
use base::Operation;
use base::exit::OcfCode;
use cib::config::{self, Index};
use controller::OpStatus;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use xml::Element;

/// What is to be done to whom.
#[derive(Clone, Debug)]
pub struct Order {
    /// Node name.
    pub target: String,
    /// `reboot`, `off`, `on`.
    pub action: String,
    pub timeout: Duration,
}

/// A configured device that may fence the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub id: String,
    pub agent: String,
    pub params: BTreeMap<String, String>,
    /// The target's name on the device.
    pub port: String,
}

/// Devices for `target`: those that name it (`pcmk_host_map`, `pcmk_host_list`) before those that name nobody.
pub fn devices(cib: &Element, target: &str) -> Vec<Device> {
    let index = Index::new(cib);
    let resources = cib.child("configuration").and_then(|c| c.child("resources"));
    let primitives = resources.into_iter().flat_map(|r| r.descendants());
    let mut found: Vec<(bool, Device)> = primitives
        .filter(|e| e.name() == "primitive" && e.attr("class") == Some("stonith"))
        .filter_map(|e| device(e, target, &index))
        .collect();
    found.sort_by_key(|(named, _)| !named);
    found.into_iter().map(|(_, device)| device).collect()
}

/// The device and whether it names the target; `None` if it names only others, or is switched off.
fn device(primitive: &Element, target: &str, index: &Index<'_>) -> Option<(bool, Device)> {
    let pairs = |set: &str| -> BTreeMap<String, String> {
        let all = config::values(primitive, set, index);
        all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    if pairs("meta_attributes").get("target-role").is_some_and(|r| r.eq_ignore_ascii_case("stopped")) {
        return None;
    }
    let params = pairs("instance_attributes");
    let separators = |c: char| matches!(c, ';' | ',' | ' ' | '\t' | '\n');
    let mapped = params.get("pcmk_host_map").map(|map| {
        let entry =
            |e: &str| e.split_once([':', '=']).map(|(name, port)| (name.trim().to_owned(), port.trim().to_owned()));
        map.split([';', ' ', '\n', '\t']).filter_map(entry).collect::<BTreeMap<String, String>>()
    });
    let listed =
        params.get("pcmk_host_list").map(|list| list.split(separators).any(|n| base::ids::same_node(n, target)));
    let port = mapped.as_ref().and_then(|m| m.iter().find(|(name, _)| base::ids::same_node(name, target)));
    let port = port.map(|(_, port)| port.clone());
    let named = port.is_some() || listed == Some(true);
    if !named && (mapped.is_some() || listed.is_some()) {
        return None;
    }
    let device = Device {
        id: primitive.id()?.to_owned(),
        agent: primitive.attr("type")?.to_owned(),
        port: port.unwrap_or_else(|| target.to_owned()),
        params,
    };
    Some((named, device))
}

/// Tries the devices one after the other within the order's time; the error says what each of them said.
pub async fn run(places: &Places, order: &Order, devices: &[Device]) -> Result<(), String> {
    if devices.is_empty() {
        return Err(format!("no fence device is configured for {}", order.target));
    }
    let deadline = Instant::now() + order.timeout;
    let mut said = Vec::new();
    for device in devices {
        match call(places, device, &order.action, Some(&order.target), deadline).await {
            Ok(()) => return Ok(()),
            Err(reason) => said.push(format!("{}: {reason}", device.id)),
        }
    }
    Err(said.join("; "))
}

/// Operations of a device as a resource: it is not started anywhere, but it must answer.
pub(super) async fn resource(places: &Places, operation: &Operation, deadline: Instant) -> Ended {
    let device = Device {
        id: operation.instance.id.clone(),
        agent: operation.instance.agent.clone(),
        params: operation.instance.params.clone(),
        port: String::new(),
    };
    if !installed(places, &device.agent) {
        return match operation.action.as_str() {
            "monitor" | "stop" => {
                Ended::done(if operation.action == "stop" { OcfCode::OK } else { OcfCode::NOT_RUNNING }, "")
            }
            _ => Ended::not_installed(format!("{}/{} is not there", places.fence_agents.display(), device.agent)),
        };
    }
    match operation.action.as_str() {
        "stop" => Ended::done(OcfCode::OK, ""),
        // A probe: no device is running before the cluster starts it.
        "monitor" if operation.interval_ms == 0 => Ended::done(OcfCode::NOT_RUNNING, ""),
        "start" | "monitor" => match call(places, &device, "monitor", None, deadline).await {
            Ok(()) => Ended::done(OcfCode::OK, ""),
            Err(_) if Instant::now() >= deadline => Ended::timeout(operation),
            Err(reason) => Ended::done(OcfCode::ERROR, reason),
        },
        other => Ended::new(
            OcfCode::UNIMPLEMENTED,
            OpStatus::NotSupported,
            format!("fence devices have no operation `{other}`"),
        ),
    }
}

fn installed(places: &Places, agent: &str) -> bool {
    !agent.is_empty() && !agent.contains('/') && places.fence_agents.join(agent).is_file()
}

async fn call(
    places: &Places,
    device: &Device,
    action: &str,
    target: Option<&str>,
    deadline: Instant,
) -> Result<(), String> {
    if !installed(places, &device.agent) {
        return Err(format!("{}/{} is not there", places.fence_agents.display(), device.agent));
    }
    let mut input = String::new();
    let hidden = |name: &str| name.starts_with("pcmk_") || name.starts_with("CRM_meta_") || name.contains(['\n', '=']);
    for (name, value) in device.params.iter().filter(|(n, v)| !hidden(n) && !v.contains('\n')) {
        input.push_str(&format!("{name}={value}\n"));
    }
    let action = device.params.get(&format!("pcmk_{action}_action")).map_or(action, String::as_str);
    input.push_str(&format!("action={action}\n"));
    if let Some(target) = target {
        // Agents call the outlet `port` or, newer ones, `plug`; each ignores the other's name.
        input.push_str(&format!("nodename={target}\nport={0}\nplug={0}\n", device.port));
    }
    let file = places.fence_agents.join(&device.agent);
    let program = Program { file, args: Vec::new(), env: env::common(places, None) };
    match child::run(&places.groups, &program, input.as_bytes(), deadline).await {
        Ok(output) if output.code == 0 => Ok(()),
        Ok(output) => {
            let said = format!("exit code {} {}", output.code, super::lsb::last_line(&output.stderr));
            Err(base::text::one_line(&said, MAX_REASON_BYTES))
        }
        Err(error) => Err(error.to_string()),
    }
}
