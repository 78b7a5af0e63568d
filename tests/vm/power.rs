//! Machines that really go down: by their watchdog, by a fence agent at their monitor, by a poison pill, by themselves.
//!
//! They run on this host, before the guest of the other scenarios is booted: each needs a guest that ends.

use crate::fixture::{BASCULE, Cluster, corosync_conf};
use crate::machine::{self, Guest, PATIENCE, now_us};
use lab::vm::Image;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A scenario on the host.
pub type OnHost = (&'static str, fn(&Image, &Path) -> Result<(), String>);

pub const ALL: &[OnHost] = &[
    ("power: the watchdog resets a machine whose node hangs, and none that was stopped", watchdog_alone),
    ("power: a member is reset by its watchdog, switched off at its monitor, poisoned through a disk", members_go_down),
];

const NODES: [&str; 3] = ["n1", "n2", "n3"];
const VIP: &str = "10.77.0.50";
/// The guest's watchdog, in seconds.
const BITES_S: u64 = 8;
/// What the others are told to wait.
const WATCHDOG_TIMEOUT_S: u64 = 18;

/// Says what the monitor of an emulator answers to `quit`, and that it is gone.
const AGENT: &str = r#"#!/usr/bin/python3
import json, os, socket, sys, time
METADATA = """<?xml version="1.0" ?><resource-agent name="fence_monitor"><parameters><parameter name="port"/><parameter name="plug"/></parameters>
<actions><action name="off"/><action name="reboot"/><action name="monitor"/><action name="status"/><action name="metadata"/></actions></resource-agent>"""
if sys.argv[1:] == ["-o", "metadata"]:
    print(METADATA)
    sys.exit(0)
given = dict(line.strip().split("=", 1) for line in sys.stdin if "=" in line)
action, path = given.get("action"), given["monitor"]
def ask(words):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(path)
        lines = s.makefile("rw")
        lines.readline()
        for word in ["qmp_capabilities"] + words:
            lines.write(json.dumps({"execute": word}))
            lines.flush()
            answer = lines.readline()
        return answer
if action in ("monitor", "status"):
    sys.exit(0)
if action not in ("off", "reboot"):
    sys.exit(3)
with open(given["log"], "a") as log:
    log.write(f"{action} {given['nodename']}\n")
try:
    ask(["quit"])
except OSError as error:
    print(f"{path}: {error}", file=sys.stderr)
    sys.exit(1)
for _ in range(200):
    try:
        ask([])
    except OSError:
        sys.exit(0)
    time.sleep(0.05)
print("it still answers", file=sys.stderr)
sys.exit(1)
"#;

/// Keeps the ring's port from the node.
const HOLDS_THE_PORT: &str = "import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((\"127.0.0.1\", 5405)); time.sleep(60)";

const LIAR: &str = r#"#!/bin/sh
[ "$1 $2" = "-o metadata" ] || exit 0
echo '<?xml version="1.0" ?><resource-agent name="fence_pass"><parameters><parameter name="port"/></parameters>'
echo '<actions><action name="off"/><action name="reboot"/><action name="monitor"/><action name="metadata"/></actions></resource-agent>'
"#;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn watchdog_conf(conf: &str) -> String {
    format!("{conf}resources {{\n    watchdog_device: /dev/watchdog\n    watchdog_timeout: {BITES_S}\n}}\n")
}

fn copy_key(cluster_key: &[u8], dir: &Path) -> Result<(), String> {
    std::fs::write(dir.join("authkey"), cluster_key).map_err(|e| e.to_string())
}

fn watchdog_alone(image: &Image, dir: &Path) -> Result<(), String> {
    runtime().block_on(async {
        let dir = dir.join("alone");
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
        let conf = watchdog_conf(&corosync_conf(&["n1"]).replace("10.77.0.1", "127.0.0.1"));
        std::fs::write(dir.join("corosync.conf"), conf).map_err(|e| e.to_string())?;
        copy_key(&[7; 256], &dir)?;
        let mut guest = Guest::boot(image, &dir, None, "echo up >/result/up", &[])?;
        guest.says("up", "up").await?;
        // In a namespace of the machine, it is not this node's to reset.
        guest.tell(&format!(
            "ip netns add other; ip netns exec other ip link set lo up\n{}(sleep 4; kill -TERM $(cat /run/node.pid)) &\n\
             wait $(cat /run/node.pid); echo left >/result/first\n",
            machine::node("n1", "ip netns exec other")
        ));
        guest.says("node.log", "is left alone").await?;
        guest.says("first", "left").await?;
        // A start that fails leaves the device alone, a clean end disarms it.
        guest.tell(&format!(
            "python3 -c '{HOLDS_THE_PORT}' & holder=$!; sleep 2\n{}wait $(cat /run/node.pid); echo code $? >/result/refused; kill $holder\n",
            machine::node("n1", "")
        ));
        guest.says("refused", "code").await?;
        let refused = std::fs::read_to_string(dir.join("refused")).unwrap_or_default();
        println!("     a start that cannot have its port: exit {}", refused.trim());
        guest.tell(&format!(
            "{}sleep 6; kill -TERM $(cat /run/node.pid); wait $(cat /run/node.pid); echo code $? >/result/stopped\n",
            machine::node("n1", "")
        ));
        guest.says("stopped", "code 0").await?;
        let log = std::fs::read_to_string(dir.join("node.log")).unwrap_or_default();
        if log.matches("resets this machine").count() != 1 {
            return Err(format!("the device was not opened once\n{}", guest.words()));
        }
        tokio::time::sleep(Duration::from_secs(BITES_S + 5)).await;
        if guest.is_off() {
            return Err(format!("a node that was stopped in good order took its machine along\n{}", guest.words()));
        }
        println!("     stopped in good order: the machine still runs {} s later", BITES_S + 5);
        guest.tell(&format!(
            "{}sleep 5; kill -STOP $(cat /run/node.pid); echo stopped >/result/hung",
            machine::node("n1", "")
        ));
        guest.says("hung", "stopped").await?;
        let hung = Instant::now();
        guest.off().await?;
        println!("     hung: the machine was reset {:.1} s later", hung.elapsed().as_secs_f32());
        let console = guest.console();
        console.contains("softdog: Initiating system reboot").then_some(()).ok_or_else(|| guest.words())
    })
}

/// Two nodes on this host, and the third in a guest, which holds the address.
struct World {
    cluster: Cluster,
    image: Image,
    dir: PathBuf,
    guest: Option<Guest>,
    round: u32,
    began_us: i64,
}

impl World {
    async fn start(image: &Image, dir: &Path) -> Result<World, String> {
        let mut cluster = Cluster::prepare(&NODES).await;
        // A guest stands still at times when the host is busy: the operator asks for patience.
        let conf = corosync_conf(&NODES).replace("cluster_name: test", "cluster_name: test\n    token: 6000");
        std::fs::write(cluster.path("corosync.conf"), conf).map_err(|e| e.to_string())?;
        let agent = cluster.path("agents/fence_monitor");
        std::fs::create_dir_all(cluster.path("agents")).map_err(|e| e.to_string())?;
        std::fs::write(&agent, AGENT).map_err(|e| e.to_string())?;
        std::fs::set_permissions(&agent, std::fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())?;
        cluster.env.insert("BASCULE_FENCE_AGENTS", cluster.path("agents").display().to_string());
        machine::wire(&cluster, "n3").await?;
        for node in ["n1", "n2"] {
            cluster.start_node(node);
        }
        cluster.wait_for_ring(&["n1", "n2"]).await;
        Ok(World { cluster, image: image.clone(), dir: dir.to_owned(), guest: None, round: 0, began_us: now_us() })
    }

    fn guest(&mut self) -> &mut Guest {
        self.guest.as_mut().expect("booted")
    }

    /// The command must succeed on n1.
    fn run(&self, words: &[&str]) -> Result<String, String> {
        let (code, out, error) = self.cluster.command("n1", words);
        if code == 0 { Ok(out) } else { Err(format!("{words:?}: {code} {out}{error}\n{}", self.words())) }
    }

    fn configure(&self, properties: &str, device: &str) -> Result<(), String> {
        let xml = format!(
            "<configuration><crm_config><cluster_property_set id=\"o\">{}{properties}</cluster_property_set></crm_config><nodes/>\
             <resources>{device}<primitive id=\"vip\" class=\"ocf\" provider=\"heartbeat\" type=\"IPaddr2\"><instance_attributes id=\"v\">\
             <nvpair id=\"v-i\" name=\"ip\" value=\"{VIP}\"/><nvpair id=\"v-n\" name=\"nic\" value=\"eth0\"/><nvpair id=\"v-c\" name=\"cidr_netmask\" value=\"32\"/>\
             </instance_attributes></primitive></resources><constraints>\
             <rsc_location id=\"l\" rsc=\"vip\" node=\"n3\" score=\"1000\"/></constraints></configuration>",
            // It has not been seen when the others start.
            nvpair("startup-fencing", "false")
        );
        let file = self.cluster.path("new.xml");
        std::fs::write(&file, xml).map_err(|e| e.to_string())?;
        self.run(&["cibadmin", "-R", "-o", "configuration", "-x", &file.display().to_string()]).map(drop)
    }

    /// An agent that says yes to everything.
    fn liar(&self) -> Result<(), String> {
        let file = self.cluster.path("agents/fence_pass");
        std::fs::write(&file, LIAR).map_err(|e| e.to_string())?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())
    }

    /// Where the monitor of its emulator listens (QMP): a short path, since a socket's has a limit.
    fn monitor(&self) -> String {
        self.cluster.path("monitor").display().to_string()
    }

    /// Boots the machine and waits until it holds the address; nobody is fenced for it.
    async fn boot(&mut self, conf: &str, before: &str, devices: &[String]) -> Result<(), String> {
        self.round += 1;
        let dir = self.dir.join(format!("round{}", self.round));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
        std::fs::write(dir.join("corosync.conf"), conf).map_err(|e| e.to_string())?;
        copy_key(&std::fs::read(self.cluster.path("authkey")).map_err(|e| e.to_string())?, &dir)?;
        let script = format!(
            "modprobe virtio_net; ip link set eth0 up; ip addr add 10.77.0.3/24 dev eth0\n{before}\n{}",
            machine::node("n3", "")
        );
        let host = self.cluster.lab.host("n3").map_err(|e| e.to_string())?;
        let began = Instant::now();
        let qmp = ["-qmp".to_owned(), format!("unix:{},server=on,wait=off", self.monitor())];
        self.guest = Some(Guest::boot(&self.image, &dir, Some(host), &script, &[&qmp[..], devices].concat())?);
        self.until("n3 holds the address", |w| w.owner().as_deref() == Some("n3")).await?;
        println!("     n3 booted and holds the address after {:.1} s", began.elapsed().as_secs_f32());
        self.began_us = now_us();
        Ok(())
    }

    fn owner(&self) -> Option<String> {
        let (code, out, _) = self.cluster.command("n1", &["crm_resource", "-W", "-r", "vip"]);
        let on = out.trim().strip_prefix("resource vip is running on: ")?;
        (code == 0).then(|| on.trim().to_owned())
    }

    async fn until(&mut self, what: &str, mut ask: impl FnMut(&mut World) -> bool) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        while !ask(self) {
            if Instant::now() > end {
                return Err(format!("did not happen: {what}\n{}", self.words()));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    fn words(&self) -> String {
        let guest = self.guest.as_ref().map(Guest::words).unwrap_or_default();
        format!("{}\n{}\n{guest}", self.timeline().1, self.cluster.logs())
    }

    /// When each kind of event about fencing was first seen on this host's nodes in this round, and all of them as text.
    fn timeline(&self) -> (Vec<(i64, String)>, String) {
        let kinds = ["node_lost", "node_joined", "fence_start", "fence_device", "fenced", "fence_end", "address_added"];
        let mut all = Vec::new();
        for name in ["n1", "n2"] {
            let events = self.cluster.timeline(name).events.into_iter();
            let told = events.filter(|e| kinds.contains(&e.kind.as_str()) && e.wall_us >= self.began_us);
            all.extend(told.map(|e| (e.wall_us, format!("{name} {} {} {}", e.kind, e.subject, e.text))));
        }
        all.sort();
        let at = |us: i64| (us - self.began_us) as f64 / 1000.0;
        let text = all.iter().map(|(us, text)| format!("{:>11.1} ms {text}\n", at(*us))).collect();
        (all, text)
    }

    /// The machine went off; the address moved after the verdict, and only then; one fencing.
    async fn judge(&mut self, title: &str) -> Result<(i64, i64), String> {
        let off_us = self.guest().off().await?;
        // A start under way counts as running for the command, so the event is waited for as well.
        let added = |w: &World| w.timeline().0.iter().any(|(_, e)| e.contains(" address_added vip"));
        self.until("the address is elsewhere", |w| w.owner().is_some_and(|o| o != "n3") && added(w)).await?;
        let (all, text) = self.timeline();
        let first = |words: &[&str]| {
            let found = all.iter().find(|(_, e)| words.iter().all(|w| e.contains(w)));
            found.map(|(us, _)| *us).ok_or_else(|| format!("{title}: no event {words:?}\n{}", self.words()))
        };
        let (lost, verdict, moved) =
            (first(&["node_lost"])?, first(&[" fence_end n3"])?, first(&[" address_added vip"])?);
        let at = |us: i64| (us - self.began_us) as f64 / 1000.0;
        println!("     == {title}\n{text}{:>11.1} ms the machine is off", at(off_us));
        // Two clocks of this host's nodes, and a look every 10 ms.
        if verdict > moved || off_us > moved + 20_000 {
            return Err(format!(
                "{title}: the address moved before the verdict, or while the machine ran\n{}",
                self.words()
            ));
        }
        let history = self.run(&["stonith_admin", "--history", "n3", "-V"])?;
        let times = all.iter().filter(|(_, e)| e.starts_with("n1 fence_end n3")).count();
        if times != 1 {
            return Err(format!("{title}: {times} fencings\n{history}{}", self.words()));
        }
        Ok((lost, verdict))
    }
}

fn nvpair(name: &str, value: &str) -> String {
    format!("<nvpair id=\"p-{name}\" name=\"{name}\" value=\"{value}\"/>")
}

fn device(id: &str, agent: &str, params: &[(&str, &str)]) -> String {
    let pairs: String =
        params.iter().map(|(n, v)| format!("<nvpair id=\"{id}-{n}\" name=\"{n}\" value=\"{v}\"/>")).collect();
    format!(
        "<primitive id=\"{id}\" class=\"stonith\" type=\"{agent}\"><instance_attributes id=\"{id}-i\">{pairs}</instance_attributes></primitive>"
    )
}

fn members_go_down(image: &Image, dir: &Path) -> Result<(), String> {
    runtime().block_on(async {
        let mut world = World::start(image, dir).await?;
        let conf = std::fs::read_to_string(world.cluster.path("corosync.conf")).map_err(|e| e.to_string())?;
        by_watchdog(&mut world, &conf).await?;
        by_monitor(&mut world, &conf).await?;
        if std::env::var_os("BASCULE_LONG").is_none() {
            println!("     a poison pill and fencing-reaction=panic: with BASCULE_LONG=1");
            return Ok(());
        }
        by_itself(&mut world, &conf).await?;
        by_poison(&mut world, &conf).await
    })
}

/// Its ring is cut: its watchdog starves, and the others wait until that has certainly bitten.
async fn by_watchdog(world: &mut World, conf: &str) -> Result<(), String> {
    world.configure(&nvpair("stonith-watchdog-timeout", &format!("{WATCHDOG_TIMEOUT_S}s")), "")?;
    world.boot(&watchdog_conf(conf), "", &[]).await?;
    world.cluster.lab.unplug("n3").await.map_err(|e| e.to_string())?;
    let (lost, verdict) = world.judge("cut off: its watchdog resets it").await?;
    let waited_ms = (verdict - lost) / 1000;
    println!("     counted dead {waited_ms} ms after its loss, of {WATCHDOG_TIMEOUT_S} s that were set");
    if waited_ms < WATCHDOG_TIMEOUT_S as i64 * 1000 {
        return Err(format!("too early: {waited_ms} ms\n{}", world.words()));
    }
    let console = world.guest().console();
    if !console.contains("softdog: Initiating system reboot") {
        return Err(format!("not by its watchdog\n{}", world.words()));
    }
    world.cluster.lab.plug("n3").await.map_err(|e| e.to_string())
}

/// Its daemon hangs: the agent switches the machine off through the emulator's monitor.
async fn by_monitor(world: &mut World, conf: &str) -> Result<(), String> {
    let log = world.cluster.path("monitor.log");
    let monitor = world.monitor();
    let params = [("pcmk_host_list", "n3"), ("monitor", monitor.as_str()), ("log", &log.display().to_string())];
    world.configure("", &device("power", "fence_monitor", &params))?;
    world.boot(conf, "", &[]).await?;
    world.guest().tell("kill -STOP $(cat /run/node.pid)");
    world.judge("hung: switched off at its monitor").await?;
    let asked = std::fs::read_to_string(&log).unwrap_or_default();
    if asked != "reboot n3\n" {
        return Err(format!("the agent was asked for: {asked}\n{}", world.words()));
    }
    Ok(())
}

/// The agent lies, and the node is told: it resets its machine by itself, at once.
async fn by_itself(world: &mut World, conf: &str) -> Result<(), String> {
    world.liar()?;
    let pass = [("pcmk_host_list", "n3")];
    world.configure(&nvpair("fencing-reaction", "panic"), &device("lies", "fence_pass", &pass))?;
    world.boot(conf, "", &[]).await?;
    let mut command = tokio::process::Command::new(BASCULE);
    command.args(["stonith_admin", "--reboot", "n3"]).env("BASCULE_RUN_DIR", world.cluster.run_dir("n1"));
    let mut asked = command.spawn().map_err(|e| e.to_string())?;
    world.judge("told that it was fenced: it resets its machine").await?;
    let answer = asked.wait().await.map_err(|e| e.to_string())?;
    if !answer.success() {
        return Err(format!("stonith_admin: {answer}\n{}", world.words()));
    }
    let console = world.guest().console();
    // By the kernel at once, not by the watchdog later.
    if !console.contains("sysrq: Resetting") {
        return Err(format!("not by the kernel\n{}", world.words()));
    }
    Ok(())
}

/// Debian's `sbd` beside the node reads the shared disk, Debian's `fence_sbd` writes on it.
async fn by_poison(world: &mut World, conf: &str) -> Result<(), String> {
    let stock = "/usr/sbin/fence_sbd";
    if let Some(missing) = [stock, "/usr/sbin/sbd"].into_iter().find(|p| !Path::new(p).exists()) {
        println!("     SKIPPED: a poison pill; {missing} is not there (Debian: sbd, fence-agents)");
        return Ok(());
    }
    let disk = Disk::new(&world.cluster.path("disk"))?;
    std::os::unix::fs::symlink(stock, world.cluster.path("agents/fence_sbd")).map_err(|e| e.to_string())?;
    let drive = format!("file={},if=none,id=s,format=raw,cache=writethrough,file.locking=off", disk.file.display());
    let devices = ["-drive", &drive, "-device", "virtio-blk-pci,drive=s"].map(str::to_owned);
    let sbd = "modprobe virtio_blk; SBD_PACEMAKER=no SBD_SYNC_RESOURCE_STARTUP=no /usr/sbin/sbd -v -d /dev/vda -n n3 watch >/result/sbd.log 2>&1 &\nsleep 3";
    world.configure("", &device("disk", "fence_sbd", &[("devices", &disk.device)]))?;
    world.boot(conf, sbd, &devices).await?;
    world.run(&["stonith_admin", "--query", "disk"])?;
    let targets = world.run(&["stonith_admin", "--list-targets", "disk"])?;
    println!("     fence_sbd lists: {}", targets.replace('\n', " "));
    if !targets.contains("n3") {
        return Err(format!("the disk does not list n3: {targets}\n{}", world.words()));
    }
    world.began_us = now_us();
    world.guest().tell("kill -STOP $(cat /run/node.pid)");
    world.judge("hung: its sbd found the poison pill").await.map(drop)
}

/// A file as a block device of this host, with sbd's slots on it.
struct Disk {
    file: PathBuf,
    device: String,
}

impl Disk {
    fn new(file: &Path) -> Result<Disk, String> {
        let make = format!("truncate -s 4M '{0}' && losetup -f --show '{0}'", file.display());
        let device = crate::guest::shell(&make)?.trim().to_owned();
        let disk = Disk { file: file.to_owned(), device };
        crate::guest::shell(&format!("sbd -1 4 -4 8 -d {} create", disk.device))?;
        Ok(disk)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = crate::guest::shell(&format!("losetup -d {}", self.device));
    }
}
