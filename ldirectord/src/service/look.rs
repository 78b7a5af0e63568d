//! Looking at all directors of a host at once: what monitoring and the web page do. Blocks.

use super::control::{Request, SOCKET_SUFFIX};
use super::status::Status;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where pid files and sockets of directors are that no cluster runs.
pub const RUN_DIR: &str = "/var/run";
/// A director that does not answer within this is left out.
const WITHIN: Duration = Duration::from_secs(2);
/// Sockets of one directory that are asked.
const MAX_SOCKETS: usize = 256;
/// Of an answer; a status of all servers that a file can have is smaller.
const MAX_ANSWER_BYTES: u64 = 256 << 20;

/// Of every director with a socket in one of the directories, in the order of their files.
pub fn statuses(dirs: &[PathBuf]) -> Vec<Status> {
    let mut places: Vec<PathBuf> = dirs.iter().flat_map(|dir| sockets(dir)).collect();
    // One directory may have two names.
    places = places.iter().map(|p| std::fs::canonicalize(p).unwrap_or_else(|_| p.clone())).collect();
    places.sort();
    places.dedup();
    let mut found: Vec<Status> = places.iter().filter_map(|socket| ask(socket)).collect();
    found.sort_by(|a, b| (&a.config, a.pid).cmp(&(&b.config, b.pid)));
    found
}

/// Of all directors with a socket in `dir`.
pub fn sockets(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let named = |name: &str| name.starts_with("ldirectord.") && name.ends_with(SOCKET_SUFFIX);
    let found = entries.filter(|e| e.file_name().to_str().is_some_and(named)).map(|e| e.path());
    found.take(MAX_SOCKETS).collect()
}

fn ask(socket: &Path) -> Option<Status> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(WITHIN)).and_then(|()| stream.set_write_timeout(Some(WITHIN))).ok()?;
    let mut line = serde_json::to_vec(&Request::Status).ok()?;
    line.push(b'\n');
    stream.write_all(&line).ok()?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).ok()?;
    serde_json::from_slice(&answer).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn one_that_is_dead_or_speaks_nonsense_hides_no_other() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        drop(UnixListener::bind(at("ldirectord.dead.sock")).expect("bound"));
        let answer = |name: &str, text: String| {
            let listener = UnixListener::bind(at(name)).expect("bound");
            std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().expect("asked");
                let mut request = [0; 64];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(text.as_bytes());
            });
        };
        answer("ldirectord.odd.sock", "{\"error\":\"no\"}".to_owned());
        let status = serde_json::json!({"pid": 7, "uptime_ms": 1, "config": "/etc/w.cf", "active": true, "last_reload": null,
            "table_error": null, "refused": [], "repairs": 0, "virtuals": []});
        answer("ldirectord.good.sock", status.to_string());
        let link = dir.path().join("same");
        std::os::unix::fs::symlink(dir.path(), &link).expect("linked");
        let found = statuses(&[dir.path().to_owned(), link, at("nowhere")]);
        assert_eq!(found.iter().map(|s| s.pid).collect::<Vec<_>>(), [7]);
    }
}
