//! The thread of the state directory on disks that fail and recover.

use super::*;
use crate::store::Real;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Takes nothing while told so.
struct Flaky {
    fails: Arc<AtomicBool>,
}

impl Flaky {
    fn check(&self) -> io::Result<()> {
        if self.fails.load(Ordering::Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl Disk for Flaky {
    fn make_dir(&mut self, dir: &Path) -> io::Result<()> {
        Real::new().make_dir(dir)
    }

    fn write(&mut self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        self.check()?;
        Real::new().write(file, bytes)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        Real::new().rename(from, to)
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.check()?;
        Real::new().sync_dir(dir)
    }

    fn remove(&mut self, file: &Path) -> io::Result<()> {
        Real::new().remove(file)
    }

    fn link_to(&mut self, target: &str, temporary: &Path, link: &Path) -> io::Result<()> {
        Real::new().link_to(target, temporary, link)
    }
}

struct Bench {
    keeper: Keeper,
    writer: Writer<Flaky>,
    notes: UnboundedReceiver<Note>,
    fails: Arc<AtomicBool>,
    dir: PathBuf,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn bench(name: &str) -> Bench {
    let dir = std::env::temp_dir().join(format!("bascule-keep-{}-{name}", std::process::id()));
    let fails = Arc::new(AtomicBool::new(false));
    let (store, _) = Store::with_disk(&dir, Flaky { fails: fails.clone() });
    let (to, notes) = unbounded_channel();
    let keeper = Keeper { shared: Arc::default() };
    let writer = Writer::new(store, keeper.shared.clone(), to);
    Bench { keeper, writer, notes, fails, dir }
}

impl Bench {
    fn save(&self, ticket: u64) {
        let cib = Element::new("cib").with("n", ticket.to_string());
        self.keeper.cib(ticket, Arc::new(cib), "1.1".to_owned());
    }

    fn stored(&mut self) -> Vec<(u64, bool)> {
        let mut all = Vec::new();
        while let Ok(note) = self.notes.try_recv() {
            if let Note::Stored { ticket, written } = note {
                all.push((ticket, written));
            }
        }
        all
    }

    fn on_disk(&self) -> Option<String> {
        Store::open(&self.dir).1.cib.map(|(xml, _)| xml)
    }
}

#[test]
fn what_failed_is_written_once_there_is_room() {
    let mut b = bench("room");
    b.save(1);
    b.writer.turn();
    assert_eq!((b.stored(), b.keeper.trouble()), (vec![(1, true)], None));
    b.fails.store(true, Ordering::Relaxed);
    b.save(2);
    b.writer.turn();
    b.writer.turn();
    b.writer.turn();
    assert_eq!(b.stored(), [(2, false)], "told once, however often it is tried");
    assert!(
        b.keeper.trouble().is_some_and(|t| t.contains("cib.") && t.contains("tried again")),
        "{:?}",
        b.keeper.trouble()
    );
    assert!(b.on_disk().is_some_and(|x| x.contains("\"1\"")));
    b.fails.store(false, Ordering::Relaxed);
    b.writer.turn();
    assert_eq!((b.stored(), b.keeper.trouble()), (vec![(2, true)], None), "without anyone asking again");
    assert!(b.on_disk().is_some_and(|x| x.contains("\"2\"")));
}

#[test]
fn only_the_newest_waits_and_the_pause_grows() {
    let mut b = bench("newest");
    b.fails.store(true, Ordering::Relaxed);
    for ticket in 1..=500 {
        b.save(ticket);
    }
    b.writer.turn();
    for ticket in 501..=504 {
        b.save(ticket);
        b.writer.turn();
    }
    assert_eq!(b.stored(), [(500, false), (501, false), (502, false), (503, false), (504, false)]);
    assert_eq!(b.writer.pause, FIRST_PAUSE * 16);
    b.fails.store(false, Ordering::Relaxed);
    b.save(505);
    b.writer.turn();
    assert_eq!(b.stored(), [(505, true)], "it holds all before it");
    assert_eq!(b.writer.pause, FIRST_PAUSE);
}

#[test]
fn discarded_contents_wait_too_but_not_without_end() {
    let mut b = bench("discarded");
    b.fails.store(true, Ordering::Relaxed);
    for n in 0..MAX_WAITING_DISCARDS + 3 {
        b.keeper.discarded(Arc::new(Element::new("cib").with("n", n.to_string())), "merge".to_owned());
    }
    b.writer.turn();
    assert!(b.keeper.trouble().is_some_and(|t| t.contains("3 discarded")), "{:?}", b.keeper.trouble());
    b.fails.store(false, Ordering::Relaxed);
    b.writer.turn();
    let files = std::fs::read_dir(b.dir.join("discarded")).unwrap().count();
    assert_eq!(files, MAX_WAITING_DISCARDS);
}

#[test]
fn ring_numbers_are_reserved_ahead_and_nobody_waits() {
    let mut b = bench("ring");
    assert!(!b.keeper.reserve(100), "not yet");
    b.writer.turn();
    assert!(b.keeper.reserve(100) && b.keeper.reserve(100 + RING_SEQ_BLOCK / 2 - 1));
    b.fails.store(true, Ordering::Relaxed);
    assert!(b.keeper.reserve(100 + RING_SEQ_BLOCK - 1), "still reserved, but more are wanted");
    b.writer.turn();
    assert!(!b.keeper.reserve(100 + RING_SEQ_BLOCK));
    b.fails.store(false, Ordering::Relaxed);
    b.writer.turn();
    assert!(b.keeper.reserve(100 + RING_SEQ_BLOCK));
}

#[test]
fn a_flush_is_answered_though_the_disk_fails() {
    let mut b = bench("flush");
    b.fails.store(true, Ordering::Relaxed);
    b.save(1);
    let mut done = b.keeper.flush();
    b.writer.turn();
    assert!(done.try_recv().is_ok());
}
