//! Strangers at the arbitrator's door, and a stranger in its place. (What they can say is in `tests/fuzz`.)

use super::*;

/// Noise, a body of four gigabytes, a hundred connections that say nothing, some that stop in the middle of a header.
const STRANGERS: &str = r#"
at=/dev/tcp/10.77.1.9/5403
for i in $(seq 40); do head -c 20000 /dev/urandom > $at; done
for i in $(seq 20); do printf '\x00\x00\xff\xff\xff\xff' > $at; printf '\x00\x00\x00\x00\x00\x00' > $at; done
for i in $(seq 100); do exec {n}<>$at; done
for i in $(seq 20); do exec {n}<>$at; printf '\x00\x07\x00' >&$n; done
echo there > "$0"
sleep 60
"#;

/// Answers with noise, a huge length, what nobody asked for, nothing, and half a message.
const IMPOSTOR: &str = r#"
import os, socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("10.77.1.9", 5403))
s.listen()
seen, kept = 0, []
say = [os.urandom(5000), b"\0\1\xff\xff\xff\xff", b"\0\7" + (6).to_bytes(4, "big") + b"\0\1\0\2ab", b"\0\1\0\0", b""]
while True:
    c, _ = s.accept()
    try:
        c.recv(4096)
        c.sendall(say[seen % len(say)])
    except OSError:
        pass
    kept.append(c)
    kept = kept[-2:]
    seen += 1
    if seen == 12:
        open(sys.argv[1], "w").write("there")
"#;

#[tokio::test(flavor = "multi_thread")]
async fn strangers_at_its_door_and_in_its_place() {
    let Some(()) = root() else { return };
    let mut cluster =
        cables(&PAIR, &device("ffsplit", "            tls: off\n            connect_timeout: 1000\n")).await;
    let mut arbiter = Arbiter::new(Maker::Ours, &cluster);
    arbiter.start(&cluster);
    start(&mut cluster, &PAIR).await;
    for node in PAIR {
        until(&cluster, &arbiter, node, 3, true).await;
    }
    let since = |node: &str| quorum(&cluster, node).and_then(|q| q.device?.connected_since).expect("connected");
    let before = PAIR.map(since);
    let mark = cluster.path("strangers");
    let mut command = Command::new("bash");
    command.args(["-c", STRANGERS]).arg(&mark).kill_on_drop(true);
    let mut strangers = cluster.lab.host("n1").expect("a host").spawn(&mut command).expect("it starts");
    cluster.until("strangers that stay", || mark.exists().then_some(())).await;
    for node in PAIR {
        until(&cluster, &arbiter, node, 3, true).await;
    }
    assert_eq!(PAIR.map(since), before, "nobody lost the connection: {}", arbiter.log());
    let pid = arbiter.child.as_ref().and_then(Child::id).expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    assert!(peak.is_some_and(|kb| kb < 200_000), "memory: {peak:?} kB");
    strangers.kill().await.expect("it ended");
    // One that only pretends: the pair stays what it is, and finds the right one afterwards.
    arbiter.end().await;
    let mark = cluster.path("impostor");
    let mut command = Command::new("python3");
    command.args(["-c", IMPOSTOR]).arg(&mark).kill_on_drop(true);
    let mut impostor = cluster.lab.host("arb").expect("a host").spawn(&mut command).expect("it starts");
    cluster.until("every answer given", || mark.exists().then_some(())).await;
    for node in PAIR {
        until(&cluster, &arbiter, node, 2, true).await;
    }
    impostor.kill().await.expect("it ended");
    arbiter.start(&cluster);
    for node in PAIR {
        until(&cluster, &arbiter, node, 3, true).await;
    }
}
