//! What guides of the originals tell people to type, in order, at three real nodes: each line works, or is refused with a cure that
//! works when it is followed. The walk-throughs for `pcs` and for `crm`, and the tools beside them.

use crate::booth;
use crate::fixture::{BASCULE, Cluster};
use crate::root::root;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

const NODES: [&str; 3] = ["node1", "node2", "node3"];

/// A director's file as guides have it, without indentation.
const LDIRECTORD_CF: &str = "checktimeout=10\ncheckinterval=2\nautoreload=yes\nquiescent=yes\nvirtual=10.77.0.100:80\nreal=192.168.1.1:80 masq\n\
    real=192.168.1.2:80 masq\nfallback=127.0.0.1:80\nservice=http\nrequest=\"index.html\"\nscheduler=rr\nprotocol=tcp\nchecktype=negotiate\n";
/// An LSB script as guides have it: it knows no `status`, and its `stop` always ends well.
const GOHTTPD: &str = "#!/bin/sh\ncase \"$1\" in\nstart) exit 0 ;;\nstop) exit 0 ;;\n*) echo usage; exit 2 ;;\nesac\n";

/// What the operator's host looks like; each line answers with its code and what it said.
const STAGE: &str = r#"
set -e
hostname "$NODE"
mount --bind "$FILES/corosync" /etc/corosync
mount --bind "$FILES/hosts" /etc/hosts
[ ! -d /etc/ha.d ] || mount --bind "$FILES/ha.d" /etc/ha.d
[ ! -d /etc/booth ] || mount --bind "$FILES/booth" /etc/booth
[ ! -d /etc/init.d ] || mount --bind "$FILES/init.d" /etc/init.d
mkdir -p /var/lib/pacemaker
mount -t tmpfs tmpfs /var/lib/pacemaker
mkdir -p /var/lib/pacemaker/cib /var/lib/pacemaker/lrm/secrets
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/run && mount --bind "$RUN" /mnt/run
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/bascule /run/lock /run/resource-agents /run/booth
chmod 777 /run/booth
mount --bind /mnt/run /run/bascule
PATH="$LINKS:$PATH"
cd "$WORK"
set +e
while IFS= read -r line; do
    case $line in *booth*) export LD_PRELOAD="$BEFORE_BOOTH" ;; *) unset LD_PRELOAD ;; esac
    timeout 120 sh -c "$line" >out 2>&1 </dev/null
    echo "::$? $line"
    head -c 20000 out
    echo
done <"$LINES_FILE"
"#;

/// A cluster and an operator's host of it.
struct Guide {
    cluster: Cluster,
    files: PathBuf,
}

struct Answer {
    code: i32,
    said: String,
}

impl Guide {
    async fn start() -> Guide {
        let mut cluster = Cluster::prepare(&NODES).await;
        let files = cluster.path("etc");
        for dir in ["corosync", "ha.d", "booth", "init.d", "work"] {
            std::fs::create_dir_all(files.join(dir)).expect("a directory");
        }
        for file in ["corosync.conf", "authkey"] {
            std::fs::copy(cluster.path(file), files.join("corosync").join(file)).expect("copied");
        }
        let mut hosts = "127.0.0.1 localhost\n".to_owned();
        (1..).zip(NODES).for_each(|(n, name)| hosts += &format!("10.77.0.{n} {name}\n"));
        std::fs::write(files.join("hosts"), hosts).expect("written");
        std::fs::write(files.join("ha.d/ldirectord.cf"), LDIRECTORD_CF).expect("written");
        let script = files.join("init.d/gohttpd");
        std::fs::write(&script, GOHTTPD).expect("written");
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("set");
        cluster.words = vec!["--data-plane", "relay"];
        cluster.etc = ["ha.d", "init.d", "hosts"].map(|name| (files.join(name), Path::new("/etc").join(name))).into();
        cluster.env.insert("BASCULE_SECRETS_DIR", files.join("secrets").display().to_string());
        let made = std::process::Command::new(BASCULE).arg("links").arg(files.join("links")).output();
        assert!(made.expect("links are made").status.success());
        booth::netlink_end(&files);
        NODES.iter().for_each(|name| cluster.start_node(name));
        cluster.wait_for_ring(&NODES).await;
        Guide { cluster, files }
    }

    /// What each line comes to, typed at a node.
    async fn typed(&self, node: &str, lines: &[&str]) -> Vec<Answer> {
        let work = self.files.join("work");
        let list = self.files.join("lines");
        std::fs::write(&list, lines.join("\n") + "\n").expect("written");
        let mut command = tokio::process::Command::new("unshare");
        command.args(["-m", "-u", "sh", "-c", STAGE]);
        command.env("FILES", &self.files).env("LINKS", self.files.join("links")).env("WORK", &work).env("HOME", &work);
        command.env("RUN", self.cluster.run_dir(node)).env("LINES_FILE", &list).env("NODE", node);
        command.env("BASCULE_STATE_DIR", self.cluster.state_dir(node)).env("TERM", "dumb").env("TZ", "UTC");
        command.env("BASCULE_SECRETS_DIR", self.files.join("secrets"));
        command.env("BEFORE_BOOTH", self.files.join("netlink_end.so"));
        command.env_remove("BASCULE_RUN_DIR").env_remove("CIB_file");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = self.cluster.lab.host(node).expect("a host").spawn(&mut command).expect("a shell");
        let ended = child.wait_with_output().await.expect("it ends");
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(ended.status.success(), "{said}{}", String::from_utf8_lossy(&ended.stderr));
        let answers: Vec<Answer> = said.split("\n::").map(|a| a.trim_start_matches("::")).map(answer).collect();
        assert_eq!(answers.len(), lines.len(), "each line answers: {said}");
        answers
    }

    /// A list of [`guides`](self); gives what did not go as it is written there.
    async fn follow(&self, list: &str, may: impl Fn(&str) -> bool) -> (usize, String) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/guides").join(list);
        let text = std::fs::read_to_string(path).expect("a list");
        let all: Vec<(char, &str, &str)> = text
            .lines()
            .filter(|l| !l.is_empty() && !l.starts_with("# ") && may(l))
            .map(|l| match l.split_at(2) {
                ("! ", line) => ('!', line, ""),
                ("> ", line) => {
                    let (line, named) = line.split_once("  # ").expect("words of the refusal");
                    ('>', line, named)
                }
                _ => ('=', l, ""),
            })
            .collect();
        let lines: Vec<&str> = all.iter().map(|(_, line, _)| *line).collect();
        let answers = self.typed(NODES[0], &lines).await;
        let mut wrong = String::new();
        let mut refusal = "";
        for ((kind, line, named), answer) in all.iter().zip(&answers) {
            let sound = match kind {
                '!' => answer.code != 0 && answer.code < 124 && !answer.said.contains("not implemented"),
                '>' => answer.code == 0 && refusal.contains(named),
                _ => answer.code == 0,
            };
            if !sound {
                let _ = writeln!(wrong, "{kind} {line}\n  ended with {}: {}", answer.code, answer.said);
            }
            refusal = if *kind == '!' { &answer.said } else { refusal };
        }
        (lines.len(), wrong)
    }
}

fn answer(text: &str) -> Answer {
    let (head, said) = text.split_once('\n').unwrap_or((text, ""));
    let code = head.split(' ').next().unwrap_or_default();
    Answer { code: code.parse().unwrap_or(-1), said: said.trim_end().to_owned() }
}

fn booth_is_there(line: &str) -> bool {
    let there = Path::new("/usr/sbin/boothd").exists() && Path::new("/etc/booth").is_dir();
    if !there && line.contains("booth") {
        println!("SKIPPED: {line}: boothd is missing (Debian: apt install booth-pacemaker)");
    }
    there || !line.contains("booth")
}

async fn follow(list: &str) -> Guide {
    let guide = Guide::start().await;
    let (count, wrong) = guide.follow(list, booth_is_there).await;
    println!("{list}: {count} lines");
    assert!(wrong.is_empty(), "{wrong}{}", guide.cluster.logs());
    guide
}

#[tokio::test(flavor = "multi_thread")]
async fn the_walk_through_for_pcs() {
    let Some(()) = root() else { return };
    let mut guide = follow("pcs.txt").await;
    // What must follow: the group stays together, whichever node is stopped.
    for _ in 0..3 {
        let owner = together(&guide, &["virtual_ip", "my_lvs"], &NODES).await;
        guide.cluster.signal(owner, nix::sys::signal::Signal::SIGTERM);
        guide.cluster.daemons.get_mut(owner).expect("a daemon").wait().await.expect("it ended");
        let others: Vec<&'static str> = NODES.into_iter().filter(|n| *n != owner).collect();
        together(&guide, &["virtual_ip", "my_lvs"], &others).await;
        guide.cluster.start_node(owner);
        guide.cluster.wait_for_ring(&NODES).await;
    }
}

/// The one node that runs all of them.
async fn together(guide: &Guide, ids: &[&str], among: &[&'static str]) -> &'static str {
    guide
        .cluster
        .until(&format!("{ids:?} run on one of {among:?}"), || {
            let (code, text, _) = guide.cluster.command(among[0], &["crm_mon", "-1"]);
            let on = |id: &str| {
                let line = text.lines().find(|l| l.trim_start().starts_with(&format!("* {id}\t")))?;
                NODES.into_iter().find(|n| line.ends_with(&format!("Started {n}")))
            };
            let all: Vec<&'static str> = ids.iter().map(|id| on(id)).collect::<Option<_>>()?;
            (code == 0 && all.iter().all(|n| *n == all[0]) && among.contains(&all[0])).then(|| all[0])
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_walk_through_for_crm() {
    let Some(()) = root() else { return };
    let guide = follow("crm.txt").await;
    let (_, text, _) = guide.cluster.command("node3", &["crm", "configure", "show"]);
    for line in [
        "location webip_node webip inf: node2",
        "order webstart Mandatory: webip websrv",
        "primitive gohttpd lsb:gohttpd",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tools_of_guides() {
    let Some(()) = root() else { return };
    follow("tools.txt").await;
}
