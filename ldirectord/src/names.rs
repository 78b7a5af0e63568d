//! Names of real servers that stand for several addresses, or for services (SRV, RFC 2782): `resolve = all` and `resolve = srv`.
//!
//! `/etc/hosts` is asked first, then the name servers of `/etc/resolv.conf`, since only these tell for how long an answer holds.
//! Of SRV records those of the lowest priority count, with their ports and weights. What a name stands for is asked again when its
//! time is over; without an answer everything stays as it was.

use crate::checks::dns::{Cut, look};
use crate::config::{Config, Real, Resolve, Virtual};
use base::ipvs::Family;
use hickory_proto::rr::{RData, Record, RecordType};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::task::JoinSet;

/// Addresses that one name may stand for; more are left out, in their order.
pub const MAX_TARGETS: usize = 256;
/// Hosts of SRV records whose addresses are asked for.
const MAX_HOSTS: usize = 64;
/// Name servers that are asked, one after the other, and for how long each; twice.
const MAX_SERVERS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(2);
const ROUNDS: usize = 2;
const MAX_SEARCH: usize = 6;
/// For how long an answer of `/etc/hosts` holds.
const HOSTS_TTL: Duration = Duration::from_secs(30);
const MAX_FILE_BYTES: usize = 4 << 20;

/// What is asked for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Asked {
    pub name: String,
    pub family: Family,
    pub resolve: Resolve,
}

/// A server that a name stands for; port and weight of an SRV record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Target {
    pub addr: IpAddr,
    pub service: Option<(u16, u32)>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Sorted, at least one.
    pub targets: Vec<Target>,
    pub ttl: Duration,
}

/// Whom to ask.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Resolvers {
    pub servers: Vec<SocketAddr>,
    pub search: Vec<String>,
    pub hosts: BTreeMap<String, Vec<IpAddr>>,
}

impl Resolvers {
    /// This machine's; blocking, from files.
    pub fn system() -> Resolvers {
        let read = |path| {
            let bytes = std::fs::read(path).unwrap_or_default();
            String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_FILE_BYTES)]).into_owned()
        };
        Resolvers::parse(&read("/etc/resolv.conf"), &read("/etc/hosts"))
    }

    /// `resolv.conf(5)` and `hosts(5)`.
    pub fn parse(resolv_conf: &str, hosts: &str) -> Resolvers {
        let mut found = Resolvers::default();
        for line in resolv_conf.lines() {
            let mut words = line.split(['#', ';']).next().unwrap_or_default().split_whitespace();
            match words.next() {
                Some("nameserver") if found.servers.len() < MAX_SERVERS => {
                    let addr = words.next().and_then(|w| w.split('%').next()?.parse::<IpAddr>().ok());
                    found.servers.extend(addr.map(|addr| SocketAddr::new(addr, 53)));
                }
                Some("search" | "domain") => found.search = words.take(MAX_SEARCH).map(str::to_owned).collect(),
                _ => {}
            }
        }
        if found.servers.is_empty() {
            found.servers.push(SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), 53));
        }
        for line in hosts.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(addr) = words.next().and_then(|w| w.parse().ok()) else { continue };
            for name in words {
                found.hosts.entry(name.to_ascii_lowercase()).or_default().push(addr);
            }
        }
        found
    }

    /// What a name stands for now; or why that is not known.
    pub async fn ask(&self, asked: &Asked) -> Result<Answer, String> {
        let answer = match asked.resolve {
            Resolve::Srv => self.services(asked).await?,
            Resolve::Once | Resolve::All => {
                let (addrs, ttl) = self.addresses(&asked.name, asked.family).await?;
                let target = |addr| Target { addr, service: None };
                Answer { targets: addrs.into_iter().map(target).collect(), ttl }
            }
        };
        let mut targets = answer.targets;
        if let Some(no) = targets.iter().find(|t| !can_serve(t))
            && !targets.iter().any(can_serve)
        {
            return Err(format!("`{}` stands for {} alone, which is no server", asked.name, told(no)));
        }
        // What an odd record says must not take the others' places.
        targets.retain(can_serve);
        targets.sort_unstable();
        targets.dedup_by_key(|t| (t.addr, t.service.map(|s| s.0)));
        targets.truncate(MAX_TARGETS);
        match targets.is_empty() {
            true => Err(format!("`{}` has no {:?} address", asked.name, asked.family)),
            false => Ok(Answer { targets, ttl: answer.ttl }),
        }
    }

    async fn services(&self, asked: &Asked) -> Result<Answer, String> {
        let records = self.records(&asked.name, RecordType::SRV).await?;
        let services = records.iter().filter_map(|r| match &r.data {
            RData::SRV(srv) if !srv.target.is_root() => Some((srv.priority, srv)),
            _ => None,
        });
        let services: Vec<_> = services.collect();
        let first = services.iter().map(|(priority, _)| *priority).min();
        let first = first.ok_or_else(|| format!("`{}` has no SRV record with a server", asked.name))?;
        let mut lookups = JoinSet::new();
        for (_, srv) in services.iter().filter(|(priority, _)| *priority == first).take(MAX_HOSTS) {
            let (resolvers, host, family) = (self.clone(), srv.target.to_ascii(), asked.family);
            // A record of weight 0 is served now and then; the table would never serve it.
            let service = (srv.port, u32::from(srv.weight).max(1));
            lookups.spawn(async move { (service, resolvers.addresses(&host, family).await) });
        }
        let (mut targets, mut ttl) = (Vec::new(), least_ttl(&records));
        while let Some(done) = lookups.join_next().await {
            let Ok((service, found)) = done else { continue };
            // One host without an address would take all the others' servers out.
            let (addrs, holds) = found?;
            ttl = ttl.min(holds);
            targets.extend(addrs.into_iter().map(|addr| Target { addr, service: Some(service) }));
        }
        Ok(Answer { targets, ttl })
    }

    async fn addresses(&self, name: &str, family: Family) -> Result<(Vec<IpAddr>, Duration), String> {
        let here = self.hosts.get(&name.trim_end_matches('.').to_ascii_lowercase());
        let here: Vec<IpAddr> = here.into_iter().flatten().copied().filter(|a| Family::of(*a) == family).collect();
        if !here.is_empty() {
            return Ok((here, HOSTS_TTL));
        }
        let kind = if family == Family::IPv4 { RecordType::A } else { RecordType::AAAA };
        let records = self.records(name, kind).await?;
        let addrs = records.iter().filter_map(|r| match &r.data {
            RData::A(a) => Some(IpAddr::V4(a.0)),
            RData::AAAA(a) => Some(IpAddr::V6(a.0)),
            _ => None,
        });
        Ok((addrs.collect(), least_ttl(&records)))
    }

    /// As written if it has a dot, then below the domains that are searched; one without a dot the other way round.
    async fn records(&self, name: &str, kind: RecordType) -> Result<Vec<Record>, String> {
        let searched = self.search.iter().map(|domain| format!("{name}.{domain}"));
        let mut names: Vec<String> = match name.ends_with('.') {
            true => Vec::new(),
            false => searched.collect(),
        };
        let at = if name.contains('.') { 0 } else { names.len() };
        names.insert(at, name.to_owned());
        // That of the name which was likeliest meant.
        let mut first = None;
        for name in &names {
            let why = match self.record_of(name, kind).await {
                Ok(records) if !records.is_empty() => return Ok(records),
                Ok(_) => format!("`{name}` has no {kind} record"),
                Err(Cut::NoSuchName) => format!("there is no `{name}`"),
                Err(Cut::Failed(text)) => return Err(text),
            };
            first.get_or_insert(why);
        }
        Err(first.unwrap_or_default())
    }

    async fn record_of(&self, name: &str, kind: RecordType) -> Result<Vec<Record>, Cut> {
        let mut why = Cut::Failed("no name server is configured".to_owned());
        for server in std::iter::repeat_n(&self.servers, ROUNDS).flatten() {
            why = match tokio::time::timeout(PATIENCE, look(*server, name, kind)).await {
                Ok(Ok(records)) => return Ok(records),
                Ok(Err(Cut::NoSuchName)) => return Err(Cut::NoSuchName),
                Ok(Err(Cut::Failed(text))) => Cut::Failed(format!("name server {server}: {text}")),
                Err(_) => Cut::Failed(format!("name server {server} does not answer")),
            };
        }
        Err(why)
    }
}

/// Whether packets can be sent there: a sinkhole's 0.0.0.0 would be this machine, for a check.
fn can_serve(target: &Target) -> bool {
    let addr = match target.addr {
        IpAddr::V4(v4) => !v4.is_unspecified() && !v4.is_multicast() && !v4.is_broadcast(),
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast(),
    };
    addr && target.service.is_none_or(|(port, _)| port != 0)
}

fn told(target: &Target) -> String {
    match target.service {
        Some((port, _)) => SocketAddr::new(target.addr, port).to_string(),
        None => target.addr.to_string(),
    }
}

fn least_ttl(records: &[Record]) -> Duration {
    records.iter().map(|r| Duration::from_secs(u64::from(r.ttl))).min().unwrap_or_default()
}

/// What the names of this configuration stand for in it.
pub fn known(config: &Config) -> BTreeMap<Asked, Vec<Target>> {
    let mut known: BTreeMap<Asked, Vec<Target>> = BTreeMap::new();
    for v in config.virtuals.iter().filter(|v| v.resolve != Resolve::Once) {
        for real in &v.reals {
            let Some(name) = &real.name else { continue };
            let asked = Asked { name: name.to_string(), family: v.family(), resolve: v.resolve };
            let service = (v.resolve == Resolve::Srv).then_some((real.port, real.weight));
            let targets = known.entry(asked).or_default();
            let target = Target { addr: real.addr, service };
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
    }
    known
}

/// All names that a configuration wants to have asked again.
pub fn asked(config: &Config) -> Vec<Asked> {
    let mut all: Vec<Asked> =
        config.virtuals.iter().filter(|v| v.resolve != Resolve::Once).flat_map(of_virtual).collect();
    all.sort();
    all.dedup();
    all
}

fn of_virtual(v: &Virtual) -> impl Iterator<Item = Asked> {
    let one = |name: &str| Asked { name: name.to_owned(), family: v.family(), resolve: v.resolve };
    v.reals.iter().filter_map(move |r| r.name.as_deref().map(one))
}

/// The configuration with what these names stand for now; `None`: as it is. A name without an answer keeps its servers.
pub fn refreshed(config: &Config, known: &BTreeMap<Asked, Vec<Target>>) -> Option<Config> {
    let mut out: Option<Config> = None;
    for (at, v) in config.virtuals.iter().enumerate().filter(|(_, v)| v.resolve != Resolve::Once) {
        let mut reals: Vec<Real> = Vec::with_capacity(v.reals.len());
        for run in v.reals.chunk_by(|a, b| a.name.is_some() && (a.line, &a.name) == (b.line, &b.name)) {
            let template = &run[0];
            let asked = template.name.as_deref().map(|name| Asked {
                name: name.to_owned(),
                family: v.family(),
                resolve: v.resolve,
            });
            match asked.and_then(|asked| known.get(&asked)) {
                Some(targets) => reals.extend(targets.iter().map(|t| placed(template, *t))),
                None => reals.extend_from_slice(run),
            }
        }
        if reals != v.reals {
            out.get_or_insert_with(|| config.clone()).virtuals[at].reals = reals;
        }
    }
    out
}

/// A line's server at one of its addresses.
pub fn placed(template: &Real, target: Target) -> Real {
    let (port, weight) = target.service.unwrap_or((template.port, template.weight));
    Real { addr: target.addr, port, weight, ..template.clone() }
}

#[cfg(test)]
pub(crate) mod tests;
