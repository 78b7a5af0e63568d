//! Drain, maintenance and edits of servers that an operator has asked for by command: kept in a file, so that a restarted daemon goes on with them, and
//! in common with the group's other directors (`policy::Marks` has the rules), so that the next one does.

use super::log::Logger;
use super::state_file::{self, StateFile};
use crate::config::{Config, Real, service_id, service_label};
use crate::plan::real_id;
use crate::service::maintenance::Mark as Name;
use policy::{Edit, Mark, MarkEntry, Marks, RealId};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Servers named in an error at most.
const MAX_NAMED: usize = 10;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wish {
    /// Weight 0; established connections go on.
    Drain,
    /// Down at once.
    Maintenance,
}

/// Which servers are meant, and what is wished.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MarkRequest {
    pub wish: Wish,
    pub on: bool,
    /// Address or name as in the configuration, with or without a port.
    pub real: String,
    /// `10.0.0.1:80`, `tcp:10.0.0.1:80` or a mark; `None`: in every service.
    #[serde(default)]
    pub virtual_service: Option<String>,
}

/// A server that was meant, as it is now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Marked {
    pub virtual_service: String,
    pub server: String,
    /// Whether the command has changed anything.
    pub changed: bool,
    /// A file in the maintenance directory keeps it in maintenance, whatever a command says.
    pub in_directory: bool,
    /// `None`: it has no entry in the table.
    pub active_conns: Option<u32>,
    pub inactive_conns: Option<u32>,
    pub persistent: bool,
    /// Servers of the service that still take new connections.
    pub takers: usize,
}

/// Why servers were not marked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MarkError {
    #[error("no real server '{asked}' in the configuration; it has {known}")]
    NoSuchReal { asked: String, known: String },
    #[error("no virtual service '{asked}' with this real server; it is in {known}")]
    NoSuchVirtual { asked: String, known: String },
    #[error("done, but lost at the next start, since {} cannot be written: {why}", path.display())]
    NotSaved { path: PathBuf, why: String },
    #[error("the director has stopped")]
    Stopped,
}

/// The marks and their file.
#[derive(Default)]
pub struct Kept {
    file: Option<StateFile>,
    marks: Marks,
}

impl Kept {
    /// Reads the file; blocking, at start. One that cannot be read is told of and left alone until the next command.
    pub fn load(path: Option<&Path>, logger: &Logger) -> Kept {
        let mut kept = Kept { file: path.map(|p| StateFile::at(p.to_owned())), ..Kept::default() };
        let Some(path) = path.filter(|p| p.exists()) else { return kept };
        match state_file::read::<Vec<MarkEntry>>(path) {
            Ok(entries) => drop(kept.marks.merge(&entries)),
            Err(why) => logger.log(&format!("Cannot read drains and maintenance from {}: {why}", path.display())),
        }
        kept
    }

    pub fn get(&self, id: &RealId) -> Mark {
        self.marks.get(id)
    }

    /// Tells whether that is a change.
    pub fn set(&mut self, id: RealId, wish: Wish, on: bool) -> bool {
        let mut mark = self.marks.get(&id);
        match wish {
            Wish::Drain => mark.drained = on,
            Wish::Maintenance => mark.maintenance = on,
        }
        self.marks.set(id, mark)
    }

    /// Tells whether that is a change.
    pub fn edit(&mut self, id: RealId, edit: Option<Edit>) -> bool {
        let mark = self.marks.get(&id);
        self.marks.set(id, Mark { edit, ..mark })
    }

    pub fn edits(&self) -> Vec<(RealId, Edit)> {
        self.marks.edits()
    }

    /// What others of the group know; as [`Marks::merge`].
    pub fn merge(&mut self, entries: &[MarkEntry]) -> (Vec<RealId>, bool) {
        self.marks.merge(entries)
    }

    pub fn entries(&self) -> Vec<MarkEntry> {
        self.marks.entries()
    }

    /// Marks of servers that are not in `known`.
    pub fn absent(&self, known: impl Fn(&RealId) -> bool) -> Vec<RealId> {
        self.marks.absent(known)
    }

    /// Writes the present state; an older one never replaces a newer.
    pub fn save(&mut self) -> impl Future<Output = Result<(), MarkError>> + use<> {
        let write = self.file.as_mut().map(|file| (file.path().to_owned(), file.next(Some(self.marks.entries()))));
        async move {
            let Some((path, write)) = write else { return Ok(()) };
            let why = match tokio::task::spawn_blocking(write).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(e)) => std::io::Error::to_string(&e),
                Err(e) => e.to_string(),
            };
            Err(MarkError::NotSaved { path, why })
        }
    }
}

/// A configured server and the id under which it is kept.
pub type Found<'a> = (RealId, &'a Real);

/// The servers that a command means: by address or name, with or without a port, in this service or in all.
pub fn select<'a>(config: &'a Config, real: &str, service: Option<&str>) -> Result<Vec<Found<'a>>, MarkError> {
    let name = Name::literal(real);
    let mut found: Vec<Found<'a>> = Vec::new();
    for v in &config.virtuals {
        for real in &v.reals {
            let id = real_id(v, real);
            let known = found.iter().any(|(other, _)| *other == id);
            if name.covers(real.name.as_deref(), real.addr, [real.port, id.dest.port]) && !known {
                found.push((id, real));
            }
        }
    }
    if found.is_empty() {
        let all =
            config.virtuals.iter().flat_map(|v| v.reals.iter().map(|r| super::notices::server(&real_id(v, r).dest)));
        return Err(MarkError::NoSuchReal { asked: real.to_owned(), known: list(all) });
    }
    let Some(asked) = service else { return Ok(found) };
    let named = |id: &RealId| service_id(&id.service) == asked || service_label(&id.service) == asked;
    let chosen: Vec<Found<'a>> = found.iter().filter(|(id, _)| named(id)).copied().collect();
    if chosen.is_empty() {
        let known = list(found.iter().map(|(id, _)| service_id(&id.service)));
        return Err(MarkError::NoSuchVirtual { asked: asked.to_owned(), known });
    }
    Ok(chosen)
}

/// What a state file holds, for those who look at it without the director; nothing if there is none.
pub fn kept_edits(path: &Path) -> Result<Vec<(RealId, Edit)>, String> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let mut marks = Marks::default();
    marks.merge(&state_file::read::<Vec<MarkEntry>>(path).map_err(|e| e.to_string())?);
    Ok(marks.edits())
}

pub fn list(names: impl Iterator<Item = String>) -> String {
    let unique: std::collections::BTreeSet<String> = names.collect();
    let mut text = unique.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(", ");
    if unique.len() > MAX_NAMED {
        text.push_str(&format!(" and {} more", unique.len() - MAX_NAMED));
    }
    if text.is_empty() { "none".to_owned() } else { text }
}
