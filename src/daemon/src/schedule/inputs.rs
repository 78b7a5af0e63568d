//! The history of inputs: each CIB that a transition was made from, as `crm_simulate -x` and crmsh's history read it.
//!
//! Files are named as the original's, `pe-input-7.bz2`, `pe-warn-7.bz2` where the scheduler warned, `pe-error-7.bz2` where it found
//! an error. How many of each kind stay is the cluster's own setting (`pe-input-series-max` and its like); whatever that says,
//! the oldest go when all together pass [`MAX_BYTES`].

use bzip2::Compression;
use bzip2::write::BzEncoder;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::SystemTime;
use xml::Element;

use base::WallTime;
use scheduler::{Schedule, Severity};

/// All files together; a thousand inputs of a large cluster, a hundred thousand of a pair.
const MAX_BYTES: u64 = 256 << 20;
/// Inputs that wait for the disk; more are not kept.
const WAITING: usize = 4;
/// Kind, setting, and how many stay without it.
const SERIES: [(&str, &str, i64); 3] = [
    ("error", "pe-error-series-max", -1),
    ("warn", "pe-warn-series-max", 5000),
    ("input", "pe-input-series-max", 4000),
];

struct Input {
    series: &'static str,
    most: i64,
    cib: Arc<Element>,
    wall: WallTime,
}

/// Hands inputs to the thread that writes them: a disk that hangs is in nobody's way.
pub(super) struct Inputs {
    to: Option<SyncSender<Input>>,
}

impl Inputs {
    pub fn new(dir: PathBuf) -> Inputs {
        let (to, inbox) = sync_channel::<Input>(WAITING);
        let started = std::thread::Builder::new().name("inputs".into()).spawn(move || {
            let mut store = Store { dir, files: None };
            while let Ok(input) = inbox.recv() {
                if let Err(error) = store.keep(&input) {
                    tracing::warn!("{}: an input was not kept: {error}", store.dir.display());
                    store.files = None;
                }
            }
        });
        Inputs { to: started.is_ok().then_some(to) }
    }

    /// Keeps what the transition was made from, if it does anything or something is wrong.
    pub fn keep(&self, cib: &Arc<Element>, wall: WallTime, schedule: &Schedule) {
        let worst = |severity: Severity| schedule.messages.iter().any(|m| m.severity == severity);
        let (series, setting, most) = SERIES[match () {
            () if worst(Severity::Error) => 0,
            () if worst(Severity::Warning) => 1,
            () => 2,
        }];
        if schedule.graph.actions.is_empty() && series == "input" {
            return;
        }
        let most = cib::config::property(cib, setting).and_then(|v| v.parse().ok()).unwrap_or(most);
        if let Some(to) = self.to.as_ref().filter(|_| most != 0)
            && to.try_send(Input { series, most, cib: cib.clone(), wall }).is_err()
        {
            tracing::debug!("an input was not kept: the disk is behind");
        }
    }
}

struct Store {
    dir: PathBuf,
    /// What is there, oldest first, as far as it is known.
    files: Option<Known>,
}

#[derive(Default)]
struct Known {
    /// Series and number, with the size, by when they were written.
    files: BTreeMap<(SystemTime, String), u64>,
    next: BTreeMap<&'static str, u64>,
}

impl Store {
    fn keep(&mut self, input: &Input) -> std::io::Result<()> {
        kernel::files::private_dir(&self.dir)?;
        let dir = self.dir.clone();
        let known = match &mut self.files {
            Some(known) => known,
            none => none.insert(Known::read(&dir)?),
        };
        let mut cib = Element::clone(&input.cib);
        // So that it is replayed as of then.
        cib.set("execution-date", input.wall.secs().to_string());
        let mut encoder = BzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(cib.to_pretty().as_bytes())?;
        let bytes = encoder.finish()?;
        let next = known.next.entry(input.series).or_default();
        if input.most > 0 && *next >= input.most.unsigned_abs() {
            *next = 0;
        }
        let name = format!("pe-{}-{next}.bz2", input.series);
        *next += 1;
        let last = next.to_string();
        kernel::files::replace(&dir.join(&name), &bytes, kernel::files::PRIVATE_FILE)?;
        kernel::files::replace(
            &dir.join(format!("pe-{}.last", input.series)),
            last.as_bytes(),
            kernel::files::PRIVATE_FILE,
        )?;
        known.files.retain(|(_, old), _| *old != name);
        known.files.insert((SystemTime::now(), name), bytes.len() as u64);
        known.narrow(&dir)
    }
}

impl Known {
    fn read(dir: &Path) -> std::io::Result<Known> {
        let mut known = Known::default();
        for entry in std::fs::read_dir(dir)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("pe-") && name.ends_with(".bz2") {
                let metadata = entry.metadata()?;
                known.files.insert((metadata.modified()?, name), metadata.len());
            }
        }
        for (series, _, _) in SERIES {
            let last = kernel::files::read_regular(&dir.join(format!("pe-{series}.last")), 32).unwrap_or_default();
            let last = std::str::from_utf8(&last).ok().and_then(|t| t.trim().parse().ok());
            known.next.insert(series, last.unwrap_or(0));
        }
        Ok(known)
    }

    fn narrow(&mut self, dir: &Path) -> std::io::Result<()> {
        let mut total: u64 = self.files.values().sum();
        while total > MAX_BYTES {
            let Some(((_, name), bytes)) = self.files.pop_first() else { break };
            std::fs::remove_file(dir.join(name))?;
            total -= bytes;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn each_series_goes_round_at_its_own_length_and_a_restart_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("pengine");
        let mut store = Store { dir: at.clone(), files: None };
        let input = |series, most, epoch: &str| Input {
            series,
            most,
            cib: Arc::new(Element::new("cib").with("epoch", epoch)),
            wall: WallTime::from_secs(1_700_000_000),
        };
        let names = || {
            let all = std::fs::read_dir(&at).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
            let mut all: Vec<String> = all.filter(|n| n.ends_with(".bz2")).collect();
            all.sort();
            all
        };
        for epoch in ["0", "1", "2", "3"] {
            store.keep(&input("input", 3, epoch)).unwrap();
        }
        store.keep(&input("warn", -1, "9")).unwrap();
        assert_eq!(names(), ["pe-input-0.bz2", "pe-input-1.bz2", "pe-input-2.bz2", "pe-warn-0.bz2"]);
        let mut store = Store { dir: at.clone(), files: None };
        store.keep(&input("input", 3, "4")).unwrap();
        let read = |name: &str| {
            let mut text = String::new();
            bzip2::read::BzDecoder::new(std::fs::File::open(at.join(name)).unwrap()).read_to_string(&mut text).unwrap();
            xml::parse(&text).unwrap()
        };
        let epochs = [0, 1, 2].map(|n| read(&format!("pe-input-{n}.bz2")).attr("epoch").unwrap().to_owned());
        assert_eq!(epochs, ["3", "4", "2"], "the oldest is written over, also after a restart");
        assert_eq!(read("pe-input-1.bz2").attr("execution-date"), Some("1700000000"));
    }
}
