//! The daemon: one director, its signals, its pid file, and the instances of `execute`.
//!
//! TERM, INT and QUIT stop it cleanly, a second one at once; HUP reads the file again.

use super::paths::Paths;
use super::{Ldirectord, exit, table};
use ::ldirectord::config::Accepted;
use ::ldirectord::service::{Director, LogMode, Logger, Options, control_path, load, state_path};
use nix::fcntl::{Flock, FlockArg};
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long another instance's command may take.
const EXECUTE_DEADLINE: Duration = Duration::from_secs(30);

pub fn run(args: &Ldirectord, paths: &Paths, accepted: Accepted) -> i32 {
    let foreground = args.debug || accepted.config.global.supervised;
    // Foreground daemons have no pid file, as with the original: their supervisor knows them.
    let lock = if foreground { None } else { Some(PidFile::take(paths)) };
    let _pid_file = match lock {
        Some(Err(why)) => {
            kernel::errln!("ldirectord: {why}");
            return exit::FAILED;
        }
        Some(Ok(None)) if paths.namesake().is_some() => {
            kernel::errln!(
                "ldirectord: the pid file {} is held for another file of this name",
                paths.pid_file.display()
            );
            return exit::FAILED;
        }
        Some(Ok(None)) => {
            // Somebody else was quicker.
            kernel::outln!("ready");
            return exit::OK;
        }
        Some(Ok(Some(pid_file))) => Some(pid_file),
        None => None,
    };
    kernel::memory::one_heap();
    if args.daemon {
        // Fails only for a group's leader, which has its own session or terminal anyway.
        let _ = nix::unistd::setsid();
    }
    // Before there are threads. An ordinary user has none to give up.
    let confined = [
        kernel::confine::no_core_dump(),
        kernel::confine::refuse_calls(kernel::confine::Filter::Director),
        kernel::confine::keep_capabilities(kernel::confine::DIRECTOR),
    ]
    .into_iter();
    if nix::unistd::geteuid().is_root() {
        confined.filter_map(Result::err).for_each(|e| kernel::errln!("ldirectord: not confined: {e}"));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(serve(args, paths, accepted));
            // What reads a file of a disk that hangs must not hold the end up.
            runtime.shutdown_background();
            code
        }
        Err(e) => {
            kernel::errln!("ldirectord: cannot start: {e}");
            exit::FAILED
        }
    }
}

async fn serve(args: &Ldirectord, paths: &Paths, accepted: Accepted) -> i32 {
    let mode = match (args.debug, accepted.config.global.supervised) {
        (true, _) => LogMode::Stderr,
        (false, true) => LogMode::Stdout,
        (false, false) => LogMode::Configured,
    };
    let logger = Logger::new(mode, accepted.config.global.log.clone(), &paths.name);
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(e) => {
            kernel::errln!("ldirectord: cannot handle signals: {e}");
            return exit::FAILED;
        }
    };
    let line: Vec<String> = std::env::args().collect();
    logger.log(&format!("Invoking ldirectord invoked as: {}", line.join(" ")));
    let how = if args.daemon { "as daemon".to_owned() } else { format!("with pid: {}", std::process::id()) };
    logger.log(&format!("Starting Linux Director v1.186-ha (Bascule {}) {how}", env!("CARGO_PKG_VERSION")));
    accepted.warnings.iter().for_each(|w| logger.log(&format!("Warning: {w}")));
    let mut execute = accepted.config.global.execute.clone();
    let options = Options {
        config_path: Some(paths.config.clone()),
        logger: logger.clone(),
        debug: args.debug,
        control: Some(control_path(&paths.run_dir, &paths.config)),
        state: Some(state_path(&args.state_dir, &paths.config)),
        ..Options::default()
    };
    let director = Director::start(accepted.config, table::open(args.table.as_deref()), options).await;
    if let Some(why) = director.status().await.and_then(|s| s.table_error) {
        kernel::errln!("ldirectord: the IPVS table cannot be used: {why}");
        director.stop("start failed").await;
        logger.close();
        return exit::FAILED;
    }
    others(args, paths, &execute, "start", &logger).await;
    if args.daemon {
        kernel::outln!("ready");
        detach();
    }
    loop {
        match signals.next().await {
            Some("HUP") => {
                if director.reload_file().await.is_ok() {
                    execute = follow_others(args, paths, execute, &logger).await;
                }
            }
            name => {
                let name = name.unwrap_or("TERM");
                let stop = async {
                    others(args, paths, &execute, "stop", &logger).await;
                    director.stop(name).await
                };
                let failed = tokio::select! {
                    failed = stop => failed.len(),
                    _ = signals.next() => 1,
                };
                logger.close();
                return if failed == 0 { exit::OK } else { exit::FAILED };
            }
        }
    }
}

/// The starter has heard all that it waits for; nothing may keep its terminal open.
fn detach() {
    if let Ok(null) = OpenOptions::new().read(true).write(true).open("/dev/null") {
        kernel::output::put("");
        let _ = nix::unistd::dup2_stdout(&null);
        let _ = nix::unistd::dup2_stderr(&null);
    }
}

/// After a reload: starts new instances of `execute`, stops those that are gone, reloads the others.
async fn follow_others(args: &Ldirectord, paths: &Paths, before: Vec<String>, logger: &Logger) -> Vec<String> {
    let path = paths.config.clone();
    let loaded = tokio::task::spawn_blocking(move || load(&path)).await;
    let Ok(Ok(accepted)) = loaded else { return before };
    let now = accepted.config.global.execute;
    let (old, new): (BTreeSet<&String>, BTreeSet<&String>) = (before.iter().collect(), now.iter().collect());
    let pick = |set: Vec<&&String>| set.into_iter().map(|s| (*s).clone()).collect::<Vec<String>>();
    others(args, paths, &pick(old.difference(&new).collect()), "stop", logger).await;
    others(args, paths, &pick(new.difference(&old).collect()), "start", logger).await;
    others(args, paths, &pick(new.intersection(&old).collect()), "reload", logger).await;
    now
}

/// Runs this program for other configurations.
async fn others(args: &Ldirectord, paths: &Paths, names: &[String], action: &str, logger: &Logger) {
    for name in names {
        let Ok(exe) = std::env::current_exe() else { continue };
        let mut command = std::process::Command::new(exe);
        command.arg0("ldirectord").arg("--run-dir").arg(&paths.run_dir).arg("--state-dir").arg(&args.state_dir);
        if let Some(table) = &args.table {
            command.arg("--table").arg(table);
        }
        command.args([name.as_str(), action]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let done = tokio::time::timeout(EXECUTE_DEADLINE, tokio::process::Command::from(command).status()).await;
        let why = match done {
            Ok(Ok(status)) if status.success() => continue,
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(e)) => e.to_string(),
            Err(_) => format!("not done within {} s", EXECUTE_DEADLINE.as_secs()),
        };
        logger.log(&format!("system(ldirectord {name} {action}) failed: {why}"));
    }
}

struct Signals {
    list: Vec<(&'static str, Signal)>,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        let kinds = [
            ("HUP", SignalKind::hangup()),
            ("TERM", SignalKind::terminate()),
            ("INT", SignalKind::interrupt()),
            ("QUIT", SignalKind::quit()),
        ];
        let list: Result<Vec<_>, _> = kinds.into_iter().map(|(name, kind)| signal(kind).map(|s| (name, s))).collect();
        list.map(|list| Signals { list })
    }

    async fn next(&mut self) -> Option<&'static str> {
        std::future::poll_fn(|cx| {
            for (name, signal) in &mut self.list {
                if signal.poll_recv(cx).is_ready() {
                    return std::task::Poll::Ready(Some(*name));
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

/// The pid file, locked while the daemon lives and removed when it ends.
struct PidFile {
    path: std::path::PathBuf,
    _lock: Flock<File>,
}

impl PidFile {
    /// `None`: another daemon holds it.
    fn take(paths: &Paths) -> Result<Option<PidFile>, String> {
        let path = &paths.pid_file;
        let say = |e: std::io::Error| format!("cannot write the pid file {}: {e}", path.display());
        if paths.running().is_some_and(|pid| pid != nix::unistd::getpid()) {
            return Ok(None);
        }
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(say)?;
        let mut lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => return Ok(None),
            Err((_, e)) => return Err(say(e.into())),
        };
        lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(say)?;
        Ok(Some(PidFile { path: path.clone(), _lock: lock }))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
