//! `crm_resource`: list, query, move, ban, clear, clean up and configure resources.

pub mod by_hand;
pub mod cleanup;
mod digests;
pub mod foresight;
pub mod listing;
pub mod moving;
pub mod parameters;
pub mod stack;

use crate::args::{self, Command};
use crate::cluster;
use crate::crm_mon::{CrmMon, View};
use crate::report::Common;
use crate::source::{Failure, Source, checked_if};
use base::exit::crm;
use clap::Parser;
use std::ffi::OsString;
use std::time::Duration;
use wire::api::CleanupCall;
use xml::Element;

/// List, query, move, clean up and configure resources
#[derive(Parser, Debug)]
#[command(name = "crm_resource", disable_version_flag = true, after_help = EXAMPLES)]
pub struct CrmResource {
    /// List all resources with their status
    #[arg(short = 'L', long, group = "command", help_heading = "Queries")]
    list: bool,
    /// List the ids of all primitives
    #[arg(short = 'l', long, group = "command", help_heading = "Queries")]
    list_raw: bool,
    /// List the last operations (of a resource, on a node)
    #[arg(short = 'O', long, group = "command", help_heading = "Queries")]
    list_operations: bool,
    /// List all operations (of a resource, on a node)
    #[arg(short = 'o', long, group = "command", help_heading = "Queries")]
    list_all_operations: bool,
    /// List the options of a kind (primitive)
    #[arg(long, value_name = "TYPE", group = "command", help_heading = "Queries")]
    list_options: Option<String>,
    /// List the kinds of agents
    #[arg(long, group = "command", help_heading = "Queries")]
    list_standards: bool,
    /// List the providers of OCF agents
    #[arg(long, group = "command", help_heading = "Queries")]
    list_ocf_providers: bool,
    /// List the agents of a standard and provider, e.g. ocf:heartbeat
    #[arg(long, value_name = "STD:PROV", group = "command", help_heading = "Queries")]
    list_agents: Option<String>,
    /// Show an agent's metadata
    #[arg(
        long,
        visible_alias = "meta-data",
        value_name = "CLASS:PROVIDER:AGENT",
        group = "command",
        help_heading = "Queries"
    )]
    show_metadata: Option<String>,
    /// Show a resource's status and XML
    #[arg(short = 'q', long, group = "command", help_heading = "Queries")]
    query_xml: bool,
    /// The same, before templates are expanded
    #[arg(short = 'w', long, group = "command", help_heading = "Queries")]
    query_xml_raw: bool,
    /// Show a parameter's value
    #[arg(short = 'g', long, value_name = "PARAM", group = "command", help_heading = "Queries")]
    get_parameter: Option<String>,
    /// Show where a resource runs
    #[arg(short = 'W', long, group = "command", help_heading = "Queries")]
    locate: bool,
    /// Show the constraints of a resource
    #[arg(short = 'a', long, group = "command", help_heading = "Queries")]
    constraints: bool,
    /// The same, and of all that is colocated with it, and with that
    #[arg(short = 'A', long, group = "command", help_heading = "Queries")]
    stack: bool,
    /// Show why a resource is where it is
    #[arg(short = 'Y', long, group = "command", help_heading = "Queries")]
    why: bool,
    /// Forget failures
    #[arg(short = 'C', long, group = "command", help_heading = "Commands")]
    cleanup: bool,
    /// Forget the whole history and look again
    #[arg(short = 'R', long, group = "command", help_heading = "Commands")]
    refresh: bool,
    /// Set a parameter (with --parameter-value)
    #[arg(short = 'p', long, value_name = "PARAM", group = "command", help_heading = "Commands")]
    set_parameter: Option<String>,
    /// Delete a parameter
    #[arg(short = 'd', long, value_name = "PARAM", group = "command", help_heading = "Commands")]
    delete_parameter: Option<String>,
    /// Move a resource: to --node, or away from where it is
    #[arg(short = 'M', long, group = "command", help_heading = "Location")]
    r#move: bool,
    /// Keep a resource off a node
    #[arg(short = 'B', long, group = "command", help_heading = "Location")]
    ban: bool,
    /// Remove the constraints that --move and --ban made
    #[arg(short = 'U', long, visible_aliases = ["un-move", "un-ban"], group = "command", help_heading = "Location")]
    clear: bool,
    /// With --clear: only those whose lifetime is over
    #[arg(short = 'e', long, help_heading = "Location")]
    expired: bool,
    /// Lifetime of the constraint, an ISO 8601 duration such as PT1H
    #[arg(short = 'u', long, value_name = "DURATION", help_heading = "Location")]
    lifetime: Option<String>,
    /// With --set-parameter: all that is colocated with the resource too
    #[arg(long)]
    recursive: bool,
    /// Standard of an agent, instead of a resource (with --validate)
    #[arg(long, value_name = "CLASS", help_heading = "Agents")]
    class: Option<String>,
    /// Provider of an agent
    #[arg(long, value_name = "PROVIDER", help_heading = "Agents")]
    provider: Option<String>,
    /// Name of an agent
    #[arg(long, value_name = "AGENT", help_heading = "Agents")]
    agent: Option<String>,
    /// Only the promoted role
    #[arg(long, visible_alias = "master", help_heading = "Location")]
    promoted: bool,
    /// Delete a resource from the configuration (with -t)
    #[arg(short = 'D', long, group = "command", help_heading = "Advanced")]
    delete: bool,
    /// Stop a resource and start it again (where --node says)
    #[arg(long, group = "command", help_heading = "Advanced")]
    restart: bool,
    /// Start a resource here, by hand; the cluster does not know of it
    #[arg(long, group = "command", help_heading = "By hand")]
    force_start: bool,
    /// Stop a resource here, by hand
    #[arg(long, group = "command", help_heading = "By hand")]
    force_stop: bool,
    /// Promote a resource here, by hand
    #[arg(long, group = "command", help_heading = "By hand")]
    force_promote: bool,
    /// Demote a resource here, by hand
    #[arg(long, group = "command", help_heading = "By hand")]
    force_demote: bool,
    /// Ask the agent whether a resource runs here
    #[arg(long, group = "command", help_heading = "By hand")]
    force_check: bool,
    /// Let the agent check the parameters of a resource, or those of --option
    #[arg(long, group = "command", help_heading = "By hand")]
    validate: bool,
    /// A parameter for --validate, instead of what is configured
    #[arg(long, value_name = "NAME=VALUE", help_heading = "By hand")]
    option: Vec<String>,
    /// Show the digests by which a changed parameter is noticed (with -N; NAME=VALUE words take the place of parameters)
    #[arg(long, group = "command", help_heading = "Advanced")]
    digests: bool,
    /// Wait until nothing is left to do
    #[arg(long, group = "command", help_heading = "Advanced")]
    wait: bool,
    /// The resource
    #[arg(short = 'r', long, value_name = "ID")]
    resource: Option<String>,
    /// The node
    #[arg(short = 'N', long, visible_alias = "host", visible_short_alias = 'H', value_name = "NODE")]
    node: Option<String>,
    /// The resource's element (with -D)
    #[arg(short = 't', long, value_name = "ELEMENT")]
    resource_type: Option<String>,
    /// The value for --set-parameter
    #[arg(short = 'v', long, value_name = "VALUE", allow_hyphen_values = true)]
    parameter_value: Option<String>,
    /// A meta-attribute instead of an agent's parameter
    #[arg(short = 'm', long)]
    meta: bool,
    /// A utilization attribute instead of an agent's parameter
    #[arg(short = 'z', long)]
    utilization: bool,
    /// An XML attribute of the resource's element instead of a parameter
    #[arg(long)]
    element: bool,
    /// With -C, -R: only this operation
    #[arg(short = 'n', long, value_name = "OPERATION")]
    operation: Option<String>,
    /// With -C, -R, -n: the operation's interval
    #[arg(short = 'I', long, value_name = "TIME")]
    interval: Option<String>,
    /// Id of the set of attributes (with -p, -d)
    #[arg(short = 's', long, value_name = "ID")]
    set_name: Option<String>,
    /// Id of the nvpair (with -p, -d)
    #[arg(short = 'i', long, value_name = "ID")]
    nvpair: Option<String>,
    /// With --wait, and for the stop of --restart: at most this long
    #[arg(short = 'T', long, value_name = "TIME")]
    timeout: Option<String>,
    /// With --list-options: also advanced and deprecated ones
    #[arg(long)]
    all: bool,
    /// Do it even if it looks wrong
    #[arg(short = 'f', long)]
    force: bool,
    /// Less output
    #[arg(short = 'Q', long)]
    quiet: bool,
    /// NAME=VALUE, with --digests; what stands here else has lost its option
    #[arg(value_name = "WORD", hide = true)]
    words: Vec<String>,
    #[command(flatten)]
    common: Common,
}

const EXAMPLES: &str = "Examples:
  crm_resource -L                          all resources
  crm_resource -r vip -W                   where vip runs
  crm_resource -r vip -M -N d2             move vip to d2
  crm_resource -r vip -U                   let it run anywhere again
  crm_resource -r vip -C                   forget its failures
  crm_resource -r vip --restart            stop it and start it again
  crm_resource -r vip -p nic -v eth1       set a parameter
  crm_resource -r vip -m -p is-managed -v false

Exit codes: 0 done; 64 usage; 102 no daemon; 105 no such resource, node or parameter; 124 timeout";

pub fn main(args: Vec<OsString>) -> i32 {
    args::run::<CrmResource>(args)
}

impl Command for CrmResource {
    const NAME: &'static str = "crm_resource";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        self.sound()?;
        if let Some(code) = self.about_agents()? {
            return Ok(code);
        }
        if let Some(call) = self.of_an_agent()? {
            return call.perform(&self.common);
        }
        let source = Source::open();
        if self.restart {
            return self.start_again(&source);
        }
        if self.wait {
            return self.wait_until_idle(&source);
        }
        if self.cleanup || self.refresh {
            return self.forget(&source);
        }
        let cib = source.cib().map_err(|f| match f.code {
            crm::INSUFFICIENT_PRIV => {
                kernel::errln!("Could not obtain the current CIB: {}", f.message);
                Failure { message: format!("Error performing operation: {}", crate::report::exit_words(f.code)), ..f }
            }
            _ => f,
        })?;
        let view = View::of(&cib)?;
        if self.list_raw || self.list || self.resource.is_none() && !self.has_command() {
            let text = if self.list_raw { listing::raw(&view.cluster.resources) } else { listing::list(&view) };
            self.common.print(|| text, || listing::elements(&view))?;
        } else if self.list_operations || self.list_all_operations {
            let all = self.list_all_operations;
            let (text, list) = listing::operations(&view, self.resource.as_deref(), self.node.as_deref(), all);
            self.common.print(|| text, || vec![list])?;
        } else if self.digests {
            return digests::show(&view, self.needs_resource()?, self.node_name(&view)?, &self.words, &self.common);
        } else if self.clear && self.expired && self.resource.is_none() {
            return self.clear_expired(&source, &view);
        } else {
            return self.on_resource(&source, &view);
        }
        Ok(crm::OK)
    }
}

/// An error of what was asked for, with the words of its code below it.
pub fn performing(code: i32, message: impl std::fmt::Display) -> Failure {
    Failure::new(code, format!("{message}\nError performing operation: {}", crate::report::exit_words(code)))
}

/// How long is waited where nobody says.
const WAIT: Duration = Duration::from_secs(3_600);

/// `CRM_EX_INVALID_PARAM`.
const INVALID_PARAMETER: i32 = 2;

impl CrmResource {
    /// Whether the options go together.
    fn sound(&self) -> Result<(), Failure> {
        if !self.words.is_empty() && !self.digests {
            let count = self.words.len();
            let list = self.words.iter().enumerate().map(|(n, word)| format!("\n[{} of {count}] {word}", n + 1));
            return Err(Failure::usage(format!("non-option ARGV-elements:{}", list.collect::<String>())));
        }
        if self.class.is_none() && self.provider.is_none() && self.agent.is_none() {
            return Ok(());
        }
        if self.resource.is_none() && self.validate {
            return match (&self.class, &self.agent) {
                (Some(_), Some(_)) => Ok(()),
                _ => Err(Failure::usage("--validate of an agent needs --class and --agent (and --provider)")),
            };
        }
        let message = match self.resource {
            Some(_) => "--class, --agent, and --provider cannot be used with -r/--resource",
            None => "--class, --agent, and --provider can only be used with --validate and --force-*",
        };
        Err(Failure::usage(message))
    }

    fn has_command(&self) -> bool {
        let switches = [
            self.query_xml,
            self.query_xml_raw,
            self.locate,
            self.constraints,
            self.stack,
            self.why,
            self.r#move,
            self.ban,
            self.clear,
            self.delete,
            self.forced().is_some(),
            self.list_operations,
            self.list_all_operations,
        ];
        let valued = [&self.get_parameter, &self.set_parameter, &self.delete_parameter];
        switches.contains(&true) || valued.iter().any(|v| v.is_some())
    }

    /// What an agent is to do by hand.
    fn forced(&self) -> Option<by_hand::Action> {
        let all = [
            (self.force_start, by_hand::Action::Start),
            (self.force_stop, by_hand::Action::Stop),
            (self.force_promote, by_hand::Action::Promote),
            (self.force_demote, by_hand::Action::Demote),
            (self.force_check, by_hand::Action::Check),
            (self.validate, by_hand::Action::Validate),
        ];
        all.into_iter().find_map(|(asked, action)| asked.then_some(action))
    }

    fn given(&self) -> Result<std::collections::BTreeMap<String, String>, Failure> {
        let pair = |o: &String| o.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned()));
        let pair = |o| pair(o).ok_or_else(|| Failure::usage(format!("'{o}' is not of the form NAME=VALUE")));
        self.option.iter().map(pair).collect()
    }

    fn limit(&self) -> Result<Option<Duration>, Failure> {
        let Some(text) = &self.timeout else { return Ok(None) };
        let ms = cib::interval_ms(text).ok_or_else(|| Failure::usage(format!("'{text}' is not a time")))?;
        Ok(Some(Duration::from_millis(ms)))
    }

    /// `--validate --class … --agent …`: no resource, no cluster.
    fn of_an_agent(&self) -> Result<Option<by_hand::Call>, Failure> {
        let (Some(class), Some(agent), None) = (&self.class, &self.agent, &self.resource) else { return Ok(None) };
        Ok(Some(by_hand::Call {
            action: by_hand::Action::Validate,
            agent: [class.clone(), self.provider.clone().unwrap_or_default(), agent.clone()],
            id: None,
            params: std::collections::BTreeMap::new(),
            overrides: self.given()?,
            verbose: self.common.verbose,
            timeout: self.limit()?,
        }))
    }

    fn start_again(&self, source: &Source) -> Result<i32, Failure> {
        let id = self.needs_resource()?;
        match &self.node {
            Some(node) => crate::restart::on_node(source, id, node, self.limit()?)?,
            None => crate::restart::run(source, id, self.limit()?)?,
        }
        self.wait_until_idle(source)
    }

    /// What needs no cluster.
    fn about_agents(&self) -> Result<Option<i32>, Failure> {
        let text = if let Some(kind) = &self.list_options {
            if !["primitive", "fencing"].contains(&kind.as_str()) {
                // Found out before the form of the output is known.
                kernel::errln!("crm_resource: Error parsing option --list-options");
                return Ok(Some(crm::USAGE));
            }
            return crate::crm_attribute::list_options(&self.common, kind, self.all).map(Some);
        } else if self.list_standards {
            listing::standards()
        } else if self.list_ocf_providers {
            listing::ocf_providers()
        } else if let Some(spec) = &self.list_agents {
            listing::agents(spec)?
        } else if let Some(spec) = &self.show_metadata {
            listing::metadata(spec)?
        } else {
            return Ok(None);
        };
        self.common.write(&text)?;
        Ok(Some(crm::OK))
    }

    /// `--node` as the cluster calls it.
    fn node_name<'v>(&self, view: &'v View<'_>) -> Result<Option<&'v str>, Failure> {
        let known = self.node.as_deref().map(|n| cluster::node_name(&view.cluster, n)).transpose();
        known.map_err(|node| performing(crm::NOSUCH, format!("Node '{node}' not found")))
    }

    fn needs_resource(&self) -> Result<&str, Failure> {
        self.resource.as_deref().ok_or_else(|| Failure::usage("Must supply a resource id with -r"))
    }

    /// `--clear --expired` needs no resource: everybody's constraints that are over go.
    fn clear_expired(&self, source: &Source, view: &View<'_>) -> Result<i32, Failure> {
        let node = self.node_name(view)?;
        self.say(moving::clear_expired(source, view, node)?)?;
        Ok(crm::OK)
    }

    fn on_resource(&self, source: &Source, view: &View<'_>) -> Result<i32, Failure> {
        let id = self.needs_resource()?;
        let Some(r) = cluster::find(&view.cluster.resources, id) else {
            return Err(performing(crm::NOSUCH, format!("Resource '{id}' not found")));
        };
        let moves = self.r#move || self.ban || self.clear;
        if moves && id == r.id && id != r.name {
            return Err(performing(INVALID_PARAMETER, format!("Cannot operate on clone resource instance '{id}'")));
        }
        let place = moving::Place {
            resource: r,
            node: self.node_name(view)?,
            promoted: self.promoted,
            lifetime: self.lifetime.as_deref(),
        };
        if let Some(action) = self.forced() {
            let mut call = by_hand::of_resource(view, r, action, self.force)?;
            call.overrides = self.given()?;
            (call.verbose, call.timeout) = (self.common.verbose, self.limit()?);
            return call.perform(&self.common);
        }
        if self.locate {
            let (text, element) = listing::locate(view, id);
            self.common.print(|| text, || vec![element])?;
        } else if self.query_xml || self.query_xml_raw {
            self.query(view, r)?;
        } else if self.r#move {
            self.say(moving::move_to(source, view, &place, self.force)?)?;
        } else if self.ban {
            self.say(moving::ban(source, view, &place)?)?;
        } else if self.clear {
            self.say(moving::clear(source, view, &place, self.expired, self.force)?)?;
        } else if self.constraints || self.stack {
            let meant = stack::meant(&view.cluster.resources, r, self.force);
            let shown = stack::show(view, &meant.name, self.stack || self.recursive);
            let list = || vec![shown.elements.iter().cloned().fold(Element::new("constraints"), Element::with_child)];
            self.common.print(|| shown.text.clone(), list)?;
        } else if self.why {
            let node = self.node_name(view)?;
            self.common.print(|| listing::why(view, r), || vec![listing::reason(view, r, node)])?;
        } else if self.delete {
            parameters::delete_resource(source, view, id, self.resource_type.as_deref())?;
        } else {
            return self.parameter(source, view, &r.name);
        }
        Ok(crm::OK)
    }

    /// Words for people; programs find the result alone.
    fn say(&self, text: String) -> Result<(), Failure> {
        if self.quiet || !self.common.is_text() { Ok(()) } else { self.common.write(&text) }
    }

    fn query(&self, view: &View<'_>, r: &scheduler::status::Resource) -> Result<(), Failure> {
        let element = parameters::element(view.cib, &r.name)?;
        let element = if self.query_xml { parameters::expanded(view.cib, element) } else { element.clone() };
        let mut status = String::new();
        crate::crm_mon::text::resource(&CrmMon { inactive: true, ..CrmMon::default() }, view, r, 0, &mut status);
        let status = status.trim_start_matches("* ").to_owned();
        let header = if args::compat_21() { "xml:" } else { "Resource XML:" };
        let shown = || {
            let status = crate::crm_mon::elements::resource(view, r);
            let xml = crate::report::quoted("xml", &element.to_pretty());
            vec![Element::new("resource_config").with_child(status).with_child(xml)]
        };
        self.common.print(|| format!("{status}{header}\n{}", element.to_pretty()), shown)
    }

    fn parameter(&self, source: &Source, view: &View<'_>, id: &str) -> Result<i32, Failure> {
        let store = parameters::Store {
            kind: match (self.meta, self.utilization, self.element) {
                (true, _, _) => parameters::Kind::Meta,
                (_, true, _) => parameters::Kind::Utilization,
                (_, _, true) => parameters::Kind::Element,
                _ => parameters::Kind::Instance,
            },
            set_id: self.set_name.as_deref(),
            id: self.nvpair.as_deref(),
            force: self.force,
            recursive: self.recursive,
        };
        if let Some(name) = &self.get_parameter {
            let Some(value) = parameters::get(view.cib, id, &store, name)? else {
                return self.without_value(id, &store, name);
            };
            let element = || vec![Element::new("parameter").with("name", name).with("value", &value)];
            self.common.print(|| format!("{value}\n"), element)?;
        } else if let Some(name) = &self.set_parameter {
            let value = self
                .parameter_value
                .as_ref()
                .ok_or_else(|| Failure::usage("You need to supply a value with the -v option"))?;
            let done = parameters::set(source, view, id, &store, name, value)?;
            let settings = done.elements.into_iter().fold(Element::new("resource-settings"), Element::with_child);
            match self.common.is_text() {
                true => self.say(done.text)?,
                false if settings.nodes().is_empty() => {}
                false => self.common.print(String::new, || vec![settings])?,
            }
        } else if let Some(name) = &self.delete_parameter {
            self.say(parameters::delete(source, view, id, &store, name)?)?;
        } else {
            return Err(Failure::usage("Must specify a command (see --help)"));
        }
        Ok(crm::OK)
    }

    /// An attribute of the element may be left out, and is no error then.
    fn without_value(&self, id: &str, store: &parameters::Store<'_>, name: &str) -> Result<i32, Failure> {
        let message = format!("Attribute '{name}' not found for '{id}'");
        if store.kind != parameters::Kind::Element {
            return Err(Failure::new(crm::NOSUCH, message));
        }
        if self.common.is_text() {
            kernel::errln!("{message}");
        } else {
            self.common.print_result(crm::OK, &[message], String::new, Vec::new)?;
        }
        Ok(crm::OK)
    }

    fn forget(&self, source: &Source) -> Result<i32, Failure> {
        let interval = self
            .interval
            .as_deref()
            .map(|i| cib::interval_ms(i).ok_or_else(|| Failure::usage(format!("'{i}' is not a time"))));
        if self.operation.is_some() && self.resource.is_none() {
            return Err(Failure::usage("--operation needs --resource"));
        }
        let call = CleanupCall {
            resource: checked_if("resource", self.resource.as_deref())?,
            node: checked_if("node", self.node.as_deref())?,
            operation: checked_if("operation", self.operation.as_deref())?,
            interval_ms: interval.transpose()?,
            refresh: self.refresh,
            force: self.force,
        };
        let text = cleanup::run(source, &call)?;
        self.say(text)?;
        Ok(crm::OK)
    }

    fn wait_until_idle(&self, source: &Source) -> Result<i32, Failure> {
        crate::wait::until_idle(source, self.limit()?.unwrap_or(WAIT).as_millis() as u64).map(|()| crm::OK)
    }
}
