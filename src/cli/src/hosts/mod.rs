//! Other hosts, as their `bascule pcsd` answers: whom this one knows, one request to each of them, and changes of files that all
//! take over or none. See [`wire::pcsd`].

mod change;
mod known;
mod login;
mod talk;

pub use change::{Change, distribute};
pub use known::{Book, authorise, authorised, locked};
pub use login::{Secret, ask, log_in, secret};
pub use talk::{TalkError, Talker};

use crate::edit::error;
use crate::source::Failure;
use kernel::service::{Service, systemd_runs};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use wire::pcsd::{Destination, Places, file};

/// As pcs waits for an answer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// What runs on a node moves away before it stops.
pub const STOPPED_WITHIN: Duration = Duration::from_secs(1230);

/// A host to talk to.
#[derive(Clone, Debug)]
pub struct Target {
    pub name: String,
    pub destinations: Vec<Destination>,
    /// Of its key.
    pub pin: String,
}

/// What each host answered, in the order of the targets.
pub type Answers<T> = Vec<(String, Result<T, TalkError>)>;

pub fn places() -> Places {
    Places::of(|name| std::env::var_os(name))
}

/// The node daemon of this host.
pub fn own_service() -> Service {
    let places = places();
    Service {
        systemd: systemd_runs(),
        program: std::env::current_exe().unwrap_or_else(|_| "/usr/sbin/bascule".into()),
        words: kernel::service::node_words(),
        socket: places.socket,
        log: places.state_dir.join("node.log"),
        mark: places.pcsd.join(file::ENABLED),
    }
}

/// Asks all at once.
pub fn ask_all<T: DeserializeOwned + Send + 'static>(
    talker: &Talker,
    targets: &[Target],
    path: &'static str,
    body: &impl Serialize,
    within: Duration,
) -> Result<Answers<T>, Failure> {
    let body = serde_json::to_vec(body).map_err(|e| error(e.to_string()))?;
    let all = targets.iter().map(|t| (t.clone(), path, body.clone())).collect();
    ask_each(talker, all, within)
}

/// To each its own request, all at once.
pub fn ask_each<T: DeserializeOwned + Send + 'static>(
    talker: &Talker,
    requests: Vec<(Target, &'static str, Vec<u8>)>,
    within: Duration,
) -> Result<Answers<T>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| error(e.to_string()))?;
    let answers = runtime.block_on(async {
        let mut set = tokio::task::JoinSet::new();
        for (number, (target, path, body)) in requests.into_iter().enumerate() {
            let talker = talker.clone();
            set.spawn(async move {
                let answer = talker.ask(&target, path, body, within).await;
                let read =
                    |bytes: Vec<u8>| serde_json::from_slice(&bytes).map_err(|e| TalkError::Protocol(e.to_string()));
                (number, target.name, answer.and_then(read))
            });
        }
        let mut all = set.join_all().await;
        all.sort_by_key(|(number, ..)| *number);
        all.into_iter().map(|(_, name, answer)| (name, answer)).collect()
    });
    // A name that is being looked up is not waited for.
    runtime.shutdown_background();
    Ok(answers)
}

/// Names in quotes, as pcs lists them.
pub fn quoted<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let mut names: Vec<&String> = names.into_iter().collect();
    names.sort();
    names.iter().map(|n| format!("'{n}'")).collect::<Vec<_>>().join(", ")
}

/// All that failed, each by its host; `Ok` with the answers otherwise.
pub fn all_good<T>(answers: Answers<T>) -> Result<Vec<(String, T)>, Vec<String>> {
    let (mut good, mut wrong) = (Vec::new(), Vec::new());
    for (name, answer) in answers {
        match answer {
            Ok(answer) => good.push((name, answer)),
            Err(why) => wrong.push(why.of(&name)),
        }
    }
    if wrong.is_empty() { Ok(good) } else { Err(wrong) }
}
