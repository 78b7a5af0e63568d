//! Stock fence agents as Debian has them, against simulated management boards (`ipmi_sim`) behind the same switch.
//!
//! A board whose power goes off kills all processes of its node's namespace.

use crate::fencing::{Device, NODES, World, history, now_us, others};
use crate::root::root;
use lab::hosts::HostSpec;
use nix::sys::signal::Signal;
use std::os::unix::fs::PermissionsExt;
use wire::api::FenceState;

const PROGRAMS: [&str; 2] = ["/usr/sbin/fence_ipmilan", "/usr/bin/ipmi_sim"];
/// Where the boards are.
const BOARDS: &str = "10.77.0.9";

/// What a board does when it is asked for the power, or told: `MC get|set WHAT [VALUE]`.
const CHASSIS: &str = r#"#!/bin/sh
case "$2 $3 $4" in
    "get power "*) if [ -e "DIR/off.NODE" ]; then echo power:0; else echo power:1; fi ;;
    "set power 0")
        echo "off NODE" >> "DIR/fences"
        echo > "DIR/power.NODE"
        while [ -e "DIR/power.NODE" ]; do sleep 0.02; done
        touch "DIR/off.NODE" ;;
    "set power 1")
        echo "on NODE" >> "DIR/fences"
        rm -f "DIR/off.NODE" ;;
esac
"#;
const BOARD: &str = r#"name "bmc-NODE"
set_working_mc 0x20
  startlan 1
    addr ADDR PORT
    priv_limit admin
    allowed_auths_admin md5
    guid a123456789abcdefa123456789abcdef
  endlan
  chassis_control "DIR/chassis.NODE 0x20"
  user 2 true "admin" "secret" admin 10 md5
"#;
const SETUP: &str =
    "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\nmc_enable 0x20\n";
/// Takes packets and never answers.
const BLACK_HOLE: &str =
    "import socket, time; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 6999)); time.sleep(1000)";

fn port(number: usize) -> String {
    (6231 + number).to_string()
}

/// Boards for all nodes, and the agent among those of the cluster; they run until the world goes.
async fn boards(world: &mut World) -> Vec<tokio::process::Child> {
    let agent = world.cluster.path("agents/fence_ipmilan");
    std::os::unix::fs::symlink(PROGRAMS[0], agent).expect("linked");
    world.cluster.lab.add_host(HostSpec::numbered("boards", 9)).await.expect("a host");
    let host = world.cluster.lab.host("boards").expect("a host");
    let dir = world.cluster.path("").display().to_string();
    let mut all = Vec::new();
    for (n, node) in NODES.into_iter().enumerate() {
        let write = |name: &str, text: &str| {
            let text = text.replace("DIR", dir.trim_end_matches('/')).replace("NODE", node);
            let path = world.cluster.path(&format!("{name}.{node}"));
            std::fs::write(&path, text.replace("ADDR", BOARDS).replace("PORT", &port(n))).expect("written");
            path
        };
        let chassis = write("chassis", CHASSIS);
        std::fs::set_permissions(chassis, std::fs::Permissions::from_mode(0o755)).expect("set");
        let (config, setup) = (write("board", BOARD), write("setup", SETUP));
        let state = world.cluster.path(&format!("bmc.{node}"));
        std::fs::create_dir_all(&state).expect("made");
        let mut board = tokio::process::Command::new(PROGRAMS[1]);
        board.arg("-n").arg("-c").arg(config).arg("-f").arg(setup).arg("-s").arg(state);
        board.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        all.push(host.spawn(&mut board).expect("a board"));
    }
    let mut hole = tokio::process::Command::new("python3");
    all.push(host.spawn(hole.args(["-c", BLACK_HOLE])).expect("a black hole"));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn boards_that_hang_refuse_and_work() {
    let Some(()) = root() else { return };
    if let Some(missing) = PROGRAMS.into_iter().find(|p| !std::path::Path::new(p).exists()) {
        println!("SKIPPED: stock fence agents; {missing} is not there (Debian: fence-agents, ipmitool, openipmi)");
        assert!(std::env::var_os("CI").is_none(), "{missing} has to be there in CI");
        return;
    }
    let mut world = World::prepare(&NODES).await;
    let _boards = boards(&mut world).await;
    let ports: Vec<String> = (0..NODES.len()).map(port).collect();
    let common = [("ip", BOARDS), ("username", "admin"), ("lanplus", "1"), ("cipher", "3")];
    let with = |more: &[(&'static str, &'static str)]| [&common[..], more].concat();
    let hangs = with(&[("ipport", "6999"), ("password", "secret"), ("pcmk_reboot_timeout", "3s")]);
    let hangs =
        [&hangs[..], &[("pcmk_reboot_retries", "1"), ("pcmk_monitor_timeout", "3s"), ("pcmk_host_list", "n1 n2 n3")]]
            .concat();
    let refuses = with(&[
        ("ipport", "6231"),
        ("password", "wrong"),
        ("pcmk_reboot_retries", "1"),
        ("pcmk_host_list", "n1 n2 n3"),
    ]);
    let works: Vec<Vec<(&str, &str)>> = (0..NODES.len())
        .map(|n| {
            let own = [("ipport", ports[n].as_str()), ("password", "secret"), ("pcmk_host_list", NODES[n])];
            [&common[..], &own[..]].concat()
        })
        .collect();
    let devices: [Device<'_>; 5] = [
        ("hangs", "fence_ipmilan", &hangs),
        ("refuses", "fence_ipmilan", &refuses),
        ("bmc-n1", "fence_ipmilan", &works[0]),
        ("bmc-n2", "fence_ipmilan", &works[1]),
        ("bmc-n3", "fence_ipmilan", &works[2]),
    ];
    let levels: String = NODES
        .into_iter()
        .flat_map(|node| {
            [(1, "hangs".to_owned()), (2, "refuses".to_owned()), (3, format!("bmc-{node}"))].map(|l| (node, l))
        })
        .map(|(node, (n, device))| {
            format!("<fencing-level id=\"l-{node}-{n}\" target=\"{node}\" index=\"{n}\" devices=\"{device}\"/>")
        })
        .collect();
    world.begin(&[], &devices, &levels, "").await;

    looked_at(&mut world).await;

    let old = world.owner(&NODES).await;
    let since = now_us();
    world.cluster.signal(old, Signal::SIGSTOP);
    let rest = others(&NODES, old);
    let new = world.owner(&rest).await;
    world.verify("a board that hangs, one that refuses, one that works", old, since);
    assert_eq!(world.fences(), [format!("off {old}"), format!("on {old}")]);
    let device = format!("bmc-{old}");
    assert_eq!(history(&world, new, old)[0], (FenceState::Success, Some(device.clone())));
    let story = world.timeline();
    assert!(story.contains("did not finish in time") && story.contains("plug status"), "each says why: {story}");
    world.ended(old).await;
    world.boot(old);
    world.watch("it is a member again", |c| (c.status(old)?.members.len() == 3).then_some(())).await;
    world.look_on(4000).await;
    assert_eq!(world.fences().len(), 2, "{:?}\n{}", world.fences(), world.timeline());
}

/// What an operator sees of the devices before anything happens.
async fn looked_at(world: &mut World) {
    let run = |world: &World, words: &str| world.cluster.command("n1", &words.split(' ').collect::<Vec<_>>());
    let (code, metadata, error) = run(world, "stonith_admin --metadata --agent fence_ipmilan");
    assert!(code == 0 && metadata.contains("name=\"lanplus\""), "{code} {metadata}{error}");
    for node in NODES {
        let (code, out, error) = run(world, &format!("stonith_admin --query bmc-{node}"));
        assert_eq!(code, 0, "{out}{error}\n{}", world.cluster.logs());
    }
    let (code, out, error) = run(world, "stonith_admin --query refuses");
    assert!(code != 0 && error.contains("plug status"), "its own words: {code} {out}{error}");
    let (code, out, error) = run(world, "stonith_admin --query hangs");
    assert!(code != 0 && error.contains("in time"), "{code} {out}{error}");
    let (_, targets, _) = run(world, "stonith_admin --list-targets bmc-n2");
    assert_eq!(targets, "n2\n1 fence target found\n");
    let (_, shown, _) = run(world, "crm_mon -1");
    assert!(shown.contains("refuses") && shown.contains("plug status"), "status gives the reason: {shown}");
    assert_eq!(world.fences(), [""; 0], "no question has switched anything");
}
