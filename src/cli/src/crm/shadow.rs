//! `crm cib`: copies of the configuration to try things on (shadows), and the status that a file has.

use super::what_if::WhatIf;
use crate::edit::{error, put_back};
use crate::source::{Failure, Source};
use cib::Version;
use std::path::{Path, PathBuf};
use xml::Element;

/// The copy that is worked on, and what is thought of to happen to it.
#[derive(Default)]
pub struct Shadows {
    active: Option<(String, PathBuf)>,
    what_if: WhatIf,
}

/// Where `crm_shadow` keeps it.
fn file(name: &str) -> Result<PathBuf, Failure> {
    crate::source::shadow_file(name)
}

/// A file, or a shadow of that name.
pub fn named(name: &str) -> Result<Source, Failure> {
    let path = PathBuf::from(name);
    if path.exists() {
        return Ok(Source::File(path));
    }
    let shadow = file(name).ok().filter(|path| path.is_file());
    shadow.map(Source::File).ok_or_else(|| error(format!("cib.use: {name}: no such shadow CIB")))
}

fn there(name: &str, failed: impl FnOnce() -> String) -> Result<PathBuf, Failure> {
    let path = file(name)?;
    if path.is_file() {
        return Ok(path);
    }
    kernel::errln!("Could not access shadow instance '{name}': No such file or directory");
    Err(error(failed()))
}

fn write(path: &Path, cib: &Element) -> Result<(), Failure> {
    let failed = |e: std::io::Error| error(format!("cannot write {}: {e}", path.display()));
    path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(failed)?;
    kernel::files::replace(path, cib.to_pretty().as_bytes(), 0o600).map_err(failed)
}

impl Shadows {
    /// `live` is what the shadows are copies of; `source` becomes what is worked on.
    pub fn run(&mut self, live: &Source, source: &mut Source, words: &[&str]) -> Result<String, Failure> {
        let active = self.active.as_ref().map(|(name, _)| name.clone());
        match words {
            ["list"] => Ok(list()),
            ["new", name, rest @ ..] => {
                let path = self.create(live, name, rest)?;
                *source = Source::File(path);
                Ok(format!("INFO: cib.new: {name} shadow CIB created\n"))
            }
            ["use"] | ["use", "live"] => {
                self.active = None;
                *source = Source::beneath_shadow();
                Ok(String::new())
            }
            ["use", name] => {
                let path = file(name)?;
                if !path.is_file() {
                    return Err(error(format!("cib.use: {name}: no such shadow CIB")));
                }
                *source = Source::File(path.clone());
                self.active = Some(((*name).to_owned(), path));
                Ok(String::new())
            }
            ["import", path] => {
                let (name, shadow) = self.import(Path::new(path))?;
                *source = Source::File(shadow);
                Ok(format!("INFO: cib.import: {name} shadow CIB created\n"))
            }
            ["delete", name] => {
                let path = there(name, || format!("cib.delete: failed to delete {name} shadow CIB"))?;
                if active.as_deref() == Some(name) {
                    return Err(error(format!("cib.delete: {name} shadow CIB is in use")));
                }
                std::fs::remove_file(&path).map_err(|e| error(format!("cannot delete {}: {e}", path.display())))?;
                Ok(format!("INFO: cib.delete: {name} shadow CIB deleted\n"))
            }
            ["reset", name] => {
                let path = there(name, || format!("cib.reset: failed to copy live CIB to {name}"))?;
                write(&path, &live.cib()?)?;
                Ok(format!("INFO: cib.reset: copied live CIB to {name}\n"))
            }
            ["commit", rest @ ..] => {
                let name = rest
                    .first()
                    .map(|n| (*n).to_owned())
                    .or(active)
                    .ok_or_else(|| error("cib.commit: name a shadow CIB, or use one"))?;
                let path = there(&name, || format!("cib.commit: failed to commit the {name} shadow CIB"))?;
                let configuration = Source::File(path).cib()?.child("configuration").cloned();
                let configuration = configuration.ok_or_else(|| error(format!("{name} has no configuration")))?;
                put_back(live, Version::of(&live.cib()?)?, configuration)?;
                Ok(format!("INFO: cib.commit: committed '{name}' shadow CIB to the cluster\n"))
            }
            ["diff"] => match &self.active {
                None => {
                    kernel::errln!("No active shadow configuration defined");
                    Ok(String::new())
                }
                Some((_, path)) => {
                    let patch = xml::diff(&live.cib()?, &Source::File(path.clone()).cib()?);
                    Ok(patch.map(|p| p.to_pretty()).unwrap_or_default())
                }
            },
            ["cibstatus", rest @ ..] => self.what_if.run(source, rest),
            _ => {
                Err(error("cib: list, new NAME, use [NAME], delete NAME, reset NAME, commit [NAME], diff, cibstatus …"))
            }
        }
    }

    fn create(&mut self, live: &Source, name: &str, words: &[&str]) -> Result<PathBuf, Failure> {
        let path = file(name)?;
        if path.exists() && !words.contains(&"force") {
            return Err(error(format!("cib.new: shadow CIB {name} is there already; new {name} force replaces it")));
        }
        let cib = if words.contains(&"empty") { emptied(live.cib()?) } else { live.cib()? };
        write(&path, &cib)?;
        self.active = Some((name.to_owned(), path.clone()));
        Ok(path)
    }

    /// A shadow called as the file is.
    fn import(&mut self, path: &Path) -> Result<(String, PathBuf), Failure> {
        if !path.is_file() {
            return Err(error(format!("cib.import: no {} pe input file", path.display())));
        }
        let name = path.file_stem().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        let shadow = file(&name)?;
        let read = crate::cibadmin::read_xml(Some(path), None, false)?;
        let (cib, _) = read.ok_or_else(|| error(format!("cib.import: {} is empty", path.display())))?;
        write(&shadow, &cib)?;
        self.active = Some((name.clone(), shadow.clone()));
        Ok((name, shadow))
    }
}

fn emptied(mut cib: Element) -> Element {
    for section in cib.child_or_insert("configuration").elements_mut() {
        section.nodes_mut().clear();
    }
    cib.child_or_insert("status").nodes_mut().clear();
    cib
}

fn list() -> String {
    let folder = file("any").ok().and_then(|path| path.parent().map(Path::to_owned)).unwrap_or_default();
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let name = |e: std::fs::DirEntry| Some(e.file_name().to_str()?.strip_prefix("shadow.")?.to_owned());
    let mut names: Vec<String> = entries.filter_map(name).collect();
    names.sort();
    names.iter().map(|n| format!("{n}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CIB: &str = "<cib validate-with=\"pacemaker-3.10\" admin_epoch=\"0\" epoch=\"1\" num_updates=\"0\"><configuration><crm_config/>\
        <nodes><node id=\"1\" uname=\"n\"/></nodes><resources/><constraints/></configuration><status/></cib>";

    #[test]
    fn a_copy_is_emptied_whole_and_names_stay_in_the_folder() {
        let empty = emptied(xml::parse(CIB).expect("good"));
        assert!(!empty.to_compact().contains("uname") && empty.to_compact().contains("<nodes/>"));
        assert!(file("x").is_ok_and(|p| p.ends_with("shadow.x")));
        for bad in ["", "../x", "a/b"] {
            assert!(file(bad).is_err(), "{bad}");
        }
    }
}
