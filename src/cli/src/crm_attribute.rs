//! `crm_attribute`: cluster options and node attributes; `crm_standby` and `crm_failcount` on top of it.

use crate::args::{self, Command};
use crate::attributes::{self, Found, Scope, Which};
use crate::report::Common;
use crate::source::{Failure, Source, checked, checked_if};
use base::exit::crm;
use cib::schema::{META_ATTRIBUTES, PROPERTIES, Property};
use clap::Parser;
use std::ffi::OsString;
use xml::Element;

/// Query and update cluster options and node attributes
#[derive(Parser, Debug)]
#[command(name = "crm_attribute", disable_version_flag = true, after_help = EXAMPLES)]
pub struct CrmAttribute {
    /// The attribute or option
    #[arg(short = 'n', long, value_name = "NAME", help_heading = "Selecting")]
    name: Option<String>,
    /// All attributes whose names match this regular expression
    #[arg(short = 'P', long, value_name = "PATTERN", conflicts_with = "name", help_heading = "Selecting")]
    pattern: Option<String>,
    /// Promotion score of this resource (of OCF_RESOURCE_INSTANCE if no name is given)
    #[arg(short = 'p', long, value_name = "RESOURCE", num_args = 0..=1, default_missing_value = "", help_heading = "Selecting")]
    promotion: Option<String>,
    /// Id of the nvpair
    #[arg(short = 'i', long, value_name = "XML_ID", help_heading = "Selecting")]
    id: Option<String>,
    /// Id of the set
    #[arg(short = 's', long, value_name = "XML_ID", help_heading = "Selecting")]
    set_name: Option<String>,
    /// Node whose attribute it is
    #[arg(
        short = 'N',
        long,
        visible_alias = "uname",
        visible_short_alias = 'U',
        value_name = "NODE",
        help_heading = "Selecting"
    )]
    node: Option<String>,
    /// crm_config, rsc_defaults, op_defaults, nodes or status
    #[arg(short = 't', long, value_name = "SECTION", help_heading = "Selecting")]
    r#type: Option<String>,
    /// forever (configuration) or reboot (until the cluster stops on the node)
    #[arg(short = 'l', long, value_name = "LIFETIME", help_heading = "Selecting")]
    lifetime: Option<String>,
    /// A utilization attribute of the node
    #[arg(short = 'z', long, help_heading = "Selecting")]
    utilization: bool,
    /// Show the value
    #[arg(short = 'G', long, group = "command", help_heading = "Commands")]
    query: bool,
    /// Set the value
    #[arg(
        short = 'v',
        long,
        value_name = "VALUE",
        group = "command",
        allow_hyphen_values = true,
        help_heading = "Commands"
    )]
    update: Option<String>,
    /// Delete it
    #[arg(short = 'D', long, group = "command", help_heading = "Commands")]
    delete: bool,
    /// List all options of a kind (cluster)
    #[arg(short = 'L', long, value_name = "TYPE", group = "command", help_heading = "Commands")]
    list_options: Option<String>,
    /// With --list-options: also advanced and deprecated ones
    #[arg(short = 'a', long)]
    all: bool,
    /// Value to show if there is none
    #[arg(short = 'd', long, value_name = "VALUE", allow_hyphen_values = true)]
    default: Option<String>,
    /// 'value++' and 'value+=N' count up what is there
    #[arg(long)]
    score: bool,
    /// Accepted: the command ends when the value is known to this node
    #[arg(short = 'W', long, value_name = "UNTIL")]
    wait: Option<String>,
    /// Only the value
    #[arg(short = 'q', visible_short_alias = 'Q', long)]
    quiet: bool,
    #[command(flatten)]
    common: Common,
}

const EXAMPLES: &str = "Examples:
  crm_attribute -n no-quorum-policy -v ignore        set a cluster option
  crm_attribute -n cluster-delay -G                  show it
  crm_attribute -N d1 -n role -v master              permanent node attribute
  crm_attribute -N d1 -n load -v 5 -l reboot         node attribute until the cluster stops there
  crm_attribute -t rsc_defaults -n resource-stickiness -v 100

Exit codes: 0 done; 64 usage; 102 no daemon; 105 no such attribute or node";

pub fn main(args: Vec<OsString>) -> i32 {
    args::run::<CrmAttribute>(args)
}

impl Command for CrmAttribute {
    const NAME: &'static str = "crm_attribute";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        if let Some(kind) = &self.list_options {
            return list_options(&self.common, kind, self.all);
        }
        self.perform().map_err(|f| match f.code {
            // It says so itself where the options are wrong.
            crm::INSUFFICIENT_PRIV | crm::CONFIG => {
                Failure { message: format!("Error performing operation: {}", f.message), ..f }
            }
            _ => f,
        })
    }
}

impl CrmAttribute {
    fn perform(&self) -> Result<i32, Failure> {
        if self.delete && self.name.is_none() && self.pattern.is_none() && self.promotion.is_none() && self.id.is_none()
        {
            return Err(Failure::usage("Error: must specify attribute name or pattern to delete"));
        }
        let source = Source::open();
        let scope = self.scope(&source)?;
        if let Some(pattern) = &self.pattern {
            return self.all_matching(&source, &scope, pattern);
        }
        let name = self.attribute_name()?;
        let which = Which { name: &name, set_id: self.set_name.as_deref(), id: self.id.as_deref() };
        if let Some(value) = &self.update {
            self.unambiguous(attributes::values(&source.cib()?, &scope, which)?, &name)?;
            attributes::set(&source, &scope, which, value, self.score)?;
            return Ok(crm::OK);
        }
        if self.delete {
            // What is not there need not be deleted.
            if let Some(id) = attributes::delete(&source, &scope, which)? {
                self.say_deleted(&scope, &id, &name)?;
            }
            return Ok(crm::OK);
        }
        let found = attributes::values(&source.cib()?, &scope, which)?;
        self.show(&scope, &name, found)
    }
}

/// Nothing that fits.
fn not_found() -> Failure {
    Failure::new(crm::NOSUCH, "Error performing operation: No such device or address")
}

impl CrmAttribute {
    fn attribute_name(&self) -> Result<String, Failure> {
        if let Some(resource) = &self.promotion {
            let instance = std::env::var("OCF_RESOURCE_INSTANCE").unwrap_or_default();
            let resource = if resource.is_empty() { instance } else { resource.clone() };
            if resource.is_empty() {
                return Err(Failure::usage(
                    "-p/--promotion must be called from an OCF resource agent or with a resource ID specified",
                ));
            }
            // Instances of anonymous clones share one score name.
            return Ok(format!("master-{}", resource.split(':').next().unwrap_or_default()));
        }
        match (&self.name, &self.id) {
            (Some(name), _) => Ok(name.clone()),
            (None, Some(_)) => Ok(String::new()),
            (None, None) => Err(Failure::usage("Must specify an attribute: --name")),
        }
    }

    fn scope(&self, source: &Source) -> Result<Scope, Failure> {
        let node = || match self.node.as_deref() {
            Some("localhost") | None => source.local_node(),
            Some(name) => Ok(name.to_owned()),
        };
        let lifetime = self.lifetime.as_deref();
        let reboot = lifetime.is_some_and(|l| ["reboot", "status"].contains(&l));
        if lifetime.is_some_and(|l| !["reboot", "status", "forever", "nodes"].contains(&l)) {
            return Err(Failure::usage("--lifetime is 'forever' or 'reboot'"));
        }
        match self.r#type.as_deref() {
            Some(section @ ("crm_config" | "rsc_defaults" | "op_defaults")) => Ok(Scope::Options(section.to_owned())),
            Some("status") => Ok(Scope::Transient { name: node()? }),
            Some("nodes") => Ok(Scope::Node { name: node()?, utilization: self.utilization }),
            Some(other) => Err(Failure::usage(format!(
                "no section '{other}': crm_config, rsc_defaults, op_defaults, nodes or status"
            ))),
            None if reboot || (self.promotion.is_some() && lifetime.is_none()) => {
                Ok(Scope::Transient { name: node()? })
            }
            None if self.node.is_some() || lifetime.is_some() || self.utilization || self.promotion.is_some() => {
                Ok(Scope::Node { name: node()?, utilization: self.utilization })
            }
            None => Ok(Scope::Options("crm_config".to_owned())),
        }
    }

    /// Each attribute whose name matches is shown, set or deleted.
    fn all_matching(&self, source: &Source, scope: &Scope, pattern: &str) -> Result<i32, Failure> {
        let pattern = regex::Regex::new(pattern).map_err(|e| Failure::usage(format!("--pattern: {e}")))?;
        let all =
            attributes::values(&source.cib()?, scope, Which { name: "", set_id: self.set_name.as_deref(), id: None })?;
        let mut found: Vec<Found> = all.into_iter().filter(|f| pattern.is_match(&f.name)).collect();
        if self.update.is_none() && !self.delete {
            return self.show(scope, "", found);
        }
        found.dedup_by(|a, b| a.name == b.name);
        for Found { name, .. } in found {
            let which = Which { name: &name, set_id: self.set_name.as_deref(), id: None };
            if let Some(value) = &self.update {
                attributes::set(source, scope, which, value, self.score)?;
            } else if let Some(id) = attributes::delete(source, scope, which)? {
                self.say_deleted(scope, &id, &name)?;
            }
        }
        Ok(crm::OK)
    }

    fn say_deleted(&self, scope: &Scope, id: &str, name: &str) -> Result<(), Failure> {
        let kind = if matches!(scope, Scope::Options(_)) { "option" } else { "attribute" };
        match self.quiet || !self.common.is_text() {
            true => Ok(()),
            false => self.common.write(&format!("Deleted {} {kind}: id={id} name={name}\n", scope.section())),
        }
    }

    /// Which of several was meant cannot be guessed.
    fn unambiguous(&self, found: Vec<Found>, name: &str) -> Result<(), Failure> {
        if found.len() < 2 {
            return Ok(());
        }
        let line = |f: &Found| format!("  Value: {} \t(id={})\n", f.value, f.id);
        let list: String = found.iter().map(line).collect();
        if self.common.is_text() {
            self.common.write(&format!("Multiple attributes match name={name}\n{list}"))?;
        }
        let advice = "Please choose from one of the matches below and supply the 'id' with --attr-id";
        Err(Failure::new(crm::MULTIPLE, advice))
    }

    fn show(&self, scope: &Scope, name: &str, mut found: Vec<Found>) -> Result<i32, Failure> {
        if found.is_empty() {
            let value = self.default.clone().ok_or_else(not_found)?;
            found.push(Found { id: String::new(), name: name.to_owned(), value });
        }
        if self.pattern.is_none() {
            if found.len() > 1 {
                kernel::errln!("crm_attribute: Multiple attributes match name={name}; the first one counts");
            }
            found.truncate(1);
        }
        let section = scope.section();
        let gap = if args::compat_21() { "  " } else { " " };
        let line = |f: &Found| match self.quiet {
            true => format!("{}\n", f.value),
            false => format!("scope={section}{gap}name={} value={}\n", f.name, f.value),
        };
        let element =
            |f: &Found| Element::new("attribute").with("name", &f.name).with("value", &f.value).with("scope", section);
        self.common.print(|| found.iter().map(line).collect(), || found.iter().map(element).collect())?;
        Ok(crm::OK)
    }
}

/// `--list-options`.
pub fn list_options(common: &Common, kind: &str, all: bool) -> Result<i32, Failure> {
    let table: &[Property] = match kind {
        "cluster" => PROPERTIES,
        "primitive" | "resource" => META_ATTRIBUTES,
        other => {
            let message = format!("Invalid --list-options value '{other}'. Allowed values: cluster");
            return Err(Failure::usage(message));
        }
    };
    let shown: Vec<&Property> =
        table.iter().filter(|p| all || !(p.flags.contains("adv") || p.flags.contains("deprecated"))).collect();
    let text = || {
        let line = |p: &&Property| {
            let values =
                if p.values.is_empty() { String::new() } else { format!(" ({})", p.values.replace(',', ", ")) };
            let default = if p.default.is_empty() { "none" } else { p.default };
            format!("  * {}: {}{values}, default {default}\n", p.name, p.kind)
        };
        shown.iter().map(line).collect()
    };
    let elements = || {
        let element = |p: &&Property| {
            Element::new("option")
                .with("name", p.name)
                .with("type", p.kind)
                .with("default", p.default)
                .with("values", p.values)
        };
        shown.iter().map(element).collect()
    };
    common.print(text, elements)?;
    Ok(crm::OK)
}

/// Query and set standby: a node in standby runs no resources
#[derive(Parser, Debug)]
#[command(name = "crm_standby", disable_version_flag = true, after_help = STANDBY_EXAMPLES)]
pub struct CrmStandby {
    /// Show the value (on or off)
    #[arg(short = 'G', long, group = "command")]
    query: bool,
    /// Set it: on, off, true or false
    #[arg(short = 'v', long, value_name = "VALUE", group = "command")]
    update: Option<String>,
    /// The same as --update=on
    #[arg(long, group = "command")]
    on: bool,
    /// The same as --update=off
    #[arg(long, group = "command")]
    off: bool,
    /// Delete the setting
    #[arg(short = 'D', long, group = "command")]
    delete: bool,
    /// The node, instead of this one
    #[arg(short = 'N', long, value_name = "NODE")]
    node: Option<String>,
    /// forever (default) or reboot
    #[arg(short = 'l', long, value_name = "LIFETIME")]
    lifetime: Option<String>,
    /// Id of the nvpair
    #[arg(short = 'i', long, value_name = "XML_ID")]
    id: Option<String>,
    /// Only the value
    #[arg(short = 'q', long)]
    quiet: bool,
    #[command(flatten)]
    common: Common,
}

const STANDBY_EXAMPLES: &str = "Examples:
  crm_standby -N d1 -v on      move everything off d1
  crm_standby -N d1 -v off     let it run resources again
  crm_standby -N d1 -G";

pub fn standby(args: Vec<OsString>) -> i32 {
    args::run::<CrmStandby>(args)
}

impl Command for CrmStandby {
    const NAME: &'static str = "crm_standby";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        let source = Source::open();
        let name = match &self.node {
            Some(name) => name.clone(),
            None => source.local_node()?,
        };
        let scope = match self.lifetime.as_deref() {
            None | Some("forever") => Scope::Node { name, utilization: false },
            Some("reboot") => Scope::Transient { name },
            Some(_) => return Err(Failure::usage("--lifetime is 'forever' or 'reboot'")),
        };
        let which = Which { name: "standby", set_id: None, id: self.id.as_deref() };
        let update = match (&self.update, self.on, self.off) {
            (Some(value), _, _) => Some(value.as_str()),
            (None, true, _) => Some("on"),
            (None, false, true) => Some("off"),
            _ => None,
        };
        if let Some(value) = update {
            if !["on", "off", "true", "false"].contains(&value) {
                return Err(Failure::usage(format!("'{value}' is not a value of standby: on, off, true or false")));
            }
            attributes::set(&source, &scope, which, value, false)?;
        } else if self.delete {
            if let Some(id) = attributes::delete(&source, &scope, which)? {
                let text = format!("Deleted {} attribute: id={id} name=standby\n", scope.section());
                self.common.print(|| text, Vec::new)?;
            }
        } else {
            let found = attributes::values(&source.cib()?, &scope, which)?;
            let value = found.first().map_or("off", |f| f.value.as_str());
            // A node is in standby by its permanent attribute, or until it stops: where neither says so, it is not.
            let section = if found.is_empty() && self.lifetime.is_none() { "status" } else { scope.section() };
            let text = || match self.quiet {
                true => format!("{value}\n"),
                false => format!("scope={section}  name=standby value={value}\n"),
            };
            self.common.print(text, || vec![Element::new("attribute").with("name", "standby").with("value", value)])?;
        }
        Ok(crm::OK)
    }
}

/// Query and delete a resource's fail count
#[derive(Parser, Debug)]
#[command(
    name = "crm_failcount",
    disable_version_flag = true,
    after_help = "Examples:\n  crm_failcount -G -r vip -N d1\n  crm_failcount -D -r vip"
)]
pub struct CrmFailcount {
    /// Show the fail count
    #[arg(short = 'G', long, group = "command")]
    query: bool,
    /// Forget the resource's failures
    #[arg(short = 'D', long, group = "command")]
    delete: bool,
    /// The resource
    #[arg(short = 'r', long, value_name = "ID")]
    resource: String,
    /// Only this operation
    #[arg(short = 'n', long, value_name = "NAME")]
    operation: Option<String>,
    /// The operation's interval
    #[arg(short = 'I', long, value_name = "INTERVAL")]
    interval: Option<String>,
    /// The node, instead of this one
    #[arg(short = 'N', long, value_name = "NODE")]
    node: Option<String>,
    /// Only the value
    #[arg(short = 'q', long)]
    quiet: bool,
    #[command(flatten)]
    common: Common,
}

pub fn failcount(args: Vec<OsString>) -> i32 {
    args::run::<CrmFailcount>(args)
}

impl Command for CrmFailcount {
    const NAME: &'static str = "crm_failcount";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        let source = Source::open();
        if self.delete {
            let interval = self
                .interval
                .as_deref()
                .map(|i| cib::interval_ms(i).ok_or_else(|| Failure::usage(format!("'{i}' is not a time"))));
            let call = wire::api::CleanupCall {
                resource: Some(checked("resource", &self.resource)?),
                node: checked_if("node", self.node.as_deref())?,
                operation: checked_if("operation", self.operation.as_deref())?,
                interval_ms: interval.transpose()?,
                ..Default::default()
            };
            crate::crm_resource::cleanup::run(&source, &call)?;
            return Ok(crm::OK);
        }
        let name = match &self.node {
            Some(name) => name.clone(),
            None => source.local_node()?,
        };
        let prefix = format!("fail-count-{}", self.resource);
        let all = attributes::values(&source.cib()?, &Scope::Transient { name }, Which::default())?;
        let operation = self.operation.as_ref().map(|o| format!("#{o}_"));
        let counts = all.iter().filter(|f| f.name.split('#').next() == Some(&prefix));
        let counts = counts.filter(|f| operation.as_ref().is_none_or(|o| f.name.contains(o.as_str())));
        let sum = counts.filter_map(|f| base::Score::parse(&f.value)).fold(base::Score::ZERO, |a, b| a + b);
        let text = || match self.quiet {
            true => format!("{sum}\n"),
            false => format!("scope=status  name={prefix} value={sum}\n"),
        };
        self.common
            .print(text, || vec![Element::new("attribute").with("name", &prefix).with("value", sum.to_string())])?;
        Ok(crm::OK)
    }
}
