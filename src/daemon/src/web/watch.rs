//! What pages show, kept up to date: one look a second for each user who has pages open, however many, and its result to all of them.
//!
//! ```text
//!   node's API (as the user), directors, kernel IPVS --look--> Sources --state::document--> bytes --watch channel--> pages
//! ```
//!
//! The directors are looked at all the time, though more rarely, so that a page that is opened has the last hour of every server.

use super::history::History;
use super::state::{Sources, document};
use crate::asking::Api;
use hyper::body::Bytes;
use kernel::ipvs::{Ipvs, Kernel};
use ldirectord::service::Status as DirectorStatus;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use wire::api::Timeline;

const LOOK_EACH: Duration = Duration::from_secs(1);
const LOOK_AT_SERVERS_EACH: Duration = Duration::from_secs(5);
/// A report that comes later than this is missed.
const LATE_US: u64 = 2_000_000;
/// Events of a timeline that are kept between two looks.
const MAX_EVENTS: usize = 1_000;
/// A node that takes longer is shown as one that does not answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const TABLE_WITHIN_MS: u64 = 2_000;

pub struct Watch {
    socket: PathBuf,
    director_dirs: [PathBuf; 2],
    history: Mutex<History>,
    /// By user.
    pages: Mutex<BTreeMap<String, watch::Sender<Bytes>>>,
}

impl Watch {
    pub fn new(socket: &Path) -> Arc<Watch> {
        let run_dir = socket.parent().unwrap_or(Path::new(wire::api::DEFAULT_RUN_DIR)).to_owned();
        Arc::new(Watch {
            socket: socket.to_owned(),
            director_dirs: [run_dir, ldirectord::service::RUN_DIR.into()],
            history: Mutex::default(),
            pages: Mutex::default(),
        })
    }

    /// Follows the servers' health until aborted.
    pub async fn follow_servers(self: Arc<Watch>) {
        let mut tick = tokio::time::interval(LOOK_AT_SERVERS_EACH);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.directors().await;
        }
    }

    /// What the user's pages show, from now on; the first document comes at once or within a look.
    pub fn follow(self: &Arc<Watch>, user: &str) -> watch::Receiver<Bytes> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = pages.get(user) {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(Bytes::new());
        pages.insert(user.to_owned(), sender);
        let (watch, user) = (self.clone(), user.to_owned());
        tokio::spawn(async move { watch.keep(user).await });
        receiver
    }

    fn api(&self, user: &str) -> Api {
        Api { socket: self.socket.clone(), user: Some(user.to_owned()), within: ANSWER_WITHIN }
    }

    /// As long as there are pages of this user.
    async fn keep(&self, user: String) {
        let mut looker = Looker::new(self.api(&user));
        let mut tick = tokio::time::interval(LOOK_EACH);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let sources = looker.look(self).await;
            let bytes = {
                let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
                Bytes::from(document(&sources, &history))
            };
            let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(sender) = pages.get(&user) else { return };
            if sender.receiver_count() == 0 {
                pages.remove(&user);
                return;
            }
            sender.send_if_modified(|last| {
                let changed = *last != bytes;
                *last = bytes;
                changed
            });
        }
    }

    /// Whether the cluster's permissions are off, so that every user who may log in may do everything.
    pub async fn has_no_acls(&self) -> bool {
        // A user with few permissions might not see that there are any.
        let mut looker = Looker::new(self.api("root"));
        if looker.read_cib().await.is_err() {
            return false;
        }
        let acls = looker.cib.as_ref().and_then(|(_, cluster)| cluster.options.get("enable-acl"));
        looker.cib.is_some() && !acls.is_some_and(|v| base::text::is_true(v))
    }

    /// What the directors say, noted in the history.
    async fn directors(&self) -> Vec<DirectorStatus> {
        let dirs = self.director_dirs.clone();
        let found = tokio::task::spawn_blocking(move || ldirectord::service::statuses(&dirs)).await.unwrap_or_default();
        let now_ms = crate::clock::wall().0;
        self.history.lock().unwrap_or_else(PoisonError::into_inner).note(&found, now_ms);
        found
    }
}

/// One user's looks; what has not changed is not read again.
struct Looker {
    api: Api,
    version: Option<(u64, u64, u64)>,
    cib: Option<(xml::Element, scheduler::status::Cluster)>,
    timeline: Option<Timeline>,
}

impl Looker {
    fn new(api: Api) -> Looker {
        Looker { api, version: None, cib: None, timeline: None }
    }

    async fn look(&mut self, watch: &Watch) -> Sources {
        let mut sources = Sources::default();
        let mut keep = |what: &str, why: String| sources.troubles.push(format!("{what}: {why}"));
        let api = self.api.clone();
        let (status, quorum, directors, table) =
            tokio::join!(api.get("/v1/status"), api.get("/v1/quorum"), watch.directors(), table());
        let status = status.map_err(|why| keep("node", why)).ok();
        // One that does not run has told so once.
        let (quorum, cib, timeline) = match status.is_some() {
            false => (None, Ok(()), Ok(())),
            true => (quorum.map_err(|why| keep("quorum", why)).ok(), self.read_cib().await, self.read_timeline().await),
        };
        cib.err().into_iter().for_each(|why| keep("configuration", why));
        timeline.err().into_iter().for_each(|why| keep("timeline", why));
        let (cib, cluster) = match (&status, &self.cib) {
            (Some(_), Some((cib, cluster))) => (Some(cib.clone()), Some(cluster.clone())),
            _ => (None, None),
        };
        Sources { status, quorum, cluster, cib, timeline: self.timeline.clone(), directors, table, ..sources }
    }

    async fn read_cib(&mut self) -> Result<(), String> {
        let version = self.api.cib(false).await?.version;
        if self.version == Some(version) && self.cib.is_some() {
            return Ok(());
        }
        let reply = self.api.cib(true).await?;
        let text = reply.xml.ok_or("no CIB in the answer")?;
        let read = tokio::task::spawn_blocking(move || {
            let cib = xml::parse(&text).map_err(|e| e.to_string())?;
            let cluster = scheduler::status::read(&cib, crate::clock::wall()).map_err(|e| e.to_string())?;
            Ok::<_, String>((cib, cluster))
        });
        self.cib = Some(read.await.map_err(|e| e.to_string())??);
        self.version = Some(reply.version);
        Ok(())
    }

    /// Only what is new since a little before the last look: reports of other threads come late.
    async fn read_timeline(&mut self) -> Result<(), String> {
        let last = self.timeline.as_ref().and_then(|t| t.events.last());
        let since = last.map_or(0, |e| e.at.0.saturating_sub(LATE_US));
        let mut news: Timeline = self.api.get(&format!("/v1/timeline?since_us={since}")).await?;
        if let Some(old) = self.timeline.take()
            && old.now <= news.now
        {
            // A node that was started again counts from the beginning, and has forgotten.
            let mut events = old.events;
            events.retain(|e| e.at.0 <= since);
            events.append(&mut news.events);
            events.drain(..events.len().saturating_sub(MAX_EVENTS));
            news.events = events;
        }
        self.timeline = Some(news);
        Ok(())
    }
}

/// Empty where this kernel has no IPVS, or nobody may read it.
async fn table() -> Vec<base::ipvs::ServiceEntry> {
    let read = tokio::task::spawn_blocking(|| {
        let mut kernel = Kernel::with_deadline_ms(TABLE_WITHIN_MS);
        // To look must not change anything.
        kernel.set_load_module(false);
        kernel.services().unwrap_or_default()
    });
    read.await.unwrap_or_default()
}
