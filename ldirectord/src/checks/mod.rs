//! Checks of real servers: one file for each protocol, one hard deadline for each check.
//!
//! A [`Check`] is plain data, comparable: servers of several virtuals with the same check share one, and a reload keeps the checks
//! that did not change. [`Check::run`] never takes longer than its deadline, never panics on an answer, and reads a bounded amount.
//! "Up" means that an exchange of the protocol succeeded; `tests/daemons` says which real daemon has confirmed each.
//!
//! Where the original's verdict is wrong, these are right instead:
//!
//! | service | the original | here |
//! |---|---|---|
//! | any with TLS | what the machine's OpenSSL lets through | all that OpenSSL can, or strict with `tlsverify` |
//! | pop, pops | up without login, whatever happens; a silent server stops all checks | a greeting, and the login if one is set; every check has a deadline |
//! | ftp | up without `receive`, whatever happens | login and `CWD /` at least |
//! | http | up for junk, if `receive` is empty | an HTTP answer |
//! | http_proxy | down without an absolute URL in `request` | `virtualhost` and a path will do |
//! | http, https | a redirect to a path loses `virtualhost`; no SNI | name and SNI stay |
//! | http, https | a URL in `request` or a redirect sends the check to another host | the real server alone is asked |
//! | external | a script with carriage returns is down without a word | the cure is told |
//! | dns | a cut answer over UDP is down | asked for again over TCP |
//! | sip | a provisional answer is down | the final one counts |
//! | dns | down without `receive`; AAAA never matches | any record; A, AAAA, PTR, NS, CNAME |
//! | ldap, ldaps | a failure counts twice | once |
//! | mysql, pgsql | no deadline; the daemon dies without a driver | deadline; nothing to install |
//! | imap, imaps | a second try after 5 s, so never faster down | one try |
//! | all | a bad `receive` ends the daemon at the first check | the file is refused |

mod agent;
mod connect;
mod dialogue;
pub(crate) mod dns;
mod external;
mod http;
mod http2;
mod io;
mod ldap;
mod mysql;
mod pgsql;
mod ping;
mod radius;
mod script;
mod simpletcp;
mod sip;
#[cfg(test)]
mod tests;
mod tls;

pub use http::{HttpCheck, MAX_BODY_BYTES, MAX_REDIRECTS};
pub use script::{Judged, Script};

use self::io::Net;
use crate::config::{self, CheckType, Real, ServiceProtocol, Virtual, bracketed};
use crate::pattern::Pattern;
use base::ipvs::{Protocol, ServiceKey};
use policy::Verdict;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest text of an answer that is kept for logs and status.
pub const MAX_ANSWER_CHARS: usize = 200;

/// What is checked, how, and for how long at most.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    pub kind: Kind,
    pub deadline: Duration,
    /// Pause between the end of a check and the next.
    pub interval: Duration,
    /// By how much of it, in percent, each pause is longer or shorter.
    pub jitter_percent: u32,
    /// Local address that it comes from.
    pub source: Option<IpAddr>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Always up (`service = none`).
    None,
    Connect(SocketAddr),
    Agent(Box<agent::Agent>),
    Ping {
        addr: IpAddr,
        tries: u32,
        timeout: Duration,
    },
    External(External),
    Http(Box<HttpCheck>),
    Http2(Box<http2::Http2>),
    Simpletcp(Box<Exchange>),
    Dialogue(Box<dialogue::Dialogue>),
    Dns(Box<Exchange>),
    Radius(Box<radius::Radius>),
    Sip(Box<sip::Sip>),
    Ldap(Box<ldap::Ldap>),
    Mysql(Box<mysql::Mysql>),
    Pgsql(Box<pgsql::Pgsql>),
    /// One negotiate check, then this many of the second kind, and so on.
    Combined {
        negotiate: Box<Kind>,
        negotiate_deadline: Duration,
        connect: Box<Kind>,
        connects: u32,
    },
    /// Nothing can be asked: it is down, and why.
    Impossible(String),
}

/// An external command with its arguments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct External {
    pub command: String,
    pub args: Vec<String>,
    /// Run by the system's perl.
    pub perl: bool,
}

/// A request to a socket and the pattern that its answer must match.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exchange {
    pub addr: SocketAddr,
    pub udp: bool,
    pub request: String,
    pub receive: Pattern,
}

/// Where a combined check stands; kept by whoever repeats it.
#[derive(Clone, Copy, Default, Debug)]
pub struct Progress {
    connects_left: u32,
}

/// Why a check failed, in words for people.
#[derive(Debug)]
pub struct Failure {
    pub why: String,
    /// This machine lacked something (descriptors, ports, memory), so nothing is known of the server.
    pub local: bool,
}

/// A failure that speaks of the server.
fn failure(why: impl Into<String>) -> Failure {
    Failure { why: why.into(), local: false }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl From<std::io::Error> for Failure {
    fn from(e: std::io::Error) -> Failure {
        let why = tls::later(&e).unwrap_or_else(|| io::plain(&e));
        Failure { why, local: io::is_local(&e) }
    }
}

/// The answer of a server that is up.
pub type Outcome = Result<String, Failure>;

impl Check {
    /// The check of a real server, or `None` where there is none (`on`, `off`).
    pub fn of(v: &Virtual, real: &Real) -> Option<Check> {
        let check = Duration::from_millis(u64::from(v.check_timeout_ms));
        let negotiate = Duration::from_millis(u64::from(v.negotiate_timeout_ms));
        let ping = || Kind::Ping { addr: real.addr, tries: v.check_count, timeout: check };
        let connect = || match v.protocol() {
            Some(Protocol::Udp) => ping(),
            _ => connect_kind(v, real),
        };
        let (kind, deadline) = match v.check_type {
            CheckType::On | CheckType::Off => return None,
            CheckType::Negotiate => (negotiate_kind(v, real), negotiate),
            CheckType::Connect => (connect(), check),
            CheckType::Ping => (ping(), check.saturating_mul(v.check_count)),
            CheckType::External | CheckType::ExternalPerl => (external_kind(v, real), check),
            CheckType::Combined(connects) => {
                let (first, then) = (Box::new(negotiate_kind(v, real)), Box::new(connect()));
                (Kind::Combined { negotiate: first, negotiate_deadline: negotiate, connect: then, connects }, check)
            }
        };
        Some(Check::new(v, kind, deadline, v.check_interval_ms))
    }

    /// The question to a real server's agent, if one is to be asked.
    pub fn of_agent(v: &Virtual, real: &Real) -> Option<Check> {
        let agent = v.tuning.agent.as_ref()?;
        let addr = SocketAddr::new(real.addr, agent.port);
        let kind = Kind::Agent(Box::new(agent::Agent { addr, send: agent.send.replace("\\n", "\n") }));
        Some(Check::new(v, kind, Duration::from_millis(u64::from(v.check_timeout_ms)), agent.interval_ms))
    }

    fn new(v: &Virtual, kind: Kind, deadline: Duration, interval_ms: u32) -> Check {
        Check {
            kind,
            deadline,
            interval: Duration::from_millis(u64::from(interval_ms)),
            jitter_percent: v.tuning.check_jitter_percent,
            source: v.source_addr,
        }
    }

    pub fn is_agent(&self) -> bool {
        matches!(self.kind, Kind::Agent(_))
    }

    /// Runs it once, within its deadline. `Err`: this machine could not ask, and why.
    pub async fn run(&self, progress: &mut Progress) -> Result<Verdict, String> {
        let start = Instant::now();
        let (kind, deadline) = self.due(progress);
        let net = Net::from(self.source);
        let outcome = match tokio::time::timeout(deadline, kind.run(&net)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(failure(format!("no answer within {} s", deadline.as_secs_f32()))),
        };
        if let Kind::Combined { connects, .. } = &self.kind {
            progress.connects_left = match (&outcome, progress.connects_left) {
                (Err(_), _) => 0,
                (Ok(_), 0) => *connects,
                (Ok(_), left) => left - 1,
            };
        }
        let (up, answer) = match outcome {
            Ok(answer) => (true, answer),
            Err(failure) if failure.local => return Err(failure.why),
            Err(failure) => (false, failure.why),
        };
        let latency_us = start.elapsed().as_micros().min(u128::from(u64::MAX)) as u64;
        Ok(Verdict { up, answer: clip(&answer), latency_us })
    }

    /// What it makes of a server with that answer to everything; for tests of the parsers.
    #[doc(hidden)]
    pub async fn judge(&self, script: Script) -> Judged {
        let script = Arc::new(script);
        let up = self.kind.run(&Net { source: None, script: Some(script.clone()) }).await.is_ok();
        script.judged(up)
    }

    /// Which part of a combined check is due.
    fn due(&self, progress: &Progress) -> (&Kind, Duration) {
        match &self.kind {
            Kind::Combined { negotiate, negotiate_deadline, .. } if progress.connects_left == 0 => {
                (negotiate, *negotiate_deadline)
            }
            Kind::Combined { connect, .. } => (connect, self.deadline),
            kind => (kind, self.deadline),
        }
    }

    /// In a few words, for status and debugging: `http http://10.0.1.1:80/`.
    pub fn label(&self) -> String {
        self.kind.label()
    }
}

impl Kind {
    /// Each protocol's part is boxed: a check takes the memory of its own protocol, not of the largest.
    async fn run(&self, net: &Net) -> Outcome {
        match self {
            Kind::None => Ok("not checked".to_owned()),
            Kind::Connect(addr) => connect::run(net, *addr).await,
            Kind::Agent(agent) => Box::pin(agent::run(net, agent)).await,
            Kind::Ping { addr, tries, timeout } => Box::pin(ping::run(net, *addr, *tries, *timeout)).await,
            Kind::External(external) => Box::pin(external::run(external)).await,
            Kind::Http(http) => Box::pin(http.run(net)).await,
            Kind::Http2(http2) => Box::pin(http2.run(net)).await,
            Kind::Simpletcp(exchange) => Box::pin(simpletcp::run(net, exchange)).await,
            Kind::Dialogue(dialogue) => Box::pin(dialogue.run(net)).await,
            Kind::Dns(exchange) => Box::pin(dns::run(net, exchange)).await,
            Kind::Radius(radius) => Box::pin(radius.run(net)).await,
            Kind::Sip(sip) => Box::pin(sip.run(net)).await,
            Kind::Ldap(ldap) => Box::pin(ldap.run(net)).await,
            Kind::Mysql(mysql) => Box::pin(mysql.run(net)).await,
            Kind::Pgsql(pgsql) => Box::pin(pgsql.run(net)).await,
            Kind::Impossible(why) => Err(failure(why.clone())),
            // `due` has chosen one of its parts; a combination within a combination is never built.
            Kind::Combined { .. } => Err(failure("a combined check within another")),
        }
    }

    fn label(&self) -> String {
        match self {
            Kind::None => "none".to_owned(),
            Kind::Connect(addr) => format!("connect {addr}"),
            Kind::Agent(agent) => format!("agent {}", agent.addr),
            Kind::Ping { addr, .. } => format!("ping {addr}"),
            Kind::External(e) => format!("{} {}", if e.perl { "external-perl" } else { "external" }, e.command),
            Kind::Http(http) => http.label(),
            Kind::Http2(http2) => http2.label(),
            Kind::Simpletcp(e) => format!("simpletcp {}", e.addr),
            Kind::Dialogue(d) => d.label(),
            Kind::Dns(e) => format!("dns {} {}", e.addr, e.request),
            Kind::Radius(r) => format!("radius {}", r.addr),
            Kind::Sip(s) => format!("sip {}", s.addr),
            Kind::Ldap(l) => l.label(),
            Kind::Mysql(m) => format!("mysql {}", m.addr),
            Kind::Pgsql(p) => format!("pgsql {}", p.addr),
            Kind::Combined { negotiate, connects, .. } => format!("{} and {connects} connects", negotiate.label()),
            Kind::Impossible(why) => why.clone(),
        }
    }
}

fn connect_kind(v: &Virtual, real: &Real) -> Kind {
    match v.port_to_check(real) {
        0 => Kind::Impossible("no port to connect to: set checkport".to_owned()),
        port => Kind::Connect(SocketAddr::new(real.addr, port)),
    }
}

/// Arguments as scripts know them: the virtual's address or mark, its port, the real's address, its port; IPv6 in brackets.
fn external_kind(v: &Virtual, real: &Real) -> Kind {
    let server = match v.key {
        ServiceKey::Address { addr, .. } => bracketed(addr),
        ServiceKey::Fwmark { mark, .. } => mark.to_string(),
    };
    let args = vec![server, v.port().to_string(), bracketed(real.addr), real.port.to_string()];
    Kind::External(External { command: v.check_command.clone(), args, perl: v.check_type == CheckType::ExternalPerl })
}

fn negotiate_kind(v: &Virtual, real: &Real) -> Kind {
    let port = v.port_to_check(real);
    if port == 0 && v.service != ServiceProtocol::None {
        return Kind::Impossible("no port to check: set checkport".to_owned());
    }
    let receive = match Pattern::new(&real.receive) {
        Ok(pattern) => pattern,
        Err(why) => return Kind::Impossible(format!("receive is no valid pattern: {why}")),
    };
    let addr = SocketAddr::new(real.addr, port);
    let bare = real.request.strip_prefix('/').unwrap_or(&real.request).to_owned();
    let udp = v.protocol() == Some(Protocol::Udp);
    let exchange = |request| Box::new(Exchange { addr, udp, request, receive: receive.clone() });
    match v.service {
        ServiceProtocol::None => Kind::None,
        ServiceProtocol::Http | ServiceProtocol::Https | ServiceProtocol::HttpProxy => {
            HttpCheck::of(v, real, receive).map_or_else(Kind::Impossible, |h| Kind::Http(Box::new(h)))
        }
        ServiceProtocol::Http2 | ServiceProtocol::Grpc => {
            http2::Http2::of(v, real, receive).map_or_else(Kind::Impossible, |h| Kind::Http2(Box::new(h)))
        }
        ServiceProtocol::Simpletcp => Kind::Simpletcp(exchange(bare.replace("\\n", "\n"))),
        ServiceProtocol::Dns => Kind::Dns(exchange(bare)),
        ServiceProtocol::Sip => Kind::Sip(Box::new(sip::Sip { addr, udp, login: login_or(v, real, "ldirectord@") })),
        ServiceProtocol::Radius => Kind::Radius(Box::new(radius::Radius::of(v, addr))),
        ServiceProtocol::Smtp
        | ServiceProtocol::Submission
        | ServiceProtocol::Pop
        | ServiceProtocol::Pops
        | ServiceProtocol::Imap
        | ServiceProtocol::Imaps
        | ServiceProtocol::Nntp
        | ServiceProtocol::Redis
        | ServiceProtocol::Memcached
        | ServiceProtocol::Ftp => Kind::Dialogue(Box::new(dialogue::Dialogue::of(v, addr, bare, receive))),
        ServiceProtocol::Ldap | ServiceProtocol::Ldaps => Kind::Ldap(Box::new(ldap::Ldap::of(v, addr, bare, receive))),
        ServiceProtocol::Mysql | ServiceProtocol::Pgsql if v.login.is_empty() || bare.is_empty() => {
            Kind::Impossible(format!("service = {} needs a login and a request", v.service.name()))
        }
        ServiceProtocol::Mysql => Kind::Mysql(Box::new(mysql::Mysql::of(v, addr, bare))),
        ServiceProtocol::Pgsql => Kind::Pgsql(Box::new(pgsql::Pgsql::of(v, addr, bare))),
        ServiceProtocol::Oracle => Kind::Impossible(config::NO_ORACLE_CHECK.to_owned()),
    }
}

/// The login, or the default `PREFIX` and the real's address.
fn login_or(v: &Virtual, real: &Real, prefix: &str) -> String {
    if v.login.is_empty() { format!("{prefix}{}", bracketed(real.addr)) } else { v.login.clone() }
}

/// One line of at most [`MAX_ANSWER_CHARS`], without control characters and those that turn the direction of writing.
fn clip(answer: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}');
    answer.chars().take(MAX_ANSWER_CHARS).map(|c| if c.is_control() || turns(c) { ' ' } else { c }).collect()
}
