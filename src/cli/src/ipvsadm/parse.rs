//! One command line to one [`Request`], with the original's checks in the original's order.

use super::options::{Given, Opt, Tag, Words};
use super::rules::{Command, TunnelKind, check_command, check_tunnel};
use super::values::{self, FlagError, Lookup, number};
use base::ipvs::{
    Dest, DestKey, Family, Forward, Protocol, Service, ServiceKey, SyncDaemon, SyncState, Timeouts, Tunnel,
    TunnelChecksum, service_flags,
};
use std::net::{IpAddr, Ipv4Addr};

/// Exit code of errors in the arguments.
pub const EXIT_USAGE: i32 = 2;
/// Exit code of refusals by the kernel and of words that are no options.
pub const EXIT_REFUSED: i32 = 255;
const DEFAULT_SCHEDULER: &str = "wlc";
const DEFAULT_INTERFACE: &str = "eth0";
const DEFAULT_PERSISTENCE_S: u32 = 360;
/// 31 days.
const MAX_TIMEOUT_S: i64 = 31 * 24 * 60 * 60;
const MAX_NAME_LEN: usize = 15;

/// Why no request came of a command line.
#[derive(Clone, PartialEq, Debug)]
pub enum Stop {
    /// A message and an exit code.
    Fail {
        code: i32,
        message: String,
    },
    /// Point to the help and exit with 255.
    TryHelp,
    Help,
    Version,
}

impl Stop {
    pub fn usage(message: impl Into<String>) -> Stop {
        Stop::Fail { code: EXIT_USAGE, message: message.into() }
    }
}

/// What a command line asks for.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    pub command: Command,
    pub given: Given,
    pub service: Option<Service>,
    pub dest: Option<Dest>,
    pub timeouts: Timeouts,
    pub daemon: Option<SyncDaemon>,
}

/// What has been read so far, in the order of the words.
struct Draft<'a> {
    given: Given,
    lookup: Lookup<'a>,
    protocol: Option<Protocol>,
    place: Option<(IpAddr, u16)>,
    fwmark: u32,
    fwmark_v6: bool,
    scheduler: String,
    flags: u32,
    timeout_s: u32,
    netmask: Option<String>,
    pe: Option<String>,
    sched_flags: Option<String>,
    real: Option<values::Place>,
    forward: Forward,
    weight: u32,
    thresholds: (u32, u32),
    tunnel: (TunnelKind, u16, TunnelChecksum),
    daemon: SyncDaemon,
}

/// Reads a command line without the program's name. `nested` is set for lines of `-R`, where `-R` is no command.
pub fn parse(words: &[String], nested: bool, lookup: Lookup<'_>) -> Result<Request, Stop> {
    let mut cutter = Words::new(words);
    let Ok(Some((first, value))) = cutter.next_option() else { return Err(Stop::TryHelp) };
    let mut draft = Draft::new(lookup);
    let command = draft.command(first, value, nested)?;
    loop {
        match cutter.next_option() {
            Ok(None) => break,
            Ok(Some((tag, value))) => {
                let last = cutter.last_word();
                draft.option(tag, value.unwrap_or_default(), value.is_some(), last)?;
            }
            Err(e) => {
                return Err(Stop::Fail {
                    code: EXIT_REFUSED,
                    message: format!("{}: {}", cutter.last_word(), e.text()),
                });
            }
        }
    }
    let mut rest = cutter.rest().into_iter();
    let timeouts = if command == Command::Set { three_timeouts(&mut rest)? } else { Timeouts::default() };
    if let Some(word) = rest.next() {
        return Err(Stop::usage(format!("unexpected argument {word}")));
    }
    draft.finish(command, timeouts)
}

fn three_timeouts<'a>(rest: &mut impl Iterator<Item = &'a str>) -> Result<Timeouts, Stop> {
    let (Some(tcp), Some(tcp_fin), Some(udp)) = (rest.next(), rest.next(), rest.next()) else {
        return Err(Stop::usage("--set option requires 3 timeout values"));
    };
    Ok(Timeouts { tcp_s: timeout(tcp, 0)?, tcp_fin_s: timeout(tcp_fin, 0)?, udp_s: timeout(udp, 0)? })
}

fn timeout(text: &str, min: i64) -> Result<u32, Stop> {
    let value = number(text, min, MAX_TIMEOUT_S).and_then(|n| u32::try_from(n).ok());
    value.ok_or_else(|| Stop::usage(format!("invalid timeout value `{text}' specified")))
}

/// A number that fits its type, or the message.
fn ranged<T: TryFrom<i64>>(text: &str, min: i64, max: i64, message: &str) -> Result<T, Stop> {
    number(text, min, max).and_then(|n| T::try_from(n).ok()).ok_or_else(|| Stop::usage(message))
}

/// Names are cut as the kernel's fields would cut them.
fn cut(text: &str) -> String {
    let mut end = text.len().min(MAX_NAME_LEN);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

fn sync_state(text: &str) -> Option<SyncState> {
    match text {
        "master" => Some(SyncState::Master),
        "backup" => Some(SyncState::Backup),
        _ => None,
    }
}

impl<'a> Draft<'a> {
    fn new(lookup: Lookup<'a>) -> Draft<'a> {
        Draft {
            given: Given::default(),
            lookup,
            protocol: None,
            place: None,
            fwmark: 0,
            fwmark_v6: false,
            scheduler: String::new(),
            flags: 0,
            timeout_s: 0,
            netmask: None,
            pe: None,
            sched_flags: None,
            real: None,
            forward: Forward::Route,
            weight: 1,
            thresholds: (0, 0),
            tunnel: (TunnelKind::Ipip, 0, TunnelChecksum::None),
            daemon: SyncDaemon {
                state: SyncState::Master,
                interface: String::new(),
                sync_id: 0,
                max_len: None,
                group: None,
                port: None,
                ttl: None,
            },
        }
    }

    /// The first option must be a command.
    fn command(&mut self, tag: Tag, value: Option<&str>, nested: bool) -> Result<Command, Stop> {
        let state = |message| value.and_then(sync_state).ok_or_else(|| Stop::usage(message));
        Ok(match tag {
            Tag::Add => Command::AddService,
            Tag::Edit => Command::EditService,
            Tag::Delete => Command::DeleteService,
            Tag::Clear => Command::Flush,
            Tag::List => Command::List,
            Tag::Zero => Command::Zero,
            Tag::AddServer => Command::AddServer,
            Tag::EditServer => Command::EditServer,
            Tag::DeleteServer => Command::DeleteServer,
            Tag::Set => Command::Set,
            Tag::Save => Command::Save,
            Tag::Restore if !nested => Command::Restore,
            Tag::StartDaemon => {
                self.daemon.state = state("illegal start-daemon parameter specified")?;
                Command::StartDaemon
            }
            Tag::StopDaemon => {
                self.daemon.state = state("illegal start_daemon specified")?;
                Command::StopDaemon
            }
            Tag::Help => return Err(Stop::Help),
            Tag::Version => return Err(Stop::Version),
            _ => return Err(Stop::TryHelp),
        })
    }

    fn once(&mut self, opt: Opt) -> Result<(), Stop> {
        if self.given.add(opt) {
            Ok(())
        } else {
            Err(Stop::usage(format!("multiple '{}' options specified", opt.name())))
        }
    }

    fn option(&mut self, tag: Tag, value: &str, has_value: bool, last_word: &str) -> Result<(), Stop> {
        match tag {
            Tag::Tcp => self.service(value, Protocol::Tcp),
            Tag::Udp => self.service(value, Protocol::Udp),
            Tag::Sctp => self.service(value, Protocol::Sctp),
            Tag::Fwmark => {
                self.once(Opt::ServiceAddress)?;
                self.protocol = Some(Protocol::Tcp);
                let mark = number(value, 1, i64::from(u32::MAX)).and_then(|n| u32::try_from(n).ok());
                self.fwmark = mark.ok_or_else(|| Stop::usage(format!("invalid fwmark value `{value}' specified")))?;
                Ok(())
            }
            Tag::Masq => self.forward(Forward::Masq),
            Tag::Ipip => self.forward(Forward::Tunnel),
            Tag::Gate => self.forward(Forward::Route),
            Tag::Sort => Ok(()),
            Tag::Ipv6 if self.fwmark == 0 => Err(Stop::usage("-6 used before -f\n")),
            Tag::Ipv6 => {
                self.fwmark_v6 = true;
                Ok(())
            }
            Tag::Plain(opt) => {
                self.once(opt)?;
                self.plain(opt, value, has_value)
            }
            _ => Err(Stop::usage(format!("invalid option `{last_word}'"))),
        }
    }

    fn service(&mut self, value: &str, protocol: Protocol) -> Result<(), Stop> {
        self.once(Opt::ServiceAddress)?;
        self.protocol = Some(protocol);
        let place = values::place(value, self.protocol, self.lookup)
            .ok_or_else(|| Stop::usage("illegal virtual server address[:port] specified"))?;
        self.place = Some((place.addr, place.port.unwrap_or(0)));
        Ok(())
    }

    fn forward(&mut self, forward: Forward) -> Result<(), Stop> {
        self.once(Opt::ForwardingMethod)?;
        self.forward = forward;
        Ok(())
    }

    fn plain(&mut self, opt: Opt, value: &str, has_value: bool) -> Result<(), Stop> {
        match opt {
            Opt::Scheduler => self.scheduler = cut(value),
            Opt::Persistent => {
                self.flags |= service_flags::PERSISTENT;
                self.timeout_s = if has_value { timeout(value, 1)? } else { DEFAULT_PERSISTENCE_S };
            }
            Opt::Netmask => {
                self.mask(value, self.family())?;
                self.netmask = Some(value.to_owned());
            }
            Opt::RealServer => {
                let place = values::place(value, self.protocol, self.lookup)
                    .ok_or_else(|| Stop::usage("illegal real server address[:port] specified"))?;
                self.real = Some(place);
            }
            Opt::Weight => self.weight = ranged(value, 0, 65535, "illegal weight specified")?,
            Opt::UThreshold => {
                self.thresholds.0 = ranged(value, 0, i64::from(i32::MAX), "illegal u_threshold specified")?
            }
            Opt::LThreshold => {
                self.thresholds.1 = ranged(value, 0, i64::from(i32::MAX), "illegal l_threshold specified")?
            }
            Opt::Ops => self.flags |= service_flags::ONE_PACKET,
            Opt::Pe => self.pe = Some(cut(value)).filter(|name| !name.is_empty()),
            Opt::SchedFlags => self.sched_flags = Some(value.to_owned()),
            Opt::McastInterface => self.daemon.interface = cut(value),
            Opt::SyncId => self.daemon.sync_id = ranged(value, 0, 255, "illegal syncid specified")?,
            Opt::McastGroup => self.daemon.group = Some(multicast_group(value)?),
            Opt::McastPort => self.daemon.port = Some(ranged(value, 1, 65535, "illegal mcast-port specified")?),
            Opt::McastTtl => self.daemon.ttl = Some(ranged(value, 1, 255, "illegal mcast-ttl specified")?),
            Opt::SyncMaxlen => self.daemon.max_len = Some(ranged(value, 1, 65507, "illegal sync-maxlen specified")?),
            Opt::TunType => {
                self.tunnel.0 = TunnelKind::parse(value).ok_or_else(|| Stop::usage("illegal tunnel type specified"))?;
            }
            Opt::TunPort => self.tunnel.1 = ranged(value, 1, 65535, "illegal tunnel port specified")?,
            Opt::TunCsum => self.tunnel.2 = TunnelChecksum::Checksum,
            Opt::TunRemcsum => self.tunnel.2 = TunnelChecksum::RemoteChecksum,
            _ => {}
        }
        Ok(())
    }

    fn family(&self) -> Family {
        match self.place {
            Some((addr, _)) => Family::of(addr),
            None if self.fwmark_v6 => Family::IPv6,
            None => Family::IPv4,
        }
    }

    /// Reads a mask for a family. Before the service is known, a prefix length passes as an old-style IPv4 mask.
    fn mask(&self, text: &str, family: Family) -> Result<u32, Stop> {
        match family {
            Family::IPv4 => values::inet_aton(text)
                .map(u32::from)
                .ok_or_else(|| Stop::usage("illegal virtual server persistent mask specified")),
            Family::IPv6 => values::prefix_length(text).ok_or_else(|| Stop::usage("illegal ipv6 netmask specified")),
        }
    }

    fn finish(mut self, command: Command, timeouts: Timeouts) -> Result<Request, Stop> {
        if let Some(text) = &self.sched_flags {
            self.flags |= values::scheduler_flags(self.scheduler_or_default(), text).map_err(|e| match e {
                FlagError::Invalid(flag) => Stop::usage(format!("invalid scheduler flag `{flag}'")),
                FlagError::Incompatible(flag) => Stop::usage(format!("incompatible scheduler flag `{flag}'")),
            })?;
        }
        check_command(command, self.given)?;
        let service = self.finish_service(command)?;
        let dest = match &service {
            Some(service) if self.real.is_some() => Some(self.finish_dest(command, service)?),
            _ => None,
        };
        let daemon = matches!(command, Command::StartDaemon | Command::StopDaemon).then(|| self.finish_daemon());
        Ok(Request { command, given: self.given, service, dest, timeouts, daemon })
    }

    fn scheduler_or_default(&self) -> &str {
        if self.scheduler.is_empty() { DEFAULT_SCHEDULER } else { &self.scheduler }
    }

    fn finish_service(&self, command: Command) -> Result<Option<Service>, Stop> {
        let key = match (self.fwmark, self.place, self.protocol) {
            (0, Some((addr, port)), Some(protocol)) => ServiceKey::Address { protocol, addr, port },
            (0, ..) => return Ok(None),
            (mark, ..) => ServiceKey::Fwmark { mark, family: self.family() },
        };
        if matches!(command, Command::AddService | Command::EditService) {
            let persistent = self.flags & service_flags::PERSISTENT != 0;
            if matches!(key, ServiceKey::Address { port: 0, .. }) && !persistent {
                return Err(Stop::usage("Zero port specified for non-persistent service"));
            }
            let udp_or_mark = !matches!(key, ServiceKey::Address { protocol: Protocol::Tcp | Protocol::Sctp, .. });
            if self.flags & service_flags::ONE_PACKET != 0 && !udp_or_mark {
                return Err(Stop::usage("One-Packet Scheduling is only for UDP virtual services"));
            }
        }
        let mut service = Service::new(key, self.scheduler_or_default());
        service.flags = self.flags;
        service.timeout_s = self.timeout_s;
        service.pe.clone_from(&self.pe);
        if let Some(text) = &self.netmask {
            service.netmask = self.mask(text, key.family())?;
        }
        Ok(Some(service))
    }

    fn finish_dest(&self, command: Command, service: &Service) -> Result<Dest, Stop> {
        let real = self.real.ok_or(Stop::TryHelp)?;
        let virtual_port = match service.key {
            ServiceKey::Address { port, .. } => Some(port),
            ServiceKey::Fwmark { .. } => None,
        };
        let mut port = real.port.or(virtual_port).unwrap_or(0);
        let (kind, tunnel_port, checksum) = self.tunnel;
        if matches!(command, Command::AddServer | Command::EditServer) {
            // Direct routing and tunnels leave the packet's port alone.
            if self.forward != Forward::Masq {
                port = virtual_port.unwrap_or(port);
            }
            if Family::of(real.addr) != service.key.family() && self.forward != Forward::Tunnel {
                return Err(Stop::usage("Different address family is allowed only for tunneling servers"));
            }
            let tunnel_options = [Opt::TunType, Opt::TunPort, Opt::TunNocsum, Opt::TunCsum, Opt::TunRemcsum];
            if self.forward != Forward::Tunnel && self.given.any(&tunnel_options) {
                return Err(Stop::usage("Tunnel options conflict with forward method"));
            }
            check_tunnel(kind, self.given)?;
        }
        Ok(Dest {
            key: DestKey { addr: real.addr, port },
            forward: self.forward,
            weight: self.weight,
            tunnel: match kind {
                TunnelKind::Ipip => Tunnel::Ipip,
                TunnelKind::Gue => Tunnel::Gue { port: tunnel_port, flags: checksum },
                TunnelKind::Gre => Tunnel::Gre { flags: checksum },
            },
            u_threshold: self.thresholds.0,
            l_threshold: self.thresholds.1,
        })
    }

    fn finish_daemon(&self) -> SyncDaemon {
        let mut daemon = self.daemon.clone();
        if daemon.interface.is_empty() {
            daemon.interface = DEFAULT_INTERFACE.to_owned();
        }
        daemon
    }
}

/// IPv6 if it has a colon.
fn multicast_group(text: &str) -> Result<IpAddr, Stop> {
    let (name, addr) = if text.contains(':') {
        ("IPv6", text.parse().ok())
    } else {
        ("IPv4", text.parse::<Ipv4Addr>().ok().map(IpAddr::V4))
    };
    addr.filter(IpAddr::is_multicast).ok_or_else(|| Stop::usage(format!("invalid {name} mcast-group `{text}'")))
}
