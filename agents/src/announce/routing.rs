//! What the routing daemon says of itself. It is only asked, never told.
//!
//! BIRD: its control socket. Lines `NNNN-text` go on, `NNNN text` ends; 0000 to 1999 are answers, 8000 and 9000 errors.
//! FRR: `vtysh -c COMMAND`, with JSON for an answer.

use base::exit::OcfCode;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::Command;

/// One question.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer that is read.
const MAX_ANSWER_BYTES: u64 = 1024 * 1024;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Daemon {
    Bird { socket: PathBuf },
    Frr { vtysh: PathBuf, sockets: Option<PathBuf>, pathspace: Option<String> },
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct View {
    /// BGP sessions that are established.
    pub sessions: usize,
    /// Addresses of those asked for that it has a route for.
    pub carried: BTreeSet<IpAddr>,
}

/// Why the daemon did not tell. Each says what helps.
#[derive(Debug, thiserror::Error)]
pub(super) enum RoutingError {
    #[error("BIRD has no control socket {}: start it (systemctl start bird), or set socket=", .0.display())]
    NoSocket(PathBuf),
    #[error("BIRD's control socket {} refuses: the daemon has ended (systemctl restart bird)", .0.display())]
    Refused(PathBuf),
    #[error("BIRD's control socket {} may not be opened by this program: let it join the group bird", .0.display())]
    NotPermitted(PathBuf),
    #[error("BIRD's control socket {}: {source}", path.display())]
    Socket { path: PathBuf, source: io::Error },
    #[error("{0}: this is no BIRD: {1:?}")]
    NotBird(String, String),
    #[error("BIRD refuses '{question}': {answer}")]
    BirdError { question: String, answer: String },
    #[error("FRR's command {} is missing: install the package frr, or set vtysh=", .0.display())]
    NoVtysh(PathBuf),
    #[error("{}: {source}", path.display())]
    Vtysh { path: PathBuf, source: io::Error },
    #[error(
        "FRR's {daemon} does not answer '{question}': {said}; are its daemons started (bgpd=yes in /etc/frr/daemons, systemctl start frr), and may this program ask them (group frrvty)?"
    )]
    FrrError { daemon: &'static str, question: String, said: String },
    #[error("FRR's answer to '{question}' is not understood: {why}")]
    FrrAnswer { question: String, why: String },
    #[error("{0} did not answer within {secs} s: is it stopped?", secs = PATIENCE.as_secs())]
    Silent(&'static str),
}

impl RoutingError {
    /// Something missing is a matter of this node.
    pub fn code(&self) -> OcfCode {
        match self {
            RoutingError::NoVtysh(_) => OcfCode::NOT_INSTALLED,
            RoutingError::NotPermitted(_) => OcfCode::INSUFFICIENT_PRIV,
            _ => OcfCode::ERROR,
        }
    }
}

impl Daemon {
    pub fn name(&self) -> &'static str {
        match self {
            Daemon::Bird { .. } => "BIRD",
            Daemon::Frr { .. } => "FRR",
        }
    }

    /// Whether one address may be on two interfaces for a moment.
    pub fn takes_two(&self) -> bool {
        matches!(self, Daemon::Bird { .. })
    }

    /// Its sessions, and which of `asked` it has a route for.
    pub async fn view(&self, asked: &[IpAddr]) -> Result<View, RoutingError> {
        let view = async {
            match self {
                Daemon::Bird { socket } => bird(socket, asked).await,
                Daemon::Frr { .. } => self.frr(asked).await,
            }
        };
        tokio::time::timeout(PATIENCE, view).await.unwrap_or(Err(RoutingError::Silent(self.name())))
    }

    async fn frr(&self, asked: &[IpAddr]) -> Result<View, RoutingError> {
        // Without zebra bgpd goes on with what it has heard last, and would never hear of an address that goes.
        self.vtysh("zebra", "show version").await?;
        let mut view = View { sessions: established(&self.bgpd("show bgp summary json").await?), ..View::default() };
        for addr in asked {
            let family = if addr.is_ipv4() { "ipv4" } else { "ipv6" };
            let answer = self.bgpd(&format!("show bgp {family} unicast {} json", prefix(*addr))).await?;
            if answer.get("paths").and_then(Value::as_array).is_some_and(|paths| paths.iter().any(is_own)) {
                view.carried.insert(*addr);
            }
        }
        Ok(view)
    }

    async fn bgpd(&self, question: &str) -> Result<Value, RoutingError> {
        let said = self.vtysh("bgpd", question).await?;
        if said.trim().is_empty() {
            return Ok(Value::Null);
        }
        let unread =
            |e: serde_json::Error| RoutingError::FrrAnswer { question: question.to_owned(), why: e.to_string() };
        serde_json::from_str(&said).map_err(unread)
    }

    /// What one of FRR's daemons answers.
    async fn vtysh(&self, daemon: &'static str, question: &str) -> Result<String, RoutingError> {
        let Daemon::Frr { vtysh, sockets, pathspace } = self else { return Ok(String::new()) };
        let mut command = Command::new(vtysh);
        command.stdin(std::process::Stdio::null()).kill_on_drop(true);
        if let Some(pathspace) = pathspace {
            command.arg("-N").arg(pathspace);
        }
        if let Some(dir) = sockets {
            command.arg("--vty_socket").arg(dir);
        }
        let out =
            command.args(["-d", daemon, "-c", question]).output().await.map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => RoutingError::NoVtysh(vtysh.clone()),
                _ => RoutingError::Vtysh { path: vtysh.clone(), source },
            })?;
        let (said, complained) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        if !out.status.success() {
            let lines = complained.lines().chain(said.lines()).map(str::trim).filter(|l| !l.is_empty());
            let said: String = lines.take(3).collect::<Vec<_>>().join("; ").chars().take(300).collect();
            return Err(RoutingError::FrrError { daemon, question: question.to_owned(), said });
        }
        Ok(said.into_owned())
    }
}

/// A path that was put in here, and learned from no neighbour.
fn is_own(path: &Value) -> bool {
    path.get("sourced").and_then(Value::as_bool).unwrap_or(false)
        || path.pointer("/peer/peerId").and_then(Value::as_str).is_some_and(|id| matches!(id, "0.0.0.0" | "::"))
}

/// Neighbours that are established in any family.
fn established(summary: &Value) -> usize {
    let families = summary.as_object().into_iter().flat_map(|o| o.values());
    let peers = families.filter_map(|f| f.get("peers")?.as_object()).flatten();
    let up = peers.filter(|(_, p)| p.get("state").and_then(Value::as_str) == Some("Established"));
    up.map(|(name, _)| name).collect::<BTreeSet<_>>().len()
}

fn prefix(addr: IpAddr) -> String {
    format!("{addr}/{}", if addr.is_ipv4() { 32 } else { 128 })
}

async fn bird(socket: &Path, asked: &[IpAddr]) -> Result<View, RoutingError> {
    let mut bird = Bird::open(socket).await?;
    let protocols = bird.ask("show protocols").await?;
    let mut view = View { sessions: protocols.lines.iter().filter(|l| is_established(l)).count(), ..View::default() };
    for addr in asked {
        let answer = bird.ask(&format!("show route {}", prefix(*addr))).await?;
        if answer.lines.iter().any(|l| l.contains("dev ")) {
            view.carried.insert(*addr);
        }
    }
    Ok(view)
}

/// `NAME BGP TABLE up SINCE Established`.
fn is_established(line: &str) -> bool {
    let mut words = line.split_whitespace().skip(1);
    words.next() == Some("BGP") && words.any(|w| w == "Established")
}

struct Answer {
    lines: Vec<String>,
}

struct Bird {
    socket: PathBuf,
    stream: BufReader<UnixStream>,
}

/// What a network does not have.
const NO_NETWORK: u32 = 8001;

impl Bird {
    async fn open(socket: &Path) -> Result<Bird, RoutingError> {
        let path = socket.to_owned();
        let stream = UnixStream::connect(socket).await.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => RoutingError::NoSocket(path),
            io::ErrorKind::ConnectionRefused => RoutingError::Refused(path),
            io::ErrorKind::PermissionDenied => RoutingError::NotPermitted(path),
            _ => RoutingError::Socket { path, source },
        })?;
        let mut bird = Bird { socket: socket.to_owned(), stream: BufReader::new(stream) };
        bird.answer("").await?;
        Ok(bird)
    }

    async fn ask(&mut self, question: &str) -> Result<Answer, RoutingError> {
        let sent = self.stream.write_all(format!("{question}\n").as_bytes()).await;
        sent.map_err(|e| self.broken(e))?;
        self.answer(question).await
    }

    async fn answer(&mut self, question: &str) -> Result<Answer, RoutingError> {
        let mut lines = Vec::new();
        let mut left = MAX_ANSWER_BYTES;
        loop {
            let mut line = String::new();
            let read = (&mut self.stream).take(left).read_line(&mut line).await.map_err(|e| self.broken(e))?;
            left = left.saturating_sub(read as u64);
            if !line.ends_with('\n') {
                return Err(RoutingError::NotBird(self.socket.display().to_string(), line.chars().take(80).collect()));
            }
            let line = line.trim_end();
            if let Some(more) = line.strip_prefix([' ', '+']) {
                lines.push(more.to_owned());
                continue;
            }
            let Some((code, last, text)) = reply(line) else {
                return Err(RoutingError::NotBird(self.socket.display().to_string(), line.chars().take(80).collect()));
            };
            if code >= 8000 && code != NO_NETWORK {
                return Err(RoutingError::BirdError { question: question.to_owned(), answer: text.to_owned() });
            }
            lines.push(text.to_owned());
            if last {
                return Ok(Answer { lines });
            }
        }
    }

    fn broken(&self, source: io::Error) -> RoutingError {
        RoutingError::Socket { path: self.socket.clone(), source }
    }
}

/// `NNNN-text` or `NNNN text`: the code, whether it is the last line, and the text.
fn reply(line: &str) -> Option<(u32, bool, &str)> {
    let (code, rest) = line.split_at_checked(4)?;
    let code = code.bytes().all(|b| b.is_ascii_digit()).then(|| code.parse().ok())??;
    match rest.split_at_checked(1) {
        Some(("-", text)) => Some((code, false, text)),
        Some((" ", text)) => Some((code, true, text)),
        None => Some((code, true, "")),
        Some(_) => None,
    }
}
