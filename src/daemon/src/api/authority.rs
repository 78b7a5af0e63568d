//! The one authorisation point: whatever a client asks goes through a [`Caller`], and what it gets is that caller's part.
//!
//! The node's state is private to this module. A handler has nothing but a [`Caller`], so a route that nobody has thought about
//! in terms of authority cannot be written:
//!
//! | asked | with `enable-acl`, of a user other than root and hacluster |
//! |---|---|
//! | the CIB, attributes, dry runs | what the ACLs let the user read |
//! | changes of the CIB | what the ACLs let the user write, here and again when it is applied |
//! | transient attributes, clean-up | write permission on what they write in `status` |
//! | status of the node, quorum, changes, groups, what was fenced | any read permission at all |
//! | timeline | read permission on the whole of `status` |
//! | shutdown, fencing, fence devices, reload, votes, keys, killing a node, the blackbox | refused |
//! | health | as without ACLs: it tells two facts about the ring |
//!
//! Transient attributes, clean-up, shutdown and fencing are open to every member of haclient with the original.

use super::{ANSWER_WITHIN, BODY_ROOM_BYTES, HEAVY_WORKERS, keys};
use crate::changes::Changes;
use crate::node::{Ask, Asker, Shown};
use crate::ring::Ring;
use crate::timeline::Timeline;
use base::Time;
use base::exit::crm;
use cib::acl::{self, Subject};
use cib::{Cib, CibError, Outcome};
use controller::fencing::query::FencingQuery;
use controller::{Request, Response as Answer};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use wire::api::{ApiError, Done, Health, NodeStatus, QuorumStatus};

/// What every connection shares.
#[derive(Clone)]
pub struct State {
    asker: Asker,
    timeline: Timeline,
    ring: Ring,
    /// This node's name.
    node: Arc<str>,
    body_room: Arc<Semaphore>,
    heavy: Arc<Semaphore>,
    keys: Arc<Mutex<keys::Store>>,
    changes: Changes,
}

/// Who asks, as the peer's credentials say it.
#[derive(Clone, Debug)]
pub(super) enum Who {
    /// Root, this process's own user, hacluster: no ACL applies.
    Exempt(String),
    User(Subject),
}

/// One request's way to the node.
pub(super) struct Caller {
    state: State,
    who: Who,
}

impl State {
    pub fn new(asker: Asker, timeline: Timeline, ring: Ring, changes: Changes, node: &str) -> State {
        let (body_room, heavy) = (Semaphore::new(BODY_ROOM_BYTES), Semaphore::new(HEAVY_WORKERS));
        let (body_room, heavy, keys) = (Arc::new(body_room), Arc::new(heavy), Arc::default());
        State { asker, timeline, ring, node: node.into(), body_room, heavy, keys, changes }
    }

    /// For programs on a remote node: to them, that is the node which they ask.
    pub(super) fn at(&self, node: &str) -> State {
        State { node: node.into(), ..self.clone() }
    }

    pub(super) fn caller(&self, who: Who) -> Caller {
        Caller { state: self.clone(), who }
    }

    async fn look(&self) -> Result<Arc<Shown>, ApiError> {
        match tokio::time::timeout(ANSWER_WITHIN, self.asker.look()).await {
            Ok(Some(shown)) => Ok(shown),
            Ok(None) => Err(ApiError { code: crm::DISCONNECT, message: "the node is shutting down".to_owned() }),
            Err(_) => Err(ApiError { code: crm::TIMEOUT, message: "the controller does not answer".to_owned() }),
        }
    }
}

/// Who may ask a thing of the controller, where ACLs are enabled.
enum Needs {
    /// Whom the ACLs allow what it changes; found out when it is applied.
    Permission,
    /// Who may read anything at all.
    Reading,
    /// Whom no ACL concerns; with what it does, for the refusal.
    Exemption(&'static str),
}

/// Of every kind of request: a new one has to be thought about here.
fn needs(request: &Request) -> Needs {
    match request {
        Request::Cib(_) | Request::Attribute { .. } | Request::Cleanup { .. } => Needs::Permission,
        Request::Fence(_) => Needs::Exemption("fence a node"),
        Request::ConfirmDown { .. } => Needs::Exemption("confirm that a node is down"),
        Request::ForgetFencing { .. } => Needs::Exemption("forget what was fenced"),
        Request::FencingQuery { query: FencingQuery::History { .. }, .. } => Needs::Reading,
        Request::FencingQuery { .. } => Needs::Exemption("look at fence devices"),
        Request::Shutdown { .. } => Needs::Exemption("stop this node"),
        Request::As { .. } => Needs::Exemption("ask for somebody else"),
    }
}

impl Who {
    pub fn name(&self) -> &str {
        match self {
            Who::Exempt(name) => name,
            Who::User(subject) => &subject.user,
        }
    }

    fn subject(&self) -> Option<&Subject> {
        match self {
            Who::Exempt(_) => None,
            Who::User(subject) => Some(subject),
        }
    }
}

impl Caller {
    /// The name that a change is signed with.
    pub fn user(&self) -> &str {
        self.who.name()
    }

    pub fn node(&self) -> &str {
        &self.state.node
    }

    /// The applied CIB, as far as the caller may read it. Its own version stands beside: every answer tells it.
    pub async fn cib(&self) -> Result<(Cib, cib::Version), ApiError> {
        let shown = self.state.look().await?;
        let version = shown.cib.version();
        let Some(subject) = self.limited(&shown) else { return Ok((shown.cib.clone(), version)) };
        let seen = self.heavy(move || shown.cib.seen_by(&subject)).await?;
        seen.map(|cib| (cib, version)).map_err(denied)
    }

    /// The subject, where ACLs are enabled and apply.
    fn limited(&self, shown: &Shown) -> Option<Subject> {
        self.who.subject().filter(|_| acl::enabled(shown.cib.root())).cloned()
    }

    /// Whether ACLs apply at present.
    pub async fn is_limited(&self) -> bool {
        match &self.who {
            Who::Exempt(_) => false,
            Who::User(_) => self.state.look().await.is_ok_and(|shown| self.limited(&shown).is_some()),
        }
    }

    /// Tries a change on a copy.
    pub async fn rehearse(&self, request: cib::Request) -> Result<Result<Outcome, CibError>, ApiError> {
        let shown = self.state.look().await?;
        let subject = self.who.subject().cloned();
        let tried = move || {
            let mut copy = shown.cib.clone();
            match subject {
                Some(subject) => copy.apply_as(&request, &subject),
                None => copy.apply(&request),
            }
        };
        self.heavy(tried).await
    }

    pub async fn status(&self) -> Result<NodeStatus, ApiError> {
        self.may_read_something().await?;
        let mut status = self.state.look().await?.status.clone();
        status.name = self.node().to_owned();
        Ok(status)
    }

    pub async fn quorum(&self) -> Result<QuorumStatus, ApiError> {
        self.may_read_something().await?;
        Ok(self.state.look().await?.quorum.clone())
    }

    /// Changes after a number; waits for one as long as is asked for.
    pub async fn changes(&self, after: u64, wait_ms: u64) -> Result<wire::api::Changes, ApiError> {
        self.may_read_something().await?;
        Ok(self.state.changes.since(after, wait_ms).await)
    }

    pub async fn groups(&self) -> Result<wire::api::Groups, ApiError> {
        self.may_read_something().await?;
        Ok(self.state.look().await?.groups.clone())
    }

    /// Has what happened of late written down. It holds everything, whatever the ACLs of who asks.
    pub async fn blackbox(&self) -> Result<wire::api::BlackboxReply, ApiError> {
        self.must_be_exempt("look into the blackbox").await?;
        let written = self.heavy(|| crate::blackbox::write("an operator asked for it")).await?;
        written.ok_or_else(|| ApiError { code: crm::UNAVAILABLE, message: "the node is still starting".to_owned() })
    }

    /// Keys set on this node, and the changes after a number.
    pub async fn keys(&self, after: u64) -> Result<wire::api::Keys, ApiError> {
        self.may_read_something().await?;
        Ok(self.state.keys.lock().unwrap_or_else(PoisonError::into_inner).since(after))
    }

    pub async fn change_keys(&self, call: wire::api::KeysCall) -> wire::api::KeysReply {
        if let Err(denied) = self.must_be_exempt("change keys").await {
            let error = wire::api::KeyError::Access;
            let refused = Some(wire::api::KeyRefused { change: 0, error, message: denied.message });
            return wire::api::KeysReply { refused };
        }
        self.state.keys.lock().unwrap_or_else(PoisonError::into_inner).change(call)
    }

    async fn may_read_something(&self) -> Result<(), ApiError> {
        let shown = self.state.look().await?;
        match self.limited(&shown) {
            Some(_) => self.cib().await.map(drop),
            None => Ok(()),
        }
    }

    pub async fn timeline(&self, since: Time) -> Result<wire::api::Timeline, ApiError> {
        let shown = self.state.look().await?;
        if self.limited(&shown).is_some() {
            let (seen, _) = self.cib().await?;
            if seen.root().child("status") != shown.cib.root().child("status") {
                let user = self.user().to_owned();
                let rule = "it takes permission to read all of /cib/status".to_owned();
                return Err(denied(CibError::Denied { user, what: "read the timeline".to_owned(), rule }));
            }
        }
        Ok(self.state.timeline.since(since))
    }

    /// Asks the controller on the caller's behalf; gives up after `within`.
    pub async fn ask(&self, request: Request, within: Duration) -> Answer {
        let allowed = match needs(&request) {
            Needs::Permission => Ok(()),
            Needs::Reading => self.may_read_something().await,
            Needs::Exemption(what) => self.must_be_exempt(what).await,
        };
        if let Err(ApiError { code, message }) = allowed {
            return Answer::Failed { code, message };
        }
        let request = match &self.who {
            Who::Exempt(_) => request,
            Who::User(subject) => Request::As { subject: subject.clone(), request: Box::new(request) },
        };
        match tokio::time::timeout(within, self.state.asker.ask(|to| Ask::Request(Box::new(request), to))).await {
            Ok(Some(answer)) => answer,
            Ok(None) => Answer::Failed { code: crm::DISCONNECT, message: "the node is shutting down".to_owned() },
            Err(_) => Answer::Failed {
                code: crm::TIMEOUT,
                message: format!(
                    "no acknowledgement within {} ms; the change may still take effect",
                    within.as_millis()
                ),
            },
        }
    }

    /// Leaves the ring with resources left running.
    pub async fn leave(&self) -> Done {
        let failed = |code, message| Done { code, message: Some(message), ..Done::default() };
        if let Err(error) = self.must_be_exempt("stop this node").await {
            return failed(error.code, error.message);
        }
        match self.state.asker.ask(|to| Ask::Leave(true, to)).await {
            Some(Ok(())) => Done::default(),
            Some(Err(why)) => failed(crm::ERROR, why.to_string()),
            None => failed(crm::DISCONNECT, "the node is shutting down".to_owned()),
        }
    }

    /// Reads corosync.conf again, on all members.
    pub async fn reload(&self, call: wire::api::ReloadCall) -> Done {
        self.order("reload the configuration", async |asker| {
            if call.logs_only {
                asker.tell(Ask::ReopenLogs).await;
                return Some(Done::default());
            }
            Some(match asker.ask(Ask::Reload).await? {
                Ok(()) => Done::default(),
                Err(why) => Done { code: crm::CONFIG, message: Some(why.join("\n")), ..Done::default() },
            })
        })
        .await
    }

    pub async fn votes(&self, call: wire::api::VotesCall) -> Done {
        self.order("change votes", async |asker| asker.ask(|to| Ask::Votes(call, to)).await).await
    }

    pub async fn kill(&self, call: wire::api::KillCall) -> Done {
        self.order("kill a node", async |asker| asker.ask(|to| Ask::Kill(call.node, to)).await).await
    }

    /// What no ACL can allow: for root and hacluster, where there are ACLs.
    async fn order(&self, what: &str, act: impl AsyncFnOnce(&Asker) -> Option<Done>) -> Done {
        let failed = |code, message| Done { code, message: Some(message), ..Done::default() };
        if let Err(error) = self.must_be_exempt(what).await {
            return failed(error.code, error.message);
        }
        match tokio::time::timeout(ANSWER_WITHIN, act(&self.state.asker)).await {
            Ok(Some(done)) => done,
            Ok(None) => failed(crm::DISCONNECT, "the node is shutting down".to_owned()),
            Err(_) => failed(crm::TIMEOUT, format!("no answer within {} s", ANSWER_WITHIN.as_secs())),
        }
    }

    async fn must_be_exempt(&self, what: &str) -> Result<(), ApiError> {
        let shown = self.state.look().await?;
        match self.limited(&shown) {
            Some(subject) => {
                let rule = "with enable-acl only root and hacluster may".to_owned();
                Err(denied(CibError::Denied { user: subject.user, what: what.to_owned(), rule }))
            }
            None => Ok(()),
        }
    }

    /// Answered without the core task, so that it tells when that hangs.
    pub fn health(&self) -> Health {
        let mut problems = Vec::new();
        let silent = crate::clock::now().since(self.state.ring.last_tick());
        if silent > crate::ring::NOT_READY_AFTER {
            problems.push(format!("the controller has not ticked for {} ms", silent.as_millis()));
        }
        let ring = self.state.ring.status().totem;
        if !ring.current {
            problems.push(format!("the ring is not current ({:?})", ring.state));
        }
        Health { ok: problems.is_empty(), problems }
    }

    /// Work whose length depends on the size of a document: on a thread of its own, so that nothing else waits for it.
    pub async fn heavy<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
        let _turn = self.state.heavy.acquire().await;
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|e| ApiError { code: crm::SOFTWARE, message: format!("the request failed inside the node: {e}") })
    }

    /// Room for a large body.
    pub async fn body_room(&self, bytes: u32) -> Option<tokio::sync::OwnedSemaphorePermit> {
        self.state.body_room.clone().acquire_many_owned(bytes).await.ok()
    }
}

fn denied(error: CibError) -> ApiError {
    ApiError { code: error.exit_code(), message: error.explain() }
}
