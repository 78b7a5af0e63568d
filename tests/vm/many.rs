//! Very many long TCP connections: an echo server that names itself, and a client that keeps them talking.
//!
//! Both are this binary, started again inside a namespace with `BASCULE_TOOL` set, each on one thread.

use crate::guest::{Namespace, wait_until};
use crate::hold::command;
use nix::sys::resource::{Resource, setrlimit};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

const MAX_FILES: u64 = 65_536;
/// TCP repeats itself for so long when its way changes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections that are being opened at the same time.
const OPENING: usize = 32;
/// Until all are open, or have said their last word.
const START: Duration = Duration::from_secs(1200);

/// What the binary does with these words, if they are for this module.
pub fn tool(words: &[&str]) -> Option<ExitCode> {
    // Each connection is a file.
    setrlimit(Resource::RLIMIT_NOFILE, MAX_FILES, MAX_FILES).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    match words {
        ["echo-many", name, port] => Some(runtime.block_on(echo(name, port.parse().ok()?))),
        ["many", file, pause_ms, each, targets @ ..] => {
            let pause = Duration::from_millis(pause_ms.parse().ok()?);
            Some(runtime.block_on(keep(Path::new(file), pause, each.parse().ok()?, targets)))
        }
        _ => None,
    }
}

/// An echo server on all addresses that ends with its namespace.
pub fn serve(space: &Namespace, port: u16) -> Result<(), String> {
    let mut server = command(space);
    server.args(["echo-many", &space.name, &port.to_string()]).stdin(Stdio::null());
    server.spawn().map(drop).map_err(|e| format!("echo server: {e}"))
}

async fn echo(name: &str, port: u16) -> ExitCode {
    let Ok(listener) = TcpListener::bind(("::", port)).await else { return ExitCode::FAILURE };
    let name: Arc<str> = name.into();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let name = name.clone();
        tokio::spawn(async move {
            let (reader, mut out) = stream.into_split();
            let mut lines = BufReader::with_capacity(256, reader).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if out.write_all(format!("{name} {line}\n").as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// What became of one connection.
#[derive(Clone, Debug)]
pub struct Kept {
    pub target: String,
    pub port: u16,
    pub server: String,
    pub echoes: u64,
    /// Longest time between saying something and hearing it.
    pub longest_ms: u128,
    /// Empty: it lived to the end.
    pub error: String,
}

impl Kept {
    pub fn survived(&self) -> bool {
        self.error.is_empty()
    }

    fn line(&self) -> String {
        let error = self.error.replace(' ', "_");
        format!("{} {} {} {} {} {error}", self.target, self.port, self.server, self.echoes, self.longest_ms)
    }

    fn parse(line: &str) -> Option<Kept> {
        let mut words = line.split(' ');
        Some(Kept {
            target: words.next()?.to_owned(),
            port: words.next()?.parse().ok()?,
            server: words.next()?.to_owned(),
            echoes: words.next()?.parse().ok()?,
            longest_ms: words.next()?.parse().ok()?,
            error: words.next()?.to_owned(),
        })
    }
}

/// Keeps `each` connections to each target until the file `FILE.stop` is there, then writes `FILE`.
async fn keep(file: &Path, pause: Duration, each: usize, targets: &[&str]) -> ExitCode {
    let (stop, stopped) = watch::channel(false);
    let (opened, mut ready) = tokio::sync::mpsc::unbounded_channel::<()>();
    let gate = Arc::new(Semaphore::new(OPENING));
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..each {
        for target in targets {
            let (target, stopped) = ((*target).to_owned(), stopped.clone());
            let (gate, opened) = (gate.clone(), opened.clone());
            // Not all at the same moment of each round.
            let first = pause * (n as u32 % 16) / 16;
            tasks.spawn(async move { talk(target, pause, first, gate, opened, stopped).await });
        }
    }
    drop(opened);
    for _ in 0..each * targets.len() {
        let _ = ready.recv().await;
    }
    let _ = std::fs::write(file.with_extension("ready"), "");
    while !file.with_extension("stop").exists() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stop.send_replace(true);
    let lines: Vec<String> = tasks.join_all().await.iter().map(Kept::line).collect();
    // In one step, since the reader waits for the file.
    let _ = std::fs::write(file.with_extension("new"), lines.join("\n"));
    let _ = std::fs::rename(file.with_extension("new"), file);
    ExitCode::SUCCESS
}

async fn talk(
    target: String,
    pause: Duration,
    first: Duration,
    gate: Arc<Semaphore>,
    opened: tokio::sync::mpsc::UnboundedSender<()>,
    mut stopped: watch::Receiver<bool>,
) -> Kept {
    let mut kept = Kept { target, port: 0, server: "-".to_owned(), echoes: 0, longest_ms: 0, error: String::new() };
    let permit = gate.clone().acquire_owned().await;
    let stream = open(&mut kept).await;
    drop(permit);
    let _ = opened.send(());
    let result = match stream {
        Ok((mut lines, mut out)) => {
            tokio::time::sleep(first).await;
            loop {
                // The last word is said by all, and not at once.
                let last = *stopped.borrow();
                let _permit = if last { gate.acquire().await.ok() } else { None };
                match say(&mut kept, &mut lines, &mut out).await {
                    Ok(()) if last => break Ok(()),
                    Ok(()) => {}
                    Err(why) => break Err(why),
                }
                let _ = tokio::time::timeout(pause, stopped.changed()).await;
            }
        }
        Err(why) => Err(why),
    };
    kept.error = result.err().unwrap_or_default();
    kept
}

type Lines = tokio::io::Lines<BufReader<tokio::net::tcp::OwnedReadHalf>>;
type Out = tokio::net::tcp::OwnedWriteHalf;

async fn open(kept: &mut Kept) -> Result<(Lines, Out), String> {
    let target: SocketAddr = kept.target.parse().map_err(|e| format!("{}: {e}", kept.target))?;
    let stream = tokio::time::timeout(PATIENCE, TcpStream::connect(target)).await;
    let stream = stream.map_err(|_| "no connection")?.map_err(|e| e.to_string())?;
    kept.port = stream.local_addr().map_err(|e| e.to_string())?.port();
    let (reader, mut out) = stream.into_split();
    let mut lines = BufReader::with_capacity(256, reader).lines();
    kept.server = exchange(&mut lines, &mut out, "hello").await?;
    Ok((lines, out))
}

async fn say(kept: &mut Kept, lines: &mut Lines, out: &mut Out) -> Result<(), String> {
    let began = Instant::now();
    let server = exchange(lines, out, &kept.echoes.to_string()).await?;
    kept.longest_ms = kept.longest_ms.max(began.elapsed().as_millis());
    kept.echoes += 1;
    if server == kept.server { Ok(()) } else { Err(format!("{server} answered")) }
}

/// Says something and gets it back, with the server's name.
async fn exchange(lines: &mut Lines, out: &mut Out, what: &str) -> Result<String, String> {
    out.write_all(format!("{what}\n").as_bytes()).await.map_err(|e| e.to_string())?;
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.map_err(|_| "silence")?;
    let line = line.map_err(|e| e.to_string())?.ok_or("closed")?;
    match line.split_once(' ') {
        Some((name, echo)) if echo == what => Ok(name.to_owned()),
        _ => Err("not what was said".to_owned()),
    }
}

/// Connections that are being kept.
pub struct Keeping {
    file: PathBuf,
    child: Child,
}

impl Keeping {
    /// Opens `each` connections to each target and returns once all talk, or have failed.
    pub fn start(
        client: &Namespace,
        name: &str,
        pause: Duration,
        each: usize,
        targets: &[String],
    ) -> Result<Keeping, String> {
        let file = PathBuf::from(format!("/tmp/many-{name}"));
        for old in [file.clone(), file.with_extension("stop"), file.with_extension("ready")] {
            let _ = std::fs::remove_file(old);
        }
        let mut command = command(client);
        command.arg("many").arg(&file).arg(pause.as_millis().to_string()).arg(each.to_string()).args(targets);
        let child = command.spawn().map_err(|e| format!("many: {e}"))?;
        let ready = file.with_extension("ready");
        wait_until(START, || ready.exists().then_some(())).ok_or("the long connections did not start")?;
        Ok(Keeping { file, child })
    }

    pub fn finish(mut self) -> Result<Vec<Kept>, String> {
        std::fs::write(self.file.with_extension("stop"), "").map_err(|e| e.to_string())?;
        let text = wait_until(PATIENCE + START, || std::fs::read_to_string(&self.file).ok());
        let text = text.ok_or("no word of the long connections")?;
        let _ = self.child.wait();
        Ok(text.lines().filter_map(Kept::parse).collect())
    }
}
