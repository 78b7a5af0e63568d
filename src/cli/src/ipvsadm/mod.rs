//! `ipvsadm` 1.31, option by option, on the kernel's table or on one in a file.
//!
//! The original's option rules, messages and exit codes rule (which is why no argument library is used here); what it
//! lacks is added under names that it does not have: `--json`, `-R --check`, `-R --replace`, `-S --full`, `--keep`,
//! `--table FILE`, `top`. [`command_line`] is the whole command over any [`Ipvs`] and any streams, so that tests run it
//! in memory; [`run`] gives it the kernel and the process's streams.
//!
//! Where the original is wrong and this differs, the golden test's table of deviations says so.

mod conns;
mod execute;
mod help;
mod json;
mod messages;
mod options;
mod parse;
mod replace;
mod restore;
mod rules;
mod supervise;
#[cfg(test)]
mod tests;
mod top;
mod values;

pub use help::{restore_tree, save_tree, tree};
pub use options::long_names;
pub use values::Lookup;

use base::applet::Applet;
use kernel::ipvs::render::{Names, Numeric};
use kernel::ipvs::{Error, Ipvs, Kernel, Memory};
use kernel::names::{SystemNames, lookup_ipv4};
use parse::{EXIT_REFUSED, EXIT_USAGE, Stop};
use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::path::Path;

pub const IPVSADM: Applet =
    Applet { name: "ipvsadm", about: "administer the IPVS table (compatible with ipvsadm 1.31)", run, hidden: false };
pub const SAVE: Applet =
    Applet { name: "ipvsadm-save", about: "write the IPVS table as rules", run: run_save, hidden: false };
pub const RESTORE: Applet = Applet {
    name: "ipvsadm-restore",
    about: "clear the IPVS table and read rules from standard input",
    run: run_restore,
    hidden: false,
};

/// All commands of this module.
pub const APPLETS: &[Applet] = &[IPVSADM, SAVE, RESTORE];
/// The program that has these commands alone.
pub const PROGRAM: &str = "bascule-ipvsadm";

/// Everything outside that a command line touches, except the table.
pub struct Io<'a> {
    pub input: &'a mut dyn BufRead,
    pub out: &'a mut dyn Write,
    pub err: &'a mut dyn Write,
    /// Names for listings without `-n`.
    pub names: &'a dyn Names,
    /// Host names in arguments.
    pub lookup: Lookup<'a>,
    /// The text of `/proc/net/ip_vs_conn`.
    pub connections: &'a dyn Fn() -> std::io::Result<String>,
    /// Ask the table for its version first, as the original does; refusals then exit with 2.
    pub probe: bool,
    /// A person reads the messages: add hints and progress.
    pub interactive: bool,
}

/// Runs one command line (without the program's name) and returns the exit code.
pub fn command_line(words: &[String], table: &mut dyn Ipvs, io: &mut Io<'_>) -> i32 {
    let list_all = [String::from("-L")];
    let words = if words.is_empty() { &list_all } else { words };
    match parse::parse(words, false, io.lookup) {
        Ok(request) => {
            if io.probe
                && let Err(e) = table.info()
            {
                return cannot_initialise(&e, io);
            }
            execute::execute(&request, table, io)
        }
        Err(stop) => report_stop(&stop, io),
    }
}

/// Prints why a command line gave no request; returns the exit code.
fn report_stop(stop: &Stop, io: &mut Io<'_>) -> i32 {
    match stop {
        Stop::Fail { code, message } => {
            let _ = writeln!(io.err, "{message}");
            *code
        }
        Stop::TryHelp => {
            let _ = writeln!(io.err, "Try `ipvsadm -h' or 'ipvsadm --help' for more information.");
            EXIT_REFUSED
        }
        Stop::Help => {
            let _ = write!(io.out, "{}{}", help::VERSION, help::TEXT);
            0
        }
        Stop::Version => {
            let _ = write!(io.out, "{}", help::VERSION);
            0
        }
    }
}

fn cannot_initialise(error: &Error, io: &mut Io<'_>) -> i32 {
    let missing = matches!(error, Error::NoIpvs { .. });
    // Only root can have the module loaded, so that for others whether there is IPVS is not the first question.
    let not_root = missing && !nix::unistd::geteuid().is_root();
    let words = messages::of_read(if not_root { &Error::PermissionDenied } else { error });
    let _ = writeln!(
        io.err,
        "Can't initialize ipvs: {words}\nAre you sure that IP Virtual Server is built in the kernel or as module?"
    );
    if missing {
        let _ = writeln!(io.err, "{error}");
    }
    EXIT_USAGE
}

/// The applet: on the kernel's table, or with `--table FILE` on the table in a file.
pub fn run(args: Vec<OsString>) -> i32 {
    let mut words: Vec<String> = args.iter().map(|a| a.to_string_lossy().into_owned()).collect();
    match words.first().map(String::as_str) {
        Some("top") => return top::run(&words[1..]),
        Some(supervise::WORKER_OPTION) => return supervise::worker(),
        _ => {}
    }
    match take_table(&mut words) {
        Ok(Some(file)) => on_file(&words, &file),
        Ok(None) => on_kernel(&words),
        Err(message) => {
            kernel::errln!("{message}");
            EXIT_USAGE
        }
    }
}

/// Takes `--table FILE` or `--table=FILE` from before the command.
fn take_table(words: &mut Vec<String>) -> Result<Option<String>, String> {
    let Some(first) = words.first() else { return Ok(None) };
    if let Some(file) = first.strip_prefix("--table=") {
        let file = file.to_owned();
        words.remove(0);
        return Ok(Some(file));
    }
    if first != "--table" {
        return Ok(None);
    }
    if words.len() < 2 {
        return Err("--table: missing argument".to_owned());
    }
    words.remove(0);
    Ok(Some(words.remove(0)))
}

/// Gives `work` the process's streams.
fn with_streams(work: impl FnOnce(&mut Io<'_>) -> i32) -> i32 {
    let (stdin, stderr) = (std::io::stdin(), std::io::stderr());
    let mut out = std::io::BufWriter::new(kernel::output::stdout());
    let interactive = std::io::IsTerminal::is_terminal(&stderr);
    let mut io = Io {
        input: &mut stdin.lock(),
        out: &mut out,
        err: &mut stderr.lock(),
        names: &SystemNames,
        lookup: &lookup_ipv4,
        connections: &conns::read_kernel,
        probe: true,
        interactive,
    };
    let code = work(&mut io);
    let _ = out.flush();
    code
}

fn on_kernel(words: &[String]) -> i32 {
    if let Ok(request) = parse::parse(words, false, &|_| None)
        && supervise::wanted(&request)
    {
        return supervise::supervise();
    }
    with_streams(|io| command_line(words, &mut Kernel::new(), io))
}

/// Works on a copy and writes it back if it changed.
fn on_file(words: &[String], file: &str) -> i32 {
    let path = Path::new(file);
    let mut table = match Memory::load(path) {
        Ok(table) => table,
        Err(e) => {
            kernel::errln!("{e}");
            return EXIT_USAGE;
        }
    };
    let before = table.clone();
    let code = with_streams(|io| {
        io.connections = &|| Ok(String::new());
        command_line(words, &mut table, io)
    });
    if table != before
        && let Err(e) = table.save(path)
    {
        kernel::errln!("{e}");
        return EXIT_REFUSED;
    }
    code
}

fn run_save(args: Vec<OsString>) -> i32 {
    let mut words = vec!["-S".to_owned()];
    for arg in args.iter().map(|a| a.to_string_lossy()) {
        match arg.as_ref() {
            "-n" => words.push("-n".to_owned()),
            "--json" | "--full" | "--classic" => words.push(arg.into_owned()),
            _ if arg.starts_with('-') => {
                kernel::output::complain(help::SAVE_TEXT);
                return 1;
            }
            _ => {}
        }
    }
    on_kernel(&words)
}

/// Comment lines are dropped and the table is cleared first, as the original's script does; `--replace` and `--check` go
/// through `-R` instead, which leaves the table alone when a line is wrong.
fn run_restore(args: Vec<OsString>) -> i32 {
    let options: Vec<String> = args.iter().map(|a| a.to_string_lossy().into_owned()).collect();
    if let Some(odd) = options.iter().find(|o| !["--check", "--replace"].contains(&o.as_str())) {
        if odd != "-h" && odd != "--help" {
            kernel::errln!("ipvsadm-restore: unexpected argument {odd}");
        }
        kernel::output::complain(help::RESTORE_TEXT);
        return 1;
    }
    if !options.is_empty() {
        return on_kernel(&[vec!["-R".to_owned()], options].concat());
    }
    with_streams(|io| {
        let mut text = String::new();
        if let Err(e) = io.input.read_to_string(&mut text) {
            let _ = writeln!(io.err, "standard input: {e}");
            return EXIT_USAGE;
        }
        let rules: String = text.lines().filter(|l| !l.starts_with('#')).map(|l| format!("{l}\n")).collect();
        let mut table = Kernel::new();
        command_line(&["-C".to_owned()], &mut table, io);
        let mut rules = rules.as_bytes();
        let mut inner = Io { input: &mut rules, out: io.out, err: io.err, ..*io };
        command_line(&["-R".to_owned()], &mut table, &mut inner)
    })
}

/// Names for a listing: none with `-n`.
fn names_for<'a>(numeric: bool, io: &Io<'a>) -> &'a dyn Names {
    if numeric { &Numeric } else { io.names }
}
