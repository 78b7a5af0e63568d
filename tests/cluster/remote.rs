//! Remote nodes: Debian's `pacemaker-remoted`, unmodified, and `bascule remote`, both driven by three nodes of ours.

use crate::fixture::{BASCULE, Cluster, PATIENCE, cib_call, post};
use crate::root::root;
use lab::hosts::{HostSpec, vip_v4};
use std::path::{Path, PathBuf};
use wire::api::{CibOp, CibReply};

const NODES: [&str; 3] = ["n1", "n2", "n3"];
/// The remote node's name, and its number among the hosts.
const FAR: (&str, u8) = ("far", 9);

/// Who plays the remote node.
struct Executor {
    process: tokio::process::Child,
}

/// Debian's program, from its package: beside the package `pacemaker` it cannot be installed.
fn debian() -> Option<PathBuf> {
    let installed = PathBuf::from("/usr/sbin/pacemaker-remoted");
    let unpacked = PathBuf::from("/opt/bascule-tests/pacemaker-remote/usr/sbin/pacemaker-remoted");
    let found = [installed, unpacked].into_iter().find(|p| p.exists());
    if found.is_none() {
        eprintln!("SKIPPED: Debian's pacemaker-remoted is absent: tests/run cluster unpacks it");
    }
    found
}

async fn prepare() -> Cluster {
    let mut cluster = Cluster::prepare(&NODES).await;
    cluster.lab.add_host(HostSpec::numbered(FAR.0, FAR.1)).await.expect("a host");
    let key: Vec<u8> = (0..256u32).map(|n| (n.wrapping_mul(59) >> 1) as u8).collect();
    let file = cluster.path("remote.authkey");
    std::fs::write(&file, key).expect("written");
    cluster.env.insert("PCMK_authkey_location", file.display().to_string());
    cluster
}

impl Executor {
    /// In its host, with directories of its own in the places that it has built in.
    fn start_debian(cluster: &Cluster, program: &Path) -> Executor {
        let var = cluster.var_dir(FAR.0);
        std::fs::create_dir_all(&var).expect("a directory");
        let mut command = tokio::process::Command::new("unshare");
        let line = "for d in /run /var/log /var/lib/pacemaker /dev/shm; do mkdir -p $d; mount -t tmpfs none $d || exit 1; done; \
                    mkdir -p /run/crm /run/resource-agents /var/log/pacemaker /var/lib/pacemaker/cores; exec \"$0\"";
        command.args(["-m", "sh", "-c", line]).arg(program);
        command.env("HA_VARRUN", &var).env("HA_RSCTMP", &var);
        Executor::spawn(cluster, command)
    }

    fn start_ours(cluster: &Cluster) -> Executor {
        let var = cluster.var_dir(FAR.0);
        std::fs::create_dir_all(&var).expect("a directory");
        let mut command = tokio::process::Command::new(BASCULE);
        command.arg("remote").arg("--run-dir").arg(cluster.run_dir(FAR.0));
        command.env("HA_VARRUN", &var).env("HA_RSCTMP", &var);
        Executor::spawn(cluster, command)
    }

    fn spawn(cluster: &Cluster, mut command: tokio::process::Command) -> Executor {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(cluster.path("far.log")).expect("a log");
        command
            .env("PCMK_authkey_location", cluster.path("remote.authkey"))
            .env("PCMK_logfile", cluster.path("far.log"));
        command.env("PCMK_stderr", "1").kill_on_drop(true);
        command.stderr(log.try_clone().expect("a handle")).stdout(log);
        let process = cluster.lab.host(FAR.0).expect("a host").spawn(&mut command).expect("it starts");
        Executor { process }
    }

    async fn kill(&mut self) {
        self.process.start_kill().expect("killed");
        self.process.wait().await.expect("it ended");
    }
}

fn configure(cluster: &Cluster) {
    let lines = [
        "pcs property set stonith-enabled=false".to_owned(),
        format!(
            "pcs resource create far ocf:pacemaker:remote server={} reconnect_interval=2 op monitor interval=1s timeout=5s op start timeout=20s",
            vip_v4(FAR.1)
        ),
        format!(
            "pcs resource create d ocf:pacemaker:Dummy state={} op monitor interval=500ms timeout=20s",
            cluster.path("d.state").display()
        ),
        "pcs constraint location d prefers far=1000".to_owned(),
        "pcs constraint location far prefers n1=100".to_owned(),
    ];
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        let (code, out, err) = cluster.command("n1", &words);
        assert_eq!(code, 0, "{line}: {out}{err}");
    }
}

/// The node on which `resource` runs, by name.
fn place(cluster: &Cluster, asked: &str, resource: &str) -> Option<String> {
    let (code, out, _) = cluster.command(asked, &["crm_resource", "--locate", "-r", resource]);
    let line = out.lines().find(|l| l.contains("is running on")).filter(|_| code == 0)?;
    line.split_whitespace().last().map(str::to_owned)
}

async fn until_at(cluster: &Cluster, asked: &str, resource: &str, node: &str) {
    let what = format!("{resource} at {node}");
    cluster.until(&what, || (place(cluster, asked, resource).as_deref() == Some(node)).then_some(())).await;
}

/// The time of the last start of the Dummy: its file is made anew by each.
fn started(cluster: &Cluster) -> std::time::SystemTime {
    std::fs::metadata(cluster.path("d.state")).and_then(|m| m.modified()).expect("it runs")
}

fn history(cluster: &Cluster, node: &str) -> String {
    let call = cib_call(CibOp::Query, "status", None);
    let reply: Option<CibReply> = post(&cluster.run_dir(node), "cib", &call, PATIENCE);
    reply.and_then(|r| r.xml).unwrap_or_default()
}

/// The Dummy's recurring monitor at the remote node is in the history: it is looked after.
fn is_watched(cluster: &Cluster, node: &str) -> bool {
    let text = history(cluster, node);
    let Ok(status) = xml::parse(&text) else { return false };
    let state = status.descendants().find(|e| e.name() == "node_state" && e.id() == Some(FAR.0));
    state.is_some_and(|s| s.descendants().any(|e| e.id() == Some("d_monitor_500") && e.attr("rc-code") == Some("0")))
}

async fn comes_up(cluster: &Cluster) {
    until_at(cluster, "n2", "far", "n1").await;
    until_at(cluster, "n2", "d", FAR.0).await;
    cluster.until("the Dummy is watched", || is_watched(cluster, "n2").then_some(())).await;
    let (_, out, _) = cluster.command("n3", &["crm_mon", "-1"]);
    assert!(out.contains("RemoteOnline: [ far ]"), "{out}");
}

/// From the start over a failure of the Dummy, of the node with the connection and of the executor to its return.
async fn a_life(cluster: &mut Cluster, restart: impl Fn(&Cluster) -> Executor) {
    let mut executor = restart(cluster);
    for node in NODES {
        cluster.start_node(node);
    }
    cluster.wait_for_ring(&NODES).await;
    configure(cluster);
    comes_up(cluster).await;

    // What runs there fails, and is recovered there.
    std::fs::remove_file(cluster.path("d.state")).expect("removed");
    cluster.until("the Dummy is started again", || cluster.path("d.state").exists().then_some(())).await;
    until_at(cluster, "n2", "d", FAR.0).await;
    cluster.until("the Dummy is watched", || is_watched(cluster, "n2").then_some(())).await;

    // The connection moves in order, and what runs there stays.
    let since = started(cluster);
    let (code, out, err) = cluster.command("n2", &["crm_resource", "--move", "-r", "far", "-N", "n2"]);
    assert_eq!(code, 0, "{out}{err}");
    until_at(cluster, "n3", "far", "n2").await;
    cluster.until("the Dummy is watched by n2", || is_watched(cluster, "n3").then_some(())).await;
    until_at(cluster, "n3", "d", FAR.0).await;
    assert_eq!(started(cluster), since, "the Dummy was restarted\n{}", cluster.logs());

    // The node with the connection dies.
    cluster.kill("n2").await;
    cluster.until("the connection is elsewhere", || place(cluster, "n3", "far").filter(|p| p != "n2")).await;
    cluster.until("the Dummy is watched again", || is_watched(cluster, "n3").then_some(())).await;
    until_at(cluster, "n3", "d", FAR.0).await;
    assert_eq!(started(cluster), since, "the Dummy was restarted\n{}", cluster.logs());

    // The executor dies: noticed, and recovered as the scheduler says.
    executor.kill().await;
    cluster
        .until("the loss is noticed", || {
            history(cluster, "n3").contains("connection to the remote node was lost").then_some(())
        })
        .await;
    let executor = restart(cluster);
    until_at(cluster, "n3", "d", FAR.0).await;
    cluster.until("the Dummy is watched again", || is_watched(cluster, "n3").then_some(())).await;
    drop(executor);
}

#[tokio::test(flavor = "multi_thread")]
async fn debians_executor_is_driven() {
    let Some(()) = root() else { return };
    let Some(program) = debian() else { return };
    let mut cluster = prepare().await;
    a_life(&mut cluster, |cluster| Executor::start_debian(cluster, &program)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_executor_is_driven() {
    let Some(()) = root() else { return };
    let mut cluster = prepare().await;
    a_life(&mut cluster, Executor::start_ours).await;
}

/// A shell on a host of the test.
async fn shell(cluster: &Cluster, host: &str, line: &str) -> i32 {
    let mut command = tokio::process::Command::new("bash");
    command.args(["-c", line]);
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut child = cluster.lab.host(host).expect("a host").spawn(&mut command).expect("it starts");
    child.wait().await.expect("it ended").code().unwrap_or(-1)
}

/// One remote node, and what runs on it; nothing of this disturbs it: noise, no key, another key, sizes that nobody could send.
#[tokio::test(flavor = "multi_thread")]
async fn noise_at_the_port_and_commands_on_the_node() {
    let Some(()) = root() else { return };
    let mut cluster = prepare().await;
    let mut executor = Executor::start_ours(&cluster);
    for node in NODES {
        cluster.start_node(node);
    }
    cluster.wait_for_ring(&NODES).await;
    configure(&cluster);
    comes_up(&cluster).await;
    let since = started(&cluster);

    let at = format!("{}/3121", vip_v4(FAR.1));
    let tls = |key: &str, user: &str| {
        format!(
            "openssl s_client -connect {}:3121 -tls1_2 -cipher DHE-PSK-AES256-GCM-SHA384 -psk {key} -psk_identity {user} -quiet -no_ign_eof",
            vip_v4(FAR.1)
        )
    };
    let key: String =
        std::fs::read(cluster.path("remote.authkey")).expect("the key").iter().map(|b| format!("{b:02x}")).collect();
    let noise = format!("head -c 100000 /dev/urandom > /dev/tcp/{at}");
    let http = format!("printf 'GET / HTTP/1.0\r\n\r\n' > /dev/tcp/{at}");
    for line in [noise.as_str(), http.as_str()] {
        shell(&cluster, "n3", line).await;
    }
    assert_ne!(shell(&cluster, "n3", &tls("00ff00ff", "lrmd")).await, 0, "another key");
    assert_ne!(shell(&cluster, "n3", &tls(&key, "somebody")).await, 0, "another user");
    assert_eq!((place(&cluster, "n3", "d").as_deref(), started(&cluster)), (Some(FAR.0), since), "{}", cluster.logs());
    // The right key, and a header that announces four gigabytes; then one that is none. Whoever has the key takes the connection over.
    for header in ["struct.pack('<IIQQIIII',0xBADADBBD,1,1,0,0xffffffff,40,0,0xffffffd7)", "b'nonsense nonsense'"] {
        let python = format!("import struct,sys;sys.stdout.buffer.write({header})");
        let line = format!("(python3 -c \"{python}\"; sleep 1) | timeout 20 {}", tls(&key, "lrmd"));
        shell(&cluster, "n3", &line).await;
    }
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    comes_up(&cluster).await;
    // A connection that was lost while it was being taken back is a reason to start what runs there anew.
    let since = started(&cluster);
    // Connections that say nothing.
    shell(&cluster, "n3", &format!("for n in $(seq 100); do exec {{fd}}<>/dev/tcp/{at}; done; sleep 2")).await;
    let log = std::fs::read_to_string(cluster.path("far.log")).unwrap_or_default();
    assert!(log.contains("this is not the executor's protocol") && log.contains("expected at most"), "{log}");
    assert!(executor.process.try_wait().expect("asked").is_none(), "it runs on\n{log}");

    // What agents and operators call on the node itself.
    let (code, out, err) = cluster.command(FAR.0, &["attrd_updater", "-n", "colour", "-U", "blue"]);
    assert_eq!(code, 0, "{out}{err}");
    let (code, out, err) = cluster.command(FAR.0, &["crm_attribute", "-l", "reboot", "-n", "height", "-v", "9"]);
    assert_eq!(code, 0, "{out}{err}");
    let (code, out, err) = cluster.command(FAR.0, &["crm_master", "-r", "d", "-v", "7"]);
    assert_eq!(code, 0, "{out}{err}");
    for (name, value) in [("colour", "blue"), ("height", "9"), ("master-d", "7")] {
        let (_, there, err) = cluster.command(FAR.0, &["attrd_updater", "-n", name, "-Q"]);
        let (_, here, _) = cluster.command("n3", &["attrd_updater", "-n", name, "-Q", "-N", FAR.0]);
        assert_eq!(there, format!("name=\"{name}\" host=\"far\" value=\"{value}\"\n"), "{err}");
        assert_eq!(here, there);
    }
    let (_, name, _) = cluster.command(FAR.0, &["crm_node", "-n"]);
    assert_eq!(name.trim(), FAR.0);
    let (_, seen, _) = cluster.command(FAR.0, &["crm_mon", "-1"]);
    assert!(seen.contains("RemoteOnline: [ far ]"), "{seen}");
    let (code, _, err) = cluster.command(FAR.0, &["corosync-cfgtool", "-R"]);
    assert!(code != 0 && err.contains("remote node"), "{code} {err}");
    assert_eq!((place(&cluster, "n3", "d").as_deref(), started(&cluster)), (Some(FAR.0), since), "{}", cluster.logs());

    // It is stopped: what runs there is moved away first.
    let pid = nix::unistd::Pid::from_raw(executor.process.id().expect("it runs") as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("told");
    let ended = tokio::time::timeout(PATIENCE, executor.process.wait()).await;
    assert!(ended.is_ok_and(|e| e.is_ok_and(|code| code.success())), "it ends in good order\n{}", cluster.logs());
    cluster.until("the Dummy is elsewhere", || place(&cluster, "n3", "d").filter(|p| p != FAR.0)).await;
}

/// A guest node: the connection comes and goes with the resource that holds it.
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_comes_and_goes_with_its_machine() {
    let Some(()) = root() else { return };
    let mut cluster = prepare().await;
    let _executor = Executor::start_ours(&cluster);
    for node in ["n1", "n2"] {
        cluster.start_node(node);
    }
    cluster.wait_for_ring(&["n1", "n2"]).await;
    let lines = [
        "pcs property set stonith-enabled=false".to_owned(),
        "pcs property set no-quorum-policy=ignore".to_owned(),
        format!(
            "pcs resource create vm ocf:pacemaker:Dummy state={} op monitor interval=1s meta remote-node=far remote-addr={} remote-connect-timeout=20s",
            cluster.path("vm.state").display(),
            vip_v4(FAR.1)
        ),
        format!(
            "pcs resource create d ocf:pacemaker:Dummy state={} op monitor interval=500ms",
            cluster.path("d.state").display()
        ),
        "pcs constraint location d prefers far=1000".to_owned(),
    ];
    for line in lines {
        let (code, out, err) = cluster.command("n1", &line.split(' ').collect::<Vec<_>>());
        assert_eq!(code, 0, "{line}: {out}{err}");
    }
    until_at(&cluster, "n2", "d", FAR.0).await;
    cluster.until("the Dummy is watched", || is_watched(&cluster, "n2").then_some(())).await;
    let (_, out, _) = cluster.command("n2", &["crm_mon", "-1"]);
    assert!(out.contains("GuestOnline: [ far ]"), "{out}");
    let (code, out, err) = cluster.command("n1", &["pcs", "resource", "disable", "vm"]);
    assert_eq!(code, 0, "{out}{err}");
    cluster.until("the Dummy is elsewhere", || place(&cluster, "n2", "d").filter(|p| p != FAR.0)).await;
    let (_, out, _) = cluster.command("n2", &["crm_mon", "-1"]);
    assert!(!out.contains("GuestOnline"), "{out}");
}
