//! Programs of this host in process groups: a socket, a task for each connection, and what the core's task hands out.
//!
//! ```text
//!   program --frames--> connection --(room)--> ring --order--> core's task --bounded queue--> connection --> program
//! ```
//!
//! What a node has sent and not yet heard back is bounded for all of its programs together ([`ROOM_BYTES`], [`ROOM_MESSAGES`]), so
//! that no program can fill the ring or the core's queue; it just is not read on for a while. A program that does not take what it
//! is sent loses its connection, and so its place in the group.

use crate::node::{Ask, Asker};
use crate::ring::Ring;
use base::NodeId;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use wire::groups::{
    FrameError, FromNode, MAX_MESSAGE_BYTES, Member, Members, SEND, SOCKET_NAME, ToNode, length, message_frame,
};

/// A bulletin of this kind: `mark | u32 pid | u8 length of the name | name | message`.
const MARK: [u8; 2] = [0x42, 5];
const HEAD_BYTES: usize = MARK.len() + 5;
const MAX_CLIENTS: usize = 64;
/// Sent by this node and not yet heard back.
const ROOM_BYTES: usize = 8 * 1024 * 1024;
const ROOM_MESSAGES: usize = 4096;
/// A message takes at least this much of the room.
const UNIT_BYTES: usize = ROOM_BYTES / ROOM_MESSAGES;
/// What waits for one program.
const QUEUE_FRAMES: usize = 16 * 1024;
const QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// What the core's task is asked.
pub enum Wish {
    Join { client: u64, group: String, pid: u32, to: oneshot::Sender<Result<(), String>> },
    Gone { client: u64 },
}

/// Connections, as all parts see them; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Clients(Arc<Shared>);

struct Shared {
    clients: Mutex<BTreeMap<u64, Client>>,
    next: AtomicU64,
    room: Semaphore,
    /// Of the room, what is taken by messages on their way.
    taken: AtomicUsize,
}

impl Default for Shared {
    fn default() -> Shared {
        let (clients, next, taken) = Default::default();
        Shared { clients, next, room: Semaphore::new(ROOM_MESSAGES), taken }
    }
}

struct Client {
    group: Option<String>,
    /// Its joining has been delivered; until then it hears nothing.
    member: bool,
    pid: u32,
    frames: mpsc::Sender<Bytes>,
    waiting: Arc<AtomicUsize>,
    /// Its connection has to end.
    let_go: Arc<Notify>,
}

impl Client {
    fn hears(&self, group: &str) -> bool {
        self.member && self.group.as_deref() == Some(group)
    }
}

impl Clients {
    /// For the members of a group here, who are new among them too.
    pub fn tell(&self, group: &str, me: NodeId, members: Members) {
        for client in self.lock().values_mut().filter(|c| c.group.as_deref() == Some(group)) {
            client.member |= members.joined.contains(&Member { node: me, pid: client.pid });
        }
        self.hand_out(group, FromNode::Members(members).encode().into());
    }

    /// A message was delivered.
    pub fn deliver(&self, sender: NodeId, me: NodeId, payload: &[u8]) {
        if sender == me {
            self.heard(units(payload.len()));
        }
        let Some((pid, group, message)) = read(payload) else { return };
        let wanted = self.lock().values().any(|c| c.hears(group));
        if wanted {
            self.hand_out(group, message_frame(sender, pid, message).into());
        }
    }

    /// What was on its way may have been lost.
    pub fn forget_sent(&self) {
        self.heard(usize::MAX);
    }

    /// It has asked to join; its joining is on its way.
    pub fn joins(&self, client: u64, group: &str) {
        if let Some(client) = self.lock().get_mut(&client) {
            client.group = Some(group.to_owned());
        }
    }

    /// What the client was in.
    pub fn remove(&self, client: u64) -> Option<(String, u32)> {
        self.lock().remove(&client).and_then(|c| Some((c.group?, c.pid)))
    }

    fn heard(&self, units: usize) {
        let taken = &self.0.taken;
        let before = taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, |t| Some(t.saturating_sub(units)));
        let before = before.unwrap_or_default();
        self.0.room.add_permits(before.min(units));
    }

    /// One that does not take it is let go.
    fn hand_out(&self, group: &str, frame: Bytes) {
        let mut clients = self.lock();
        for client in clients.values_mut().filter(|c| c.hears(group)) {
            let waiting = client.waiting.fetch_add(frame.len(), Ordering::AcqRel);
            if waiting > QUEUE_BYTES || client.frames.try_send(frame.clone()).is_err() {
                tracing::warn!("process {} does not take what group {group} is sent: its connection ends", client.pid);
                client.member = false;
                client.frames = mpsc::channel(1).0;
                client.let_go.notify_one();
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Client>> {
        self.0.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT_BYTES).max(1)
}

pub(crate) fn is_message(payload: &[u8]) -> bool {
    payload.starts_with(&MARK)
}

fn read(payload: &[u8]) -> Option<(u32, &str, &[u8])> {
    let rest = payload.strip_prefix(&MARK)?;
    let (pid, rest) = rest.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first()?;
    let (name, message) = rest.split_at_checked(usize::from(*length))?;
    Some((u32::from_le_bytes(*pid), std::str::from_utf8(name).ok()?, message))
}

/// What stands before a message; with room for so many bytes of it.
fn head(pid: u32, group: &str, room: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES + group.len() + room);
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&pid.to_le_bytes());
    // A group that was joined has a name of at most 128 bytes.
    out.push(u8::try_from(group.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(group.as_bytes());
    out
}

/// For root and this process's own user.
pub(crate) fn bind(run_dir: &Path) -> std::io::Result<UnixListener> {
    let path = run_dir.join(SOCKET_NAME);
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(listener)
}

/// Serves until aborted.
pub(crate) async fn serve(listener: UnixListener, clients: Clients, ring: Ring, asker: Asker) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, clients.clone(), ring.clone(), asker.clone()));
            }
            Err(error) => {
                tracing::warn!("socket of the process groups: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: UnixStream, clients: Clients, ring: Ring, asker: Asker) {
    let pid = stream.peer_cred().ok().and_then(|c| c.pid()).and_then(|p| u32::try_from(p).ok()).unwrap_or(0);
    let (input, output) = stream.into_split();
    let (frames, queue) = mpsc::channel(QUEUE_FRAMES);
    let (waiting, let_go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let number = clients.0.next.fetch_add(1, Ordering::Relaxed);
    {
        let mut all = clients.lock();
        if all.len() >= MAX_CLIENTS {
            return tracing::warn!("process {pid} is refused: {MAX_CLIENTS} programs are in groups already");
        }
        let (frames, waiting, let_go) = (frames.clone(), waiting.clone(), let_go.clone());
        all.insert(number, Client { group: None, member: false, pid, frames, waiting, let_go });
    }
    let reading = async {
        if let Err(why) = listen(input, &clients, (number, pid), &ring, &asker).await {
            // One that does not read any more is gone anyway.
            let _ = frames.try_send(FromNode::Refused(why).encode().into());
        }
        drop(frames);
        asker.tell(Ask::Group(Wish::Gone { client: number })).await;
    };
    let both = async { tokio::join!(reading, write(output, queue, &waiting)) };
    tokio::select! {
        _ = both => {}
        () = let_go.notified() => asker.tell(Ask::Group(Wish::Gone { client: number })).await,
    }
}

/// Until it leaves, goes, or does what it may not.
async fn listen(
    input: OwnedReadHalf,
    clients: &Clients,
    (number, pid): (u64, u32),
    ring: &Ring,
    asker: &Asker,
) -> Result<(), String> {
    let mut input = BufReader::with_capacity(64 * 1024, input);
    let mut group: Option<String> = None;
    let mut frame = Vec::new();
    loop {
        let mut prefix = [0; 4];
        if input.read_exact(&mut prefix).await.is_err() {
            return Ok(());
        }
        let length = length(prefix).map_err(|e| e.to_string())?;
        let Ok(kind) = input.read_u8().await else { return Ok(()) };
        if let (SEND, Some(group)) = (kind, &group) {
            // A message may be large: it is read to where it is sent from.
            let size = length - 1;
            if size > MAX_MESSAGE_BYTES {
                return Err(FrameError::TooLarge { got: size }.to_string());
            }
            let mut payload = head(pid, group, size);
            let at = payload.len();
            payload.resize(at + size, 0);
            if input.read_exact(&mut payload[at..]).await.is_err() || !send(payload, clients, ring).await {
                return Ok(());
            }
            continue;
        }
        frame.resize(length, kind);
        if input.read_exact(&mut frame[1..]).await.is_err() {
            return Ok(());
        }
        frame[0] = kind;
        match (ToNode::decode(&frame).map_err(|e| e.to_string())?, &group) {
            (ToNode::Join(name), None) => {
                let wish = |to| Ask::Group(Wish::Join { client: number, group: name.clone(), pid, to });
                asker.ask(wish).await.ok_or("the node is ending")??;
                group = Some(name);
            }
            (ToNode::Send(_) | ToNode::Leave, Some(_)) => return Ok(()),
            (ToNode::Join(_), Some(name)) => return Err(format!("this connection is in group {name} already")),
            (ToNode::Send(_) | ToNode::Leave, None) => return Err("join a group first".to_owned()),
        }
    }
}

/// When there is room. False when there is nobody to send to any more.
async fn send(payload: Vec<u8>, clients: &Clients, ring: &Ring) -> bool {
    let units = units(payload.len());
    let most = u32::try_from(units).unwrap_or(u32::MAX);
    let Ok(room) = clients.0.room.acquire_many(most).await else { return false };
    room.forget();
    clients.0.taken.fetch_add(units, Ordering::AcqRel);
    ring.broadcast(payload).await
}

/// Until its queue is closed, or nobody reads.
async fn write(output: OwnedWriteHalf, mut queue: mpsc::Receiver<Bytes>, waiting: &AtomicUsize) {
    let mut output = BufWriter::with_capacity(64 * 1024, output);
    while let Some(frame) = queue.recv().await {
        let mut next = Some(frame);
        while let Some(frame) = next {
            waiting.fetch_sub(frame.len(), Ordering::AcqRel);
            if output.write_all(&frame).await.is_err() {
                return;
            }
            next = queue.try_recv().ok();
        }
        if output.flush().await.is_err() {
            return;
        }
    }
}

/// The original's change, as members are told it.
pub(crate) fn members(change: &totem::GroupChange) -> Members {
    let all = |list: &[totem::Process]| list.iter().map(|p| Member { node: p.node, pid: p.pid }).collect();
    Members { members: all(&change.members), left: all(&change.left), joined: all(&change.joined) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(pid: u32, group: &str, message: &[u8]) -> Vec<u8> {
        [head(pid, group, message.len()).as_slice(), message].concat()
    }

    #[test]
    fn messages_come_back_as_they_went_and_nonsense_is_none() {
        let sent = payload(7, "web", b"text");
        assert!(is_message(&sent) && agents::is_bulletin(&sent));
        assert_eq!(read(&sent), Some((7, "web", &b"text"[..])));
        for bad in [&b"\x42\x05"[..], b"\x42\x05\0\0\0\0", b"\x42\x05\0\0\0\0\x09web", b"\x42\x04\0\0\0\0\0", b""] {
            assert_eq!(read(bad), None);
        }
    }

    /// A client of the test's own, and what it is handed.
    fn client(clients: &Clients, number: u64, pid: u32) -> mpsc::Receiver<Bytes> {
        let (frames, queue) = mpsc::channel(2);
        clients.lock().insert(
            number,
            Client { group: None, member: false, pid, frames, waiting: Arc::default(), let_go: Arc::default() },
        );
        queue
    }

    #[test]
    fn a_member_hears_from_its_own_joining_on_and_one_that_takes_nothing_is_let_go() {
        let (clients, me) = (Clients::default(), NodeId(1));
        let mut heard = client(&clients, 0, 7);
        clients.joins(0, "web");
        let message = payload(9, "web", b"text");
        clients.deliver(NodeId(2), me, &message);
        assert!(heard.try_recv().is_err(), "it has not joined yet");
        let own = Member { node: me, pid: 7 };
        clients.tell("web", me, Members { members: vec![own], left: vec![], joined: vec![own] });
        clients.deliver(NodeId(2), me, &message);
        clients.deliver(NodeId(2), me, &payload(9, "other", b""));
        let frames: Vec<_> = std::iter::from_fn(|| heard.try_recv().ok()).map(|f| FromNode::decode(&f[4..])).collect();
        let said = FromNode::Message { node: NodeId(2), pid: 9, message: b"text".to_vec() };
        assert!(matches!(frames[..], [Ok(FromNode::Members(_)), Ok(ref m)] if *m == said), "{frames:?}");
        // Two frames find room, with the third its queue is closed.
        (0..4).for_each(|_| clients.deliver(NodeId(2), me, &message));
        assert_eq!(std::iter::from_fn(|| heard.try_recv().ok()).count(), 2);
        assert!(heard.is_closed());
        assert_eq!(clients.remove(0), Some(("web".to_owned(), 7)), "it still has to leave the group");
    }

    #[test]
    fn room_is_given_back_once_for_what_was_taken() {
        let clients = Clients::default();
        let take = |units: usize| {
            clients.0.room.try_acquire_many(units as u32).expect("room").forget();
            clients.0.taken.fetch_add(units, Ordering::AcqRel);
        };
        take(3);
        clients.deliver(NodeId(2), NodeId(1), &payload(1, "web", b""));
        assert_eq!(clients.0.room.available_permits(), ROOM_MESSAGES - 3, "another node's is not this one's");
        clients.deliver(NodeId(1), NodeId(1), &payload(1, "web", b""));
        assert_eq!(clients.0.room.available_permits(), ROOM_MESSAGES - 2);
        clients.forget_sent();
        clients.deliver(NodeId(1), NodeId(1), &payload(1, "web", b"late"));
        assert_eq!(clients.0.room.available_permits(), ROOM_MESSAGES);
        assert_eq!(units(1024 * 1024 + HEAD_BYTES + 3), 513);
    }
}
