//! Events of links and addresses, without the noise of renewals.
//!
//! One task owns the multicast socket and a small picture of the addresses seen; it passes on what differs. Renewing a
//! lease makes an event each time, which is dropped when nothing but the lifetime changed. When events were lost (the
//! reader was slow, or the kernel's buffer ran over) one [`Event::Lost`] tells the reader to list everything anew.

use super::{AddrError, Address, Link, Task, convert};
use futures_util::StreamExt;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use std::collections::BTreeMap;
use std::net::IpAddr;
use tokio::sync::mpsc;

/// Events kept for a slow reader; more are dropped and told as one [`Event::Lost`].
pub const MAX_PENDING_EVENTS: usize = 1024;
/// Addresses remembered to tell renewals from changes; with more than this, renewals are reported too.
const MAX_KNOWN: usize = 16_384;

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A link is new or changed (up, down, carrier, name, MTU).
    Link(Link),
    LinkGone(Link),
    /// An address is new or changed in more than its remaining lifetime.
    Address(Address),
    AddressGone(Address),
    /// Events are missing: list links and addresses anew.
    Lost,
}

/// The stream of events; ends when the netlink socket fails.
pub struct Events {
    receiver: mpsc::Receiver<Event>,
    _tasks: [Task; 2],
}

impl Events {
    /// The next event, or `None` when the stream has ended: watch again and list everything anew.
    pub async fn next(&mut self) -> Option<Event> {
        self.receiver.recv().await
    }
}

/// Starts watching the calling thread's network namespace; must be called within a tokio runtime.
pub fn watch() -> Result<Events, AddrError> {
    let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
    let (connection, handle, mut messages) =
        rtnetlink::new_multicast_connection(&groups).map_err(|e| AddrError::Connection { what: e.to_string() })?;
    let (sender, receiver) = mpsc::channel(MAX_PENDING_EVENTS);
    let mover = tokio::spawn(connection);
    let filter = tokio::spawn(async move {
        // The connection lives as long as a handle to it.
        let _handle = handle;
        let mut filter = Filter::default();
        let mut lost = false;
        while let Some((message, _)) = messages.next().await {
            let Some(event) = filter.pass(message) else { continue };
            if lost && sender.try_send(Event::Lost).is_ok() {
                lost = false;
            }
            match sender.try_send(event) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(_)) => lost = true,
                Err(mpsc::error::TrySendError::Closed(_)) => return,
            }
        }
    });
    Ok(Events { receiver, _tasks: [Task(mover.abort_handle()), Task(filter.abort_handle())] })
}

/// What is known of addresses, to drop events that change nothing but a lifetime.
#[derive(Default)]
struct Filter {
    known: BTreeMap<(u32, IpAddr, u8), Address>,
}

impl Filter {
    fn pass(&mut self, message: NetlinkMessage<RouteNetlinkMessage>) -> Option<Event> {
        match message.payload {
            NetlinkPayload::Overrun(_) => {
                self.known.clear();
                Some(Event::Lost)
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(m)) => Some(Event::Link(convert::link(&m))),
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(m)) => Some(Event::LinkGone(convert::link(&m))),
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(m)) => self.changed(convert::address(&m)?),
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(m)) => {
                let gone = convert::address(&m)?;
                self.known.remove(&key(&gone));
                Some(Event::AddressGone(gone))
            }
            _ => None,
        }
    }

    fn changed(&mut self, now: Address) -> Option<Event> {
        let before = self.known.get(&key(&now));
        let same =
            before.is_some_and(|old| Address { lifetime: now.lifetime, ..old.clone() } == now && same_kind(old, &now));
        if before.is_some() || self.known.len() < MAX_KNOWN {
            self.known.insert(key(&now), now.clone());
        }
        (!same).then_some(Event::Address(now))
    }
}

fn key(address: &Address) -> (u32, IpAddr, u8) {
    (address.link, address.addr, address.prefix_len)
}

/// A lease that became permanent, or the reverse, is a change.
fn same_kind(a: &Address, b: &Address) -> bool {
    std::mem::discriminant(&a.lifetime) == std::mem::discriminant(&b.lifetime)
}
