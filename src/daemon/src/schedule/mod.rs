//! The scheduler in a process of its own, so that no configuration can take the node along: a run that overflows its stack,
//! panics, or outgrows its memory or its time is a failed transition and nothing more.
//!
//! ```text
//! core task --Job--> thread (here) --frame--> worker process --frame--> thread --Answer--> core task
//!                       '-- late or dead: killed, its input kept for `crm_simulate -x`, started again for the next job
//! ```
//!
//! The newest job counts: those that wait when the thread is free are skipped. Only [`start`] makes threads and processes.

mod frame;
mod inputs;
mod kept;
mod worker;

pub(crate) use worker::run as run_worker;

use base::WallTime;
use frame::Order;
use inputs::Inputs;
use kept::Kept;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use xml::Element;

/// Name of the hidden applet that is the worker.
pub(crate) const APPLET: &str = "schedule-worker";
/// Longest run; a configuration that needs more is not one for a cluster.
const LONGEST: Duration = Duration::from_secs(120);
/// Kept of what the worker says on standard error before it dies.
const LAST_WORDS_BYTES: usize = 2048;
/// How long a dying worker's exit status and last words are waited for.
const BURIAL: Duration = Duration::from_secs(2);

pub(crate) struct Job {
    pub ticket: u64,
    pub cib: Arc<Element>,
    pub wall: WallTime,
}

pub(crate) type Answer = (u64, Result<Box<scheduler::Schedule>, String>);

/// Why there is no transition.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the scheduler's process does not start: {0}")]
    Start(std::io::Error),
    #[error("the scheduler's process died ({how}) {words}")]
    Died { how: String, words: String },
    #[error("no transition within {} s: the run was ended", LONGEST.as_secs())]
    Late,
    /// The scheduler's own answer.
    #[error("{0}")]
    Refused(String),
    #[error("the scheduler panicked; the log has the place")]
    Panicked,
}

impl Failure {
    /// Whether the input should be looked at by those who keep the scheduler.
    fn is_a_fault(&self) -> bool {
        matches!(self, Failure::Died { .. } | Failure::Late | Failure::Panicked)
    }
}

/// Starts the thread and the first worker. Inputs are kept below `state_dir`: of failed runs, and of all that led to something.
pub(crate) fn start(
    done: tokio::sync::mpsc::UnboundedSender<Answer>,
    state_dir: PathBuf,
) -> std::io::Result<mpsc::Sender<Job>> {
    let (jobs, inbox) = mpsc::channel::<Job>();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("schedule".into()).spawn(move || {
        let mut worker = None;
        let mut kept = Kept::new(state_dir.join("failed-transitions"));
        let inputs = Inputs::new(state_dir.join(wire::api::INPUTS_DIR));
        runtime.block_on(async { worker = Worker::start().inspect_err(|e| tracing::error!("{e}")).ok() });
        while let Ok(first) = inbox.recv() {
            let job = inbox.try_iter().last().unwrap_or(first);
            let result = runtime.block_on(run(&mut worker, &job)).inspect(|s| inputs.keep(&job.cib, job.wall, s));
            let result = result.map_err(|failure| {
                if failure.is_a_fault() { kept.keep(&job.cib, &failure.to_string()) } else { failure.to_string() }
            });
            if done.send((job.ticket, result)).is_err() {
                return;
            }
        }
    })?;
    Ok(jobs)
}

/// One run; whatever went wrong, the next one finds a fresh worker.
async fn run(slot: &mut Option<Worker>, job: &Job) -> Result<Box<scheduler::Schedule>, Failure> {
    let mut worker = match slot.take().and_then(Worker::alive) {
        Some(worker) => worker,
        None => Worker::start()?,
    };
    let order = Order { transition: (job.ticket & 0x7fff_ffff) as u32, wall: job.wall, cib: job.cib.to_compact() };
    match tokio::time::timeout(LONGEST, worker.ask(&order)).await {
        Ok(Ok(reply)) => {
            *slot = Some(worker);
            match reply {
                frame::Reply::Schedule(schedule) => Ok(schedule),
                frame::Reply::Refused(text) => Err(Failure::Refused(text)),
                frame::Reply::Panicked => Err(Failure::Panicked),
            }
        }
        Ok(Err(_)) => Err(worker.bury().await),
        Err(_) => {
            let _ = worker.child.start_kill();
            Err(Failure::Late)
        }
    }
}

struct Worker {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    words: tokio::task::JoinHandle<String>,
}

impl Worker {
    fn start() -> Result<Worker, Failure> {
        // The program that runs, also where an upgrade has replaced its file.
        let mut command = Command::new("/proc/self/exe");
        command.arg0(APPLET).env_clear().current_dir("/").kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(Failure::Start)?;
        let missing = || Failure::Start(std::io::Error::other("a pipe is missing"));
        let input = child.stdin.take().ok_or_else(missing)?;
        let output = BufReader::new(child.stdout.take().ok_or_else(missing)?);
        let words = tokio::spawn(last_words(child.stderr.take()));
        Ok(Worker { child, input, output, words })
    }

    fn alive(mut self) -> Option<Worker> {
        matches!(self.child.try_wait(), Ok(None)).then_some(self)
    }

    /// Writes and reads side by side: neither end may wait for the other with a full pipe.
    async fn ask(&mut self, order: &Order) -> std::io::Result<frame::Reply> {
        let bytes = order.to_bytes();
        let write = async {
            self.input.write_all(&bytes).await?;
            self.input.flush().await
        };
        let ((), reply) = tokio::try_join!(write, read_reply(&mut self.output))?;
        Ok(reply)
    }

    /// What the dead one left: how it ended, and what it said last.
    async fn bury(mut self) -> Failure {
        // One that merely closed its pipes is of no use either.
        let how = match tokio::time::timeout(BURIAL, self.child.wait()).await {
            Ok(Ok(status)) => status.to_string(),
            _ => "it does not answer".to_owned(),
        };
        let _ = self.child.start_kill();
        let words = tokio::time::timeout(BURIAL, self.words).await;
        let words = words.ok().and_then(Result::ok).unwrap_or_default();
        Failure::Died { how, words: words.split_whitespace().collect::<Vec<_>>().join(" ") }
    }
}

async fn read_reply(output: &mut (impl AsyncRead + Unpin)) -> std::io::Result<frame::Reply> {
    let length = output.read_u64_le().await?;
    if length > frame::MAX_BYTES {
        return Err(std::io::Error::other(format!(
            "a reply of {length} bytes; at most {} are taken",
            frame::MAX_BYTES
        )));
    }
    let mut bytes = vec![0; length as usize];
    output.read_exact(&mut bytes).await?;
    serde_json::from_slice(&bytes).map_err(std::io::Error::other)
}

/// Reads to the end, keeps the newest bytes, and logs each line as it comes.
async fn last_words(stderr: Option<ChildStderr>) -> String {
    let Some(mut stderr) = stderr else { return String::new() };
    let (mut kept, mut buffer) = (Vec::new(), [0; 1024]);
    while let Ok(n @ 1..) = stderr.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..n]);
        let surplus = kept.len().saturating_sub(LAST_WORDS_BYTES);
        kept.drain(..surplus);
    }
    let text = String::from_utf8_lossy(&kept).into_owned();
    text.lines().filter(|l| !l.trim().is_empty()).for_each(|line| tracing::error!("scheduler: {line}"));
    text
}
