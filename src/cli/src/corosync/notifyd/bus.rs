//! The system bus: signals under the original's names.

use super::event::Event;
use super::places::Place;
use std::time::Duration;
use wire::api::Change;

const PATH: &str = "/org/corosync";
const INTERFACE: &str = "org.corosync";
const WITHIN: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Bus(Option<(tokio::runtime::Runtime, zbus::Connection)>);

impl Place for Bus {
    fn name(&self) -> String {
        "the system bus".to_owned()
    }

    /// A bus that was restarted is found again with the next event.
    fn tell(&mut self, event: &Event) -> Result<(), String> {
        if self.0.is_none() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|e| e.to_string())?;
            let connection = runtime.block_on(async { tokio::time::timeout(WITHIN, zbus::Connection::system()).await });
            let connection = connection.map_err(|_| "no answer".to_owned())?.map_err(|e| e.to_string())?;
            self.0 = Some((runtime, connection));
        }
        let Some((runtime, connection)) = &self.0 else { return Ok(()) };
        let sent = runtime.block_on(async { tokio::time::timeout(WITHIN, emit(connection, event)).await });
        let sent = sent.map_err(|_| "no answer".to_owned()).and_then(|r| r.map_err(|e| e.to_string()));
        if sent.is_err() {
            self.0 = None;
        }
        sent
    }
}

async fn emit(connection: &zbus::Connection, event: &Event) -> zbus::Result<()> {
    let (me, name, state) = (event.me.0, event.name.as_str(), event.state());
    let nobody = None::<zbus::names::BusName<'_>>;
    match &event.change {
        Change::Node { node, name, address, .. } => {
            let body = (name.as_str(), node.0, address.as_str(), state);
            connection.emit_signal(nobody, PATH, INTERFACE, "NodeStateChange", &body).await
        }
        Change::Quorum { .. } => {
            connection.emit_signal(nobody, PATH, INTERFACE, "QuorumStateChange", &(name, me, state)).await
        }
        Change::Link { node, link, .. } => {
            let body = (name, me, node.0, u32::from(*link), state);
            connection.emit_signal(nobody, PATH, INTERFACE, "LinkStateChange", &body).await
        }
    }
}
