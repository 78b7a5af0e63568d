//! `crm options`: what a user prefers, in crmsh's own file (`~/.config/crm/crm.conf`). What is nothing to Bascule (pager, colours) is kept
//! all the same, for crmsh beside it.

use crate::edit::error;
use crate::source::Failure;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

const MAX_BYTES: u64 = 64 * 1024;

/// What becomes of an attribute of members when the whole gets it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Children {
    Ask,
    Never,
    Always,
}

enum Kind {
    Text,
    Program,
    Boolean,
    Choice(&'static [&'static str]),
}

struct Preference {
    /// As a command, and as the file has it.
    word: &'static str,
    key: &'static str,
    kind: Kind,
}

const fn preference(word: &'static str, key: &'static str, kind: Kind) -> Preference {
    Preference { word, key, kind }
}

const ALL: [Preference; 12] = [
    preference("editor", "core.editor", Kind::Program),
    preference("pager", "core.pager", Kind::Program),
    preference("user", "core.user", Kind::Text),
    preference("skill-level", "core.skill_level", Kind::Choice(&["operator", "administrator", "expert"])),
    preference("sort-elements", "core.sort_elements", Kind::Boolean),
    preference("check-frequency", "core.check_frequency", Kind::Choice(&["always", "on-verify", "never"])),
    preference("check-mode", "core.check_mode", Kind::Choice(&["strict", "relaxed"])),
    preference("wait", "core.wait", Kind::Boolean),
    preference("add-quotes", "core.add_quotes", Kind::Boolean),
    preference("manage-children", "core.manage_children", Kind::Choice(&["ask", "never", "always"])),
    preference("output", "color.style", Kind::Choice(&["plain", "color-always", "color", "uppercase"])),
    preference("colorscheme", "color.scheme", Kind::Text),
];

/// What is on and off, in the file's words.
const YES: [&str; 4] = ["yes", "true", "on", "1"];
const NO: [&str; 4] = ["no", "false", "off", "0"];

#[derive(Default)]
pub struct Options {
    set: BTreeMap<String, String>,
}

/// Of the user; other files of his are beside it.
pub fn file() -> Option<PathBuf> {
    let folder = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let home = || std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".config"));
    Some(folder.or_else(home)?.join("crm/crm.conf"))
}

impl Options {
    /// Those of the user; none where there is no file, or none that can be read.
    pub fn load() -> Options {
        let read = |path: PathBuf| kernel::files::read_regular(&path, MAX_BYTES).ok();
        let text = file().and_then(read).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
        Options::parse(&text)
    }

    fn parse(text: &str) -> Options {
        let mut section = String::new();
        let mut set = BTreeMap::new();
        for line in text.lines().map(str::trim).filter(|l| !l.starts_with(['#', ';'])) {
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                section = name.to_owned();
            } else if let Some((name, value)) = line.split_once('=') {
                set.insert(format!("{section}.{}", name.trim()), value.trim().to_owned());
            }
        }
        Options { set }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        let mut section = "";
        for (key, value) in &self.set {
            let (of, name) = key.split_once('.').unwrap_or(("core", key));
            if of != section {
                section = of;
                let _ = writeln!(out, "[{of}]");
            }
            let _ = writeln!(out, "{name} = {value}");
        }
        out
    }

    fn save(&self) -> Result<(), Failure> {
        let path = file().ok_or_else(|| error("there is no home directory to keep preferences in"))?;
        let failed = |e: std::io::Error| error(format!("cannot write {}: {e}", path.display()));
        path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(failed)?;
        kernel::files::replace(&path, self.text().as_bytes(), 0o600).map_err(failed)
    }

    fn is(&self, key: &str) -> bool {
        self.set.get(key).is_some_and(|v| YES.contains(&v.to_lowercase().as_str()))
    }

    pub fn wait(&self) -> bool {
        self.is("core.wait")
    }

    /// In the order of names, unless the user wants that of the configuration.
    pub fn sorted(&self) -> bool {
        !self.set.get("core.sort_elements").is_some_and(|v| NO.contains(&v.to_lowercase().as_str()))
    }

    pub fn children(&self) -> Children {
        match self.set.get("core.manage_children").map(String::as_str) {
            Some("never") => Children::Never,
            Some("always") => Children::Always,
            _ => Children::Ask,
        }
    }

    pub fn editor(&self) -> String {
        let of = |name: &str| std::env::var(name).ok();
        self.set
            .get("core.editor")
            .cloned()
            .or_else(|| of("VISUAL"))
            .or_else(|| of("EDITOR"))
            .unwrap_or("vi".to_owned())
    }

    /// `WORD VALUE`, `set SECTION.NAME VALUE`, `show [NAME]`, `save`, `reset`.
    pub fn run(&mut self, words: &[&str]) -> Result<String, Failure> {
        match words {
            ["show"] | [] => Ok(self.set.iter().map(|(k, v)| format!("{k} = {v}\n")).collect()),
            ["show", key] => Ok(self.set.get(*key).map(|v| format!("{v}\n")).unwrap_or_default()),
            ["save"] => self.save().map(|()| String::new()),
            ["reset"] => {
                self.set.clear();
                self.save().map(|()| String::new())
            }
            ["set", key, value] => {
                let known = ALL.iter().find(|p| p.key == *key);
                self.put(known.ok_or_else(|| error(format!("options.set: Unknown option {key}")))?, value)
            }
            [word, value] => {
                let old = word.replace('_', "-");
                if old != *word {
                    super::note!("WARNING: This command '{word}' is deprecated, please use '{old}'");
                    super::note!("INFO: \"{word}\" is accepted as \"{old}\"");
                }
                let known = ALL.iter().find(|p| p.word == old);
                self.put(known.ok_or_else(|| error(format!("options.{word}: No such command")))?, value)
            }
            [word, ..] => Err(error(format!("options.{word}: Expected one value"))),
        }
    }

    fn put(&mut self, of: &Preference, value: &str) -> Result<String, Failure> {
        let word = of.word;
        let lower = value.to_lowercase();
        match of.kind {
            Kind::Text => {}
            Kind::Program => {
                let first = value.split_whitespace().next().unwrap_or_default();
                let paths = std::env::var_os("PATH").unwrap_or_default();
                if first.is_empty() || !std::env::split_paths(&paths).any(|dir| dir.join(first).is_file()) {
                    return Err(error(format!("options.{word}: {value} does not exist or is not a program")));
                }
            }
            Kind::Boolean if YES.contains(&lower.as_str()) || NO.contains(&lower.as_str()) => {}
            Kind::Boolean => {
                let known = YES.iter().chain(&NO).copied().collect::<Vec<_>>().join(", ");
                return Err(error(format!("options.{word}: Not a boolean: {value} (try one of: {known})")));
            }
            Kind::Choice(allowed) if allowed.contains(&value) => {}
            Kind::Choice(allowed) => {
                return Err(error(format!("options.{word}: {value} not in {}", allowed.join(", "))));
            }
        }
        if value.chars().any(char::is_control) {
            return Err(error(format!("options.{word}: a value is one line")));
        }
        // One of many colours is none of one line's.
        if word != "colorscheme" {
            self.set.insert(of.key.to_owned(), value.to_owned());
        }
        self.save().map(|()| String::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_are_read_as_they_are_written() {
        let text = "[color]\nstyle = plain\n[core]\nmanage_children = never\nsort_elements = no\n";
        let options = Options::parse(text);
        assert_eq!((options.text().as_str(), options.children(), options.sorted()), (text, Children::Never, false));
        let usual = Options::parse("# nothing\nnonsense\n");
        assert_eq!((usual.children(), usual.sorted(), usual.wait()), (Children::Ask, true, false));
    }

    #[test]
    fn what_is_no_value_is_refused() {
        let mut options = Options::default();
        for (words, why) in [
            (["check-mode", "never"], "not in strict, relaxed"),
            (["wait", "happy"], "Not a boolean"),
            (["pager", "nosuchprogram"], "is not a program"),
            (["colour", "red"], "No such command"),
        ] {
            let failure = options.run(&words).expect_err(why);
            assert!(failure.message.contains(why), "{}", failure.message);
        }
    }
}
