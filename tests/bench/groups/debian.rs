//! Debian's corosync on hosts of a lab of its own.

use lab::hosts::{HostSpec, Lab, vip_v4};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

const COROSYNC: &str = "/usr/sbin/corosync";
const UP_WITHIN: Duration = Duration::from_secs(30);

pub struct Debian {
    pub lab: Lab,
    load: PathBuf,
    children: BTreeMap<&'static str, Child>,
    _dir: tempfile::TempDir,
}

impl Debian {
    pub async fn start(nodes: &[&'static str]) -> Result<Debian, String> {
        if !std::path::Path::new(COROSYNC).exists() {
            return Err("apt-get install corosync".to_owned());
        }
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let load = super::compile(dir.path())?;
        let mut lab = Lab::new().await.map_err(|e| e.to_string())?;
        let key: Vec<u8> = (0..256u32).map(|n| (n.wrapping_mul(97) >> 2) as u8).collect();
        let keyfile = dir.path().join("authkey");
        std::fs::write(&keyfile, key).map_err(|e| e.to_string())?;
        std::fs::set_permissions(&keyfile, PermissionsExt::from_mode(0o400)).map_err(|e| e.to_string())?;
        let mut text = format!(
            "totem {{\n    version: 2\n    cluster_name: bench\n    transport: knet\n    crypto_cipher: aes256\n    \
             crypto_hash: sha256\n    keyfile: {}\n}}\nnodelist {{\n",
            keyfile.display()
        );
        for (id, name) in (1u8..).zip(nodes) {
            let address = vip_v4(id);
            let _ = write!(
                text,
                "    node {{\n        ring0_addr: {address}\n        name: {name}\n        nodeid: {id}\n    }}\n"
            );
        }
        text +=
            "}\nquorum {\n    provider: corosync_votequorum\n}\nlogging {\n    to_syslog: no\n    to_stderr: yes\n}\n";
        let mut children = BTreeMap::new();
        for (n, name) in (1u8..).zip(nodes) {
            let state = dir.path().join(name);
            std::fs::create_dir(&state).map_err(|e| e.to_string())?;
            // Real-time priority and locked memory as by default.
            let own = format!(
                "{text}system {{\n    move_to_root_cgroup: no\n    allow_knet_handle_fallback: yes\n    state_dir: {}\n}}\n",
                state.display()
            );
            let conf = dir.path().join(format!("{name}.conf"));
            std::fs::write(&conf, own).map_err(|e| e.to_string())?;
            let log = std::fs::File::create(dir.path().join(format!("{name}.log"))).map_err(|e| e.to_string())?;
            let line =
                format!("mount -t tmpfs none /run && hostname {name} && exec {COROSYNC} -f -c {}", conf.display());
            let mut command = Command::new("unshare");
            command
                .args(["-m", "-u", "sh", "-c", &line])
                .stdout(log.try_clone().map_err(|e| e.to_string())?)
                .stderr(log);
            let host = lab.add_host(HostSpec::numbered(name, n)).await.map_err(|e| e.to_string())?;
            children.insert(*name, host.spawn(&mut command).map_err(|e| e.to_string())?);
        }
        let debian = Debian { lab, load, children, _dir: dir };
        debian.wait(nodes).await?;
        Ok(debian)
    }

    async fn wait(&self, nodes: &[&str]) -> Result<(), String> {
        let began = Instant::now();
        let wanted = format!("Nodes:            {}\n", nodes.len());
        loop {
            let mut command = Command::new("corosync-quorumtool");
            command.arg("-s").stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
            let child =
                self.lab.host("n1").map_err(|e| e.to_string())?.spawn(&mut command).map_err(|e| e.to_string())?;
            let out = child.wait_with_output().await.map_err(|e| e.to_string())?;
            if String::from_utf8_lossy(&out.stdout).contains(&wanted) {
                return Ok(());
            }
            if began.elapsed() > UP_WITHIN {
                let log = std::fs::read_to_string(self._dir.path().join("n1.log")).unwrap_or_default();
                return Err(format!("no ring of {} nodes: {log}", nodes.len()));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    pub fn client(&self, _: &str) -> Command {
        let mut command = Command::new(&self.load);
        command.arg("bench");
        command
    }

    pub fn pid(&self, node: &str) -> i32 {
        self.children[node].id().and_then(|id| i32::try_from(id).ok()).unwrap_or(0)
    }
}
