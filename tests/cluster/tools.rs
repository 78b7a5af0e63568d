//! What an operator looks at, and what monitoring is told: process groups, keys as old guides type them, the blackbox, notifyd.

use crate::fixture::{BASCULE, Cluster, PATIENCE};
use crate::root::root;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

const PAIR: [&str; 2] = ["n1", "n2"];

/// A program whose lines are read as they come; it ends with the test.
struct Reader {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Reader {
    fn start(command: &mut Command) -> Reader {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let out = BufReader::new(child.stdout.take().expect("its output"));
        let (to, lines) = channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
        Reader { child, lines, seen: Vec::new() }
    }

    /// The next line that holds all of the words.
    fn until(&mut self, words: &[&str]) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if words.iter().all(|w| line.contains(w)) => return line,
                Ok(line) => self.seen.push(line),
                Err(why) => panic!("{words:?} did not come ({why}) after {:#?}", self.seen),
            }
        }
    }
}

fn notifyd(cluster: &Cluster, words: &[&str]) -> Command {
    let mut command = Command::new(BASCULE);
    command.arg("corosync-notifyd").args(words).env("BASCULE_RUN_DIR", cluster.run_dir("n1"));
    command
}

/// A bus of the test's own in the system bus's place; `None` where the programs are absent.
fn bus(cluster: &Cluster) -> Option<(Reader, String)> {
    if !["/usr/bin/dbus-daemon", "/usr/bin/dbus-monitor"].iter().all(|p| Path::new(p).exists()) {
        eprintln!("SKIPPED: the system bus: dbus-daemon or dbus-monitor absent: apt-get install dbus-daemon dbus-bin");
        return None;
    }
    let address = format!("unix:path={}", cluster.path("bus").display());
    let config = format!(
        "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN\" \
         \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\"><busconfig><type>system</type>\
         <listen>{address}</listen><policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/>\
         <allow send_type=\"signal\"/><allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/>\
         </policy></busconfig>"
    );
    std::fs::write(cluster.path("bus.conf"), config).expect("written");
    let mut daemon = Command::new("dbus-daemon");
    daemon.arg("--config-file").arg(cluster.path("bus.conf")).args(["--nofork", "--nopidfile", "--print-address=1"]);
    let mut daemon = Reader::start(&mut daemon);
    daemon.until(&["unix:path="]);
    Some((daemon, address))
}

/// Members, quorum and links as they change, on the console and the bus; also over a restart of the node that tells.
#[tokio::test(flavor = "multi_thread")]
async fn notifyd_tells_what_changes_and_finds_its_node_again() {
    let Some(()) = root() else { return };
    let mut cluster = Cluster::start(&PAIR).await;
    let bus = bus(&cluster);
    let address = bus.as_ref().map_or(String::new(), |(_, address)| address.clone());
    let mut monitor = bus.as_ref().map(|(_, address)| {
        let mut monitor = Reader::start(Command::new("stdbuf").args(["-oL", "dbus-monitor", "--address", address]));
        monitor.until(&["member=NameAcquired"]);
        monitor
    });
    let words: &[&str] = if bus.is_some() { &["-f", "-o", "-d"] } else { &["-f", "-o"] };
    let mut told = Reader::start(notifyd(&cluster, words).env("DBUS_SYSTEM_BUS_ADDRESS", address));
    assert_eq!(told.until(&["n1[1]"]), "[notice] n1[1] is now quorate");
    cluster.kill("n2").await;
    assert_eq!(told.until(&["n2"]), "[notice] n2[2] ip:10.77.0.2 left");
    assert_eq!(told.until(&["quorum"]), "[notice] n1[1] has lost quorum");
    cluster.start_node("n2");
    cluster.wait_for_ring(&PAIR).await;
    assert_eq!(told.until(&["joined"]), "[notice] n2[2] ip:10.77.0.2 joined");
    assert_eq!(told.until(&["quorate"]), "[notice] n1[1] is now quorate");
    cluster.lab.unplug("n2").await.expect("cut");
    assert_eq!(told.until(&["link", "disc"]), "[notice] n1[1] link 0 to node 2 is now disconnected");
    cluster.lab.plug("n2").await.expect("healed");
    assert_eq!(told.until(&["link"]), "[notice] n1[1] link 0 to node 2 is now operational");
    if let Some(monitor) = &mut monitor {
        monitor.until(&["path=/org/corosync; interface=org.corosync; member=NodeStateChange"]);
        for line in ["   string \"n2\"", "   uint32 2", "   string \"10.77.0.2\"", "   string \"left\""] {
            assert_eq!(monitor.until(&[""]), line);
        }
        monitor.until(&["path=/org/corosync; interface=org.corosync; member=QuorumStateChange"]);
        for line in ["   string \"n1\"", "   uint32 1", "   string \"not quorate\""] {
            assert_eq!(monitor.until(&[""]), line);
        }
        monitor.until(&["member=LinkStateChange"]);
    }
    // The node that tells is another process; nothing before that is told twice.
    cluster.wait_for_ring(&PAIR).await;
    cluster.kill("n1").await;
    cluster.start_node("n1");
    cluster.wait_for_ring(&PAIR).await;
    told.until(&["n2[2] ip:10.77.0.2 joined"]);
    told.until(&["n1[1] is now quorate"]);
    let mut program = Reader::start(notifyd(&cluster, &["-f", "-o", "-n", "--json"]).stderr(Stdio::null()));
    program.until(&["\"quorum\"", "\"from\":\"n1\""]);
    cluster.kill("n2").await;
    let line: serde_json::Value = serde_json::from_str(&program.until(&["\"node\""])).expect("JSON");
    assert_eq!((&line["name"], &line["joined"]), (&"10.77.0.2".into(), &false.into()));
}

/// Whether all of these are here; told loudly where they are not.
fn have(programs: &[&str], package: &str) -> bool {
    let absent = programs.iter().find(|p| !Path::new(p).exists());
    absent.iter().for_each(|p| eprintln!("SKIPPED: {p} is missing (Debian: apt install {package})"));
    absent.is_none()
}

fn free_port() -> u16 {
    std::net::UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr()).expect("an address").port()
}

/// A real manager hears what the original's would, under the numbers of its MIB.
#[tokio::test(flavor = "multi_thread")]
async fn notifyd_sends_traps_that_net_snmp_takes() {
    let Some(()) = root() else { return };
    if !have(&["/usr/sbin/snmptrapd", "/usr/bin/snmptrap"], "snmp snmptrapd") {
        return;
    }
    let mut cluster = Cluster::start(&PAIR).await;
    let port = free_port();
    let conf = cluster.path("snmptrapd.conf");
    std::fs::write(&conf, "authCommunity log,execute,net directors\n").expect("written");
    let mut manager = Command::new("/usr/sbin/snmptrapd");
    manager.args(["-f", "-Lo", "-n", "-On", "-m", "", "-C", "-c"]).arg(&conf).arg(format!("udp:127.0.0.1:{port}"));
    manager.env("SNMP_PERSISTENT_DIR", cluster.path("snmp")).stderr(Stdio::null());
    let mut manager = Reader::start(&mut manager);
    manager.until(&["NET-SNMP version"]);
    let at = format!("127.0.0.1:{port}");
    let _told = Reader::start(&mut notifyd(&cluster, &["-f", "-s", "-m", &at, "-c", "directors"]));
    let mib = ".1.3.6.1.4.1.35488";
    let trap = |n: u8| format!(".1.3.6.1.6.3.1.1.4.1.0 = OID: {mib}.0.{n}");
    let line = manager.until(&[&trap(2)]);
    for part in ["1.1 = STRING: \"n1\"", "1.2 = Gauge32: 1", "1.21 = STRING: \"quorate\""] {
        assert!(line.contains(&format!("{mib}.{part}")), "{part}: {line}");
    }
    cluster.kill("n2").await;
    let line = manager.until(&[&trap(1)]);
    for part in ["1.1 = STRING: \"n2\"", "1.2 = Gauge32: 2", "1.4 = STRING: \"10.77.0.2\"", "1.3 = STRING: \"left\""] {
        assert!(line.contains(&format!("{mib}.{part}")), "{part}: {line}");
    }
    assert!(manager.until(&[&trap(2)]).contains("STRING: \"not quorate\""));
}

/// A web server of TLS, whose certificate a private authority has signed: trusted where the operator says so.
#[tokio::test(flavor = "multi_thread")]
async fn notifyd_posts_to_a_server_that_shows_a_certificate_it_trusts() {
    let Some(()) = root() else { return };
    if !have(&["/usr/bin/openssl"], "openssl") {
        return;
    }
    let cluster = Cluster::start(&["n1"]).await;
    let file = |name: &str| cluster.path(name).display().to_string();
    let (key, cert) = (file("web-key.pem"), file("web.pem"));
    let names = "subjectAltName=DNS:localhost";
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=web", "-addext", names, "-days", "2"])
        .args(["-keyout", &key, "-out", &cert])
        .stderr(Stdio::null())
        .status();
    assert!(made.expect("openssl runs").success());
    let port = free_port();
    let mut server = Command::new("openssl");
    let accept = format!("127.0.0.1:{port}");
    server.args(["s_server", "-quiet", "-key", &key, "-cert", &cert, "-accept", &accept]);
    server.stdin(Stdio::piped()).stderr(Stdio::null());
    let mut server = Reader::start(&mut server);
    let url = format!("https://localhost:{port}/hook");
    cluster.until("the server", || std::net::TcpStream::connect(&accept).ok().map(drop)).await;
    // Without it, what would be posted stays here, and that is said.
    let mut distrustful = notifyd(&cluster, &["-f", "--webhook", &url]);
    let mut child = distrustful.stderr(Stdio::piped()).spawn().expect("it starts");
    let errors = child.stderr.take().expect("its errors");
    let said = BufReader::new(errors).lines().map_while(Result::ok).find(|l| l.contains("webhook at localhost"));
    let _ = child.kill().and_then(|()| child.wait());
    assert!(said.as_ref().is_some_and(|l| l.contains("certificate verify failed")), "{said:?}");
    let _told = Reader::start(notifyd(&cluster, &["-f", "--webhook", &url]).env("SSL_CERT_FILE", &cert));
    assert_eq!(server.until(&["HTTP/1.1"]).trim_end(), "POST /hook HTTP/1.1");
    server.until(&["content-type: application/json"]);
    // Its body ends without a line's end: what answers also ends the connection.
    let mut answers = server.child.stdin.take().expect("its input");
    std::io::Write::write_all(&mut answers, b"HTTP/1.1 204 No Content\r\n\r\n").expect("written");
    drop(answers);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_old_keys_and_the_blackbox_of_a_node_that_ended() {
    let Some(()) = root() else { return };
    let mut cluster = Cluster::start(&PAIR).await;
    // As the node itself counts: the hosts of this lab number their own processes.
    let row = |cluster: &Cluster, n: u8, name: &'static str| {
        let (_, text, _) = cluster.command(name, &["corosync-blackbox", "--json"]);
        let pid = serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["pid"].as_u64().expect("a number");
        format!("\t\t{pid:>10}\t{n:>10} (10.77.0.{n})\n")
    };
    let both = format!("bascule:controller\n{}{}", row(&cluster, 1, "n1"), row(&cluster, 2, "n2"));
    for node in PAIR {
        cluster
            .until("both in each group", || {
                let (code, text, _) = cluster.command(node, &["corosync-cpgtool"]);
                (code == 0 && text.starts_with(&format!("Group Name\t       PID\t   Node ID\n{both}"))).then_some(())
            })
            .await;
    }
    let (_, names, _) = cluster.command("n1", &["corosync-cpgtool", "-n"]);
    assert_eq!(names, "bascule:controller\nbascule:directors\nbascule:orders\n");
    // As guides of corosync 1 have it.
    let (code, text, _) = cluster.command("n1", &["corosync-objctl"]);
    assert!(code == 0 && text.contains("\nruntime.totem.pg.mrp.srp.members.2.status=joined\n"), "{text}");
    assert_eq!(cluster.command("n1", &["corosync-objctl", "-w", "my.note=some text", "-w", "my.other=1"]).0, 0);
    assert_eq!(cluster.command("n1", &["corosync-objctl", "my"]).1, "my.note=some text\nmy.other=1\n");
    let (_, json, _) = cluster.command("n1", &["corosync-objctl", "--json", "my"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert!(json.to_string().contains("some text") && json.to_string().contains("my.other"), "{json}");
    assert_eq!(cluster.command("n1", &["corosync-objctl", "-d", "my"]), (0, String::new(), String::new()));
    let (code, _, errors) = cluster.command("n1", &["corosync-objctl", "my"]);
    assert!(code == 1 && errors.contains("Failed to find object my"), "{errors}");
    // The blackbox: on demand, in the original's way too, and of a node that was ended.
    let (code, text, errors) = cluster.command("n1", &["corosync-blackbox"]);
    assert!(code == 0 && text.starts_with("Blackbox of node n1, process "), "{text}");
    assert!(text.contains(" ring ") && text.contains("members n1 n2, quorate"), "{text}");
    assert!(text.contains(" info: node n1 (1) of cluster `test` runs"), "the log's lines are in it: {text}");
    let file = errors.trim().strip_prefix("Written to ").expect("where").to_owned();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).expect("there").permissions()) & 0o777,
        0o600
    );
    assert_eq!(
        cluster.command("n1", &["corosync-cmapctl", "-s", "runtime.blackbox.dump_flight_data", "str", "1"]).0,
        0
    );
    let files = |node| std::fs::read_dir(cluster.state_dir(node)).expect("a directory").flatten();
    let count = files("n1").filter(|e| e.file_name().to_string_lossy().starts_with("fdata-")).count();
    assert_eq!(count, 3);
    assert_eq!(cluster.command("n1", &["corosync-cfgtool", "-k", "2"]).0, 0);
    cluster.daemons.get_mut("n2").expect("a daemon").wait().await.expect("it ended");
    let mut command = Command::new(BASCULE);
    command.args(["corosync-blackbox", "--json"]).env("BASCULE_RUN_DIR", cluster.run_dir("n2"));
    let out = command.env("BASCULE_STATE_DIR", cluster.state_dir("n2")).output().expect("it runs");
    let left: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert!(left["reason"].as_str().is_some_and(|r| r.contains("killed by an operator of n1")), "{}", left["reason"]);
    let kinds: Vec<&str> =
        left["records"].as_array().expect("records").iter().filter_map(|r| r["kind"].as_str()).collect();
    assert!(kinds.contains(&"killed") && kinds.contains(&"error"), "{kinds:?}");
    assert_eq!(left["quorum"]["quorate"], true);
    cluster
        .until("one alone in each group", || {
            let (_, text, _) = cluster.command("n1", &["corosync-cpgtool", "-d", ","]);
            (text.lines().filter(|l| l.ends_with(",1")).count() == 3 && text.lines().count() == 4).then_some(())
        })
        .await;
}
