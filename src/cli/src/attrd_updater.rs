//! `attrd_updater` and `crm_master`: node attributes as resource agents set them.

use crate::args::{self, Command};
use crate::attributes::{self, Scope, Which};
use crate::report::Common;
use crate::source::{Failure, Source, checked};
use base::exit::crm;
use clap::Parser;
use std::ffi::OsString;
use wire::api::{AttributeAction, AttributeCall, AttributeReply, AttributeValue, Lifetime};
use xml::Element;

/// Query and update node attributes that last until the cluster stops on the node
#[derive(Parser, Debug)]
#[command(name = "attrd_updater", disable_version_flag = true, after_help = EXAMPLES)]
pub struct AttrdUpdater {
    /// The attribute
    #[arg(short = 'n', long, value_name = "NAME")]
    name: Option<String>,
    /// Set the value; 'value++' and 'value+=N' count up
    #[arg(
        short = 'U',
        long,
        visible_alias = "value",
        visible_short_alias = 'v',
        value_name = "VALUE",
        group = "command",
        allow_hyphen_values = true
    )]
    update: Option<String>,
    /// Set value and delay
    #[arg(short = 'B', long, value_name = "VALUE", group = "command", allow_hyphen_values = true)]
    update_both: Option<String>,
    /// Set the delay only
    #[arg(short = 'Y', long, group = "command")]
    update_delay: bool,
    /// Show the value
    #[arg(short = 'Q', long, group = "command")]
    query: bool,
    /// Delete it
    #[arg(short = 'D', long, group = "command")]
    delete: bool,
    /// Accepted: every value is always known to all nodes
    #[arg(short = 'R', long, group = "command")]
    refresh: bool,
    /// Wait this long for further changes
    #[arg(short = 'd', long, value_name = "TIME")]
    delay: Option<String>,
    /// Accepted for the original's sake
    #[arg(short = 's', long, value_name = "SET")]
    set: Option<String>,
    /// Accepted for the original's sake
    #[arg(short = 'l', long, value_name = "LIFETIME")]
    lifetime: Option<String>,
    /// The node, instead of this one
    #[arg(short = 'N', long, value_name = "NODE")]
    node: Option<String>,
    /// With --query: on all nodes
    #[arg(short = 'A', long)]
    all: bool,
    /// Never write it to the CIB
    #[arg(short = 'p', long)]
    private: bool,
    /// Accepted: the command ends when the value is known to this node
    #[arg(short = 'W', long, value_name = "UNTIL")]
    wait: Option<String>,
    /// Less output
    #[arg(short = 'q', long)]
    quiet: bool,
    #[command(flatten)]
    common: Common,
}

const EXAMPLES: &str = "Examples:
  attrd_updater -n pingd -U 100 -d 5s     set, after 5 s without another change
  attrd_updater -n pingd -Q -A            show on all nodes
  attrd_updater -n pingd -D               delete";

pub fn main(args: Vec<OsString>) -> i32 {
    args::run::<AttrdUpdater>(args)
}

impl Command for AttrdUpdater {
    const NAME: &'static str = "attrd_updater";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        if self.refresh {
            return Ok(crm::OK);
        }
        let name = self.name.as_deref().ok_or_else(|| Failure::usage("Must specify an attribute: --name"))?;
        let dampen = self
            .delay
            .as_deref()
            .map(|d| cib::interval_ms(d).ok_or_else(|| Failure::usage(format!("'{d}' is not a time"))));
        let action = match (&self.update, &self.update_both) {
            (Some(value), _) | (None, Some(value)) => AttributeAction::Set { value: checked("value", value)? },
            _ if self.delete => AttributeAction::Delete,
            _ if self.update_delay => AttributeAction::SetDelay,
            _ if self.all => AttributeAction::QueryAll,
            _ => AttributeAction::Query,
        };
        let source = Source::open();
        let node = match &self.node {
            Some(node) => node.clone(),
            None => source.local_node()?,
        };
        let values = match source.client() {
            Some(client) => {
                let (name, node) = (checked("attribute name", name)?, Some(checked("node", &node)?));
                let private = self.private;
                let call = AttributeCall {
                    name,
                    node,
                    action,
                    lifetime: Lifetime::Reboot,
                    dampen_ms: dampen.transpose()?,
                    private,
                };
                let reply: AttributeReply = client.post("/v1/attribute", &call)?;
                match reply.code {
                    0 => reply.values,
                    code => {
                        return Err(Failure::new(
                            code,
                            reply.message.unwrap_or_else(|| "the attribute was refused".to_owned()),
                        ));
                    }
                }
            }
            None => in_file(&source, name, node, &action)?,
        };
        self.show(values)
    }
}

impl AttrdUpdater {
    fn show(&self, values: Vec<AttributeValue>) -> Result<i32, Failure> {
        let line = |v: &AttributeValue| {
            format!("name=\"{}\" host=\"{}\" value=\"{}\"\n", v.name, v.node, v.value.as_deref().unwrap_or_default())
        };
        let element = |v: &AttributeValue| {
            Element::new("attribute")
                .with("name", &v.name)
                .with("host", &v.node)
                .with("value", v.value.as_deref().unwrap_or_default())
        };
        self.common.print(|| values.iter().map(line).collect(), || values.iter().map(element).collect())?;
        Ok(crm::OK)
    }
}

fn in_file(
    source: &Source,
    name: &str,
    node: String,
    action: &AttributeAction,
) -> Result<Vec<AttributeValue>, Failure> {
    let which = Which { name, set_id: None, id: None };
    let scope = Scope::Transient { name: node.clone() };
    match action {
        AttributeAction::Set { value } => {
            attributes::set(source, &scope, which, value, true)?;
            Ok(Vec::new())
        }
        AttributeAction::Delete => attributes::delete(source, &scope, which).map(|_| Vec::new()),
        AttributeAction::SetDelay => Ok(Vec::new()),
        AttributeAction::Query | AttributeAction::QueryAll => {
            let cib = source.cib()?;
            let all = matches!(action, AttributeAction::QueryAll);
            let states = cib.child("status").into_iter().flat_map(|s| s.elements_named("node_state"));
            let names: Vec<String> = match all {
                true => states.filter_map(|s| s.attr("uname")).map(str::to_owned).collect(),
                false => vec![node],
            };
            let mut found = Vec::new();
            for node in names {
                for attributes::Found { name, value, .. } in
                    attributes::values(&cib, &Scope::Transient { name: node.clone() }, which)?
                {
                    found.push(AttributeValue { node: node.clone(), name, value: Some(value) });
                }
            }
            match found.is_empty() {
                true => {
                    Err(Failure::new(crm::NOSUCH, format!("Could not query value of {name}: attribute does not exist")))
                }
                false => Ok(found),
            }
        }
    }
}

/// `crm_master`: `crm_attribute --promotion`, with the resource by `-r` or from the agent's environment.
pub fn master(args: Vec<OsString>) -> i32 {
    let mut promotion = OsString::from("--promotion=");
    let mut rest = Vec::new();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--promote" | "--demote") => {
                kernel::errln!(
                    "crm_master: it sets how much a node is preferred for the promoted role, and promotes nothing itself: \
                     crm_master -r RESOURCE -v SCORE, or crm resource promote RESOURCE"
                );
                return crm::USAGE;
            }
            Some("-r" | "--resource") => promotion.push(args.next().unwrap_or_default()),
            _ => rest.push(arg),
        }
    }
    rest.insert(0, promotion);
    crate::crm_attribute::main(rest)
}
