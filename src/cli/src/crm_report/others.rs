//! The other nodes' parts: the same command over ssh, whose answer is a tar stream.

use super::pack;
use std::io::Read;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use wire::api::NodeInfo;

/// Asks for no password: who has no key there is told so at once.
pub const SSH: &str = "ssh -T -o BatchMode=yes -o ConnectTimeout=10";
/// The longest that one node may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// Of what a node complains of.
const MAX_COMPLAINT_BYTES: u64 = 16 * 1024;
/// Where the program may be beside the other's own PATH.
const PLACES: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub struct Node {
    pub name: String,
    /// Where to reach it if its name does not say.
    address: Option<String>,
}

impl Node {
    pub fn named(name: &str) -> Node {
        Node { name: name.to_owned(), address: None }
    }

    pub fn of(info: &NodeInfo) -> Node {
        // They stand with the ring's port.
        let host = |a: &String| a.parse::<SocketAddr>().map_or_else(|_| a.clone(), |a| a.ip().to_string());
        Node { name: info.name.clone(), address: info.addresses.first().map(host) }
    }

    fn host(&self) -> &str {
        let resolves = (self.name.as_str(), 22).to_socket_addrs().is_ok_and(|mut a| a.next().is_some());
        self.address.as_deref().filter(|_| !resolves).unwrap_or(&self.name)
    }
}

pub struct Way<'a> {
    pub rsh: &'a str,
    pub user: &'a str,
    pub line: Vec<String>,
}

/// Asks all of them at once; each answers for itself.
pub fn fetch(nodes: &[&Node], way: &Way<'_>, top: &Path) -> Vec<(String, Result<(), String>)> {
    std::thread::scope(|scope| {
        let asked: Vec<_> =
            nodes.iter().map(|node| (node.name.clone(), scope.spawn(move || fetch_one(node, way, top)))).collect();
        asked
            .into_iter()
            .map(|(name, thread)| (name, thread.join().unwrap_or_else(|_| Err("it could not be asked".to_owned()))))
            .collect()
    })
}

fn fetch_one(node: &Node, way: &Way<'_>, top: &Path) -> Result<(), String> {
    // It becomes a directory, and a word of a command.
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
    if node.name.is_empty() || node.name.starts_with(['.', '-']) || !node.name.chars().all(plain) {
        return Err("no name of a host".to_owned());
    }
    let mut words = way.rsh.split_whitespace();
    let program = words.next().ok_or("the command of -e is empty")?;
    let mut command = Command::new(program);
    command.args(words).arg(format!("{}@{}", way.user, node.host())).arg(remote(&way.line));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(|e| format!("{program}: {e}"))?;
    receive(child, &top.join(&node.name), PATIENCE)
}

/// What the other host's shell is given.
fn remote(line: &[String]) -> String {
    let quoted: Vec<String> = line.iter().map(|w| format!("'{}'", w.replace('\'', r"'\''"))).collect();
    let own = std::env::current_exe().ok();
    let own = own.as_deref().and_then(Path::parent).map(|d| format!(":{}", d.display())).unwrap_or_default();
    format!("PATH=\"$PATH:{PLACES}{own}\" exec bascule {}", quoted.join(" "))
}

fn receive(mut child: Child, to: &Path, patience: Duration) -> Result<(), String> {
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err("its answer cannot be read".to_owned());
    };
    let complaints = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stderr.take(MAX_COMPLAINT_BYTES).read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let (done, ended) = mpsc::channel();
    let place = to.to_owned();
    std::thread::spawn(move || drop(done.send(pack::unpack(stdout, &place))));
    let unpacked =
        ended.recv_timeout(patience).unwrap_or_else(|_| Err(format!("no answer within {} s", patience.as_secs())));
    if unpacked.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|e| e.to_string())?;
    let said = complaints.join().unwrap_or_default();
    let said = said.lines().map(str::trim).rfind(|l| !l.is_empty()).unwrap_or_default();
    match (unpacked, status.success()) {
        (Ok(()), true) => Ok(()),
        (Err(why), true) => Err(why),
        (_, false) if said.is_empty() => Err(format!("it ended with {status}")),
        (_, false) => Err(said.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_host_is_given_stays_one_word_each() {
        let line = remote(&["crm_report".into(), "-p".into(), "it's $HOME".into()]);
        assert!(line.ends_with(r"exec bascule 'crm_report' '-p' 'it'\''s $HOME'"), "{line}");
    }

    #[test]
    fn a_host_that_is_not_reached_says_why() {
        let dir = tempfile::tempdir().expect("a directory");
        let ask = |name: &str, rsh: &str| {
            let way = Way { rsh, user: "root", line: vec!["crm_report".into()] };
            let node = Node::named(name);
            fetch(&[&node], &way, dir.path()).remove(0).1.expect_err("not reached")
        };
        assert!(ask("../x", "true").contains("no name"));
        assert!(ask("n1", "/no/such/ssh").contains("/no/such/ssh"));
        assert_eq!(ask("n1", "sh -c echo"), "nothing came");
        let script = dir.path().join("rsh");
        std::fs::write(&script, "echo 'Permission denied (publickey).' >&2; exit 255").expect("written");
        assert_eq!(ask("n1", &format!("sh {}", script.display())), "Permission denied (publickey).");
    }
}
