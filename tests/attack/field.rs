//! The nodes under attack, whoever starts them again, and the clients around them.

use super::faults::Kind;
use super::probe::Probe;
use super::writer::Writer;
use crate::asker::Client;
use crate::disk::{Frozen, Volume};
use crate::fencing::AGENT;
use crate::fixture::{self, BASCULE, Cluster, cib_call, corosync_conf, get, post};
use lab::hosts::{HostSpec, vip_v4};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use wire::api::{CibOp, CibReply, Timeline};

const UNIT: &str = include_str!("../../configs/systemd/bascule.service");
/// After this a machine without power is there again.
const BOOTS: Duration = Duration::from_secs(2);
/// Longest run of a client's command.
const COMMAND_SECS: &str = "20";
/// What every write of the writer leaves in a timeline.
const QUIET: [&str; 3] = ["schedule", "transition", "transition_end"];
const LOOKS_EVERY: Duration = Duration::from_millis(10);

pub fn vip() -> IpAddr {
    vip_v4(100).into()
}

pub struct Field {
    /// Thawed first of all: who waits for that disk cannot be killed.
    pub frozen: Option<Frozen>,
    pub probe: Probe,
    pub asker: Client,
    pub writer: Writer,
    pub cluster: Cluster,
    pub volumes: BTreeMap<&'static str, Volume>,
    pub fencing: bool,
    /// Nobody starts these.
    pub held_down: BTreeSet<&'static str>,
    /// The fault is over: whoever has no power gets it back.
    calm: bool,
    powerless: BTreeMap<&'static str, Instant>,
    /// Daemons that have ended by themselves, and when.
    ended: BTreeMap<&'static str, Instant>,
    commands: Vec<Child>,
    /// Lines of the fence agent before this fault.
    fences_before: usize,
    /// What no unit would have started again.
    pub ended_for_good: BTreeMap<&'static str, i32>,
    pub twice: Vec<String>,
    pub stops: Vec<Result<(), String>>,
    /// Longest time for which clients may reach the address at two nodes, by case of the plan.
    stated: BTreeMap<String, u64>,
    /// What this machine cannot do.
    pub cannot: BTreeSet<Kind>,
}

impl Field {
    /// All nodes, the resources where they belong, and the clients.
    pub async fn start(names: &[&'static str], fencing: bool) -> Field {
        let (volumes, can_freeze) = volumes(names);
        let mut cluster = Cluster::prepare(names).await;
        cluster.lab.add_host(HostSpec::numbered("client", 50)).await.expect("a client");
        cluster.lab.add_network(1).await.expect("a network");
        let rings = corosync_conf(names).replace("ring0_addr: 10.77.0.", "ring0_addr: 10.77.1.");
        let two = if names.len() == 2 { "votequorum\n    two_node: 1\n    wait_for_all: 0\n" } else { "votequorum\n" };
        std::fs::write(cluster.path("corosync.conf"), rings.replace("votequorum\n", two)).expect("written");
        std::fs::create_dir_all(cluster.path("agents")).expect("made");
        std::fs::write(cluster.path("agents/fence_lab"), AGENT).expect("written");
        let runs = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(cluster.path("agents/fence_lab"), runs).expect("set");
        cluster.env.insert("BASCULE_FENCE_AGENTS", cluster.path("agents").display().to_string());
        cluster.state_dirs.extend(volumes.iter().map(|(name, volume)| (*name, volume.dir.clone())));
        let config = configuration(fencing, &cluster.path("").display().to_string());
        let cib = format!(
            "<cib crm_feature_set=\"3.20.0\" validate-with=\"pacemaker-4.0\" epoch=\"1\" num_updates=\"0\" admin_epoch=\"1\">{config}<status/></cib>"
        );
        std::fs::write(cluster.path("cib.xml"), cib).expect("written");
        names.iter().for_each(|n| cluster.start_node(n));
        cluster.wait_for_ring(names).await;
        let call = cib_call(CibOp::Replace, "configuration", Some(config));
        let reply: CibReply = post(&cluster.run_dir(names[0]), "cib", &call, fixture::PATIENCE).expect("an answer");
        assert_eq!(reply.code, 0, "{reply:?}");
        let client = cluster.lab.host("client").expect("a host");
        let asker = Client::start(client, vip()).await;
        let nodes = names.iter().map(|n| &cluster.lab.host(n).expect("a host").ns);
        let probe = Probe::start(&client.ns, nodes, vip());
        let writer = Writer::start(names.iter().map(|n| cluster.run_dir(n)).collect());
        let stated = stated(&cluster, names[0]);
        let mut field = Field {
            frozen: None,
            probe,
            asker,
            writer,
            cluster,
            volumes,
            fencing,
            held_down: BTreeSet::new(),
            calm: true,
            powerless: BTreeMap::new(),
            ended: BTreeMap::new(),
            commands: Vec::new(),
            fences_before: 0,
            ended_for_good: BTreeMap::new(),
            twice: Vec::new(),
            stops: Vec::new(),
            stated,
            cannot: BTreeSet::new(),
        };
        if !can_freeze {
            field.cannot.insert(Kind::HungDisk);
        }
        if !field.does_in_host(names[0], "nft list tables") {
            println!("SKIPPED: what goes one way only: no nftables here");
            field.cannot.insert(Kind::RingOneWay);
        }
        field.settle().await;
        field
    }

    async fn settle(&mut self) {
        let begin = Instant::now();
        while let Err(why) = super::properties::well(self).await {
            assert!(begin.elapsed() < fixture::PATIENCE, "never well: {why}\n{}", self.story());
            self.pass(Duration::from_millis(100)).await;
        }
    }

    /// What the plan states for this case; nothing is stated of what no node notices.
    pub fn stated(&self, case: Option<&str>) -> Duration {
        case.map_or(Duration::ZERO, |case| Duration::from_millis(self.stated[case]))
    }

    pub fn ring_address(&self, name: &str) -> IpAddr {
        let mut address = self.cluster.lab.host(name).expect("a host").spec.v4.octets();
        address[2] = 1;
        address.into()
    }

    pub async fn holder(&self) -> Option<&'static str> {
        let holders = self.cluster.lab.holders(vip()).await.expect("looked");
        let of = |n: &&&'static str| holders.len() == 1 && holders[0] == **n;
        self.cluster.names.iter().find(of).copied()
    }

    /// State file of an agent that only has such a file.
    pub fn has(&self, node: &str, resource: &str) -> bool {
        self.agents_dir(node).join(format!("Dummy-{resource}.state")).exists()
    }

    fn agents_dir(&self, node: &str) -> PathBuf {
        self.cluster.run_dir(node).join("agents")
    }

    pub fn pid(&self, node: &str) -> Option<Pid> {
        self.cluster.daemons.get(node).and_then(|d| d.id()).map(|id| Pid::from_raw(id as i32))
    }

    pub fn begin_fault(&mut self) {
        self.calm = false;
        self.fences_before = self.all_fences().len();
        self.twice.clear();
        self.stops.clear();
        self.ended_for_good.clear();
    }

    /// The fault is over: what was held down starts; what has no power gets it back.
    pub fn let_go(&mut self) {
        self.calm = true;
        for name in std::mem::take(&mut self.held_down) {
            if !self.powerless.contains_key(name) {
                self.cluster.start_node(name);
            }
        }
    }

    /// Time passes, while dead daemons are started again and power switches do what they were told.
    pub async fn pass(&mut self, duration: Duration) {
        let until = Instant::now() + duration;
        loop {
            self.glance().await;
            if Instant::now() >= until {
                return;
            }
            tokio::time::sleep(LOOKS_EVERY).await;
        }
    }

    async fn glance(&mut self) {
        for name in self.cluster.names.clone() {
            if self.cluster.path(&format!("power.{name}")).exists() {
                self.power_off(name).await;
            }
            let off_for = self.powerless.get(name).map(Instant::elapsed);
            if self.calm && off_for.is_some_and(|d| d >= BOOTS) {
                self.powerless.remove(name);
                self.ended_for_good.remove(name);
                self.cluster.lab.plug(name).await.expect("a port");
                self.cluster.lab.plug_into(name, 1).await.expect("a port");
                self.cluster.start_node(name);
            }
            self.look_after(name);
        }
        self.commands.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        if self.fencing {
            self.look_for_two();
        }
    }

    /// As a machine loses it: links dead, no process, and after it nothing is left of what ran.
    async fn power_off(&mut self, name: &'static str) {
        self.cluster.lab.unplug_from(name, 1).await.expect("a port");
        self.cluster.lab.power_off(name).await.expect("killed");
        // A boot has none; it may have lapsed already.
        let _ = self.cluster.lab.host(name).expect("a host").links.del_address("eth0", vip(), 32).await;
        std::fs::remove_dir_all(self.cluster.run_dir(name)).expect("removed");
        std::fs::remove_file(self.cluster.path(&format!("power.{name}"))).expect("there");
        self.powerless.insert(name, Instant::now());
    }

    /// What its unit would do.
    fn look_after(&mut self, name: &'static str) {
        if self.held_down.contains(name) || self.powerless.contains_key(name) {
            self.ended.remove(name);
            return;
        }
        let Some(Ok(Some(status))) = self.cluster.daemons.get_mut(name).map(|d| d.try_wait()) else { return };
        let never = unit("RestartPreventExitStatus");
        let code = status.code().unwrap_or(-1);
        if code == 0 || never.split_whitespace().any(|c| c == code.to_string()) {
            self.ended_for_good.insert(name, code);
            return;
        }
        let restart = Duration::from_secs(unit("RestartSec").parse().expect("seconds"));
        if self.ended.entry(name).or_insert_with(Instant::now).elapsed() >= restart {
            self.ended.remove(name);
            self.cluster.start_node(name);
        }
    }

    fn look_for_two(&mut self) {
        let have = |field: &Field| -> Vec<&'static str> {
            field.cluster.names.iter().copied().filter(|n| field.has(n, "app")).collect()
        };
        let (before, after) = (have(self), have(self));
        if before.len() > 1 && before == after && self.twice.len() < 10 {
            self.twice.push(format!("app runs on {before:?}"));
        }
    }

    pub async fn clean_stop(&mut self, name: &'static str) {
        self.cluster.signal(name, Signal::SIGTERM);
        let begin = Instant::now();
        while matches!(self.cluster.daemons.get_mut(name).map(|d| d.try_wait()), Some(Ok(None))) {
            if begin.elapsed() > super::CONVERGES {
                self.stops.push(Err(format!("{name} does not end")));
                return self.cluster.kill(name).await;
            }
            self.pass(Duration::from_millis(50)).await;
        }
        self.pass(Duration::from_millis(500)).await;
        let left = self.left_on(name).await;
        self.stops.push(if left.is_empty() { Ok(()) } else { Err(format!("left on {name}: {left:?}")) });
    }

    /// What is there though no node runs.
    pub async fn left_on(&self, name: &str) -> Vec<String> {
        let host = self.cluster.lab.host(name).expect("a host");
        let mut left = Vec::new();
        if host.has_address(vip()).await.expect("looked") {
            left.push(vip().to_string());
        }
        let files = std::fs::read_dir(self.agents_dir(name)).into_iter().flatten().flatten();
        left.extend(files.map(|f| f.file_name().to_string_lossy().into_owned()).filter(|n| n.ends_with(".state")));
        let space = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let init = host.ns.init_pid().to_string();
        let own = space(&init);
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry.file_name().to_string_lossy().into_owned();
            if pid != init && pid.parse::<u32>().is_ok() && space(&pid) == own {
                let words = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
                // What has ended and was not waited for yet has no words.
                left.extend((!words.is_empty()).then(|| words.replace('\0', " ")));
            }
        }
        left
    }

    /// Runs and is not waited for.
    pub fn say_at(&mut self, node: &str, words: &[&str]) {
        let child = self.said(node, words);
        self.commands.push(child);
    }

    /// Until a node has done it.
    pub async fn until_said(&mut self, words: &[&str]) {
        let begin = Instant::now();
        for node in self.cluster.names.clone().iter().cycle() {
            let mut child = self.said(node, words);
            let status = loop {
                self.pass(Duration::from_millis(20)).await;
                if let Some(status) = child.try_wait().expect("a child") {
                    break status;
                }
            };
            if status.success() {
                return;
            }
            assert!(begin.elapsed() < super::CONVERGES, "nobody does {words:?}\n{}", self.story());
            self.pass(Duration::from_millis(200)).await;
        }
    }

    fn said(&self, node: &str, words: &[&str]) -> Child {
        let mut command = Command::new("timeout");
        command.arg(COMMAND_SECS).arg(BASCULE).args(words).env("BASCULE_RUN_DIR", self.cluster.run_dir(node));
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the command starts")
    }

    pub fn in_host(&self, name: &str, line: &str) {
        assert!(self.does_in_host(name, line), "{name}: {line}");
    }

    /// Whether it could be done.
    fn does_in_host(&self, name: &str, line: &str) -> bool {
        let mut words = line.split(' ');
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        let child = self.cluster.lab.host(name).expect("a host").ns.spawn(&mut command);
        child.is_ok_and(|mut child| child.wait().is_ok_and(|status| status.success()))
    }

    fn all_fences(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.cluster.path("fences")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Targets, once for each time, since this fault began.
    pub fn fenced(&self) -> Vec<String> {
        let since = self.all_fences().into_iter().skip(self.fences_before);
        since.filter_map(|line| Some(line.split_whitespace().last()?.to_owned())).collect()
    }

    /// The last of each node's timeline and log.
    pub fn story(&self) -> String {
        let mut all: Vec<(i64, String)> = Vec::new();
        for name in &self.cluster.names {
            let Some(timeline) = get::<Timeline>(&self.cluster.run_dir(name), "timeline") else { continue };
            let told = timeline.events.into_iter().filter(|e| !QUIET.contains(&e.kind.as_str())).rev().take(100);
            all.extend(told.map(|e| (e.wall_us, format!("{name} {} {} {}", e.kind, e.subject, e.text))));
        }
        all.sort();
        let mut text = String::new();
        for (at, what) in &all {
            let _ = writeln!(text, "{:>9.1} ms {what}", (at - all[0].0) as f64 / 1000.0);
        }
        let (_, shown, _) = self.cluster.command(self.cluster.names[0], &["crm_mon", "-1", "-rf"]);
        format!("{text}\n{shown}\n{}", self.cluster.logs())
    }
}

fn unit(key: &str) -> &'static str {
    UNIT.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('=')).expect("a key of the unit")
}

/// File systems that can be filled, and frozen where the machine can.
fn volumes(names: &[&'static str]) -> (BTreeMap<&'static str, Volume>, bool) {
    let all: Option<BTreeMap<_, _>> =
        names.iter().map(|n| Some((*n, Volume::ext4(&format!("attack-{}-{n}", names.len()))?))).collect();
    if let Some(all) = all {
        return (all, true);
    }
    println!("SKIPPED: disks that hang: no ext4 on a loop device here");
    (names.iter().map(|n| (*n, Volume::tmpfs(&format!("attack-{}-{n}", names.len()), 4096))).collect(), false)
}

fn stated(cluster: &Cluster, node: &str) -> BTreeMap<String, u64> {
    let (conf, cib) = (cluster.path("corosync.conf"), cluster.path("cib.xml"));
    let words = ["plan", "--json", "-c", conf.to_str().expect("UTF-8"), "-x", cib.to_str().expect("UTF-8")];
    let (_, text, why) = cluster.command(node, &words);
    let plan: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("a plan: {e}: {text} {why}"));
    let cases = plan["cases"].as_array().expect("cases");
    let bound = |case: &serde_json::Value| {
        Some((case["case"].as_str()?.to_owned(), case["twice_ms"]["fast"].as_u64().unwrap_or_default()))
    };
    cases.iter().filter_map(bound).collect()
}

fn configuration(fencing: bool, dir: &str) -> String {
    let device = format!(
        "<primitive id=\"switch\" class=\"stonith\" type=\"fence_lab\"><instance_attributes id=\"switch-i\">\
         <nvpair id=\"switch-h\" name=\"how\" value=\"kill\"/><nvpair id=\"switch-d\" name=\"dir\" value=\"{dir}\"/>\
         <nvpair id=\"switch-n\" name=\"id\" value=\"switch\"/></instance_attributes></primitive>"
    );
    let monitor = |id: &str| format!("<operations><op id=\"{id}-m\" name=\"monitor\" interval=\"5s\"/></operations>");
    let dummy = |id: &str| {
        format!(
            "<primitive id=\"{id}\" class=\"ocf\" provider=\"heartbeat\" type=\"Dummy\">{}</primitive>",
            monitor(id)
        )
    };
    format!(
        "<configuration><crm_config><cluster_property_set id=\"cib-bootstrap-options\">\
         <nvpair id=\"o-f\" name=\"fencing-enabled\" value=\"{fencing}\"/>\
         <nvpair id=\"o-t\" name=\"bascule-takeover\" value=\"fast\"/></cluster_property_set></crm_config><nodes/>\
         <resources>{}<group id=\"front\"><primitive id=\"vip\" class=\"ocf\" provider=\"heartbeat\" type=\"IPaddr2\">\
         <instance_attributes id=\"vip-i\"><nvpair id=\"vip-ip\" name=\"ip\" value=\"{}\"/></instance_attributes>{}</primitive>\
         {}</group><clone id=\"beats\">{}</clone></resources><constraints/><tags/></configuration>",
        if fencing { &device } else { "" },
        vip(),
        monitor("vip"),
        dummy("app"),
        dummy("beat")
    )
}
