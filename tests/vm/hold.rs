//! Long TCP connections: an echo server that names itself, and a client that keeps connections talking.
//!
//! Both are this binary, started again inside a namespace with `BASCULE_TOOL` set.

use crate::guest::{Namespace, wait_until};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub const PORT: u16 = 7000;
/// The first message of a connection: several full packets, so that the way's MTU matters.
const LONG_MESSAGE: usize = 20_000;
const PAUSE: Duration = Duration::from_millis(250);
/// TCP repeats itself for so long in a fail-over.
const PATIENCE: Duration = Duration::from_secs(40);

/// What the binary does with `BASCULE_TOOL` set.
pub fn tool(words: &[String]) -> ExitCode {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["echo", name] => echo(name),
        ["ask", targets @ ..] => ask(targets),
        ["hold", file, targets @ ..] => hold(Path::new(file), targets),
        words => crate::many::tool(words).or_else(|| crate::refused::tool(words)).unwrap_or(ExitCode::FAILURE),
    }
}

/// This binary, as a tool in a namespace.
pub fn command(space: &Namespace) -> Command {
    let me = std::env::current_exe().unwrap_or_default();
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &space.name]).arg(me).env("BASCULE_TOOL", "1");
    command
}

/// An echo server on all addresses that ends with its namespace.
pub fn serve(space: &Namespace) -> Result<(), String> {
    let spawned = command(space).args(["echo", &space.name]).stdin(Stdio::null()).spawn();
    spawned.map(drop).map_err(|e| format!("echo server: {e}"))
}

fn echo(name: &str) -> ExitCode {
    let Ok(listener) = TcpListener::bind(("::", PORT)) else { return ExitCode::FAILURE };
    for stream in listener.incoming().flatten() {
        let name = name.to_owned();
        std::thread::spawn(move || {
            let Ok(reader) = stream.try_clone() else { return };
            let mut out = stream;
            for line in BufReader::new(reader).lines() {
                let Ok(line) = line else { return };
                if out.write_all(format!("{name} {line}\n").as_bytes()).is_err() {
                    return;
                }
            }
        });
    }
    ExitCode::SUCCESS
}

struct Talk {
    out: TcpStream,
    lines: std::io::Lines<BufReader<TcpStream>>,
}

impl Talk {
    fn open(target: &str, patience: Duration) -> Result<Talk, String> {
        let target: SocketAddr = target.parse().map_err(|e| format!("{target}: {e}"))?;
        let out = TcpStream::connect_timeout(&target, Duration::from_secs(5)).map_err(|e| e.to_string())?;
        out.set_read_timeout(Some(patience)).map_err(|e| e.to_string())?;
        let lines = BufReader::new(out.try_clone().map_err(|e| e.to_string())?).lines();
        Ok(Talk { out, lines })
    }

    /// Says something and gets it back, with the server's name.
    fn say(&mut self, what: &str) -> Result<String, String> {
        self.out.write_all(format!("{what}\n").as_bytes()).map_err(|e| e.to_string())?;
        let line = self.lines.next().ok_or("closed")?.map_err(|e| e.to_string())?;
        match line.split_once(' ') {
            Some((name, echo)) if echo == what => Ok(name.to_owned()),
            _ => Err("not what was said".to_owned()),
        }
    }
}

/// Prints who answers behind each target, one line each: `TARGET NAME` or `TARGET !ERROR`.
fn ask(targets: &[&str]) -> ExitCode {
    let asked: Vec<_> = targets
        .iter()
        .map(|t| (*t).to_owned())
        .map(|target| {
            std::thread::spawn(move || {
                let said =
                    Talk::open(&target, Duration::from_secs(5)).and_then(|mut t| t.say(&"x".repeat(LONG_MESSAGE)));
                (target, said)
            })
        })
        .collect();
    for (target, said) in asked.into_iter().flat_map(std::thread::JoinHandle::join) {
        println!("{target} {}", said.unwrap_or_else(|e| format!("!{}", e.replace(' ', "_"))));
    }
    ExitCode::SUCCESS
}

/// Who answers a client behind each target, asked `times` times: pairs of target and name, or an error with `!`.
pub fn who(client: &Namespace, targets: &[String], times: usize) -> Result<Vec<(String, String)>, String> {
    let all: Vec<&String> = std::iter::repeat_n(targets, times).flatten().collect();
    let out = command(client).arg("ask").args(all).output().map_err(|e| format!("ask: {e}"))?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    Ok(text.lines().filter_map(|l| l.split_once(' ')).map(|(t, n)| (t.to_owned(), n.to_owned())).collect())
}

/// Keeps one connection to each target until the file `FILE.stop` is there, then writes `FILE`.
fn hold(file: &Path, targets: &[&str]) -> ExitCode {
    static READY: AtomicUsize = AtomicUsize::new(0);
    let stop = file.with_extension("stop");
    let held: Vec<_> = targets
        .iter()
        .map(|target| {
            let (target, stop) = ((*target).to_owned(), stop.clone());
            std::thread::spawn(move || {
                let mut held = Held {
                    target: target.clone(),
                    server: "-".to_owned(),
                    echoes: 0,
                    longest_ms: 0,
                    error: String::new(),
                };
                held.error = held.keep(&stop, &READY).err().unwrap_or_default().replace(' ', "_");
                held
            })
        })
        .collect();
    let all = targets.len();
    let _ = wait_until(Duration::from_secs(30), || (READY.load(Ordering::Relaxed) == all).then_some(()));
    let _ = std::fs::write(file.with_extension("ready"), "");
    let lines: Vec<String> = held
        .into_iter()
        .flat_map(std::thread::JoinHandle::join)
        .map(|h| format!("{} {} {} {} {}", h.target, h.server, h.echoes, h.longest_ms, h.error))
        .collect();
    // In one step, since the reader waits for the file.
    let _ = std::fs::write(file.with_extension("new"), lines.join("\n"));
    let _ = std::fs::rename(file.with_extension("new"), file);
    ExitCode::SUCCESS
}

/// What became of one connection.
#[derive(Debug)]
pub struct Held {
    pub target: String,
    pub server: String,
    pub echoes: u64,
    /// Longest time between saying something and hearing it.
    pub longest_ms: u128,
    /// Empty: it lived to the end.
    pub error: String,
}

impl Held {
    pub fn survived(&self) -> bool {
        self.error.is_empty()
    }

    fn keep(&mut self, stop: &Path, ready: &AtomicUsize) -> Result<(), String> {
        let opened = Talk::open(&self.target, PATIENCE).and_then(|mut talk| {
            self.server = talk.say(&"x".repeat(LONG_MESSAGE))?;
            Ok(talk)
        });
        ready.fetch_add(1, Ordering::Relaxed);
        let mut talk = opened?;
        while !stop.exists() {
            std::thread::sleep(PAUSE);
            let began = Instant::now();
            let server = talk.say(&self.echoes.to_string())?;
            self.longest_ms = self.longest_ms.max(began.elapsed().as_millis());
            if server != self.server {
                return Err(format!("{} answered", server));
            }
            self.echoes += 1;
        }
        Ok(())
    }
}

/// Connections that are being kept.
pub struct Holding {
    file: PathBuf,
    child: Child,
}

impl Holding {
    /// Opens one connection to each target and returns once all talk, or have failed.
    pub fn start(client: &Namespace, name: &str, targets: &[String]) -> Result<Holding, String> {
        let file = PathBuf::from(format!("/tmp/hold-{name}"));
        for old in [file.clone(), file.with_extension("stop"), file.with_extension("ready")] {
            let _ = std::fs::remove_file(old);
        }
        let child = command(client).arg("hold").arg(&file).args(targets).spawn().map_err(|e| format!("hold: {e}"))?;
        let ready = file.with_extension("ready");
        wait_until(Duration::from_secs(60), || ready.exists().then_some(()))
            .ok_or("the long connections did not start")?;
        Ok(Holding { file, child })
    }

    pub fn finish(mut self) -> Result<Vec<Held>, String> {
        std::fs::write(self.file.with_extension("stop"), "").map_err(|e| e.to_string())?;
        let limit = PATIENCE + Duration::from_secs(20);
        let text =
            wait_until(limit, || std::fs::read_to_string(&self.file).ok()).ok_or("no word of the long connections")?;
        let _ = self.child.wait();
        Ok(text.lines().filter_map(parse).collect())
    }
}

fn parse(line: &str) -> Option<Held> {
    let mut words = line.split(' ');
    Some(Held {
        target: words.next()?.to_owned(),
        server: words.next()?.to_owned(),
        echoes: words.next()?.parse().ok()?,
        longest_ms: words.next()?.parse().ok()?,
        error: words.next()?.to_owned(),
    })
}
