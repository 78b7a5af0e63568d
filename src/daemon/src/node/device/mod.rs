//! The arbitrator, as the core sees it: the client of `quorum.device{}` among what it waits for.
//!
//! The state machine ([`quorum::qdevice::Device`]) belongs to the core task, like quorum itself: what it says of the vote counts
//! before anything goes out that confirms it. Connections and heuristics are tasks that only report.

mod connect;
mod heuristics;
mod shown;

pub(super) use shown::{shown, warnings};

use super::core::Core;
use super::orders::Order;
use super::settings::{self, Settings};
use crate::clock;
use crate::qnet::certs::{SERVER_NAME, Store};
use crate::qnet::{Doing, Heard, Side, drive};
use base::{NodeId, Time};
use connect::Connected;
use controller::Input;
use quorum::DeviceState;
use quorum::qdevice::{Device, Output};
use quorum::qnet::{Heuristics, MAX_BODY_BYTES, Message, RingId, Tls};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tokio::sync::mpsc;

/// What waits to be sent to the arbitrator, or has come from it.
const WAITING: usize = 64;

/// What the tasks report, each under the number of its connection or run.
pub(super) enum Event {
    Connection(u64, Connected),
    Heard(u64, Heard),
    Checked(u64, Heuristics),
}

/// Both ends of what one kind of task reports.
type Pipe<T> = (mpsc::Sender<(u64, T)>, mpsc::Receiver<(u64, T)>);

/// The client, if the file asks for one, and what works for it.
pub(super) struct Arbitration {
    device: Option<Device>,
    connections: Pipe<Connected>,
    heard: Pipe<Heard>,
    checked: Pipe<Heuristics>,
    /// The present connection; what comes from earlier ones is void.
    connection: u64,
    doings: Option<mpsc::Sender<Doing>>,
    run: u64,
    /// Whether the controller was told to wait.
    waits: bool,
    /// What was told to the others last, and what they said.
    told: DeviceState,
    peers: BTreeMap<NodeId, DeviceState>,
    connected_since: Option<base::WallTime>,
    polled: Option<base::WallTime>,
}

impl Default for Arbitration {
    fn default() -> Arbitration {
        Arbitration {
            device: None,
            connections: mpsc::channel(WAITING),
            heard: mpsc::channel(WAITING),
            checked: mpsc::channel(WAITING),
            connection: 0,
            doings: None,
            run: 0,
            waits: false,
            told: DeviceState::default(),
            peers: BTreeMap::new(),
            connected_since: None,
            polled: None,
        }
    }
}

impl Arbitration {
    pub async fn next(&mut self) -> Event {
        tokio::select! {
            Some((n, what)) = self.connections.1.recv() => Event::Connection(n, what),
            Some((n, what)) = self.heard.1.recv() => Event::Heard(n, what),
            Some((n, what)) = self.checked.1.recv() => Event::Checked(n, what),
            // The senders are here as well.
            else => std::future::pending().await,
        }
    }

    /// When [`Core::device_time`] is due.
    pub fn due(&self) -> Option<Time> {
        self.device.as_ref().and_then(Device::poll_timeout)
    }

    pub fn client(&self) -> Option<&Device> {
        self.device.as_ref()
    }

    pub fn peer(&self, node: NodeId) -> Option<DeviceState> {
        self.peers.get(&node).copied()
    }

    /// The connection of now, or none any more.
    fn forget_connection(&mut self) {
        self.connection += 1;
        self.doings = None;
        self.connected_since = None;
    }
}

/// Where a node keeps what the arbitrator's authority gave it: beside corosync.conf.
pub(super) fn certificates(settings: &Settings) -> PathBuf {
    let file = std::path::Path::new(&settings.config.file);
    file.parent().unwrap_or(file).join("qdevice/net/tls")
}

impl Core {
    /// At the start, and whenever the file was read again.
    pub(super) async fn device_configured(&mut self) {
        let wanted = settings::device(&self.identity.settings);
        let now = clock::now();
        match (&mut self.arbitration.device, wanted) {
            (Some(device), Some(config)) => device.reconfigure(config, now),
            (None, Some(config)) => {
                let mut device = Device::new(config, now);
                if let Some(ring) = self.ring_id {
                    let members = self.controller.status().members.iter().map(|n| n.0).collect();
                    device.set_view(RingId { node: ring.rep, seq: ring.seq }, members, now);
                }
                self.arbitration.device = Some(device);
            }
            (Some(_), None) => {
                self.arbitration.device = None;
                self.arbitration.forget_connection();
                self.arbitration.peers.clear();
            }
            (None, None) => return,
        }
        self.device_settled().await;
    }

    pub(super) async fn device_event(&mut self, event: Event) {
        let now = clock::now();
        let connection = self.arbitration.connection;
        let Some(device) = &mut self.arbitration.device else { return };
        match event {
            Event::Checked(run, result) if run == self.arbitration.run => device.checked(result, now),
            Event::Connection(n, Connected::Yes(stream)) if n == connection => {
                let (to, doings) = mpsc::channel(WAITING);
                self.arbitration.doings = Some(to);
                tokio::spawn(drive(n, stream, MAX_BODY_BYTES, doings, self.arbitration.heard.0.clone()));
                device.connected(now);
            }
            Event::Connection(n, Connected::No(why)) if n == connection => device.lost(&why, now),
            Event::Heard(n, what) if n == connection => match what {
                Heard::Frame(frame) => match Message::decode(&frame) {
                    Ok(message) => device.received(&message, now),
                    Err(error) => device.lost(&format!("it sent what cannot be read: {error}"), now),
                },
                Heard::Unreadable(error) => device.lost(&error.to_string(), now),
                Heard::Secured(certificate) => {
                    let store = Store::read(&certificates(&self.identity.settings)).ok();
                    let names = store.zip(certificate).and_then(|(store, c)| store.vouched(&c));
                    match names {
                        Some(names) if names.iter().any(|n| n == SERVER_NAME) => device.secured(now),
                        Some(names) => device.lost(&format!("its certificate is of {}", names.join(", ")), now),
                        None => device.lost("its certificate is not of the authority that this cluster knows", now),
                    }
                }
                Heard::Over(why) => device.lost(&why, now),
            },
            // Of an earlier connection or run.
            Event::Checked(..) | Event::Connection(..) | Event::Heard(..) => return,
        }
        self.device_settled().await;
    }

    pub(super) async fn device_time(&mut self) {
        if let Some(device) = &mut self.arbitration.device {
            device.handle_timeout(clock::now());
        }
        self.device_settled().await;
    }

    /// Before the view is counted: the vote was for the last one.
    pub(super) async fn device_view(&mut self, view: &totem::View) {
        let ring = RingId { node: view.id.rep, seq: view.id.seq };
        self.arbitration.peers.retain(|node, _| view.members.contains(node));
        let Some(device) = &mut self.arbitration.device else { return };
        device.set_view(ring, view.members.iter().map(|n| n.0).collect(), clock::now());
        self.quorum.set_device(device.is_ready(), device.casts());
        self.quorum.set_view(&view.members);
        self.device_waits().await;
        self.device_outputs();
    }

    /// The vote counts first, then what the client has to say goes out.
    pub(super) async fn device_settled(&mut self) {
        let Some(device) = &mut self.arbitration.device else { return };
        let before = self.quorum.is_quorate();
        let state = self.quorum.device();
        self.quorum.set_device(device.is_ready(), device.casts());
        let quorate = self.quorum.is_quorate();
        device.set_quorate(quorate);
        if device.is_ready() && (device.casts() || state.alive) {
            self.arbitration.polled = Some(clock::wall());
        }
        self.device_waits().await;
        if before != quorate {
            let why =
                if self.quorum.device().cast { "the arbitrator votes for this node" } else { "without the arbitrator" };
            let verdict = if quorate { "quorate" } else { "not quorate" };
            tracing::info!("quorum: {verdict}: {why}");
            self.timeline.add("quorum", "", &format!("{verdict}: {why}"));
            self.quorum_changed();
            self.step(Input::Quorum { quorate }).await;
            self.show();
        }
        self.device_outputs();
        self.tell_device(false).await;
    }

    /// While the arbitrator is being asked, nothing new is decided, and what runs goes on.
    async fn device_waits(&mut self) {
        let now = clock::now();
        let quorate = self.quorum.is_quorate();
        let until = self.arbitration.device.as_ref().and_then(|d| d.undecided_until(now)).filter(|_| !quorate);
        if until.is_some() || self.arbitration.waits {
            self.arbitration.waits = until.is_some();
            self.step(Input::Undecided { until: until.unwrap_or(Time::ZERO) }).await;
        }
    }

    /// Whether the arbitrator has yet to say if this view has quorum.
    pub(super) fn is_undecided(&self) -> bool {
        self.arbitration.waits
    }

    /// To those who show it (`corosync-quorumtool`): what changed, or all to who comes.
    pub(super) async fn tell_device(&mut self, anew: bool) {
        let state = self.quorum.device();
        if self.arbitration.device.is_some() && self.ring_id.is_some() && (anew || self.arbitration.told != state) {
            self.arbitration.told = state;
            self.ring.broadcast(Order::Device(state).encode()).await;
        }
    }

    pub(super) fn peer_device(&mut self, node: NodeId, state: DeviceState) {
        if self.controller.status().members.contains(&node) || node == self.me() {
            self.arbitration.peers.insert(node, state);
        }
    }

    fn device_outputs(&mut self) {
        while let Some(output) = self.arbitration.device.as_mut().and_then(Device::poll_output) {
            match output {
                Output::Connect => self.device_connect(),
                Output::Send(message) => self.device_do(Doing::Send(message.encode())),
                Output::StartTls => self.device_secure(),
                Output::Disconnect => {
                    self.device_do(Doing::Close);
                    self.arbitration.forget_connection();
                }
                Output::Check { sync } => {
                    let Some(file) = &self.identity.settings.config.quorum.device else { continue };
                    let within = if sync { file.heuristics.sync_timeout } else { file.heuristics.timeout };
                    self.arbitration.run += 1;
                    let to = (self.arbitration.run, self.arbitration.checked.0.clone());
                    heuristics::start(file.heuristics.programs.clone(), within, to);
                }
                Output::Told { text, bad } => {
                    if bad {
                        tracing::warn!("{text}")
                    } else {
                        tracing::info!("{text}")
                    }
                    self.timeline.add("arbitrator", "", &text);
                    if text.ends_with("connected") {
                        self.arbitration.connected_since = Some(clock::wall());
                    }
                }
            }
        }
    }

    fn device_connect(&mut self) {
        let tls = certificates(&self.identity.settings);
        let (Some(device), Some(file)) = (&mut self.arbitration.device, &self.identity.settings.config.quorum.device)
        else {
            return;
        };
        // `on` is what both can do: without certificates there is none to do.
        let plain = file.tls == Tls::Supported && !Store::is_there(&tls);
        device.set_tls(if plain { Tls::Unsupported } else { file.tls });
        self.arbitration.connection += 1;
        let to = (self.arbitration.connection, self.arbitration.connections.0.clone());
        connect::start(file, to);
    }

    /// A connection that takes nothing ends by itself; the client notices by its echoes.
    fn device_do(&mut self, doing: Doing) {
        if let Some(doings) = &self.arbitration.doings {
            let _ = doings.try_send(doing);
        }
    }

    fn device_secure(&mut self) {
        match Store::read(&certificates(&self.identity.settings)).and_then(|s| s.client()) {
            Ok(ssl) => self.device_do(Doing::StartTls(Box::new(ssl), Side::Client)),
            Err(error) => {
                if let Some(device) = &mut self.arbitration.device {
                    device.lost(&format!("TLS: {error}"), clock::now());
                }
            }
        }
    }
}
