//! What others of the host see of a running node: its files, its processes, and what its commands print. One is nobody; one is a
//! member of haclient whom a role lets read everything but secrets; one is root, who looks into the daemon's memory for the key.

use crate::fixture::{BASCULE, Cluster, PATIENCE, cib_call, post};
use crate::root::root;
use nix::unistd::Pid;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use wire::api::{CibOp, CibReply};

/// In the CIB, and in files of the node; of a resource and of fence devices.
const SECRETS: [&str; 4] = ["s3cret-of-the-CIB", "s3cret-of-a-file", "s3cret-of-fencing", "s3cret-of-the-switch"];
/// An agent that is seen running, and that writes down whether it was told its secrets.
const AGENT: &str = r#"#!/bin/sh
state="${HA_VARRUN%%/}/$OCF_RESOURCE_INSTANCE.state"
case "$1" in
    start) touch "$state"; [ "$OCF_RESKEY_passwd/$OCF_RESKEY_password2" = "s3cret-of-the-CIB/s3cret-of-a-file" ] && touch "$state.told"; exit 0 ;;
    stop) rm -f "$state" ;;
    monitor) [ -e "$state" ] || exit 7; sleep 2; exit 0 ;;
    *) exit 3 ;;
esac
"#;
/// One that writes down the same, and tells all that it knows when its monitor fails.
const FENCE_AGENT: &str = r#"#!/bin/sh
if [ "$1 $2" = "-o metadata" ]; then
    echo '<resource-agent name="fence_s"><parameters/><actions><action name="off"/><action name="monitor"/></actions></resource-agent>'
    exit 0
fi
while IFS='=' read -r name value; do
    case "$name" in action | passwd | password | ip) eval "$name=\$value" ;; esac
done
[ "$passwd/$password" = "s3cret-of-fencing/s3cret-of-the-switch" ] && touch "$0.$action.told"
[ "$ip" = broken ] && { echo "$ip: no login with $passwd or $password" >&2; exit 1; }
sleep 1
exit 0
"#;
const CONFIG: &str = r#"<configuration><crm_config><cluster_property_set id="o">
    <nvpair id="o-f" name="stonith-enabled" value="false"/><nvpair id="o-q" name="no-quorum-policy" value="ignore"/>
    <nvpair id="o-a" name="enable-acl" value="true"/></cluster_property_set></crm_config><nodes/><resources>
    <primitive id="db" class="ocf" provider="test" type="db"><instance_attributes id="p">
    <nvpair id="p1" name="passwd" value="s3cret-of-the-CIB"/><nvpair id="p2" name="password2" value="lrm://"/></instance_attributes>
    <operations><op id="m" name="monitor" interval="1s"/></operations></primitive>
    <primitive id="good" class="stonith" type="fence_s"><instance_attributes id="f"><nvpair id="f1" name="passwd" value="s3cret-of-fencing"/>
    <nvpair id="f2" name="password" value="lrm://"/><nvpair id="f3" name="pcmk_host_list" value="n9"/></instance_attributes>
    <operations><op id="fm" name="monitor" interval="2s"/></operations></primitive>
    <primitive id="broken" class="stonith" type="fence_s"><instance_attributes id="g"><nvpair id="g1" name="passwd" value="s3cret-of-fencing"/>
    <nvpair id="g2" name="password" value="lrm://"/><nvpair id="g3" name="ip" value="broken"/></instance_attributes></primitive>
    </resources><constraints/><acls>
    <acl_role id="reader"><acl_permission id="r-read" kind="read" xpath="/cib"/>
    <acl_permission id="r-secrets" kind="deny" xpath="//nvpair[starts-with(@name,'passw')]"/></acl_role>
    <acl_target id="t" name="61999"><role id="reader"/></acl_target></acls></configuration>"#;
const NOBODY: u32 = 65_534;
/// Of no user of this system; the target of the role.
const READER: u32 = 61_999;
/// `CAP_NET_ADMIN` alone.
const NET_ADMIN_ONLY: &str = "0000000000001000";

/// What a command of a user without any rights prints.
fn as_nobody(words: &[&str]) -> String {
    let mut command = Command::new(words[0]);
    let out = command.args(&words[1..]).uid(NOBODY).gid(NOBODY).output().expect("it runs");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn field(pid: Pid, name: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim().to_owned()
}

/// The process and all that it has started.
fn family(pid: Pid) -> Vec<Pid> {
    let mut all = vec![pid];
    let mut at = 0;
    while at < all.len() {
        let children = format!("/proc/{}/task/{}/children", all[at], all[at]);
        let tasks = std::fs::read_dir(format!("/proc/{}/task", all[at])).into_iter().flatten().flatten();
        let of_threads = tasks.map(|t| t.path().join("children"));
        for file in of_threads.chain([children.into()]) {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            for child in text.split_whitespace().filter_map(|p| p.parse().ok()).map(Pid::from_raw) {
                if !all.contains(&child) {
                    all.push(child);
                }
            }
        }
        at += 1;
    }
    all
}

fn command_line(pid: Pid) -> String {
    String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ")
}

fn tells_no_secret(what: &str, text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{what} tells {secret}:\n{text}");
    }
}

fn script(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
    std::fs::write(path, text).expect("written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("set");
}

/// A node that runs the resource and both devices, all with their secrets.
async fn start() -> Cluster {
    let mut cluster = Cluster::prepare(&["n1"]).await;
    script(&cluster.path("ocf/resource.d/test/db"), AGENT);
    script(&cluster.path("agents/fence_s"), FENCE_AGENT);
    let secrets = cluster.path("secrets");
    for (id, name, value) in
        [("db", "password2", SECRETS[1]), ("good", "password", SECRETS[3]), ("broken", "password", SECRETS[3])]
    {
        kernel::secrets::keep(&secrets, id, name, value).expect("kept");
    }
    cluster.env.insert("BASCULE_SECRETS_DIR", secrets.display().to_string());
    cluster.env.insert("BASCULE_FENCE_AGENTS", cluster.path("agents").display().to_string());
    // Nobody may look into the directory of a test; into that of a node everybody could.
    std::fs::set_permissions(cluster.path(""), std::fs::Permissions::from_mode(0o755)).expect("set");
    cluster.start_node("n1");
    cluster.wait_for_ring(&["n1"]).await;
    let call = cib_call(CibOp::Replace, "configuration", Some(CONFIG.to_owned()));
    let done: CibReply = post(&cluster.run_dir("n1"), "cib", &call, PATIENCE).expect("an answer");
    assert_eq!(done.code, 0, "{done:?}");
    for told in [cluster.var_dir("n1").join("db.state.told"), cluster.path("agents/fence_s.monitor.told")] {
        cluster.until("agents are told all their secrets", || told.exists().then_some(())).await;
    }
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn others_read_nothing_secret_from_files_processes_and_commands() {
    let Some(()) = root() else { return };
    let cluster = start().await;
    let monitor = |pid: &Pid| command_line(*pid).contains("resource.d/test/db monitor");
    let pid = cluster.pid("n1");
    let processes = cluster.until("a monitor runs", || Some(family(pid)).filter(|f| f.iter().any(monitor))).await;
    processes_of(pid, &processes);
    files(&cluster);

    // What an agent says of its secrets goes to log, history and status without them.
    let said = "no login with (hidden) or (hidden)";
    let status = || cluster.command("n1", &["crm_mon", "-1", "--inactive"]).1;
    cluster.until("the failure is shown", || status().contains(said).then_some(())).await;
    let logs = std::fs::read_to_string(cluster.path("n1.log")).expect("a log");
    tells_no_secret("the log", &logs);
    tells_no_secret("the timeline", &format!("{:?}", cluster.timeline("n1")));
    views(&cluster);
    a_member_with_a_role(&cluster);
    the_key_is_not_in_memory(&cluster, pid);
}

/// What people look at hides secrets from root too; what is read back by a command does not.
fn views(cluster: &Cluster) {
    for words in [
        "crm_mon -1 --group-by-node --inactive -A -f -o -n",
        "crm_mon --output-as=xml",
        "pcs resource config",
        "pcs stonith config",
        "pcs config",
        "pcs status --full",
        "crm configure show",
        "crm configure show xml",
        "crm_verify -L -V",
        "crm_simulate -L -S -s",
        "stonith_admin -L",
        "explain db",
    ] {
        let (_, out, error) = cluster.command("n1", &words.split(' ').collect::<Vec<_>>());
        tells_no_secret(words, &(out + &error));
    }
    let saved = cluster.path("saved.crm");
    let file = saved.display().to_string();
    let root = |words: &[&str]| {
        let (code, out, error) = cluster.command("n1", words);
        assert_eq!(code, 0, "{words:?}: {out}{error}");
        out
    };
    assert!(root(&["pcs", "stonith", "config", "good"]).contains("passwd=******"));
    for words in
        [&["cibadmin", "-Q"][..], &["crm_resource", "-r", "db", "-q"], &["crm_resource", "-r", "db", "-g", "passwd"]]
    {
        assert!(root(words).contains(SECRETS[0]), "{words:?}: root reads what it writes back");
    }
    root(&["crm", "configure", "save", &file]);
    assert!(std::fs::read_to_string(&saved).expect("saved").contains(SECRETS[2]));
    assert_eq!(std::fs::metadata(&saved).expect("saved").permissions().mode() & 0o777, 0o600);
    // A list that was taken for a configuration would destroy what it hides.
    std::fs::write(&saved, root(&["crm", "configure", "show"])).expect("written");
    let (code, _, error) = cluster.command("n1", &["crm", "-F", "configure", "load", "replace", &file]);
    assert!(code != 0 && error.contains("stands in lists in place of a secret"), "{code} {error}");
    assert!(root(&["cibadmin", "-Q"]).contains(SECRETS[0]));
}

/// Whom the ACLs let read all but secrets gets none, by files or by commands, whatever form they have.
fn a_member_with_a_role(cluster: &Cluster) {
    let Ok(Some(group)) = nix::unistd::Group::from_name("haclient") else {
        return eprintln!("SKIPPED in part: there is no group haclient");
    };
    let member = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env("BASCULE_RUN_DIR", cluster.run_dir("n1")).env("CIB_user", "root");
        let out = command.uid(READER).gid(group.gid.as_raw()).output().expect("it runs");
        (
            out.status.success(),
            String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr),
        )
    };
    let place = cluster.path("").display().to_string();
    let wide = "find \"$1\" -type f -readable ! -path '*/agents/*' ! -path '*/ocf/*' -exec cat {} +";
    let (_, everything) = member(&["sh", "-c", wide, "sh", &place]);
    assert!(everything.contains("nodelist"), "what is readable is read: {everything}");
    tells_no_secret("a file of the node", &everything);
    for words in [
        "cibadmin -Q",
        "cibadmin -Q -A //nvpair",
        "cibadmin -Q -A //nvpair[starts-with(@value,'s3cret')]",
        "cibadmin -Q -o resources",
        "crm_resource -r db -q",
        "crm_resource -r db -g passwd",
        "crm_mon -1 -A -f -o -n",
        "crm_mon --output-as=xml",
        "pcs cluster cib",
        "pcs resource config",
        "pcs stonith config",
        "crm configure show",
        "crm configure show xml",
        "crm configure save /dev/stdout",
        "crm_simulate -L -S -s",
        "crm_verify -L -V",
        "stonith_admin -L",
        "stonith_admin -V --history *",
        "cibsecret get db password2",
        "explain db",
        "doctor",
    ] {
        let all: Vec<&str> = [BASCULE].into_iter().chain(words.split(' ')).collect();
        tells_no_secret(words, &member(&all).1);
    }
    let (done, said) = member(&[BASCULE, "cibadmin", "-Q", "-o", "resources"]);
    assert!(
        done && said.contains("pcmk_host_list") && !said.contains("\"passwd\""),
        "the rest is for the reader: {said}"
    );
}

/// The file's bytes are wiped as soon as the ring's keys are made of them: root itself finds them nowhere in the daemon.
fn the_key_is_not_in_memory(cluster: &Cluster, pid: Pid) {
    let key = std::fs::read(cluster.path("authkey")).expect("the key");
    let marker = b"/v1/timeline";
    let (mut keys, mut markers) = (0, 0);
    for region in regions(pid) {
        let holds = |what: &[u8]| region.windows(what.len()).any(|w| w == what);
        keys += usize::from(key.chunks_exact(32).any(holds));
        markers += usize::from(holds(marker));
    }
    assert!(markers > 0, "the memory was read at all");
    assert_eq!(keys, 0, "the authkey's bytes are in {keys} regions of the daemon's memory");
}

/// What the process has in memory, as far as it is its own.
fn regions(pid: Pid) -> Vec<Vec<u8>> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps");
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).expect("root looks into it");
    let mut found = Vec::new();
    for line in maps.lines().filter(|l| !l.contains("[v")) {
        let (range, rest) = line.split_once(' ').expect("a line of maps");
        let (from, to) = range.split_once('-').expect("a range");
        let number = |text: &str| u64::from_str_radix(text, 16).expect("an address");
        if !rest.starts_with('r') {
            continue;
        }
        let mut bytes = vec![0; (number(to) - number(from)) as usize];
        // Reserved stretches read as zeros or not at all.
        if let Ok(length) = memory.read_at(&mut bytes, number(from)) {
            bytes.truncate(length);
            found.push(bytes);
        }
    }
    found
}

/// Nothing that a node has written can be read; none of its directories can be looked into.
fn files(cluster: &Cluster) {
    for dir in [cluster.run_dir("n1"), cluster.state_dir("n1"), cluster.path("secrets")] {
        let readable = |dir: &Path| as_nobody(&["find", &dir.display().to_string(), "-readable"]);
        assert_eq!(readable(&dir), "", "{}", dir.display());
        // Also where the way in stands open, each file is closed by itself.
        let mode = std::fs::metadata(&dir).expect("there").permissions().mode() & 0o777;
        assert!([0o750, 0o700].contains(&mode), "{}", dir.display());
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).expect("set");
        let found = as_nobody(&["find", &dir.display().to_string(), "-type", "f", "-readable"]);
        let sockets = as_nobody(&["find", &dir.display().to_string(), "-type", "s", "-writable"]);
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(mode)).expect("set");
        assert_eq!(sockets, "", "nobody speaks to the daemon");
        for file in found.lines() {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            tells_no_secret(file, &text);
            assert!(!file.contains("cib") && !file.contains("instances"), "{file} can be read");
        }
    }
    assert_eq!(as_nobody(&["cat", &cluster.path("authkey").display().to_string()]), "");
}

fn processes_of(daemon: Pid, processes: &[Pid]) {
    let (mut guards, mut workers) = (0, 0);
    for pid in processes {
        // All that the kernel says of a process, and of its threads.
        let all = "find \"/proc/$1\" -maxdepth 3 -type f -readable -exec head -c 1000000 {} + 2>/dev/null";
        tells_no_secret(&format!("/proc/{pid}"), &as_nobody(&["sh", "-c", all, "sh", &pid.to_string()]));
        let of = |file: &str| as_nobody(&["cat", &format!("/proc/{pid}/{file}")]);
        assert_eq!(of("environ"), "", "the environment of {}", command_line(*pid));
        assert_eq!(as_nobody(&["ls", &format!("/proc/{pid}/fd")]), "", "open files of {}", command_line(*pid));
        assert_eq!(as_nobody(&["head", "-c", "1", &format!("/proc/{pid}/mem")]), "");
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
        let core =
            limits.lines().find(|l| l.starts_with("Max core file size")).unwrap_or("Max core file size 0 0 gone");
        let core: Vec<&str> = core["Max core file size".len()..].split_whitespace().collect();
        assert_eq!(core[..2], ["0", "0"], "core files of {}", command_line(*pid));
        if command_line(*pid).contains(" guard ") {
            guards += 1;
            for set in ["CapEff", "CapPrm", "CapBnd"] {
                assert_eq!(field(*pid, set), NET_ADMIN_ONLY, "{set} of the guard");
            }
            assert_eq!((field(*pid, "Seccomp"), field(*pid, "NoNewPrivs")), ("2".to_owned(), "1".to_owned()));
        }
        // It is handed the whole configuration, and computes.
        if command_line(*pid).contains("schedule-worker") {
            workers += 1;
            for set in ["CapEff", "CapPrm", "CapBnd"] {
                assert_eq!(field(*pid, set), "0000000000000000", "{set} of the scheduler's process");
            }
            assert_eq!((field(*pid, "Seccomp"), field(*pid, "NoNewPrivs")), ("2".to_owned(), "1".to_owned()));
        }
    }
    assert_eq!(workers, 1, "the scheduler's process was among {processes:?} of {daemon}");
    assert_eq!(guards, 1, "a guard was among {processes:?} of {daemon}");
    // The daemon belongs to root, and so do its files in /proc, since it may not be dumped.
    let owner =
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(format!("/proc/{daemon}/environ")).expect("there"));
    assert_eq!(owner, 0);
}
