//! `bascule migrate`: keepalived files of every kind that the field has, each with the table that keepalived programs for it (`#=` lines,
//! as `ipvsadm-save` writes it), and what becomes of each line. New cases: write the `.conf`, run with `BLESS=1`, read what was written.

use base::ipvs::ServiceEntry;
use kernel::ipvs::render::{Numeric, RuleOptions, rules};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const BASCULE: &str = env!("CARGO_BIN_EXE_bascule");
const NODES: [&str; 4] = ["--node", "d1=192.0.2.1", "--node", "d2=192.0.2.2"];

fn cases() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/migrate");
    let mut all: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    all.retain(|p| p.extension().is_some_and(|e| e == "conf"));
    all.sort();
    all
}

fn bascule(dir: &Path, words: &[&str]) -> Output {
    Command::new(BASCULE).current_dir(dir).args(words).output().unwrap()
}

fn migrated(case: &Path, out: &Path) -> Output {
    let name = case.file_name().unwrap().to_str().unwrap();
    let mut words = vec!["migrate", name, "--out", out.to_str().unwrap(), "--config-id", "node1"];
    words.extend(NODES);
    bascule(case.parent().unwrap(), &words)
}

/// Lines of a table in a form that does not depend on how a program orders options.
fn canonical(line: &str) -> BTreeSet<String> {
    let mut words = line.split_whitespace().peekable();
    let mut all = BTreeSet::new();
    while let Some(word) = words.next() {
        let value = words.next_if(|w| !w.starts_with('-'));
        let value = match (word, value) {
            // A number of the same kind in two forms.
            ("-b", Some(flags)) => {
                let mut flags: Vec<&str> = flags.split(',').collect();
                flags.sort_unstable();
                flags.join(",")
            }
            (_, value) => value.unwrap_or_default().to_owned(),
        };
        // What is so anyway.
        if ![("-M", "255.255.255.255"), ("--tun-type", "ipip")].contains(&(word, value.as_str())) {
            all.insert(format!("{word} {value}"));
        }
    }
    all
}

/// What the director programs for a file when all servers are up, as `ipvsadm-save -n` would show it.
fn table(dir: &Path) -> Vec<BTreeSet<String>> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.starts_with("ldirectord") {
            continue;
        }
        let said = bascule(dir, &["ldirectord", path.to_str().unwrap(), "check", "--assume", "up", "--json"]);
        let value: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
        assert!(value["valid"] == true, "{}", String::from_utf8_lossy(&said.stdout));
        let entries: Vec<ServiceEntry> = serde_json::from_value(value["table"].clone()).unwrap();
        lines.extend(rules(&entries, RuleOptions { thresholds: true }, &Numeric).lines().map(str::to_owned));
    }
    lines.iter().map(|l| canonical(l)).collect()
}

#[test]
fn each_file_becomes_the_table_that_keepalived_programs() {
    let cases = cases();
    assert!(cases.len() >= 30, "{}", cases.len());
    for case in cases {
        let out = tempfile::tempdir().unwrap();
        let said = migrated(&case, out.path());
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(matches!(said.status.code(), Some(0 | 1)), "{}: {said:?}", case.display());
        let source = std::fs::read_to_string(&case).unwrap();
        let mut expected: Vec<_> = source.lines().filter_map(|l| l.strip_prefix("#=")).map(canonical).collect();
        let mut found = table(out.path());
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{}:\n{text}", case.display());

        // The CIB is one that crm_verify takes.
        let cib = std::fs::read_to_string(out.path().join("cib.xml")).unwrap();
        let verified = bascule(out.path(), &["crm_verify", "-V", "-x", "cib.xml"]);
        assert!(verified.status.success(), "{}: {}\n{cib}", case.display(), String::from_utf8_lossy(&verified.stderr));

        // Every line of the report, and every file.
        let text = text.replace(&out.path().display().to_string(), "OUT");
        let mut all = text;
        let mut names: Vec<_> = std::fs::read_dir(out.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            let content = std::fs::read_to_string(out.path().join(&name)).unwrap();
            all += &format!("== {}\n{content}", name.to_string_lossy());
        }
        let golden = case.with_extension("expected");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&golden, &all).unwrap();
        }
        let golden = std::fs::read_to_string(&golden).unwrap_or_default();
        assert!(golden == all, "{}:\n{all}", case.display());
    }
}

/// What Debian's keepalived itself complains of is never told as if it were carried over.
#[test]
fn what_keepalived_complains_of_is_in_the_report() {
    let keepalived = std::env::var("KEEPALIVED").unwrap_or_else(|_| "/usr/sbin/keepalived".to_owned());
    if !Path::new(&keepalived).exists() {
        println!("skipped: no keepalived here");
        return;
    }
    let mut heard = 0;
    for case in cases() {
        let mut command = Command::new("unshare");
        command.args(["-n", "timeout", "20", &keepalived, "-t", "-i", "node1", "-f"]).arg(&case);
        let said = command.current_dir(case.parent().unwrap()).output().unwrap();
        let said = String::from_utf8_lossy(&said.stderr).into_owned() + &String::from_utf8_lossy(&said.stdout);
        let report = bascule(
            case.parent().unwrap(),
            &[&["migrate", case.to_str().unwrap(), "--config-id", "node1", "--json"], &NODES[..]].concat(),
        );
        let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
        // `(FILE: Line N) why`; which interfaces this host has is not about the file.
        for told in said.lines().filter(|l| l.starts_with('(') && !l.contains("doesn't exist")) {
            let Some((line, why)) = told.split_once(": Line ").and_then(|(_, rest)| rest.split_once(')')) else {
                continue;
            };
            heard += 1;
            let line: u64 = line.parse().unwrap();
            // An end of a block is told by its last line.
            let rows: Vec<_> = report["rows"].as_array().unwrap().iter().filter(|r| r["line"] == line).collect();
            let honest = rows.iter().any(|r| r["fate"] != "maps");
            assert!(honest, "{}:{line}: keepalived says '{why}', the report {rows:?}", case.display());
        }
    }
    println!("keepalived complained {heard} times");
    assert!(heard > 0);
}

#[test]
fn what_is_no_such_file_is_refused_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("open.conf", "virtual_server 10.0.0.1 80 {\n    lb_algo rr\n");
    write("good.conf", "virtual_server 10.0.0.1 80 {\n    protocol TCP\n    real_server 10.0.0.2 80 {\n    }\n}\n");
    for (words, code, why) in [
        (&["migrate", "none.conf"][..], 65, "none.conf"),
        (&["migrate", "open.conf", "--out", "new"], 65, "expected } before the end"),
        (&["migrate", "good.conf", "--node", "x"], 64, "expected NAME=ADDRESS"),
        (&["migrate", "--from", "pacemaker", "--root", "nowhere"], 66, "corosync.conf"),
        (&["migrate", "good.conf", "--cluster", "a b"], 64, "no name for a cluster"),
    ] {
        let said = bascule(dir.path(), words);
        let err = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.status.code() == Some(code) && err.contains(why), "{words:?}: {:?} {err}", said.status);
    }
    assert!(!dir.path().join("new").exists());
    let good = bascule(dir.path(), &["migrate", "good.conf", "--out", "new"]);
    // The nodes are not known.
    assert_eq!(good.status.code(), Some(1), "{good:?}");
    assert!(dir.path().join("new/ldirectord.cf").exists() && !dir.path().join("new/corosync.conf").exists());
    let again = bascule(dir.path(), &["migrate", "good.conf", "--out", "new"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("use --force"), "{again:?}");
}

#[test]
fn a_pacemaker_node_keeps_what_it_has() {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = root.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let conf = "# ours\ntotem {\n    version: 2\n    cluster_name: web\n    transport: udpu\n    secauth: off\n    interface {\n        \
                ringnumber: 0\n        bindnetaddr: 192.0.2.0\n    }\n}\nnodelist {\n    node {\n        ring0_addr: 192.0.2.1\n        \
                name: d1\n        nodeid: 1\n    }\n    node {\n        ring0_addr: 192.0.2.2\n        name: d2\n        nodeid: 2\n    \
                }\n}\nquorum {\n    provider: corosync_votequorum\n    two_node: 1\n}\nservice {\n    name: pacemaker\n}\n";
    write("etc/corosync/corosync.conf", conf);
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/topologies/direct");
    let cib = std::fs::read_to_string(samples.join("cib.xml")).unwrap();
    let with = "<nvpair id=\"dc\" name=\"dc-version\" value=\"2.1.5\"/></cluster_property_set>";
    write("var/lib/pacemaker/cib/cib.xml", &cib.replacen("</cluster_property_set>", with, 1));
    write("etc/ha.d/ldirectord.cf", &std::fs::read_to_string(samples.join("ldirectord.cf")).unwrap());
    write("etc/default/pacemaker", "# PCMK_x=1\nPCMK_debug=yes\nPCMK_strange=1\n");
    let out = root.path().join("new");
    let said = bascule(root.path(), &["migrate", "--from", "pacemaker", "--root", ".", "--out", "new"]);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert_eq!(said.status.code(), Some(1), "PCMK_strange cannot: {said:?}");
    let conf = std::fs::read_to_string(out.join("corosync.conf")).unwrap();
    assert!(
        conf.contains("# ours") && conf.contains("transport: knet") && conf.contains("crypto_cipher: aes256"),
        "{conf}"
    );
    assert!(
        !conf.contains("service {") && !conf.contains("secauth") && conf.contains("ring0_addr: 192.0.2.2"),
        "{conf}"
    );
    let new = std::fs::read_to_string(out.join("cib.xml")).unwrap();
    assert!(new.contains("type=\"ldirectord\"") && !new.contains("dc-version"), "{new}");
    let same = |name: &str| std::fs::read(out.join(name)).unwrap() == std::fs::read(samples.join(name)).unwrap();
    assert!(same("ldirectord.cf"));
    for row in ["PCMK_debug", "PCMK_strange", "ocf:heartbeat:IPaddr2", "secauth", "service", "dc-version"] {
        assert!(text.contains(row), "{row}:\n{text}");
    }
    assert!(text.contains("6  differs  secauth") && text.contains("1 cannot be carried over"), "{text}");
}
