//! The running prober: collects its records, answers questions about the last moments.

use super::cluster::Cluster;
use crate::hosts::{LabError, applet};
use crate::outage::{Seen, judge};
use crate::probe::{Batch, Kind, Outcome, Record, monotonic_us};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::task::JoinHandle;

/// Records kept; at 5 ms and two targets this is more than half an hour. Older ones are forgotten.
const MAX_RECORDS: usize = 1_000_000;
/// A request without an answer after this long is lost.
pub const TIMEOUT_MS: u64 = 2_000;

#[derive(Default)]
struct Collected {
    records: Vec<Record>,
    in_flight: u64,
}

pub struct Client {
    targets: u8,
    collected: Arc<Mutex<Collected>>,
    reader: JoinHandle<()>,
    _child: Child,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Client {
    /// Starts the prober on a host of the demo.
    pub fn start(
        cluster: &Cluster,
        host: &str,
        targets: &[SocketAddr],
        interval_ms: u64,
        workers: u32,
    ) -> Result<Client, LabError> {
        let mut command = applet(&cluster.program, "lab-probe", &cluster.log(host))?;
        for target in targets {
            command.arg("--target").arg(target.to_string());
        }
        command.arg("--interval-ms").arg(interval_ms.to_string());
        command.arg("--workers").arg(workers.to_string()).args(["--work-ms", "50"]);
        command.arg("--timeout-ms").arg(TIMEOUT_MS.to_string());
        let host = cluster.lab.host(host)?;
        let mut child = host.spawn(&mut command)?;
        let stdout = child.stdout.take().ok_or_else(|| LabError::Expectation("the client has no output".to_owned()))?;
        let collected: Arc<Mutex<Collected>> = Arc::default();
        let sink = collected.clone();
        let reader = tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let Ok(batch) = serde_json::from_str::<Batch>(&line) else { continue };
                let mut all = sink.lock().unwrap_or_else(PoisonError::into_inner);
                all.in_flight = batch.in_flight;
                all.records.extend(batch.records);
                let excess = all.records.len().saturating_sub(MAX_RECORDS);
                all.records.drain(..excess);
            }
        });
        Ok(Client { targets: targets.len() as u8, collected, reader, _child: child })
    }

    fn with<T>(&self, f: impl FnOnce(&Collected) -> T) -> T {
        f(&self.collected.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What was seen of requests sent between two moments.
    pub fn judge(&self, from_us: u64, to_us: u64) -> Seen {
        self.with(|c| judge(&c.records, self.targets, from_us, to_us))
    }

    /// When the first probe after the longest gap of the window was answered, per target.
    pub fn recovered_us(&self, from_us: u64, to_us: u64) -> Vec<Option<u64>> {
        (0..self.targets).map(|t| self.with(|c| end_of_longest_gap(&c.records, t, from_us, to_us))).collect()
    }

    /// Whether every target has answered lately and nothing failed for `calm_ms`.
    pub fn calm(&self, calm_ms: u64) -> bool {
        let since = monotonic_us().saturating_sub(calm_ms * 1_000);
        self.with(|c| {
            let recent = || c.records.iter().rev().take_while(|r| r.done_us() + 4_000_000 > since);
            let answered = |t: u8| recent().any(|r| r.target == t && r.is_ok() && r.sent_us >= since);
            (0..self.targets).all(answered) && !recent().any(|r| !r.is_ok() && r.done_us() >= since)
        })
    }

    /// Successful answers by server among requests sent since `from_us`.
    pub fn servers_since(&self, from_us: u64) -> BTreeMap<String, u64> {
        let mut found = BTreeMap::new();
        self.with(|c| {
            for r in c.records.iter().rev().take_while(|r| r.done_us() + 4_000_000 > from_us) {
                if let (true, Outcome::Ok(name)) = (r.sent_us >= from_us, &r.outcome) {
                    *found.entry(name.clone()).or_default() += 1;
                }
            }
        });
        found
    }

    /// One line for the live status.
    pub fn line(&self) -> String {
        let window_ms = 1_000;
        let now = monotonic_us();
        // Answers reach us up to one report interval late.
        let (from, to) = (now.saturating_sub(window_ms * 1_000 + 100_000), now.saturating_sub(100_000));
        let seen = self.judge(from, to);
        let in_flight = self.with(|c| c.in_flight);
        let servers: Vec<String> = seen.by_server.iter().map(|(name, n)| format!("{name} {n}")).collect();
        format!(
            "{} requests/s, {} failed, {in_flight} in flight, {:.1} ms | {}",
            seen.sent * 1_000 / window_ms,
            seen.lost,
            seen.median_us as f64 / 1_000.0,
            if servers.is_empty() { "nobody answers".to_owned() } else { servers.join(", ") }
        )
    }

    /// Waits until requests sent before now have been answered or given up.
    pub async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(TIMEOUT_MS + 200)).await;
    }
}

fn end_of_longest_gap(records: &[Record], target: u8, from_us: u64, to_us: u64) -> Option<u64> {
    let ok = |r: &&Record| r.target == target && r.kind == Kind::Probe && r.is_ok();
    let mut done: Vec<u64> =
        records.iter().filter(ok).map(Record::done_us).filter(|at| (from_us..to_us).contains(at)).collect();
    done.sort_unstable();
    std::iter::once(from_us)
        .chain(done.iter().copied())
        .zip(done.iter().copied())
        .max_by_key(|(a, b)| b - a)
        .map(|p| p.1)
}
