//! Inputs of runs that should not have failed, kept so that they can be replayed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use xml::Element;

/// Files that are kept; the oldest goes first.
const MAX_FILES: usize = 10;

/// Writes them, never in the way of the next run: a disk may hang.
pub(super) struct Kept {
    dir: PathBuf,
    /// A write is under way; another input is not kept meanwhile.
    busy: Arc<AtomicBool>,
    /// The last one and where it is: a failing run is repeated every few seconds.
    last: Option<(Arc<Element>, PathBuf)>,
}

impl Kept {
    pub fn new(dir: PathBuf) -> Kept {
        Kept { dir, busy: Arc::default(), last: None }
    }

    /// Keeps `cib`; gives `why` with the place and the way to repeat the run.
    pub fn keep(&mut self, cib: &Arc<Element>, why: &str) -> String {
        let known = self.last.as_ref().filter(|(last, _)| same_configuration(last, cib)).map(|(_, file)| file.clone());
        let file = match known {
            Some(file) => file,
            None if self.busy.swap(true, Ordering::AcqRel) => return format!("{why}; its input is not kept"),
            None => {
                let stamp = crate::clock::wall().0;
                let file = self.dir.join(format!("failed-{stamp}.xml"));
                self.last = Some((cib.clone(), file.clone()));
                self.write(cib.clone(), file.clone());
                file
            }
        };
        format!("{why}; repeat it with `crm_simulate -S -x {}`", file.display())
    }

    fn write(&self, cib: Arc<Element>, file: PathBuf) {
        let (dir, busy) = (self.dir.clone(), self.busy.clone());
        let written = std::thread::Builder::new().name("failed-input".into()).spawn(move || {
            if let Err(error) = write(&dir, &file, &cib) {
                tracing::error!("{}: the input of the failed run was not kept: {error}", file.display());
            }
            busy.store(false, Ordering::Release);
        });
        if written.is_err() {
            self.busy.store(false, Ordering::Release);
        }
    }
}

/// The status changes with every attempt; what the run stumbles over is mostly the configuration.
fn same_configuration(a: &Element, b: &Element) -> bool {
    a.child("configuration") == b.child("configuration")
}

fn write(dir: &Path, file: &Path, cib: &Element) -> std::io::Result<()> {
    kernel::files::private_dir(dir)?;
    kernel::files::replace(file, cib.to_pretty().as_bytes(), kernel::files::PRIVATE_FILE)?;
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)?.filter_map(|e| Some(e.ok()?.path())).collect();
    files.sort();
    let surplus = files.len().saturating_sub(MAX_FILES);
    files.iter().take(surplus).for_each(|old| drop(std::fs::remove_file(old)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failing_configuration_is_kept_once_and_the_newest_stay() {
        let dir = tempfile::tempdir().unwrap();
        let mut kept = Kept::new(dir.path().join("failed"));
        let cib = |epoch: &str, resource: &str| {
            let configuration =
                Element::new("configuration").with_child(Element::new("primitive").with("id", resource));
            Arc::new(Element::new("cib").with("num_updates", epoch).with_child(configuration))
        };
        let wait = |kept: &Kept| {
            while kept.busy.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
        };
        let first = kept.keep(&cib("1", "a"), "late");
        wait(&kept);
        assert_eq!(kept.keep(&cib("2", "a"), "late"), first, "the same configuration again");
        for n in 0..15 {
            kept.keep(&cib("3", &format!("r{n}")), "late");
            wait(&kept);
            // Names are times of milliseconds.
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let names: Vec<_> = std::fs::read_dir(dir.path().join("failed")).unwrap().collect();
        assert_eq!(names.len(), MAX_FILES);
        let text = kept.keep(&cib("3", "r14"), "late");
        let file = text.rsplit(' ').next().unwrap().trim_end_matches('`');
        assert!(std::fs::read_to_string(file).unwrap().contains("r14"));
    }
}
