//! A daemon of the distribution, started by a test with a configuration of its own in a temporary directory on free loopback ports,
//! and gone with the test.

use ldirectord::checks::{Check, Progress};
use ldirectord::config::{System, parse};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, User, chown, geteuid};
use policy::Verdict;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A daemon may take that long to listen, on a busy machine.
const START: Duration = Duration::from_secs(90);
const STOP: Duration = Duration::from_secs(10);
/// Those that CI runs; the others only with `BASCULE_LONG` or by name in `BASCULE_DAEMONS`.
const LIGHT: &[&str] = &["openssl", "libwww-perl", "ldirectord", "nginx", "slapd", "postgresql", "unbound", "dovecot"];

/// Whether this run includes the daemon of that package; `None` with a word about it if not.
pub fn daemon(package: &'static str, program: &str) -> Option<Daemon> {
    let long = std::env::var_os("BASCULE_LONG").is_some();
    let named = std::env::var("BASCULE_DAEMONS").ok();
    let chosen = match &named {
        Some(names) => names.split([',', ' ']).any(|n| n == package || n == "all"),
        None => long || LIGHT.contains(&package),
    };
    if !chosen {
        println!("NOT RUN: {package} (BASCULE_LONG=1, or BASCULE_DAEMONS={package})");
        return None;
    }
    if find(program).is_none() {
        let must = long || named.is_some() || std::env::var_os("CI").is_some();
        assert!(!must, "{package} is not installed: tests/run daemons installs it");
        eprintln!(
            "*** {package} is not installed, so NO REAL DAEMON CONFIRMED its checks: tests/run daemons installs it"
        );
        return None;
    }
    let dir = tempfile::Builder::new().prefix("bascule-daemon-").tempdir().expect("a temporary directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
    Some(Daemon { package, dir, children: Vec::new(), confirmed: Vec::new() })
}

/// A program by path or by name; `*` stands for one directory.
pub fn find(program: &str) -> Option<PathBuf> {
    let dirs = ["/usr/sbin", "/usr/bin", "/usr/lib/news/bin", "/usr/libexec"];
    if !program.starts_with('/') {
        return dirs.iter().map(|d| Path::new(d).join(program)).find(|p| p.exists());
    }
    let Some((before, after)) = program.split_once("/*/") else {
        return Some(PathBuf::from(program)).filter(|p| p.exists());
    };
    let mut found: Vec<PathBuf> = fs::read_dir(before).ok()?.flatten().map(|e| e.path().join(after)).collect();
    found.sort();
    found.into_iter().rev().find(|p| p.exists())
}

pub fn is_root() -> bool {
    geteuid().is_root()
}

pub struct Daemon {
    package: &'static str,
    dir: tempfile::TempDir,
    children: Vec<Child>,
    confirmed: Vec<String>,
}

impl Daemon {
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn dir(&self) -> String {
        self.dir.path().display().to_string()
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("directories");
        fs::write(&path, text).expect("a file");
        path
    }

    pub fn mkdir(&self, name: &str) -> PathBuf {
        fs::create_dir_all(self.path(name)).expect("a directory");
        self.path(name)
    }

    /// Gives a file or directory to the user that the daemon runs as, if this is root.
    pub fn give(&self, name: &str, user: &str) {
        if let Some((uid, gid)) = ids(user) {
            chown(&self.path(name), Some(uid.into()), Some(gid.into())).expect("chown");
        }
    }

    /// Runs a program to its end.
    pub fn run(&self, mut command: Command) {
        let text = format!("{command:?}");
        let out = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{text}: {e}"));
        let said = [out.stdout, out.stderr].concat();
        assert!(out.status.success(), "{text}: {}\n{}", out.status, String::from_utf8_lossy(&said));
    }

    /// Starts it in a process group of its own, and waits until it listens (TCP) or has had time to (UDP).
    pub fn start(&mut self, mut command: Command, listens: &[SocketAddr]) {
        let log = fs::File::create(self.path(&format!("log{}", self.children.len()))).expect("a log");
        let errors = log.try_clone().expect("a log");
        command.stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
        let text = format!("{command:?}");
        self.children.push(command.spawn().unwrap_or_else(|e| panic!("{text}: {e}")));
        let deadline = Instant::now() + START;
        for addr in listens {
            while !listens_on(addr) {
                let ended = self.children.last_mut().and_then(|c| c.try_wait().ok().flatten());
                assert!(ended.is_none(), "{text} ended: {ended:?}\n{}", self.logs());
                assert!(Instant::now() < deadline, "{text} does not listen on {addr}\n{}", self.logs());
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    /// Starts one that may find its arguments strange and end; then nobody listens.
    pub fn start_unless_it_ends(&mut self, mut command: Command, listens: &SocketAddr) {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        self.children.push(command.spawn().expect("a program"));
        let deadline = Instant::now() + START;
        while !listens_on(listens) && Instant::now() < deadline {
            if self.children.last_mut().is_some_and(|c| !matches!(c.try_wait(), Ok(None))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What the daemon has written, for a failed test.
    pub fn logs(&self) -> String {
        let mut out = String::new();
        for entry in fs::read_dir(self.dir.path()).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().contains("log") {
                let text = fs::read(entry.path()).unwrap_or_default();
                let tail = &text[text.len().saturating_sub(3_000)..];
                out.push_str(&format!("--- {}\n{}\n", entry.path().display(), String::from_utf8_lossy(tail)));
            }
        }
        out
    }

    /// The server is up on IPv4, and on IPv6 unless the daemon cannot.
    pub fn up(&mut self, port: u16, directives: &str) {
        for addr in loopbacks() {
            let v = self.verdict(addr, port, directives);
            assert!(v.up, "{} {addr}:{port}: {directives}: {}\n{}", self.package, v.answer, self.logs());
        }
        self.confirm(directives);
    }

    pub fn down(&mut self, port: u16, directives: &str, why: &str) {
        for addr in loopbacks() {
            let v = self.verdict(addr, port, directives);
            let right = !v.up && v.answer.to_lowercase().contains(&why.to_lowercase());
            assert!(right, "{} {addr}:{port}: {directives}: up {} {:?}, not {why:?}", self.package, v.up, v.answer);
        }
    }

    /// For those that try one address at a time.
    pub fn confirm_as(&mut self, directives: &str) {
        self.confirm(directives);
    }

    fn confirm(&mut self, directives: &str) {
        let service = directives.lines().find_map(|l| l.trim().strip_prefix("service=")).unwrap_or("connect");
        if !self.confirmed.iter().any(|s| s == service) {
            self.confirmed.push(service.to_owned());
        }
    }

    /// As often as a slow start of the daemon's own needs it.
    pub fn eventually_up(&mut self, port: u16, directives: &str) {
        let deadline = Instant::now() + START;
        for addr in loopbacks() {
            while !self.verdict(addr, port, directives).up {
                assert!(Instant::now() < deadline, "{}: {directives}\n{}", self.package, self.logs());
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        self.up(port, directives);
    }

    pub fn verdict(&self, addr: IpAddr, port: u16, directives: &str) -> Verdict {
        verdict(addr, port, directives)
    }
}

/// A configuration of one service with one server under these directives.
pub fn configured(addr: IpAddr, port: u16, directives: &str) -> String {
    let body: String = directives.lines().map(|l| format!("    {}\n", l.trim())).collect();
    let server = match addr {
        IpAddr::V4(a) => format!("virtual=192.0.2.1:9\n    real={a}:{port} masq"),
        IpAddr::V6(a) => format!("virtual6=[2001:db8::1]:9\n    real6=[{a}]:{port} masq"),
    };
    format!("negotiatetimeout=15\nchecktimeout=15\n{server}\n{body}")
}

/// One check of a server under these directives.
pub fn verdict(addr: IpAddr, port: u16, directives: &str) -> Verdict {
    let text = configured(addr, port, directives);
    let config = parse(&text, &mut System::default()).unwrap_or_else(|e| panic!("{e}\n{text}")).config;
    let check = Check::of(&config.virtuals[0], &config.virtuals[0].reals[0]).expect("a check");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(check.run(&mut Progress::default())).expect("this machine can ask")
}

impl Drop for Daemon {
    fn drop(&mut self) {
        for child in &mut self.children {
            let group = Pid::from_raw(child.id() as i32);
            let _ = killpg(group, Signal::SIGTERM);
            let deadline = Instant::now() + STOP;
            while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = killpg(group, Signal::SIGKILL);
            let _ = child.wait();
        }
        if !std::thread::panicking() && !self.confirmed.is_empty() {
            let families = if loopbacks().len() == 2 { "IPv4, IPv6" } else { "IPv4; NO IPv6 ON THIS MACHINE" };
            println!(
                "CONFIRMED by {} {}: {} ({families})",
                self.package,
                version(self.package),
                self.confirmed.join(" ")
            );
        }
    }
}

fn version(package: &str) -> String {
    let package = match package {
        "dovecot" => "dovecot-core",
        "postgresql" => "postgresql-[0-9]*",
        package => package,
    };
    let out = Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]).output();
    out.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default()
}

pub const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// The addresses that servers listen on here.
pub fn loopbacks() -> Vec<IpAddr> {
    [V4, V6].into_iter().filter(|a| TcpListener::bind((*a, 0)).is_ok()).collect()
}

/// A port's addresses.
pub fn at(port: u16) -> Vec<SocketAddr> {
    loopbacks().into_iter().map(|a| SocketAddr::new(a, port)).collect()
}

/// A port that is free for TCP and UDP on both loopback addresses.
pub fn free_port() -> u16 {
    loop {
        let first = TcpListener::bind((V4, 0)).expect("a socket");
        let port = first.local_addr().expect("an address").port();
        let others = loopbacks()
            .into_iter()
            .all(|a| UdpSocket::bind((a, port)).is_ok() && (a == V4 || TcpListener::bind((a, port)).is_ok()));
        if others {
            return port;
        }
    }
}

/// User and group number of an account, if this is root and can change to it.
pub fn ids(user: &str) -> Option<(u32, u32)> {
    let user = User::from_name(user).ok().flatten().filter(|_| is_root())?;
    Some((user.uid.as_raw(), user.gid.as_raw()))
}

/// A command that runs as that account.
pub fn as_user(program: &Path, user: &str) -> Command {
    let mut command = Command::new(program);
    if let Some((uid, gid)) = ids(user) {
        command.uid(uid).gid(gid);
    }
    command
}

/// A CA and certificates of it, made for this test: `ca.pem`, `NAME.pem`, `NAME.key`.
pub fn certificates(daemon: &Daemon, names: &[&str]) {
    let dir = daemon.path("");
    let openssl = |args: &str| {
        let mut command = Command::new("openssl");
        command.current_dir(&dir).args(args.split(' '));
        daemon.run(command);
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -days 30 -subj /CN=ca"));
    openssl(&format!("req -x509 {key} -keyout other.key -out other.pem -days 30 -subj /CN=other"));
    for name in names {
        daemon.write("san", format!("subjectAltName=DNS:{name}\n"));
        openssl(&format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile san -out {name}.pem"
        ));
        fs::set_permissions(daemon.path(&format!("{name}.key")), fs::Permissions::from_mode(0o644)).expect("mode");
    }
}

/// Whether somebody else answers there: a port that nobody listens on may be given to the very socket that asks for it.
fn listens_on(addr: &SocketAddr) -> bool {
    TcpStream::connect_timeout(addr, Duration::from_secs(1)).is_ok_and(|s| s.local_addr().ok() != s.peer_addr().ok())
}
