//! What becomes of each line: it maps, it differs in a way that is told, or it cannot be carried over.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    pub file: String,
    pub line: u32,
}

impl Place {
    pub fn new(file: &str, line: u32) -> Place {
        Place { file: file.to_owned(), line }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    Maps,
    Differs,
    Cannot,
}

impl Fate {
    fn word(self) -> &'static str {
        match self {
            Fate::Maps => "maps",
            Fate::Differs => "differs",
            Fate::Cannot => "cannot",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    #[serde(flatten)]
    pub at: Place,
    pub fate: Fate,
    /// What stands there.
    pub found: String,
    /// What it becomes, how it differs, or what to do instead.
    pub becomes: String,
}

#[derive(Clone, Debug, Default)]
pub struct Report {
    pub rows: Vec<Row>,
}

/// Longest text of a row's first column.
const SHOWN: usize = 60;

impl Report {
    fn row(&mut self, at: &Place, fate: Fate, found: &str, becomes: String) {
        let row = Row { at: at.clone(), fate, found: found.to_owned(), becomes };
        // A default that several blocks make use of is told once.
        if !self.rows.contains(&row) {
            self.rows.push(row);
        }
    }

    pub fn maps(&mut self, at: &Place, found: &str, becomes: impl Into<String>) {
        self.row(at, Fate::Maps, found, becomes.into());
    }

    pub fn differs(&mut self, at: &Place, found: &str, becomes: impl Into<String>) {
        self.row(at, Fate::Differs, found, becomes.into());
    }

    pub fn cannot(&mut self, at: &Place, found: &str, becomes: impl Into<String>) {
        self.row(at, Fate::Cannot, found, becomes.into());
    }

    pub fn count(&self, fate: Fate) -> usize {
        self.rows.iter().filter(|r| r.fate == fate).count()
    }

    /// In the order of files and lines.
    pub fn sort(&mut self) {
        self.rows.sort_by(|a, b| a.at.cmp(&b.at));
    }

    pub fn text(&self) -> String {
        let mut out = String::new();
        let mut by_file: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
        self.rows.iter().for_each(|r| by_file.entry(&r.at.file).or_default().push(r));
        for (file, rows) in by_file {
            let _ = writeln!(out, "{file}");
            for row in rows {
                let found: String = row.found.chars().take(SHOWN).collect();
                let _ = writeln!(
                    out,
                    "  {:>5}  {:<8} {found}\n                  {}",
                    row.at.line,
                    row.fate.word(),
                    row.becomes
                );
            }
        }
        out + &self.summary()
    }

    pub fn summary(&self) -> String {
        let [maps, differs, cannot] = [Fate::Maps, Fate::Differs, Fate::Cannot].map(|f| self.count(f));
        format!("{maps} map, {differs} differ, {cannot} cannot be carried over\n")
    }
}
