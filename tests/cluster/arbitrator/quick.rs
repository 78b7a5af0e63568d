//! `corosync-qdevice-net-certutil -Q`: all certificates of a cluster and its arbitrator in one command, over real sshd.

use super::*;
use crate::ssh;

/// Who is asked, by the addresses of the hosts.
const HOSTS: [&str; 3] = ["10.77.1.9", "10.77.0.1", "10.77.0.2"];

/// The command as typed on the first node.
async fn quick(cluster: &Cluster, key: &Path, hosts: &[&str]) -> (bool, String) {
    let mut command = Command::new(BASCULE);
    let (shell, copy) = (format!("ssh {}", ssh::options(key)), format!("scp -q {}", ssh::options(key)));
    command.args(["corosync-qdevice-net-certutil", "-Q", "-n", "test", "-S", &shell, "-C", &copy]).args(hosts);
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let child = cluster.lab.host("n1").expect("a host").spawn(&mut command).expect("it starts");
    let out = child.wait_with_output().await.expect("it runs");
    let text = [&out.stdout, &out.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    (out.status.success(), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_over_ssh_makes_and_hands_out_all_certificates() {
    let Some(()) = root() else { return };
    if !ssh::have(&["/usr/bin/scp"]) {
        return;
    }
    let mut cluster = cables(&PAIR, &device("ffsplit", "            tls: required\n")).await;
    let mut arbiter = Arbiter { tls: "required", ..Arbiter::new(Maker::Ours, &cluster) };
    let key = ssh::key(&cluster);
    let (programs, other, of_arb) = (cluster.path("bin"), cluster.path("n2.etc"), cluster.path("arb.etc"));
    for dir in [Path::new("/etc/corosync"), &programs, &other, &of_arb, &arbiter.dir] {
        std::fs::create_dir_all(dir).expect("a directory");
    }
    std::os::unix::fs::symlink(BASCULE, programs.join("bascule")).expect("linked");
    std::os::unix::fs::symlink(&arbiter.dir, of_arb.join("qnetd")).expect("linked");
    let env = format!("PATH={}:/usr/sbin:/usr/bin:/sbin:/bin", programs.display());
    // The nodes of this test look for certificates beside their file: what the first one is sent is in use.
    let first = cluster.path("corosync.conf").parent().expect("a directory").to_owned();
    let mut doors = Vec::new();
    for (host, etc) in [("n1", &first), ("n2", &other), ("arb", &of_arb)] {
        doors.push(ssh::sshd(&cluster, host, &key, &env, &[(etc, "/etc/corosync")]).await);
    }
    // Somebody who is not there: said by name, before there is any certificate.
    let (done, text) = quick(&cluster, &key, &[HOSTS[0], HOSTS[1], "10.77.0.77"]).await;
    assert!(!done && text.contains("10.77.0.77"), "{text}");
    assert!(!first.join("qdevice/net/tls/cert.pem").exists());
    let (done, text) = quick(&cluster, &key, &HOSTS).await;
    assert!(done, "{text}");
    let stores = [&first, &other].map(|etc| etc.join("qdevice/net/tls"));
    for name in ["ca.pem", "cert.pem", "key.pem"] {
        let [mine, theirs] = stores.each_ref().map(|s| std::fs::read(s.join(name)).expect("there"));
        assert!(mine == theirs && !mine.is_empty(), "{name}: all nodes have the cluster's");
    }
    for store in stores.iter().chain([&arbiter.dir.join("tls")]) {
        let key = std::fs::metadata(store.join("key.pem")).expect("there").permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key) & 0o777, 0o600, "{}", store.display());
    }
    let left = std::fs::read_dir(std::env::temp_dir()).expect("a directory").flatten();
    assert_eq!(left.filter(|e| e.file_name().to_string_lossy().starts_with("bascule-certutil-")).count(), 0);
    // And they are good for it.
    arbiter.start(&cluster);
    start(&mut cluster, &PAIR).await;
    for node in PAIR {
        until(&cluster, &arbiter, node, 3, true).await;
    }
    assert!(arbiter.tool(&["-l", "-v"]).contains("TLS active:\t\tYes (client certificate verified)\n"));
    // Once more, for a new certificate: the authority stays, and the running nodes keep the vote.
    let before = std::fs::read(stores[0].join("cert.pem")).expect("there");
    let (done, text) = quick(&cluster, &key, &HOSTS).await;
    assert!(done, "{text}");
    assert_ne!(std::fs::read(stores[1].join("cert.pem")).expect("there"), before);
    arbiter.end().await;
    for node in PAIR {
        until(&cluster, &arbiter, node, 2, true).await;
    }
    arbiter.start(&cluster);
    for node in PAIR {
        until(&cluster, &arbiter, node, 3, true).await;
    }
}

/// As README recommends it for two directors that run already.
#[tokio::test(flavor = "multi_thread")]
async fn an_arbitrator_for_a_running_pair_is_two_commands() {
    let Some(()) = root() else { return };
    let mut cluster = cables(&PAIR, "    two_node: 1\n").await;
    start(&mut cluster, &PAIR).await;
    let view = cluster.status("n1").expect("an answer").view;
    let mut arbiter = Arbiter::new(Maker::Ours, &cluster);
    arbiter.start(&cluster);
    let file = cluster.path("corosync.conf").display().to_string();
    let line = ["pcs", "quorum", "device", "add", "model", "net", "host=10.77.1.9", "algorithm=ffsplit", "tls=off"];
    let (code, text, errors) = cluster.command("n1", &[&line[..], &["--corosync_conf", &file]].concat());
    assert_eq!(code, 0, "{text}{errors}");
    let (code, text, errors) = cluster.command("n1", &["corosync-cfgtool", "-R"]);
    assert_eq!(code, 0, "{text}{errors}");
    for node in PAIR {
        until(&cluster, &arbiter, node, 3, true).await;
        let (_, text, _) = cluster.command(node, &["pcs", "quorum", "device", "status"]);
        assert!(text.contains("QNetd host:\t\t10.77.1.9:5403\n") && text.contains("Connected\n"), "{text}");
    }
    assert_eq!(cluster.status("n1").expect("an answer").view, view, "nobody was disturbed");
    let (_, text, _) = cluster.command("n1", &["corosync-quorumtool", "-s"]);
    assert!(!text.contains("2Node") && text.contains("Qdevice"), "{text}");
    cluster.lab.unplug("n1").await.expect("cut");
    until(&cluster, &arbiter, "n1", 2, true).await;
    until(&cluster, &arbiter, "n2", 1, false).await;
}
