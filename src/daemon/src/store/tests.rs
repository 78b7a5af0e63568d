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
    fn write(&mut self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        self.step(|| std::fs::write(file, &bytes[..bytes.len() / 2]).unwrap())?;
        Real.write(file, bytes)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(|| ())?;
        Real.rename(from, to)
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.step(|| ())?;
        Real.sync_dir(dir)
    }

    fn remove(&mut self, file: &Path) -> io::Result<()> {
        self.step(|| ())?;
        Real.remove(file)
    }

    fn link_to(&mut self, target: &str, temporary: &Path, link: &Path) -> io::Result<()> {
        self.step(|| ())?;
        Real.link_to(target, temporary, link)
    }
}

fn load(dir: &Dir) -> Loaded {
    Store::open(&dir.0).unwrap().1
}

#[test]
fn what_was_saved_is_loaded() {
    let dir = Dir::new();
    let (mut store, first) = Store::open(&dir.0).unwrap();
    assert_eq!(first, Loaded::default());
    assert_eq!(store.save_cib("<cib a='1'/>", "5.1").unwrap(), 1);
    assert_eq!(store.save_cib("<cib a='2'/>", "6.1").unwrap(), 2);
    assert_eq!(reserve_ring_seq(&dir.0, 40).unwrap(), 40 + RING_SEQ_BLOCK);
    assert!(!load_quorum(&dir.0).all_seen);
    save_quorum(&dir.0, quorum::Persisted { all_seen: true }).unwrap();
    assert!(load_quorum(&dir.0).all_seen);
    let loaded = load(&dir);
    assert_eq!(loaded.cib, Some(("<cib a='2'/>".into(), "6.1".into())));
    assert_eq!((loaded.generation, loaded.ring_seq), (2, 40 + RING_SEQ_BLOCK));
    assert_eq!(loaded.damage, Vec::<String>::new());
    assert_eq!(std::fs::read_to_string(dir.0.join("cib.xml")).unwrap(), "<cib a='2'/>");
}

#[test]
fn a_crash_at_any_step_leaves_the_old_or_the_new() {
    let mut outcomes = std::collections::BTreeSet::new();
    for budget in 0..40 {
        let dir = Dir::new();
        Store::open(&dir.0).unwrap().0.save_cib("<cib>old</cib>", "1.1").unwrap();
        let (mut store, _) = Store::with_disk(&dir.0, Crashing { budget, torn: false }).unwrap();
        let saved = store.save_cib("<cib>new</cib>", "2.1").is_ok();
        let found = load(&dir).cib.unwrap();
        assert!(
            found == ("<cib>old</cib>".into(), "1.1".into()) || found == ("<cib>new</cib>".into(), "2.1".into()),
            "{budget}: {found:?}"
        );
        assert!(!saved || found.1 == "2.1", "budget {budget}: reported as saved, but lost");
        outcomes.insert((saved, found.1));
        // and the next start goes on from there
        let (mut next, _) = Store::open(&dir.0).unwrap();
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
        let (mut store, _) = Store::open(&dir.0).unwrap();
        store.save_cib("<cib>old</cib>", "1.1").unwrap();
        store.save_cib("<cib>new</cib>", "2.1").unwrap();
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
    let (mut store, _) = Store::open(&dir.0).unwrap();
    store.save_cib("<cib>2</cib>", "1.1").unwrap();
    assert_eq!(load(&dir).cib.unwrap().0, "<cib>2</cib>");
}

#[test]
fn generations_and_discarded_files_are_bounded() {
    let dir = Dir::new();
    let (mut store, _) = Store::open(&dir.0).unwrap();
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
fn a_broken_ring_number_is_reported() {
    let dir = Dir::new();
    std::fs::write(dir.0.join("ring_seq"), "many").unwrap();
    assert_eq!(load(&dir).damage.len(), 1);
}
