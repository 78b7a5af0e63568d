//! `ldirectord`: the original's command line, exit codes, pid file and signals around the director of crate `ldirectord`; and `check`.
//!
//! Better than the original where it fails people: a broken file never touches the pid file of a running daemon, `stop` and `status` work
//! with one, `restart` leaves the old daemon running with one; `stop` returns when the daemon is gone; `start` returns when the table
//! is set up, or says why it cannot be.

mod ask;
mod check;
mod control;
mod daemon;
mod marks;
mod paths;
mod real;
mod show;
mod table;
mod top;

pub use show::troubles;

use ::ldirectord::config::{Accepted, OWN_DIRECTIVES, Problem, Severity};
use ::ldirectord::service::{LoadError, RUN_DIR, Wish, load_remembering, state_path};
use base::applet::Applet;
use clap::Parser;
use paths::Paths;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub const LDIRECTORD: Applet = Applet {
    name: "ldirectord",
    about: "check real servers and keep the IPVS table (compatible with ldirectord)",
    run: main,
    hidden: false,
};

/// Of every director of this host that answers.
pub fn running() -> Vec<::ldirectord::service::Status> {
    ::ldirectord::service::statuses(&[ask::node_dir(), RUN_DIR.into()])
}

/// Exit codes of the original.
mod exit {
    pub const OK: i32 = 0;
    /// No such file, a stale pid file, or reload of what does not run.
    pub const FAILED: i32 = 1;
    pub const CONFIG: i32 = 2;
    pub const STOPPED: i32 = 3;
    pub const USAGE: i32 = 255;
}

const ACTIONS: &str =
    "start, stop, restart, try-restart, reload, status, check, top, drain, undrain, maintenance, real";

const EXAMPLES: &str = "\
Examples:
  ldirectord www.cf start             start the director for /etc/ha.d/www.cf (or ./www.cf)
  ldirectord www.cf status            exit code 0 if it runs, 3 if not
  ldirectord www.cf status --long     every real server: state, weight, connections, last answer; --json for programs
  ldirectord www.cf top               the same as a live table
  ldirectord www.cf drain 10.0.1.1:80 --deadline 300
                                      no new connections; wait at most 5 minutes for the established ones
  ldirectord www.cf undrain 10.0.1.1  let them come again, on all its ports
  ldirectord www.cf maintenance 10.0.1.1 on
                                      down at once, also after a restart of the daemon, until `off`
  ldirectord www.cf real weight 10.0.1.1:80 3
                                      another weight than the file says, also after a restart, and on the group's other directors
  ldirectord www.cf real add 10.0.1.9:80 masq 2 --virtual 10.0.0.1:80
  ldirectord www.cf real remove 10.0.1.1:80
  ldirectord www.cf real list         where servers are not as the file says; `real reset REAL|all` takes it back
  ldirectord www.cf reload            read the file again; with an error in it nothing changes
  ldirectord www.cf reload --force    the same, even if the file leaves no service or server
  ldirectord www.cf check             validate the file, and warn of likely mistakes
  ldirectord www.cf check --assume down
                                      show the table that results when all servers are down
  ldirectord -d www.cf start          stay in the foreground and show every check

Without CONFIG the file is ldirectord.cf. A name is looked for in /etc/ha.d, then /etc/ha.d/conf, then as it is.";

/// Examples, and what a file may say beyond the original's manual.
fn help() -> String {
    let own = OWN_DIRECTIVES.iter().map(|(name, value, meaning)| format!("  {name} = {value}\n      {meaning}\n"));
    format!(
        "{EXAMPLES}\n\nIn the file, beyond the original's directives:\n{}  service = grpc, http2, memcached, redis\n      beside \
         the original's; never guessed by port\n",
        own.collect::<String>()
    )
}

/// Check real servers, and keep the IPVS table as the checks say.
#[derive(Parser, Debug)]
#[command(name = "ldirectord", after_help = help(), disable_version_flag = true, disable_help_flag = true)]
pub struct Ldirectord {
    /// [CONFIG] and one of start, stop, restart, try-restart, reload, force-reload, status, check, top, drain REAL, undrain REAL,
    /// maintenance REAL on|off, real add|remove|weight|reset|list ...
    #[arg(value_name = "[CONFIG] ACTION", num_args = 0..=6)]
    words: Vec<String>,
    /// Stay in the foreground and log every check to standard error
    #[arg(short, long)]
    debug: bool,
    /// With check: print the table if all checks pass (up) or fail (down)
    #[arg(long, value_name = "up|down", value_parser = ["up", "down"])]
    assume: Option<String>,
    /// With status: one line for every real server
    #[arg(short, long)]
    long: bool,
    /// With drain: wait at most so long for connections to end (default: until they have)
    #[arg(long, value_name = "SECONDS")]
    deadline: Option<u64>,
    /// With drain, undrain, maintenance, real: only in this virtual service (ADDRESS:PORT or a mark)
    #[arg(long = "virtual", value_name = "SERVICE")]
    virtual_service: Option<String>,
    /// With reload: even if the file leaves nothing to serve; with real remove: even the last server
    #[arg(long)]
    force: bool,
    /// With top: seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// With top: stop after so many looks
    #[arg(long, value_name = "N", default_value_t = 0)]
    rounds: u64,
    /// Print JSON: with check, status, drain, undrain, maintenance, real
    #[arg(long)]
    json: bool,
    /// Use the table in this file instead of the kernel's
    #[arg(long, value_name = "FILE.json")]
    table: Option<PathBuf>,
    /// Directory of the files that keep drains, maintenance and changed servers over a restart
    #[arg(long, value_name = "DIR", default_value = "/var/lib/ldirectord")]
    state_dir: PathBuf,
    /// Directory of the pid file and of the control socket (a director that runs as a cluster resource has its socket in
    /// /run/bascule, which is looked at as well)
    #[arg(long, value_name = "DIR", default_value = RUN_DIR)]
    run_dir: PathBuf,
    /// Show the version
    #[arg(short, long)]
    version: bool,
    /// Show this help
    #[arg(short = 'h', long, short_alias = '?', action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Run as the daemon itself; standard output tells the starter when it is ready
    #[arg(long, hide = true)]
    daemon: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    Start,
    Stop,
    Restart,
    TryRestart,
    Reload,
    Status,
    Check,
    Top,
    Drain,
    Undrain,
    Maintenance,
    Real,
}

impl Action {
    fn named(word: &str) -> Option<Action> {
        Some(match word {
            "start" => Action::Start,
            "stop" => Action::Stop,
            "restart" => Action::Restart,
            "try-restart" => Action::TryRestart,
            "reload" | "force-reload" => Action::Reload,
            "status" => Action::Status,
            "check" => Action::Check,
            "top" => Action::Top,
            "drain" => Action::Drain,
            "undrain" => Action::Undrain,
            "maintenance" => Action::Maintenance,
            "real" => Action::Real,
            _ => return None,
        })
    }

    /// Whether so many words may stand behind it; those of `real` are read where it is.
    fn takes(self, operands: usize) -> bool {
        match self {
            Action::Drain | Action::Undrain => operands == 1,
            Action::Maintenance => operands == 2,
            Action::Real => true,
            _ => operands == 0,
        }
    }
}

fn main(args: Vec<OsString>) -> i32 {
    let args = match crate::args::parse::<Ldirectord>("ldirectord", args) {
        Ok(args) => args,
        Err(code) => return if code == base::exit::crm::OK { exit::OK } else { exit::USAGE },
    };
    if args.version {
        kernel::outln!("ldirectord of Bascule {} (compatible with 1.186-ha)", env!("CARGO_PKG_VERSION"));
        return exit::OK;
    }
    let Some((config, action, operands)) = words(&args.words) else { return exit::USAGE };
    let paths = match Paths::find(config, &args.run_dir) {
        Ok(paths) => paths,
        Err(why) => {
            kernel::errln!("ldirectord: {why}");
            return exit::FAILED;
        }
    };
    match action {
        Action::Top => top::top(&paths, Duration::from_secs(args.interval), args.rounds),
        Action::Drain | Action::Undrain | Action::Maintenance => mark(&args, action, operands, &paths),
        Action::Real => {
            let virtual_service = args.virtual_service.as_deref();
            real::real(&paths, operands, &real::Asked { virtual_service, force: args.force, json: args.json })
        }
        _ => run(&args, action, &paths),
    }
}

/// `[CONFIG] ACTION [OPERAND…]`: the configuration may be left out.
fn words(words: &[String]) -> Option<(Option<&str>, Action, &[String])> {
    let named = |at: usize| words.get(at).and_then(|word| Action::named(word));
    let (config, action, rest) = match (named(1), named(0)) {
        (Some(action), _) => (words.first().map(String::as_str), action, &words[2..]),
        (None, Some(action)) => (None, action, &words[1..]),
        (None, None) => {
            match words {
                [file] if Path::new(file).is_file() => {
                    kernel::errln!("ldirectord: what shall be done with {file}? Give one of {ACTIONS}")
                }
                [.., word] if words.len() <= 2 => {
                    kernel::errln!(
                        "ldirectord: unknown action '{word}': expected one of {ACTIONS}; 'ldirectord --help' explains them"
                    )
                }
                _ => kernel::errln!("ldirectord: what shall be done? Give one of {ACTIONS}\n\n{EXAMPLES}"),
            }
            return None;
        }
    };
    let on_off = action != Action::Maintenance || rest.get(1).is_some_and(|w| w == "on" || w == "off");
    if !action.takes(rest.len()) || !on_off {
        let name = words[words.len() - rest.len() - 1].as_str();
        let (expected, example) = match action {
            Action::Drain | Action::Undrain => ("a real server, by ADDRESS[:PORT] or name", " 10.0.1.1:80"),
            Action::Maintenance => ("a real server, by ADDRESS[:PORT] or name, and `on` or `off`", " 10.0.1.1:80 on"),
            _ => ("nothing behind it", ""),
        };
        let got = if rest.is_empty() { "nothing".to_owned() } else { format!("'{}'", rest.join(" ")) };
        kernel::errln!("ldirectord: '{name}' takes {expected}; got {got}. Example: ldirectord www.cf {name}{example}");
        return None;
    }
    Some((config, action, rest))
}

fn mark(args: &Ldirectord, action: Action, operands: &[String], paths: &Paths) -> i32 {
    let Some(real) = operands.first() else { return exit::USAGE };
    let (wish, on) = match action {
        Action::Drain => (Wish::Drain, true),
        Action::Undrain => (Wish::Drain, false),
        _ => (Wish::Maintenance, operands.get(1).is_some_and(|w| w == "on")),
    };
    let virtual_service = args.virtual_service.as_deref();
    let deadline = args.deadline.map(Duration::from_secs);
    marks::mark(paths, &marks::Marking { real, virtual_service, wish, on, deadline, json: args.json })
}

fn run(args: &Ldirectord, action: Action, paths: &Paths) -> i32 {
    if action == Action::Status && args.json {
        return show::json(paths);
    }
    if action == Action::Check {
        return check::check(paths, args.assume.as_deref(), &args.state_dir, args.json);
    }
    let loaded = load_remembering(&paths.config, Some(&state_path(&args.state_dir, &paths.config)));
    let broken = loaded.is_err();
    let accepted = match loaded {
        Ok(accepted) => {
            // Not with every status that a cluster asks for, nor again in the daemon.
            if !args.daemon && !matches!(action, Action::Status | Action::Stop) {
                accepted.warnings.iter().for_each(|w| kernel::errln!("{}", sentence(paths, w)));
            }
            Some(accepted)
        }
        Err(error) => {
            complain(paths, &error);
            None
        }
    };
    if broken && !matches!(action, Action::Stop | Action::Status) {
        return if paths.config.exists() { exit::CONFIG } else { exit::FAILED };
    }
    match (action, accepted) {
        (Action::Status, accepted) if args.long => show::long(paths, accepted.as_ref()),
        (Action::Status, accepted) => control::status(paths, accepted.as_ref()),
        (Action::Stop, _) => control::stop(paths),
        (Action::Reload, _) if args.force => control::reload_by_force(paths),
        (Action::Reload, _) => control::reload(paths),
        (Action::Start, Some(accepted)) => start(args, paths, accepted),
        (Action::Restart, Some(accepted)) => restart(args, paths, accepted),
        (Action::TryRestart, Some(_)) if paths.running().is_none() => exit::OK,
        (Action::TryRestart, Some(accepted)) => restart(args, paths, accepted),
        // A broken file has returned above.
        (_, None) => exit::CONFIG,
        // Each is done before a file is read.
        (Action::Check | Action::Top | Action::Drain | Action::Undrain | Action::Maintenance | Action::Real, _) => {
            exit::USAGE
        }
    }
}

fn start(args: &Ldirectord, paths: &Paths, accepted: Accepted) -> i32 {
    if args.daemon || args.debug || accepted.config.global.supervised {
        return daemon::run(args, paths, accepted);
    }
    control::start(args, paths)
}

fn restart(args: &Ldirectord, paths: &Paths, accepted: Accepted) -> i32 {
    match control::stop(paths) {
        exit::OK => start(args, paths, accepted),
        code => code,
    }
}

/// A finding in the original's form.
fn sentence(paths: &Paths, problem: &Problem) -> String {
    let word = if problem.severity == Severity::Error { "Error" } else { "Warning" };
    let mut text = format!("{}: {}", problem.found, problem.expected);
    if problem.severity == Severity::Error {
        text = format!("{}: expected {}", problem.found, problem.expected);
    }
    if !problem.cure.is_empty() {
        text.push_str(&format!("; {}", problem.cure));
    }
    let (pid, file) = (std::process::id(), paths.config.display());
    format!("{word} [{pid}] reading file {file} at line {}, column {}: {text}", problem.line, problem.column)
}

/// All errors of a refused file, each with its line and a mark under the place.
fn complain(paths: &Paths, error: &LoadError) {
    let LoadError::Refused { refused, .. } = error else {
        kernel::errln!("ldirectord: {error}");
        return;
    };
    let text = kernel::files::read_regular(&paths.config, ldirectord::config::MAX_BYTES as u64)
        .map(|b| String::from_utf8_lossy(&b).into_owned())
        .unwrap_or_default();
    for problem in &refused.errors {
        kernel::errln!("{}", sentence(paths, problem));
        if let Some(line) = text.lines().nth(problem.line.saturating_sub(1) as usize) {
            let line: String = line.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect();
            let indent = " ".repeat((problem.column.saturating_sub(1) as usize).min(200));
            kernel::errln!("    {line}\n    {indent}^");
        }
    }
}
