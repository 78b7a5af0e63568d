//! The guard's own process: `bascule guard --watch PID`, lines on standard input.

use super::Line;
use crate::lease::Vip;
use crate::net::Net;
use base::lease::Bounds;
use futures_util::StreamExt;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::unix::pipe::Receiver;

/// With nothing to take away, silence means nothing.
const IDLE: Duration = Duration::from_secs(3600);
/// Requests to the kernel that are under way together.
const PORTION: usize = 64;
/// More than the line about a process has.
const MAX_STAT_BYTES: usize = 2048;
const BOUNDS: Bounds = Bounds::STANDARD;

/// Entry point of the hidden applet.
pub fn run(args: Vec<OsString>) -> i32 {
    let pid = args.get(1).and_then(|a| a.to_str()).and_then(|a| a.parse::<u32>().ok());
    let (Some("--watch"), Some(pid)) = (args.first().and_then(|a| a.to_str()), pid) else {
        kernel::errln!("guard: started by the node daemon as 'bascule guard --watch PID'; not for use by hand");
        return base::exit::crm::USAGE;
    };
    // The daemon's signals (Ctrl-C at a terminal) must not take the guard first.
    let _ = nix::unistd::setsid();
    // Opened while the guard may still do everything: where /proc hides processes, it could not be later.
    let watched = File::open(format!("/proc/{pid}/stat")).ok();
    let confined = [
        kernel::confine::no_core_dump(),
        kernel::confine::keep_capabilities(kernel::confine::GUARD),
        kernel::confine::refuse_calls(kernel::confine::Filter::Guard),
    ];
    // It guards all the same: an address that stays is the greater danger.
    confined.into_iter().filter_map(Result::err).for_each(|e| kernel::errln!("guard: not confined: {e}"));
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            kernel::errln!("guard: {error}");
            return base::exit::crm::OSERR;
        }
    };
    runtime.block_on(watch(watched))
}

async fn watch(watched: Option<File>) -> i32 {
    let net = match Net::within(BOUNDS.removal) {
        Ok(net) => net,
        Err(error) => {
            kernel::errln!("guard: {error}");
            return base::exit::crm::OSERR;
        }
    };
    let pipe = std::io::stdin().as_fd().try_clone_to_owned().and_then(Receiver::from_owned_fd);
    let mut lines = match pipe {
        Ok(pipe) => BufReader::new(pipe).lines(),
        Err(error) => {
            kernel::errln!("guard: standard input is not the daemon's pipe: {error}");
            return base::exit::crm::OSERR;
        }
    };
    let mut guard = Guard { net, watched, held: BTreeSet::new(), heard: Instant::now(), taken: None };
    while guard.step(&mut lines).await {}
    0
}

struct Guard {
    net: Net,
    /// State of the daemon's process; `None` if it was gone at once.
    watched: Option<File>,
    held: BTreeSet<Vip>,
    heard: Instant,
    /// What was removed because of the silence that lasts, and when last.
    taken: Option<(Instant, BTreeSet<Vip>)>,
}

impl Guard {
    /// Waits for one line or one silence; `false` when the daemon is gone.
    async fn step(&mut self, lines: &mut Lines<BufReader<Receiver>>) -> bool {
        let nothing = self.held.is_empty() && self.taken.is_none();
        let limit = if nothing { IDLE } else { BOUNDS.silence };
        match tokio::time::timeout(limit, lines.next_line()).await {
            Ok(Ok(Some(line))) => {
                self.heard = Instant::now();
                // Whatever comes back now is the daemon's own doing, and its own to judge.
                self.taken = None;
                self.take(&line);
                true
            }
            Ok(_) => {
                self.end().await;
                false
            }
            Err(_) => {
                self.silence().await;
                true
            }
        }
    }

    fn take(&mut self, line: &str) {
        match serde_json::from_str(line) {
            Ok(Line::Beat) => {}
            Ok(Line::Hold(vip)) => drop(self.held.insert(vip)),
            Ok(Line::Drop(vip)) => drop(self.held.remove(&vip)),
            Err(error) => kernel::errln!("guard: line not understood: {error}"),
        }
    }

    async fn silence(&mut self) {
        let silent = self.heard.elapsed();
        self.take_again().await;
        if self.held.is_empty() {
            return;
        }
        if stopped_or_dead(self.watched.as_ref()) {
            self.remove_all(&format!("the daemon is stopped or dead, silent for {} ms", silent.as_millis())).await;
        } else if silent >= BOUNDS.hung {
            self.remove_all(&format!("the daemon has been silent for {} ms", silent.as_millis())).await;
        }
    }

    /// A renewal may have been on its way, waiting for the kernel's lock, when the daemon was stopped; if it came behind the
    /// removal, it has brought the address back for a whole lifetime. Until that would be over, what was taken is looked for.
    async fn take_again(&mut self) {
        let Some((last, taken)) = &self.taken else { return };
        if last.elapsed() >= BOUNDS.lifetime + BOUNDS.expiry {
            self.taken = None;
            return;
        }
        // The next look comes soon.
        let Ok(seen) = self.net.seen().await else { return };
        let back: Vec<Vip> = taken.iter().filter(|vip| seen.contains_key(&vip.key())).cloned().collect();
        if !back.is_empty() {
            self.held.extend(back);
            self.remove_all("renewed while the daemon was being stopped").await;
        }
    }

    /// Nobody renews any more: until the leases have run out, what cannot be removed is tried again.
    async fn end(&mut self) {
        let began = Instant::now();
        loop {
            self.remove_all("the daemon has exited").await;
            if self.held.is_empty() || began.elapsed() >= BOUNDS.lifetime + BOUNDS.expiry {
                return;
            }
            tokio::time::sleep(BOUNDS.beat).await;
        }
    }

    /// Words come after the deeds: a pipe that nobody reads must not keep an address here.
    async fn remove_all(&mut self, why: &str) {
        let (net, began) = (&self.net, Instant::now());
        let all = std::mem::take(&mut self.held);
        self.taken.get_or_insert_with(|| (began, BTreeSet::new())).1.extend(all.iter().cloned());
        let mut removals = futures_util::stream::iter(all)
            .map(|vip| async move { (net.remove(&vip).await, vip) })
            .buffer_unordered(PORTION);
        let (mut removed, mut failed) = (Vec::new(), Vec::new());
        while let Some((outcome, vip)) = removals.next().await {
            match outcome {
                Ok(_) => removed.push(vip.addr.to_string()),
                Err(error) => failed.push((vip, error)),
            }
        }
        drop(removals);
        if let Some((last, _)) = &mut self.taken {
            *last = Instant::now();
        }
        if !removed.is_empty() {
            let took = began.elapsed().as_millis();
            kernel::errln!("guard: {why}; removed in {took} ms: {}", removed.join(" "));
        }
        for (vip, error) in failed {
            kernel::errln!("guard: {} could not be removed and is tried again: {error}", vip.addr);
            self.held.insert(vip);
        }
    }
}

/// State letter of `/proc/PID/stat`: T and t stopped, Z zombie, X dead (proc(5)); absent means gone.
fn stopped_or_dead(watched: Option<&File>) -> bool {
    let mut line = [0; MAX_STAT_BYTES];
    // Of a process that is gone it cannot be read, whoever has its number now.
    let Some(length) = watched.and_then(|f| f.read_at(&mut line, 0).ok()) else { return true };
    let stat = String::from_utf8_lossy(&line[..length]);
    // The command name is in parentheses and may hold blanks and parentheses itself.
    let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
    matches!(state, Some("T" | "t" | "Z" | "X"))
}
