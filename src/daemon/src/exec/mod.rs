//! Runs agents: native ones in this process, all others as child processes.
//!
//! Each call has one deadline. A call that passes it is reported as `Timeout`: what it did is unknown, it has not
//! "failed". Dropping the future of a call ends it: a child's whole process group is killed.

mod child;
mod env;
pub mod fence;
mod lsb;
mod ocf;
mod systemd;

#[cfg(test)]
mod tests;

pub use child::{MAX_OUTPUT_BYTES, Output};

use base::Reason;
use base::exit::OcfCode;
use controller::{ExecRequest, ExecResult, OpStatus};
use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where agents are, and what they are told about this host.
#[derive(Clone, Debug)]
pub struct Places {
    /// `OCF_ROOT`; agents are in its `resource.d/PROVIDER/`.
    pub ocf_root: PathBuf,
    pub init_d: PathBuf,
    pub systemctl: PathBuf,
    /// Where fence agents are.
    pub fence_agents: PathBuf,
    /// Put before `PATH`, so that agents find the helper commands.
    pub helpers: Option<PathBuf>,
    /// Passed on, so that the helper commands find this node.
    pub run_dir: PathBuf,
}

impl Places {
    pub fn standard(run_dir: PathBuf) -> Places {
        Places {
            ocf_root: std::env::var_os("OCF_ROOT").map_or_else(|| "/usr/lib/ocf".into(), PathBuf::from),
            init_d: "/etc/init.d".into(),
            systemctl: "systemctl".into(),
            fence_agents: "/usr/sbin".into(),
            helpers: None,
            run_dir,
        }
    }
}

/// A call of an agent that lives in this process.
#[derive(Clone, Debug)]
pub struct NativeCall {
    pub resource: String,
    pub agent: String,
    pub operation: String,
    /// Instance parameters, without `CRM_meta_*`.
    pub params: BTreeMap<String, String>,
    pub timeout: Duration,
}

/// Agents that live in this process.
pub trait Native: Send + Sync {
    fn knows(&self, agent: &str) -> bool;
    /// Result code and reason.
    fn run(&self, call: NativeCall) -> Pin<Box<dyn Future<Output = (OcfCode, String)> + Send>>;
}

/// The runner. Cheap to clone; calls run side by side, their number is the controller's business.
#[derive(Clone)]
pub struct Runner {
    native: Option<Arc<dyn Native>>,
    places: Arc<Places>,
}

/// How a call ended, before its time is added.
pub(crate) struct Ended {
    pub code: OcfCode,
    pub status: OpStatus,
    pub reason: String,
}

impl Ended {
    pub fn new(code: OcfCode, status: OpStatus, reason: impl Into<String>) -> Ended {
        Ended { code, status, reason: reason.into() }
    }

    pub fn done(code: OcfCode, reason: impl Into<String>) -> Ended {
        Ended::new(code, OpStatus::Done, reason)
    }

    pub fn not_installed(reason: impl Into<String>) -> Ended {
        Ended::new(OcfCode::NOT_INSTALLED, OpStatus::NotInstalled, reason)
    }

    fn timeout(request: &ExecRequest) -> Ended {
        let reason =
            format!("{} did not finish within {} ms; what it did is unknown", request.operation, request.timeout_ms);
        Ended::new(OcfCode::ERROR, OpStatus::Timeout, reason)
    }
}

impl Runner {
    pub fn new(native: Option<Arc<dyn Native>>, places: Places) -> Runner {
        Runner { native, places: Arc::new(places) }
    }

    pub fn places(&self) -> Arc<Places> {
        self.places.clone()
    }

    /// Whether this call runs inside this process.
    pub fn is_native(&self, request: &ExecRequest) -> bool {
        let provider = request.provider.as_deref().unwrap_or("heartbeat");
        request.class == "ocf"
            && matches!(provider, "heartbeat" | "pacemaker" | "bascule")
            && self.native.as_ref().is_some_and(|n| n.knows(&request.agent))
    }

    /// Runs one operation to its end or its deadline.
    pub async fn run(&self, request: &ExecRequest) -> ExecResult {
        let begun = Instant::now();
        let ended = self.dispatch(request, begun + Duration::from_millis(request.timeout_ms.max(1))).await;
        let exec_ms = begun.elapsed().as_millis() as u64;
        ExecResult {
            code: ended.code,
            status: ended.status,
            reason: Reason::cleaned(&ended.reason),
            exec_ms,
            queue_ms: 0,
        }
    }

    async fn dispatch(&self, request: &ExecRequest, deadline: Instant) -> Ended {
        if self.is_native(request) {
            return self.native(request, deadline).await;
        }
        match request.class.as_str() {
            "ocf" => ocf::run(&self.places, request, deadline).await,
            "lsb" => lsb::run(&self.places, request, deadline).await,
            "systemd" => systemd::run(&self.places, request, deadline).await,
            "stonith" => fence::resource(&self.places, request, deadline).await,
            "service" if lsb::exists(&self.places, &request.agent) => lsb::run(&self.places, request, deadline).await,
            "service" => systemd::run(&self.places, request, deadline).await,
            class => Ended::not_installed(format!("resource class `{class}` cannot be run here")),
        }
    }

    /// A native agent in a task of its own, so that a panic in it is its own failure.
    async fn native(&self, request: &ExecRequest, deadline: Instant) -> Ended {
        let Some(native) = self.native.clone() else {
            return Ended::not_installed("no native agents");
        };
        let call = NativeCall {
            resource: request.resource.clone(),
            agent: request.agent.clone(),
            operation: request.operation.clone(),
            params: request
                .params
                .iter()
                .filter(|(k, _)| !k.starts_with("CRM_meta_"))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
            // This side keeps the deadline, to tell a late call from a failed one.
            timeout: Duration::from_millis(request.timeout_ms) + Duration::from_secs(1),
        };
        let mut task = AbortOnDrop(tokio::spawn(async move { native.run(call).await }));
        match tokio::time::timeout_at(deadline.into(), &mut task.0).await {
            Err(_) => Ended::timeout(request),
            Ok(Ok((code, reason))) => Ended::done(code, reason),
            Ok(Err(error)) if error.is_panic() => {
                let text = panic_text(error.into_panic());
                tracing::error!(agent = request.agent, resource = request.resource, "native agent panicked: {text}");
                Ended::new(OcfCode::ERROR, OpStatus::Error, format!("the agent panicked: {text}"))
            }
            Ok(Err(_)) => Ended::new(OcfCode::ERROR, OpStatus::Cancelled, "cancelled"),
        }
    }
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn panic_text(payload: Box<dyn std::any::Any + Send>) -> String {
    let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
