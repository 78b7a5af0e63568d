//! `bascule setup`: a pair from bare hosts, by answers that are typed and by options.

use crate::fixture::PATIENCE;
use crate::pcsd::{PASSWORD, Said, Site};
use crate::root::root;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Stdio;
use std::time::Instant;
use tokio::io::AsyncWriteExt;

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 100));
/// This kernel may have no IPVS.
const RELAY: (&str, &str) = ("BASCULE_NODE_OPTIONS", "--data-plane relay");

/// As somebody types it, line by line.
async fn typed(site: &Site, host: &str, words: &[&str], lines: &str) -> Said {
    let mut command = site.command(host, words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = site.lab.host(host).expect("a host").spawn(&mut command).expect("it starts");
    let mut to = child.stdin.take().expect("a pipe");
    to.write_all(lines.as_bytes()).await.expect("written");
    drop(to);
    let out = child.wait_with_output().await.expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said { code: out.status.code().unwrap_or(-1), out: text(out.stdout), err: text(out.stderr) }
}

async fn holder(site: &Site, addr: IpAddr) -> Vec<String> {
    site.lab.holders(addr).await.expect("addresses")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_is_built_by_answers() {
    let Some(()) = root() else { return };
    let site = Site::start_with(&["n1", "n2"], vec![RELAY]).await;
    // Wrong answers first: each is refused with what was expected, and asked for again.
    let answers = format!(
        "web\nn1=10.77.0.1\nn1=10.77.0.1 n2=10.77.0.2\n10.77.0.1\n10.77.0.100@eth0\nhttp\n80\n10.77.0.100\n10.77.0.1*3 10.77.0.2\n\
         masq\n\n\nconnect\n\n\n\n{PASSWORD}\n"
    );
    // What comes after the last question is the confirmation: a password is none.
    let said = typed(&site, "n1", &["setup"], &answers).await;
    for refused in
        ["expected two or three", "n1's own address", "'http' is no port", "is a virtual address, and no server"]
    {
        assert!(said.err.contains(refused), "{refused}: {}", said.err);
    }
    assert!(said.code == 1 && said.err.contains("nothing was changed"), "{}{}", said.out, said.err);
    site.nothing_changed();
    assert!(said.out.contains("cluster_name: web") && said.out.contains("virtual = 10.77.0.100:80"), "{}", said.out);

    let began = Instant::now();
    let answers = answers.replace(&format!("{PASSWORD}\n"), &format!("yes\n{PASSWORD}\n"));
    let said = typed(&site, "n1", &["setup"], &answers).await;
    println!("setup of a pair, from the first answer to a group that runs: {} ms", began.elapsed().as_millis());
    assert_eq!(said.code, 0, "{}{}\n{}\n{}", said.out, said.err, site.log("n1"), site.log("n2"));
    assert!(said.out.contains("The group 'director' runs on "), "{}", said.out);
    for host in ["n1", "n2"] {
        assert_eq!(site.files(host), ["authkey", "corosync.conf", "ldirectord.cf"]);
    }
    let active = holder(&site, VIP).await;
    assert_eq!(active.len(), 1, "{active:?}");
    let file = site.path(&active[0], "etc").join("ldirectord.cf").display().to_string();
    let status = site.good(&active[0], &format!("ldirectord --run-dir /nonexistent {file} status --json")).await;
    assert!(status.out.contains("tcp:10.77.0.100:80"), "{}", status.out);
    let status = site.good("n2", "crm_mon -1").await;
    assert!(status.out.contains("Online: [ n1 n2 ]") && status.out.contains("director-settings-all"), "{}", status.out);

    // Once more is a mistake, and does no harm; a node that is lost leaves the other with the address.
    let said = typed(&site, "n1", &["setup"], &answers).await;
    assert!(said.code == 1 && said.err.contains("in a cluster already"), "{}", said.err);
    let (lost, other) = if active[0] == "n1" { ("n1", "n2") } else { ("n2", "n1") };
    site.good(lost, "pcs cluster kill").await;
    let end = Instant::now() + PATIENCE;
    while holder(&site, VIP).await != [other] {
        assert!(Instant::now() < end, "{:?}", holder(&site, VIP).await);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_builds_it_by_options_alone() {
    let Some(()) = root() else { return };
    let site = Site::start_with(&["n1", "n2"], vec![RELAY]).await;
    let secret = site.dir.path().join("secret");
    std::fs::write(&secret, PASSWORD).expect("written");
    let pair = "setup --yes --cluster web --node n1=10.77.0.1 --node n2=10.77.0.2 --vip 10.77.0.100 --server 10.77.0.1 --check none \
                --forward masq";
    let missing = "setup --yes --cluster web --node n1=10.77.0.1 --node n2=10.77.0.2";
    let said = site.bad("n1", missing, "with --yes these have to be given").await;
    assert!(said.err.contains("--vip") && said.err.contains("--server"), "{}", said.err);

    let said = site.good("n1", &format!("{pair} --dry-run")).await;
    assert!(said.out.contains("real = 10.77.0.1:80 masq") && said.out.contains("type=\"IPaddr2\""), "{}", said.out);
    let said = site.good("n1", &format!("{pair} --dry-run --json")).await;
    let plan: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    assert!(plan["files"]["corosync.conf"].as_str().is_some_and(|c| c.contains("ring0_addr: 10.77.0.2")), "{plan}");
    site.nothing_changed();

    let pair = format!("{pair} --password-file {}", secret.display());
    site.bad("n1", &format!("{pair} --arbitrator 10.77.0.99"), "the arbitrator does not answer").await;
    std::fs::write(site.path("n2", "etc").join("ldirectord.cf"), "# somebody's\n").expect("written");
    site.bad("n1", &pair, "another ldirectord.cf on 'n2'").await;
    assert!(site.files("n1").is_empty() && site.files("n2") == ["ldirectord.cf"]);
    std::fs::remove_file(site.path("n2", "etc").join("ldirectord.cf")).expect("removed");
    site.good("n1", &pair).await;
    assert_eq!(holder(&site, VIP).await.len(), 1);
}
