//! A daemon's client of the arbitrator, as `daemon::node::device` drives it: the vote counts first, then what the client has to
//! say goes out.

use crate::world::World;
use base::{NodeId, Time};
use controller::Input;
use quorum::qdevice::{Device, Output};
use quorum::qnet::RingId;
use quorum::qnetd::Conn;

/// The client, and its present connection; what comes from earlier ones is void.
#[derive(Default)]
pub struct Arbitration {
    pub client: Option<Device>,
    pub connection: Option<Conn>,
    /// Whether the controller was told to wait.
    waits: bool,
    /// World time of the timer that counts.
    pub timer: Option<Time>,
}

impl World {
    /// At the start, and whenever the file was read again.
    pub(crate) fn device_configured(&mut self, id: NodeId) {
        let now = self.now;
        let Some(p) = &mut self.host_mut(id).process else { return };
        let local = p.clock.shows(now);
        match (&mut p.arbitration.client, p.site.device(id)) {
            (Some(client), Some(config)) => client.reconfigure(config, local),
            (None, Some(config)) => {
                let mut client = Device::new(config, local);
                if !p.members.is_empty() {
                    let members = p.members.iter().map(|n| n.0).collect();
                    client.set_view(RingId { node: p.view.rep, seq: p.view.seq }, members, local);
                }
                p.arbitration.client = Some(client);
            }
            _ => return,
        }
        self.device_settled(id);
    }

    /// Before the view is counted: the vote was for the last one.
    pub(crate) fn device_view(&mut self, id: NodeId, view: &totem::View) {
        let now = self.now;
        let Some(p) = &mut self.host_mut(id).process else { return };
        let local = p.clock.shows(now);
        let Some(client) = &mut p.arbitration.client else { return };
        let ring = RingId { node: view.id.rep, seq: view.id.seq };
        client.set_view(ring, view.members.iter().map(|n| n.0).collect(), local);
        p.quorum.set_device(client.is_ready(), client.casts());
        p.quorum.set_view(&view.members);
        self.device_waits(id);
        self.device_outputs(id);
    }

    pub(crate) fn device_settled(&mut self, id: NodeId) {
        let Some(p) = &mut self.host_mut(id).process else { return };
        let Some(client) = &mut p.arbitration.client else { return };
        let before = p.quorum.is_quorate();
        p.quorum.set_device(client.is_ready(), client.casts());
        let quorate = p.quorum.is_quorate();
        client.set_quorate(quorate);
        self.device_waits(id);
        if before != quorate {
            self.tell(id, || format!("the arbitrator's word makes it quorate {quorate}"));
            self.quorum_told(id);
        }
        self.device_outputs(id);
    }

    /// While the arbitrator is being asked, nothing new is decided, and what runs goes on.
    fn device_waits(&mut self, id: NodeId) {
        let now = self.now;
        let Some(p) = &mut self.host_mut(id).process else { return };
        let (local, quorate) = (p.clock.shows(now), p.quorum.is_quorate());
        let until = p.arbitration.client.as_ref().and_then(|d| d.undecided_until(local)).filter(|_| !quorate);
        if until.is_some() || p.arbitration.waits {
            p.arbitration.waits = until.is_some();
            self.input(id, Input::Undecided { until: until.unwrap_or(Time::ZERO) });
        }
    }

    pub(crate) fn device_timer(&mut self, id: NodeId) {
        let now = self.now;
        let Some(p) = &mut self.host_mut(id).process else { return };
        if p.arbitration.timer.is_none_or(|at| at > now) {
            return;
        }
        p.arbitration.timer = None;
        let local = p.clock.shows(now);
        if let Some(client) = &mut p.arbitration.client {
            client.handle_timeout(local);
        }
        self.device_settled(id);
    }

    pub(crate) fn device_linked(&mut self, id: NodeId, conn: Conn) {
        let now = self.now;
        let Some(p) = &mut self.host_mut(id).process else { return };
        let local = p.clock.shows(now);
        if p.arbitration.connection != Some(conn) {
            return;
        }
        if let Some(client) = &mut p.arbitration.client {
            client.connected(local);
        }
        self.device_settled(id);
    }

    /// Something has come over the connection, or it has ended.
    pub(crate) fn device_hears(&mut self, id: NodeId, conn: Conn) {
        let now = self.now;
        let Some(p) = &self.host(id).process else { return };
        if p.arbitration.connection != Some(conn) {
            return;
        }
        let (messages, over) = self.heard_of_arbiter(conn);
        for message in messages {
            let Some(p) = &mut self.host_mut(id).process else { return };
            let local = p.clock.shows(now);
            if p.arbitration.connection != Some(conn) {
                return;
            }
            if let Some(client) = &mut p.arbitration.client {
                client.received(&message, local);
            }
            self.device_settled(id);
        }
        let Some(p) = &mut self.host_mut(id).process else { return };
        if over && p.arbitration.connection == Some(conn) {
            let local = p.clock.shows(now);
            if let Some(client) = &mut p.arbitration.client {
                client.lost("the connection was closed", local);
            }
            self.device_settled(id);
        }
    }

    fn device_outputs(&mut self, id: NodeId) {
        loop {
            let Some(p) = &mut self.host_mut(id).process else { return };
            let connection = p.arbitration.connection;
            let Some(output) = p.arbitration.client.as_mut().and_then(Device::poll_output) else { return };
            match output {
                Output::Connect => {
                    let conn = self.dial(id);
                    if let Some(p) = &mut self.host_mut(id).process {
                        p.arbitration.connection = Some(conn);
                    }
                }
                Output::Send(message) => {
                    if let Some(conn) = connection {
                        self.tell_arbiter(conn, message.encode());
                    }
                }
                Output::Disconnect => {
                    p.arbitration.connection = None;
                    if let Some(conn) = connection {
                        self.hang_up(conn);
                    }
                }
                Output::Told { text, .. } => self.tell(id, || text),
                // The file asks for neither.
                Output::StartTls | Output::Check { .. } => {}
            }
        }
    }

    /// The process is gone; its kernel says so.
    pub(crate) fn device_ends(&mut self, connection: Option<Conn>) {
        if let Some(conn) = connection {
            self.hang_up(conn);
        }
    }
}
