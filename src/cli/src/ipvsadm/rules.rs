//! Which options go with which command, and with which kind of tunnel.

use super::options::{Given, Opt};
use super::parse::Stop;

/// The commands, by the names that messages use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    AddService,
    EditService,
    DeleteService,
    Flush,
    List,
    AddServer,
    DeleteServer,
    EditServer,
    Set,
    StartDaemon,
    StopDaemon,
    Restore,
    Save,
    Zero,
}

impl Command {
    pub fn name(self) -> &'static str {
        match self {
            Command::AddService => "add-service",
            Command::EditService => "edit-service",
            Command::DeleteService => "delete-service",
            Command::Flush => "flush",
            Command::List => "list",
            Command::AddServer => "add-server",
            Command::DeleteServer => "delete-server",
            Command::EditServer => "edit-server",
            Command::Set => "set",
            Command::StartDaemon => "start-daemon",
            Command::StopDaemon => "stop-daemon",
            Command::Restore => "restore",
            Command::Save => "save",
            Command::Zero => "zero",
        }
    }

    fn required(self) -> &'static [Opt] {
        match self {
            Command::AddService | Command::EditService | Command::DeleteService => &[Opt::ServiceAddress],
            Command::AddServer | Command::DeleteServer | Command::EditServer => &[Opt::ServiceAddress, Opt::RealServer],
            _ => &[],
        }
    }

    /// Options of which one at most may be given.
    fn exclusive(self) -> &'static [Opt] {
        match self {
            Command::List => &[Opt::Connection, Opt::ServiceAddress, Opt::Timeout, Opt::Daemon],
            _ => &[],
        }
    }

    fn allowed(self) -> &'static [Opt] {
        use Opt::*;
        match self {
            Command::AddService => &[Scheduler, Persistent, Netmask, Ops, Pe, SchedFlags],
            Command::EditService => &[Scheduler, Persistent, Netmask, Ops, Pe, SchedFlags, Keep],
            Command::List => &[Numeric, Stats, Rate, Thresholds, PersistentConn, NoSort, SyncId, Exact, TunInfo, Json],
            Command::AddServer => {
                &[ForwardingMethod, Weight, UThreshold, LThreshold, TunType, TunPort, TunNocsum, TunCsum, TunRemcsum]
            }
            Command::EditServer => &[
                ForwardingMethod,
                Weight,
                UThreshold,
                LThreshold,
                TunType,
                TunPort,
                TunNocsum,
                TunCsum,
                TunRemcsum,
                Keep,
            ],
            Command::StartDaemon => &[McastInterface, SyncId, McastGroup, McastPort, McastTtl, SyncMaxlen],
            Command::StopDaemon => &[SyncId],
            Command::Save => &[Numeric, Json, Classic, Full],
            Command::Restore => &[Check, Replace],
            Command::Zero => &[ServiceAddress],
            _ => &[],
        }
    }
}

/// Refuses the first option, in table order, that is missing, illegal or in conflict.
pub fn check_command(command: Command, given: Given) -> Result<(), Stop> {
    let mut taken: Option<Opt> = None;
    for opt in Opt::ALL {
        if !given.has(opt) {
            if command.required().contains(&opt) {
                return Err(Stop::usage(format!(
                    "You need to supply the '{}' option for the '{}' command",
                    opt.name(),
                    command.name()
                )));
            }
        } else if command.exclusive().contains(&opt) {
            if let Some(first) = taken.replace(opt) {
                return Err(Stop::usage(format!(
                    "The option '{}' conflicts with the '{}' option in the '{}' command",
                    opt.name(),
                    first.name(),
                    command.name()
                )));
            }
        } else if !command.allowed().contains(&opt) && !command.required().contains(&opt) {
            return Err(Stop::usage(format!("Illegal '{}' option with the '{}' command", opt.name(), command.name())));
        }
    }
    Ok(())
}

/// Kinds of tunnels as `--tun-type` names them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TunnelKind {
    #[default]
    Ipip,
    Gue,
    Gre,
}

impl TunnelKind {
    pub fn parse(text: &str) -> Option<TunnelKind> {
        match text {
            "ipip" => Some(TunnelKind::Ipip),
            "gue" => Some(TunnelKind::Gue),
            "gre" => Some(TunnelKind::Gre),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            TunnelKind::Ipip => "ipip",
            TunnelKind::Gue => "gue",
            TunnelKind::Gre => "gre",
        }
    }

    fn exclusive(self) -> &'static [Opt] {
        match self {
            TunnelKind::Ipip => &[],
            TunnelKind::Gue => &[Opt::TunNocsum, Opt::TunCsum, Opt::TunRemcsum],
            TunnelKind::Gre => &[Opt::TunNocsum, Opt::TunCsum],
        }
    }
}

/// The same for the options of a tunnel.
pub fn check_tunnel(kind: TunnelKind, given: Given) -> Result<(), Stop> {
    let mut taken: Option<Opt> = None;
    for opt in [Opt::TunPort, Opt::TunNocsum, Opt::TunCsum, Opt::TunRemcsum] {
        let needed = kind == TunnelKind::Gue && opt == Opt::TunPort;
        if !given.has(opt) {
            if needed {
                return Err(Stop::usage(format!(
                    "You need to supply the '{}' option for the '{}' tunnel type",
                    opt.name(),
                    kind.name()
                )));
            }
        } else if kind.exclusive().contains(&opt) {
            if let Some(first) = taken.replace(opt) {
                return Err(Stop::usage(format!(
                    "The option '{}' conflicts with the '{}' option in the '{}' tunnel type",
                    opt.name(),
                    first.name(),
                    kind.name()
                )));
            }
        } else if !needed {
            return Err(Stop::usage(format!("Illegal '{}' option with the '{}' tunnel type", opt.name(), kind.name())));
        }
    }
    Ok(())
}
