//! `lab-probe`: the client. One new connection and request per target every few milliseconds, whatever became of the
//! earlier ones, and a few workers that keep longer requests in flight; every request is recorded.
//!
//! Records leave as JSON lines on standard output, several times a second ([`Batch`]). Times are microseconds of the
//! machine's monotonic clock, which all namespaces share.

use bytes::Bytes;
use clap::Parser;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// Answers are names; more than this is not ours.
const MAX_BODY_BYTES: usize = 4096;
/// Records waiting to be printed; beyond that the prober itself waits.
const MAX_PENDING: usize = 65_536;
const REPORT_EVERY_MS: u64 = 50;

#[derive(Parser)]
#[command(
    name = "lab-probe",
    about = "HTTP client that probes targets every few milliseconds and records every request"
)]
struct Args {
    /// Address and port to probe (repeatable)
    #[arg(long, required = true)]
    target: Vec<SocketAddr>,
    #[arg(long, default_value_t = 5)]
    interval_ms: u64,
    /// A request without a complete answer after this long is lost
    #[arg(long, default_value_t = 2000)]
    timeout_ms: u64,
    /// Workers that keep a longer request in flight each
    #[arg(long, default_value_t = 0)]
    workers: u32,
    /// How long the server takes over a worker's request
    #[arg(long, default_value_t = 50)]
    work_ms: u64,
}

/// What kind of request it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One of the evenly spaced ones, from which outages are measured.
    Probe,
    /// One of a worker's.
    Work,
}

/// What became of a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Status 200, and the name of the server that answered.
    Ok(String),
    Status(u16),
    Refused,
    Reset,
    Timeout,
    /// Network unreachable, broken answers.
    Other(String),
}

/// One request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    pub target: u8,
    pub kind: Kind,
    pub sent_us: u64,
    pub took_us: u64,
    pub outcome: Outcome,
}

impl Record {
    pub fn done_us(&self) -> u64 {
        self.sent_us + self.took_us
    }

    pub fn is_ok(&self) -> bool {
        matches!(self.outcome, Outcome::Ok(_))
    }
}

/// One line of output: the requests that ended since the line before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Batch {
    pub now_us: u64,
    /// Requests under way.
    pub in_flight: u64,
    pub records: Vec<Record>,
}

/// The machine's monotonic clock in microseconds.
pub fn monotonic_us() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// Entry point of the applet.
pub fn run(args: Vec<OsString>) -> i32 {
    let args = match Args::try_parse_from(std::iter::once("lab-probe".into()).chain(args)) {
        Ok(args) => args,
        Err(e) => {
            kernel::output::say(e.render().ansi(), e.render(), e.use_stderr());
            return e.exit_code();
        }
    };
    // A long outage piles up one socket per interval and target.
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(65_536), hard);
    }
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return 1 };
    runtime.block_on(probe(args))
}

async fn probe(args: Args) -> i32 {
    let (sender, receiver) = mpsc::channel(MAX_PENDING);
    let timeout = Duration::from_millis(args.timeout_ms);
    for (i, &target) in args.target.iter().enumerate() {
        let tick = Duration::from_millis(args.interval_ms.max(1));
        tokio::spawn(steady(i as u8, target, tick, timeout, sender.clone()));
    }
    for worker in 0..args.workers {
        let i = worker as usize % args.target.len();
        let path = format!("/work?ms={}", args.work_ms);
        tokio::spawn(worker_loop(i as u8, args.target[i], path, timeout, sender.clone()));
    }
    drop(sender);
    tokio::select! {
        code = report(receiver) => code,
        () = end_of_input() => 0,
    }
}

async fn end_of_input() {
    let mut lines = crate::hosts::stdin_lines();
    while lines.recv().await.is_some() {}
}

async fn steady(
    index: u8,
    target: SocketAddr,
    every: Duration,
    timeout: Duration,
    sender: mpsc::Sender<Result<Record, ()>>,
) {
    let mut tick = tokio::time::interval(every);
    // A tick that came late is not made up for: the gap it leaves is the machine's, and shows as such.
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if sender.send(Err(())).await.is_err() {
            return;
        }
        let sender = sender.clone();
        tokio::spawn(async move {
            let _ = sender.send(Ok(one(index, Kind::Probe, target, "/", timeout).await)).await;
        });
    }
}

async fn worker_loop(
    index: u8,
    target: SocketAddr,
    path: String,
    timeout: Duration,
    sender: mpsc::Sender<Result<Record, ()>>,
) {
    while sender.send(Err(())).await.is_ok() {
        let record = one(index, Kind::Work, target, &path, timeout).await;
        if !record.is_ok() {
            // A refused connection must not turn into a busy loop.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if sender.send(Ok(record)).await.is_err() {
            return;
        }
    }
}

async fn one(target: u8, kind: Kind, to: SocketAddr, path: &str, timeout: Duration) -> Record {
    let sent_us = monotonic_us();
    let outcome = tokio::time::timeout(timeout, request(to, path)).await.unwrap_or(Outcome::Timeout);
    Record { target, kind, sent_us, took_us: monotonic_us().saturating_sub(sent_us), outcome }
}

async fn request(to: SocketAddr, path: &str) -> Outcome {
    let stream = match TcpStream::connect(to).await {
        Ok(stream) => stream,
        Err(e) => return io_outcome(&e),
    };
    let (mut sender, connection) = match hyper::client::conn::http1::handshake(TokioIo::new(stream)).await {
        Ok(pair) => pair,
        Err(e) => return hyper_outcome(&e),
    };
    let request = hyper::Request::get(path)
        .header(hyper::header::HOST, to.to_string())
        .header(hyper::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new());
    let Ok(request) = request else { return Outcome::Other("cannot build the request".to_owned()) };
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await;
        Ok((status, body.map(|b| b.to_bytes())))
    };
    // The connection is driven here, so that a timeout drops everything at once.
    let driven = async {
        tokio::pin!(connection);
        tokio::pin!(exchange);
        tokio::select! {
            done = &mut exchange => done,
            _ = &mut connection => exchange.await,
        }
    };
    match driven.await {
        Ok((200, Ok(body))) => Outcome::Ok(String::from_utf8_lossy(&body).trim().to_owned()),
        Ok((200, Err(e))) => Outcome::Other(e.to_string()),
        Ok((status, _)) => Outcome::Status(status),
        Err(e) => hyper_outcome(&e),
    }
}

fn io_outcome(e: &std::io::Error) -> Outcome {
    match e.kind() {
        std::io::ErrorKind::ConnectionRefused => Outcome::Refused,
        std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe => Outcome::Reset,
        _ => Outcome::Other(e.to_string()),
    }
}

fn hyper_outcome(e: &hyper::Error) -> Outcome {
    let io = std::error::Error::source(e).and_then(|s| s.downcast_ref::<std::io::Error>());
    match io {
        Some(io) => io_outcome(io),
        // The peer closed before a whole answer had come.
        None if e.is_incomplete_message() || e.is_canceled() => Outcome::Reset,
        None => Outcome::Other(e.to_string()),
    }
}

/// Prints batches; ends when nobody reads them any more. `Err(())` on the channel says that a request was started.
async fn report(mut receiver: mpsc::Receiver<Result<Record, ()>>) -> i32 {
    let mut tick = tokio::time::interval(Duration::from_millis(REPORT_EVERY_MS));
    let mut batch = Batch { now_us: 0, in_flight: 0, records: Vec::new() };
    loop {
        tokio::select! {
            message = receiver.recv() => match message {
                Some(Err(())) => batch.in_flight += 1,
                Some(Ok(record)) => {
                    batch.in_flight = batch.in_flight.saturating_sub(1);
                    batch.records.push(record);
                }
                None => return 0,
            },
            _ = tick.tick() => {
                batch.now_us = monotonic_us();
                let Ok(mut line) = serde_json::to_vec(&batch) else { return 1 };
                line.push(b'\n');
                kernel::output::put(&line);
                if !kernel::output::is_open() {
                    return 0;
                }
                batch.records.clear();
            }
        }
    }
}
