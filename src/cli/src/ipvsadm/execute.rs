//! Performs one request on a table.

use super::options::Opt;
use super::parse::{EXIT_REFUSED, Request, Stop};
use super::rules::Command;
use super::{Io, conns, json, messages, names_for, report_stop, restore};
use base::ipvs::{Dest, Service, ServiceKey};
use kernel::ipvs::render::{self, Options, RuleOptions, View};
use kernel::ipvs::{Change, Error, Ipvs, Memory};

/// Exit code of a listing that the kernel refused.
pub const EXIT_LISTING: i32 = 1;

/// Performs a request; returns the exit code.
pub fn execute(request: &Request, table: &mut dyn Ipvs, io: &mut Io<'_>) -> i32 {
    match request.command {
        Command::List => list(request, table, io),
        Command::Save => save(request, table, io),
        Command::Restore => restore::restore(request.given, table, io),
        _ => match change_of(request, table) {
            Ok(Some(change)) => {
                let result = table.apply(&change);
                report(&change, &result, io)
            }
            Ok(None) => report_stop(&Stop::TryHelp, io),
            Err(e) => {
                let _ = writeln!(io.err, "{}", messages::of_read(&e));
                EXIT_REFUSED
            }
        },
    }
}

/// Prints a refusal; returns the exit code.
pub fn report(change: &Change, result: &Result<(), Error>, io: &mut Io<'_>) -> i32 {
    let Err(error) = result else { return 0 };
    let _ = writeln!(io.err, "{}", messages::of_change(change, error));
    if io.interactive
        && let Some(hint) = messages::hint(error)
    {
        let _ = writeln!(io.err, "({hint})");
    }
    EXIT_REFUSED
}

/// The change that a request asks for; reads the table only for `--keep`.
pub fn change_of(request: &Request, table: &mut dyn Ipvs) -> Result<Option<Change>, Error> {
    let keep = request.given.has(Opt::Keep);
    let service = request.service.as_ref();
    let pair = service.zip(request.dest.as_ref());
    Ok(match request.command {
        Command::AddService => service.map(|s| Change::AddService(s.clone())),
        Command::EditService if keep => service.map(|s| kept_service(request, s, table)).transpose()?,
        Command::EditService => service.map(|s| Change::EditService(s.clone())),
        Command::DeleteService => service.map(|s| Change::DeleteService(s.key)),
        Command::AddServer => pair.map(|(s, d)| Change::AddDest(s.key, d.clone())),
        Command::EditServer if keep => pair.map(|(s, d)| kept_dest(request, &s.key, d, table)).transpose()?,
        Command::EditServer => pair.map(|(s, d)| Change::EditDest(s.key, d.clone())),
        Command::DeleteServer => pair.map(|(s, d)| Change::DeleteDest(s.key, d.key)),
        Command::Flush => Some(Change::Flush),
        Command::Zero => Some(Change::Zero(service.map(|s| s.key))),
        Command::Set => Some(Change::SetTimeouts(request.timeouts)),
        Command::StartDaemon => request.daemon.clone().map(Change::StartDaemon),
        Command::StopDaemon => {
            request.daemon.as_ref().map(|d| Change::StopDaemon { state: d.state, sync_id: d.sync_id })
        }
        Command::List | Command::Save | Command::Restore => None,
    })
}

/// `-E --keep`: what is not given stays.
fn kept_service(request: &Request, asked: &Service, table: &mut dyn Ipvs) -> Result<Change, Error> {
    let mut kept = table.service(&asked.key)?.service;
    let given = request.given;
    if given.has(Opt::Scheduler) {
        kept.scheduler.clone_from(&asked.scheduler);
    }
    if given.has(Opt::Persistent) {
        kept.timeout_s = asked.timeout_s;
    }
    if given.has(Opt::Netmask) {
        kept.netmask = asked.netmask;
    }
    if given.has(Opt::Pe) {
        kept.pe.clone_from(&asked.pe);
    }
    kept.flags |= asked.flags;
    Ok(Change::EditService(kept))
}

/// `-e --keep`: what is not given stays.
fn kept_dest(request: &Request, key: &ServiceKey, asked: &Dest, table: &mut dyn Ipvs) -> Result<Change, Error> {
    let found = table.service(key)?.dests.into_iter().find(|d| d.dest.key == asked.key);
    let mut kept = found.ok_or(Error::NoSuchDest)?.dest;
    let given = request.given;
    if given.has(Opt::ForwardingMethod) {
        (kept.forward, kept.tunnel) = (asked.forward, asked.tunnel);
    }
    if given.has(Opt::Weight) {
        kept.weight = asked.weight;
    }
    if given.has(Opt::UThreshold) {
        kept.u_threshold = asked.u_threshold;
    }
    if given.has(Opt::LThreshold) {
        kept.l_threshold = asked.l_threshold;
    }
    Ok(Change::EditDest(*key, kept))
}

fn list(request: &Request, table: &mut dyn Ipvs, io: &mut Io<'_>) -> i32 {
    let given = request.given;
    let no_counters = given.any(&[Opt::Connection, Opt::Timeout, Opt::Daemon]);
    let no_persistence = given.any(&[Opt::Timeout, Opt::Daemon]);
    if no_counters && given.any(&[Opt::Stats, Opt::Rate, Opt::Thresholds])
        || no_persistence && given.has(Opt::PersistentConn)
    {
        return report_stop(&Stop::usage("options conflicts in the list command"), io);
    }
    if given.has(Opt::Connection) {
        return conns::list(given, io);
    }
    let text = if given.has(Opt::Json) { json::listing(request, table) } else { listing(request, table, io) };
    print(text, io)
}

fn print(text: Result<String, Error>, io: &mut Io<'_>) -> i32 {
    match text {
        Ok(text) => {
            let _ = io.out.write_all(text.as_bytes());
            0
        }
        Err(e) => {
            let _ = writeln!(io.err, "{}", messages::of_read(&e));
            EXIT_LISTING
        }
    }
}

fn listing(request: &Request, table: &mut dyn Ipvs, io: &Io<'_>) -> Result<String, Error> {
    let given = request.given;
    let options = Options { view: view(request), exact: given.has(Opt::Exact), no_sort: given.has(Opt::NoSort) };
    let names = names_for(given.has(Opt::Numeric), io);
    if let Some(service) = &request.service {
        return Ok(render::one_service(&table.service(&service.key)?, &options, names));
    }
    if given.has(Opt::Timeout) {
        return Ok(render::timeouts(&table.timeouts()?));
    }
    if given.has(Opt::Daemon) {
        return Ok(render::daemons(&table.daemons()?));
    }
    Ok(render::table(&table.info()?, &table.services()?, &options, names))
}

/// Of several views the first of this order is shown.
fn view(request: &Request) -> View {
    let views = [
        (Opt::Stats, View::Stats),
        (Opt::Rate, View::Rate),
        (Opt::Thresholds, View::Thresholds),
        (Opt::PersistentConn, View::PersistentConn),
        (Opt::TunInfo, View::TunnelInfo),
    ];
    views.iter().find(|(opt, _)| request.given.has(*opt)).map_or(View::Plain, |(_, view)| *view)
}

fn save(request: &Request, table: &mut dyn Ipvs, io: &mut Io<'_>) -> i32 {
    print(saved(request, table, io), io)
}

/// The rules; with `--full` also timeouts and daemons, which the original never saves.
fn saved(request: &Request, table: &mut dyn Ipvs, io: &Io<'_>) -> Result<String, Error> {
    let given = request.given;
    if given.has(Opt::Json) {
        return Ok(Memory::snapshot(table)?.to_json());
    }
    let options = RuleOptions { thresholds: !given.has(Opt::Classic) };
    let mut text = render::rules(&table.services()?, options, names_for(given.has(Opt::Numeric), io));
    if given.has(Opt::Full) {
        let t = table.timeouts()?;
        text.push_str(&format!("--set {} {} {}\n", t.tcp_s, t.tcp_fin_s, t.udp_s));
        for daemon in table.daemons()? {
            text.push_str(&render::daemon_rule(&daemon));
        }
    }
    Ok(text)
}
