//! Debian's corosync and corosync-qdevice, and our arbitrator.

use super::*;

/// Debian's corosync and its qdevice on one host.
pub(super) struct Original {
    host: &'static str,
    pub(super) dir: PathBuf,
    children: Vec<Child>,
}

impl Original {
    pub(super) fn start(cluster: &Cluster, host: &'static str, quorum: &str) -> Original {
        let dir = cluster.path(&format!("{host}.original"));
        std::fs::create_dir_all(&dir).expect("a directory");
        let ours = conf(&PAIR, 1, "    transport: knet\n    crypto_cipher: none\n    crypto_hash: none\n", quorum);
        let state = dir.join("state");
        std::fs::create_dir_all(&state).expect("a directory");
        let system = format!(
            "system {{\n    sched_rr: no\n    move_to_root_cgroup: no\n    allow_knet_handle_fallback: yes\n    \
             state_dir: {}\n}}\n",
            state.display()
        );
        let text = ours.replace("to_syslog: no", "to_syslog: no\n    to_stderr: yes") + &system;
        std::fs::write(dir.join("corosync.conf"), text).expect("written");
        let mut original = Original { host, dir, children: Vec::new() };
        original.run(cluster, &format!("exec corosync -f -c {}", original.file("corosync.conf")));
        original
    }

    pub(super) fn file(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// With a `/run` and `/etc/hostname` of its own; its sockets are the namespace's.
    fn run(&mut self, cluster: &Cluster, line: &str) {
        let name = format!("{}.log", self.children.len());
        let log = std::fs::File::create(self.dir.join(name)).expect("a log file");
        let line = format!("mount -t tmpfs none /run && hostname {} && {line}", self.host);
        let mut command = Command::new("unshare");
        command.args(["-m", "-u", "sh", "-c", &line]).stdout(log.try_clone().expect("a handle")).stderr(log);
        self.children.push(cluster.lab.host(self.host).expect("a host").spawn(&mut command).expect("it starts"));
    }

    pub(super) fn qdevice(&mut self, cluster: &Cluster) {
        let nss = self.file("nssdb");
        let settings =
            format!("nss_db_dir={nss},lock_file={},local_socket_file={}", self.file("lock"), self.file("sock"));
        let settings = settings.replace("nss_db_dir", "net_nss_db_dir");
        self.run(cluster, &format!("exec corosync-qdevice -f -d -S {settings}"));
    }

    /// Standard output of one of its own tools.
    async fn ask(&self, cluster: &Cluster, words: &[&str]) -> String {
        let out = self.dir.join("answer");
        let file = std::fs::File::create(&out).expect("a file");
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdout(file.try_clone().expect("a handle")).stderr(file);
        let mut child = cluster.lab.host(self.host).expect("a host").spawn(&mut command).expect("it starts");
        let _ = child.wait().await;
        std::fs::read_to_string(out).unwrap_or_default()
    }

    pub(super) async fn until(&self, cluster: &Cluster, arbiter: &Arbiter, total: u32, quorate: bool) {
        let end = Instant::now() + crate::fixture::PATIENCE;
        let (votes, word) = (format!("Total votes:      {total}\n"), if quorate { "Yes" } else { "No" });
        loop {
            let text = self.ask(cluster, &["corosync-quorumtool", "-s"]).await;
            if text.contains(&votes) && text.contains(&format!("Quorate:          {word}")) {
                return;
            }
            assert!(
                Instant::now() < end,
                "{}: not {total} {quorate}: {text}\n{}\n{}",
                self.host,
                self.logs(),
                arbiter.log()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn logs(&self) -> String {
        let tail = |n: usize| {
            let log = std::fs::read_to_string(self.dir.join(format!("{n}.log"))).unwrap_or_default();
            let lines: Vec<String> = log.lines().rev().take(30).map(str::to_owned).collect();
            lines.into_iter().rev().collect::<Vec<_>>().join("\n")
        };
        (0..self.children.len()).map(|n| format!("== {} {n}\n{}\n", self.host, tail(n))).collect()
    }
}

/// Debian's corosync and corosync-qdevice with our arbitrator.
async fn originals_with_ours(algorithm: &str) {
    // As short as the original lets it be: a dead node is given up after one and a half heartbeats of 0.8 timeouts.
    let device = device(algorithm, "            tls: off\n").replace("net\n", "net\n        timeout: 2500\n");
    let quorum = device.replacen("        net {", "        votes: 1\n        net {", 1);
    let cluster = cables(&PAIR, &quorum).await;
    let mut arbiter = Arbiter::new(Maker::Ours, &cluster);
    arbiter.start(&cluster);
    let mut nodes = PAIR.map(|n| Original::start(&cluster, n, &quorum));
    for node in &nodes {
        node.until(&cluster, &arbiter, 2, true).await;
    }
    nodes.iter_mut().for_each(|n| n.qdevice(&cluster));
    for node in &nodes {
        node.until(&cluster, &arbiter, 3, true).await;
    }
    let text = arbiter.tool(&["-l", "-v"]);
    let words = if algorithm == "lms" { "LMS" } else { "Fifty-Fifty split" };
    assert!(text.contains(words) && text.contains("Node ID 2:"), "{text}");
    // The original's tool understands our arbitrator.
    let socket = arbiter.socket().display().to_string();
    let theirs = nodes[0].ask(&cluster, &["corosync-qnetd-tool", "-l", "-v", "-p", &socket]).await;
    assert!(theirs.starts_with("Cluster \"test\":\n") && theirs.contains("Node ID 1:"), "{theirs}");
    cluster.lab.unplug("n1").await.expect("cut");
    nodes[0].until(&cluster, &arbiter, 2, true).await;
    nodes[1].until(&cluster, &arbiter, 1, false).await;
    cluster.lab.plug("n1").await.expect("healed");
    for node in &nodes {
        node.until(&cluster, &arbiter, 3, true).await;
    }
    arbiter.end().await;
    for node in &nodes {
        node.until(&cluster, &arbiter, 2, true).await;
    }
    arbiter.start(&cluster);
    for node in &nodes {
        node.until(&cluster, &arbiter, 3, true).await;
    }
    // The power of the first fails.
    cluster.lab.unplug_from("n1", 1).await.expect("cut");
    cluster.lab.power_off("n1").await.expect("dead");
    nodes[1].until(&cluster, &arbiter, 2, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn debians_corosync_with_our_arbitrator() {
    let Some(()) = root() else { return };
    if !have(&["/usr/sbin/corosync", "/usr/sbin/corosync-qdevice", QNETD]) {
        return;
    }
    originals_with_ours("ffsplit").await;
    originals_with_ours("lms").await;
}
