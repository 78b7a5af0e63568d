//! The demo's hosts and the cluster on them: built from the files in `configs/demo`.

use super::api::{self, Commands};
use crate::hosts::{HostSpec, Lab, LabError, applet, vip_v4, vip_v6};
use crate::probe::monotonic_us;
use kernel::ipvs::Ipvs;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

pub const DIRECTORS: [&str; 2] = ["director1", "director2"];
pub const WEBS: [&str; 3] = ["web1", "web2", "web3"];
pub const CLIENT: &str = "client";
/// The resource group of `configs/demo/cib.xml`.
pub const GROUP: &str = "director";

const COROSYNC_CONF: &str = include_str!("../../../../configs/demo/corosync.conf");
const CIB_XML: &str = include_str!("../../../../configs/demo/cib.xml");
const LDIRECTORD_CF: &str = include_str!("../../../../configs/demo/ldirectord.cf");

/// What balances the connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum DataPlane {
    /// IPVS of the running kernel, direct routing.
    Kernel,
    /// The embedded user-space relay, masquerading.
    Relay,
}

impl DataPlane {
    pub fn name(self) -> &'static str {
        match self {
            DataPlane::Kernel => "kernel",
            DataPlane::Relay => "relay",
        }
    }
}

pub fn vips() -> [IpAddr; 2] {
    [vip_v4(100).into(), vip_v6(100).into()]
}

/// What the client asks: both addresses, port 80.
pub fn targets() -> Vec<SocketAddr> {
    vips().into_iter().map(|ip| SocketAddr::new(ip, 80)).collect()
}

/// A moment on the client's clock and on the nodes' calendar.
#[derive(Clone, Copy)]
pub struct Cut {
    pub monotonic_us: u64,
    pub wall_us: i64,
}

impl Cut {
    fn now() -> Cut {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Cut { monotonic_us: monotonic_us(), wall_us: i64::try_from(since.as_micros()).unwrap_or(i64::MAX) }
    }
}

pub struct Cluster {
    pub lab: Lab,
    pub program: PathBuf,
    pub dir: PathBuf,
    pub data_plane: DataPlane,
    webs: BTreeMap<String, Child>,
    nodes: BTreeMap<String, Child>,
}

impl Cluster {
    /// Builds hosts, web servers and files; starts no node yet. `wanted` = None takes kernel IPVS if there is any.
    pub async fn build(program: &Path, dir: &Path, wanted: Option<DataPlane>) -> Result<Cluster, LabError> {
        let mut lab = Lab::new().await?;
        for (n, name) in (1..).zip(DIRECTORS) {
            lab.add_host(HostSpec::numbered(name, n)).await?;
        }
        for (n, name) in (21..).zip(WEBS) {
            lab.add_host(HostSpec::numbered(name, n)).await?;
        }
        lab.add_host(HostSpec::numbered(CLIENT, 200)).await?;
        let data_plane = choose_data_plane(&lab, wanted)?;
        let mut cluster = Cluster {
            lab,
            program: program.to_owned(),
            dir: dir.to_owned(),
            data_plane,
            webs: BTreeMap::new(),
            nodes: BTreeMap::new(),
        };
        if data_plane == DataPlane::Kernel {
            for web in WEBS {
                for vip in vips() {
                    cluster.lab.accept_direct_routing(web, vip).await?;
                }
            }
        }
        for web in WEBS {
            cluster.start_web(web)?;
        }
        cluster.write_files().await?;
        Ok(cluster)
    }

    fn start_web(&mut self, name: &str) -> Result<(), LabError> {
        let mut command = applet(&self.program, "lab-web", &self.log(name))?;
        command.args(["--name", name, "--listen", "0.0.0.0:80", "--listen", "[::]:80"]);
        command.stdout(std::process::Stdio::null());
        let child = self.lab.host(name)?.spawn(&mut command)?;
        self.webs.insert(name.to_owned(), child);
        Ok(())
    }

    /// Tells a web server how to behave from now on: ok, fail, hang, stop.
    pub async fn tell_web(&mut self, name: &str, order: &str) -> Result<(), LabError> {
        let child = self.webs.get_mut(name).ok_or_else(|| LabError::NoHost(name.to_owned()))?;
        let stdin = child.stdin.as_mut().ok_or_else(|| LabError::NoHost(name.to_owned()))?;
        let what = format!("tell {name} to {order}");
        stdin.write_all(format!("{order}\n").as_bytes()).await.map_err(LabError::io(what.clone()))?;
        stdin.flush().await.map_err(LabError::io(what))
    }

    async fn write_files(&self) -> Result<(), LabError> {
        let logs = format!("{}/", self.dir.display());
        let mut director = LDIRECTORD_CF.replace("/var/log/", &logs);
        if self.data_plane == DataPlane::Relay {
            director = director.replace(" gate ", " masq ");
        }
        let cf = self.dir.join("ldirectord.cf");
        let cib = CIB_XML.replace("/etc/ha.d/ldirectord.cf", &cf.display().to_string());
        for (name, text) in [("corosync.conf", COROSYNC_CONF), ("cib.xml", &cib), ("ldirectord.cf", &director)] {
            let path = self.dir.join(name);
            std::fs::write(&path, text).map_err(LabError::io(format!("write {}", path.display())))?;
        }
        let key = self.dir.join("authkey").display().to_string();
        self.commands(DIRECTORS[0]).run(&["corosync-keygen", "-k", &key]).await.map(drop)
    }

    /// Starts (or, after a power loss, restarts) a director's node.
    pub fn start_node(&mut self, name: &str) -> Result<(), LabError> {
        let log = std::fs::File::options().create(true).append(true).open(self.log(name));
        let log = log.map_err(LabError::io(format!("open the log of {name}")))?;
        let out = log.try_clone().map_err(LabError::io("duplicate a log handle"))?;
        let mut command = Command::new(&self.program);
        command.arg("node").arg("--config").arg(self.dir.join("corosync.conf"));
        command.arg("--authkey").arg(self.dir.join("authkey"));
        command.arg("--state-dir").arg(self.dir.join(format!("{name}.state")));
        command.arg("--run-dir").arg(self.run_dir(name));
        command.arg("--data-plane").arg(self.data_plane.name());
        command.stdin(std::process::Stdio::null()).stdout(out).stderr(log);
        let child = self.lab.host(name)?.spawn(&mut command)?;
        self.nodes.insert(name.to_owned(), child);
        Ok(())
    }

    /// Cable first, then every process of the director: what a power loss looks like to everybody else. Returns when the
    /// cable was out.
    pub async fn power_off(&mut self, name: &str) -> Result<Cut, LabError> {
        self.lab.unplug(name).await?;
        let cut = Cut::now();
        self.lab.host(name)?.ns.kill_all()?;
        if let Some(mut child) = self.nodes.remove(name) {
            let _ = tokio::time::timeout(Duration::from_secs(5), child.wait()).await;
        }
        Ok(cut)
    }

    /// Cable and node again. The run directory is gone, as /run is after a boot; the state directory is the disk's.
    pub async fn power_on(&mut self, name: &str) -> Result<(), LabError> {
        let run_dir = self.run_dir(name);
        std::fs::remove_dir_all(&run_dir).map_err(LabError::io(format!("empty {}", run_dir.display())))?;
        self.lab.plug(name).await?;
        self.start_node(name)
    }

    /// An error if a node has ended that nobody switched off.
    pub fn check_nodes(&mut self) -> Result<(), LabError> {
        for (name, child) in &mut self.nodes {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(LabError::Expectation(format!("the node on {name} ended: {status}")));
            }
        }
        Ok(())
    }

    pub fn run_dir(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.run"))
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.log"))
    }

    pub fn commands(&self, name: &str) -> Commands {
        Commands { program: self.program.clone(), run_dir: self.run_dir(name) }
    }

    pub async fn load_cib(&self) -> Result<(), LabError> {
        let cib = self.dir.join("cib.xml").display().to_string();
        self.commands(DIRECTORS[0]).run(&["cibadmin", "--replace", "--xml-file", &cib]).await.map(drop)
    }

    pub async fn status(&self, name: &str) -> Result<Value, LabError> {
        api::get(&self.run_dir(name), "/v1/status").await
    }

    /// The one director that holds every virtual address, if there is one.
    pub async fn active(&self) -> Option<String> {
        let mut active = None;
        for name in DIRECTORS {
            let host = self.lab.host(name).ok()?;
            let held: Vec<IpAddr> = host.links.addresses().await.ok()?.into_iter().map(|a| a.addr).collect();
            let count = vips().iter().filter(|v| held.contains(v)).count();
            match (count, &active) {
                (0, _) => {}
                (n, None) if n == vips().len() => active = Some(name.to_owned()),
                _ => return None,
            }
        }
        active
    }

    /// Whether this director holds every virtual address, whatever the other (perhaps cut off) has.
    pub async fn holds_all(&self, name: &str) -> bool {
        let Ok(host) = self.lab.host(name) else { return false };
        let held = host.links.addresses().await.unwrap_or_default();
        vips().iter().all(|v| held.iter().any(|a| a.addr == *v))
    }

    /// Which director holds what, in words.
    pub async fn holders(&self) -> String {
        let mut parts = Vec::new();
        for name in DIRECTORS {
            let Ok(host) = self.lab.host(name) else { continue };
            let Ok(addresses) = host.links.addresses().await else { continue };
            let held: Vec<String> =
                vips().iter().filter(|v| addresses.iter().any(|a| a.addr == **v)).map(IpAddr::to_string).collect();
            if !held.is_empty() {
                parts.push(format!("{name} holds {}", held.join(" and ")));
            }
        }
        if parts.is_empty() { "nobody holds the addresses".to_owned() } else { parts.join("; ") }
    }

    /// The last lines of the directors' logs, for a failed demo.
    pub fn log_tails(&self, lines: usize) -> String {
        let tail = |name: &str| {
            let text = std::fs::read_to_string(self.log(name)).unwrap_or_default();
            let all: Vec<&str> = text.lines().collect();
            format!("== {}\n{}\n", self.log(name).display(), all[all.len().saturating_sub(lines)..].join("\n"))
        };
        DIRECTORS.iter().map(|name| tail(name)).collect()
    }
}

fn choose_data_plane(lab: &Lab, wanted: Option<DataPlane>) -> Result<DataPlane, LabError> {
    // IPVS is per network namespace, so ask where it will be used. Its sockets want a runtime of their own.
    let kernel = lab.host(DIRECTORS[0])?.ns.run_net(|| kernel::ipvs::Kernel::new().info())?;
    match (wanted, kernel) {
        (Some(DataPlane::Kernel), Err(e)) => {
            Err(LabError::Expectation(format!("kernel IPVS was asked for, but: {e}; try --data-plane relay")))
        }
        (Some(plane), _) => Ok(plane),
        (None, Ok(_)) => Ok(DataPlane::Kernel),
        (None, Err(_)) => Ok(DataPlane::Relay),
    }
}

/// Asks again and again until there is an answer; what was waited for is the error.
pub async fn wait_for<T>(what: &str, within: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> Result<T, LabError> {
    let end = Instant::now() + within;
    loop {
        if let Some(answer) = ask().await {
            return Ok(answer);
        }
        if Instant::now() >= end {
            return Err(LabError::Expectation(format!("did not happen within {} s: {what}", within.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
