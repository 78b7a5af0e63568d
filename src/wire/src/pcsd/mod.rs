//! What hosts say to each other to build a cluster: JSON over HTTP/1.1 over mutual TLS, port [`PORT`].
//!
//! Shared by `bascule pcsd`, which answers, and the commands that ask. Every host has one key; whoever shows it is known by its
//! [`pin`], not by a name or an authority. Without being known one may only ask [`path::AUTH`].
//!
//! | request | body | answer |
//! |---|---|---|
//! | `auth` | [`Auth`] | [`Authorized`] |
//! | `host` | – | [`Host`] |
//! | `stage` | [`Stage`] | [`Done`] |
//! | `commit`, `abort` | [`Transaction`] | [`Done`] |
//! | `service` | [`ServiceCall`] | [`Done`] |
//! | `fetch` | – | [`Fetched`] |
//! | `forget` | [`Forget`] | [`Done`] |
//! | `add` | [`Add`] | [`Done`] |
//!
//! A change of files is staged on every host (written, synced, checked, but under another name) and then committed on every
//! host (renamed). A host that cannot stage means that nothing changes anywhere.

mod known;

pub use known::{Authorised, AuthorisedHost, Destination, KnownHost, KnownHosts, check as check_hosts};

use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::path::PathBuf;

/// TCP port, as pcsd's.
pub const PORT: u16 = 2224;
/// The one who may log in from elsewhere.
pub const USER: &str = "hacluster";
/// Largest body of a request of a known host: the files of a cluster, in hexadecimal.
pub const MAX_REQUEST_BYTES: usize = 4 * 1024 * 1024;
/// Largest body of one who is not known yet.
pub const MAX_AUTH_BYTES: usize = 4096;
/// Largest answer.
pub const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// Largest file that is taken.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;
/// As the agent `ldirectord` expects it, if it is not told of another.
pub const DIRECTOR_FILE: &str = "ldirectord.cf";
/// Hosts that a list may name.
pub const MAX_HOSTS: usize = 384;
/// What was staged and neither committed nor aborted is given up after this.
pub const STAGED_AT_MOST_S: u64 = 600;
/// Longest name of a host.
pub const MAX_NAME_BYTES: usize = 255;

/// Names of the files in [`Places::pcsd`].
pub mod file {
    pub const KEY: &str = "key.pem";
    pub const CERTIFICATE: &str = "cert.pem";
    /// Whom this host knows, in pcs's format.
    pub const KNOWN_HOSTS: &str = "known-hosts";
    /// Who may give orders to this host.
    pub const AUTHORISED: &str = "authorised-hosts";
    /// One file for each one-time token.
    pub const TOKENS: &str = "tokens";
    /// Without a service manager: the node is started together with pcsd.
    pub const ENABLED: &str = "enabled";
    pub const AUDIT: &str = "audit.log";
}

/// Paths of the requests.
pub mod path {
    pub const AUTH: &str = "/v1/auth";
    pub const HOST: &str = "/v1/host";
    pub const STAGE: &str = "/v1/stage";
    pub const COMMIT: &str = "/v1/commit";
    pub const ABORT: &str = "/v1/abort";
    pub const SERVICE: &str = "/v1/service";
    pub const FETCH: &str = "/v1/fetch";
    pub const FORGET: &str = "/v1/forget";
    pub const ADD: &str = "/v1/add";
}

/// Where things are on this host.
#[derive(Clone, Debug)]
pub struct Places {
    pub conf: PathBuf,
    pub authkey: PathBuf,
    pub state_dir: PathBuf,
    /// Where the node answers.
    pub socket: PathBuf,
    /// This host's key, and whom it knows.
    pub pcsd: PathBuf,
    /// Where the files of directors are.
    pub directors: PathBuf,
}

impl Places {
    /// By the variables that the node and the commands go by as well, `BASCULE_PCSD_DIR` and `BASCULE_HA_DIR`.
    pub fn of(var: impl Fn(&str) -> Option<std::ffi::OsString>) -> Places {
        let at = |name: &str, default: &str| var(name).map_or_else(|| PathBuf::from(default), PathBuf::from);
        let state_dir = at("BASCULE_STATE_DIR", super::api::DEFAULT_STATE_DIR);
        Places {
            conf: at("COROSYNC_MAIN_CONFIG_FILE", "/etc/corosync/corosync.conf"),
            authkey: at("COROSYNC_TOTEM_AUTHKEY_FILE", "/etc/corosync/authkey"),
            socket: super::api::socket_path(var("BASCULE_RUN_DIR").as_deref()),
            pcsd: var("BASCULE_PCSD_DIR").map_or_else(|| state_dir.join("pcsd"), PathBuf::from),
            state_dir,
            directors: at("BASCULE_HA_DIR", "/etc/ha.d"),
        }
    }

    /// The file of a group that has one director.
    pub fn director(&self) -> PathBuf {
        self.directors.join(DIRECTOR_FILE)
    }
}

/// A log-in: of the user by password, or by a token that was printed on the host itself.
#[derive(Clone, Serialize, Deserialize)]
pub struct Auth {
    pub user: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// What the asking host calls itself; for people.
    pub from: String,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Auth({} from {})", self.user.escape_debug(), self.from.escape_debug())
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Authorized {
    /// What the host calls itself.
    pub host: String,
    pub version: String,
}

/// What a host is at present.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Host {
    pub host: String,
    pub version: String,
    /// Files of a cluster that are there: `corosync.conf`, `cib.xml`.
    pub configured: Vec<String>,
    pub cluster_name: Option<String>,
    /// Digest of corosync.conf, and of the authkey.
    pub conf: Option<String>,
    pub authkey: Option<String>,
    /// Of ldirectord.cf, where there is one.
    #[serde(default)]
    pub director: Option<String>,
    /// The node daemon runs; starts with the host; has a service manager.
    pub running: bool,
    pub enabled: bool,
    pub systemd: bool,
    /// As the node sees it, where it runs.
    pub node: Option<NodeView>,
    /// The other stack, which would be in the way.
    pub foreign: Vec<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NodeView {
    pub name: String,
    pub quorate: bool,
    pub members: Vec<String>,
    pub votes: u32,
    pub quorum: u32,
}

/// Files that hosts share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    CorosyncConf,
    Authkey,
    /// A list of [`KnownHost`]s by name: taken into what the host knows, and authorised.
    Hosts,
    /// What the node begins with at its next start; only where it does not run.
    Cib,
    /// A file of a director, by its name.
    Director,
}

impl Kind {
    pub fn words(self) -> &'static str {
        match self {
            Kind::CorosyncConf => "corosync.conf",
            Kind::Authkey => "corosync authkey",
            Kind::Hosts => "known-hosts",
            Kind::Cib => "cib.xml",
            Kind::Director => "director's file",
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
pub struct FileBody {
    pub kind: Kind,
    /// Of a director's file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Content in hexadecimal, and its SHA-256.
    pub content: String,
    pub sha256: String,
}

impl FileBody {
    pub fn of(kind: Kind, content: &[u8]) -> FileBody {
        FileBody { kind, name: String::new(), content: hex(content), sha256: sha256(content) }
    }

    /// The content, if it is what its digest says.
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        let what = self.kind.words();
        if self.content.len() > 2 * MAX_FILE_BYTES {
            return Err(format!("{what}: more than {MAX_FILE_BYTES} bytes"));
        }
        let bytes = unhex(&self.content).ok_or_else(|| format!("{what}: expected hexadecimal digits"))?;
        match sha256(&bytes) == self.sha256 {
            true => Ok(bytes),
            false => Err(format!("{what}: the content does not have the digest that came with it")),
        }
    }
}

impl std::fmt::Debug for FileBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}({})", self.kind, self.sha256)
    }
}

/// What has to be so where a change is staged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expect {
    /// No cluster yet: nothing configured, nothing running.
    NoCluster,
    /// The node does not run, whatever is configured.
    Stopped,
    /// This corosync.conf (its digest).
    Conf(String),
    Anything,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stage {
    pub transaction: String,
    pub expect: Expect,
    pub files: Vec<FileBody>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Transaction {
    pub transaction: String,
}

/// What to do with the node daemon of the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    Start,
    Stop,
    Enable,
    Disable,
    /// Stop at once, whatever runs.
    Kill,
    /// Stop, and remove the cluster's files.
    Destroy,
    /// The running nodes take over a changed corosync.conf.
    Reload,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceCall {
    pub action: Action,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fetched {
    pub files: Vec<FileBody>,
}

/// Hosts, by their pins, that shall no longer give orders.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Forget {
    pub pins: Vec<String>,
}

/// A host that wants to be a node of the cluster of the one that is asked, started and enabled; it must be known there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Add {
    pub name: String,
    pub address: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Done {
    pub message: String,
}

/// Why not; with a HTTP status of 400 or more.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refusal {
    pub message: String,
}

pub fn sha256(bytes: &[u8]) -> String {
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}

/// How a host is known: the digest of its public key (SubjectPublicKeyInfo, DER), which outlives its certificates.
pub fn pin(public_key_der: &[u8]) -> String {
    sha256(public_key_der)
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, b| {
        let _ = write!(text, "{b:02x}");
        text
    })
}

pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|p| Some(digit(p.first()?)? << 4 | digit(p.get(1)?)?)).collect()
}

/// Whether it can name a host, a node or a transaction: it goes into files' names and texts for people.
pub fn is_plain(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.starts_with(['.', '-']) && name.chars().all(fits)
}

/// A one-time token as it is printed: a secret, and the beginning of the host's pin, so that whoever types it cannot be
/// answered by another host.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    pub secret: String,
    pub pin: String,
}

const TOKEN_MARK: &str = "bt1";
const SECRET_DIGITS: usize = 24;
const PIN_DIGITS: usize = 32;

impl Token {
    pub const SECRET_BYTES: usize = SECRET_DIGITS / 2;

    pub fn new(secret: &[u8; SECRET_DIGITS / 2], pin: &str) -> Token {
        Token { secret: hex(secret), pin: pin.chars().take(PIN_DIGITS).collect() }
    }

    pub fn text(&self) -> String {
        format!("{TOKEN_MARK}.{}.{}", self.secret, self.pin)
    }

    /// `None` where it is something else, a password for one.
    pub fn parse(text: &str) -> Option<Token> {
        let mut parts = text.trim().split('.');
        let token = match (parts.next()?, parts.next()?, parts.next()?, parts.next()) {
            (TOKEN_MARK, secret, pin, None) => Token { secret: secret.to_owned(), pin: pin.to_owned() },
            _ => return None,
        };
        let digits = |text: &str| text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
        let fits = token.secret.len() == SECRET_DIGITS && token.pin.len() == PIN_DIGITS;
        (fits && digits(&token.secret) && digits(&token.pin)).then_some(token)
    }

    /// Whether it was made by the host with this pin.
    pub fn is_of(&self, pin: &str) -> bool {
        pin.starts_with(&self.pin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_of_one_host() {
        let pin = sha256(b"key");
        let token = Token::new(&[7; 12], &pin);
        let read = Token::parse(&format!(" {}\n", token.text())).expect("a token");
        assert!(read == token && read.is_of(&pin) && !read.is_of(&sha256(b"other")));
        for other in ["", "secret", "bt1", "bt1.00.11", &token.text()[1..], &format!("{}.1", token.text())] {
            assert!(Token::parse(other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_file_that_was_changed_on_its_way_is_refused() {
        let good = FileBody::of(Kind::Authkey, &[0, 255, 16]);
        assert_eq!(good.bytes(), Ok(vec![0, 255, 16]));
        for content in ["00ff11", "00ff1", "00fg10", "é0"] {
            assert!(FileBody { content: content.to_owned(), ..good.clone() }.bytes().is_err(), "{content}");
        }
    }

    #[test]
    fn names_lead_nowhere_else() {
        assert!(is_plain("node-1.example.org") && is_plain("fe80::1"));
        for bad in ["", "../x", ".x", "a/b", "a b", "a\nb", "-x", "é", &"x".repeat(256)] {
            assert!(!is_plain(bad), "{bad}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let auth = Auth { user: USER.to_owned(), password: Some("pw".to_owned()), token: None, from: "a".to_owned() };
        assert!(!format!("{auth:?}").contains("pw"));
        assert!(!format!("{:?}", FileBody::of(Kind::Authkey, b"\x01\x02\x03\x04")).contains("01020304"));
    }
}
