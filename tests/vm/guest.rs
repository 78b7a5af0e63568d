//! Small tools for scenarios inside the guest: namespaces by `ip netns`, shell commands with errors, waiting.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Standard output of a shell command that must succeed.
pub fn shell(command: &str) -> Result<String, String> {
    finish(command, Command::new("sh").args(["-c", command]))
}

/// Kills every process in a namespace. One may end by itself between the look and the blow, so what counts is that none is left.
pub fn kill_all(name: &str) -> Result<(), String> {
    let gone = wait_until(Duration::from_secs(10), || {
        let _ = shell(&format!("ip netns pids '{name}' | xargs -r kill -9"));
        shell(&format!("ip netns pids '{name}'")).ok().filter(|pids| pids.trim().is_empty())
    });
    gone.map(drop).ok_or_else(|| format!("processes in {name} do not end"))
}

fn finish(shown: &str, command: &mut Command) -> Result<String, String> {
    let out = command.output().map_err(|e| format!("{shown}: {e}"))?;
    let stdout = String::from_utf8_lossy(&out.stdout).into_owned();
    if out.status.success() {
        return Ok(stdout);
    }
    Err(format!("{shown}: {}\n{stdout}{}", out.status, String::from_utf8_lossy(&out.stderr)))
}

/// A network namespace that goes when this value does, with every process in it.
pub struct Namespace {
    pub name: String,
}

static NEXT_VETH: AtomicU32 = AtomicU32::new(0);

impl Namespace {
    pub fn new(name: &str) -> Result<Namespace, String> {
        shell(&format!("ip netns add '{name}'"))?;
        let space = Namespace { name: name.to_owned() };
        space.run("ip link set lo up")?;
        Ok(space)
    }

    /// Runs a shell command inside.
    pub fn run(&self, command: &str) -> Result<String, String> {
        finish(command, Command::new("ip").args(["netns", "exec", &self.name, "sh", "-c", command]))
    }

    /// Joins `eth0` here to a bridge in another namespace and gives it addresses.
    pub fn attach_to(&self, other: &Namespace, bridge: &str, addresses: &[&str]) -> Result<(), String> {
        self.attach_more(other, bridge, "eth0", addresses)
    }

    pub fn attach_more(&self, other: &Namespace, bridge: &str, link: &str, addresses: &[&str]) -> Result<(), String> {
        let peer = format!("v{}", NEXT_VETH.fetch_add(1, Ordering::Relaxed));
        let (me, them) = (&self.name, &other.name);
        shell(&format!("ip link add {link} netns '{me}' type veth peer name {peer} netns '{them}'"))?;
        other.run(&format!("ip link set {peer} master {bridge} up"))?;
        self.run(&format!("ip link set {link} up"))?;
        for address in addresses {
            let nodad = if address.contains(':') { " nodad" } else { "" };
            self.run(&format!("ip addr add {address} dev {link}{nodad}"))?;
        }
        Ok(())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let name = &self.name;
        let _ = kill_all(name);
        let _ = shell(&format!("ip netns del '{name}'"));
    }
}

pub fn sorted_lines(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// Asks every half second until there is an answer or the time is over.
pub fn wait_until<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() > end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}
