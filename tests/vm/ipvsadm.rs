//! `ipvsadm` and the netlink code under it, on the kernel's table, against Debian's `ipvsadm`.
//!
//! Two namespaces get the same random command lines, one through Debian's program and one through ours: exit code, output and
//! errors of every line must be the same, and every so often both programs read both tables and must print the same.
//! `BASCULE_SEED` sets the seed, `BASCULE_LONG` makes it 3,000 lines instead of 300.

mod bench;
mod lines;
mod words;

use crate::BASCULE;
use base::ipvs::{Dest, DestKey, Family, Forward, Protocol, Service, ServiceKey, Timeouts, Tunnel};
use kernel::ipvs::{Change, Error, Ipvs, Kernel};
use kernel::netns::{Namespace, Spec};
use lines::Line;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

pub use bench::bench;
pub use words::clear_words;

/// What `bascule links` calls `ipvsadm`.
const OURS: &str = env!("CARGO_BIN_EXE_bascule-ipvsadm");
const THEIRS: &str = "/sbin/ipvsadm";
const LINES: usize = 300;
const LONG_LINES: usize = 3_000;
/// Lines between two comparisons of whole tables.
const COMPARE_EVERY: usize = 60;
/// What is compared of a table. Kernel order differs between namespaces, so `--nosort` is not here.
const VIEWS: &[&str] =
    &["-Sn", "-Ln", "-Ln --thresholds", "-Ln --tun-info", "-Ln --stats --exact", "-L --timeout", "-L --daemon"];

/// What a command line did.
#[derive(PartialEq, Debug)]
struct Outcome {
    exit: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Which program.
#[derive(Clone, Copy, PartialEq)]
enum Program {
    Theirs,
    Ours,
    /// Ours as released, if it has been built; for the bench.
    Released,
}

/// The release build beside the build under test, or that one.
fn released() -> std::path::PathBuf {
    let ours = std::path::Path::new(OURS);
    let release = ours.ancestors().nth(2).map(|target| target.join("release/bascule-ipvsadm"));
    release.filter(|path| path.exists()).unwrap_or_else(|| ours.to_owned())
}

fn run(space: &Namespace, program: Program, line: &Line) -> Result<Outcome, String> {
    let mut command = match program {
        Program::Theirs => Command::new(THEIRS),
        Program::Ours => Command::new(OURS),
        Program::Released => Command::new(released()),
    };
    // Messages quote the program's name.
    std::os::unix::process::CommandExt::arg0(&mut command, "ipvsadm");
    command.args(&line.words);
    // What the original saves is had by an option of its own.
    let classic = |l: &str| if l.starts_with("-S") { format!("{l} --classic\n") } else { format!("{l}\n") };
    let input = match program {
        Program::Ours => line.input.lines().map(classic).collect(),
        _ => line.input.clone(),
    };
    if program == Program::Ours && line.words.first().is_some_and(|w| w.starts_with("-S")) {
        command.arg("--classic");
    }
    let work = || -> std::io::Result<Outcome> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            let _ = stdin.write_all(input.as_bytes());
        }
        let out = child.wait_with_output()?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Outcome { exit: out.status.code(), stdout: text(out.stdout), stderr: text(out.stderr) })
    };
    space.run_net(work).map_err(|e| e.to_string())?.map_err(|e| e.to_string())
}

fn view(space: &Namespace, program: Program, words: &str) -> Result<String, String> {
    let words = words.split(' ').map(str::to_owned).collect();
    Ok(run(space, program, &Line { words, input: String::new() })?.stdout)
}

/// A namespace with two interfaces for sync daemons, and `lo` up: without any route the kernel takes every address for
/// a broadcast, and no real server can be added.
fn space(name: &str) -> Result<Namespace, String> {
    let space = Namespace::create(&Spec::new(name)).map_err(|e| e.to_string())?;
    let steps = [
        "link set lo up",
        "link add eth0 type dummy",
        "link set eth0 up",
        "link add eth1 type dummy",
        "link set eth1 up",
    ];
    for step in steps {
        let status = space.run_net(|| Command::new("ip").args(step.split(' ')).status());
        if !status.map_err(|e| e.to_string())?.is_ok_and(|s| s.success()) {
            return Err(format!("ip {step} failed"));
        }
    }
    Ok(space)
}

pub fn same_as_the_original() -> Result<(), String> {
    let seed = std::env::var("BASCULE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let count = if std::env::var_os("BASCULE_LONG").is_some() { LONG_LINES } else { LINES };
    let (theirs, ours) = (space("theirs")?, space("ours")?);
    let mut differences = String::new();
    let mut exits = std::collections::BTreeMap::new();
    for (i, line) in lines::lines(seed, count).iter().enumerate() {
        let want = run(&theirs, Program::Theirs, line)?;
        let got = run(&ours, Program::Ours, line)?;
        *exits.entry(want.exit).or_insert(0) += 1;
        if !same(&want, &got, line) {
            let _ = writeln!(
                differences,
                "line {i} of seed {seed}: {:?} {:?}\n  want {want:?}\n  got  {got:?}",
                line.words, line.input
            );
        }
        if i % COMPARE_EVERY == COMPARE_EVERY - 1 || i + 1 == count {
            compare_tables(&theirs, &ours)
                .map_err(|e| format!("after line {i} of seed {seed}:\n{e}\n{differences}"))?;
        }
    }
    println!("     {count} lines of seed {seed}; exit codes of the original: {exits:?}");
    if differences.is_empty() { Ok(()) } else { Err(differences) }
}

/// Same bytes, apart from two orders that are the kernel's: with `--nosort` that of all lines, and that of the real servers
/// of a service that has both families.
fn same(want: &Outcome, got: &Outcome, line: &Line) -> bool {
    let unsorted = line.words.iter().any(|w| w == "--nosort") || line.input.contains("--nosort");
    let text = |o: &Outcome| if unsorted { crate::guest::sorted_lines(&o.stdout) } else { mixed_apart(&o.stdout) };
    (want.exit, &want.stderr) == (got.exit, &got.stderr) && text(want) == text(got)
}

/// A listing or saved rules with the real servers of every service that has both families in the order of their text: the
/// original's order there depends on the kernel's.
fn mixed_apart(text: &str) -> String {
    let real = |l: &str| {
        l.strip_prefix("  -> ")
            .or_else(|| l.strip_prefix("-a ")?.split_once(" -r ").map(|(_, r)| r))
            .map(|r| r.starts_with('['))
    };
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    for service in lines.chunk_by_mut(|a, b| real(a).is_some() && real(b).is_some()) {
        let six = |l: &&str| real(l) == Some(true);
        if service.iter().any(six) && !service.iter().all(six) {
            service.sort_unstable();
        }
    }
    lines.concat()
}

/// Both programs read both tables.
fn compare_tables(theirs: &Namespace, ours: &Namespace) -> Result<(), String> {
    for words in VIEWS {
        let want = mixed_apart(&view(theirs, Program::Theirs, words)?);
        for (who, space, program) in [
            ("ours reads theirs", theirs, Program::Ours),
            ("theirs reads ours", ours, Program::Theirs),
            ("ours reads ours", ours, Program::Ours),
        ] {
            let got = mixed_apart(&view(space, program, words)?);
            if got != want {
                return Err(format!("{words}: theirs reads theirs:\n{want}\n{who}:\n{got}"));
            }
        }
    }
    Ok(())
}

/// The netlink code by itself: every request, every refusal, and a dump that takes many messages.
pub fn netlink_by_itself() -> Result<(), String> {
    let space = space("kernel")?;
    space.run_net(netlink_requests).map_err(|e| e.to_string())?
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, got: T, want: T) -> Result<(), String> {
    if got == want { Ok(()) } else { Err(format!("{what}: expected {want:?}, got {got:?}")) }
}

fn service_key(n: u32) -> ServiceKey {
    let addr = std::net::Ipv4Addr::from(0x0a00_0000 + n).into();
    ServiceKey::Address { protocol: Protocol::Tcp, addr, port: 80 }
}

fn real(n: u32) -> Dest {
    Dest {
        key: DestKey { addr: std::net::Ipv4Addr::from(0x0a80_0000 + n).into(), port: 8080 },
        forward: Forward::Masq,
        weight: n % 100,
        tunnel: Tunnel::Ipip,
        u_threshold: 20,
        l_threshold: 10,
    }
}

fn netlink_requests() -> Result<(), String> {
    let text = |e: Error| format!("{e:?}");
    let mut kernel = Kernel::new();
    expect("version", kernel.info().map_err(text)?.version, (1, 2, 1))?;
    let many: u32 = 2_500;
    let mut changes: Vec<Change> = (0..many).map(|n| Change::AddService(Service::new(service_key(n), "wlc"))).collect();
    changes.extend((0..many).map(|n| Change::AddDest(service_key(0), real(n))));
    changes.push(Change::AddService(Service::new(service_key(0), "wlc")));
    let results = kernel.apply_all(&changes);
    let failed: Vec<_> = results.iter().filter_map(|r| r.as_ref().err()).take(5).collect();
    expect("the one refusal of the train", failed, vec![&Error::ServiceExists])?;
    let services = kernel.services().map_err(text)?;
    expect("services of a long dump", services.len(), many as usize)?;
    let first = kernel.service(&service_key(0)).map_err(text)?;
    expect("destinations of a long dump", first.dests.len(), many as usize)?;
    let mut read: Vec<Dest> = first.dests.into_iter().map(|d| d.dest).collect();
    read.sort_by_key(|d| d.key.addr);
    expect("what was written is read", read == (0..many).map(real).collect::<Vec<_>>(), true)?;
    refusals(&mut kernel)?;
    kernel.set_timeouts(&Timeouts { tcp_s: 100, tcp_fin_s: 0, udp_s: 50 }).map_err(text)?;
    expect("timeouts", kernel.timeouts(), Ok(Timeouts { tcp_s: 100, tcp_fin_s: 120, udp_s: 50 }))?;
    kernel.flush().map_err(text)?;
    expect("after the flush", kernel.services(), Ok(Vec::new()))
}

fn refusals(kernel: &mut Kernel) -> Result<(), String> {
    let absent = ServiceKey::Fwmark { mark: 99, family: Family::IPv6 };
    expect("absent service", kernel.service(&absent), Err(Error::NoSuchService))?;
    expect("editing it", kernel.edit_service(&Service::new(absent, "rr")), Err(Error::NoSuchService))?;
    expect("a second real server", kernel.add_dest(&service_key(0), &real(0)), Err(Error::DestExists))?;
    expect("an absent real server", kernel.delete_dest(&service_key(1), &real(0).key), Err(Error::NoSuchDest))?;
    let unknown = Error::NoScheduler { scheduler: "nosuch".into(), pe: None };
    expect("scheduler", kernel.add_service(&Service::new(absent, "nosuch")), Err(unknown))?;
    let crossed = Dest { l_threshold: 30, ..real(0) };
    expect("thresholds", kernel.edit_dest(&service_key(0), &crossed), Err(Error::OutOfRange))?;
    let multicast = Dest { key: DestKey { addr: std::net::Ipv4Addr::new(224, 0, 0, 1).into(), port: 80 }, ..real(0) };
    expect("multicast", kernel.add_dest(&service_key(1), &multicast), Err(Error::Invalid))?;
    let stop = kernel.stop_daemon(base::ipvs::SyncState::Master, 0);
    expect("no daemon", stop, Err(Error::NoDaemon))
}

/// Connections, persistence templates and counters that are not zero: both programs show the same of one table.
pub fn connections_listed() -> Result<(), String> {
    let space = space("traffic")?;
    let setup = "\
-A -t 10.9.0.1:80 -s rr -p 120
-a -t 10.9.0.1:80 -r 127.0.0.1:8080 -m
-A -u 10.9.0.1:53 -s rr
-a -u 10.9.0.1:53 -r 10.9.0.1:53 -g
-A -t [fd00:9::1]:80 -s wlc
-a -t [fd00:9::1]:80 -r [::1]:8080 -m -x 50 -y 20
";
    let traffic = || -> Result<(), String> {
        for words in ["addr add 10.9.0.1/32 dev lo", "addr add fd00:9::1/128 dev lo nodad"] {
            Command::new("ip").args(words.split(' ')).status().map_err(|e| e.to_string())?;
        }
        let text = |e: std::io::Error| e.to_string();
        let server4 = std::net::TcpListener::bind("127.0.0.1:8080").map_err(text)?;
        let server6 = std::net::TcpListener::bind("[::1]:8080").map_err(text)?;
        let status = rules_into_our_table(setup)?;
        expect("setup", status, 0)?;
        let wait = std::time::Duration::from_secs(2);
        let mut kept = Vec::new();
        for place in ["10.9.0.1:80", "10.9.0.1:80", "[fd00:9::1]:80"] {
            let place: std::net::SocketAddr = place.parse().map_err(|e| format!("{e}"))?;
            kept.push(std::net::TcpStream::connect_timeout(&place, wait).map_err(|e| format!("{place}: {e}"))?);
        }
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").map_err(text)?;
        socket.send_to(b"x", "10.9.0.1:53").map_err(text)?;
        drop((server4, server6));
        // The kernel estimates rates every two seconds.
        std::thread::sleep(std::time::Duration::from_secs(3));
        let _: () = drop(kept);
        Ok(())
    };
    space.run_net(traffic).map_err(|e| e.to_string())??;
    for words in
        ["-Lcn", "-Lcn --persistent-conn", "-Ln --stats", "-Ln --stats --exact", "-Ln", "-Ln --persistent-conn"]
    {
        let want = without_clock(&view(&space, Program::Theirs, words)?);
        let got = without_clock(&view(&space, Program::Ours, words)?);
        expect(words, got, want.clone())?;
        if words == "-Lcn" && want.lines().count() < 6 {
            return Err(format!("few connections were made:\n{want}"));
        }
    }
    Ok(())
}

/// Restores with ours in the calling thread's namespace; returns the exit code.
fn rules_into_our_table(rules: &str) -> Result<i32, String> {
    let mut command = Command::new(BASCULE);
    let mut child = command.args(["ipvsadm", "-R"]).stdin(Stdio::piped()).spawn().map_err(|e| e.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(rules.as_bytes()).map_err(|e| e.to_string())?;
    }
    child.wait().map(|s| s.code().unwrap_or(-1)).map_err(|e| e.to_string())
}

/// Without the column of remaining times, which runs on between two looks.
fn without_clock(text: &str) -> String {
    let is_clock =
        |w: &&str| w.len() == 5 && w.as_bytes()[2] == b':' && w.bytes().filter(u8::is_ascii_digit).count() == 4;
    let line = |l: &str| l.split(' ').map(|w| if is_clock(&w) { "MM:SS" } else { w }).collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// A killed `-R --replace` leaves the old or the new table, whichever process is killed, whenever.
pub fn killed_replace() -> Result<(), String> {
    let space = space("replace")?;
    let rules = |offset: u32| -> String {
        (0..600u32).map(|n| format!("-A -t 10.{offset}.{}.{}:80 -s rr\n", n / 250, n % 250 + 1)).collect()
    };
    let (old, new) = (rules(1), rules(2));
    let words = |w: &[&str]| w.iter().map(|s| (*s).to_owned()).collect();
    let mut seen = (0, 0);
    for delay_ms in [0, 30, 60, 100, 150, 200, 300, 400, 600, 900] {
        run(&space, Program::Ours, &Line { words: words(&["-C"]), input: String::new() })?;
        run(&space, Program::Ours, &Line { words: words(&["-R"]), input: old.clone() })?;
        let work = || -> std::io::Result<()> {
            let mut command = Command::new(BASCULE);
            command.args(["ipvsadm", "-R", "--replace"]).stdin(Stdio::piped()).stderr(Stdio::null());
            let mut child = command.spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(new.as_bytes())?;
            }
            std::thread::sleep(std::time::Duration::from_millis(delay_ms));
            child.kill()?;
            child.wait().map(drop)
        };
        space.run_net(work).map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
        std::thread::sleep(std::time::Duration::from_secs(3));
        let saved = view(&space, Program::Theirs, "-Sn")?;
        match crate::guest::sorted_lines(&saved) {
            table if table == crate::guest::sorted_lines(&old) => seen.0 += 1,
            table if table == crate::guest::sorted_lines(&new) => seen.1 += 1,
            _ => {
                return Err(format!(
                    "killed after {delay_ms} ms: {} lines, neither old nor new",
                    saved.lines().count()
                ));
            }
        }
    }
    println!("     killed ten times: old table {} times, new table {} times", seen.0, seen.1);
    Ok(())
}
