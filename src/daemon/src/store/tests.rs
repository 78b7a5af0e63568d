use super::*;
use std::sync::atomic::{AtomicU32, Ordering};

struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let dir = std::env::temp_dir().join(format!(
            "bascule-store-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        std::fs::create_dir_all(&dir).unwrap();
        Dir(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Lets `budget` operations through; the next one is torn, all later ones fail: a crash.
struct Crashing {
    budget: u32,
    torn: bool,
}

impl Crashing {
    fn step(&mut self, half: impl FnOnce()) -> io::Result<()> {
        if self.budget == 0 {
            if !self.torn {
                self.torn = true;
                half();
            }
            return Err(io::Error::other("crashed"));
        }
        self.budget -= 1;
        Ok(())
    }
}

impl Disk for Crashing {
    fn make_dir(&mut self, dir: &Path) -> io::Result<()> {
        Real::new().make_dir(dir)
    }

    fn write(&mut self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        self.step(|| std::fs::write(file, &bytes[..bytes.len() / 2]).unwrap())?;
        Real::new().write(file, bytes)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(|| ())?;
        Real::new().rename(from, to)
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.step(|| ())?;
        Real::new().sync_dir(dir)
    }

    fn remove(&mut self, file: &Path) -> io::Result<()> {
        self.step(|| ())?;
        Real::new().remove(file)
    }

    fn link_to(&mut self, target: &str, temporary: &Path, link: &Path) -> io::Result<()> {
        self.step(|| ())?;
        Real::new().link_to(target, temporary, link)
    }
}

fn load(dir: &Dir) -> Loaded {
    Store::open(&dir.0).1
}

#[test]
fn what_was_saved_is_loaded() {
    let dir = Dir::new();
    let (mut store, first) = Store::open(&dir.0);
    assert_eq!(first, Loaded { ring_seq: Some(0), ..Loaded::default() });
    assert_eq!(store.save_cib("<cib a='1'/>", "5.1").unwrap(), 1);
    assert_eq!(store.save_cib("<cib a='2'/>", "6.1").unwrap(), 2);
    assert_eq!(store.reserve_ring_seq(40).unwrap(), 40 + RING_SEQ_BLOCK);
    let loaded = load(&dir);
    assert_eq!(loaded.cib, Some(("<cib a='2'/>".into(), "6.1".into())));
    assert_eq!((loaded.generation, loaded.ring_seq), (2, Some(40 + RING_SEQ_BLOCK)));
    assert_eq!(loaded.damage, Vec::<String>::new());
    assert_eq!(std::fs::read_to_string(dir.0.join("cib.xml")).unwrap(), "<cib a='2'/>");
}

#[test]
fn a_crash_at_any_step_leaves_the_old_or_the_new() {
    let mut outcomes = std::collections::BTreeSet::new();
    for budget in 0..40 {
        let dir = Dir::new();
        Store::open(&dir.0).0.save_cib("<cib>old</cib>", "1.1").unwrap();
        let (mut store, _) = Store::with_disk(&dir.0, Crashing { budget, torn: false });
        let saved = store.save_cib("<cib>new</cib>", "2.1").is_ok();
        let found = load(&dir).cib.unwrap();
        assert!(
            found == ("<cib>old</cib>".into(), "1.1".into()) || found == ("<cib>new</cib>".into(), "2.1".into()),
            "{budget}: {found:?}"
        );
        assert!(!saved || found.1 == "2.1", "budget {budget}: reported as saved, but lost");
        outcomes.insert((saved, found.1));
        // and the next start goes on from there
        let (mut next, _) = Store::open(&dir.0);
        next.save_cib("<cib>next</cib>", "3.1").unwrap();
        assert_eq!(load(&dir).cib.unwrap().1, "3.1");
    }
    assert!(outcomes.contains(&(false, "1.1".into())) && outcomes.contains(&(true, "2.1".into())));
}

#[test]
fn damage_falls_back_one_generation_and_is_reported() {
    type Damage = fn(&Path);
    let ways: [Damage; 5] = [
        |d| std::fs::write(d.join("cib.2.xml"), "<cib>ne").unwrap(),
        |d| std::fs::write(d.join("cib.2.xml"), [0xff, 0xfe]).unwrap(),
        |d| std::fs::remove_file(d.join("cib.2.sha256")).unwrap(),
        |d| std::fs::write(d.join("cib.2.sha256"), "").unwrap(),
        |d| {
            std::fs::write(
                d.join("cib.2.sha256"),
                std::fs::read_to_string(d.join("cib.2.sha256")).unwrap().replace("2.1", "9.1"),
            )
            .unwrap()
        },
    ];
    for damage in ways {
        let dir = Dir::new();
        let (mut store, _) = Store::open(&dir.0);
        store.save_cib("<cib>old</cib>", "1.1").unwrap();
        store.save_cib("<cib>new</cib>", "2.1").unwrap();
        store.reserve_ring_seq(4).unwrap();
        damage(&dir.0);
        let loaded = load(&dir);
        assert_eq!(loaded.cib, Some(("<cib>old</cib>".into(), "1.1".into())));
        assert_eq!(loaded.damage.len(), 1, "{:?}", loaded.damage);
        assert!(loaded.damage[0].contains("cib.2"), "{:?}", loaded.damage);
        assert_eq!(loaded.generation, 2, "the damaged one is not written over");
    }
}

#[test]
fn an_operators_cib_is_taken_into_an_empty_directory() {
    let dir = Dir::new();
    std::fs::write(dir.0.join("cib.xml"), "<cib/>").unwrap();
    assert_eq!(load(&dir).cib, Some(("<cib/>".into(), String::new())));
    let (mut store, _) = Store::open(&dir.0);
    store.save_cib("<cib>2</cib>", "1.1").unwrap();
    assert_eq!(load(&dir).cib.unwrap().0, "<cib>2</cib>");
}

#[test]
fn generations_and_discarded_files_are_bounded() {
    let dir = Dir::new();
    let (mut store, _) = Store::open(&dir.0);
    for n in 0..30 {
        store.save_cib(&format!("<cib n='{n}'/>"), "1.1").unwrap();
    }
    assert_eq!(generations(&dir.0).unwrap(), (21..=30).collect::<Vec<u64>>());
    for n in 0..MAX_DISCARDED + 3 {
        store.save_discarded(&format!("2026-{n:04}"), "<cib/>").unwrap();
    }
    let left = names(&dir.0.join("discarded"));
    assert_eq!(left.len(), MAX_DISCARDED);
    assert!(!left.contains(&"2026-0000-0.xml".to_owned()));
    assert_ne!(store.save_discarded("same", "<a/>").unwrap(), store.save_discarded("same", "<b/>").unwrap());
}

#[test]
fn a_ring_number_that_cannot_be_believed_is_told_and_replaced() {
    let wall = base::WallTime::from_secs(1_800_000_000);
    for text in ["many", "", "18446744073709551615", "18446744073709551616", "-1", "4\n5"] {
        let dir = Dir::new();
        let (mut store, _) = Store::open(&dir.0);
        store.save_cib("<cib/>", "900.1 x").unwrap();
        std::fs::write(dir.0.join("ring_seq"), text).unwrap();
        let loaded = load(&dir);
        assert_eq!((loaded.ring_seq, loaded.damage.len()), (None, 1), "{text}");
        let first = loaded.first_ring_seq(wall);
        assert!(first > 100_000_000_000 && first < MAX_RING_SEQ, "{text}: {first}");
        store.reserve_ring_seq(first).unwrap();
        assert_eq!(load(&dir).ring_seq, Some(first + RING_SEQ_BLOCK), "and the file is good again");
    }
    // The file is gone while there is a CIB; or it is older than the CIB, whose last write was the better one.
    let dir = Dir::new();
    let (mut store, _) = Store::open(&dir.0);
    store.save_cib("<cib/>", "900.1 x").unwrap();
    assert_eq!((load(&dir).ring_seq, load(&dir).damage.len()), (None, 1));
    store.reserve_ring_seq(8).unwrap();
    assert_eq!(load(&dir).first_ring_seq(wall), 8 + RING_SEQ_BLOCK);
    store.save_cib("<cib/>", "90000.1 x").unwrap();
    assert_eq!(load(&dir).first_ring_seq(wall), 90_000);
}

#[test]
fn a_crash_leaves_nothing_temporary_and_a_failure_nothing_at_all() {
    let half = |dir: &Dir| -> Vec<String> {
        let mut all = names(&dir.0);
        all.extend(names(&dir.0.join("discarded")));
        let unfinished =
            |n: &str| n.ends_with(".xml") && n != "cib.xml" && !all.contains(&n.replace(".xml", ".sha256"));
        all.iter().filter(|n| n.ends_with(".tmp") || (n.starts_with("cib.") && unfinished(n))).cloned().collect()
    };
    for budget in 0..12 {
        let dir = Dir::new();
        Store::open(&dir.0).0.save_cib("<cib>old</cib>", "1.1").unwrap();
        // A failure: the disk takes no more bytes, but files can be removed.
        let mut store = Store::with_disk(&dir.0, Full { budget }).0;
        let saved = store.save_cib("<cib>new</cib>", "2.1").is_ok();
        assert!(saved || half(&dir).is_empty(), "budget {budget}: {:?}", half(&dir));
        // A crash: what it leaves goes with the next write.
        let mut store = Store::with_disk(&dir.0, Crashing { budget, torn: false }).0;
        let _ = store.save_cib("<cib>newer</cib>", "3.1");
        let _ = store.save_discarded("x", "<cib/>");
        Store::open(&dir.0).0.save_cib("<cib>next</cib>", "4.1").unwrap();
        assert!(!half(&dir).iter().any(|n| n.ends_with(".tmp")), "budget {budget}: {:?}", half(&dir));
    }
}

/// Has room for so many files.
struct Full {
    budget: u32,
}

impl Full {
    fn room(&mut self) -> io::Result<()> {
        self.budget = self.budget.checked_sub(1).ok_or_else(|| io::Error::from(io::ErrorKind::StorageFull))?;
        Ok(())
    }
}

impl Disk for Full {
    fn make_dir(&mut self, dir: &Path) -> io::Result<()> {
        Real::new().make_dir(dir)
    }

    fn write(&mut self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        std::fs::write(file, &bytes[..bytes.len() / 2])?;
        self.room()?;
        Real::new().write(file, bytes)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.room()?;
        Real::new().rename(from, to)
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.room()?;
        Real::new().sync_dir(dir)
    }

    fn remove(&mut self, file: &Path) -> io::Result<()> {
        Real::new().remove(file)
    }

    fn link_to(&mut self, target: &str, temporary: &Path, link: &Path) -> io::Result<()> {
        std::os::unix::fs::symlink(target, temporary)?;
        self.room()?;
        std::fs::rename(temporary, link)
    }
}

#[test]
fn nothing_intact_is_not_the_same_as_nothing() {
    let dir = Dir::new();
    assert!(!load(&dir).lost, "a first start");
    std::fs::write(dir.0.join("cib.1.xml"), "<cib/>").unwrap();
    assert!(!load(&dir).lost, "a first write that was cut short");
    std::fs::remove_file(dir.0.join("cib.1.xml")).unwrap();
    let (mut store, _) = Store::open(&dir.0);
    store.save_cib("<cib>1</cib>", "1.1").unwrap();
    store.save_cib("<cib>2</cib>", "1.1").unwrap();
    for n in 1..=2 {
        std::fs::write(dir.0.join(format!("cib.{n}.xml")), "<cib>edited</cib>").unwrap();
    }
    let loaded = load(&dir);
    assert!(loaded.lost && loaded.cib.is_none());
    assert_eq!(loaded.damage.iter().filter(|d| d.contains("sha256") || d.contains("digest")).count(), 2);
    // What was damaged stays as evidence while this process writes on.
    let (mut store, _) = Store::open(&dir.0);
    for n in 0..30 {
        store.save_cib(&format!("<cib n='{n}'/>"), "none").unwrap();
    }
    assert!(dir.0.join("cib.1.xml").exists() && dir.0.join("cib.2.xml").exists());
}

#[test]
fn a_generation_number_out_of_this_world_is_passed_over() {
    let dir = Dir::new();
    let (mut store, _) = Store::open(&dir.0);
    store.save_cib("<cib>1</cib>", "1.1").unwrap();
    std::fs::write(dir.0.join(format!("cib.{}.xml", u64::MAX)), "<cib/>").unwrap();
    let (mut store, loaded) = Store::open(&dir.0);
    assert_eq!(loaded.generation, 1);
    assert_eq!(store.save_cib("<cib>2</cib>", "1.1").unwrap(), 2);
}

#[test]
fn nobody_else_can_read_the_state() {
    use std::os::unix::fs::PermissionsExt;
    let dir = Dir::new();
    let mode = |name: &str| std::fs::metadata(dir.0.join(name)).unwrap().permissions().mode() & 0o777;
    // As an earlier version left it.
    std::fs::create_dir_all(dir.0.join("discarded")).unwrap();
    std::fs::write(dir.0.join("discarded/old.xml"), "<cib/>").unwrap();
    std::fs::write(dir.0.join("cib.xml"), "<cib/>").unwrap();
    std::fs::set_permissions(dir.0.join("cib.xml"), std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::set_permissions(&dir.0, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (mut store, _) = Store::open(&dir.0);
    store.save_cib("<cib>1</cib>", "1.1").unwrap();
    store.save_discarded("new", "<cib/>").unwrap();
    store.reserve_ring_seq(1).unwrap();
    for name in ["", "discarded"] {
        assert_eq!(mode(name) & 0o027, 0, "{name}: {:o}", mode(name));
    }
    for name in ["cib.1.xml", "cib.1.sha256", "cib.xml", "ring_seq", "discarded/old.xml", "discarded/new-0.xml"] {
        assert_eq!(mode(name) & 0o137, 0, "{name}: {:o}", mode(name));
    }
}

#[test]
fn what_a_newer_program_wrote_is_told_and_what_says_nothing_is_read() {
    let dir = Dir::new();
    let (mut store, loaded) = Store::open(&dir.0);
    assert_eq!(loaded.newer, None);
    store.save_cib("<cib/>", "1.1").unwrap();
    let mine = std::fs::read_to_string(dir.0.join("format")).unwrap();
    assert_eq!(mine, format!("{FORMAT} bascule {}\n", env!("CARGO_PKG_VERSION")));
    for (text, newer) in [
        (mine.as_str(), None),
        ("", None),
        ("what", None),
        ("7 bascule 9.0\n", Some("bascule 9.0 (form 7)".to_owned())),
    ] {
        std::fs::write(dir.0.join("format"), text).unwrap();
        assert_eq!(Store::open(&dir.0).1.newer, newer, "{text}");
    }
}
