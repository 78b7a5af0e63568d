//! A two-node group of virtual addresses in a lab, and the means to look at it and to hurt it.

use base::NodeId;
use kernel::links::Links;
use kernel::netns::{Namespace, Spec};
use lab::hosts::{Host, HostSpec, Lab, vip_v4, vip_v6};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fmt::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub const BASCULE: &str = env!("CARGO_BIN_EXE_bascule");
pub const NODES: [&str; 2] = ["d1", "d2"];
/// Time within which a group must be up on a machine that compiles other things at the same time.
const PATIENCE: Duration = Duration::from_secs(30);

/// Two addresses of one subnet for each family.
pub fn vips() -> [IpAddr; 4] {
    [vip_v4(100).into(), vip_v4(101).into(), vip_v6(100).into(), vip_v6(101).into()]
}

pub struct Group {
    pub lab: Lab,
    pub daemons: Vec<tokio::process::Child>,
    /// The switch of the ring, where it is not that of the addresses.
    pub ring: Option<RingNet>,
    dir: tempfile::TempDir,
}

/// A second network that joins the nodes alone, on `eth1` of each.
pub struct RingNet {
    _switch: Namespace,
    ports: Links,
}

impl RingNet {
    async fn between(lab: &Lab) -> RingNet {
        let switch = Namespace::create(&Spec::new("ring")).expect("a namespace");
        let ports = Links::open_in(&switch).expect("netlink");
        ports.add_bridge("br0").await.expect("a bridge");
        for (n, name) in (1..).zip(NODES) {
            let host = lab.host(name).expect("a director");
            ports.add_veth_into(name, &host.ns, "eth1").await.expect("a cable");
            ports.set_master(name, Some("br0")).await.expect("plugged in");
            ports.up(name).await.expect("up");
            host.links.up("eth1").await.expect("up");
            host.links.add_address("eth1", ring_address(n), 24).await.expect("an address");
        }
        RingNet { _switch: switch, ports }
    }

    /// Pulls a node's cable, or puts it back.
    pub async fn plug(&self, node: &str, there: bool) {
        let done = if there { self.ports.up(node).await } else { self.ports.down(node).await };
        done.expect("the port changes");
    }
}

fn ring_address(n: u8) -> IpAddr {
    [10, 78, 0, n].into()
}

impl Group {
    /// Starts both nodes and the group, and waits until one of them holds all addresses.
    pub async fn start(takeover: &str) -> Group {
        Group::start_with(takeover, &[]).await
    }

    /// With more parameters for each address.
    pub async fn start_with(takeover: &str, params: &[(&str, &str)]) -> Group {
        Group::build(takeover, params, false).await
    }

    /// The ring on a network of its own.
    pub async fn start_apart(takeover: &str, params: &[(&str, &str)]) -> Group {
        Group::build(takeover, params, true).await
    }

    /// The ring on a network of its own, and something to ping that decides which half keeps its vote.
    pub async fn start_arbitrated(takeover: &str, ping_targets: &str) -> Group {
        Group::build_with(takeover, &[], true, Some(ping_targets)).await
    }

    async fn build(takeover: &str, params: &[(&str, &str)], apart: bool) -> Group {
        Group::build_with(takeover, params, apart, None).await
    }

    async fn build_with(takeover: &str, params: &[(&str, &str)], apart: bool, targets: Option<&str>) -> Group {
        let mut lab = Lab::new().await.expect("a lab");
        for (n, name) in (1..).zip(NODES) {
            lab.add_host(HostSpec::numbered(name, n)).await.expect("a director");
        }
        lab.add_host(HostSpec::numbered("client", 50)).await.expect("a client");
        let dir = tempfile::tempdir().expect("a directory");
        let ring = if apart { Some(RingNet::between(&lab).await) } else { None };
        std::fs::write(dir.path().join("corosync.conf"), corosync_conf(apart, targets)).expect("written");
        std::fs::write(dir.path().join("cib.xml"), cib(takeover, params)).expect("written");
        let group = Group { lab, daemons: Vec::new(), ring, dir };
        group.command("d1", &["corosync-keygen", "-k", group.path("authkey").to_str().expect("UTF-8")]);
        let mut group = group;
        for name in NODES {
            let daemon = group.start_daemon(name);
            group.daemons.push(daemon);
        }
        group.load().await;
        group.wait_for_owner().await;
        group
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn host(&self, name: &str) -> &Host {
        self.lab.host(name).expect("a host of this lab")
    }

    pub fn start_daemon(&self, name: &str) -> tokio::process::Child {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.path(&format!("{name}.log")))
            .expect("a log file");
        let mut command = tokio::process::Command::new(BASCULE);
        command.arg("node").arg("--config").arg(self.path("corosync.conf"));
        command.arg("--authkey").arg(self.path("authkey"));
        command.arg("--state-dir").arg(self.path(&format!("{name}.state")));
        command.arg("--run-dir").arg(self.path(&format!("{name}.run")));
        command.stderr(log.try_clone().expect("a handle")).stdout(log);
        self.host(name).spawn(&mut command).expect("the daemon starts")
    }

    /// Runs one of our commands against a node; standard output if it succeeded.
    pub fn command(&self, node: &str, args: &[&str]) -> Option<String> {
        let run_dir = self.path(&format!("{node}.run"));
        let out = Command::new(BASCULE).args(args).env("BASCULE_RUN_DIR", run_dir).output().expect("the binary runs");
        out.status.success().then(|| String::from_utf8_lossy(&out.stdout).into_owned())
    }

    async fn load(&self) {
        let cib = self.path("cib.xml");
        let args = ["cibadmin", "-R", "-o", "configuration", "-x", cib.to_str().expect("UTF-8")];
        self.until("the configuration is accepted", || self.command("d1", &args)).await;
    }

    pub async fn wait_for_owner(&self) -> &'static str {
        let end = Instant::now() + PATIENCE;
        loop {
            for name in NODES {
                if self.held(name).await == vips().len() {
                    return name;
                }
            }
            assert!(
                Instant::now() < end,
                "no node holds the group\n{}\n{}\n{}",
                self.logs(),
                self.command("d1", &["cibadmin", "-Q"]).unwrap_or_default(),
                self.command("d1", &["crm_mon", "-1"]).unwrap_or_default()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How many of the addresses the node has.
    pub async fn held(&self, name: &str) -> usize {
        let addresses = self.host(name).links.addresses().await.expect("addresses");
        vips().iter().filter(|v| addresses.iter().any(|a| a.addr == **v)).count()
    }

    /// Takes an address away by hand, if it is there.
    pub async fn delete(&self, name: &str, addr: IpAddr) {
        let prefix_len = if addr.is_ipv4() { 32 } else { 128 };
        // It may be gone already.
        let _ = self.host(name).links.del_address("eth0", addr, prefix_len).await;
    }

    pub async fn until<T>(&self, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            assert!(Instant::now() < end, "did not happen: {what}\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Process ids of a node's daemon and its guard, as seen from here.
    pub fn processes(&self, name: &str) -> (Pid, Pid) {
        let at = NODES.iter().position(|n| *n == name).expect("a node");
        let daemon = self.daemons[at].id().expect("the daemon runs");
        let children = children_of(daemon);
        let guard = children.into_iter().find(|pid| command_line(*pid).contains("guard")).expect("a guard process");
        (Pid::from_raw(daemon as i32), Pid::from_raw(guard as i32))
    }

    pub fn logs(&self) -> String {
        NODES.iter().fold(String::new(), |mut text, name| {
            let log = std::fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            let _ = writeln!(text, "== {name}");
            tail.iter().rev().for_each(|line| {
                let _ = writeln!(text, "{line}");
            });
            text
        })
    }
}

pub fn other(name: &str) -> &'static str {
    if name == NODES[0] { NODES[1] } else { NODES[0] }
}

pub fn signal(pid: Pid, signal: Signal) {
    kill(pid, signal).expect("the process exists");
}

fn children_of(parent: u32) -> Vec<u32> {
    let mut children = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten() {
        let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.extend(text.split_whitespace().filter_map(|p| p.parse::<u32>().ok()));
    }
    children
}

fn command_line(pid: u32) -> String {
    std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("cmdline")).unwrap_or_default()
}

fn corosync_conf(apart: bool, targets: Option<&str>) -> String {
    let mut text = String::from("totem {\n    version: 2\n    cluster_name: lease\n}\nnodelist {\n");
    for (id, name) in (1..).map(NodeId).zip(NODES) {
        let address = if apart { ring_address(id.0 as u8) } else { vip_v4(id.0 as u8).into() };
        let _ = write!(text, "    node {{\n        ring0_addr: {address}\n");
        let _ = write!(text, "        name: {name}\n        nodeid: {id}\n    }}\n");
    }
    text += "}\nquorum {\n    provider: corosync_votequorum\n    two_node: 1\n    wait_for_all: 0\n";
    if let Some(targets) = targets {
        let _ = writeln!(text, "    ping_targets: {targets}");
    }
    text + "}\n"
}

fn cib(takeover: &str, params: &[(&str, &str)]) -> String {
    let more = |n: usize| -> String {
        params.iter().map(|(name, v)| format!("<nvpair id=\"vip{n}-{name}\" name=\"{name}\" value=\"{v}\"/>")).collect()
    };
    let primitives: String = vips()
        .iter()
        .enumerate()
        .map(|(n, vip)| {
            format!(
                "<primitive id=\"vip{n}\" class=\"ocf\" provider=\"heartbeat\" type=\"IPaddr2\">\
                 <instance_attributes id=\"vip{n}-p\"><nvpair id=\"vip{n}-ip\" name=\"ip\" value=\"{vip}\"/>\
                 {}</instance_attributes><operations><op id=\"vip{n}-m\" name=\"monitor\" interval=\"5s\"/></operations>\
                 </primitive>",
                more(n)
            )
        })
        .collect();
    format!(
        "<cib crm_feature_set=\"3.20.0\" validate-with=\"pacemaker-4.0\" epoch=\"1\" num_updates=\"0\" admin_epoch=\"1\">\
         <configuration><crm_config><cluster_property_set id=\"o\">\
         <nvpair id=\"o-f\" name=\"fencing-enabled\" value=\"false\"/>\
         <nvpair id=\"o-t\" name=\"bascule-takeover\" value=\"{takeover}\"/>\
         </cluster_property_set></crm_config><nodes/><resources><group id=\"director\">{primitives}</group></resources>\
         <constraints/><rsc_defaults><meta_attributes id=\"d\">\
         <nvpair id=\"d-s\" name=\"resource-stickiness\" value=\"100\"/></meta_attributes></rsc_defaults>\
         </configuration><status/></cib>"
    )
}
