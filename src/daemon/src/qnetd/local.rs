//! The local socket, in the line protocol of `corosync-qnetd-tool`: one command, `OK` or `Error`, a text.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Commands that wait for the core.
pub(super) const WAITING: usize = 16;
/// Longest command.
const MAX_LINE: u64 = 4 * 1024;
/// For one command and its answer.
const WITHIN: Duration = Duration::from_secs(10);
/// What an arbitrator that stops waits for the answers under way.
const FAREWELL: Duration = Duration::from_secs(1);
/// Tools that are connected at once.
const MAX_TOOLS: usize = 10;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Command {
    Status {
        verbose: bool,
    },
    List {
        verbose: bool,
        cluster: Option<String>,
    },
    /// Ours: the list for programs.
    Json,
    Shutdown,
    Unknown(String),
}

pub(super) struct Ask {
    pub command: Command,
    pub to: oneshot::Sender<Result<String, String>>,
}

pub(super) fn bind(path: &Path) -> io::Result<UnixListener> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(named)?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(named(io::Error::new(io::ErrorKind::AddrInUse, "an arbitrator answers there")));
    }
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).map_err(named)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(named)?;
    Ok(listener)
}

/// Held as long as the file is open.
pub(super) fn lock(path: &Path) -> io::Result<std::fs::File> {
    use io::Write;
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let mut file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    file.try_lock().map_err(|_| io::Error::other(format!("{}: another process has it", path.display())))?;
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}

/// Tools that are connected.
#[derive(Clone)]
pub(super) struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Places {
        Places(Arc::new(Semaphore::new(MAX_TOOLS)))
    }
}

impl Places {
    /// Until each has its answer, but not for long.
    pub async fn answered(&self) {
        let all = u32::try_from(MAX_TOOLS).unwrap_or(u32::MAX);
        let _ = tokio::time::timeout(FAREWELL, self.0.acquire_many(all)).await;
    }
}

pub(super) async fn serve(listener: UnixListener, asks: mpsc::Sender<Ask>, Places(places): Places) {
    while let Ok((stream, _)) = listener.accept().await {
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let asks = asks.clone();
        tokio::spawn(async move {
            let _ = tokio::time::timeout(WITHIN, answer(stream, asks)).await;
            drop(place);
        });
    }
}

async fn answer(stream: UnixStream, asks: mpsc::Sender<Ask>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(MAX_LINE)).read_line(&mut line).await?;
    let (to, answer) = oneshot::channel();
    let _ = asks.send(Ask { command: parse(&line), to }).await;
    let text = match answer.await {
        Ok(Ok(text)) => format!("OK\n{text}"),
        Ok(Err(why)) => format!("Error\n{why}\n"),
        Err(_) => "Error\nthe arbitrator is stopping\n".to_owned(),
    };
    write.write_all(text.as_bytes()).await?;
    write.shutdown().await
}

fn parse(line: &str) -> Command {
    // The original's tool ends its line with a zero.
    let line: String = line.chars().filter(|c| !matches!(c, '\0' | '\r' | '\n')).collect();
    let mut words = crate::qnet::words(&line).into_iter();
    let command = words.next().unwrap_or_default().to_ascii_lowercase();
    let (mut verbose, mut cluster, mut json) = (false, None, false);
    while let Some(word) = words.next() {
        match word.to_ascii_lowercase().as_str() {
            "verbose" => verbose = true,
            "json" => json = true,
            "cluster" => cluster = words.next(),
            _ => break,
        }
    }
    match command.as_str() {
        "status" => Command::Status { verbose },
        "list" if json => Command::Json,
        "list" => Command::List { verbose, cluster },
        "shutdown" => Command::Shutdown,
        _ => Command::Unknown(command),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_as_the_originals_tool_writes_them() {
        assert_eq!(parse("status verbose \n\0"), Command::Status { verbose: true });
        let list = |verbose, cluster: Option<&str>| Command::List { verbose, cluster: cluster.map(str::to_owned) };
        assert_eq!(parse("list \n"), list(false, None));
        assert_eq!(parse("list verbose cluster \"a \\\"b\" \n"), list(true, Some("a \"b")));
        assert_eq!(parse("LIST json\n"), Command::Json);
        assert_eq!(parse("shutdown\n"), Command::Shutdown);
        assert_eq!(parse(""), Command::Unknown(String::new()));
        assert_eq!(parse("boil water"), Command::Unknown("boil".to_owned()));
    }
}
