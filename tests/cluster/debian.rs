//! Debian's own `pcs` and `crmsh`, unmodified, drive a cluster of ours: our commands stand where theirs look for Pacemaker's
//! (`bascule links --compat 2.1`, mounted over the paths that they have built in).
//!
//! Every line must end with 0; what needs daemons of their own (pcsd) is not among them.

use crate::fixture::{BASCULE, Cluster};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Sets up what a node sees, then runs the lines of a file; each answers with its code and what it said.
const STAGE: &str = r#"
set -e
hostname "$NODE"
for link in "$LINKS"/*; do
    theirs=/usr/sbin/$(basename "$link")
    case $theirs in */pcs|*/crm) continue ;; esac
    [ -e "$theirs" ] && mount --bind "$link" "$theirs" || true
done
mount --bind "$ETC" /etc/corosync
mkdir -p /var/lib/pacemaker
mount -t tmpfs tmpfs /var/lib/pacemaker
mkdir -p /var/lib/pacemaker/cib /var/lib/pacemaker/pengine
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/run && mount --bind "$RUN" /mnt/run
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/bascule /run/lock /run/resource-agents
mount --bind /mnt/run /run/bascule
cd "$WORK"
set +e
while IFS= read -r line; do
    timeout 120 sh -c "$line" >out 2>&1 </dev/null
    echo "::$? $line"
    head -c 4000 out
    echo
done <"$LINES_FILE"
"#;

struct Theirs<'c> {
    cluster: &'c Cluster,
    links: PathBuf,
    etc: PathBuf,
    work: PathBuf,
}

impl<'c> Theirs<'c> {
    fn new(cluster: &'c Cluster) -> Theirs<'c> {
        let made = |name: &str| {
            let path = cluster.path(name);
            std::fs::create_dir_all(&path).expect("a directory");
            path
        };
        let theirs = Theirs { cluster, links: made("links"), etc: made("etc/uidgid.d"), work: made("work") };
        let etc = theirs.etc.parent().expect("a directory").to_owned();
        for file in ["corosync.conf", "authkey"] {
            std::fs::copy(cluster.path(file), etc.join(file)).expect("copied");
        }
        let ended =
            std::process::Command::new(BASCULE).arg("links").arg(&theirs.links).args(["--compat", "2.1"]).output();
        assert!(ended.expect("links are made").status.success());
        Theirs { etc, ..theirs }
    }

    /// Lines that did not end with 0, with what they said.
    async fn failing(&self, node: &str, lines: &str) -> (usize, String) {
        let lines: Vec<&str> = lines.lines().filter(|l| !l.is_empty() && !l.starts_with("# ")).collect();
        let file = self.work.join("lines");
        std::fs::write(&file, lines.join("\n") + "\n").expect("written");
        let mut command = tokio::process::Command::new("unshare");
        command.args(["-m", "-u", "sh", "-c", STAGE]);
        command.env("LINKS", &self.links).env("ETC", &self.etc).env("WORK", &self.work).env("HOME", &self.work);
        command.env("RUN", self.cluster.run_dir(node)).env("LINES_FILE", &file);
        command.env("NODE", node).env_remove("BASCULE_RUN_DIR").env("TERM", "dumb");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = self.cluster.lab.host(node).expect("a host").spawn(&mut command).expect("a shell");
        let ended = child.wait_with_output().await.expect("it ends");
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(ended.status.success(), "{said}{}", String::from_utf8_lossy(&ended.stderr));
        let answers: Vec<&str> = said.split("\n::").map(|a| a.trim_start_matches("::")).collect();
        assert_eq!(answers.len(), lines.len(), "each line answers: {said}");
        let mut wrong = String::new();
        for answer in answers.iter().filter(|a| !a.starts_with("0 ")) {
            let _ = writeln!(wrong, "{answer}");
        }
        (lines.len(), wrong)
    }
}

fn is_there(program: &str) -> bool {
    let there = Path::new(program).exists();
    if !there {
        println!("SKIPPED: {program} is missing (Debian: apt install pcs crmsh)");
    }
    there
}

#[tokio::test]
async fn debians_pcs_and_crmsh_drive_three_nodes() {
    let lists = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/debian");
    let programs = [("/usr/sbin/pcs", "pcs.txt"), ("/usr/sbin/crm", "crm.txt")];
    if !programs.iter().all(|(program, _)| is_there(program)) {
        return;
    }
    let cluster = Cluster::start(&["d1", "d2", "d3"]).await;
    let theirs = Theirs::new(&cluster);
    let mut failed = String::new();
    for (program, list) in programs {
        let lines = &std::fs::read_to_string(lists.join(list)).expect("a list");
        let (count, wrong) = theirs.failing("d1", lines).await;
        println!("{program}: {count} lines");
        assert!(count >= 80, "{program}: {count} lines are few");
        if !wrong.is_empty() {
            let _ = writeln!(failed, "{program}:\n{wrong}");
        }
    }
    assert!(failed.is_empty(), "{failed}{}", cluster.logs());
    // What they did has reached the other nodes.
    let (code, text, _) = cluster.command("d3", &["cibadmin", "-Q", "--xpath", "//primitive[@id='kept']"]);
    assert!(code == 0 && text.contains("Dummy"), "{text}");
}
