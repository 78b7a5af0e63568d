//! `stonith_admin`: fencing by hand, what devices there are, and what has been fenced.
//!
//! Devices and levels are the configuration's: registering one writes it there, for all nodes and for good.

mod history;
mod validate;

use crate::args::{self, Command};
use crate::client::Client;
use crate::edit::{self, NewPrimitive, levels};
use crate::report::{Common, envelope};
use crate::source::{Failure, Source, checked};
use crate::{fence_agent, fencing};
use base::exit::crm;
use clap::{CommandFactory, Parser};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;
use wire::api::{FenceAction, FencingOp, FencingReply};
use xml::{Element, Node};

/// Fence nodes, and see what devices and levels there are and what was fenced
#[derive(Parser, Debug)]
#[command(name = "stonith_admin", disable_version_flag = true, disable_help_flag = true, after_help = EXAMPLES)]
pub struct StonithAdmin {
    /// Show this help
    #[arg(short = '?', long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Add the device to the configuration. Requires --agent; --option, --env-option
    #[arg(short = 'R', long, value_name = "DEVICE", help_heading = "Devices and levels")]
    register: Option<String>,
    /// Remove the device from the configuration
    #[arg(short = 'D', long, value_name = "DEVICE", help_heading = "Devices and levels")]
    deregister: Option<String>,
    /// Add a fencing level for the target: NAME, @PATTERN or ATTR=VALUE. Requires --index, --device
    #[arg(short = 'r', long, value_name = "TARGET", help_heading = "Devices and levels")]
    register_level: Option<String>,
    /// Remove the target's fencing level. Requires --index
    #[arg(short = 'd', long, value_name = "TARGET", help_heading = "Devices and levels")]
    deregister_level: Option<String>,
    /// List devices that can terminate the host
    #[arg(short = 'l', long, value_name = "HOST", help_heading = "Queries")]
    list: Option<String>,
    /// List all devices of the configuration
    #[arg(short = 'L', long, help_heading = "Queries")]
    list_registered: bool,
    /// List all fence agents that are installed here
    #[arg(short = 'I', long, help_heading = "Queries")]
    list_installed: bool,
    /// List the targets that the device can fence
    #[arg(short = 's', long, value_name = "DEVICE", help_heading = "Queries")]
    list_targets: Option<String>,
    /// Show an agent's meta-data. Requires --agent
    #[arg(short = 'M', long, help_heading = "Queries")]
    metadata: bool,
    /// Check the device's status; the exit code is the answer
    #[arg(short = 'Q', long, value_name = "DEVICE", help_heading = "Queries")]
    query: Option<String>,
    /// Show the last successful fencing of the node, or with '*' of any; --verbose shows everything
    #[arg(short = 'H', long, value_name = "NODE", help_heading = "Queries")]
    history: Option<String>,
    /// Show when the node was last fenced
    #[arg(short = 'h', long, value_name = "NODE", help_heading = "Queries")]
    last: Option<String>,
    /// Have an agent look at its settings. Requires --agent; --option, --env-option
    #[arg(short = 'K', long, help_heading = "Queries")]
    validate: bool,
    /// Switch the host off
    #[arg(short = 'F', long, value_name = "HOST", help_heading = "Fencing")]
    fence: Option<String>,
    /// Unfence the host (action 'on')
    #[arg(short = 'U', long, value_name = "HOST", help_heading = "Fencing")]
    unfence: Option<String>,
    /// Reboot the host
    #[arg(short = 'B', long, value_name = "HOST", help_heading = "Fencing")]
    reboot: Option<String>,
    /// Tell the cluster that the host is down: you have seen to it yourself
    #[arg(short = 'C', long, value_name = "HOST", help_heading = "Fencing")]
    confirm: Option<String>,
    /// With --history: forget it
    #[arg(short = 'c', long, help_heading = "More")]
    cleanup: bool,
    /// Accepted: the history is the same on all nodes
    #[arg(short = 'b', long, help_heading = "More")]
    broadcast: bool,
    /// The agent, for example fence_ipmilan
    #[arg(short = 'a', long, value_name = "AGENT", help_heading = "More")]
    agent: Option<String>,
    /// A parameter of the device; may be given several times
    #[arg(short = 'o', long, value_name = "NAME=VALUE", help_heading = "More")]
    option: Vec<String>,
    /// A parameter with the value of the variable OCF_RESKEY_NAME; may be given several times
    #[arg(short = 'e', long, value_name = "NAME", help_heading = "More")]
    env_option: Vec<String>,
    /// A word that goes into log and history with the fencing
    #[arg(short = 'T', long, value_name = "TAG", help_heading = "More")]
    tag: Option<String>,
    /// A device of the level; may be given several times
    #[arg(short = 'v', long, value_name = "DEVICE", help_heading = "More")]
    device: Vec<String>,
    /// The fencing level, 1 to 9
    #[arg(short = 'i', long, value_name = "LEVEL", help_heading = "More")]
    index: Option<u32>,
    /// How long it may take
    #[arg(short = 't', long, value_name = "SECONDS", default_value_t = 120, help_heading = "More")]
    timeout: u32,
    /// Wait before fencing, beside the devices' delays; -1: no delay at all
    #[arg(
        short = 'y',
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        allow_hyphen_values = true,
        help_heading = "More"
    )]
    delay: i32,
    /// With --last: the node is given by its number
    #[arg(short = 'n', long, help_heading = "More")]
    as_node_id: bool,
    /// Do nothing if the same has succeeded less than this ago
    #[arg(long, value_name = "SECONDS", help_heading = "More")]
    tolerance: Option<String>,
    /// Say less
    #[arg(short = 'q', long, help_heading = "More")]
    quiet: bool,
    #[command(flatten)]
    common: Common,
}

const EXAMPLES: &str = "Examples:
  stonith_admin --list-registered
  stonith_admin --list d2              devices that can fence d2
  stonith_admin --reboot d2 --timeout 60
  stonith_admin --confirm d2           d2 is down: you have switched it off yourself
  stonith_admin --history '*' --verbose
  stonith_admin --history d2 --cleanup
  stonith_admin --register-level d2 --index 1 --device ipmi2
  stonith_admin --metadata --agent fence_ipmilan

Exit codes: 0 done; 1 failed; 3 the agent cannot validate; 64 usage; 68 no such host; 102 no daemon;
105 no such device or agent; 124 not done in time";

pub fn main(args: Vec<OsString>) -> i32 {
    args::run::<StonithAdmin>(args)
}

impl Command for StonithAdmin {
    const NAME: &'static str = "stonith_admin";

    fn common(&self) -> &Common {
        &self.common
    }

    /// As with the original, of several commands the one that stands last in its list counts.
    fn execute(&self) -> Result<i32, Failure> {
        if let Some(target) = &self.deregister_level {
            return self.deregister_level(target);
        }
        if let Some(target) = &self.register_level {
            return self.register_level(target);
        }
        if let Some(target) = &self.history {
            return self.show_history(target);
        }
        if let Some(target) = &self.last {
            return self.show_last(target);
        }
        if let Some(target) = &self.confirm {
            self.ask(FencingOp::Confirm { target: checked("node", target)? })?;
            return self.silent();
        }
        let actions =
            [(&self.unfence, FenceAction::On), (&self.fence, FenceAction::Off), (&self.reboot, FenceAction::Reboot)];
        if let Some((target, action)) = actions.into_iter().find_map(|(t, a)| t.as_ref().map(|t| (t, a))) {
            return self.fence(target, action);
        }
        if self.metadata {
            return self.show_metadata();
        }
        self.execute_query()
    }
}

impl StonithAdmin {
    fn execute_query(&self) -> Result<i32, Failure> {
        if let Some(target) = &self.list {
            return self.list_devices(Some(target));
        }
        if let Some(device) = &self.list_targets {
            return self.list_device_targets(device);
        }
        if let Some(device) = &self.deregister {
            return self.deregister(device);
        }
        if let Some(device) = &self.query {
            self.ask(FencingOp::Monitor { device: checked("device", device)? })?;
            return self.silent();
        }
        if let Some(device) = &self.register {
            return self.register(device);
        }
        if self.list_registered {
            return self.list_devices(None);
        }
        if self.list_installed {
            return self.print_list("Installed fence devices", Some("device"), DEVICE, fence_agent::installed());
        }
        if self.validate {
            return self.validate_settings();
        }
        kernel::errln!("{}", StonithAdmin::command().render_help());
        Ok(crm::USAGE)
    }

    fn ask(&self, op: FencingOp) -> Result<FencingReply, Failure> {
        let client = match Source::open() {
            Source::Live(client) => client,
            Source::File(_) => Client::from_env(),
        };
        let program = format!("stonith_admin.{}", std::process::id());
        fencing::ask(&client, &program, u64::from(self.timeout) * 1000, op)
    }

    fn silent(&self) -> Result<i32, Failure> {
        self.common.print(String::new, Vec::new)?;
        Ok(crm::OK)
    }

    fn fence(&self, target: &str, action: FenceAction) -> Result<i32, Failure> {
        let tolerance_ms = match self.tolerance.as_deref().map(|t| (t, base::text::parse_ms(t))) {
            None => 0,
            Some((_, Some(ms @ 0..))) => ms as u64,
            Some((text, _)) => return Err(Failure::usage(format!("'{text}' is not a time"))),
        };
        let op = FencingOp::Fence {
            target: checked("node", target)?,
            action,
            delay_ms: if self.delay < 0 { -1 } else { i64::from(self.delay) * 1000 },
            tolerance_ms,
            tag: self.tag.as_deref().map(|t| checked("tag", t)).transpose()?,
        };
        let what = if action == FenceAction::On { "unfence" } else { "fence" };
        self.ask(op).map_err(|f| Failure { message: format!("Couldn't {what} {target}: {}", f.message), ..f })?;
        self.silent()
    }

    // ---- lists ----

    fn list_devices(&self, target: Option<&str>) -> Result<i32, Failure> {
        let target = target.map(|t| checked("node", t)).transpose()?;
        let reply = self
            .ask(FencingOp::Devices { target })
            .map_err(|f| Failure { message: format!("Failed to list registered devices: {}", f.message), ..f })?;
        let names = reply.devices.into_iter().map(|d| d.id).collect();
        self.print_list("Registered fence devices", Some("device"), DEVICE, names)
    }

    fn list_device_targets(&self, device: &str) -> Result<i32, Failure> {
        let reply = self
            .ask(FencingOp::Targets { device: checked("device", device)? })
            .map_err(|f| Failure { message: format!("Couldn't list targets: {}", f.message), ..f })?;
        let names = reply.targets.into_iter().map(|t| t.node).collect();
        self.print_list("Fence Targets", None, TARGET, names)
    }

    /// One name a line and their number; as XML `list` and `item`.
    fn print_list(&self, title: &str, id: Option<&str>, noun: Noun, names: Vec<String>) -> Result<i32, Failure> {
        let text = || {
            let mut out: String = names.iter().map(|n| format!("{n}\n")).collect();
            if !self.quiet {
                out += &found(names.len(), noun);
            }
            out
        };
        let elements = || {
            let mut list = Element::new("list").with("name", title).with("count", names.len().to_string());
            for name in &names {
                let mut item = Element::new("item");
                if let Some(id) = id {
                    item.set("id", id);
                }
                item.nodes_mut().push(Node::Text(name.clone()));
                list.push(item);
            }
            vec![list]
        };
        self.common.print(text, elements)?;
        Ok(crm::OK)
    }

    fn show_metadata(&self) -> Result<i32, Failure> {
        let Some(agent) = self.needs_agent() else { return Ok(crm::USAGE) };
        let document = fence_agent::metadata(agent, self.limit())
            .map_err(|f| Failure { message: format!("Can't get fence agent meta-data: {}", f.message), ..f })?;
        let elements = || {
            let mut e = Element::new("metadata");
            e.nodes_mut().push(Node::Text(document.clone()));
            vec![e]
        };
        self.common.print(|| document.clone(), elements)?;
        Ok(crm::OK)
    }

    // ---- configuration ----

    fn register(&self, device: &str) -> Result<i32, Failure> {
        let Some(agent) = self.needs_agent() else { return Ok(crm::USAGE) };
        let params = self.params()?.into_iter().collect();
        let new = NewPrimitive {
            id: device,
            agent: &format!("stonith:{agent}"),
            params,
            meta: Vec::new(),
            operations: vec![("monitor".to_owned(), vec![("interval".to_owned(), "60s".to_owned())])],
        };
        edit::edit(&Source::open(), |configuration| {
            edit::needs_free_id(configuration, device)?;
            configuration.child_or_insert("resources").push(new.element()?);
            Ok(())
        })
        .map_err(|f| {
            let message = format!("Can't register device {device} using agent {agent}: {}", f.message);
            Failure { message, ..f }
        })?;
        self.silent()
    }

    fn deregister(&self, device: &str) -> Result<i32, Failure> {
        edit::edit(&Source::open(), |configuration| {
            let is_device = edit::find_resource(configuration, device).and_then(|e| e.attr("class")) == Some("stonith");
            match is_device {
                true => edit::delete_resource(configuration, device),
                false => Err(Failure::new(crm::NOSUCH, "No such device")),
            }
        })
        .map_err(|f| Failure { message: format!("Can't unregister device {device}: {}", f.message), ..f })?;
        self.silent()
    }

    fn register_level(&self, target: &str) -> Result<i32, Failure> {
        let (number, devices) = (self.level()?, self.device.iter().map(String::as_str).collect::<Vec<_>>());
        if devices.is_empty() {
            return Err(Failure::usage("--register-level needs at least one --device"));
        }
        edit::edit(&Source::open(), |configuration| {
            let of = level_target(target);
            // As the original's: what was registered for it before is replaced.
            levels::remove(configuration, Some(number), Some(&of), &[]);
            levels::add(configuration, number, &of, &devices)
        })
        .map_err(|f| self.level_failure("register", target, number, f))?;
        self.silent()
    }

    fn deregister_level(&self, target: &str) -> Result<i32, Failure> {
        let number = self.level()?;
        edit::edit(&Source::open(), |configuration| {
            levels::remove(configuration, Some(number), Some(&level_target(target)), &[]);
            Ok(())
        })
        .map_err(|f| self.level_failure("unregister", target, number, f))?;
        self.silent()
    }

    fn level_failure(&self, what: &str, target: &str, number: u32, failure: Failure) -> Failure {
        let message = format!("Can't {what} topology level {number} for {target}: {}", failure.message);
        Failure { message, ..failure }
    }

    fn level(&self) -> Result<u32, Failure> {
        let fits = self.index.filter(|n| (1..=levels::MAX_LEVEL).contains(n));
        fits.ok_or_else(|| Failure::usage(format!("--index must be a level from 1 to {}", levels::MAX_LEVEL)))
    }

    // ---- arguments ----

    /// The agent; without one the original's words are said.
    fn needs_agent(&self) -> Option<&str> {
        if self.agent.is_none() {
            kernel::errln!("Please specify an agent to query using -a,--agent [value]");
            kernel::errln!("{}", StonithAdmin::command().render_help());
        }
        self.agent.as_deref()
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(u64::from(self.timeout.max(1)))
    }

    fn params(&self) -> Result<BTreeMap<String, String>, Failure> {
        let mut all = BTreeMap::new();
        for word in &self.option {
            let bad = || Failure::new(2, format!("Invalid option: -o {word}: Bad name/value pair given"));
            let (name, value) = word.split_once('=').filter(|(n, _)| !n.is_empty()).ok_or_else(bad)?;
            all.insert(name.to_owned(), value.to_owned());
        }
        for name in &self.env_option {
            let value = std::env::var(format!("OCF_RESKEY_{name}"));
            let value = value.map_err(|_| Failure::new(2, format!("Invalid option: -e {name}")))?;
            all.insert(name.clone(), value);
        }
        Ok(all)
    }

    /// The envelope with that code, where XML or JSON is asked for; text as it is.
    fn print_with(&self, code: i32, text: String, elements: Vec<Element>) -> Result<i32, Failure> {
        use crate::report::{Format, ToDocument, json};
        match self.common.output_as {
            Format::None => {}
            Format::Text | Format::Console => self.common.write(&text)?,
            Format::Xml => self.common.write(&envelope(elements, code, &[]).to_document())?,
            Format::Json => self.common.write(&format!("{:#}\n", json(&envelope(elements, code, &[]))))?,
        }
        Ok(code)
    }
}

fn level_target(word: &str) -> levels::Target {
    match (word.split_once('='), word.strip_prefix('@')) {
        (Some((name, value)), _) => levels::Target::Attribute(name.to_owned(), value.to_owned()),
        (None, Some(pattern)) => levels::Target::Pattern(pattern.to_owned()),
        (None, None) => levels::Target::Node(word.to_owned()),
    }
}

/// Singular and plural.
type Noun = (&'static str, &'static str);
const DEVICE: Noun = ("fence device", "fence devices");
const TARGET: Noun = ("fence target", "fence targets");
const EVENT: Noun = ("event", "events");

fn found(number: usize, noun: Noun) -> String {
    format!("{number} {} found\n", if number == 1 { noun.0 } else { noun.1 })
}
