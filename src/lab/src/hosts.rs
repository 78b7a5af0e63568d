//! Test hosts: namespaces joined by a switch, all on this machine.
//!
//! ```text
//!   switch (namespace with a bridge)
//!     ├── port director1 ── eth0 in namespace director1
//!     ├── port web1      ── eth0 in namespace web1
//!     └── …
//! ```
//!
//! Nothing of the host is changed, and nothing outlives the process that made the [`Lab`] (see `kernel::netns`).

use kernel::links::{LinkError, Links, sysctl};
use kernel::netns::{Namespace, NetnsError, Spec};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use tokio::process::{Child, Command};

/// Most hosts of one lab; every host costs a few processes and a bridge port.
pub const MAX_HOSTS: usize = 64;
const BRIDGE: &str = "br0";
const NIC: &str = "eth0";

/// Why the lab could not be built or changed.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    #[error("the lab needs root: it makes network namespaces (try: sudo bascule demo)")]
    NotRoot,
    #[error(transparent)]
    Namespace(#[from] NetnsError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("no host {0} in this lab")]
    NoHost(String),
    #[error("more than {MAX_HOSTS} hosts")]
    TooManyHosts,
    #[error("{0}")]
    Expectation(String),
}

impl LabError {
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> LabError {
        let what = what.into();
        move |source| LabError::Io { what, source }
    }
}

/// A host's name and addresses (both /24 and /64 of the lab's own networks).
#[derive(Clone, Debug)]
pub struct HostSpec {
    pub name: String,
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
}

impl HostSpec {
    /// Host number `n` of 10.77.0.0/24 and fd00:77::/64.
    pub fn numbered(name: &str, n: u8) -> HostSpec {
        HostSpec { name: name.to_owned(), v4: vip_v4(n), v6: vip_v6(n) }
    }
}

/// Address `n` of the lab's IPv4 network.
pub fn vip_v4(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, n)
}

/// Address `n` (in decimal digits, to look alike) of the lab's IPv6 network.
pub fn vip_v6(n: u8) -> Ipv6Addr {
    let digits = u16::from(n / 100) << 8 | u16::from(n / 10 % 10) << 4 | u16::from(n % 10);
    Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, digits)
}

/// One host: its namespace and a netlink socket inside.
pub struct Host {
    pub spec: HostSpec,
    pub ns: Namespace,
    pub links: Links,
}

impl Host {
    /// Starts a program inside; it is killed with the handle, and with the host.
    pub fn spawn(&self, command: &mut Command) -> Result<Child, LabError> {
        let runtime = tokio::runtime::Handle::current();
        let what = format!("start {:?} on {}", command.as_std().get_program(), self.spec.name);
        command.kill_on_drop(true);
        self.ns
            .run(move || {
                let _guard = runtime.enter();
                command.spawn()
            })?
            .map_err(LabError::io(what))
    }

    /// Whether the address is on one of the host's links now.
    pub async fn has_address(&self, addr: IpAddr) -> Result<bool, LabError> {
        Ok(self.links.addresses().await?.iter().any(|a| a.addr == addr))
    }
}

/// A switch and its hosts. Dropping it ends every process of every host.
pub struct Lab {
    switch: Namespace,
    ports: Links,
    hosts: BTreeMap<String, Host>,
}

impl Lab {
    /// An empty switch.
    pub async fn new() -> Result<Lab, LabError> {
        if !nix::unistd::geteuid().is_root() {
            return Err(LabError::NotRoot);
        }
        let switch = Namespace::create(&Spec::new("switch"))?;
        let ports = Links::open_in(&switch)?;
        // The switch's own stack must not answer or delay anything.
        sysctl(&switch, "net.ipv6.conf.default.disable_ipv6", "1")?;
        ports.add_bridge(BRIDGE).await?;
        Ok(Lab { switch, ports, hosts: BTreeMap::new() })
    }

    /// Plugs a new host in.
    pub async fn add_host(&mut self, spec: HostSpec) -> Result<&Host, LabError> {
        if self.hosts.len() >= MAX_HOSTS {
            return Err(LabError::TooManyHosts);
        }
        let ns = Namespace::create(&Spec::new(&spec.name))?;
        // Duplicate address detection would hold addresses back for more than a second.
        for scope in ["all", "default"] {
            sysctl(&ns, &format!("net.ipv6.conf.{scope}.accept_dad"), "0")?;
            sysctl(&ns, &format!("net.ipv6.conf.{scope}.accept_ra"), "0")?;
        }
        self.ports.add_veth_into(&spec.name, &ns, NIC).await?;
        self.ports.set_master(&spec.name, Some(BRIDGE)).await?;
        self.ports.up(&spec.name).await?;
        let links = Links::open_in(&ns)?;
        links.up("lo").await?;
        links.up(NIC).await?;
        links.add_address(NIC, spec.v4.into(), 24).await?;
        links.add_address(NIC, spec.v6.into(), 64).await?;
        let name = spec.name.clone();
        Ok(self.hosts.entry(name).or_insert(Host { spec, ns, links }))
    }

    pub fn host(&self, name: &str) -> Result<&Host, LabError> {
        self.hosts.get(name).ok_or_else(|| LabError::NoHost(name.to_owned()))
    }

    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values()
    }

    /// Pulls the host's cable: its port goes down, and its own side loses carrier.
    pub async fn unplug(&self, name: &str) -> Result<(), LabError> {
        self.host(name)?;
        Ok(self.ports.down(name).await?)
    }

    /// Puts the cable back.
    pub async fn plug(&self, name: &str) -> Result<(), LabError> {
        self.host(name)?;
        Ok(self.ports.up(name).await?)
    }

    /// The switch stops passing the host's packets; its cable and carrier stay.
    pub async fn isolate(&self, name: &str) -> Result<(), LabError> {
        self.host(name)?;
        Ok(self.ports.set_master(name, None).await?)
    }

    /// The switch passes its packets again.
    pub async fn reach(&self, name: &str) -> Result<(), LabError> {
        self.host(name)?;
        Ok(self.ports.set_master(name, Some(BRIDGE)).await?)
    }

    /// A further cable of each host, to a switch of its own: link `number` (1 and up), 10.77.`number`.0/24 and
    /// fd00:77:`number`::/64, with the last part as on the first.
    pub async fn add_network(&mut self, number: u8) -> Result<(), LabError> {
        let bridge = format!("br{number}");
        self.ports.add_bridge(&bridge).await?;
        for host in self.hosts.values() {
            let (port, nic) = (format!("{}.{number}", host.spec.name), format!("eth{number}"));
            self.ports.add_veth_into(&port, &host.ns, &nic).await?;
            self.ports.set_master(&port, Some(&bridge)).await?;
            self.ports.up(&port).await?;
            host.links.up(&nic).await?;
            let (mut v4, mut v6) = (host.spec.v4.octets(), host.spec.v6.segments());
            (v4[2], v6[2]) = (number, u16::from(number));
            host.links.add_address(&nic, Ipv4Addr::from(v4).into(), 24).await?;
            host.links.add_address(&nic, Ipv6Addr::from(v6).into(), 64).await?;
        }
        Ok(())
    }

    /// Pulls one cable of the host: 0 is the first.
    pub async fn unplug_from(&self, name: &str, network: u8) -> Result<(), LabError> {
        Ok(self.ports.down(&self.port(name, network)?).await?)
    }

    /// Puts it back.
    pub async fn plug_into(&self, name: &str, network: u8) -> Result<(), LabError> {
        Ok(self.ports.up(&self.port(name, network)?).await?)
    }

    /// What the cables of a network and its switch carry from now on; 0 is the first.
    pub async fn set_mtu(&self, network: u8, mtu: u32) -> Result<(), LabError> {
        let nic = if network == 0 { NIC.to_owned() } else { format!("eth{network}") };
        for (name, host) in &self.hosts {
            self.ports.set_mtu(&self.port(name, network)?, mtu).await?;
            host.links.set_mtu(&nic, mtu).await?;
        }
        Ok(())
    }

    fn port(&self, name: &str, network: u8) -> Result<String, LabError> {
        self.host(name)?;
        Ok(if network == 0 { name.to_owned() } else { format!("{name}.{network}") })
    }

    /// The power fails: the cable goes dead first, then every process is killed.
    pub async fn power_off(&self, name: &str) -> Result<(), LabError> {
        self.unplug(name).await?;
        Ok(self.host(name)?.ns.kill_all()?)
    }

    /// Names of the hosts that hold the address now.
    pub async fn holders(&self, addr: IpAddr) -> Result<Vec<String>, LabError> {
        let mut holders = Vec::new();
        for host in self.hosts.values() {
            if host.has_address(addr).await? {
                holders.push(host.spec.name.clone());
            }
        }
        Ok(holders)
    }

    /// Makes a web server accept packets for a VIP that a director forwards unchanged (direct routing).
    pub async fn accept_direct_routing(&self, name: &str, vip: IpAddr) -> Result<(), LabError> {
        let host = self.host(name)?;
        for scope in ["all", NIC] {
            sysctl(&host.ns, &format!("net.ipv4.conf.{scope}.arp_ignore"), "1")?;
            sysctl(&host.ns, &format!("net.ipv4.conf.{scope}.arp_announce"), "2")?;
        }
        Ok(host.links.add_address("lo", vip, if vip.is_ipv4() { 32 } else { 128 }).await?)
    }

    /// Process id of the switch's init, for hints (`nsenter -t PID -n`).
    pub fn switch_pid(&self) -> i32 {
        self.switch.init_pid()
    }
}

/// The program to start applets with: this very binary.
pub fn own_program() -> Result<std::path::PathBuf, LabError> {
    std::env::current_exe().map_err(LabError::io("find the path of this program"))
}

/// `program applet`, with pipes on stdin and stdout and errors into `log`.
pub fn applet(program: &Path, applet: &str, log: &Path) -> Result<Command, LabError> {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(log)
        .map_err(LabError::io(format!("open {}", log.display())))?;
    let mut command = Command::new(program);
    command.arg(applet).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).stderr(log);
    Ok(command)
}

/// Lines of this process's standard input; the channel closes at its end. How hosts' programs are told what to do, and
/// that whoever started them is gone.
pub fn stdin_lines() -> tokio::sync::mpsc::Receiver<String> {
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    // A thread, since reading a pipe blocks; it ends with the process.
    std::thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_look_alike_in_both_families() {
        assert_eq!(vip_v4(100).to_string(), "10.77.0.100");
        assert_eq!(vip_v6(100).to_string(), "fd00:77::100");
        assert_eq!(vip_v6(23).to_string(), "fd00:77::23");
    }

    #[tokio::test]
    async fn unplugging_cuts_a_host_off_and_power_off_ends_its_processes() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let mut lab = Lab::new().await.unwrap();
        lab.add_host(HostSpec::numbered("a", 1)).await.unwrap();
        lab.add_host(HostSpec::numbered("b", 2)).await.unwrap();
        let b = lab.host("b").unwrap();
        let _v4 = b.ns.run_net(|| std::net::TcpListener::bind("10.77.0.2:80")).unwrap().unwrap();
        let _v6 = b.ns.run_net(|| std::net::TcpListener::bind("[fd00:77::2]:80")).unwrap().unwrap();
        let connect = |to: &str| {
            let to = to.parse().unwrap();
            let wait = std::time::Duration::from_millis(300);
            lab.host("a").unwrap().ns.run_net(|| std::net::TcpStream::connect_timeout(&to, wait)).unwrap()
        };
        assert!(connect("10.77.0.2:80").is_ok());
        assert!(connect("[fd00:77::2]:80").is_ok());
        assert_eq!(lab.holders(vip_v4(2).into()).await.unwrap(), ["b"]);
        lab.unplug("b").await.unwrap();
        assert!(connect("10.77.0.2:80").is_err());
        lab.plug("b").await.unwrap();
        // Carrier and neighbour entries take a moment to come back.
        assert!((0..10).any(|_| connect("10.77.0.2:80").is_ok()));
        let mut child = b.spawn(Command::new("sleep").arg("100")).unwrap();
        lab.power_off("b").await.unwrap();
        let ended = tokio::time::timeout(std::time::Duration::from_secs(2), child.wait()).await;
        assert!(!ended.unwrap().unwrap().success());
    }
}
