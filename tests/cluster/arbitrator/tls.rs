//! Certificates of ours and of NSS, each in the other's place.

use super::originals::Original;
use super::*;

/// A command that has to succeed; its standard output.
fn must(words: &[&str]) -> String {
    let out = std::process::Command::new(words[0]).args(&words[1..]).output().expect("it starts");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{words:?}: {text}{}", String::from_utf8_lossy(&out.stderr));
    text
}

/// What NSS's tools need: a store without a password, and something to make keys of.
fn nss(dir: &Path) -> (String, String) {
    std::fs::create_dir_all(dir).expect("a directory");
    let (db, noise) = (format!("sql:{}", dir.display()), dir.join("noise").display().to_string());
    must(&["certutil", "-N", "-d", &db, "--empty-password"]);
    must(&["dd", "if=/dev/urandom", &format!("of={noise}"), "bs=1", "count=64", "status=none"]);
    (db, noise)
}

/// The authority and the server's certificate, as corosync-qnetd-certutil makes them; where the authority's is.
fn nss_server(dir: &Path) -> String {
    let (db, noise) = nss(dir);
    let authority = format!(
        "printf 'y\\n0\\ny\\n' | certutil -S -n 'QNet CA' -s 'CN=QNet CA' -x -t CT,, -m 1 -v 1200 -d {db} -z {noise} -2"
    );
    must(&["sh", "-c", &authority]);
    let server = ["-S", "-n", "QNetd Cert", "-s", "CN=Qnetd Server", "-c", "QNet CA", "-t", "u,u,u", "-m", "2"];
    must(&[&["certutil"], &server[..], &["-v", "1200", "-d", &db, "-z", &noise]].concat());
    let file = dir.join("ca.crt").display().to_string();
    must(&[
        "sh",
        "-c",
        &format!("certutil -L -d {db} -n 'QNet CA' > {file}; certutil -L -d {db} -n 'QNet CA' -a >> {file}"),
    ]);
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_certificates_of_either_maker() {
    let Some(()) = root() else { return };
    let required = device("ffsplit", "            tls: required\n");
    // Ours throughout: nothing is voted for who shows no certificate.
    let mut cluster = cables(&PAIR, &required).await;
    let mut arbiter = Arbiter { tls: "required", ..Arbiter::new(Maker::Ours, &cluster) };
    let (server, client) = (arbiter.dir.join("tls"), cluster.path("qdevice/net/tls"));
    let (server_dir, client_dir) = (server.display().to_string(), client.display().to_string());
    let server_tool =
        |words: &[&str]| must(&[&[BASCULE, "corosync-qnetd-certutil", "-d", &server_dir], words].concat());
    let client_tool =
        |words: &[&str]| must(&[&[BASCULE, "corosync-qdevice-net-certutil", "-d", &client_dir], words].concat());
    server_tool(&["-i"]);
    let file = |dir: &Path, name: &str| dir.join(name).display().to_string();
    client_tool(&["-i", "-c", &file(&server, "qnetd-cacert.crt")]);
    arbiter.start(&cluster);
    start(&mut cluster, &PAIR).await;
    until(&cluster, &arbiter, "n1", 2, true).await;
    client_tool(&["-r", "-n", "test"]);
    server_tool(&["-s", "-c", &file(&client, "qdevice-net-node.crq"), "-n", "test"]);
    client_tool(&["-M", "-c", &file(&server, "cluster-test.crt")]);
    // The next attempt finds them.
    for node in PAIR {
        until(&cluster, &arbiter, node, 3, true).await;
    }
    assert!(arbiter.tool(&["-l", "-v"]).contains("TLS active:\t\tYes (client certificate verified)\n"));
    let (_, text, _) = cluster.command("n1", &["corosync-qdevice-tool", "-s", "-v"]);
    assert!(text.contains("TLS active:\t\tYes"), "{text}");
    for name in ["key.pem", "qdevice-net-node.p12"] {
        let mode = std::fs::metadata(client.join(name)).expect("there").permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600, "{name}");
    }
    if !have(&[QNETD, "/usr/bin/certutil", "/usr/bin/pk12util", "/usr/sbin/corosync-qdevice", "/usr/sbin/corosync"]) {
        return;
    }
    // Debian's arbitrator: its authority signs what our node asks for.
    arbiter.end().await;
    arbiter.maker = Maker::Debian;
    let nssdb = arbiter.dir.join("nssdb");
    let authority = nss_server(&nssdb);
    std::fs::remove_dir_all(&client).expect("removed");
    client_tool(&["-i", "-c", &authority]);
    client_tool(&["-r", "-n", "test"]);
    let (db, signed) = (format!("sql:{}", nssdb.display()), file(&nssdb, "cluster-test.crt"));
    let asked = file(&client, "qdevice-net-node.crq");
    must(&["certutil", "-C", "-v", "1200", "-m", "3", "-i", &asked, "-o", &signed, "-c", "QNet CA", "-d", &db]);
    client_tool(&["-M", "-c", &signed]);
    arbiter.start(&cluster);
    for node in PAIR {
        until(&cluster, &arbiter, node, 3, true).await;
    }
    assert!(arbiter.tool(&["-l", "-v"]).contains("TLS active:\t\tYes (client certificate verified)\n"));
    // What our tool packed goes into an NSS store, and what pk12util packs into ours.
    let (other, _) = nss(&cluster.path("nss-node"));
    must(&["pk12util", "-i", &file(&client, "qdevice-net-node.p12"), "-d", &other, "-W", ""]);
    let packed = cluster.path("packed.p12").display().to_string();
    must(&["pk12util", "-o", &packed, "-d", &other, "-W", "", "-n", "Cluster Cert"]);
    client_tool(&["-m", "-c", &packed]);
}

#[tokio::test(flavor = "multi_thread")]
async fn debians_qdevice_with_our_arbitrator_and_tls() {
    let Some(()) = root() else { return };
    if !have(&["/usr/sbin/corosync", "/usr/sbin/corosync-qdevice", "/usr/bin/certutil"]) {
        return;
    }
    let quorum = device("ffsplit", "            tls: required\n").replacen(
        "        net {",
        "        votes: 1\n        net {",
        1,
    );
    let cluster = cables(&PAIR, &quorum).await;
    let mut arbiter = Arbiter { tls: "required", ..Arbiter::new(Maker::Ours, &cluster) };
    let server = arbiter.dir.join("tls").display().to_string();
    let tool = |words: &[&str]| must(&[&[BASCULE, "corosync-qnetd-certutil", "-d", &server], words].concat());
    tool(&["-i"]);
    arbiter.start(&cluster);
    let mut node = Original::start(&cluster, "n1", &quorum);
    // Asked for, signed and imported as corosync-qdevice-net-certutil does it.
    let nssdb = node.dir.join("nssdb");
    let (db, noise) = nss(&nssdb);
    let (asked, signed) = (node.file("asked.crq"), format!("{server}/cluster-test.crt"));
    must(&[
        "certutil",
        "-d",
        &db,
        "-A",
        "-a",
        "-t",
        "CT,c,c",
        "-n",
        "QNet CA",
        "-i",
        &format!("{server}/qnetd-cacert.crt"),
    ]);
    must(&["certutil", "-R", "-s", "CN=test", "-o", &asked, "-d", &db, "-z", &noise]);
    tool(&["-s", "-c", &asked, "-n", "test"]);
    must(&["certutil", "-d", &db, "-A", "-t", "u,u,u", "-n", "Cluster Cert", "-i", &signed]);
    node.until(&cluster, &arbiter, 1, false).await;
    node.qdevice(&cluster);
    // One of two nodes, with the vote: quorate.
    node.until(&cluster, &arbiter, 2, true).await;
    assert!(arbiter.tool(&["-l", "-v"]).contains("TLS active:\t\tYes (client certificate verified)\n"));
}
