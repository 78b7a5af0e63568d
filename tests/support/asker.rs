//! A client on the LAN that asks for an address every few milliseconds and writes down who answers.

use kernel::addr::Link;
use kernel::inquiry::{Inquiry, Mac, Use};
use lab::hosts::Host;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two questions of the client.
const EVERY: Duration = Duration::from_millis(4);

/// One question, and who answered before the next one.
#[derive(Clone)]
struct Asked {
    at: Instant,
    by: BTreeSet<Mac>,
}

/// A client that asks for one address for as long as it lives.
pub struct Client {
    asked: Arc<Mutex<Vec<Asked>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    pub async fn start(host: &Host, addr: IpAddr) -> Client {
        let links = host.links.list().await.expect("links");
        let eth0 = links.into_iter().find(|l| l.name == "eth0").expect("eth0");
        let link = Link {
            index: eth0.index,
            name: eth0.name,
            up: true,
            running: true,
            loopback: false,
            mtu: 1500,
            mac: eth0.mac.try_into().ok(),
            master: None,
        };
        let runtime = tokio::runtime::Handle::current();
        let open = move || {
            let _guard = runtime.enter();
            Inquiry::open(&link, addr)
        };
        let inquiry = host.ns.run(open).expect("inside").expect("a socket").expect("a link with neighbours");
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let task = tokio::spawn(ask(inquiry, asked.clone()));
        Client { asked, task }
    }

    /// Longest time without an answer, and longest with answers of two hosts, between two moments.
    pub fn judge(&self, from: Instant, to: Instant) -> (Duration, Duration) {
        let all = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut outage, mut double) = (Duration::ZERO, Duration::ZERO);
        let (mut last, mut since) = (from, None);
        for one in all.iter().filter(|a| a.at >= from && a.at <= to) {
            if !one.by.is_empty() {
                outage = outage.max(one.at - last);
                last = one.at;
            }
            // The question right at a hand-over has an answer and an announcement: it takes two in a row.
            if one.by.len() > 1 {
                double = double.max(one.at - *since.get_or_insert(one.at));
            } else {
                since = None;
            }
        }
        (outage.max(to - last), double)
    }
}

async fn ask(inquiry: Inquiry, to: Arc<Mutex<Vec<Asked>>>) {
    loop {
        let mut one = Asked { at: Instant::now(), by: BTreeSet::new() };
        // A link that is down cannot be asked.
        let _ = inquiry.ask();
        let end = tokio::time::Instant::now() + EVERY;
        while let Ok(Ok(heard)) = tokio::time::timeout_at(end, inquiry.heard()).await {
            one.by.extend(heard.into_iter().filter(|h| h.what == Use::Held).map(|h| h.mac));
        }
        tokio::time::sleep_until(end).await;
        to.lock().unwrap_or_else(PoisonError::into_inner).push(one);
    }
}
