//! A guest that is one node of a cluster, its peers being processes in namespaces of this host: a machine that can really be
//! reset and switched off.
//!
//! ```text
//!   switch ──┬── n1: eth0, `bascule node`                                  (namespaces of this host)
//!            ├── n2: eth0, `bascule node`
//!            └── n3: eth0 ── bridge ── tap ── guest: eth0, `bascule node`  (a kernel of its own)
//! ```
//!
//! The guest runs shell commands that are put into its result directory; its emulator ends when it is reset.

use crate::fixture::{BASCULE, Cluster};
use lab::vm;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// For whatever a guest does, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);
const MEMORY_MB: u32 = 1024;

/// Runs whatever is put into `/result/todo`, for ever.
const OBEY: &str = "while :; do \
    if [ -e /result/todo ]; then mv /result/todo /result/doing; sh -x /result/doing >>/result/did 2>&1; rm /result/doing; fi; \
    sleep 0.2; \
done\n";

pub struct Guest {
    emulator: Child,
    pub dir: PathBuf,
    /// When the emulator was found to have ended, since 1970.
    ended_us: Option<i64>,
}

/// Joins the guest's network to this namespace's `eth0`.
const WIRE: &str = "ip addr flush dev eth0 && ip -6 addr flush dev eth0; ip link add br0 type bridge && ip link set eth0 master br0 && \
    ip link set br0 up && ip tuntap add tap0 mode tap && ip link set tap0 master br0 up";

/// Makes a host of the laboratory a mere plug for a guest.
pub async fn wire(cluster: &Cluster, node: &str) -> Result<(), String> {
    let mut shell = Command::new("sh");
    shell.args(["-c", WIRE]);
    let mut child = cluster.lab.host(node).and_then(|h| h.spawn(&mut shell)).map_err(|e| e.to_string())?;
    let status = child.wait().await.map_err(|e| e.to_string())?;
    status.success().then_some(()).ok_or_else(|| format!("no network for a guest: {status}"))
}

impl Guest {
    /// Boots one in this node's place; `script` runs first. What it needs lies in `dir`, which it sees as `/result`.
    pub fn boot(
        image: &vm::Image,
        dir: &Path,
        host: Option<&lab::hosts::Host>,
        script: &str,
        devices: &[String],
    ) -> Result<Guest, String> {
        let script = format!("modprobe softdog\n{script}\n{OBEY}");
        let emulator = vm::emulator(image, dir, &script, MEMORY_MB, vm::Clock::Host).map_err(|e| e.to_string())?;
        let mut command = Command::from(emulator);
        command.args(devices).kill_on_drop(true);
        let emulator = match host {
            Some(host) => {
                command.args(["-netdev", "tap,id=n,ifname=tap0,script=no,downscript=no,vhost=off"]);
                command.args(["-device", "virtio-net-pci,netdev=n,mac=52:54:00:00:77:03"]);
                host.spawn(&mut command).map_err(|e| e.to_string())?
            }
            None => command.spawn().map_err(|e| e.to_string())?,
        };
        Ok(Guest { emulator, dir: dir.to_owned(), ended_us: None })
    }

    /// Shell commands for the guest; does not wait for them.
    pub fn tell(&self, script: &str) {
        let (new, todo) = (self.dir.join("new"), self.dir.join("todo"));
        std::fs::write(&new, script).and_then(|()| std::fs::rename(&new, &todo)).expect("told");
    }

    /// Waits until a file of the result directory has this text.
    pub async fn says(&mut self, file: &str, text: &str) -> Result<(), String> {
        let path = self.dir.join(file);
        let end = Instant::now() + PATIENCE;
        while !std::fs::read_to_string(&path).is_ok_and(|t| t.contains(text)) {
            if Instant::now() > end || self.is_off() {
                return Err(format!("{file} of the guest does not say `{text}`\n{}", self.words()));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    pub fn is_off(&mut self) -> bool {
        if self.ended_us.is_none() && !matches!(self.emulator.try_wait(), Ok(None)) {
            self.ended_us = Some(now_us());
        }
        self.ended_us.is_some()
    }

    /// Waits until the machine is off; when that was.
    pub async fn off(&mut self) -> Result<i64, String> {
        let end = Instant::now() + PATIENCE;
        while !self.is_off() {
            if Instant::now() > end {
                return Err(format!("the guest still runs\n{}", self.words()));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(self.ended_us.unwrap_or_default())
    }

    pub fn console(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.join(vm::CONSOLE)).unwrap_or_default()).into_owned()
    }

    /// The last of what it has said.
    pub fn words(&self) -> String {
        let mut text = String::new();
        for file in [vm::CONSOLE, "output.log", "did", "node.log"] {
            let all = String::from_utf8_lossy(&std::fs::read(self.dir.join(file)).unwrap_or_default()).into_owned();
            let lines: Vec<&str> = all.lines().collect();
            text += &format!("== guest: {file}\n{}\n", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
        text
    }
}

/// Commands that start a node in the guest, with the files that lie in its result directory, and note its process. `within` are words
/// before the command.
pub fn node(name: &str, within: &str) -> String {
    format!(
        "cp /result/authkey /run/authkey; chmod 400 /run/authkey\n\
         {within} '{BASCULE}' node --node {name} --config /result/corosync.conf --authkey /run/authkey --state-dir /run/state \
         --run-dir /run/bascule >>/result/node.log 2>&1 &\n\
         echo $! >/run/node.pid\n"
    )
}

pub fn now_us() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_micros()).expect("before 290000")
}
