//! Ways to stop with stock agents, whose stop depends on parameters: what was placed is gone, whatever the configuration says by then.

use crate::fixture::{self, Cluster, cib_call, post};
use crate::root::root;
use nix::sys::signal::Signal;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;
use wire::api::{CibOp, CibReply};

const NODES: [&str; 2] = ["n1", "n2"];
const STANDBY: &str = "<nodes><node id=\"2\" uname=\"n2\"><instance_attributes id=\"nodes-2\">\
    <nvpair id=\"nodes-2-s\" name=\"standby\" value=\"on\"/></instance_attributes></node></nodes>";
const NO_FENCING: &str = "<crm_config><cluster_property_set id=\"o\">\
    <nvpair id=\"o-f\" name=\"stonith-enabled\" value=\"false\"/></cluster_property_set></crm_config>";

/// Files outside the test's own directory, taken away at its end.
struct Outside(Vec<PathBuf>);

impl Drop for Outside {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Something that an agent places by its parameters.
struct Thing {
    name: &'static str,
    /// Attributes of the primitive: class, provider, type.
    agent: String,
    /// Parameters of the first and the second placement; the same if the agent has none.
    params: [Vec<(&'static str, String)>; 2],
    /// Says something while the first and the second are in place.
    looks: [String; 2],
}

fn things(cluster: &Cluster, provider: &str, script: &str) -> Vec<Thing> {
    let file = |n: u8| cluster.path(&format!("placed-{n}")).display().to_string();
    let stock = |agent: &str| format!("class=\"ocf\" provider=\"{provider}\" type=\"{agent}\"");
    let address =
        |n: u8| vec![("ip", format!("10.55.{n}.7")), ("cidr_netmask", "32".to_owned()), ("nic", "lo".to_owned())];
    let route = |n: u8| vec![("destination", format!("10.56.{n}.0/24")), ("device", "lo".to_owned())];
    let mount = |n: u8| {
        let options = ("options", "size=1m".to_owned());
        vec![("device", "tmpfs".to_owned()), ("directory", file(n)), ("fstype", "tmpfs".to_owned()), options]
    };
    let look = |what: fn(u8, &str) -> String| [what(1, &file(1)), what(2, &file(2))];
    vec![
        Thing {
            name: "stock IPaddr2",
            agent: stock("IPaddr2"),
            params: [address(1), address(2)],
            looks: look(|n, _| format!("ip -o addr show to 10.55.{n}.7")),
        },
        Thing {
            name: "native IPaddr2",
            agent: "class=\"ocf\" provider=\"heartbeat\" type=\"IPaddr2\"".to_owned(),
            params: [address(1), address(2)],
            looks: look(|n, _| format!("ip -o addr show to 10.55.{n}.7")),
        },
        Thing {
            name: "stock Route",
            agent: stock("Route"),
            params: [route(1), route(2)],
            looks: look(|n, _| format!("ip route show 10.56.{n}.0/24")),
        },
        Thing {
            name: "stock Filesystem",
            agent: stock("Filesystem"),
            params: [mount(1), mount(2)],
            looks: look(|_, file| format!("grep ' {file} ' /proc/self/mounts")),
        },
        Thing {
            name: "native Dummy",
            agent: "class=\"ocf\" provider=\"pacemaker\" type=\"Dummy\"".to_owned(),
            params: [vec![("state", file(1) + ".state")], vec![("state", file(2) + ".state")]],
            looks: look(|_, file| format!("ls {file}.state")),
        },
        Thing {
            name: "LSB script",
            agent: format!("class=\"lsb\" type=\"{script}\""),
            params: [vec![], vec![]],
            looks: [format!("ls {}", file(3)), format!("ls {}", file(3))],
        },
    ]
}

fn primitive(id: &str, agent: &str, params: &[(&str, String)], role: &str) -> String {
    let pairs: String =
        params.iter().map(|(n, v)| format!("<nvpair id=\"{id}-{n}\" name=\"{n}\" value=\"{v}\"/>")).collect();
    let set = if pairs.is_empty() {
        pairs
    } else {
        format!("<instance_attributes id=\"{id}-i\">{pairs}</instance_attributes>")
    };
    format!(
        "<primitive id=\"{id}\" {agent}>{set}<meta_attributes id=\"{id}-m\"><nvpair id=\"{id}-r\" name=\"target-role\" value=\"{role}\"/>\
         </meta_attributes><operations><op id=\"{id}-o\" name=\"monitor\" interval=\"5s\"/></operations></primitive>"
    )
}

fn write(cluster: &Cluster, node: &str, op: CibOp, section: &str, xml: String) {
    let mut call = cib_call(op, section, Some(xml));
    call.options.allow_create = true;
    let reply: CibReply = post(&cluster.run_dir(node), "cib", &call, fixture::PATIENCE).expect("an answer");
    assert_eq!(reply.code, 0, "{reply:?}");
}

fn resources(cluster: &Cluster, node: &str, xml: &str) {
    write(cluster, node, CibOp::Replace, "resources", format!("<resources>{xml}</resources>"));
}

/// What a shell on a node says.
async fn says_on(cluster: &Cluster, node: &str, script: &str) -> String {
    let file = cluster.path("said");
    let out = std::fs::File::create(&file).expect("a file");
    let mut command = tokio::process::Command::new("sh");
    command.args(["-c", script]).stdout(out).stderr(std::process::Stdio::null());
    let mut child = cluster.lab.host(node).expect("a host").spawn(&mut command).expect("it starts");
    child.wait().await.expect("it ends");
    std::fs::read_to_string(&file).expect("read").trim().to_owned()
}

async fn says(cluster: &Cluster, script: &str) -> String {
    says_on(cluster, "n1", script).await
}

async fn until_placed(cluster: &Cluster, script: &str, wanted: bool, case: &str) {
    let end = std::time::Instant::now() + fixture::PATIENCE * 2;
    while says(cluster, script).await.is_empty() == wanted {
        let state = if wanted { "is not there" } else { "is still there" };
        assert!(std::time::Instant::now() < end, "{case}: what `{script}` shows {state}\n{}", cluster.logs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn killed(cluster: &mut Cluster) {
    cluster.signal("n1", Signal::SIGKILL);
    cluster.daemons.get_mut("n1").expect("a daemon").wait().await.expect("it ended");
}

/// Places the first, ends it in this way, and sees that it is gone (and the second there, if it shall be).
async fn case(cluster: &mut Cluster, thing: &Thing, way: &str) {
    let name = format!("{}, {way}", thing.name);
    println!("{name}");
    let first = primitive("x", &thing.agent, &thing.params[0], "Started");
    let second = primitive("x", &thing.agent, &thing.params[1], "Started");
    resources(cluster, "n1", &first);
    until_placed(cluster, &thing.looks[0], true, &name).await;
    let mut second_wanted = false;
    match way {
        "deleted" => resources(cluster, "n1", ""),
        "changed" => {
            resources(cluster, "n1", &second);
            second_wanted = true;
        }
        "renamed and changed" => {
            resources(cluster, "n1", &primitive("y", &thing.agent, &thing.params[1], "Started"));
            second_wanted = true;
        }
        "another agent" => resources(
            cluster,
            "n1",
            &primitive("x", "class=\"ocf\" provider=\"bascule\" type=\"director-settings\"", &[], "Stopped"),
        ),
        "disabled and changed" => resources(cluster, "n1", &primitive("x", &thing.agent, &thing.params[1], "Stopped")),
        "deleted while its daemon is dead" => {
            killed(cluster).await;
            resources(cluster, "n2", "");
            cluster.start_node("n1");
            cluster.wait_for_ring(&NODES).await;
        }
        _ => panic!("no such way"),
    }
    let same = thing.looks[0] == thing.looks[1];
    if second_wanted {
        until_placed(cluster, &thing.looks[1], true, &name).await;
    }
    if !(second_wanted && same) {
        until_placed(cluster, &thing.looks[0], false, &name).await;
    }
    resources(cluster, "n1", "");
    until_placed(cluster, &thing.looks[1], false, &name).await;
    let records = cluster.run_dir("n1").join("instances");
    let left = || std::fs::read_dir(&records).map_or(0, Iterator::count) == 0;
    cluster.until(&format!("{name}: no record is left"), || left().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stock_agents_placed_is_gone_however_it_ends() {
    let Some(()) = root() else { return };
    let stock = Path::new("/usr/lib/ocf/resource.d/heartbeat");
    if !stock.join("Route").exists() {
        return println!("skipped: resource-agents is not installed");
    }
    let mut cluster = Cluster::start(&NODES).await;
    write(&cluster, "n1", CibOp::Modify, "crm_config", NO_FENCING.to_owned());
    write(&cluster, "n1", CibOp::Modify, "nodes", STANDBY.to_owned());
    let own = format!("bascule-test-{}", std::process::id());
    let provider = stock.with_file_name(&own);
    let script = Path::new("/etc/init.d").join(&own);
    let _outside = Outside(vec![provider.clone(), script.clone()]);
    symlink(stock, &provider).expect("a link");
    let state = cluster.path("placed-3").display().to_string();
    let text = format!(
        "#!/bin/sh\ncase $1 in start) : > {state};; stop) rm -f {state};; status) [ -e {state} ] || exit 3;; esac\n"
    );
    std::fs::write(&script, text).expect("written");
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("set");
    let ways = [
        "deleted",
        "changed",
        "renamed and changed",
        "another agent",
        "disabled and changed",
        "deleted while its daemon is dead",
    ];
    for thing in things(&cluster, &own, &own) {
        for way in ways {
            case(&mut cluster, &thing, way).await;
        }
    }
}

/// The owner of the address, as soon as exactly one node has it.
async fn owner(cluster: &Cluster, round: &str) -> &'static str {
    let end = std::time::Instant::now() + fixture::PATIENCE;
    loop {
        let mut holders = Vec::new();
        for node in NODES {
            if !says_on(cluster, node, "ip -o addr show to 10.55.9.9").await.is_empty() {
                holders.push(node);
            }
        }
        if let [one] = holders[..] {
            return one;
        }
        assert!(std::time::Instant::now() < end, "{round}: the address is on {holders:?}\n{}", cluster.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_lost_right_after_a_move_comes_back() {
    let Some(()) = root() else { return };
    let cluster = Cluster::start(&NODES).await;
    write(&cluster, "n1", CibOp::Modify, "crm_config", NO_FENCING.to_owned());
    let params = [("ip", "10.55.9.9".to_owned()), ("cidr_netmask", "32".to_owned()), ("nic", "lo".to_owned())];
    let agent = "class=\"ocf\" provider=\"heartbeat\" type=\"IPaddr2\"";
    resources(
        &cluster,
        "n1",
        &primitive("vip", agent, &params, "Started").replace("interval=\"5s\"", "interval=\"2s\""),
    );
    for n in 0..8u64 {
        let round = format!("round {n}");
        let from = owner(&cluster, &round).await;
        let id = if from == "n1" { 1 } else { 2 };
        let other = 3 - id;
        let standby = |id: i32, value: &str| {
            STANDBY
                .replace("id=\"2\"", &format!("id=\"{id}\""))
                .replace("\"n2\"", &format!("\"n{id}\""))
                .replace("nodes-2", &format!("nodes-{id}"))
                .replace("value=\"on\"", &format!("value=\"{value}\""))
        };
        write(&cluster, "n1", CibOp::Modify, "nodes", standby(other, "off"));
        write(&cluster, "n1", CibOp::Modify, "nodes", standby(id, "on"));
        let to = loop {
            let now = owner(&cluster, &round).await;
            if now != from {
                break now;
            }
        };
        tokio::time::sleep(Duration::from_millis(n * 137 % 1000)).await;
        if n % 2 == 0 {
            says_on(&cluster, to, "ip addr del 10.55.9.9/32 dev lo").await;
        } else {
            cluster.signal(to, Signal::SIGSTOP);
            says_on(&cluster, to, "sleep 0.15; ip addr del 10.55.9.9/32 dev lo").await;
            cluster.signal(to, Signal::SIGCONT);
        }
        assert_eq!(owner(&cluster, &round).await, to, "{round}");
        // It stays, and the cluster is at rest: nothing is left that says otherwise.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        owner(&cluster, &round).await;
    }
}
