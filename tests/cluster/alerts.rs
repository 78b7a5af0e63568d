//! Alert agents of real nodes: what they are told, and that one that hangs or floods is never in the way.

use crate::fixture::{self, Cluster, cib_call, post};
use crate::root::root;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use wire::api::{CibOp, CibReply};

const NODES: [&str; 2] = ["n1", "n2"];
/// Writes its whole environment into a file of its own call, complete when it appears.
const WRITES: &str = r#"#!/bin/sh
file="$CRM_alert_recipient/$CRM_alert_node_sequence.$$"
env | sort > "$file.tmp" && mv "$file.tmp" "$file.env"
"#;
/// Neither it nor its child can be asked to end; the child is known by the file that it looks at.
const HANGS: &str = r#"#!/bin/sh
trap '' TERM
echo x >> "$CRM_alert_recipient/children"
tail -f "$CRM_alert_recipient/children" > /dev/null &
wait
sleep 600
"#;
const FLOODS: &str = "#!/bin/sh\nhead -c 20000000 /dev/zero\nhead -c 20000000 /dev/zero >&2\necho x >> \"$CRM_alert_recipient/flooded\"\n";
const CONFIG: &str = r#"<configuration><crm_config><cluster_property_set id="o">
    <nvpair id="o-f" name="stonith-enabled" value="false"/><nvpair id="o-q" name="no-quorum-policy" value="ignore"/>
    </cluster_property_set></crm_config><nodes/><resources>
    <primitive id="d" class="ocf" provider="pacemaker" type="Dummy"><operations>
        <op id="d-m" name="monitor" interval="1s"/></operations></primitive></resources><constraints/>ALERTS</configuration>"#;

/// Where agents of another user can write and be read.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let place = Place { dir: tempfile::tempdir().expect("a directory") };
        open(place.dir.path(), 0o777);
        for (name, text) in [("writes", WRITES), ("hangs", HANGS), ("floods", FLOODS)] {
            place.agent(name, text);
        }
        place
    }

    fn agent(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("written");
        open(&self.path(name), 0o755);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn alert(&self, id: &str, agent: &str, inner: &str) -> String {
        let to = self.path(&format!("{id}.out"));
        let _ = std::fs::create_dir(&to);
        open(&to, 0o777);
        let (path, to) = (self.path(agent).display().to_string(), to.display().to_string());
        format!("<alert id=\"{id}\" path=\"{path}\">{inner}<recipient id=\"{id}-r\" value=\"{to}\"/></alert>")
    }

    /// The environments that were written, by `CRM_alert_node_sequence` of their node.
    fn told(&self, id: &str) -> Vec<BTreeMap<String, String>> {
        let files = std::fs::read_dir(self.path(&format!("{id}.out"))).into_iter().flatten().flatten();
        let done = files.map(|f| f.path()).filter(|p| p.extension().is_some_and(|e| e == "env"));
        let mut all: Vec<_> = done.map(|p| environment(&p)).collect();
        all.sort_by_key(|e| e.get("CRM_alert_node_sequence").and_then(|s| s.parse::<u64>().ok()));
        all
    }
}

fn open(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
}

fn environment(file: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(file).expect("readable");
    text.lines().filter_map(|l| l.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

fn configure(cluster: &Cluster, alerts: &str) {
    let config = CONFIG.replace("ALERTS", &format!("<alerts>{alerts}</alerts>"));
    let call = cib_call(CibOp::Replace, "configuration", Some(config));
    let reply: CibReply = post(&cluster.run_dir("n1"), "cib", &call, fixture::PATIENCE).expect("an answer");
    assert_eq!(reply.code, 0, "{reply:?}");
}

fn of_kind<'a>(
    all: &'a [BTreeMap<String, String>],
    kind: &str,
    what: &[(&str, &str)],
) -> Vec<&'a BTreeMap<String, String>> {
    let is = |e: &BTreeMap<String, String>, name: &str, value: &str| {
        e.get(&format!("CRM_alert_{name}")).map(String::as_str) == Some(value)
    };
    all.iter().filter(|e| is(e, "kind", kind) && what.iter().all(|(n, v)| is(e, n, v))).collect()
}

/// Processes with that file in their command line.
fn watching(file: &Path) -> usize {
    let wanted = file.display().to_string();
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = |p: &std::fs::DirEntry| {
        std::fs::read(p.path().join("cmdline")).is_ok_and(|c| String::from_utf8_lossy(&c).contains(&wanted))
    };
    all.filter(names).count()
}

fn started_on(cluster: &Cluster) -> Option<&'static str> {
    NODES.into_iter().find(|n| cluster.run_dir(n).join("agents/Dummy-d.state").exists())
}

/// Names without the prefix of what an agent is told.
fn names(environment: &BTreeMap<String, String>) -> Vec<&str> {
    environment.keys().filter_map(|n| n.strip_prefix("CRM_alert_")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_told_what_pacemaker_documents() {
    let Some(()) = root() else { return };
    let place = Place::new();
    let mut cluster = Cluster::start(&NODES).await;
    let all = "<select><select_nodes/><select_resources/><select_fencing/><select_attributes/></select>";
    let own = "<instance_attributes id=\"i\"><nvpair id=\"i-d\" name=\"debug_exec_order\" value=\"true\"/></instance_attributes>\
         <meta_attributes id=\"m\"><nvpair id=\"m-f\" name=\"timestamp-format\" value=\"%Y|%3N\"/></meta_attributes>";
    let filtered = "<select><select_attributes><attribute id=\"at\" name=\"colour\"/></select_attributes></select>";
    configure(
        &cluster,
        &(place.alert("all", "writes", &format!("{own}{all}")) + &place.alert("one", "writes", filtered)),
    );

    let at = cluster.until("the resource runs", || started_on(&cluster)).await;
    let events = cluster
        .until("its start is told", || {
            let told = place.told("all");
            (of_kind(&told, "resource", &[("task", "monitor"), ("interval", "1000")]).len() == 1).then_some(told)
        })
        .await;
    let start = of_kind(&events, "resource", &[("task", "start")]);
    assert_eq!(start.len(), 1, "one start, told by the node that ran it: {start:?}");
    let start = start[0];
    let common =
        ["kind", "node", "node_sequence", "recipient", "timestamp", "timestamp_epoch", "timestamp_usec", "version"];
    let mut wanted: Vec<&str> = common.to_vec();
    wanted.extend(["desc", "exec_time", "interval", "rc", "rsc", "status", "target_rc", "task"]);
    wanted.sort_unstable();
    assert_eq!(names(start), wanted);
    let value = |name: &str| start[&format!("CRM_alert_{name}")].as_str();
    assert_eq!(
        [value("node"), value("rsc"), value("rc"), value("target_rc"), value("status"), value("desc")],
        [at, "d", "0", "0", "0", "OK"]
    );
    assert_eq!(start["CRM_notify_rsc"], "d");
    assert_eq!(start["debug_exec_order"], "true");
    let (year, fraction) = value("timestamp").split_once('|').expect("the format asked for");
    assert!(year.len() == 4 && value("timestamp_usec").starts_with(fraction), "{start:?}");
    let probes = of_kind(&events, "resource", &[("task", "monitor"), ("interval", "0")]);
    assert!(probes.is_empty(), "probes that find what was expected are not told: {probes:?}");

    for (value, changes) in [("red", 1), ("red", 1), ("blue", 2)] {
        let (code, _, error) = cluster.command("n2", &["attrd_updater", "-n", "colour", "-U", value]);
        assert_eq!(code, 0, "{error}");
        cluster.until("the change is told", || (place.told("one").len() == changes).then_some(())).await;
    }
    let one = place.told("one");
    assert!(one.iter().all(|e| e["CRM_alert_attribute_name"] == "colour"), "{one:?}");
    assert_eq!(of_kind(&one, "attribute", &[("attribute_value", "blue"), ("node", "n2"), ("nodeid", "2")]).len(), 1);

    cluster.kill("n2").await;
    let lost = [("node", "n2"), ("desc", "lost"), ("nodeid", "2")];
    cluster.until("the loss is told", || (of_kind(&place.told("all"), "node", &lost).len() == 1).then_some(())).await;
}

/// Hanging and flooding agents beside one that works, with a resource that is moved to and fro meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_hangs_or_floods_is_in_nobodys_way() {
    let Some(()) = root() else { return };
    let place = Place::new();
    let mut cluster = Cluster::start(&NODES).await;
    let short = "<meta_attributes id=\"hm\"><nvpair id=\"hm-t\" name=\"timeout\" value=\"1s\"/></meta_attributes>";
    let attributes = "<select><select_attributes/></select>";
    let hanging = place.alert("h", "hangs", &format!("{short}{attributes}"));
    configure(&cluster, &(hanging + &place.alert("f", "floods", "") + &place.alert("w", "writes", "")));
    let at = cluster.until("the resource runs", || started_on(&cluster)).await;

    // Far more than an agent can take that needs a second for each.
    for n in 0..150 {
        let (code, _, error) = cluster.command("n1", &["attrd_updater", "-n", "load", "-U", &n.to_string()]);
        assert_eq!(code, 0, "{error}");
    }
    let (code, _, error) = cluster.command("n1", &["crm_standby", "-N", at, "-v", "on"]);
    assert_eq!(code, 0, "{error}");
    let other = if at == "n1" { "n2" } else { "n1" };
    cluster.until("it moves", || (started_on(&cluster) == Some(other)).then_some(())).await;
    let moved = [("task", "start"), ("node", other)];
    cluster
        .until("and that is told", || (of_kind(&place.told("w"), "resource", &moved).len() == 1).then_some(()))
        .await;
    cluster.until("the flood ends", || place.path("f.out/flooded").exists().then_some(())).await;

    let dropped = |cluster: &Cluster| NODES.iter().map(|n| cluster.counter(n, "alerts.dropped")).sum::<u64>();
    let waiting = |cluster: &Cluster| NODES.iter().map(|n| cluster.counter(n, "alerts.waiting")).max();
    assert!(dropped(&cluster) > 0, "what it cannot take is dropped and counted");
    // A hundred for each of the three recipients, and the call that is made.
    assert!(waiting(&cluster).is_some_and(|n| n <= 3 * 101), "{:?}", waiting(&cluster));
    let coordinator = NODES.iter().find(|n| cluster.counter(n, "alerts.dropped") > 0).expect("one of them");
    let said = || cluster.status(coordinator)?.warnings.into_iter().find(|w| w.contains("alert h to h-r"));
    let said = cluster.until("status says whose calls are dropped", said).await;
    assert!(said.contains("calls were dropped"), "{said}");

    let children = place.path("h.out/children");
    let calls = || std::fs::read_to_string(&children).unwrap_or_default().lines().count();
    cluster.until("several calls have hung", || (calls() >= 3).then_some(())).await;
    assert!(watching(&children) <= 1, "a call ends with all that it started before the next one begins");
    for node in NODES {
        cluster.signal(node, nix::sys::signal::Signal::SIGTERM);
        let ended =
            tokio::time::timeout(fixture::PATIENCE, cluster.daemons.get_mut(node).expect("a daemon").wait()).await;
        assert!(ended.is_ok(), "a node ends while agents hang: {}", cluster.logs());
    }
    cluster.until("nothing is left of the agents", || (watching(&children) == 0).then_some(())).await;
}

/// The sample agents of Pacemaker's package, where it is installed or its files are named by `ALERT_SAMPLES`.
#[tokio::test(flavor = "multi_thread")]
async fn the_stock_sample_writes_its_file() {
    let Some(()) = root() else { return };
    let samples = std::env::var("ALERT_SAMPLES").unwrap_or_else(|_| "/usr/share/pacemaker/alerts".to_owned());
    let Ok(text) = std::fs::read_to_string(Path::new(&samples).join("alert_file.sh.sample")) else {
        println!("SKIPPED: {samples}/alert_file.sh.sample is not there");
        return;
    };
    let place = Place::new();
    place.agent("alert_file.sh", &text);
    let file = place.path("log");
    std::fs::write(&file, "").expect("written");
    open(&file, 0o666);
    let mut cluster = Cluster::start(&NODES).await;
    let (path, to) = (place.path("alert_file.sh").display().to_string(), file.display().to_string());
    configure(&cluster, &format!("<alert id=\"s\" path=\"{path}\"><recipient id=\"s-r\" value=\"{to}\"/></alert>"));
    let at = cluster.until("the resource runs", || started_on(&cluster)).await;
    let has = |what: String| std::fs::read_to_string(&file).unwrap_or_default().contains(&what).then_some(());
    cluster.until("the start is written", || has(format!("Resource operation 'start' for 'd' on '{at}': OK"))).await;
    let other = if at == "n1" { "n2" } else { "n1" };
    cluster.kill(other).await;
    cluster.until("the loss is written", || has(format!("Node '{other}' is now 'lost'"))).await;
}
