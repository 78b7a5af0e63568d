//! Logs that hang, are full, or are moved away.

use super::sink::{MAX_LINE_BYTES, Place, QUEUE_LINES, Sink};
use super::*;
use std::io::Write;

struct Dir(PathBuf);

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn dir(name: &str) -> Dir {
    let dir = std::env::temp_dir().join(format!("bascule-log-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    Dir(dir)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// A reload opens the log again with the old settings, and soon after with the new ones; their threads may run in any order.
#[test]
fn a_late_thread_does_not_bring_old_settings_back() {
    let newest = Newest::new();
    newest.ask("old");
    newest.ask("new");
    let carried_out: Vec<&str> = std::thread::scope(|threads| {
        let all: Vec<_> = (0..4).map(|_| threads.spawn(|| newest.serve(|request| request))).collect();
        all.into_iter().filter_map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(carried_out, ["new"]);
    newest.ask("newer");
    assert_eq!((newest.serve(|r| r), newest.serve(|r| r)), (Some("newer"), None));
}

/// A pipe that nobody reads is a log that hangs: opening it waits, and so does writing once it is full.
#[test]
fn a_log_that_hangs_delays_nobody_and_tells_what_it_lost() {
    let dir = dir("hang");
    let path = dir.0.join("log");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut sink = Sink::start(Place::File);
    sink.reopen(Some(path.clone()));
    let lines = QUEUE_LINES * 2;
    let mut longest = Duration::ZERO;
    for n in 0..lines {
        let at = Instant::now();
        sink.write_all(format!("line {n}\n").as_bytes()).unwrap();
        longest = longest.max(at.elapsed());
    }
    // The machine may be busy, but a log that waits would wait for ever.
    assert!(longest < Duration::from_secs(10), "{longest:?}");
    let dropped = sink.dropped();
    assert!(dropped >= (lines - QUEUE_LINES - 1) as u64 && dropped < lines as u64, "{dropped}");
    // Somebody reads again.
    let reader = std::thread::spawn(move || {
        use std::io::{BufRead, BufReader};
        let file = std::fs::File::open(path).unwrap();
        let told = |l: &String| l.contains("log lines were dropped");
        BufReader::new(file).lines().map_while(Result::ok).find(told)
    });
    sink.flush(soon());
    sink.write_all(b"after\n").unwrap();
    let told = reader.join().unwrap().expect("told in the log");
    assert!(told.contains(&dropped.to_string()), "{told}, {dropped}");
}

#[test]
fn a_full_disk_is_counted_and_a_moved_file_opened_again() {
    let dir = dir("move");
    let path = dir.0.join("deep/log");
    let mut sink = Sink::start(Place::File);
    sink.reopen(Some("/dev/full".into()));
    sink.write_all(b"lost\n").unwrap();
    sink.flush(soon());
    assert_eq!(sink.dropped(), 1);
    sink.reopen(Some(path.clone()));
    sink.write_all(b"one\n").unwrap();
    sink.flush(soon());
    std::fs::rename(&path, dir.0.join("log.1")).unwrap();
    sink.reopen(Some(path.clone()));
    sink.write_all(b"two\n").unwrap();
    sink.flush(soon());
    let first = std::fs::read_to_string(dir.0.join("log.1")).unwrap();
    assert!(first.starts_with("one\n") && first.contains("1 log lines were dropped"), "{first}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
    sink.reopen(Some("/dev/null/log".into()));
    assert!(sink.problem(soon()).is_some());
}

#[test]
fn a_line_without_end_is_cut() {
    let dir = dir("long");
    let path = dir.0.join("log");
    let mut sink = Sink::start(Place::File);
    sink.reopen(Some(path.clone()));
    sink.write_all(&vec![b'x'; 1 << 20]).unwrap();
    sink.flush(soon());
    assert_eq!(std::fs::metadata(path).unwrap().len(), MAX_LINE_BYTES as u64 + 4);
}
