//! `crm_node` and `crmadmin`: who is in the cluster, and who leads it.

use crate::args::{self, Command};
use crate::nodes::Known;
use crate::report::Common;
use crate::source::{Failure, Source};
use base::exit::crm;
use clap::Parser;
use std::ffi::OsString;
use wire::api::NodeStatus;
use xml::Element;

/// Show this node's name, id and quorum, and the cluster's nodes
#[derive(Parser, Debug)]
#[command(
    name = "crm_node",
    disable_version_flag = true,
    after_help = "Examples:\n  crm_node -n      this node's name\n  crm_node -l      all known nodes\n  crm_node -q      1 with quorum, 0 without"
)]
pub struct CrmNode {
    /// This node's name
    #[arg(short = 'n', long, group = "command")]
    name: bool,
    /// This node's id
    #[arg(short = 'i', long, group = "command")]
    cluster_id: bool,
    /// All known nodes, past and present
    #[arg(short = 'l', long, group = "command")]
    list: bool,
    /// The members of this partition
    #[arg(short = 'p', long, group = "command")]
    partition: bool,
    /// 1 if this partition has quorum, else 0
    #[arg(short = 'q', long, group = "command")]
    quorum: bool,
    /// Name of the node with this id
    #[arg(short = 'N', long, value_name = "ID", group = "command")]
    name_for_id: Option<u32>,
    /// Remove a (stopped) node from the configuration
    #[arg(short = 'R', long, value_name = "NAME", group = "command")]
    remove: Option<String>,
    /// With --remove: do it
    #[arg(short = 'f', long)]
    force: bool,
    /// Accepted for the original's sake
    #[arg(short = 'Q', long)]
    quiet: bool,
    #[command(flatten)]
    common: Common,
}

pub fn main(args: Vec<OsString>) -> i32 {
    args::run::<CrmNode>(args)
}

fn live(source: &Source) -> Result<NodeStatus, Failure> {
    source
        .status()?
        .ok_or_else(|| Failure::new(crm::UNAVAILABLE, "needs the running cluster, not a file (CIB_file is set)"))
}

impl Command for CrmNode {
    const NAME: &'static str = "crm_node";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        let source = Source::open();
        if self.name {
            // Agents call this in their meta-data and tests, where OCF's environment or the host name must do.
            let known = std::env::var("OCF_RESKEY_CRM_meta_on_node").ok().filter(|n| !n.is_empty());
            let name = match known {
                Some(name) => name,
                None => source.local_node()?,
            };
            return self.say(&name, || vec![Element::new("node-info").with("uname", &name)]);
        }
        if let Some(name) = &self.remove {
            return self.remove_node(&source, name);
        }
        if self.list {
            return self.list_nodes(&source);
        }
        let status = live(&source)?;
        let name_of = |id: u32| status.nodes.iter().find(|n| n.id.0 == id).map(|n| n.name.clone());
        if self.cluster_id {
            return self
                .say(&status.me.to_string(), || vec![Element::new("node-info").with("nodeid", status.me.to_string())]);
        }
        if self.quorum {
            let quorum = if status.quorate { "1" } else { "0" };
            return self.say(quorum, || vec![Element::new("cluster-info").with("quorum", status.quorate.to_string())]);
        }
        if let Some(id) = self.name_for_id {
            let name = name_of(id).ok_or_else(|| Failure::new(crm::NOSUCH, format!("no node has the id {id}")))?;
            return self
                .say(&name, || vec![Element::new("node-info").with("nodeid", id.to_string()).with("uname", &name)]);
        }
        if self.partition {
            let names: Vec<String> = status.members.iter().filter_map(|m| name_of(m.0)).collect();
            let elements = || names.iter().map(|n| Element::new("node").with("name", n)).collect();
            return self.say(&names.join(" "), elements);
        }
        Err(Failure::usage("Must specify a command: -n, -i, -l, -p, -q, -N or -R"))
    }
}

impl CrmNode {
    fn say(&self, text: &str, elements: impl FnOnce() -> Vec<Element>) -> Result<i32, Failure> {
        self.common.print(|| format!("{text}\n"), elements)?;
        Ok(crm::OK)
    }

    /// With the daemon: the nodelist and who is a member; else the CIB's nodes and their states.
    fn list_nodes(&self, source: &Source) -> Result<i32, Failure> {
        let nodes: Vec<(String, String, &str)> = match source.status()? {
            Some(status) => {
                let state = |member| if member { "member" } else { "lost" };
                status.nodes.iter().map(|n| (n.id.to_string(), n.name.clone(), state(n.member))).collect()
            }
            None => cib_nodes(&source.cib()?),
        };
        let text = nodes.iter().map(|(id, name, state)| format!("{id} {name} {state}\n")).collect::<String>();
        let element = |(id, name, state): &(String, String, &str)| {
            Element::new("node").with("id", id).with("name", name).with("state", state)
        };
        self.common
            .print(|| text, || vec![nodes.iter().map(element).fold(Element::new("nodes"), Element::with_child)])?;
        Ok(crm::OK)
    }

    fn remove_node(&self, source: &Source, name: &str) -> Result<i32, Failure> {
        if !self.force {
            let message = "The supplied command is considered dangerous. To prevent accidental destruction of the cluster, \
                           the --force flag is required in order to proceed.";
            return Err(Failure::new(crm::UNSAFE, message));
        }
        if source.status()?.is_some_and(|s| s.nodes.iter().any(|n| base::ids::same_node(&n.name, name) && n.member)) {
            return Err(Failure::new(crm::UNSAFE, format!("{name} is a member of the cluster; stop it first")));
        }
        let id = crate::attributes::node_id(&source.cib()?, name)?;
        if id.contains('\'') {
            return Err(Failure::usage("a node's id holds no apostrophe"));
        }
        for expression in
            [format!("/cib/configuration/nodes/node[@id='{id}']"), format!("/cib/status/node_state[@id='{id}']")]
        {
            source.call(crate::attributes::sign(cib::Request::delete_xpath(&expression, false)))?;
        }
        Ok(crm::OK)
    }
}

fn cib_nodes(cib: &Element) -> Vec<(String, String, &'static str)> {
    let states = cib.child("status");
    let nodes = cib.child("configuration").and_then(|c| c.child("nodes"));
    let of = |e: &Element, name: &str| e.attr(name).unwrap_or_default().to_owned();
    let member = |id: Option<&str>| {
        let state = states.and_then(|s| s.elements().find(|e| e.id() == id));
        let present = state.and_then(|s| s.attr("in_ccm")).is_some_and(|v| v != "false" && v != "0");
        if present { "member" } else { "lost" }
    };
    nodes.into_iter().flat_map(Element::elements).map(|n| (of(n, "id"), of(n, "uname"), member(n.id()))).collect()
}

/// Ask for the designated controller and the nodes' states
#[derive(Parser, Debug)]
#[command(
    name = "crmadmin",
    disable_version_flag = true,
    after_help = "Examples:\n  crmadmin -D        which node is the designated controller\n  crmadmin -N        all nodes"
)]
pub struct Crmadmin {
    /// The designated controller's name
    #[arg(short = 'D', long, group = "command")]
    dc_lookup: bool,
    /// The state of a node
    #[arg(short = 'S', long, value_name = "NODE", group = "command")]
    status: Option<String>,
    /// The state of the local daemon
    #[arg(short = 'P', long, group = "command")]
    pacemakerd: bool,
    /// All nodes
    #[arg(short = 'N', long, value_name = "TYPE", num_args = 0..=1, default_missing_value = "all", group = "command")]
    nodes: Option<String>,
    /// With --nodes: as shell commands
    #[arg(short = 'B', long)]
    bash_export: bool,
    /// Wait at most this long
    #[arg(short = 't', long, value_name = "DURATION")]
    timeout: Option<String>,
    /// Only what was asked for
    #[arg(short = 'q', long)]
    quiet: bool,
    #[command(flatten)]
    common: Common,
}

pub fn admin(args: Vec<OsString>) -> i32 {
    args::run::<Crmadmin>(args)
}

impl Command for Crmadmin {
    const NAME: &'static str = "crmadmin";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        let mut source = Source::open();
        if let (Source::Live(client), Some(text)) = (&mut source, &self.timeout) {
            let ms = cib::interval_ms(text).ok_or_else(|| Failure::usage(format!("'{text}' is not a time")))?;
            client.timeout = std::time::Duration::from_millis(ms.max(1));
        }
        if self.nodes.is_some() {
            return self.list_nodes(&source);
        }
        let status = live(&source)?;
        if self.dc_lookup {
            let Some(dc) = &status.dc_name else {
                return Err(Failure::new(crm::NOHOST, "No DC elected yet"));
            };
            let text = if self.quiet { format!("{dc}\n") } else { format!("Designated Controller is: {dc}\n") };
            self.common.print(|| text, || vec![Element::new("dc").with("node_name", dc)])?;
        } else if let Some(name) = &self.status {
            self.node_state(&source, &status, name)?;
        } else if self.pacemakerd {
            let text = "Status of pacemakerd: 'Pacemaker is running'\n".to_owned();
            self.common.print(|| text, || vec![Element::new("pacemakerd").with("state", "running")])?;
        } else {
            return Err(Failure::usage("Must specify a command: -D, -S, -P or -N"));
        }
        Ok(crm::OK)
    }
}

/// Whether nothing is under way, and nothing is to be done.
fn is_settled(cib: &Element) -> bool {
    let states = cib.child("status").into_iter().flat_map(Element::descendants);
    let under_way = states.into_iter().any(|e| e.name() == "lrm_rsc_op" && e.attr("op-status") == Some("-1"));
    let planned = scheduler::schedule(cib, crate::source::now(), &scheduler::Options::default());
    !under_way && planned.is_ok_and(|s| s.graph.actions.is_empty())
}

impl Crmadmin {
    /// The nodes of the kinds asked for, from the configuration: those that are not running too.
    fn list_nodes(&self, source: &Source) -> Result<i32, Failure> {
        let asked = self.nodes.as_deref().unwrap_or("all");
        let wanted = |kind: &str| asked == "all" || asked.split(',').any(|a| a == kind);
        let nodes: Vec<Known> =
            crate::nodes::known(source.cib()?.child("configuration")).into_iter().filter(|k| wanted(k.kind)).collect();
        let line = |k: &Known| match (self.bash_export, self.quiet) {
            (true, _) => format!("export {}={}\n", k.name, k.id),
            (false, true) => format!("{}\n", k.name),
            (false, false) => format!("{} node: {} ({})\n", k.kind, k.name, k.id),
        };
        let element = |k: &Known| Element::new("node").with("type", k.kind).with("name", &k.name).with("id", &k.id);
        let all = || vec![nodes.iter().map(element).fold(Element::new("nodes"), Element::with_child)];
        self.common.print(|| nodes.iter().map(line).collect(), all)?;
        Ok(crm::OK)
    }

    fn node_state(&self, source: &Source, status: &NodeStatus, name: &str) -> Result<(), Failure> {
        let node = status.nodes.iter().find(|n| base::ids::same_node(&n.name, name));
        let node = node.ok_or_else(|| Failure::new(crm::NOSUCH, format!("no node is called '{name}'")))?;
        if !node.member {
            return Err(Failure::new(crm::NOHOST, format!("{name} is not a member of the cluster")));
        }
        let leads = status.dc == Some(node.id);
        // A node knows of itself alone what it is at; of another coordinator the CIB tells.
        let idle = match status.me == node.id {
            true => status.controller.starts_with("idle"),
            false => leads && is_settled(&source.cib()?),
        };
        let state = match (leads, idle) {
            (true, true) => "S_IDLE",
            (true, false) => "S_TRANSITION_ENGINE",
            (false, _) => "S_NOT_DC",
        };
        let text =
            if self.quiet { format!("{state}\n") } else { format!("Controller on {name} in state {state}: ok\n") };
        let element = || vec![Element::new("crmd").with("node_name", name).with("state", state).with("result", "ok")];
        self.common.print(|| text, element)
    }
}
