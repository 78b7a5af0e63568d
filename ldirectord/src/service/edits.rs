//! Servers that an operator has added, removed or weighted by command, against what the file says: what comes of both, how it
//! differs, and which commands are refused.
//!
//! The file stays what it is. An edit is kept and travels as drains do (`policy::Marks`), and is laid over each configuration that is
//! read; one that has nothing to act upon any more, or says what the file says by now, is told and kept until it is reset, since
//! another director of the group may still have the older file.

use super::maintenance::Mark as Name;
use super::notices;
use super::operator::{Found, Kept, MarkError, list, select};
use crate::audit::audit;
use crate::config::{Config, MAX_REALS, Method, Real, Virtual, service_id, service_label};
use crate::plan::real_id;
use base::Text;
use base::ipvs::ServiceKey;
use policy::{Edit, RealId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// As ipvsadm takes it.
pub const MAX_WEIGHT: u32 = 65_535;

/// Where the running configuration is not as the file says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Difference {
    /// `tcp:10.0.0.1:80`.
    pub virtual_service: String,
    pub server: String,
    pub change: Change,
    /// That it has by command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_weight: Option<u32>,
    /// Of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Why the command has no effect now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    Added,
    Removed,
    Weight,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (server, service) = (&self.server, &self.virtual_service);
        let line = self.line.map(|n| format!(" (line {n})")).unwrap_or_default();
        match (self.change, self.weight, self.file_weight) {
            (Change::Added, weight, _) => write!(f, "{server} ({service}) added, weight {}", weight.unwrap_or(0))?,
            (Change::Removed, ..) => write!(f, "{server} ({service}) removed{line}")?,
            (Change::Weight, weight, Some(file)) => {
                write!(f, "{server} ({service}) weight {}, the file says {file}{line}", weight.unwrap_or(0))?
            }
            (Change::Weight, weight, None) => write!(f, "{server} ({service}) weight {}", weight.unwrap_or(0))?,
        }
        match &self.idle {
            Some(why) => write!(f, ": without effect, {why}; `real reset {server}` forgets it"),
            None => Ok(()),
        }
    }
}

/// A command about real servers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RealRequest {
    #[serde(flatten)]
    pub wish: RealWish,
    /// Address or name as in the configuration, with or without a port; `all` with `Reset`.
    pub real: String,
    /// `10.0.0.1:80`, `tcp:10.0.0.1:80` or a mark; `None`: in every service that has it.
    #[serde(default)]
    pub virtual_service: Option<String>,
    /// Even if a service keeps no server.
    #[serde(default)]
    pub force: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "lowercase")]
pub enum RealWish {
    /// `None`: the method of the service's first server, weight 1.
    Add {
        #[serde(default)]
        method: Option<Method>,
        #[serde(default)]
        weight: Option<u32>,
    },
    Remove,
    Weight {
        weight: u32,
    },
    /// Back to what the file says.
    Reset,
}

/// Why nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RealError {
    #[error(transparent)]
    Mark(#[from] MarkError),
    #[error("'{asked}': a server is added by its address: ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT")]
    NotAnAddress { asked: String },
    #[error("in which virtual service? Name it by --virtual; there are {known}")]
    WhichService { known: String },
    #[error("no virtual service '{asked}'; there are {known}")]
    NoService { asked: String, known: String },
    #[error("{server} is not of the family of {service}")]
    Family { server: String, service: String },
    #[error("{server} is {service} itself: name a server by its own address")]
    Itself { server: String, service: String },
    #[error("{server} is in {service} already, {method} {weight}; `real weight` changes its weight")]
    IsThere { server: String, service: String, method: &'static str, weight: u32 },
    #[error("{server} is the last server of {service}: nothing would be left to serve; --force removes it")]
    LastOne { server: String, service: String },
    #[error("weight {weight}: at most {MAX_WEIGHT}")]
    Weight { weight: u32 },
    #[error("the table would refuse this: {what}: expected {expected}")]
    Table { what: String, expected: String },
    #[error("no change by command of '{asked}' to reset; there are {known}")]
    NothingToReset { asked: String, known: String },
    #[error("{MAX_REALS} real servers are configured: no more are taken")]
    Full,
}

/// The file's configuration with the edits over it. Without any it is the file's own.
pub fn applied(file: &Arc<Config>, edits: &[(RealId, Edit)]) -> (Arc<Config>, Vec<Difference>) {
    if edits.is_empty() {
        return (file.clone(), Vec::new());
    }
    let mut config = Config::clone(file);
    let index: BTreeMap<ServiceKey, usize> = config.virtuals.iter().enumerate().map(|(n, v)| (v.key, n)).collect();
    let lay = |(id, edit): &(RealId, Edit)| match index.get(&id.service) {
        Some(at) => over(&mut config.virtuals[*at], id, *edit),
        None => Difference { idle: Some("the file has no such service".to_owned()), ..difference(id, *edit, None) },
    };
    let differences = edits.iter().map(lay).collect();
    (Arc::new(config), differences)
}

fn over(v: &mut Virtual, id: &RealId, edit: Edit) -> Difference {
    let there = v.reals.iter().rev().find(|r| real_id(v, r) == *id).cloned();
    let mut told = difference(id, edit, there.as_ref());
    let idle = |why: &str| Some(why.to_owned());
    match (edit, there) {
        (Edit::Added { .. }, Some(_)) => told.idle = idle("the file has the server itself"),
        (Edit::Added { port, forward, weight }, None) => match Method::of(forward) {
            Some(method) => v.reals.push(added(v, id, port, method, weight)),
            None => told.idle = idle("its forwarding method is not one of a file"),
        },
        (_, None) => told.idle = idle("the file does not have the server"),
        (Edit::Removed, Some(_)) => {
            let (key, reals) = (v.key, std::mem::take(&mut v.reals));
            let gone = |r: &Real| RealId { service: key, dest: v.dest_key(r.addr, r.port, r.forward) } == *id;
            v.reals = reals.into_iter().filter(|r| !gone(r)).collect();
        }
        (Edit::Weight(weight), Some(there)) => {
            if there.weight == weight {
                told.idle = idle("the file says the same");
            }
            let ids: Vec<bool> = v.reals.iter().map(|r| real_id(v, r) == *id).collect();
            v.reals.iter_mut().zip(ids).filter(|(_, is)| *is).for_each(|(r, _)| r.weight = weight);
        }
    }
    told
}

fn added(v: &Virtual, id: &RealId, port: u16, forward: Method, weight: u32) -> Real {
    let like = v.reals.iter().find(|r| *r.request == *v.request && *r.receive == *v.receive);
    let shared = like.map(|r| (r.request.clone(), r.receive.clone()));
    let (request, receive) = shared.unwrap_or_else(|| (Text::from(&*v.request), Text::from(&*v.receive)));
    Real {
        line: v.line,
        name: None,
        addr: id.dest.addr,
        port,
        forward,
        weight,
        request,
        receive,
        lower_threshold: None,
        upper_threshold: None,
    }
}

fn difference(id: &RealId, edit: Edit, there: Option<&Real>) -> Difference {
    let (change, weight) = match edit {
        Edit::Added { weight, .. } => (Change::Added, Some(weight)),
        Edit::Removed => (Change::Removed, None),
        Edit::Weight(weight) => (Change::Weight, Some(weight)),
    };
    Difference {
        virtual_service: service_id(&id.service),
        server: notices::server(&id.dest),
        change,
        weight,
        file_weight: there.map(|r| r.weight),
        line: there.map(|r| r.line),
        idle: None,
    }
}

/// What a command makes of the edits, server by server; or why it is refused. Nothing is changed here.
pub fn decide(
    file: &Arc<Config>,
    running: &Config,
    kept: &Kept,
    request: &RealRequest,
) -> Result<Vec<(RealId, Option<Edit>)>, RealError> {
    let edits = match request.wish {
        RealWish::Add { weight: Some(weight), .. } | RealWish::Weight { weight } if weight > MAX_WEIGHT => {
            return Err(RealError::Weight { weight });
        }
        RealWish::Add { method, weight } => vec![add(file, running, kept, request, method, weight)?],
        RealWish::Reset => reset(kept, request)?.into_iter().map(|id| (id, None)).collect(),
        RealWish::Remove => found(running, request)?
            .into_iter()
            .map(|(id, _)| (id, in_file(file, &id).map(|_| Edit::Removed)))
            .collect(),
        RealWish::Weight { weight } => found(running, request)?
            .into_iter()
            .map(|(id, real)| match in_file(file, &id) {
                Some(there) => (id, (there.weight != weight).then_some(Edit::Weight(weight))),
                None => (id, Some(Edit::Added { port: real.port, forward: real.forward.forward(), weight })),
            })
            .collect(),
    };
    judge(file, running, kept, request, &edits)?;
    Ok(edits)
}

fn found<'a>(running: &'a Config, request: &RealRequest) -> Result<Vec<Found<'a>>, RealError> {
    Ok(select(running, &request.real, request.virtual_service.as_deref())?)
}

fn in_file<'a>(file: &'a Config, id: &RealId) -> Option<&'a Real> {
    let v = file.virtuals.iter().find(|v| v.key == id.service)?;
    v.reals.iter().rev().find(|r| real_id(v, r) == *id)
}

fn add(
    file: &Config,
    running: &Config,
    kept: &Kept,
    request: &RealRequest,
    method: Option<Method>,
    weight: Option<u32>,
) -> Result<(RealId, Option<Edit>), RealError> {
    let v = service(running, request.virtual_service.as_deref())?;
    let name = Name::literal(&request.real);
    let &[addr] = name.addrs.as_slice() else {
        return Err(RealError::NotAnAddress { asked: request.real.clone() });
    };
    if addr.is_ipv4() != (v.family() == base::ipvs::Family::IPv4) {
        return Err(RealError::Family { server: addr.to_string(), service: service_id(&v.key) });
    }
    if v.is_itself(&v.dest_key(addr, name.port.unwrap_or(v.port()), method.unwrap_or(Method::Masq))) {
        return Err(RealError::Itself { server: addr.to_string(), service: service_id(&v.key) });
    }
    let from_file = file.virtuals.iter().find(|f| f.key == v.key);
    let first = v.reals.first().or(from_file.and_then(|f| f.reals.first()));
    let port = name.port.unwrap_or(v.port());
    let default = first.map_or(Method::Masq, |r| r.forward);
    // The file's own server comes back as the file has it.
    let method_there = |method: Method| {
        let id = RealId { service: v.key, dest: v.dest_key(addr, port, method) };
        in_file(file, &id).map_or(method, |r| r.forward)
    };
    let method = method.unwrap_or_else(|| method_there(default));
    let id = RealId { service: v.key, dest: v.dest_key(addr, port, method) };
    if let Some(there) = v.reals.iter().find(|r| real_id(v, r) == id) {
        if there.forward == method && weight.is_none_or(|w| w == there.weight) {
            return Ok((id, kept.get(&id).edit));
        }
        return Err(is_there(v, &id, there));
    }
    match in_file(file, &id) {
        Some(there) if there.forward != method => Err(is_there(v, &id, there)),
        Some(there) => Ok((id, weight.filter(|w| *w != there.weight).map(Edit::Weight))),
        None => Ok((id, Some(Edit::Added { port, forward: method.forward(), weight: weight.unwrap_or(1) }))),
    }
}

fn is_there(v: &Virtual, id: &RealId, there: &Real) -> RealError {
    RealError::IsThere {
        server: notices::server(&id.dest),
        service: service_id(&v.key),
        method: there.forward.name(),
        weight: there.weight,
    }
}

fn service<'a>(running: &'a Config, asked: Option<&str>) -> Result<&'a Virtual, RealError> {
    let known = || list(running.virtuals.iter().map(|v| service_id(&v.key)));
    match (asked, running.virtuals.as_slice()) {
        (None, [only]) => Ok(only),
        (None, _) => Err(RealError::WhichService { known: known() }),
        (Some(asked), all) => all
            .iter()
            .find(|v| service_id(&v.key) == asked)
            .or_else(|| all.iter().find(|v| service_label(&v.key) == asked))
            .ok_or_else(|| RealError::NoService { asked: asked.to_owned(), known: known() }),
    }
}

fn reset(kept: &Kept, request: &RealRequest) -> Result<Vec<RealId>, RealError> {
    let name = Name::literal(&request.real);
    let in_service = |id: &RealId| match request.virtual_service.as_deref() {
        Some(asked) => service_id(&id.service) == asked || service_label(&id.service) == asked,
        None => true,
    };
    let meant = |id: &RealId| request.real == "all" || name.covers(None, id.dest.addr, [id.dest.port; 2]);
    let edits = kept.edits();
    let found: Vec<RealId> = edits.iter().map(|(id, _)| *id).filter(|id| meant(id) && in_service(id)).collect();
    if found.is_empty() && request.real != "all" {
        let known = list(edits.iter().map(|(id, _)| notices::server(&id.dest)));
        return Err(RealError::NothingToReset { asked: request.real.clone(), known });
    }
    Ok(found)
}

/// The wanted configuration is tried on the table's double, service by service.
fn judge(
    file: &Arc<Config>,
    running: &Config,
    kept: &Kept,
    request: &RealRequest,
    edits: &[(RealId, Option<Edit>)],
) -> Result<(), RealError> {
    let mut wanted: BTreeMap<RealId, Edit> = kept.edits().into_iter().collect();
    for (id, edit) in edits {
        match edit {
            Some(edit) => drop(wanted.insert(*id, *edit)),
            None => drop(wanted.remove(id)),
        }
    }
    let wanted: Vec<(RealId, Edit)> = wanted.into_iter().collect();
    let (config, _) = applied(file, &wanted);
    if config.virtuals.iter().map(|v| v.reals.len()).sum::<usize>() > MAX_REALS {
        return Err(RealError::Full);
    }
    for (id, _) in edits {
        let Some(after) = config.virtuals.iter().find(|v| v.key == id.service) else { continue };
        let before = running.virtuals.iter().find(|v| v.key == id.service);
        if after.reals.is_empty() && before.is_some_and(|v| !v.reals.is_empty()) && !request.force {
            let (server, service) = (notices::server(&id.dest), service_id(&id.service));
            return Err(RealError::LastOne { server, service });
        }
        let known: Vec<String> =
            before.map(|v| refusals(&config, v)).unwrap_or_default().into_iter().map(|r| r.0).collect();
        if let Some((what, expected)) = refusals(&config, after).into_iter().find(|(what, _)| !known.contains(what)) {
            return Err(RealError::Table { what, expected });
        }
    }
    Ok(())
}

fn refusals(config: &Config, v: &Virtual) -> Vec<(String, String)> {
    let alone = Config { global: config.global.clone(), virtuals: vec![v.clone()] };
    audit(&alone).into_iter().map(|p| (p.found, p.expected)).collect()
}
