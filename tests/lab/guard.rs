//! The guard process by itself: a thousand addresses go when the daemon's end of the pipe does, or when the daemon is stopped.

use crate::fixture::{BASCULE, signal};
use crate::root::root;
use base::lease::Bounds;
use lab::hosts::{HostSpec, Lab};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;

const ADDRESSES: u16 = 1000;
const PATIENCE: Duration = Duration::from_secs(30);

/// Half of them of each family.
fn address(n: u16) -> (IpAddr, u8) {
    if n.is_multiple_of(2) {
        ([10, 99, (n / 250) as u8, (n % 250) as u8 + 1].into(), 32)
    } else {
        ([0x2001, 0xdb8, 99, 0, 0, 0, 0, n].into(), 128)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_addresses_go_together() {
    let Some(()) = root() else { return };
    let mut lab = Lab::new().await.expect("a lab");
    lab.add_host(HostSpec::numbered("d1", 1)).await.expect("a host");
    let host = lab.host("d1").expect("the host");
    let index =
        host.links.list().await.expect("links").iter().find(|l| l.name == "eth0").map(|l| l.index).expect("eth0");
    let before = host.links.addresses().await.expect("addresses").len();
    // Somebody to watch over: a process that does nothing.
    let mut watched = tokio::process::Command::new("sleep");
    let mut watched = host.spawn(watched.arg("600").kill_on_drop(true)).expect("a process");
    for stopped in [false, true] {
        let mut command = tokio::process::Command::new(BASCULE);
        command.args(["guard", "--watch", &watched.id().expect("it runs").to_string()]);
        command.stdin(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut guard = host.spawn(&mut command).expect("the guard");
        let mut pipe = guard.stdin.take().expect("its pipe");
        let mut lines = String::new();
        for n in 0..ADDRESSES {
            let (addr, prefix_len) = address(n);
            host.links.add_address("eth0", addr, prefix_len).await.expect("added");
            let _ = writeln!(lines, "{{\"hold\":{{\"addr\":\"{addr}\",\"interface_index\":{index},\"label\":null}}}}");
        }
        pipe.write_all(lines.as_bytes()).await.expect("the guard reads");
        for _ in 0..10 {
            pipe.write_all(b"\"beat\"\n").await.expect("the guard reads");
            tokio::time::sleep(Bounds::STANDARD.beat).await;
        }
        let held = host.links.addresses().await.expect("addresses").len();
        assert_eq!(held, before + usize::from(ADDRESSES), "kept while the daemon lives");
        let began = Instant::now();
        if stopped {
            signal(Pid::from_raw(watched.id().expect("it runs") as i32), Signal::SIGSTOP);
        } else {
            drop(pipe.shutdown().await);
            drop(pipe);
        }
        while host.links.addresses().await.expect("addresses").len() > before {
            assert!(began.elapsed() < PATIENCE, "some stay");
        }
        if stopped {
            // A renewal that the kernel got to only now; none that comes when a lease would be over is from before the stop.
            let (addr, prefix_len) = address(7);
            host.links.add_address("eth0", addr, prefix_len).await.expect("added");
            let back = Instant::now();
            while host.links.addresses().await.expect("addresses").len() > before {
                assert!(back.elapsed() < PATIENCE, "what came back stays");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            println!("one that came back behind the removal: gone after {} ms", back.elapsed().as_millis());
        }
        let how = if stopped { "stopped" } else { "ended" };
        println!(
            "daemon {how}: {ADDRESSES} addresses gone after {} ms; stated: {} ms",
            began.elapsed().as_millis(),
            Bounds::STANDARD.stopped().as_millis()
        );
    }
    let _ = watched.start_kill();
}
