//! Fencing between real nodes, by an agent that kills every process of a node, lies, hangs, fails or is late.
//!
//! In each case: resources move only after the verdict, one fencing for each loss, the address never on two nodes.

use crate::fixture::{self, Cluster, cib_call, post};
use crate::root::root;
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};
use wire::api::{CibOp, CibReply, FenceAction, FenceState, FencingCall, FencingOp, FencingReply};

pub const NODES: [&str; 3] = ["n1", "n2", "n3"];
const VIP: &str = "10.55.1.7";
/// Longest wait for what involves several devices' times.
const PATIENCE: Duration = Duration::from_secs(90);

/// How it acts is a parameter, so that one cluster can have several kinds.
pub const AGENT: &str = r#"#!/bin/sh
if [ "$1 $2" = "-o metadata" ]; then
    echo '<?xml version="1.0" ?><resource-agent name="fence_lab"><parameters><parameter name="port"/></parameters>'
    echo '<actions><action name="on"/><action name="off"/><action name="reboot"/><action name="monitor"/></actions></resource-agent>'
    exit 0
fi
while IFS='=' read -r name value; do
    case "$name" in action | nodename | how | dir | secs | fails | id) eval "$name=\$value" ;; esac
done
case "$action" in off | reboot) ;; on | monitor | status) exit 0 ;; *) exit 3 ;; esac
echo "$id $action $nodename" >> "$dir/fences"
case "$how" in
    lie) exit 0 ;;
    hang) sleep 600 ;;
    fail) echo "no power switch" >&2; exit 1 ;;
    twice)
        echo x >> "$dir/twice"
        [ "$(wc -l < "$dir/twice")" -gt 2 ] || { echo "not yet" >&2; exit 1; } ;;
esac
sleep "${secs:-0}"
# The power switch is on the other side of this file.
echo > "$dir/power.$nodename"
while [ -e "$dir/power.$nodename" ]; do sleep 0.02; done
exit 0
"#;

/// Its stop fails.
const STUCK: &str = r#"#!/bin/sh
state="${HA_VARRUN%%/}/$OCF_RESOURCE_INSTANCE.state"
case "$1" in
    start) touch "$state" ;;
    monitor) [ -e "$state" ] || exit 7 ;;
    stop) exit 1 ;;
    meta-data) echo '<resource-agent name="Stuck"><parameters/><actions/></resource-agent>' ;;
    *) exit 3 ;;
esac
"#;

fn pairs(id: &str, all: &[(&str, &str)]) -> String {
    all.iter().map(|(n, v)| format!("<nvpair id=\"{id}-{n}\" name=\"{n}\" value=\"{v}\"/>")).collect()
}

pub struct World {
    pub cluster: Cluster,
    /// How long the address was seen on two nodes.
    pub double: Duration,
    /// Machines without power: what they had is nowhere.
    dead: Vec<&'static str>,
    looked: Instant,
    began: Instant,
}

/// A fence device: its name, how its agent acts (or the name of a stock agent), further parameters.
pub type Device<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

impl World {
    /// Nodes with an address, and fencing by these devices: name, how they act, further parameters.
    async fn start(
        names: &[&'static str],
        properties: &[(&str, &str)],
        devices: &[Device<'_>],
        levels: &str,
        more: &str,
    ) -> World {
        let mut world = World::prepare(names).await;
        world.begin(properties, devices, levels, more).await;
        world
    }

    /// Hosts and agents; no node runs.
    pub async fn prepare(names: &[&'static str]) -> World {
        let mut cluster = Cluster::prepare(names).await;
        let script = |path: std::path::PathBuf, text: &str| {
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(&path, text).expect("written");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("set");
        };
        script(cluster.path("agents/fence_lab"), AGENT);
        script(cluster.path("ocf/resource.d/test/Stuck"), STUCK);
        cluster.env.insert("BASCULE_FENCE_AGENTS", cluster.path("agents").display().to_string());
        World { cluster, double: Duration::ZERO, dead: Vec::new(), looked: Instant::now(), began: Instant::now() }
    }

    /// The nodes start, get this configuration, and come to rest.
    pub async fn begin(&mut self, properties: &[(&str, &str)], devices: &[Device<'_>], levels: &str, more: &str) {
        let names = self.cluster.names.clone();
        names.iter().for_each(|n| self.boot(n));
        self.cluster.wait_for_ring(&names).await;
        let dir = self.cluster.path("").display().to_string();
        let device = |(id, how, params): &(&str, &str, &[(&str, &str)])| {
            let own = [("how", *how), ("dir", &dir), ("id", id)];
            let (agent, own) = if how.starts_with("fence_") { (*how, &own[..0]) } else { ("fence_lab", &own[..]) };
            let params = pairs(id, params) + &pairs(id, own);
            format!(
                "<primitive id=\"{id}\" class=\"stonith\" type=\"{agent}\"><instance_attributes id=\"{id}-i\">{params}</instance_attributes></primitive>"
            )
        };
        let vip = format!(
            "<primitive id=\"vip\" class=\"ocf\" provider=\"heartbeat\" type=\"IPaddr2\"><instance_attributes id=\"vip-i\">{}</instance_attributes>\
             <operations><op id=\"vip-m\" name=\"monitor\" interval=\"5s\"/></operations></primitive>",
            pairs("vip", &[("ip", VIP), ("cidr_netmask", "32"), ("nic", "lo")])
        );
        let config = format!(
            "<configuration><crm_config><cluster_property_set id=\"cib-bootstrap-options\">{}</cluster_property_set></crm_config><nodes/>\
             <resources>{}<group id=\"g\">{vip}{more}</group></resources><constraints/>\
             <fencing-topology>{levels}</fencing-topology></configuration>",
            pairs("p", properties),
            devices.iter().map(device).collect::<String>(),
        );
        let call = cib_call(CibOp::Replace, "configuration", Some(config));
        let reply: CibReply =
            post(&self.cluster.run_dir(names[0]), "cib", &call, fixture::PATIENCE).expect("an answer");
        assert_eq!(reply.code, 0, "{reply:?}");
        self.owner(&names).await;
        // Devices are monitored, and nothing is under way any more.
        let first = names[0];
        self.watch("the cluster is at rest", |c| {
            let all: Vec<_> = names.iter().map(|n| c.status(n)).collect::<Option<_>>()?;
            all.iter().any(|s| s.controller == "idle").then_some(())?;
            c.status(first).map(|_| ())
        })
        .await;
    }

    pub fn boot(&mut self, name: &'static str) {
        self.dead.retain(|n| *n != name);
        self.cluster.start_node(name);
    }

    /// Looks who has the address, and takes the power from whom the agent has chosen.
    pub async fn glance(&mut self) {
        for name in self.cluster.names.clone() {
            let switch = self.cluster.path(&format!("power.{name}"));
            if switch.exists() {
                self.cluster.lab.host(name).expect("a host").ns.kill_all().expect("killed");
                self.dead.push(name);
                std::fs::remove_file(switch).expect("there");
            }
        }
        let vip: IpAddr = VIP.parse().expect("an address");
        let holders = self.cluster.lab.holders(vip).await.expect("looked");
        if holders.iter().filter(|h| !self.dead.contains(&h.as_str())).count() > 1 {
            self.double += self.looked.elapsed();
        }
        self.looked = Instant::now();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    /// Waits, and looks meanwhile who has the address.
    pub async fn watch<T>(&mut self, what: &str, mut ask: impl FnMut(&Cluster) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        self.looked = Instant::now();
        loop {
            self.glance().await;
            if let Some(answer) = ask(&self.cluster) {
                return answer;
            }
            assert!(Instant::now() < end, "did not happen: {what}\n{}\n{}", self.timeline(), self.cluster.logs());
        }
    }

    /// Looks on for that long.
    pub async fn look_on(&mut self, for_ms: u64) {
        let until = Instant::now() + Duration::from_millis(for_ms);
        self.watch("time passes", |_| (Instant::now() >= until).then_some(())).await;
    }

    /// The one of these nodes whose status says that the address runs there.
    pub async fn owner(&mut self, among: &[&'static str]) -> &'static str {
        self.watch(&format!("one of {among:?} has the address"), |cluster| {
            let has = |n: &&&str| cluster.run_dir(n).join("api.sock").exists() && holds(cluster, n);
            let all: Vec<&'static str> = among.iter().filter(has).copied().collect();
            (all.len() == 1).then(|| all[0])
        })
        .await
    }

    /// What the agent was asked to do: device, action, target.
    pub fn fences(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.cluster.path("fences")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn fences_of(&self, target: &str) -> usize {
        self.fences().iter().filter(|f| f.ends_with(target)).count()
    }

    /// Events of all nodes that answer, in order of time.
    pub fn timeline(&self) -> String {
        let kinds = [
            "node_lost",
            "node_joined",
            "fence",
            "fence_start",
            "fence_device",
            "fenced",
            "fence_end",
            "fence_retry",
            "obey",
            "address_added",
            "address_dropped",
            "dc",
        ];
        let mut all: Vec<(i64, String)> = Vec::new();
        for name in &self.cluster.names {
            let Some(timeline) = fixture::get::<wire::api::Timeline>(&self.cluster.run_dir(name), "timeline") else {
                continue;
            };
            let told = timeline.events.into_iter().filter(|e| kinds.contains(&e.kind.as_str()));
            all.extend(told.map(|e| (e.wall_us, format!("{name} {} {} {}", e.kind, e.subject, e.text))));
        }
        all.sort();
        let first = all.first().map_or(0, |(at, _)| *at);
        all.into_iter().map(|(at, text)| format!("{:>9.1} ms {text}\n", (at - first) as f64 / 1000.0)).collect()
    }

    /// When an event of this kind was seen first after `since_us`, on any of the nodes that live.
    fn first(&self, kind: &str, about: &str, since_us: i64) -> Option<i64> {
        let of = |name: &&'static str| fixture::get::<wire::api::Timeline>(&self.cluster.run_dir(name), "timeline");
        let events = self.cluster.names.iter().filter_map(of).flat_map(|t| t.events);
        let fits = |e: &wire::api::TimelineEvent| e.kind == kind && e.subject.contains(about) && e.wall_us >= since_us;
        events.filter(fits).map(|e| e.wall_us).min()
    }

    /// The address came to its new owner only after the verdict on the old one, and was never on two.
    pub fn verify(&self, title: &str, victim: &str, since_us: i64) {
        println!("== {title}, after {} ms\n{}", self.began.elapsed().as_millis(), self.timeline());
        let verdict = self.first("fence_end", victim, since_us).expect("a verdict");
        // It may have been on a node that lives.
        if let Some(moved) = self.first("address_added", "vip", since_us) {
            assert!(moved >= verdict, "{title}: moved {} us before the verdict", verdict - moved);
        }
        assert_eq!(self.double, Duration::ZERO, "{title}: on two nodes");
    }

    fn fencing(&self, node: &str, op: FencingOp) -> FencingReply {
        let call = FencingCall { op, timeout_ms: 0, client: base::outside::Word::cleaned("test") };
        post(&self.cluster.run_dir(node), "fencing", &call, PATIENCE).expect("an answer")
    }

    /// Waits for the end of a node's process; its exit code, none if it was killed.
    pub async fn ended(&mut self, name: &'static str) -> Option<i32> {
        let end = Instant::now() + PATIENCE;
        loop {
            self.glance().await;
            let daemon = self.cluster.daemons.get_mut(name).expect("a daemon");
            if let Some(status) = daemon.try_wait().expect("a child") {
                return status.code();
            }
            assert!(Instant::now() < end, "{name} has not ended\n{}\n{}", self.timeline(), self.cluster.logs());
        }
    }
}

fn holds(cluster: &Cluster, node: &str) -> bool {
    let Some(status) = cluster.status(node) else { return false };
    !status.members.is_empty() && {
        let call = cib_call(CibOp::Query, "status", None);
        let Some(reply): Option<CibReply> = post(&cluster.run_dir(node), "cib", &call, fixture::PATIENCE) else {
            return false;
        };
        let status_xml = xml::parse(&reply.xml.unwrap_or_default()).ok();
        let id = status.me.to_string();
        let state =
            status_xml.as_ref().and_then(|s| s.elements_named("node_state").find(|e| e.id() == Some(&id)).cloned());
        let entry = state.and_then(|s| s.find_id("vip_last_0").cloned());
        entry.is_some_and(|e| {
            let is = |name: &str, value: &str| e.attr(name) == Some(value);
            is("rc-code", "0") && (is("operation", "start") || is("operation", "monitor"))
        })
    }
}

fn word(text: &str) -> base::outside::Word {
    base::outside::Word::cleaned(text)
}

pub fn now_us() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_micros()).expect("before 290000")
}

pub fn others(of: &[&'static str], node: &str) -> Vec<&'static str> {
    of.iter().copied().filter(|n| *n != node).collect()
}

pub fn history(world: &World, node: &str, target: &str) -> Vec<(FenceState, Option<String>)> {
    let reply = world.fencing(node, FencingOp::History { target: Some(word(target)) });
    reply.history.into_iter().map(|e| (e.state, e.device)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_node_is_killed_once_and_comes_back() {
    let Some(()) = root() else { return };
    let mut world = World::start(&NODES, &[], &[("ipmi", "kill", &[("secs", "1")])], "", "").await;
    let old = world.owner(&NODES).await;
    let since = now_us();
    world.cluster.signal(old, Signal::SIGSTOP);
    let rest = others(&NODES, old);
    let new = world.owner(&rest).await;
    world.verify("killed for real", old, since);
    assert_eq!(world.fences_of(old), 1, "{:?}", world.fences());
    assert_eq!(history(&world, new, old)[0], (FenceState::Success, Some("ipmi".to_owned())));
    world.ended(old).await;
    world.boot(old);
    world.watch("it is a member again", |c| (c.status(old)?.members.len() == 3).then_some(())).await;
    world.look_on(4000).await;
    assert_eq!((world.fences().len(), world.double), (1, Duration::ZERO), "{:?}\n{}", world.fences(), world.timeline());
    assert!(world.cluster.status(old).is_some(), "it lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_stop_with_an_agent_that_lies_ends_the_node_itself() {
    let Some(()) = root() else { return };
    let stuck = "<primitive id=\"stuck\" class=\"ocf\" provider=\"test\" type=\"Stuck\"/>";
    let mut world = World::start(&NODES, &[], &[("ipmi", "lie", &[])], "", stuck).await;
    let runs = |c: &Cluster, n: &str| c.var_dir(n).join("stuck.state").exists();
    let old = world.watch("it runs", |c| NODES.iter().copied().find(|n| runs(c, n))).await;
    let since = now_us();
    let rest = others(&NODES, old);
    let (code, _, said) = world.cluster.command(rest[0], &["crm_resource", "--resource", "g", "--ban", "--node", old]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(world.ended(old).await, Some(100), "it was told, and ends\n{}", world.cluster.logs());
    world.owner(&rest).await;
    world.watch("the other resource is there, too", |c| rest.iter().find(|n| runs(c, n)).map(|_| ())).await;
    println!("{}", world.timeline());
    let verdict = world.first("fenced", old, since).expect("a verdict");
    assert!(world.first("fence_end", old, since).expect("an end") >= verdict);
    assert_eq!((world.fences(), world.double), (vec![format!("ipmi reboot {old}")], Duration::ZERO));
    // Its agents' files are gone with the machine; as another life it is let in, and not fenced again.
    std::fs::remove_file(world.cluster.var_dir(old).join("stuck.state")).expect("there");
    world.boot(old);
    world.watch("it is a member again", |c| (c.status(old)?.members.len() == 3).then_some(())).await;
    world.look_on(4000).await;
    assert_eq!(world.fences().len(), 1, "{:?}\n{}", world.fences(), world.timeline());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_fenced_by_a_lie_behind_a_cut_ends_when_it_hears_of_it() {
    let Some(()) = root() else { return };
    let properties = [("bascule-takeover", "safe")];
    let mut world = World::start(&NODES, &properties, &[("ipmi", "lie", &[])], "", "").await;
    let old = world.owner(&NODES).await;
    let since = now_us();
    world.cluster.lab.unplug(old).await.expect("unplugged");
    let rest = others(&NODES, old);
    world.owner(&rest).await;
    world.verify("a lie behind a cut", old, since);
    assert_eq!(world.fences_of(old), 1, "{:?}", world.fences());
    world.cluster.lab.plug(old).await.expect("plugged");
    assert_eq!(world.ended(old).await, Some(100), "{}", world.cluster.logs());
    world.look_on(3000).await;
    assert_eq!((world.fences().len(), world.double), (1, Duration::ZERO), "{:?}", world.fences());
}

#[tokio::test(flavor = "multi_thread")]
async fn three_levels_a_hang_a_late_answer_and_one_that_fails_twice() {
    let Some(()) = root() else { return };
    let devices: [Device<'_>; 3] = [
        ("hangs", "hang", &[("pcmk_reboot_timeout", "2s"), ("pcmk_reboot_retries", "1")]),
        ("late", "late", &[("secs", "30"), ("pcmk_reboot_timeout", "2s"), ("pcmk_reboot_retries", "1")]),
        ("third", "twice", &[("pcmk_reboot_retries", "3"), ("pcmk_reboot_timeout", "20s")]),
    ];
    let level = |(index, device): (usize, &str)| {
        format!("<fencing-level id=\"l{index}\" target-pattern=\"^n[0-9]$\" index=\"{index}\" devices=\"{device}\"/>")
    };
    let levels: String = [(1, "hangs"), (2, "late"), (3, "third")].map(level).concat();
    let mut world = World::start(&NODES, &[], &devices, &levels, "").await;
    let old = world.owner(&NODES).await;
    let since = now_us();
    world.cluster.signal(old, Signal::SIGSTOP);
    let rest = others(&NODES, old);
    world.owner(&rest).await;
    world.verify("three levels", old, since);
    let by: Vec<String> = world.fences().iter().map(|f| f.split(' ').next().unwrap_or_default().to_owned()).collect();
    assert_eq!(
        by,
        ["hangs", "hangs", "late", "late", "third", "third", "third"],
        "both nodes try a level, the last one repeats"
    );
    assert_eq!(history(&world, rest[0], old)[0], (FenceState::Success, Some("third".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dc_dies_in_mid_fencing() {
    let Some(()) = root() else { return };
    let properties = [("no-quorum-policy", "ignore")];
    let mut world = World::start(&NODES, &properties, &[("ipmi", "kill", &[("secs", "3")])], "", "").await;
    let dc = world.cluster.status("n1").and_then(|s| s.dc_name).expect("a coordinator");
    let dc = NODES.into_iter().find(|n| *n == dc).expect("one of ours");
    let rest = others(&NODES, dc);
    let (victim, survivor) = (rest[1], rest[0]);
    let since = now_us();
    world.cluster.signal(victim, Signal::SIGSTOP);
    world.watch("the fencing has begun", |c| c.path("fences").exists().then_some(())).await;
    world.cluster.kill(dc).await;
    world
        .watch("both are fenced", |c| {
            let done = |n: &str| {
                c.timeline(survivor)
                    .events
                    .iter()
                    .any(|e| e.kind == "fence_end" && e.subject == n && e.text.contains("done"))
            };
            (done(victim) && done(dc)).then_some(())
        })
        .await;
    world.owner(&[survivor]).await;
    world.verify("the DC died", victim, since);
    let times: BTreeMap<&str, usize> = [victim, dc].into_iter().map(|n| (n, world.fences_of(n))).collect();
    assert!((1..=2).contains(&times[victim]), "once, or begun and repeated: {:?}", world.fences());
    assert_eq!(times[dc], 1, "{:?}", world.fences());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_shoot_each_other_and_the_one_without_delay_wins() {
    let Some(()) = root() else { return };
    let names = ["n1", "n2"];
    let devices: [Device<'_>; 2] = [
        ("for1", "kill", &[("pcmk_host_list", "n1"), ("pcmk_delay_base", "6s")]),
        ("for2", "kill", &[("pcmk_host_list", "n2")]),
    ];
    let properties = [("no-quorum-policy", "ignore")];
    let mut world = World::start(&names, &properties, &devices, "", "").await;
    world.cluster.lab.unplug("n1").await.expect("unplugged");
    assert_eq!(world.ended("n2").await, None, "killed");
    world.owner(&["n1"]).await;
    world.look_on(7000).await;
    println!("{}", world.timeline());
    assert_eq!((world.fences(), world.double), (vec!["for2 reboot n2".to_owned()], Duration::ZERO));
    assert!(world.cluster.status("n1").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_end_and_an_operator_confirms() {
    let Some(()) = root() else { return };
    let properties = [("fencing-max-attempts", "2"), ("fencing-timeout", "5s")];
    let mut world =
        World::start(&NODES, &properties, &[("ipmi", "fail", &[("pcmk_reboot_retries", "1")])], "", "").await;
    let old = world.owner(&NODES).await;
    let rest = others(&NODES, old);
    let reply = world.fencing(rest[0], FencingOp::Confirm { target: word(old) });
    assert!(reply.code != 0 && reply.message.as_deref().is_some_and(|m| m.contains("is a member")), "{reply:?}");
    let since = now_us();
    world.cluster.kill(old).await;
    world
        .watch("it is given up", |c| {
            let given_up = |n: &&str| {
                c.timeline(n).events.iter().any(|e| e.kind == "fence_retry" && e.text.contains("fencing-max-attempts"))
            };
            rest.iter().copied().find(given_up).map(|_| ())
        })
        .await;
    let tries = world.fences().len();
    assert_eq!(tries, 2 * rest.len(), "two attempts on two nodes: {:?}", world.fences());
    world.look_on(8000).await;
    assert_eq!(world.fences().len(), tries, "not tried again");
    assert_eq!(history(&world, rest[1], old)[0].0, FenceState::Failed);
    assert!(world.first("address_added", "vip", since).is_none(), "nothing has moved");
    let failed = world.fencing(
        rest[0],
        FencingOp::Fence { target: word(old), action: FenceAction::Off, delay_ms: 0, tolerance_ms: 0, tag: None },
    );
    assert!(failed.code != 0 && failed.message.as_deref().is_some_and(|m| m.contains("no power switch")), "{failed:?}");
    let reply = world.fencing(rest[0], FencingOp::Confirm { target: word(old) });
    assert_eq!(reply.code, 0, "{reply:?}");
    world.owner(&rest).await;
    assert_eq!(world.double, Duration::ZERO);
    println!("{}", world.timeline());
    let reply = world.fencing(rest[1], FencingOp::History { target: Some(word(old)) });
    assert_eq!((reply.history[0].state, reply.history[0].delegate.as_deref()), (FenceState::Success, Some("a human")));
    let devices = world.fencing(rest[0], FencingOp::Devices { target: Some(word(old)) }).devices;
    assert_eq!(devices.iter().map(|d| d.id.as_str()).collect::<Vec<_>>(), ["ipmi"]);
    assert_eq!(world.fencing(rest[0], FencingOp::Monitor { device: word("ipmi") }).code, 0);
}
