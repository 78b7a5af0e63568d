//! `crm_mon`: the cluster's status, once or again and again.

mod brief;
pub mod elements;
mod fencing;
mod narrow;
mod operations;
mod past;
#[cfg(test)]
mod tests;
pub mod text;
mod words;

use crate::args::{self, Command};
use crate::cluster::{self, Operation};
use crate::report::{Common, Format, ToDocument, envelope};
use crate::source::{Failure, Source, now};
use base::WallTime;
use base::exit::crm;
use clap::Parser;
use scheduler::status::Cluster;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::time::Duration;
use wire::api::{FenceEvent, FenceState};
use xml::Element;

/// Show the status of the cluster
#[derive(Parser, Debug, Default)]
#[command(name = "crm_mon", disable_version_flag = true, after_help = EXAMPLES)]
pub struct CrmMon {
    /// Show once and end
    #[arg(short = '1', long)]
    pub one_shot: bool,
    /// One line for monitoring systems
    #[arg(short = 's', long)]
    pub simple_status: bool,
    /// Time between two looks
    #[arg(short = 'i', long, value_name = "TIME", default_value = "5")]
    pub interval: String,
    /// Group resources by node
    #[arg(short = 'n', long, help_heading = "Display")]
    pub group_by_node: bool,
    /// Show inactive resources too
    #[arg(short = 'r', long, help_heading = "Display")]
    pub inactive: bool,
    /// Show fail counts
    #[arg(short = 'f', long, help_heading = "Display")]
    pub failcounts: bool,
    /// Show the history of operations
    #[arg(short = 'o', long, help_heading = "Display")]
    pub operations: bool,
    /// Show the history of operations with times
    #[arg(short = 't', long, help_heading = "Display")]
    pub timing_details: bool,
    /// Show tickets
    #[arg(short = 'c', long, help_heading = "Display")]
    pub tickets: bool,
    /// Show bans (negative location constraints), optionally by id prefix
    #[arg(short = 'L', long, value_name = "PREFIX", num_args = 0..=1, default_missing_value = "", help_heading = "Display")]
    pub neg_locations: Option<String>,
    /// Show node attributes
    #[arg(short = 'A', long, help_heading = "Display")]
    pub show_node_attributes: bool,
    /// No headers
    #[arg(short = 'D', long, help_heading = "Display")]
    pub hide_headers: bool,
    /// More details: node ids, every clone instance
    #[arg(short = 'R', long, help_heading = "Display")]
    pub show_detail: bool,
    /// Resource descriptions
    #[arg(long, help_heading = "Display")]
    pub show_description: bool,
    /// How many of each agent are active, not each by itself
    #[arg(short = 'b', long, help_heading = "Display")]
    pub brief: bool,
    /// Fencing that is shown: 0 none, 1 failed and pending (as without this), 2 also successful (as without LEVEL), 3 all of it
    #[arg(short = 'm', long, value_name = "LEVEL", num_args = 0..=1, default_missing_value = "2", help_heading = "Display")]
    pub fence_history: Option<String>,
    /// Only these sections (all, none, or some of summary, nodes, resources, attributes, operations, failcounts, failures, fencing,
    /// fencing-failed, fencing-pending, fencing-succeeded, tickets, bans, warnings)
    #[arg(short = 'I', long, value_name = "SECTIONS", value_delimiter = ',', help_heading = "Display")]
    pub include: Vec<String>,
    /// Without these sections
    #[arg(short = 'U', long, value_name = "SECTIONS", value_delimiter = ',', help_heading = "Display")]
    pub exclude: Vec<String>,
    /// Only this node, or the nodes of this tag
    #[arg(long, value_name = "NODE", help_heading = "Display")]
    pub node: Option<String>,
    /// Only this resource, or those of this tag
    #[arg(long, value_name = "RESOURCE", help_heading = "Display")]
    pub resource: Option<String>,
    /// Less output
    #[arg(short = 'Q', long)]
    pub quiet: bool,
    #[command(flatten)]
    pub common: Common,
}

const EXAMPLES: &str = "Examples:
  crm_mon -1             the status, once
  crm_mon -1rf           with inactive resources and fail counts
  crm_mon -1A            with node attributes
  crm_mon -1n            by node
  crm_mon -1m3           with everything that was fenced
  crm_mon --output-as=json
  crm_mon -i 2           look again every 2 seconds until Ctrl-C
  CIB_file=cib.xml crm_mon -1r

Exit codes: 0 shown; 102 no daemon";

/// `CRM_EX_INVALID_PARAM`.
const INVALID_PARAMETER: i32 = 2;

/// All that is shown.
pub struct View<'a> {
    pub cib: &'a Element,
    pub cluster: Cluster,
    pub operations: Vec<Operation>,
    pub now: WallTime,
    /// What was fenced and is being fenced, as the node tells it; nothing where a file is shown.
    pub fencing: Vec<FenceEvent>,
    /// What the node that was asked warns of; nothing of a file.
    pub warnings: Vec<String>,
    /// A running node was asked, not only a file.
    pub live: bool,
    pub only: narrow::Only,
    /// Programs are shown what resources are described as.
    pub descriptions: bool,
}

impl<'a> View<'a> {
    /// Of this CIB alone.
    pub fn of(cib: &'a Element) -> Result<View<'a>, Failure> {
        let now = now();
        let cluster = cluster::read(cib, now)?;
        crate::log::messages(&cluster.messages);
        Ok(View {
            cluster,
            operations: cluster::operations(cib),
            now,
            cib,
            fencing: Vec::new(),
            warnings: Vec::new(),
            live: false,
            only: narrow::Only::default(),
            descriptions: false,
        })
    }

    /// With what the running node says beside it; without that the status is as good as before.
    pub fn live(source: &Source, cib: &'a Element) -> Result<View<'a>, Failure> {
        let status = source.status().ok().flatten();
        let live = status.is_some();
        let (fencing, warnings) = status.map(|s| (s.fencing, s.warnings)).unwrap_or_default();
        Ok(View { fencing, warnings, live, ..View::of(cib)? })
    }
}

/// Sections in the order of display.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Section {
    Summary,
    Nodes,
    Resources,
    Attributes,
    Operations,
    Failcounts,
    Failures,
    FencingFailed,
    FencingPending,
    FencingSucceeded,
    Tickets,
    Bans,
    Warnings,
}

impl Section {
    const ALL: [(Section, &'static str); 13] = [
        (Section::Summary, "summary"),
        (Section::Nodes, "nodes"),
        (Section::Resources, "resources"),
        (Section::Attributes, "attributes"),
        (Section::Operations, "operations"),
        (Section::Failcounts, "failcounts"),
        (Section::Failures, "failures"),
        (Section::FencingFailed, "fencing-failed"),
        (Section::FencingPending, "fencing-pending"),
        (Section::FencingSucceeded, "fencing-succeeded"),
        (Section::Tickets, "tickets"),
        (Section::Bans, "bans"),
        (Section::Warnings, "warnings"),
    ];
}

pub fn main(args: Vec<OsString>) -> i32 {
    args::run::<CrmMon>(args)
}

impl Command for CrmMon {
    const NAME: &'static str = "crm_mon";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        let interval_ms = cib::interval_ms(&self.interval)
            .ok_or_else(|| Failure::usage(format!("'{}' is not a time", self.interval)))?;
        self.fence_level()?;
        let source = Source::open();
        let watch = !self.one_shot
            && !self.simple_status
            && source.client().is_some()
            && self.common.output_to.is_none()
            && matches!(self.common.output_as, Format::Text | Format::Console)
            && std::io::stdout().is_terminal();
        loop {
            let cib = source.cib()?;
            let mut view = View::live(&source, &cib)?;
            view.narrow(self);
            view.descriptions = self.show_description;
            if self.simple_status {
                return self.simple(&view);
            }
            let out = self.render(&view)?;
            if !watch {
                self.common.write(&out)?;
                return Ok(crm::OK);
            }
            // Clears the screen, so that nothing of the last look stays.
            crate::report::put(&format!("\x1b[2J\x1b[H{out}"));
            if !kernel::output::is_open() {
                return Ok(crm::OK);
            }
            std::thread::sleep(Duration::from_millis(interval_ms.max(100)));
        }
    }
}

impl CrmMon {
    pub fn render(&self, view: &View<'_>) -> Result<String, Failure> {
        Ok(match self.common.output_as {
            Format::None => String::new(),
            Format::Text | Format::Console => text::render(self, view),
            // The schema has no place for warnings but this one, and programs check against it.
            Format::Xml => {
                let warned = view.warnings.iter().filter(|_| self.shows(Section::Warnings));
                let warned: Vec<String> = warned.map(|w| format!("warning: {w}")).collect();
                envelope(elements::all(self, view), crm::OK, &warned).to_document()
            }
            Format::Json => format!("{:#}\n", crate::report::json(&envelope(elements::all(self, view), crm::OK, &[]))),
        })
    }

    /// Which sections are shown, by their switches and by --include and --exclude.
    pub fn shows(&self, section: Section) -> bool {
        let name = Section::ALL.iter().find(|(s, _)| *s == section).map_or("", |(_, n)| n);
        let fencing = name.starts_with("fencing-");
        let named = |list: &[String]| list.iter().any(|i| i == name || i == "all" || fencing && i == "fencing");
        let only = self.include.iter().any(|i| i == "none");
        let xml = matches!(self.common.output_as, Format::Xml | Format::Json);
        let standard = match section {
            Section::Summary => !self.hide_headers,
            Section::Nodes | Section::Resources | Section::Failures | Section::Warnings => true,
            Section::Attributes => self.show_node_attributes || xml,
            Section::Operations => self.operations || self.timing_details || xml,
            Section::Failcounts => self.failcounts,
            Section::FencingFailed | Section::FencingPending => self.fence_level().is_ok_and(|l| l >= 1),
            Section::FencingSucceeded => self.fence_level().is_ok_and(|l| l >= 2),
            Section::Tickets => self.tickets,
            Section::Bans => self.neg_locations.is_some() || xml,
        };
        named(&self.include) || (standard && !only && !named(&self.exclude) && !self.exclude.iter().any(|e| e == "all"))
    }

    /// `--fence-history`; as XML everything is told unless something else is asked for.
    fn fence_level(&self) -> Result<u8, Failure> {
        let Some(text) = &self.fence_history else {
            return Ok(if matches!(self.common.output_as, Format::Xml | Format::Json) { 3 } else { 1 });
        };
        let level = text.parse().ok().filter(|l| *l <= 3);
        level.ok_or_else(|| Failure::new(INVALID_PARAMETER, "Fence history must be 0-3"))
    }

    fn simple(&self, view: &View<'_>) -> Result<i32, Failure> {
        let (line, code) = simple_line(view);
        self.common.write(&line)?;
        Ok(code)
    }
}

/// The line for monitoring systems, and the code that goes with it.
fn simple_line(view: &View<'_>) -> (String, i32) {
    let cluster = &view.cluster;
    let bad: Vec<String> =
        cluster.nodes.iter().filter(|n| !n.online).map(|n| format!("offline node: {}", n.name)).collect();
    let mut warnings = bad;
    if cluster.dc.is_none() {
        warnings.insert(0, "No DC".to_owned());
    }
    // The node's own words say why as well.
    if !cluster.quorate && !view.warnings.iter().any(|w| w.starts_with("no quorum")) {
        warnings.push("no quorum".to_owned());
    }
    let failed = crate::fencing::reduced(&crate::fencing::sorted(view.fencing.clone()));
    let is_open = |e: &&FenceEvent| e.state == FenceState::Pending;
    warnings.extend(failed.iter().filter(is_open).map(|e| format!("{} of {} is pending", e.action, e.target)));
    warnings.extend(view.warnings.iter().cloned());
    let line = match warnings.is_empty() {
        true => {
            let online = cluster.nodes.iter().filter(|n| n.online).count();
            format!(
                "CLUSTER OK: {online} node{} online, {} resource instance{} configured\n",
                plural(online),
                cluster.instances,
                plural(cluster.instances)
            )
        }
        false => format!("CLUSTER WARN: {}\n", warnings.join(", ")),
    };
    (line, i32::from(!warnings.is_empty()))
}

pub fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

/// Configured constraints that keep a resource off a node.
pub fn bans<'a>(cib: &'a Element, prefix: &'a str) -> impl Iterator<Item = &'a Element> {
    let constraints = cib.child("configuration").and_then(|c| c.child("constraints"));
    let all = constraints.into_iter().flat_map(|c| c.elements_named("rsc_location"));
    all.filter(move |e| {
        let negative = e.attr("score").and_then(base::Score::parse).is_some_and(|s| s < base::Score::ZERO);
        negative && e.attr("node").is_some() && e.id().is_some_and(|id| id.starts_with(prefix))
    })
}
