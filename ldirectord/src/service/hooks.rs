//! Commands that the configuration asks for: `fallbackcommand` on its edges, `callback` after a change of the file.
//!
//! They run one after the other on a task of their own, each under a deadline, so that an operator's script delays no check.

use super::log::Logger;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::mpsc;

const DEADLINE: Duration = Duration::from_secs(60);
/// Commands that wait; more are dropped with a log line.
const MAX_QUEUE: usize = 1_000;

pub struct Hooks {
    queue: mpsc::Sender<String>,
    logger: Logger,
}

impl Hooks {
    pub fn start(logger: Logger) -> Hooks {
        let (queue, mut lines) = mpsc::channel::<String>(MAX_QUEUE);
        let log = logger.clone();
        tokio::spawn(async move {
            while let Some(line) = lines.recv().await {
                if let Err(why) = run(&line).await {
                    log.log(&format!("system({line}) failed: {why}"));
                }
            }
        });
        Hooks { queue, logger }
    }

    /// Queues a shell command.
    pub fn shell(&self, line: String) {
        if let Err(e) = self.queue.try_send(line) {
            self.logger.log(&format!("system({}) failed: too many commands wait", e.into_inner()));
        }
    }
}

async fn run(line: &str) -> Result<(), String> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", line]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(DEADLINE, command.status()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(status.to_string()),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err(format!("not done within {} s", DEADLINE.as_secs())),
    }
}

/// A word for the shell.
pub fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
