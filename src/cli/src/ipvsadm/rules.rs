//! Which options go with which command, and with which kind of tunnel.

use super::options::{Given, Opt};
use super::parse::Stop;

/// One table of variants and names gives the enum and its names.
macro_rules! commands {
    ($($variant:ident $name:literal,)+) => {
        /// The commands, by the names that messages use.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Command { $($variant),+ }

        impl Command {
            pub fn name(self) -> &'static str {
                match self { $(Command::$variant => $name),+ }
            }
        }
    };
}

commands! {
    AddService "add-service",
    EditService "edit-service",
    DeleteService "delete-service",
    Flush "flush",
    List "list",
    AddServer "add-server",
    DeleteServer "delete-server",
    EditServer "edit-server",
    Set "set",
    StartDaemon "start-daemon",
    StopDaemon "stop-daemon",
    Restore "restore",
    Save "save",
    Zero "zero",
}

impl Command {
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

/// Which of the options looked at must, may or may only singly be given, and how messages name what they go with.
struct Company<'a> {
    looked_at: &'a [Opt],
    required: &'a [Opt],
    /// Of these one at most.
    exclusive: &'a [Opt],
    allowed: &'a [Opt],
    /// `'add-server' command`
    with: String,
}

impl Company<'_> {
    /// Refuses the first option, in table order, that is missing, illegal or in conflict.
    fn check(&self, given: Given) -> Result<(), Stop> {
        let mut taken: Option<Opt> = None;
        for opt in self.looked_at {
            let (name, with) = (opt.name(), &self.with);
            if !given.has(*opt) {
                if self.required.contains(opt) {
                    return Err(Stop::usage(format!("You need to supply the '{name}' option for the {with}")));
                }
            } else if self.exclusive.contains(opt) {
                if let Some(first) = taken.replace(*opt).map(Opt::name) {
                    return Err(Stop::usage(format!(
                        "The option '{name}' conflicts with the '{first}' option in the {with}"
                    )));
                }
            } else if !self.allowed.contains(opt) && !self.required.contains(opt) {
                return Err(Stop::usage(format!("Illegal '{name}' option with the {with}")));
            }
        }
        Ok(())
    }
}

pub fn check_command(command: Command, given: Given) -> Result<(), Stop> {
    Company {
        looked_at: Opt::ALL,
        required: command.required(),
        exclusive: command.exclusive(),
        allowed: command.allowed(),
        with: format!("'{}' command", command.name()),
    }
    .check(given)
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
    Company {
        looked_at: &[Opt::TunPort, Opt::TunNocsum, Opt::TunCsum, Opt::TunRemcsum],
        required: if kind == TunnelKind::Gue { &[Opt::TunPort] } else { &[] },
        exclusive: kind.exclusive(),
        allowed: &[],
        with: format!("'{}' tunnel type", kind.name()),
    }
    .check(given)
}
