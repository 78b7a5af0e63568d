//! The original, corosync and Pacemaker as Debian ships them, beside ours: two nodes on a switch of their own. The packages
//! are fetched and unpacked below `target/`, and seen by those nodes alone.

// Each bench uses a part of it.
#![allow(dead_code)]

use lab::hosts::{HostSpec, Lab, vip_v4};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tokio::process::Child;

const PACKAGES: [&str; 4] = ["corosync", "pacemaker", "pacemaker-cli-utils", "resource-agents"];
/// How long the two may take until they have a coordinator; `dc-deadtime` alone is 20 s.
const UP_WITHIN: Duration = Duration::from_secs(60);

/// Two running nodes.
pub struct Original {
    nodes: Vec<Child>,
    _lab: Lab,
    dir: tempfile::TempDir,
}

impl Original {
    /// `Err` says why it cannot be had here.
    pub async fn start() -> Result<Original, String> {
        let packages = packages()?;
        let names = ["p1", "p2"];
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let mut lab = Lab::new().await.map_err(|e| e.to_string())?;
        let mut nodes = Vec::new();
        for (n, name) in (1..).zip(names) {
            let host = lab.add_host(HostSpec::numbered(name, n)).await.map_err(|e| e.to_string())?;
            let own = dir.path().join(name);
            std::fs::create_dir(&own).map_err(|e| e.to_string())?;
            std::fs::write(own.join("corosync.conf"), corosync_conf(&names)).map_err(|e| e.to_string())?;
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/original-node");
            let mut command = tokio::process::Command::new(script);
            command.arg(name).arg(&packages).arg(&own);
            nodes.push(host.spawn(&mut command).map_err(|e| e.to_string())?);
        }
        let original = Original { nodes, _lab: lab, dir };
        let began = Instant::now();
        while !original.text(&["crm_mon", "-1"]).contains("partition with quorum") {
            if began.elapsed() > UP_WITHIN {
                return Err(format!("no coordinator within {} s", UP_WITHIN.as_secs()));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(original)
    }

    /// A file that commands on the nodes can read.
    pub fn file(&self, name: &str, text: &str) -> Option<String> {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).ok()?;
        Some(path.display().to_string())
    }

    /// Runs a command on the first node.
    pub fn run(&self, words: &[&str]) -> Option<Output> {
        inside(self.nodes.first()?.id()?)?.args(words).output().ok()
    }

    pub fn text(&self, words: &[&str]) -> String {
        self.run(words).map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default()
    }
}

/// The original's commands on a file, as its own regression tests run them.
pub struct Tools {
    packages: PathBuf,
    file: tempfile::NamedTempFile,
}

impl Tools {
    /// `Err` says why they cannot be had here.
    pub fn new() -> Result<Tools, String> {
        Ok(Tools { packages: packages()?, file: tempfile::NamedTempFile::new().map_err(|e| e.to_string())? })
    }

    /// The CIB that the commands work on from now on.
    pub fn load(&self, cib: &str) -> std::io::Result<()> {
        std::fs::write(self.file.path(), cib)
    }

    /// Runs a command in this user's place.
    pub fn run(&self, user: &str, words: &[&str]) -> std::io::Result<Output> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/original-tool");
        let mut command = Command::new(script);
        command.arg(&self.packages).args(words).env("CIB_file", self.file.path()).env("CIB_user", user).output()
    }
}

/// A command within the namespaces of a script.
fn inside(unshare: u32) -> Option<Command> {
    let children = std::fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).ok()?;
    let mut command = Command::new("nsenter");
    command.args(["-t", children.split_whitespace().next()?, "-n", "-m", "-u", "-p"]);
    Some(command)
}

fn corosync_conf(names: &[&str]) -> String {
    let mut text = String::from(
        "totem {\n  version: 2\n  cluster_name: original\n  transport: knet\n  crypto_cipher: none\n  crypto_hash: none\n}\nnodelist {\n",
    );
    for (id, name) in (1u8..).zip(names) {
        let _ = writeln!(text, "  node {{\n    ring0_addr: {}\n    name: {name}\n    nodeid: {id}\n  }}", vip_v4(id));
    }
    text + "}\nquorum {\n  provider: corosync_votequorum\n  two_node: 1\n  wait_for_all: 0\n}\n\
            system {\n  sched_rr: no\n  move_to_root_cgroup: no\n  allow_knet_handle_fallback: yes\n}\nlogging {\n  to_stderr: yes\n}\n"
}

/// The unpacked packages, fetched if they are not there.
fn packages() -> Result<PathBuf, String> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/originals");
    let (debs, root) = (place.join("debs"), place.join("root"));
    if root.join("usr/sbin/pacemakerd").exists() {
        return Ok(root);
    }
    std::fs::create_dir_all(debs.join("partial")).map_err(|e| e.to_string())?;
    let archives = format!("Dir::Cache::archives={}", debs.display());
    let mut fetch = Command::new("apt-get");
    fetch.args(["install", "-y", "-qq", "--download-only", "--no-install-recommends", "--reinstall", "-o", &archives]);
    let out = fetch.args(PACKAGES).output().map_err(|e| format!("apt-get: {e}"))?;
    if !out.status.success() {
        return Err(format!("apt-get: {}", String::from_utf8_lossy(&out.stderr).trim()));
    }
    for entry in std::fs::read_dir(&debs).map_err(|e| e.to_string())?.flatten() {
        if entry.path().extension().is_some_and(|e| e == "deb") {
            let status = Command::new("dpkg").arg("-x").arg(entry.path()).arg(&root).status();
            status.ok().filter(|s| s.success()).ok_or_else(|| format!("dpkg -x {}", entry.path().display()))?;
        }
    }
    Ok(root)
}
