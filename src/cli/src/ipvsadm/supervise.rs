//! Keeps `-R --replace` whole when somebody kills it.
//!
//! The command reads all input and checks it, then hands it to a worker process in a session of its own that blocks the
//! signals of terminals and supervisors. If the command is killed before the worker has the whole input, nothing
//! changes; if later, the worker finishes. If the worker is killed, the command starts another, which goes on from
//! where the table stands. Either way the table ends as the old or the new one.

use super::options::Opt;
use super::parse::{EXIT_REFUSED, Request};
use super::rules::Command as Verb;
use super::{Io, command_line, restore, with_streams};
use kernel::ipvs::Kernel;
use nix::sys::signal::{SigSet, Signal};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

/// How the worker is called.
pub const WORKER_OPTION: &str = "--replace-worker";
const MAX_WORKERS: usize = 3;

/// Whether a request is one that must not be cut short.
pub fn wanted(request: &Request) -> bool {
    request.command == Verb::Restore && request.given.has(Opt::Replace)
}

/// The command's side; returns the exit code.
pub fn supervise() -> i32 {
    let mut rules = Vec::new();
    if let Err(e) = std::io::stdin().take(restore::MAX_INPUT_BYTES as u64).read_to_end(&mut rules) {
        kernel::errln!("standard input: {e}");
        return super::parse::EXIT_USAGE;
    }
    for _ in 0..MAX_WORKERS {
        match run_worker(&rules) {
            Ok(status) => match status.code() {
                Some(code) => return code,
                None => {
                    kernel::errln!("the worker was killed by signal {}; another goes on", status.signal().unwrap_or(0))
                }
            },
            Err(e) => {
                kernel::errln!("cannot start the worker: {e}");
                return EXIT_REFUSED;
            }
        }
    }
    EXIT_REFUSED
}

fn run_worker(rules: &[u8]) -> std::io::Result<ExitStatus> {
    let program = std::env::current_exe()?;
    let mut child = Command::new(program).args(["ipvsadm", WORKER_OPTION]).stdin(Stdio::piped()).spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        // A worker that died early is seen by its status.
        let _ = pipe.write_all(&(rules.len() as u64).to_be_bytes()).and_then(|()| pipe.write_all(rules));
    }
    child.wait()
}

/// The worker's side; returns the exit code.
pub fn worker() -> i32 {
    let _ = nix::unistd::setsid();
    let mut shut_out = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGPIPE, Signal::SIGTSTP] {
        shut_out.add(signal);
    }
    let _ = shut_out.thread_block();
    let Some(rules) = whole_input() else { return EXIT_REFUSED };
    let mut rules = rules.as_slice();
    with_streams(|io| {
        let mut io = Io { input: &mut rules, out: io.out, err: io.err, ..*io };
        command_line(&["-R".to_owned(), "--replace".to_owned()], &mut Kernel::new(), &mut io)
    })
}

/// The rules, or `None` if the command died before it had sent them all.
fn whole_input() -> Option<Vec<u8>> {
    let mut stdin = std::io::stdin().lock();
    let mut len = [0u8; 8];
    stdin.read_exact(&mut len).ok()?;
    let len = usize::try_from(u64::from_be_bytes(len)).ok().filter(|&l| l <= restore::MAX_INPUT_BYTES)?;
    let mut rules = Vec::new();
    stdin.take(len as u64).read_to_end(&mut rules).ok()?;
    (rules.len() == len).then_some(rules)
}
