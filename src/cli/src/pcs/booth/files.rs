//! `pcs booth setup|destroy`: a new `booth.conf` with its key, and away with both.

use super::{DIR, Instance, instances, read, replace, setting};
use crate::edit::error;
use crate::grammar::Line;
use crate::pcs::report::{Report, quoted, warn};
use crate::pcs::unable;
use crate::source::{Failure, Source};
use std::collections::BTreeSet;
use std::path::Path;

/// What boothd takes at most.
const KEY_BYTES: usize = 64;

pub fn setup(at: &Instance, line: &Line, words: &[&str]) -> Result<String, Failure> {
    let (sites, arbitrators) = peers(words)?;
    let mut report = Report::of(line);
    if sites.len() < 2 {
        let named = if sites.is_empty() { "missing".to_owned() } else { quoted(sites.iter().copied()) };
        report.error(format!("lack of sites for booth configuration (need 2 at least): sites {named}"));
    }
    let all: Vec<&str> = sites.iter().chain(&arbitrators).copied().collect();
    if all.len().is_multiple_of(2) {
        report.error(format!("odd number of peers is required (entered {} peers)", all.len()));
    }
    let mut seen = BTreeSet::new();
    let twice: Vec<&str> = all.iter().copied().filter(|a| !seen.insert(*a)).collect();
    if !twice.is_empty() {
        report.error(format!("duplicate address for booth configuration: {}", quoted(twice)));
    }
    // It becomes a line of the file.
    let odd = |a: &&str| a.is_empty() || !a.chars().all(|c| c.is_ascii_alphanumeric() || ".:-_".contains(c));
    for address in all.iter().copied().filter(odd) {
        report.error(format!("'{}' is no address of a host", address.escape_default()));
    }
    for (what, path) in [("Booth configuration", &at.conf), ("Booth key", &at.key)] {
        if path.exists() {
            report.forceable(&format!("{what} file '{}' already exists", path.display()));
        }
    }
    report.done()?;
    if let Some(dir) = at.conf.parent().filter(|d| !d.is_dir()) {
        return Err(unable(&[format!(
            "Configuration directory for booth '{}' is missing. Is booth installed?",
            dir.display()
        )]));
    }
    let mut key = [0; KEY_BYTES];
    let drawn = std::fs::File::open("/dev/urandom").and_then(|mut f| std::io::Read::read_exact(&mut f, &mut key));
    drawn.map_err(|e| error(format!("no random key can be had: {e}")))?;
    replace(&at.key, &key, 0o600)?;
    let mut text = format!("authfile = {}\n", at.key.display());
    for (what, addresses) in [("site", &sites), ("arbitrator", &arbitrators)] {
        addresses.iter().for_each(|a| text += &format!("{what} = {a}\n"));
    }
    replace(&at.conf, text.as_bytes(), 0o644)?;
    Ok(String::new())
}

/// `sites A B … [arbitrators C …]`.
fn peers<'w>(words: &[&'w str]) -> Result<(Vec<&'w str>, Vec<&'w str>), Failure> {
    let usage = || error("usage: pcs booth setup sites ADDRESS ADDRESS... [arbitrators ADDRESS...] [--force]");
    let (mut sites, mut arbitrators, mut into) = (Vec::new(), Vec::new(), None);
    for word in words {
        match (*word, into) {
            ("sites" | "arbitrators", Some(before)) if before == *word => return Err(usage()),
            (keyword @ ("sites" | "arbitrators"), _) => into = Some(keyword),
            (address, Some("sites")) => sites.push(address),
            (address, Some(_)) => arbitrators.push(address),
            (_, None) => return Err(usage()),
        }
    }
    Ok((sites, arbitrators))
}

/// The file and its key, where nothing uses them any more.
pub fn destroy(source: &Source, at: &Instance, line: &Line) -> Result<String, Failure> {
    let mut report = Report::of(line);
    let cib = source.cib()?;
    let used = cib.child("configuration").map(|c| instances(c, &at.conf)).unwrap_or_default();
    let name = &at.name;
    if let Some(id) = used.first() {
        report.error(format!("booth instance '{name}' is used in cluster resource '{id}'"));
    }
    for (question, how) in [("is-active", "running by"), ("is-enabled", "enabled in")] {
        if super::daemon::unit_says(name, question) {
            report.error(format!("booth instance '{name}' is used - it is {how} systemd"));
        }
    }
    report.stop()?;
    let text = match read(&at.conf) {
        Ok(text) => text,
        Err(failure) if line.has("--force") => {
            warn(failure.message.lines().next().unwrap_or_default());
            String::new()
        }
        Err(failure) => return Err(failure),
    };
    let key = text.lines().filter_map(setting).find(|(name, _)| *name == "authfile").map(|(_, path)| path);
    match key.map(Path::new) {
        Some(path) if path.parent() == Some(Path::new(DIR)) => remove(path)?,
        Some(path) => warn(&format!(
            "Booth key '{}' is outside of supported booth config directory '{DIR}', ignoring the file",
            path.display()
        )),
        None => {}
    }
    remove(&at.conf)?;
    Ok(String::new())
}

fn remove(path: &Path) -> Result<(), Failure> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(unable(&[format!("Unable to remove '{}': {e}", path.display())]))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_names_its_peers_and_has_a_key_of_its_own() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = Instance { name: "b".into(), conf: dir.path().join("b.conf"), key: dir.path().join("b.key") };
        let line = Line::default();
        let words = ["sites", "10.0.0.1", "10.0.0.2", "arbitrators", "10.0.0.3"];
        setup(&at, &line, &words).expect("sound");
        let text = std::fs::read_to_string(&at.conf).expect("written");
        let key = at.key.display();
        assert_eq!(text, format!("authfile = {key}\nsite = 10.0.0.1\nsite = 10.0.0.2\narbitrator = 10.0.0.3\n"));
        assert_eq!(std::fs::read(&at.key).expect("written").len(), KEY_BYTES);
        for (words, why) in [
            (&words[..], "already exists, use --force"),
            (&["sites", "a", "b"], "odd number of peers is required (entered 2 peers)"),
            (&["sites", "a"], "need 2 at least): sites 'a'"),
            (&["sites", "a", "b", "arbitrators", "a"], "duplicate address for booth configuration: 'a'"),
            (&["sites", "a", "b", "arbitrators", "c d"], "no address"),
            (&["a", "b"], "usage"),
        ] {
            let failure = setup(&at, &line, words).expect_err(why);
            assert!(failure.message.contains(why), "{}", failure.message);
        }
    }
}
