//! One task for each distinct check, each on its own schedule: the next one begins an interval after the last has ended.
//!
//! Checks that are all due at once (at start, say) begin in the order in which they came, [`MAX_BRISK`] at a time: more would only
//! cost memory. Whoever has not answered within [`BRISK`] makes room, so that servers that hang hold up nobody.

use crate::checks::{Check, Progress};
use crate::config::Config;
use crate::plan::real_id;
use policy::{RealId, Verdict};
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

/// Checks that run at one time; each needs a few descriptors.
pub const MAX_CONCURRENT: usize = 20_000;
/// Checks that are in their first moments at one time, and how long these are.
const MAX_BRISK: usize = 512;
const BRISK: Duration = Duration::from_millis(20);
/// Pause before a check that this machine could not make is tried again.
const RETRY: Duration = Duration::from_millis(250);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CheckId(u64);

/// What a check has found; `Err`: this machine could not ask.
pub struct Finding {
    pub id: CheckId,
    pub outcome: Result<Verdict, String>,
}

struct Running {
    check: Arc<Check>,
    reals: Arc<[RealId]>,
    task: JoinHandle<()>,
}

struct Limits {
    all: Semaphore,
    brisk: Semaphore,
}

pub struct Runner {
    running: BTreeMap<CheckId, Running>,
    findings: mpsc::Sender<Finding>,
    limits: Arc<Limits>,
    next: u64,
}

impl Runner {
    pub fn new(findings: mpsc::Sender<Finding>) -> Runner {
        let limit = concurrent_limit();
        let limits = Limits { all: Semaphore::new(limit), brisk: Semaphore::new(MAX_BRISK) };
        Runner { running: BTreeMap::new(), findings, limits: Arc::new(limits), next: 0 }
    }

    /// Runs exactly the checks of a configuration; those that run already are left alone.
    pub fn follow(&mut self, config: &Config) {
        let mut old = std::mem::take(&mut self.running);
        let mut by_hash: HashMap<u64, Vec<CheckId>> = HashMap::new();
        for (id, running) in &old {
            by_hash.entry(hash(&running.check)).or_default().push(*id);
        }
        for (check, reals) in distinct(config) {
            let same = by_hash.get(&hash(&check)).into_iter().flatten();
            let found = same.copied().find(|id| old.get(id).is_some_and(|r| *r.check == check));
            if let Some((id, mut running)) = found.and_then(|id| old.remove_entry(&id)) {
                running.reals = reals.into();
                self.running.insert(id, running);
            } else {
                self.spawn(check, reals);
            }
        }
        old.values().for_each(|running| running.task.abort());
    }

    pub fn reals(&self, id: CheckId) -> Option<(&Arc<Check>, &Arc<[RealId]>)> {
        self.running.get(&id).map(|r| (&r.check, &r.reals))
    }

    /// The check of each real server.
    pub fn by_real(&self) -> BTreeMap<RealId, &Check> {
        let checks = self.running.values().filter(|r| !r.check.is_agent());
        checks.flat_map(|r| r.reals.iter().map(|id| (*id, &*r.check))).collect()
    }

    fn spawn(&mut self, check: Check, reals: Vec<RealId>) {
        let id = CheckId(self.next);
        self.next += 1;
        let check = Arc::new(check);
        let task = tokio::spawn(repeat(id, check.clone(), self.findings.clone(), self.limits.clone()));
        self.running.insert(id, Running { check, reals: reals.into(), task });
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.running.values().for_each(|r| r.task.abort());
    }
}

async fn repeat(id: CheckId, check: Arc<Check>, findings: mpsc::Sender<Finding>, limits: Arc<Limits>) {
    let mut progress = Progress::default();
    let mut first = true;
    loop {
        let outcome = one(&check, &mut progress, &limits).await;
        let pause = if outcome.is_ok() { pause(&check, std::mem::take(&mut first), noise()) } else { RETRY };
        if findings.send(Finding { id, outcome }).await.is_err() {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

async fn one(check: &Check, progress: &mut Progress, limits: &Limits) -> Result<Verdict, String> {
    let closed = |_| "the director ends".to_owned();
    let _permit = limits.all.acquire().await.map_err(closed)?;
    let brisk = limits.brisk.acquire().await.map_err(closed)?;
    // Boxed: a sleeping check holds no memory of the protocol that it speaks.
    let mut run = Box::pin(check.run(progress));
    if let Ok(outcome) = tokio::time::timeout(BRISK, &mut run).await {
        return outcome;
    }
    drop(brisk);
    run.await
}

/// The time until the next check. The first one is cut at random, so that checks which all began at once do not stay together.
fn pause(check: &Check, first: bool, noise: u32) -> Duration {
    // From 0 to 1.
    let share = f64::from(noise) / f64::from(u32::MAX);
    if first {
        return check.interval.mul_f64(share);
    }
    let jitter = f64::from(check.jitter_percent.min(100)) / 100.0;
    check.interval.mul_f64(1.0 + jitter * (2.0 * share - 1.0))
}

/// Enough randomness to part two timers.
fn noise() -> u32 {
    RandomState::new().hash_one(()) as u32
}

/// Checks without repetition, each with the servers that it speaks for.
fn distinct(config: &Config) -> Vec<(Check, Vec<RealId>)> {
    let mut out: Vec<(Check, Vec<RealId>)> = Vec::new();
    let mut by_hash: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut of_real: BTreeMap<(RealId, bool), usize> = BTreeMap::new();
    for v in &config.virtuals {
        for real in &v.reals {
            let id = real_id(v, real);
            for check in Check::of(v, real).into_iter().chain(Check::of_agent(v, real)) {
                let known = by_hash.entry(hash(&check)).or_default();
                let agent = check.is_agent();
                let at = match known.iter().copied().find(|i| out[*i].0 == check) {
                    Some(at) => at,
                    None => {
                        known.push(out.len());
                        out.push((check, Vec::new()));
                        out.len() - 1
                    }
                };
                // Of two lines for one destination the last counts.
                if let Some(before) = of_real.insert((id, agent), at) {
                    out[before].1.retain(|r| *r != id);
                }
                out[at].1.push(id);
            }
        }
    }
    out.retain(|(_, reals)| !reals.is_empty());
    out
}

fn hash(check: &Check) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{check:?}").hash(&mut hasher);
    hasher.finish()
}

/// As many as descriptors allow, after the limit was raised as far as permitted.
fn concurrent_limit() -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 256 };
    let limit = if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft };
    // Two for each check (FTP's data, a child's pipes), some for everything else.
    usize::try_from(limit.saturating_sub(128) / 2).unwrap_or(MAX_CONCURRENT).clamp(16, MAX_CONCURRENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{System, parse};
    use std::time::Instant;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn check(jitter_percent: u32) -> Check {
        let second = Duration::from_secs(1);
        Check { kind: crate::checks::Kind::None, deadline: second, interval: second * 10, jitter_percent, source: None }
    }

    #[test]
    fn pauses() {
        let at = |jitter, first, noise| pause(&check(jitter), first, noise).as_millis();
        assert_eq!((at(0, false, 0), at(0, false, u32::MAX)), (10_000, 10_000));
        assert_eq!((at(20, false, 0), at(20, false, u32::MAX / 2), at(20, false, u32::MAX)), (8_000, 10_000, 12_000));
        assert_eq!((at(50, true, 0), at(50, true, u32::MAX)), (0, 10_000));
        // Checks that begin together are spread over the whole interval afterwards.
        let mut tenths = [0; 10];
        for _ in 0..1_000 {
            tenths[(pause(&check(0), true, noise()).as_millis() as usize / 1_000).min(9)] += 1;
        }
        assert!(tenths.iter().all(|n| (40..200).contains(n)), "{tenths:?}");
    }

    /// Answers at once, or accepts and never answers.
    async fn server(answers: bool) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let _ = stream.read(&mut [0; 512]).await;
                    if answers {
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                    } else {
                        tokio::time::sleep(Duration::from_secs(60)).await;
                    }
                });
            }
        });
        port
    }

    /// With the original a healthy server's period is the interval and the time-outs of all hung ones: here 21 s.
    #[tokio::test]
    async fn four_hung_of_twenty_delay_no_other() {
        let mut text = "checkinterval=1\nnegotiatetimeout=5\nvirtual=192.0.2.1:80\n    service=http\n".to_owned();
        let mut hung = Vec::new();
        for n in 0..20 {
            let port = server(n % 5 != 0).await;
            text.push_str(&format!("    real=127.0.0.1:{port} masq\n"));
            hung.extend((n % 5 == 0).then_some(port));
        }
        let config = parse(&text, &mut System::default()).unwrap_or_else(|e| panic!("{e}")).config;
        let (findings, mut found) = mpsc::channel(100);
        let mut runner = Runner::new(findings);
        runner.follow(&config);
        let began = Instant::now();
        let mut passes: BTreeMap<u16, Vec<Duration>> = BTreeMap::new();
        while began.elapsed() < Duration::from_millis(3_600) {
            let Ok(Some(finding)) = tokio::time::timeout(Duration::from_millis(200), found.recv()).await else {
                continue;
            };
            let (_, reals) = runner.reals(finding.id).unwrap();
            assert!(finding.outcome.unwrap().up && !hung.contains(&reals[0].dest.port), "none of the hung is done yet");
            passes.entry(reals[0].dest.port).or_default().push(began.elapsed());
        }
        assert_eq!(passes.len(), 16);
        for (port, times) in passes {
            // Four in 3.6 s; one fewer is allowed to a machine that does other things as well.
            assert!(times.len() >= 3, "port {port}: {times:?}");
        }
    }
}
