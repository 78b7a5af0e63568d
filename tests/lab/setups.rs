//! What a running pair lacks is told by `plan`, `node --check` and `doctor` alike: a second network, something that arbitrates, a
//! watchdog, a fence device.

use crate::fixture::{BASCULE, Group};
use crate::root::root;
use std::path::Path;
use std::process::Command;

/// Whether something is lacking: what `plan` and `node --check` say then, and the finding of `doctor`.
struct Lack {
    words: &'static str,
    finding: &'static str,
    lacking: bool,
}

fn run(group: &Group, args: &[&str]) -> String {
    let mut command = Command::new(BASCULE);
    command.args(args);
    command.env("BASCULE_RUN_DIR", group.path("d1.run")).env("BASCULE_STATE_DIR", group.path("d1.state"));
    let out = group.host("d1").ns.run(move || command.output()).expect("inside").expect("the binary runs");
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

fn told(group: &Group, lacks: &[Lack], what: &str) {
    let path = |name: &str| group.path(name).to_string_lossy().into_owned();
    let (conf, key, state, cf) = (path("corosync.conf"), path("authkey"), path("d1.state"), path("none.cf"));
    std::fs::write(&cf, "virtual=192.0.2.1:80\n\treal=192.0.2.2:80 masq\n\tchecktype=on\n").expect("written");
    let plan = run(group, &["plan", "--config", &conf]);
    let check = run(group, &["node", "--config", &conf, "--authkey", &key, "--state-dir", &state, "--check"]);
    let doctor = run(group, &["doctor", "--json", "--config", &cf, "--corosync-conf", &conf, "--authkey", &key]);
    let report: serde_json::Value = serde_json::from_str(&doctor).unwrap_or_else(|e| panic!("{what}: {e}: {doctor}"));
    let findings: Vec<&str> =
        report["findings"].as_array().expect("findings").iter().filter_map(|f| f["id"].as_str()).collect();
    for Lack { words, finding, lacking } in lacks {
        for (by, text) in [("plan", &plan), ("node --check", &check)] {
            assert_eq!(text.contains(words), *lacking, "{what}: {by}: {words}\n{text}");
        }
        assert_eq!(findings.contains(finding), *lacking, "{what}: doctor: {finding}\n{doctor}");
    }
}

fn lacks(second_network: bool, arbitrator: bool, device: bool) -> [Lack; 4] {
    let watchdog = ["/dev/watchdog", "/dev/watchdog0"].iter().any(|path| Path::new(path).exists());
    let lack = |words, finding, there: bool| Lack { words, finding, lacking: !there };
    [
        lack("ring and addresses share one network", "one-network", second_network),
        lack("two nodes without arbitrator", "arbitrator", arbitrator),
        lack("no watchdog device on this host", "watchdog", watchdog),
        lack("no fence device is in use", "lease-only", device),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_running_pair_lacks_is_told_by_all_who_look() {
    let Some(()) = root() else { return };
    let group = Group::start("fast").await;
    told(&group, &lacks(false, false, false), "one network");
    drop(group);
    let group = Group::start_apart("safe", &[]).await;
    told(&group, &lacks(true, false, false), "the ring apart");
    let device = "<primitive id=\"fence\" class=\"stonith\" type=\"fence_dummy\"/>";
    let add = ["cibadmin", "-C", "-o", "resources", "-X", device];
    group.command("d1", &add).expect("a device");
    group
        .command("d1", &["crm_attribute", "-t", "crm_config", "-n", "fencing-enabled", "-v", "true"])
        .expect("enabled");
    // `plan` and `node --check` read what is stored.
    let stored = || {
        let text = std::fs::read_to_string(group.path("d1.state/cib.xml")).unwrap_or_default();
        (text.contains("fence_dummy") && text.contains("name=\"fencing-enabled\" value=\"true\"")).then_some(())
    };
    group.until("it is stored", stored).await;
    told(&group, &lacks(true, false, true), "with a device");
    drop(group);
    let group = Group::start_arbitrated("fast", &lab::hosts::vip_v4(50).to_string()).await;
    told(&group, &lacks(true, true, false), "with a target");
}
