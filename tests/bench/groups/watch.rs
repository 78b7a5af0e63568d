//! What idle nodes cost, and how long a dead one stays in its group.

use super::{Loss, Ring};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

const PATIENCE: Duration = Duration::from_secs(60);

/// A process and all that it has started.
pub fn family(first: i32) -> Vec<i32> {
    let mut all = vec![first];
    let mut n = 0;
    while let Some(pid) = all.get(n).copied() {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        all.extend(children.split_whitespace().filter_map(|w| w.parse::<i32>().ok()));
        // Children of other threads than the first stand with those.
        for entry in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(entry.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|w| w.parse::<i32>().ok()));
        }
        n += 1;
        let mut seen = std::collections::BTreeSet::new();
        all.retain(|p| seen.insert(*p));
    }
    all
}

/// Processor time in ticks of 10 ms.
fn ticks(pids: &[i32]) -> f64 {
    let of = |pid: &i32| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let rest = line.rsplit_once(')').map_or("", |(_, rest)| rest).to_owned();
        rest.split_whitespace().skip(11).take(2).filter_map(|w| w.parse::<f64>().ok()).sum::<f64>()
    };
    pids.iter().map(of).sum()
}

fn megabytes(pids: &[i32], key: &str) -> f64 {
    let of = |pid: &i32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find_map(|l| l.strip_prefix(key).map(str::to_owned)).unwrap_or_default();
        line.split_whitespace().next().and_then(|w| w.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    };
    pids.iter().map(of).sum()
}

/// Packets that the host has sent on its cables.
async fn packets(ring: &Ring, node: &str) -> f64 {
    let mut command = Command::new("cat");
    command.arg("/proc/net/dev").stdout(std::process::Stdio::piped());
    let child = ring.lab().host(node).unwrap().spawn(&mut command).unwrap();
    let text = String::from_utf8_lossy(&child.wait_with_output().await.unwrap().stdout).into_owned();
    let cables = text.lines().filter_map(|l| l.split_once(':')).filter(|(name, _)| name.trim() != "lo");
    cables.filter_map(|(_, rest)| rest.split_whitespace().nth(9)?.parse::<f64>().ok()).sum()
}

/// Of one node: memory, processor, packets.
pub async fn idle(ring: &Ring, nodes: &[&'static str], span: Duration) -> Vec<(&'static str, f64)> {
    tokio::time::sleep(Duration::from_secs(5)).await;
    // One that has the token brought to it, where there is one.
    let node = nodes[nodes.len().min(2) - 1];
    let pids = ring.processes(node);
    let (ticks_before, packets_before, began) = (ticks(&pids), packets(ring, node).await, Instant::now());
    tokio::time::sleep(span).await;
    let took = began.elapsed().as_secs_f64();
    vec![
        ("processor, % of a core", (ticks(&pids) - ticks_before) / took),
        ("packets/s sent by a node", (packets(ring, node).await - packets_before) / took),
        ("resident MB", megabytes(&pids, "Rss:")),
        ("proportional MB (PSS)", megabytes(&pids, "Pss:")),
        ("its own MB (private)", megabytes(&pids, "Private_Dirty:")),
    ]
}

/// From the loss of a node to the change that its group is told, in ms. One that is only cut off is back when this returns.
pub async fn detection(ring: &Ring, nodes: &[&'static str], loss: Loss) -> Option<f64> {
    let last = *nodes.last()?;
    let mut far = ring.client(last, &["watch"]);
    let mut near = ring.client(nodes[0], &["watch"]);
    let mut lines = BufReader::new(near.stdout.take()?).lines();
    let mut until = async |count: &str| loop {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.ok()?.ok()??;
        let (members, at) = line.split_once(' ')?;
        if members == count {
            return at.parse::<f64>().ok();
        }
    };
    until("2").await?;
    let began = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_micros() as f64;
    match loss {
        Loss::Silence => ring.lab().isolate(last).await.ok()?,
        Loss::Process => {
            for pid in ring.processes(last) {
                kill(Pid::from_raw(pid), Signal::SIGKILL).ok()?;
            }
        }
    }
    let seen = until("1").await?;
    if loss == Loss::Silence {
        ring.lab().reach(last).await.ok()?;
        until("2").await?;
    }
    near.kill().await.ok()?;
    far.kill().await.ok();
    Some((seen - began) / 1000.0)
}
