//! What names stood for when they were last known, in a file beside the state: a director that starts while no name server answers
//! serves what it served, and asks again. Only the running director writes it.

use super::state_file::{self, StateFile};
use crate::names::{Asked, Target};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub type Known = BTreeMap<Asked, Vec<Target>>;

fn beside(state: &Path) -> PathBuf {
    state.with_extension("names")
}

/// Of the director with this state file; blocking. What cannot be read was never known.
pub fn read(state: Option<&Path>) -> Known {
    let rows: Option<Vec<(Asked, Vec<Target>)>> = state.and_then(|state| state_file::read(&beside(state)).ok());
    rows.into_iter().flatten().collect()
}

#[derive(Default)]
pub struct Remembered {
    file: Option<StateFile>,
    noted: Known,
}

impl Remembered {
    /// What the last run has left; blocking, at start.
    pub fn load(state: Option<&Path>) -> Remembered {
        Remembered { file: state.map(|state| StateFile::at(beside(state))), noted: read(state) }
    }

    /// What writes down what is known now, if that is new.
    pub fn note(&mut self, known: Known) -> Option<impl FnOnce() -> std::io::Result<()> + Send + use<>> {
        if self.noted == known {
            return None;
        }
        let rows: Vec<(Asked, Vec<Target>)> = known.clone().into_iter().collect();
        self.noted = known;
        self.file.as_mut().map(|file| file.next((!rows.is_empty()).then_some(rows)))
    }
}
