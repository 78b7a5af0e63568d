//! From directories to one file, and from a stream to a directory.

use crate::source::Failure;
use base::exit::crm;
use bzip2::Compression;
use bzip2::write::BzEncoder;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

pub const END: &str = ".tar.bz2";
/// Of one node.
const MAX_BYTES: u64 = 1 << 30;
/// Of a tar stream; each file begins with one.
const BLOCK_BYTES: u64 = 512;
const MAX_FILES: usize = 10_000;

pub fn cannot(path: &Path, why: &std::io::Error) -> Failure {
    Failure::new(crm::CANTCREAT, format!("cannot write {}: {why}", path.display()))
}

pub fn made(dir: &Path) -> Result<PathBuf, Failure> {
    std::fs::create_dir_all(dir).map_err(|e| cannot(dir, &e))?;
    Ok(dir.to_owned())
}

pub fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|e| cannot(path, &e))
}

/// `dir` on standard output.
pub fn stream(dir: &Path) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::new(crm::ERROR, format!("the answer was not taken: {e}"));
    let mut archive = tar::Builder::new(kernel::output::stdout());
    archive.append_dir_all(".", dir).and_then(|()| archive.finish()).map_err(failed)?;
    archive.into_inner().and_then(|mut out| out.flush()).map_err(failed)
}

/// Files of a stream that another host wrote, below `to`, whatever it says.
pub fn unpack(stream: impl Read, to: &Path) -> Result<(), String> {
    let mut archive = tar::Archive::new(stream.take(MAX_BYTES));
    let unpacked = unpack_all(&mut archive, to);
    // Less than the head of a file: a shell that says good day, or an empty line.
    let came = MAX_BYTES - archive.into_inner().limit();
    if came < BLOCK_BYTES || unpacked == Ok(0) { Err("nothing came".to_owned()) } else { unpacked.map(drop) }
}

/// How many files there were.
fn unpack_all(archive: &mut tar::Archive<impl Read>, to: &Path) -> Result<usize, String> {
    let said = |e: std::io::Error| e.to_string();
    let mut count = 0;
    for entry in archive.entries().map_err(said)? {
        let mut entry = entry.map_err(said)?;
        let path = entry.path().map_err(said)?.into_owned();
        let inside = path.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        if !inside || !entry.header().entry_type().is_file() {
            continue;
        }
        count += 1;
        if count > MAX_FILES {
            return Err(format!("more than {MAX_FILES} files"));
        }
        let path = to.join(path);
        let dir = path.parent().unwrap_or(to);
        std::fs::create_dir_all(dir).map_err(said)?;
        let mut file = File::create(&path).map_err(said)?;
        std::io::copy(&mut entry, &mut file).map_err(said)?;
    }
    Ok(count)
}

/// `name` below `work` as one file, for its owner alone.
pub fn archive(work: &Path, name: &str, dest: &Path) -> Result<PathBuf, Failure> {
    let failed = |e: std::io::Error| {
        let _ = std::fs::remove_file(dest);
        cannot(dest, &e)
    };
    let file = File::options().write(true).create_new(true).mode(0o600).open(dest).map_err(|e| cannot(dest, &e))?;
    let mut archive = tar::Builder::new(BzEncoder::new(file, Compression::default()));
    let packed = archive.append_dir_all(name, work.join(name)).and_then(|()| archive.into_inner());
    packed.and_then(BzEncoder::finish).and_then(|file| file.sync_all()).map_err(failed)?;
    Ok(dest.to_owned())
}

/// The directory itself at its place; over file systems it is copied.
pub fn place(from: &Path, dest: &Path) -> Result<PathBuf, Failure> {
    if std::fs::rename(from, dest).is_err() {
        copy(from, dest).map_err(|e| cannot(dest, &e))?;
    }
    Ok(dest.to_owned())
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &to)?,
            false => drop(std::fs::copy(entry.path(), to)?),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_comes_gets_out_of_its_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut stream = tar::Builder::new(Vec::new());
        for (name, text) in [("good/a", "1"), ("b", "2")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o4777);
            stream.append_data(&mut header, name, text.as_bytes()).expect("appended");
        }
        // As one writes them who means harm.
        for name in ["../out", "/tmp/crm-report-out"] {
            let mut header = tar::Header::new_gnu();
            header.set_size(1);
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            stream.append(&header, b"x".as_slice()).expect("appended");
        }
        let bytes = stream.into_inner().expect("written");
        let to = dir.path().join("node");
        unpack(bytes.as_slice(), &to).expect("taken");
        assert_eq!(std::fs::read_to_string(to.join("good/a")).expect("there"), "1");
        assert!(
            to.join("b").exists() && !dir.path().join("out").exists() && !Path::new("/tmp/crm-report-out").exists()
        );
        assert_eq!(unpack(b"".as_slice(), &to), Err("nothing came".to_owned()));
    }
}
