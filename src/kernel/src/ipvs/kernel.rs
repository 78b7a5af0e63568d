//! The running kernel's table over generic netlink.
//!
//! One [`Kernel`] owns one socket in the network namespace of the thread that made the first request. Requests go
//! strictly one after the other, except for [`Ipvs::apply_all`], which sends a bounded number at once and collects their
//! acknowledgements. Each wait for an answer has a deadline; when one passes, the socket is dropped (a late answer could be
//! taken for another's) and the next request connects anew.
//!
//! The kernel serves a request inside `send`, possibly loading a scheduler's module there; no user-space deadline can cut
//! that short. Callers that must not wait give this object a thread of its own.

#[cfg(test)]
mod tests;

use super::codec::{self, Message, Messages, Request};
use super::{Change, Error, Ipvs, memory};
use base::ipvs::{DestEntry, Family, Info, ServiceEntry, ServiceKey, SyncDaemon, Timeouts};
use neli::consts::socket::{Msg, NlFamily};
use neli::socket::NlSocket;
use neli::utils::Groups;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use std::io::Read;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long an answer may take, unless set otherwise.
pub const DEFAULT_DEADLINE_MS: u64 = 5_000;
const MODULE: &str = "ip_vs";
/// Of what `modprobe` says, so much is read.
const MAX_SAID_BYTES: u64 = 4096;
/// How long `modprobe` may take.
const MODPROBE_DEADLINE_MS: u64 = 10_000;
/// Changes sent before their refusals are collected: if all are refused, that must fit the socket's receive buffer.
const BATCH: usize = 128;
/// Bytes sent at once at most: a netlink message train must fit the send buffer (default 208 KiB).
const BATCH_BYTES: usize = 48 * 1024;
/// The kernel fills dump buffers of at most 32 KiB.
const RECEIVE_BYTES: usize = 64 * 1024;
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;
/// More entries than this in one table are refused.
const MAX_SERVICES: usize = 1_000_000;
const MAX_DESTS: usize = 1_000_000;
/// A dump that the kernel marks as interrupted is asked for again this often.
const DUMP_ATTEMPTS: usize = 5;

const NLMSG_ERROR: u16 = libc::NLMSG_ERROR as u16;
const NLMSG_DONE: u16 = libc::NLMSG_DONE as u16;
const DUMP_INTERRUPTED: u16 = libc::NLM_F_DUMP_INTR as u16;

/// The kernel's IPVS table.
pub struct Kernel {
    connection: Option<Connection>,
    deadline: Duration,
    load_module: bool,
}

struct Connection {
    socket: NlSocket,
    /// 0x10 (the controller) until the family is resolved.
    family: u16,
    seq: u32,
    buffer: Vec<u8>,
}

impl Default for Kernel {
    fn default() -> Kernel {
        Kernel::new()
    }
}

impl Kernel {
    /// Connects with the first request, in the namespace of the thread that makes it.
    pub fn new() -> Kernel {
        Kernel { connection: None, deadline: Duration::from_millis(DEFAULT_DEADLINE_MS), load_module: true }
    }

    pub fn with_deadline_ms(deadline_ms: u64) -> Kernel {
        Kernel { deadline: Duration::from_millis(deadline_ms), ..Kernel::new() }
    }

    /// Whether a missing module may be loaded with `modprobe` (the default).
    pub fn set_load_module(&mut self, load: bool) {
        self.load_module = load;
    }

    /// Whether this kernel has IPVS now or after loading its module.
    pub fn probe(&mut self) -> Result<Info, Error> {
        self.info()
    }

    fn connect(&mut self) -> Result<&mut Connection, Error> {
        let connection = match self.connection.take() {
            Some(open) => open,
            None => self.open()?,
        };
        Ok(self.connection.insert(connection))
    }

    fn open(&mut self) -> Result<Connection, Error> {
        let mut connection = Connection::open()?;
        let mut found = connection.resolve(self.deadline);
        let mut said = None;
        if found == Err(Error::Refused { errno: libc::ENOENT }) && self.load_module {
            self.load_module = false;
            match modprobe() {
                Ok(()) => found = connection.resolve(self.deadline),
                Err(why) => said = Some(why),
            }
        }
        connection.family = found.map_err(|e| match e {
            Error::Refused { errno: libc::ENOENT } => Error::NoIpvs { hint: module_hint(said) },
            other => other,
        })?;
        Ok(connection)
    }

    /// Runs one exchange; a connection in an unknown state is not kept.
    fn exchange<T>(&mut self, run: impl FnOnce(&mut Connection, Instant) -> Result<T, Error>) -> Result<T, Error> {
        let until = Instant::now() + self.deadline;
        let connection = self.connect()?;
        let result = run(connection, until);
        if matches!(result, Err(Error::Unknown { .. } | Error::Socket { .. } | Error::Malformed { .. })) {
            self.connection = None;
        }
        match result {
            Err(Error::Unknown { .. }) => Err(Error::Unknown { waited_ms: self.deadline.as_millis() as u64 }),
            other => other,
        }
    }

    fn read_one<T>(
        &mut self,
        request: Request,
        decode: impl FnOnce(&Message<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.exchange(|c, until| c.read_one(request, until, decode))
    }

    fn dests(&mut self, key: &ServiceKey) -> Result<Vec<DestEntry>, Error> {
        let family: Family = key.family();
        for _ in 0..DUMP_ATTEMPTS {
            let request = Request::dump_dests(key)?;
            let dump = self
                .exchange(|c, until| c.dump(request, until, MAX_DESTS, "real servers", |m| codec::dest(m, family)))?;
            if let Some(dests) = dump {
                return Ok(dests);
            }
        }
        Err(Error::Malformed { what: "the table changes too fast to be read".to_owned() })
    }

    fn dump<T>(
        &mut self,
        command: u8,
        what: &'static str,
        decode: fn(&Message<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(all) =
                self.exchange(|c, until| c.dump(Request::dump(command), until, MAX_SERVICES, what, decode))?
            {
                return Ok(all);
            }
        }
        Err(Error::Malformed { what: "the table changes too fast to be read".to_owned() })
    }

    /// Sends a bounded train of requests and collects one result each.
    fn apply_batch(&mut self, changes: &[Change]) -> Vec<Result<(), Error>> {
        let mut results: Vec<Option<Result<(), Error>>> = vec![None; changes.len()];
        let outcome = self.exchange(|c, until| c.apply_batch(changes, until, &mut results));
        let missing = outcome.err().unwrap_or(Error::Unknown { waited_ms: self.deadline.as_millis() as u64 });
        results.into_iter().map(|r| r.unwrap_or_else(|| Err(missing.clone()))).collect()
    }
}

impl Ipvs for Kernel {
    fn has_scheduler(&mut self, name: &str) -> bool {
        // Services without a scheduler need no module.
        name == "none" || has_module(&format!("ip_vs_{name}")).unwrap_or_else(|| memory::SCHEDULERS.contains(&name))
    }

    fn has_engine(&mut self, name: &str) -> bool {
        has_module(&format!("ip_vs_pe_{name}")).unwrap_or_else(|| memory::PERSISTENCE_ENGINES.contains(&name))
    }

    fn info(&mut self) -> Result<Info, Error> {
        self.read_one(Request::plain(codec::cmd::GET_INFO), codec::info)
    }

    fn services(&mut self) -> Result<Vec<ServiceEntry>, Error> {
        let mut services = self.dump(codec::cmd::GET_SERVICE, "virtual services", codec::service)?;
        for entry in &mut services {
            entry.dests = self.dests(&entry.service.key)?;
        }
        Ok(services)
    }

    fn service(&mut self, key: &ServiceKey) -> Result<ServiceEntry, Error> {
        let mut entry = self.read_one(Request::get_service(key)?, codec::service)?;
        entry.dests = self.dests(key)?;
        Ok(entry)
    }

    fn timeouts(&mut self) -> Result<Timeouts, Error> {
        self.read_one(Request::plain(codec::cmd::GET_CONFIG), codec::timeouts)
    }

    fn daemons(&mut self) -> Result<Vec<SyncDaemon>, Error> {
        self.dump(codec::cmd::GET_DAEMON, "sync daemons", codec::daemon)
    }

    fn apply(&mut self, change: &Change) -> Result<(), Error> {
        self.apply_batch(std::slice::from_ref(change)).pop().unwrap_or(Err(Error::Unknown { waited_ms: 0 }))
    }

    fn apply_all(&mut self, changes: &[Change]) -> Vec<Result<(), Error>> {
        changes.chunks(BATCH).flat_map(|part| self.apply_batch(part)).collect()
    }
}

impl Connection {
    fn open() -> Result<Connection, Error> {
        let failed = |what| move |e: std::io::Error| Error::Socket { what, errno: e.raw_os_error().unwrap_or(0) };
        let socket = NlSocket::connect(NlFamily::Generic, None, Groups::empty()).map_err(failed("connect"))?;
        // A hint only: an unprivileged limit leaves the default, which a batch fits as well.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
        Ok(Connection { socket, family: libc::GENL_ID_CTRL as u16, seq: 1, buffer: vec![0; RECEIVE_BYTES] })
    }

    /// Asks the generic netlink controller for the family's number in this namespace.
    fn resolve(&mut self, deadline: Duration) -> Result<u16, Error> {
        let until = Instant::now() + deadline;
        self.read_one(Request::get_family()?, until, codec::family_id)
    }

    fn next_seq(&mut self) -> u32 {
        self.seq = self.seq.wrapping_add(1).max(1);
        self.seq
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.socket
            .send(bytes, Msg::empty())
            .map(|_| ())
            .map_err(|e| Error::Socket { what: "send", errno: e.raw_os_error().unwrap_or(0) })
    }

    /// Waits for the next buffer of messages and returns its length.
    fn receive(&mut self, until: Instant) -> Result<usize, Error> {
        loop {
            match self.socket.recv(&mut self.buffer[..], Msg::DONTWAIT) {
                Ok((len, _)) => return Ok(len),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => self.wait(until)?,
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => return Err(Error::Unknown { waited_ms: 0 }),
                Err(e) => return Err(Error::Socket { what: "receive", errno: e.raw_os_error().unwrap_or(0) }),
            }
        }
    }

    #[allow(unsafe_code)]
    fn wait(&self, until: Instant) -> Result<(), Error> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::Unknown { waited_ms: 0 });
        }
        // SAFETY: the socket outlives this call, and its descriptor is not closed elsewhere.
        let fd = unsafe { BorrowedFd::borrow_raw(self.socket.as_raw_fd()) };
        let timeout = PollTimeout::try_from(left.as_millis().max(1) as i32).unwrap_or(PollTimeout::MAX);
        match nix::poll::poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(e) => Err(Error::Socket { what: "poll", errno: e as i32 }),
        }
    }

    /// One request, one answer, one acknowledgement.
    fn read_one<T>(
        &mut self,
        request: Request,
        until: Instant,
        decode: impl FnOnce(&Message<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let seq = self.next_seq();
        self.send(&codec::encode(request, self.family, seq)?)?;
        let mut decode = Some(decode);
        let mut answer = None;
        loop {
            let len = self.receive(until)?;
            for message in Messages(&self.buffer[..len]).filter(|m| m.seq == seq) {
                match (message.kind, message.status()) {
                    (NLMSG_ERROR, 0) => {
                        return answer.unwrap_or_else(|| {
                            Err(Error::Malformed { what: "acknowledged without an answer".to_owned() })
                        });
                    }
                    (NLMSG_ERROR, status) => return Err(Error::of_read(status.saturating_neg())),
                    _ => {
                        if let Some(decode) = decode.take() {
                            answer = Some(decode(&message));
                        }
                    }
                }
            }
        }
    }

    /// All entries of a dump, drained to its end; `None` when the kernel says that the table changed meanwhile.
    fn dump<T>(
        &mut self,
        request: Request,
        until: Instant,
        limit: usize,
        what: &'static str,
        decode: impl Fn(&Message<'_>) -> Result<T, Error>,
    ) -> Result<Option<Vec<T>>, Error> {
        let seq = self.next_seq();
        self.send(&codec::encode(request, self.family, seq)?)?;
        let (mut entries, mut interrupted, mut failure) = (Vec::new(), false, None);
        loop {
            let len = self.receive(until)?;
            for message in Messages(&self.buffer[..len]).filter(|m| m.seq == seq) {
                interrupted |= message.flags & DUMP_INTERRUPTED != 0;
                match (message.kind, message.status()) {
                    (NLMSG_DONE, status) if status < 0 => return Err(Error::of_read(status.saturating_neg())),
                    (NLMSG_DONE, _) => {
                        return failure.map_or(Ok((!interrupted).then_some(entries)), Err);
                    }
                    (NLMSG_ERROR, status) => return Err(Error::of_read(status.saturating_neg())),
                    _ if entries.len() >= limit => failure = Some(Error::TooMany { what, limit }),
                    _ => match decode(&message) {
                        Ok(entry) => entries.push(entry),
                        Err(e) => failure = Some(e),
                    },
                }
            }
        }
    }

    fn apply_batch(
        &mut self,
        changes: &[Change],
        until: Instant,
        results: &mut [Option<Result<(), Error>>],
    ) -> Result<(), Error> {
        let mut start = 0;
        while start < changes.len() {
            let first_seq = self.seq.wrapping_add(1).max(1);
            let (train, count) = self.encode_train(&changes[start..])?;
            self.send(&train)?;
            let part = &mut results[start..start + count];
            self.collect(first_seq, &changes[start..start + count], part, until)?;
            start += count;
        }
        Ok(())
    }

    /// As many requests as fit one send, numbered consecutively. Only the last asks to be acknowledged: the kernel works
    /// through a train in order and answers each refusal, so silence before that acknowledgement means success.
    fn encode_train(&mut self, changes: &[Change]) -> Result<(Vec<u8>, usize), Error> {
        let (mut train, mut count) = (Vec::new(), 0);
        for change in changes {
            let seq = self.next_seq();
            count += 1;
            let last = count == changes.len() || train.len() > BATCH_BYTES || seq == u32::MAX;
            let encode = if last { codec::encode } else { codec::encode_silent };
            train.extend_from_slice(&encode(codec::change(change)?, self.family, seq)?);
            if last {
                break;
            }
        }
        Ok((train, count))
    }

    /// Collects refusals until the last of the train is answered. A full receive buffer, in which a refusal could get
    /// lost, is an error of its own (ENOBUFS) and leaves all without an answer unknown.
    fn collect(
        &mut self,
        first_seq: u32,
        changes: &[Change],
        results: &mut [Option<Result<(), Error>>],
        until: Instant,
    ) -> Result<(), Error> {
        let last = changes.len().saturating_sub(1);
        while results.get(last).is_some_and(Option::is_none) {
            let len = self.receive(until)?;
            for message in Messages(&self.buffer[..len]).filter(|m| m.kind == NLMSG_ERROR) {
                let at = message.seq.wrapping_sub(first_seq) as usize;
                let (Some(slot), Some(change)) = (results.get_mut(at), changes.get(at)) else { continue };
                *slot = Some(match message.status() {
                    0 => Ok(()),
                    status => Err(Error::of_change(status.saturating_neg(), change)),
                });
            }
        }
        for slot in results.iter_mut().filter(|slot| slot.is_none()) {
            *slot = Some(Ok(()));
        }
        Ok(())
    }
}

/// Tries to load the module, or says what `modprobe` said.
fn modprobe() -> Result<(), String> {
    let child =
        Command::new("modprobe").arg(MODULE).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|e| format!("cannot be started: {e}"))?;
    let until = Instant::now() + Duration::from_millis(MODPROBE_DEADLINE_MS);
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(first_line(child.stderr.take()).unwrap_or_else(|| status.to_string())),
            Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("did not end within {MODPROBE_DEADLINE_MS} ms"));
            }
        }
    }
}

fn first_line(stderr: Option<std::process::ChildStderr>) -> Option<String> {
    let mut text = String::new();
    stderr?.take(MAX_SAID_BYTES).read_to_string(&mut text).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.strip_prefix("modprobe: ").unwrap_or(line).to_owned())
}

/// Why there is no module: which package brings it for the kernel that runs, or what keeps it from being loaded.
fn module_hint(said: Option<String>) -> String {
    let release = nix::sys::utsname::uname().map(|u| u.release().to_string_lossy().into_owned()).unwrap_or_default();
    let installed = crate::host::available_modules().is_some_and(|all| all.contains(MODULE));
    match said {
        Some(said) if installed => format!("it is installed for kernel {release}, but modprobe said: {said}"),
        None if installed => format!("it is installed for kernel {release}"),
        _ => format!(
            "kernel {release}; Debian: package linux-image-{release}, Ubuntu: linux-modules-extra-{release}; \
             in a container the host must load it"
        ),
    }
}

/// Whether a module is loaded, built in or there to be loaded; `None`: this machine does not tell.
fn has_module(name: &str) -> Option<bool> {
    if Path::new("/sys/module").join(name).exists() {
        return Some(true);
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let dir = Path::new("/lib/modules").join(release.trim());
    let listed = std::fs::read_to_string(dir.join("modules.dep")).ok()?;
    let built_in = std::fs::read_to_string(dir.join("modules.builtin")).unwrap_or_default();
    let file = format!("/{name}.ko");
    Some([listed, built_in].iter().any(|list| {
        let first = list.lines().filter_map(|line| line.split(':').next());
        first.into_iter().any(|path| path.find(&file).is_some_and(|at| !path[at + file.len()..].contains('/')))
    }))
}
