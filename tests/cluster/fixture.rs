//! Nodes as processes, cables to pull, and the local API as a client sees it.

use lab::hosts::{HostSpec, Lab, vip_v4};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use wire::api::{CibCall, CibOp, CibOptions, CibReply, CibTarget, NodeStatus, Timeline};

pub const BASCULE: &str = env!("CARGO_BIN_EXE_bascule");
/// Time for anything that takes well under a second, on a machine that compiles other things at the same time.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Cluster {
    pub lab: Lab,
    pub names: Vec<&'static str>,
    pub daemons: BTreeMap<&'static str, tokio::process::Child>,
    /// Further words of each node's command line.
    pub words: Vec<&'static str>,
    /// Words of one node alone.
    pub node_words: BTreeMap<&'static str, Vec<String>>,
    /// State directories that are elsewhere than the others.
    pub state_dirs: BTreeMap<&'static str, PathBuf>,
    /// Environment of every node.
    pub env: BTreeMap<&'static str, String>,
    /// What each node finds in place of its host's: ours, and the path.
    pub etc: Vec<(PathBuf, PathBuf)>,
    /// Standard error of the next node, in place of its log.
    pub stderr: Option<std::io::PipeWriter>,
    dir: tempfile::TempDir,
}

impl Cluster {
    /// Hosts and files, nothing started.
    pub async fn prepare(names: &[&'static str]) -> Cluster {
        let mut lab = Lab::new().await.expect("a lab");
        for (n, name) in (1..).zip(names) {
            lab.add_host(HostSpec::numbered(name, n)).await.expect("a host");
        }
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("corosync.conf"), corosync_conf(names)).expect("written");
        let key: Vec<u8> = (0..256u32).map(|n| (n.wrapping_mul(97) >> 2) as u8).collect();
        std::fs::write(dir.path().join("authkey"), key).expect("written");
        let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o400);
        std::fs::set_permissions(dir.path().join("authkey"), owner_only).expect("set");
        Cluster {
            lab,
            names: names.to_vec(),
            daemons: BTreeMap::new(),
            words: Vec::new(),
            node_words: BTreeMap::new(),
            state_dirs: BTreeMap::new(),
            env: BTreeMap::new(),
            etc: Vec::new(),
            stderr: None,
            dir,
        }
    }

    /// All nodes started and in one ring, each knowing the coordinator.
    pub async fn start(names: &[&'static str]) -> Cluster {
        let mut cluster = Cluster::prepare(names).await;
        for name in names {
            cluster.start_node(name);
        }
        cluster.wait_for_ring(names).await;
        cluster
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn run_dir(&self, node: &str) -> PathBuf {
        self.path(&format!("{node}.run"))
    }

    pub fn state_dir(&self, node: &str) -> PathBuf {
        self.state_dirs.get(node).cloned().unwrap_or_else(|| self.path(&format!("{node}.state")))
    }

    /// What agents take for `/var/run`: the nodes share this host's.
    pub fn var_dir(&self, node: &str) -> PathBuf {
        self.path(&format!("{node}.var"))
    }

    pub fn start_node(&mut self, name: &'static str) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path(&format!("{name}.log")))
            .expect("a log file");
        let mut command = tokio::process::Command::new(BASCULE);
        let hosts = Some(self.path("hosts")).filter(|h| h.exists()).map(|hosts| (hosts, PathBuf::from("/etc/hosts")));
        let etc: Vec<&(PathBuf, PathBuf)> = self.etc.iter().chain(&hosts).filter(|(_, path)| path.exists()).collect();
        if !etc.is_empty() {
            // Names and files as the test has them, for this process alone.
            command = tokio::process::Command::new("unshare");
            let line =
                "while [ \"$1\" != -- ]; do mount --bind \"$1\" \"$2\" && shift 2 || exit 1; done; shift; exec \"$@\"";
            command.args(["-m", "sh", "-c", line, "sh"]);
            for (ours, path) in etc {
                command.arg(ours).arg(path);
            }
            command.arg("--").arg(BASCULE);
        }
        // One that is a cluster of its own.
        let conf = self.path(&format!("{name}.conf"));
        let conf = if conf.exists() { conf } else { self.path("corosync.conf") };
        command.arg("node").arg("--config").arg(conf);
        let own = self.path(&format!("{name}.authkey"));
        command.arg("--authkey").arg(if own.exists() { own } else { self.path("authkey") });
        command.arg("--state-dir").arg(self.state_dir(name)).arg("--run-dir").arg(self.run_dir(name));
        command.args(&self.words).args(self.node_words.get(name).into_iter().flatten());
        command.envs(&self.env);
        std::fs::create_dir_all(self.var_dir(name)).expect("a directory");
        command.env("HA_VARRUN", self.var_dir(name)).env("HA_RSCTMP", self.var_dir(name));
        if self.path("ocf").is_dir() {
            command.env("OCF_ROOT", self.path("ocf"));
        }
        command.stderr(log.try_clone().expect("a handle")).stdout(log);
        if let Some(stderr) = self.stderr.take() {
            command.stderr(stderr);
        }
        let child = self.lab.host(name).expect("a host").spawn(&mut command).expect("the daemon starts");
        self.daemons.insert(name, child);
    }

    pub fn pid(&self, name: &str) -> nix::unistd::Pid {
        let id = self.daemons.get(name).and_then(|d| d.id()).expect("the daemon runs");
        nix::unistd::Pid::from_raw(id as i32)
    }

    pub fn signal(&self, name: &str, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(self.pid(name), signal).expect("the process exists");
    }

    /// Until exactly `members` are in one view, as each of them sees it, and agree on the coordinator.
    pub async fn wait_for_ring(&self, members: &[&str]) {
        self.until(&format!("a ring of {members:?}"), || {
            let all: Vec<NodeStatus> = members.iter().map(|n| self.status(n)).collect::<Option<_>>()?;
            let first = all.first()?;
            let same = all.iter().all(|s| s.members.len() == members.len() && s.view == first.view && s.dc == first.dc);
            (same && first.dc.is_some()).then_some(())
        })
        .await;
    }

    /// Kills the node and waits until it is gone.
    pub async fn kill(&mut self, name: &'static str) {
        self.signal(name, nix::sys::signal::Signal::SIGKILL);
        self.daemons.get_mut(name).expect("a daemon").wait().await.expect("it ended");
    }

    /// A command of an operator on this node: exit code, standard output, standard error.
    pub fn command(&self, node: &str, words: &[&str]) -> (i32, String, String) {
        let mut command = std::process::Command::new(BASCULE);
        let out = command.args(words).env("BASCULE_RUN_DIR", self.run_dir(node)).output().expect("the command runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
    }

    pub async fn until<T>(&self, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            assert!(Instant::now() < end, "did not happen: {what}\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    pub fn status(&self, node: &str) -> Option<NodeStatus> {
        get(&self.run_dir(node), "status")
    }

    pub fn counter(&self, node: &str, name: &str) -> u64 {
        let status = self.status(node).expect("the node answers");
        status.counters.iter().find(|c| c.name == name).map(|c| c.value).unwrap_or_else(|| panic!("no counter {name}"))
    }

    pub fn timeline(&self, node: &str) -> Timeline {
        get(&self.run_dir(node), "timeline").expect("the node answers")
    }

    /// The configuration section as the node has it, and its version.
    pub fn configuration(&self, node: &str) -> Option<(String, (u64, u64, u64))> {
        let call = cib_call(CibOp::Query, "configuration", None);
        let reply: CibReply = post(&self.run_dir(node), "cib", &call, PATIENCE)?;
        Some((reply.xml?, reply.version))
    }

    pub fn logs(&self) -> String {
        self.names.iter().fold(String::new(), |mut text, name| {
            let log = std::fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            let _ = writeln!(text, "== {name}");
            tail.iter().rev().for_each(|line| {
                let _ = writeln!(text, "{line}");
            });
            text
        })
    }
}

pub fn cib_call(op: CibOp, section: &str, xml: Option<String>) -> CibCall {
    CibCall {
        op,
        target: CibTarget::Section(base::outside::Word::cleaned(section)),
        xml,
        options: CibOptions::default(),
        steps: Vec::new(),
        expected: None,
    }
}

/// Writes one resource with this id.
pub fn write_resource(run_dir: &Path, id: &str, within: Duration) -> Option<CibReply> {
    let xml = format!(
        "<primitive id=\"{id}\" class=\"ocf\" provider=\"pacemaker\" type=\"Dummy\"><meta_attributes id=\"{id}-m\"><nvpair id=\"{id}-m-r\" name=\"target-role\" value=\"Stopped\"/></meta_attributes></primitive>"
    );
    post(run_dir, "cib", &cib_call(CibOp::Create, "resources", Some(xml)), within)
}

pub fn get<T: DeserializeOwned>(run_dir: &Path, path: &str) -> Option<T> {
    http(run_dir, &format!("GET /v1/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"), PATIENCE)
}

pub fn post<T: DeserializeOwned>(run_dir: &Path, path: &str, body: &impl Serialize, within: Duration) -> Option<T> {
    let body = serde_json::to_string(body).expect("JSON");
    let length = body.len();
    http(
        run_dir,
        &format!("POST /v1/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"),
        within,
    )
}

/// One request on a connection of its own; `None` if nobody answers in time.
fn http<T: DeserializeOwned>(run_dir: &Path, request: &str, within: Duration) -> Option<T> {
    let mut stream = UnixStream::connect(run_dir.join(wire::api::SOCKET_NAME)).ok()?;
    stream.set_read_timeout(Some(within)).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    serde_json::from_str(body).ok()
}

pub fn corosync_conf(names: &[&str]) -> String {
    let mut text = String::from("totem {\n    version: 2\n    cluster_name: test\n}\nnodelist {\n");
    for (id, name) in (1u8..).zip(names) {
        let _ = write!(
            text,
            "    node {{\n        ring0_addr: {}\n        name: {name}\n        nodeid: {id}\n    }}\n",
            vip_v4(id)
        );
    }
    text + "}\nquorum {\n    provider: corosync_votequorum\n}\nlogging {\n    to_syslog: no\n}\n"
}
