//! `crm_report`: one archive of what somebody needs who looks into a failure: of each node that can be reached its logs, CIB, status,
//! transitions and files, without secrets.
//!
//! Each host gathers its own part, which others fetch by the same command over ssh (`--collect`, a tar stream on standard output).

mod collect;
mod conceal;
mod others;
mod pack;
pub mod when;

use crate::args;
use crate::source::{Failure, Source, host_name};
use base::WallTime;
use base::exit::crm;
use clap::Parser;
use conceal::Conceal;
use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use when::Window;

/// Create an archive of everything that is needed when cluster problems are reported
#[derive(Parser, Debug)]
#[command(name = "crm_report", disable_version_flag = true, after_help = EXAMPLES)]
pub struct CrmReport {
    /// Moment before the problems began: "YYYY-M-D H:M:S", a date, a time of today, or how long ago (90m, 2d)
    #[arg(short = 'f', long, value_name = "TIME", required_unless_present_any = ["version", "features"])]
    from: Option<String>,
    /// Moment by which all was over [default: now]
    #[arg(short = 't', long, value_name = "TIME")]
    to: Option<String>,
    /// The cluster's nodes; needed only where no cluster runs here
    #[arg(short = 'n', long, value_name = "NODES")]
    nodes: Vec<String>,
    /// Only the log files that -l names
    #[arg(short = 'M', long)]
    no_search: bool,
    /// A further log file
    #[arg(short = 'l', long, value_name = "FILE")]
    logfile: Vec<PathBuf>,
    /// Conceal values of parameters whose names match this regular expression, too (passwords and the like always are)
    #[arg(short = 'p', long, value_name = "PATTERN")]
    sanitize: Vec<String>,
    /// Lines of logs that match this regular expression are listed in analysis.txt, too
    #[arg(short = 'L', long, value_name = "PATTERN")]
    analysis: Vec<String>,
    /// Only this node
    #[arg(short = 'S', long)]
    single_node: bool,
    /// User on the other nodes
    #[arg(short = 'u', long, value_name = "USER", default_value = "root")]
    user: String,
    /// Command that runs another on a node
    #[arg(short = 'e', long, value_name = "COMMAND", default_value = others::SSH)]
    rsh: String,
    /// Leave a directory, no archive
    #[arg(short = 'd', long)]
    as_directory: bool,
    /// Where to: a name, or a path
    #[arg(long = "dest", value_name = "DEST")]
    named: Option<PathBuf>,
    /// The same
    #[arg(value_name = "DEST", conflicts_with = "named")]
    dest: Option<PathBuf>,
    /// What was done, as JSON
    #[arg(long)]
    json: bool,
    /// Tell of each step
    #[arg(short = 'V', long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Show the version and end
    #[arg(short = 'v', long)]
    version: bool,
    /// Show what this program can do, and end
    #[arg(long)]
    features: bool,
    /// This node alone, as sosreport asks for it
    #[arg(long)]
    sos_mode: bool,
    /// Accepted: there is one kind of cluster
    #[arg(short = 'c', long, value_name = "TYPE", value_parser = ["corosync"], hide = true)]
    cluster: Option<String>,
    /// Accepted: there is one kind of cluster
    #[arg(short = 'C', long, hide = true)]
    corosync: bool,
    /// Accepted: files are where the configuration says
    #[arg(short = 'D', long, value_name = "DEPTH", hide = true)]
    max_depth: Option<u32>,
    /// This host's part, as a tar stream
    #[arg(long, hide = true)]
    collect: bool,
}

const EXAMPLES: &str = "Examples:
  crm_report -f 13:05 -t 13:12 brief-outage             brief-outage.tar.bz2, of today
  crm_report -f \"2026-12-14 13:05:00\" unexplained
  crm_report -f 2h -S                                   of the last two hours, this node alone
  crm_report -f 2h -l /var/log/syslog -p 'token|pin'    with a further log; more is concealed
  crm_report -f 2h -n \"d1 d2\" -u admin                  no cluster runs here: of these, over ssh as admin

Other nodes are reached with ssh and keys, by name or by their address in corosync.conf; whoever is not reached is named in report.txt.

Exit codes: 0 written; 1 nothing could be written; 64 usage";

/// Where a node's configuration is, unless it runs with another.
const COROSYNC_CONF: &str = "/etc/corosync/corosync.conf";
const REPORT: &str = "report.txt";
const ANALYSIS: &str = "analysis.txt";

/// One of the cluster's nodes, and what came of it.
struct Reached {
    node: String,
    why_not: Option<String>,
}

pub fn main(args: Vec<OsString>) -> i32 {
    let parsed = match args::parse::<CrmReport>("crm_report", args) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    if parsed.version {
        crate::report::put(&format!("{}\n", args::version()));
        return crm::OK;
    }
    if parsed.features {
        crate::report::put("crm_report: journal, logs, cib, status, transitions, timeline, blackbox, fencing, ipvs\n");
        return crm::OK;
    }
    match parsed.execute() {
        Ok(()) => crm::OK,
        Err(failure) => {
            kernel::errln!("crm_report: {}", failure.message);
            failure.code
        }
    }
}

impl CrmReport {
    fn execute(&self) -> Result<(), Failure> {
        let window = Window::of(self.from.as_deref().unwrap_or_default(), self.to.as_deref())?;
        let conceal = Conceal::new(&self.sanitize)?;
        let telling =
            conceal::patterns(collect::TELLING.iter().copied().chain(self.analysis.iter().map(String::as_str)))?;
        let wanted = collect::Wanted {
            window,
            search: !self.no_search,
            logs: &self.logfile,
            conceal: &conceal,
            telling: &telling,
        };
        let work = tempdir()?;
        let done = self.gather(&wanted, work.path());
        // Whatever came of it, nothing is left beside the result.
        done.map(|shown| crate::report::put(&shown))
    }

    fn gather(&self, wanted: &collect::Wanted<'_>, work: &Path) -> Result<String, Failure> {
        let source = Source::open();
        let status = source.status().ok().flatten();
        let here = status.as_ref().map_or_else(host_name, |s| s.name.clone());
        if self.collect {
            collect::gather(&source, status.as_ref(), wanted, work)?;
            pack::stream(work)?;
            return Ok(String::new());
        }
        let (dest, name) = self.dest(wanted.window.to)?;
        let top = work.join(&name);
        let told = |text: &str| {
            if self.verbose > 0 {
                kernel::errln!("{text}")
            }
        };
        let mut reached = Vec::new();
        let all = self.cluster(status.as_ref(), &here);
        let local = all.iter().any(|n| base::ids::same_node(&n.name, &here)) || self.nodes.is_empty();
        if local {
            told(&format!("{here}: collecting"));
            collect::gather(&source, status.as_ref(), wanted, &pack::made(&top.join(&here))?)?;
            reached.push(Reached { node: here.clone(), why_not: None });
        }
        if !(self.single_node || self.sos_mode) {
            let others: Vec<_> = all.iter().filter(|n| !base::ids::same_node(&n.name, &here)).collect();
            let way = others::Way { rsh: &self.rsh, user: &self.user, line: self.line(&wanted.window) };
            for (node, result) in others::fetch(&others, &way, &top) {
                let why_not = result.err();
                told(&format!("{node}: {}", why_not.as_deref().unwrap_or("collected")));
                reached.push(Reached { node, why_not });
            }
        }
        pack::write(&top.join(REPORT), &self.summary(wanted, &reached))?;
        pack::write(&top.join(ANALYSIS), &analysis(&top, &reached))?;
        if reached.iter().all(|r| r.why_not.is_some()) {
            let why: Vec<String> =
                reached.iter().map(|r| format!("{}: {}", r.node, r.why_not.as_deref().unwrap_or("-"))).collect();
            return Err(Failure::new(crm::ERROR, format!("no node could be reached ({})", why.join("; "))));
        }
        let file = if self.as_directory { pack::place(&top, &dest)? } else { pack::archive(work, &name, &dest)? };
        Ok(self.answer(&file, &reached, &wanted.window))
    }

    /// Where the result goes, and the name of the directory in it.
    fn dest(&self, to: WallTime) -> Result<(PathBuf, String), Failure> {
        let given = self.named.as_ref().or(self.dest.as_ref());
        let path = given.cloned().unwrap_or_else(|| PathBuf::from(format!("pcmk-{}", when::day(to))));
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
        let Some(name) = name else {
            return Err(Failure::usage(format!("{} names no file that could be made", path.display())));
        };
        // The ending is ours to add.
        let name = name.trim_end_matches(pack::END).to_owned();
        let result = path.with_file_name(if self.as_directory { name.clone() } else { format!("{name}{}", pack::END) });
        if result.exists() {
            return Err(Failure::new(
                crm::CANTCREAT,
                format!("{} exists: give another name, or remove it", result.display()),
            ));
        }
        Ok((result, name))
    }

    /// Named nodes, else those of the running cluster, else those of this host's corosync.conf.
    fn cluster(&self, status: Option<&wire::api::NodeStatus>, here: &str) -> Vec<others::Node> {
        let words = self.nodes.iter().flat_map(|n| n.split([' ', ',']).filter(|w| !w.is_empty()));
        let named: Vec<others::Node> = words.map(others::Node::named).collect();
        if !named.is_empty() {
            return named;
        }
        match status {
            Some(status) => status.nodes.iter().map(others::Node::of).collect(),
            None => vec![others::Node::named(here)],
        }
    }

    /// What another node is to be asked for, the same as here.
    fn line(&self, window: &Window) -> Vec<String> {
        let mut line: Vec<String> = vec!["crm_report".into(), "--collect".into()];
        line.extend(["-f".into(), window.from.secs().to_string(), "-t".into(), window.to.secs().to_string()]);
        if self.no_search {
            line.push("-M".into());
        }
        for file in &self.logfile {
            line.extend(["-l".into(), file.display().to_string()]);
        }
        for (option, patterns) in [("-p", &self.sanitize), ("-L", &self.analysis)] {
            patterns.iter().for_each(|p| line.extend([option.to_owned(), p.clone()]));
        }
        line
    }

    fn summary(&self, wanted: &collect::Wanted<'_>, reached: &[Reached]) -> String {
        let window = &wanted.window;
        let mut text = format!(
            "Report of a cluster of Bascule {}\nFrom: {}\nTo:   {}\n\nNodes:\n",
            env!("CARGO_PKG_VERSION"),
            crate::clock::stamp(window.from),
            crate::clock::stamp(window.to)
        );
        for r in reached {
            let _ = match &r.why_not {
                None => writeln!(text, "  {}: collected", r.node),
                Some(why) => writeln!(text, "  {}: NOT collected: {why}", r.node),
            };
        }
        text += "\nValues of parameters that are secrets, by their names, are concealed; keys are not part of it.\n";
        text
    }

    fn answer(&self, file: &Path, reached: &[Reached], window: &Window) -> String {
        if self.json {
            let nodes: Vec<serde_json::Value> = reached
                .iter()
                .map(|r| serde_json::json!({"name": r.node, "collected": r.why_not.is_none(), "reason": r.why_not}))
                .collect();
            let all = serde_json::json!({
                "file": file.display().to_string(), "from": window.from.secs(), "to": window.to.secs(), "nodes": nodes
            });
            return format!("{all:#}\n");
        }
        let mut text = String::new();
        for r in reached {
            if let Some(why) = &r.why_not {
                let _ = writeln!(text, "{}: not collected: {why}", r.node);
            }
        }
        let here = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        text + &format!("Collected results are available in {}\n", here.display())
    }
}

/// What stood out, node by node.
fn analysis(top: &Path, reached: &[Reached]) -> String {
    let mut text = String::new();
    for r in reached {
        let file = top.join(&r.node).join(ANALYSIS);
        let own = std::fs::read_to_string(&file).unwrap_or_default();
        if !own.is_empty() {
            text += &format!("{}:\n{own}\n", r.node);
        }
    }
    if text.is_empty() { "Nothing stands out.\n".to_owned() } else { text }
}

/// A directory of this run's own; gone with it.
struct Work(PathBuf);

impl Work {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn tempdir() -> Result<Work, Failure> {
    use std::os::unix::fs::DirBuilderExt;
    for n in 0..100 {
        let path = std::env::temp_dir().join(format!("crm_report-{}-{n}", std::process::id()));
        match std::fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(Work(path)),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Failure::new(crm::CANTCREAT, format!("cannot make {}: {e}", path.display()))),
        }
    }
    Err(Failure::new(crm::CANTCREAT, format!("{} is full of former reports", std::env::temp_dir().display())))
}
