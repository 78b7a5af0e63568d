//! `crm_simulate`: what the cluster would do, and where that would lead.

use crate::args::{self, Command};
use crate::cibadmin::read_xml;
use crate::crm_mon::{CrmMon, View, elements};
use crate::report::Common;
use crate::source::{Failure, Source};
use base::exit::crm;
use clap::Parser;
use scheduler::simulate::{self, Depth, Events, Options, Simulated};
use scheduler::status::Cluster;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use xml::{Element, Node};

/// Simulate a Pacemaker cluster's response to events
#[derive(Parser, Debug)]
#[command(name = "crm_simulate", disable_version_flag = true, after_help = EXAMPLES)]
pub struct CrmSimulate {
    /// Show what the cluster would do
    #[arg(short = 'R', long, help_heading = "Operations")]
    run: bool,
    /// Like --run, and show the status after it
    #[arg(short = 'S', long, help_heading = "Operations")]
    simulate: bool,
    /// Like --simulate, and store the result in the input file
    #[arg(short = 'X', long, help_heading = "Operations")]
    in_place: bool,
    /// Show node attributes
    #[arg(short = 'A', long, help_heading = "Operations")]
    show_attrs: bool,
    /// Show resource fail counts
    #[arg(short = 'c', long, help_heading = "Operations")]
    show_failcounts: bool,
    /// Show allocation scores
    #[arg(short = 's', long, help_heading = "Operations")]
    show_scores: bool,
    /// Show utilization
    #[arg(short = 'U', long, help_heading = "Operations")]
    show_utilization: bool,
    /// Time every XML file of this directory
    #[arg(short = 'P', long, value_name = "DIR", help_heading = "Operations")]
    profile: Option<PathBuf>,
    /// With --profile, run each file N times
    #[arg(short = 'N', long, value_name = "N", default_value_t = 1, help_heading = "Operations")]
    repeat: u32,
    /// Bring a node online
    #[arg(short = 'u', long, value_name = "NODE", help_heading = "Synthetic events")]
    node_up: Vec<String>,
    /// Take a node offline
    #[arg(short = 'd', long, value_name = "NODE", help_heading = "Synthetic events")]
    node_down: Vec<String>,
    /// Let a node fail
    #[arg(short = 'f', long, value_name = "NODE", help_heading = "Synthetic events")]
    node_fail: Vec<String>,
    /// A result that has happened: RESOURCE_TASK_INTERVAL@NODE=RC, interval in ms
    #[arg(short = 'i', long, value_name = "OPSPEC", help_heading = "Synthetic events")]
    op_inject: Vec<String>,
    /// A result that is going to happen during the simulation
    #[arg(short = 'F', long, value_name = "OPSPEC", help_heading = "Synthetic events")]
    op_fail: Vec<String>,
    /// Time to assume (ISO 8601)
    #[arg(short = 't', long, value_name = "DATETIME", help_heading = "Synthetic events")]
    set_datetime: Option<String>,
    /// Whether the cluster has quorum
    #[arg(short = 'q', long, value_name = "QUORUM", help_heading = "Synthetic events")]
    quorum: Option<String>,
    /// Whether the cluster has an active watchdog
    #[arg(short = 'w', long, value_name = "DEVICE", help_heading = "Synthetic events")]
    watchdog: Option<String>,
    /// Grant a ticket
    #[arg(short = 'g', long, value_name = "TICKET", help_heading = "Synthetic events")]
    ticket_grant: Vec<String>,
    /// Revoke a ticket
    #[arg(short = 'r', long, value_name = "TICKET", help_heading = "Synthetic events")]
    ticket_revoke: Vec<String>,
    /// Put a ticket in standby
    #[arg(short = 'b', long, value_name = "TICKET", help_heading = "Synthetic events")]
    ticket_standby: Vec<String>,
    /// Activate a ticket
    #[arg(short = 'e', long, value_name = "TICKET", help_heading = "Synthetic events")]
    ticket_activate: Vec<String>,
    /// Save the CIB with all events in this file
    #[arg(short = 'I', long, value_name = "FILE", help_heading = "Artifacts")]
    save_input: Option<PathBuf>,
    /// Save the CIB after the simulation in this file
    #[arg(short = 'O', long, value_name = "FILE", help_heading = "Artifacts")]
    save_output: Option<PathBuf>,
    /// Save the transition graph as XML
    #[arg(short = 'G', long, value_name = "FILE", help_heading = "Artifacts")]
    save_graph: Option<PathBuf>,
    /// Save the transition graph in dot language
    #[arg(short = 'D', long, value_name = "FILE", help_heading = "Artifacts")]
    save_dotfile: Option<PathBuf>,
    /// Draw actions that are not needed, too
    #[arg(short = 'a', long, help_heading = "Artifacts")]
    all_actions: bool,
    /// Take the running cluster's CIB
    #[arg(short = 'L', long, alias = "live", help_heading = "Data source")]
    live_check: bool,
    /// Take the CIB in this file ('-' is standard input)
    #[arg(short = 'x', long, value_name = "FILE", help_heading = "Data source")]
    xml_file: Option<PathBuf>,
    /// Take the CIB on standard input
    #[arg(short = 'p', long, help_heading = "Data source")]
    xml_pipe: bool,
    /// Only what was asked for, without status
    #[arg(short = 'Q', long, help_heading = "Output")]
    quiet: bool,
    /// Operations under way are always shown; scripts still say this
    #[arg(short = 'j', long, hide = true)]
    pending: bool,
    #[command(flatten)]
    common: Common,
}

const EXAMPLES: &str = "Examples:
  crm_simulate -L                         status, as the scheduler sees it
  crm_simulate -LR                        what the cluster is about to do
  crm_simulate -LS --node-fail lb1        what happens when lb1 fails, and where it ends
  crm_simulate -x cib.xml -s              scores of resources on nodes
  crm_simulate -x cib.xml -D graph.dot    the transition as a drawing

Exit codes: 0 done; 1 impossible transition; 64 usage; 65 not a CIB; 66 no such file; 78 invalid; 102 no daemon";

pub fn main(args: Vec<OsString>) -> i32 {
    args::run::<CrmSimulate>(args)
}

impl Command for CrmSimulate {
    const NAME: &'static str = "crm_simulate";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        if let Some(dir) = &self.profile {
            return self.time_all(dir);
        }
        let (cib, name) = self.input()?;
        admit(&cib, &name)?;
        let before = cib.clone();
        let result = run(cib, &self.options())?;
        crate::log::messages(&result.messages);
        kernel::output::complain(&result.warnings);
        self.save(&result)?;
        if self.in_place && self.xml_file.is_none() {
            self.store(&before, &result)?;
        }
        let code = if result.complete { crm::OK } else { crm::ERROR };
        if !self.quiet {
            self.common.print_result(code, &[], || result.summary.clone(), || self.elements(&result))?;
        } else if self.show_scores || self.show_utilization {
            self.common.print(|| result.scores.clone(), || vec![self.allocations(&result.scores)])?;
        }
        Ok(code)
    }
}

/// One line of scores as an element.
fn score(line: &str) -> Option<Element> {
    if let Some((rest, score)) = line.rsplit_once(": ")
        && let Some((head, node)) = rest.split_once(" allocation score on ")
    {
        let (stage, id) = head.split_once(": ").unwrap_or(("", head));
        let e = Element::new("node_weight").with("function", stage).with("node", node).with("score", score);
        Some(e.with("id", id))
    } else if let Some((rest, score)) = line.rsplit_once(": ")
        && let Some((id, place)) = rest.split_once(" promotion score ")
    {
        let e = Element::new("promotion_score").with("id", id).with("score", score);
        Some(place.strip_prefix("on ").into_iter().fold(e, |e, node| e.with("node", node)))
    } else if let Some((head, values)) = line.split_once(" capacity:")
        && let Some((comment, node)) = head.split_once(' ')
    {
        Some(pairs(Element::new("capacity").with("node", node).with("comment", comment), values))
    } else if let Some((head, rest)) = line.split_once(" utilization on ")
        && let Some((node, values)) = rest.split_once(':')
    {
        let (stage, id) = head.split_once(": ").unwrap_or(("", head));
        let e = Element::new("utilization").with("function", stage).with("node", node).with("resource", id);
        Some(pairs(e, values))
    } else {
        None
    }
}

/// Adds `name=value` words as elements.
fn pairs(mut e: Element, values: &str) -> Element {
    for (name, value) in values.split_whitespace().filter_map(|w| w.split_once('=')) {
        let mut amount = Element::new(name);
        amount.nodes_mut().push(Node::Text(value.to_owned()));
        e.push(amount);
    }
    e
}

/// What was changed before the run, in the order that the original's schema has.
fn modifications(parts: &[Element]) -> Element {
    let mut list = Element::new("modifications");
    for (name, value) in parts.iter().filter(|p| p.name() == "modify").flat_map(Element::attrs) {
        list.set(name, value);
    }
    for name in ["modify_node", "modify_ticket", "inject_spec", "inject_attr"] {
        parts.iter().filter(|p| p.name() == name).for_each(|p| list.push(p.clone()));
    }
    list
}

fn cannot_write(path: &Path, why: &std::io::Error) -> Failure {
    Failure::new(crm::CANTCREAT, format!("cannot write {}: {why}", path.display()))
}

/// Refuses what no schema from the claimed one on allows, with the places.
fn admit(cib: &Element, name: &str) -> Result<(), Failure> {
    if cib.name() != "cib" {
        return Ok(());
    }
    let Err(problems) = cib::schema::admit(cib) else { return Ok(()) };
    for p in &problems {
        match name {
            "" => kernel::errln!("{p}"),
            name => kernel::errln!("{name}: {p}"),
        }
    }
    let latest = cib::SCHEMA;
    let message = match cib.attr("validate-with") {
        Some(claimed) if claimed == latest => {
            format!("Cannot use a configuration that does not validate with {latest}")
        }
        Some(claimed) if cib::schema::Claim::of(cib).is_ok() => format!(
            "Cannot upgrade configuration (claiming {claimed} schema) to at least {latest} because it does not validate with \
             any schema from {claimed} to the latest"
        ),
        _ => format!("Cannot use a configuration that follows no known schema (validate-with=\"{latest}\")"),
    };
    Err(Failure::new(crm::CONFIG, message))
}

fn run(cib: Element, options: &Options) -> Result<Simulated, Failure> {
    simulate::run(cib, crate::source::now(), options).map_err(|e| Failure::new(crm::DATAERR, e.to_string()))
}

/// The version that the events' single changes lead to: a new node is one of the configuration, all else of the status.
fn counted(up: &[String], was: cib::Version, before: &Element, result: &Simulated) -> cib::Version {
    let mut version = was;
    let nodes = before.child("configuration").and_then(|c| c.child("nodes"));
    let known = |name: &str| nodes.is_some_and(|n| n.elements().any(|e| e.attr("uname") == Some(name)));
    for name in up {
        if !known(name) {
            // It comes into the configuration, then its state comes into the status.
            version = cib::Version { epoch: version.epoch + 1, num_updates: 1, ..version };
        }
        version.num_updates += 1;
    }
    let changes = result.report.modifications.iter().filter(|e| e.attr("action") != Some("Online")).count();
    let done = result.report.executed.iter().filter(|e| e.name() == "rsc_action").count();
    version.num_updates += (changes + done) as u64;
    version
}

impl CrmSimulate {
    /// Scores and utilization as elements, from their lines.
    fn allocations(&self, scores: &str) -> Element {
        let name = match (self.show_scores, self.show_utilization) {
            (true, true) => "allocations_utilizations",
            (false, true) => "utilizations",
            _ => "allocations",
        };
        let shown = |e: &Element| match e.name() {
            "capacity" | "utilization" => self.show_utilization,
            _ => self.show_scores,
        };
        scores.lines().filter_map(score).filter(shown).fold(Element::new(name), Element::with_child)
    }

    /// The document, and the file that it comes from.
    fn input(&self) -> Result<(Element, String), Failure> {
        if self.live_check {
            return Ok((Source::open().cib()?, String::new()));
        }
        let dash = self.xml_file.as_deref().is_none_or(|f| f == Path::new("-"));
        let file = self.xml_file.as_deref().filter(|_| !dash && !self.xml_pipe);
        if file.is_none() && self.xml_file.is_none() && !self.xml_pipe && std::env::var_os("CIB_file").is_some() {
            return Ok((Source::open().cib()?, String::new()));
        }
        let found = read_xml(file, None, file.is_none())?;
        found.ok_or_else(|| Failure::usage("No CIB. Use one of -L, -x, -p"))
    }

    fn options(&self) -> Options {
        let carry_out = self.simulate || self.in_place || self.save_output.is_some();
        let saves = self.save_graph.is_some() || self.save_dotfile.is_some();
        let depth = if carry_out {
            Depth::Execute
        } else if self.run || self.show_scores || self.show_utilization || saves || !self.op_fail.is_empty() {
            Depth::Decide
        } else {
            Depth::Status
        };
        let events = Events {
            quorum: self.quorum.clone(),
            watchdog: self.watchdog.clone(),
            node_up: self.node_up.clone(),
            node_down: self.node_down.clone(),
            node_fail: self.node_fail.clone(),
            grant: self.ticket_grant.clone(),
            revoke: self.ticket_revoke.clone(),
            standby: self.ticket_standby.clone(),
            activate: self.ticket_activate.clone(),
            operations: self.op_inject.clone(),
            failures: self.op_fail.clone(),
        };
        Options {
            time: self.set_datetime.clone(),
            depth: if self.op_fail.is_empty() { depth } else { Depth::Execute },
            show_scores: self.show_scores,
            show_utilization: self.show_utilization,
            sanitized: !self.live_check,
            events,
            keep_input: self.save_input.is_some(),
            list_scores: false,
            draw: self.save_dotfile.is_some(),
            all_actions: self.all_actions,
            number_actions: self.common.verbose > 0,
            show_attributes: self.show_attrs,
            show_fail_counts: self.show_failcounts,
            ..Options::default()
        }
    }

    /// The summary in the original's XML.
    fn elements(&self, result: &Simulated) -> Vec<Element> {
        let report = &result.report;
        let status = |name: &str, cluster: &Cluster| {
            let view = View {
                cib: &result.cib,
                cluster: cluster.clone(),
                operations: Vec::new(),
                now: crate::source::now(),
                fencing: Vec::new(),
                warnings: Vec::new(),
                live: self.live_check,
                only: Default::default(),
                descriptions: false,
            };
            let options = CrmMon { show_node_attributes: self.show_attrs, ..CrmMon::default() };
            let sections = elements::status(&options, &view, self.show_attrs);
            sections.into_iter().fold(Element::new(name), Element::with_child)
        };
        let list = |name: &str, parts: &[Element]| parts.iter().cloned().fold(Element::new(name), Element::with_child);
        let mut all = vec![status("cluster_status", &report.before)];
        if !report.modifications.is_empty() {
            all.push(modifications(&report.modifications));
        }
        if self.show_scores || self.show_utilization {
            all.push(self.allocations(&result.scores));
        }
        let depth = self.options().depth;
        if depth >= Depth::Decide {
            all.push(list("actions", &report.changes));
        }
        if let Some(after) = report.after.as_ref().filter(|_| depth >= Depth::Execute) {
            // The original's schema has no place for changed attributes here.
            let done = report.executed.iter().filter(|e| e.name() != "inject_attr").cloned();
            all.push(done.fold(Element::new("transition"), Element::with_child));
            all.push(status("revised_cluster_status", after));
        }
        all
    }

    fn save(&self, result: &Simulated) -> Result<(), Failure> {
        let write = |path: &Path, text: String| std::fs::write(path, text).map_err(|e| cannot_write(path, &e));
        if let Some(path) = &self.save_graph {
            // Part by part: the text can be larger than all else.
            let file = std::fs::File::create(path).map(std::io::BufWriter::new);
            let written = file.and_then(|mut file| {
                result.graph.write(|part| file.write_all(part.as_bytes()))?;
                file.flush()
            });
            written.map_err(|e| cannot_write(path, &e))?;
        }
        if let Some(path) = &self.save_dotfile {
            write(path, result.dot.clone())?;
        }
        if let (Some(path), Some(input)) = (&self.save_input, &result.input) {
            write(path, input.to_pretty())?;
        }
        let store = self.xml_file.as_ref().filter(|_| self.in_place);
        for path in self.save_output.iter().chain(store) {
            write(path, result.cib.to_pretty())?;
        }
        Ok(())
    }

    /// `--in-place` without a file: into the copy, or the file, that the commands work on.
    fn store(&self, before: &Element, result: &Simulated) -> Result<(), Failure> {
        let mut after = result.cib.clone();
        let was = cib::Version::of(before)?;
        counted(&self.node_up, was, before, result).write_to(&mut after);
        Source::open().overwrite(&after)
    }

    /// Times the scheduler on every file of a directory.
    fn time_all(&self, dir: &Path) -> Result<i32, Failure> {
        let list = std::fs::read_dir(dir)
            .map_err(|e| Failure::new(crm::NOINPUT, format!("cannot read {}: {e}", dir.display())))?;
        let mut files: Vec<PathBuf> =
            list.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.extension().is_some_and(|e| e == "xml")).collect();
        files.sort();
        let options = Options { depth: Depth::Decide, ..self.options() };
        let mut out = String::from("Timings:\n");
        let mut list = Element::new("timings");
        for file in files {
            let Some((cib, name)) = read_xml(Some(&file), None, false)? else { continue };
            if let Err(why) = admit(&cib, &name) {
                kernel::errln!("{name}: {}", why.message);
                continue;
            }
            let started = std::time::Instant::now();
            for _ in 0..self.repeat.max(1) {
                run(cib.clone(), &options)?;
            }
            let seconds = started.elapsed().as_secs_f64();
            out.push_str(&format!("  * Testing {name} ... {seconds:.4} secs\n"));
            list.push(Element::new("timing").with("file", name).with("duration", format!("{seconds:.4}")));
        }
        self.common.print(|| out, || vec![list])?;
        Ok(crm::OK)
    }
}
