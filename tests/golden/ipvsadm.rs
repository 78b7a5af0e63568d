//! `ipvsadm`: every recorded command line of the original, with its exit code, output, errors and effect.
//!
//! The original was recorded over a table in memory that grants every change; [`Recorder`] is its like. Where ours differs on
//! purpose, [`DEVIATIONS`] says why and how the original's behaviour is had.

#[path = "../vm/ipvsadm/lines.rs"]
mod lines;

use crate::shared::shared;
use base::ipvs::{
    Dest, Family, Info, Protocol, Service, ServiceEntry, ServiceKey, SyncDaemon, Timeouts, Tunnel, TunnelChecksum,
};
use cli::ipvsadm::{Io, command_line};
use kernel::ipvs::render::Names;
use kernel::ipvs::{Change, Error, Ipvs, Memory};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Command lines on which ours differs: the words, what to add to get the original's bytes, and the reason.
const DEVIATIONS: &[(&str, &str, &str)] = &[
    (
        "-S",
        "--classic",
        "the original forgets connection thresholds when it saves; ours writes -x and -y where they are set",
    ),
    ("-S -n", "--classic", "as -S"),
];

/// Further differences, which no recorded block shows. Each is tested by name in `differences_by_intent`.
const ALSO_DIFFERENT: &[&str] = &[
    "-h and -v work, and arguments are checked, without IPVS in the kernel; the original fails before it looks at them",
    "-M before the service's address counts for IPv6 too; the original forgets it",
    "a real server without port takes the service's, whichever of -r and -t comes first; the original gives port 0 with -m",
    "a firewall mark of 2^31 and more is printed as it is; the original prints it negative, and cannot restore it",
    "weights above 65535 are refused, as recorded; Debian's build of 1.31 takes them",
    "'-b ,' sets no flag; the original crashes",
    "an IPv4 address in brackets has the port behind them; the original forgets it, and takes 0 or the service's",
    "flag-3 is shown and saved with sh and mh too; the original forgets it there",
    "statistics of real servers are 64-bit; the original's wrap at 2^32",
    "real servers of a service that has both families are listed IPv4 first; the original's order depends on the kernel's",
];

/// One recorded run.
struct Block {
    words: Vec<String>,
    input: String,
    errno: Option<i32>,
    exit: i32,
    stdout: String,
    stderr: String,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    for part in format!("\n{text}").split("\n$ ").skip(1) {
        let (head, body) = part.split_once('\n').expect("a block has a body");
        let (exit, body) = body.split_once('\n').unwrap_or((body, ""));
        let (head, input) = match head.split_once("   # restore ") {
            Some((head, note)) => (head, quoted(note)),
            None => (head, String::new()),
        };
        let (errno, head) = match head.strip_prefix("MOCK_ERRNO=") {
            Some(rest) => rest.split_once(' ').map(|(n, h)| (n.parse().ok(), h)).expect("an error number"),
            None => (None, head),
        };
        let words = head.split_whitespace().skip(1).map(str::to_owned).collect();
        let exit = exit.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("an exit code");
        let (stdout, stderr) = streams(body);
        blocks.push(Block { words, input, errno, exit, stdout, stderr });
    }
    blocks
}

/// The text between the quotes of a note like `ok: '-A …\n'`.
fn quoted(note: &str) -> String {
    let start = note.find('\'').expect("an opening quote") + 1;
    let end = note.rfind('\'').expect("a closing quote");
    note[start..end].replace("\\n", "\n")
}

/// Splits a body into what was printed and what was complained; one empty line ends a block.
fn streams(body: &str) -> (String, String) {
    let (out, err) = match (body.strip_prefix("stdout:\n"), body.find("stderr:\n")) {
        (Some(out), None) => (out, ""),
        (Some(out), Some(at)) => (&out[..at - "stdout:\n".len()], &body[at + "stderr:\n".len()..]),
        (None, Some(at)) => ("", &body[at + "stderr:\n".len()..]),
        (None, None) => ("", ""),
    };
    (out.trim_end_matches('\n').to_owned(), err.trim_end_matches('\n').to_owned())
}

/// Reads from a table, grants every change and writes down what it would have been, or refuses everything.
struct Recorder {
    memory: Memory,
    effects: String,
    refusal: Option<Error>,
}

impl Recorder {
    fn gate(&self) -> Result<(), Error> {
        self.refusal.clone().map_or(Ok(()), Err)
    }
}

impl Ipvs for Recorder {
    fn info(&mut self) -> Result<Info, Error> {
        self.gate().and_then(|()| self.memory.info())
    }

    fn services(&mut self) -> Result<Vec<ServiceEntry>, Error> {
        self.gate().and_then(|()| self.memory.services())
    }

    fn service(&mut self, key: &ServiceKey) -> Result<ServiceEntry, Error> {
        self.gate().and_then(|()| self.memory.service(key))
    }

    fn timeouts(&mut self) -> Result<Timeouts, Error> {
        self.gate().and_then(|()| self.memory.timeouts())
    }

    fn daemons(&mut self) -> Result<Vec<SyncDaemon>, Error> {
        self.gate().and_then(|()| self.memory.daemons())
    }

    fn apply(&mut self, change: &Change) -> Result<(), Error> {
        self.gate()?;
        self.effects += &effect(change);
        Ok(())
    }
}

/// A change in the recording's words.
fn effect(change: &Change) -> String {
    match change {
        Change::AddService(s) => service_line("ADD_SERVICE", s),
        Change::EditService(s) => service_line("UPDATE_SERVICE", s),
        Change::DeleteService(key) => key_line("DEL_SERVICE", key),
        Change::AddDest(key, d) => key_line("ADD_DEST", key) + &dest_line(d),
        Change::EditDest(key, d) => key_line("UPDATE_DEST", key) + &dest_line(d),
        // Ours hands down the key alone; the original adds its defaults, which the kernel does not look at.
        Change::DeleteDest(key, d) => {
            let dest = Dest {
                key: *d,
                forward: base::ipvs::Forward::Route,
                weight: 1,
                tunnel: Tunnel::Ipip,
                u_threshold: 0,
                l_threshold: 0,
            };
            key_line("DEL_DEST", key) + &dest_line(&dest)
        }
        Change::Zero(Some(key)) => key_line("ZERO", key),
        Change::Zero(None) => "ZERO\n".to_owned(),
        Change::Flush => "FLUSH\n".to_owned(),
        Change::SetTimeouts(t) => format!("SET_TIMEOUT {} {} {}\n", t.tcp_s, t.tcp_fin_s, t.udp_s),
        Change::StartDaemon(d) => {
            let (af, group) = match d.group {
                None => (0, "-".to_owned()),
                Some(IpAddr::V4(a)) => (2, a.to_string()),
                Some(IpAddr::V6(a)) => (10, a.to_string()),
            };
            format!(
                "START_DAEMON state={} ifn={} syncid={} maxlen={} port={} ttl={} af={af} group={group}\n",
                d.state as u32,
                d.interface,
                d.sync_id,
                d.max_len.unwrap_or(0),
                d.port.unwrap_or(0),
                d.ttl.unwrap_or(0)
            )
        }
        Change::StopDaemon { state, sync_id } => format!("STOP_DAEMON state={} syncid={sync_id}\n", *state as u32),
    }
}

fn family_number(addr: IpAddr) -> u32 {
    if addr.is_ipv4() { 2 } else { 10 }
}

fn service_line(verb: &str, s: &Service) -> String {
    let (protocol, addr, port, mark) = match s.key {
        ServiceKey::Address { protocol, addr, port } => (protocol, addr, port, 0),
        ServiceKey::Fwmark { mark, family: Family::IPv4 } => (Protocol::Tcp, Ipv4Addr::UNSPECIFIED.into(), 0, mark),
        ServiceKey::Fwmark { mark, family: Family::IPv6 } => (Protocol::Tcp, Ipv6Addr::UNSPECIFIED.into(), 0, mark),
    };
    format!(
        "{verb} af={} proto={} addr={addr} port={port} fwmark={mark} sched={} flags={:#x} timeout={} netmask={:08x} pe={}\n",
        family_number(addr),
        protocol as u32,
        s.scheduler,
        s.flags,
        s.timeout_s,
        s.netmask,
        s.pe.as_deref().unwrap_or_default()
    )
}

/// Where only the key matters, the original leaves the settings empty.
fn key_line(verb: &str, key: &ServiceKey) -> String {
    service_line(verb, &Service::new(*key, ""))
}

fn dest_line(d: &Dest) -> String {
    let (kind, port, flags) = match d.tunnel {
        Tunnel::Ipip => (0, 0, TunnelChecksum::None),
        Tunnel::Gue { port, flags } => (1, port, flags),
        Tunnel::Gre { flags } => (2, 0, flags),
    };
    format!(
        "  dest af={} addr={} port={} conn_flags={} weight={} u={} l={} tun_type={kind} tun_port={port} tun_flags={}\n",
        family_number(d.key.addr),
        d.key.addr,
        d.key.port,
        d.forward as u32,
        d.weight,
        d.u_threshold,
        d.l_threshold,
        flags as u32
    )
}

/// The names of the machine on which the original was recorded.
struct RecordedNames;

impl Names for RecordedNames {
    fn host(&self, addr: IpAddr) -> Option<String> {
        (addr == IpAddr::V4(Ipv4Addr::LOCALHOST)).then(|| "localhost".to_owned())
    }

    fn port(&self, port: u16, protocol: Protocol) -> Option<String> {
        let known = [(53, "domain"), (80, "http"), (443, "https"), (5060, "sip"), (8080, "http-alt")];
        let name = known.iter().find(|(p, _)| *p == port && protocol != Protocol::Sctp)?.1;
        Some(name.to_owned())
    }
}

/// What a command line did.
#[derive(Debug, PartialEq)]
struct Outcome {
    exit: i32,
    stdout: String,
    stderr: String,
}

fn run(words: &[String], input: &str, table: &mut dyn Ipvs) -> Outcome {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut input = input.as_bytes();
    let mut io = Io {
        input: &mut input,
        out: &mut out,
        err: &mut err,
        names: &RecordedNames,
        lookup: &|_| None,
        connections: &|| Ok(String::new()),
        probe: false,
        interactive: false,
    };
    let exit = command_line(words, table, &mut io);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text").trim_end_matches('\n').to_owned();
    Outcome { exit, stdout: text(out), stderr: text(err) }
}

/// Runs a block's words and puts the effects before the output, as the recording does.
fn replay(block: &Block, words: &[String], memory: &Memory) -> Outcome {
    let refusal = block.errno.map(|errno| Error::Refused { errno });
    let mut recorder = Recorder { memory: memory.clone(), effects: String::new(), refusal };
    let outcome = run(words, &block.input, &mut recorder);
    let stdout = (recorder.effects + &outcome.stdout).trim_end_matches('\n').to_owned();
    Outcome { stdout, ..outcome }
}

#[test]
fn every_recorded_command_line() {
    let (Some(expected), Some(table)) = (shared("ipvsadm/cli.expect"), shared("ipvsadm/table.json")) else { return };
    let memory = Memory::load(&table).expect("the recorded table");
    let blocks = blocks(&std::fs::read_to_string(expected).expect("the recording"));
    assert!(blocks.len() > 150, "only {} blocks were read", blocks.len());
    let (mut wrong, mut deviated) = (String::new(), 0);
    for block in &blocks {
        let line = block.words.join(" ");
        let mut words = block.words.clone();
        if let Some((_, instead, _)) = DEVIATIONS.iter().find(|(l, ..)| *l == line) {
            deviated += 1;
            let ours = replay(block, &words, &memory);
            assert_ne!(ours.stdout, block.stdout, "'{line}' no longer differs: take it out of the table");
            words.push(instead.to_string());
        }
        let got = replay(block, &words, &memory);
        let mut want = Outcome { exit: block.exit, stdout: block.stdout.clone(), stderr: block.stderr.clone() };
        if block.errno.is_some() {
            // The recording names the error's number instead of the words.
            assert!(!got.stderr.is_empty(), "{line}: a refusal without words");
            want.stderr.clone_from(&got.stderr);
        }
        if got != want {
            let _ = writeln!(wrong, "$ ipvsadm {line}\n  want {want:#?}\n  got {got:#?}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert_eq!(deviated, DEVIATIONS.len(), "a deviation that no block shows");
}

/// The words for each error number, where the recording has only the number.
#[test]
fn refusals_in_words() {
    let cases = [
        (1, "-L", 1, "Permission denied (you must be root)"),
        (3, "-L", 1, "No such service"),
        (12, "-L", 1, "Memory allocation problem"),
        (92, "-L", 1, "Protocol not available"),
        (5, "-L", 1, "Input/output error"),
        (2, "-A -t 10.0.0.1:80", 255, "Scheduler or persistence engine not found"),
        (17, "-A -t 10.0.0.1:80", 255, "Service already exists"),
        (3, "-E -t 10.0.0.1:80", 255, "No such service"),
        (3, "-D -t 10.0.0.1:80", 255, "No such service"),
        (3, "-Z -t 10.0.0.1:80", 255, "No such service"),
        (3, "-a -t 10.0.0.1:80 -r 10.0.0.2", 255, "Service not defined"),
        (17, "-a -t 10.0.0.1:80 -r 10.0.0.2", 255, "Destination already exists"),
        (2, "-e -t 10.0.0.1:80 -r 10.0.0.2", 255, "No such destination"),
        (2, "-d -t 10.0.0.1:80 -r 10.0.0.2", 255, "No such destination"),
        (17, "--start-daemon master", 255, "Daemon has already run"),
        (3, "--stop-daemon master", 255, "No daemon is running"),
        (22, "-C", 255, "Invalid operation.  Possibly wrong module version, address not unicast, ..."),
        (90, "-C", 255, "Module is wrong version"),
        (95, "-C", 255, "Operation not supported with IPv6"),
        (97, "-C", 255, "Operation not supported with specified address family"),
        (34, "-C", 255, "Numerical result out of range"),
    ];
    for (errno, line, exit, message) in cases {
        let refusal = Some(Error::Refused { errno });
        let mut recorder = Recorder { memory: Memory::new(), effects: String::new(), refusal };
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let outcome = run(&words, "", &mut recorder);
        assert_eq!((outcome.exit, outcome.stderr.as_str()), (exit, message), "{line} with error {errno}");
    }
}

/// Ours on purpose; the list above names them.
#[test]
fn differences_by_intent() {
    let effects = |line: &str| {
        let mut recorder = Recorder { memory: Memory::new(), effects: String::new(), refusal: None };
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let outcome = run(&words, "", &mut recorder);
        assert_eq!(outcome.exit, 0, "{line}: {}", outcome.stderr);
        recorder.effects
    };
    assert!(effects("-A -M 64 -t [2001:db8::1]:80").contains("netmask=00000040"));
    assert!(effects("-a -r 10.0.0.2 -t 10.0.0.1:80 -m").contains("addr=10.0.0.2 port=80 "));
    assert!(effects("-A -t 10.0.0.1:80 -b ,").contains("flags=0x0"));
    assert_eq!(effects("-A -t [10.0.0.1]:80"), effects("-A -t 10.0.0.1:80"));
    let mut table = Memory::new();
    table.add_service(&Service::new(ServiceKey::Fwmark { mark: u32::MAX, family: Family::IPv4 }, "rr")).expect("added");
    table.entries_mut()[0].stats.conns = 1 << 40;
    let words = ["-A", "-f", "3", "-s", "sh", "-b", "sh-port,flag-3"].map(str::to_owned);
    assert_eq!(run(&words, "", &mut table).exit, 0);
    let listed = run(&["-Ln".to_owned()], "", &mut table).stdout;
    assert!(listed.contains("FWM  3 sh (sh-port,flag-3)"), "{listed}");
    assert!(listed.contains("FWM  4294967295 rr"), "{listed}");
    assert!(!ALSO_DIFFERENT.is_empty());
}

/// What is saved in full restores to the same table, in each form.
#[test]
fn saving_and_restoring() {
    let Some(path) = shared("ipvsadm/table.json") else { return };
    let mut table = Memory::load(&path).expect("the recorded table");
    table.accept_any_scheduler();
    // The recorded table has what no kernel would hold together: sync daemons and a real server of another family.
    let service = ServiceKey::Address { protocol: Protocol::Tcp, addr: "10.0.0.2".parse().expect("v4"), port: 443 };
    let mixed = base::ipvs::DestKey { addr: "2001:db8::30".parse().expect("v6"), port: 443 };
    table.delete_dest(&service, &mixed).expect("the mixed real server");
    for save in ["-Sn --full", "-S --json"] {
        let words: Vec<String> = save.split(' ').map(str::to_owned).collect();
        let saved = run(&words, "", &mut table);
        assert_eq!(saved.exit, 0);
        let mut fresh = Memory::new();
        fresh.accept_any_scheduler();
        let restored = run(&["-R".to_owned(), "--replace".to_owned()], &saved.stdout, &mut fresh);
        assert_eq!((restored.exit, restored.stderr.as_str()), (0, ""), "{save}");
        let plain = |t: &mut Memory| run(&["-Sn".to_owned(), "--full".to_owned()], "", t).stdout;
        // A daemon that was saved without its unset values gets the kernel's defaults.
        let rules =
            |text: String| text.lines().filter(|l| !l.contains("backup")).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(rules(plain(&mut fresh)), rules(plain(&mut table)), "{save}");
    }
}

/// `-R --check` names the very lines that `-R` refuses; lines that are no part of a table's rules are told as such.
#[test]
fn a_check_refuses_what_a_restore_refuses() {
    let (mut rules, mut refusals) = (0, 0);
    for seed in 0..150 {
        let spoken = |words: &[String]| {
            let words: Vec<&str> = words.iter().map(|w| w.trim()).filter(|w| !w.is_empty()).collect();
            words.join(" ")
        };
        let lines = lines::lines(seed, 60).into_iter().filter(|l| l.input.is_empty()).map(|l| spoken(&l.words));
        let lines: Vec<String> = lines.filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
        let check = |lines: &[String]| {
            let words = ["-R", "--check"].map(str::to_owned);
            run(&words, &lines.iter().map(|l| format!("{l}\n")).collect::<String>(), &mut Memory::new())
        };
        let no_rule = |line: &String| check(std::slice::from_ref(line)).stderr.contains("has no place");
        let lines: Vec<String> = lines.into_iter().filter(|l| !no_rule(l)).collect();
        let told = check(&lines).stderr;
        let told: Vec<usize> =
            told.lines().filter_map(|l| l.strip_prefix("line ")?.split_once(':')?.0.parse().ok()).collect();
        let mut table = Memory::new();
        let mut refused = Vec::new();
        for (n, line) in lines.iter().enumerate() {
            let outcome = run(&["-R".to_owned()], &format!("{line}\n"), &mut table);
            if outcome.exit != 0 || !outcome.stderr.is_empty() {
                refused.push(n + 1);
            }
        }
        let differ = (1..=lines.len()).find(|n| told.contains(n) != refused.contains(n));
        let what = differ.map(|n| (&lines[n - 1], check(&lines[n - 1..n]).stderr));
        assert_eq!(told, refused, "seed {seed}: {what:?}");
        rules += lines.len();
        refusals += refused.len();
    }
    assert!(refusals > 100 && rules - refusals > 100, "{rules} rules, {refusals} refused");
}
