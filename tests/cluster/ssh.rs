//! sshd of the lab's hosts, for commands that work over it.

use crate::fixture::Cluster;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The first of what is needed that is not here, told loudly.
pub fn have(more: &[&str]) -> bool {
    let needed = ["/usr/sbin/sshd", "/usr/bin/ssh"].iter().chain(more);
    let absent = needed.copied().find(|p| !Path::new(p).exists());
    absent.iter().for_each(|a| println!("SKIPPED: {a} is missing (Debian: apt install openssh-server bzip2)"));
    absent.is_none()
}

/// A key that all of the hosts take.
pub fn key(cluster: &Cluster) -> PathBuf {
    let key = cluster.path("key");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    assert!(made.expect("ssh-keygen runs").success());
    key
}

/// What stands between the program's name and the host, for ssh and scp.
pub fn options(key: &Path) -> String {
    format!(
        "-F none -o BatchMode=yes -o ConnectTimeout=3 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
         -o LogLevel=ERROR -i {}",
        key.display()
    )
}

/// Listens at the host's own addresses, for the key alone; what comes runs as if it were that host, with these directories in the
/// places of its own.
pub async fn sshd(
    cluster: &Cluster,
    host: &str,
    key: &Path,
    env: &str,
    places: &[(&Path, &str)],
) -> tokio::process::Child {
    let conf = cluster.path(&format!("{host}.sshd"));
    let text = format!(
        "Port 22\nHostKey {key}\nAuthorizedKeysFile {key}.pub\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\n\
         Subsystem sftp internal-sftp\nSetEnv {env}\n",
        key = key.display(),
    );
    std::fs::write(&conf, text).expect("written");
    let mut command = tokio::process::Command::new("unshare");
    let line = "conf=$1; shift; while [ \"$1\" ]; do mount --bind \"$1\" \"$2\" && shift 2 || exit 1; done; \
                mount -t tmpfs -o mode=755 tmpfs /run && mkdir /run/sshd && exec /usr/sbin/sshd -D -e -f \"$conf\"";
    command.args(["-m", "sh", "-c", line, "sh"]).arg(&conf);
    for (ours, path) in places {
        command.arg(ours).arg(path);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    cluster.lab.host(host).expect("a host").spawn(&mut command).expect("sshd starts")
}
