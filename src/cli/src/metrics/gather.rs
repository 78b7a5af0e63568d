//! What there is to measure, asked once: each source by itself, so that one that fails or hangs takes nothing from the others.

use crate::client::Client;
use crate::source::{Failure, Source};
use ::ldirectord::service::Status as DirectorStatus;
use base::ipvs::ServiceEntry;
use kernel::ipvs::{Error as IpvsError, Ipvs, Kernel};
use scheduler::status::Cluster;
use std::time::{Duration, Instant};
use wire::api::{NodeStatus, QuorumStatus};
use xml::Element;

/// A scrape waits no longer for any one source; collectors ask every 10 s or more.
const WITHIN: Duration = Duration::from_secs(4);

/// An answer or why there is none, and how long it took.
pub struct Found<T> {
    pub answer: Result<T, String>,
    pub took: Duration,
}

impl<T> Found<T> {
    fn of(ask: impl FnOnce() -> Result<T, String>) -> Found<T> {
        let began = Instant::now();
        Found { answer: ask(), took: began.elapsed() }
    }

    pub fn get(&self) -> Option<&T> {
        self.answer.as_ref().ok()
    }
}

/// The cluster as its configuration and history show it.
pub struct Held {
    pub cib: Element,
    pub cluster: Cluster,
}

/// One scrape.
pub struct Facts {
    pub status: Found<NodeStatus>,
    pub quorum: Found<QuorumStatus>,
    pub held: Found<Held>,
    pub directors: Found<Vec<DirectorStatus>>,
    /// `None`: this kernel has no IPVS, or it is not loaded.
    pub table: Found<Option<Vec<ServiceEntry>>>,
}

impl Facts {
    /// Asks them all, beside each other.
    pub fn ask() -> Facts {
        std::thread::scope(|scope| {
            let status = scope.spawn(|| Found::of(|| ask("/v1/status")));
            let quorum = scope.spawn(|| Found::of(|| ask("/v1/quorum")));
            let held = scope.spawn(|| Found::of(|| held().map_err(|f| f.message)));
            let directors = scope.spawn(|| Found::of(|| Ok(crate::ldirectord::running())));
            let table = Found::of(table);
            Facts {
                status: joined(status),
                quorum: joined(quorum),
                held: joined(held),
                directors: joined(directors),
                table,
            }
        })
    }
}

fn joined<T>(asked: std::thread::ScopedJoinHandle<'_, Found<T>>) -> Found<T> {
    let fell = |_| Found { answer: Err("this source could not be read".to_owned()), took: Duration::ZERO };
    asked.join().unwrap_or_else(fell)
}

fn client() -> Client {
    let mut client = Client::from_env();
    client.timeout = WITHIN;
    client
}

fn ask<T: serde::de::DeserializeOwned>(path: &str) -> Result<T, String> {
    client().get(path).map_err(|e| e.to_string())
}

fn held() -> Result<Held, Failure> {
    let cib = Source::Live(client()).cib()?;
    let cluster = crate::cluster::read(&cib, crate::source::now())?;
    Ok(Held { cib, cluster })
}

fn table() -> Result<Option<Vec<ServiceEntry>>, String> {
    let mut kernel = Kernel::with_deadline_ms(WITHIN.as_millis() as u64);
    // To look must not change anything.
    kernel.set_load_module(false);
    match kernel.services() {
        Ok(services) => Ok(Some(services)),
        Err(IpvsError::NoIpvs { .. }) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}
