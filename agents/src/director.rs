//! `ocf:heartbeat:ldirectord`: the director, in process.
//!
//! ```text
//!   probe ──► standby ──start──► active ──stop──► standby
//! ```
//!
//! A director on standby checks the real servers but leaves the table alone, so that a start programs a table that is
//! right at once (DESIGN §3.8). `warm_standby=no` gives that up where twice the checks are too many.

use crate::call::{AgentCall, AgentOutcome};
use crate::native::DataPlane;
use base::exit::OcfCode;
use ldirectord::service::{self, Director, LoadError, Logger, Options, Status};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tokio::sync::Mutex;

/// Where the stock agent looks, if `configfile` is not set.
const DEFAULT_CONFIG: &str = "/etc/ha.d/ldirectord.cf";
/// Directors on standby at most; more resources start cold.
const MAX_STANDBY: usize = 64;

/// Directors of this node, active or on standby, by resource.
pub struct Directors {
    data_plane: DataPlane,
    running: Mutex<BTreeMap<String, Running>>,
}

struct Running {
    director: Director,
    config: PathBuf,
    active: bool,
}

impl Directors {
    pub(crate) fn new(data_plane: DataPlane) -> Directors {
        Directors { data_plane, running: Mutex::default() }
    }

    /// State of every director, by resource.
    pub async fn status(&self) -> BTreeMap<String, Status> {
        let mut all = BTreeMap::new();
        for (resource, running) in self.running.lock().await.iter() {
            if let Some(status) = running.director.status().await {
                all.insert(resource.clone(), status);
            }
        }
        all
    }

    async fn start(&self, call: &AgentCall) -> Result<(), AgentOutcome> {
        let config = config_path(call);
        let mut running = self.running.lock().await;
        if let Some(found) = running.get_mut(&call.resource).filter(|r| r.config == config) {
            if found.active {
                return Ok(());
            }
            // The file may have changed while this node was on standby.
            found.director.reload_file().await.map_err(|e| refused(&e))?;
            found.director.set_active(true).await;
            found.active = true;
            return Ok(());
        }
        let director = self.launch(call, Options::default()).await?;
        running.insert(call.resource.clone(), Running { director, config, active: true });
        Ok(())
    }

    /// Clears the table and, on warm standby, goes on checking.
    async fn stop(&self, call: &AgentCall) -> Result<(), AgentOutcome> {
        let mut running = self.running.lock().await;
        let Some(found) = running.get(&call.resource) else { return Ok(()) };
        if !found.active {
            return Ok(());
        }
        let verdicts = found.director.export_verdicts().await;
        let Some(found) = running.remove(&call.resource) else { return Ok(()) };
        let left = found.director.stop("cluster").await;
        if let Some(first) = left.first() {
            let reason = format!("{} entries of the table could not be removed: {}", left.len(), first.error);
            return Err(AgentOutcome::error(reason));
        }
        if warm(call)
            && let Ok(director) = self.launch(call, Options { active: false, verdicts, ..Options::default() }).await
        {
            let config = found.config;
            running.insert(call.resource.clone(), Running { director, config, active: false });
        }
        Ok(())
    }

    async fn monitor(&self, call: &AgentCall) -> AgentOutcome {
        let mut running = self.running.lock().await;
        match running.get(&call.resource) {
            Some(found) if found.active => match found.director.status().await {
                None => AgentOutcome::error("the director has ended unexpectedly"),
                Some(Status { table_error: Some(why), .. }) => AgentOutcome::error(why),
                Some(_) => AgentOutcome::ok(),
            },
            Some(_) => AgentOutcome::not_running(),
            None => {
                if warm(call)
                    && running.len() < MAX_STANDBY
                    && let Ok(director) = self.launch(call, Options { active: false, ..Options::default() }).await
                {
                    let config = config_path(call);
                    running.insert(call.resource.clone(), Running { director, config, active: false });
                }
                AgentOutcome::not_running()
            }
        }
    }

    async fn launch(&self, call: &AgentCall, options: Options) -> Result<Director, AgentOutcome> {
        let path = config_path(call);
        let accepted = load(&path).await.map_err(|e| refused(&e))?;
        let table = (self.data_plane)().map_err(|e| AgentOutcome::error(e.to_string()))?;
        let options = Options { config_path: Some(path), logger: Logger::tracing(), ..options };
        Ok(Director::start(accepted.config, table, options).await)
    }
}

pub(crate) async fn run(call: &AgentCall, directors: &Directors) -> AgentOutcome {
    let result = match call.operation.as_str() {
        "start" => directors.start(call).await,
        "stop" => directors.stop(call).await,
        "monitor" | "status" => return directors.monitor(call).await,
        "validate-all" => load(&config_path(call)).await.map(drop).map_err(|e| refused(&e)),
        other => {
            let reason = format!("ldirectord has no action '{other}'");
            return AgentOutcome::new(OcfCode::UNIMPLEMENTED, reason);
        }
    };
    result.err().unwrap_or_else(AgentOutcome::ok)
}

/// Reading may resolve names, which may block.
async fn load(path: &std::path::Path) -> Result<ldirectord::config::Accepted, LoadError> {
    let path = path.to_owned();
    let loaded = tokio::task::spawn_blocking(move || service::load(&path)).await;
    loaded.unwrap_or(Err(LoadError::Stopped))
}

/// A missing file is a matter of this node, a file with errors one of the configuration.
fn refused(error: &LoadError) -> AgentOutcome {
    let code = match error {
        LoadError::Read { .. } => OcfCode::NOT_INSTALLED,
        LoadError::Refused { .. } => OcfCode::NOT_CONFIGURED,
        LoadError::Stopped => OcfCode::ERROR,
    };
    AgentOutcome::new(code, error.to_string())
}

fn config_path(call: &AgentCall) -> PathBuf {
    PathBuf::from(call.param("configfile").unwrap_or(DEFAULT_CONFIG))
}

fn warm(call: &AgentCall) -> bool {
    call.flag("warm_standby", true)
}
