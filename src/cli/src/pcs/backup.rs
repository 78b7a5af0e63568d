//! `pcs config backup|restore`: what a cluster is in one file, and back again, on all nodes or on none.
//!
//! The file is pcs's: a tar packed by bzip2, with `version.txt` (1), `cib.xml`, `corosync.conf` and `corosync_authkey`. Ours has
//! besides `ha.d/NAME`, files of directors, and `pcsd/NAME`, by which the others know the host that wrote it (`host.txt`).

use super::{corosync, report};
use crate::edit::error;
use crate::grammar::Line;
use crate::hosts::{self, Book, Change, Talker, Target};
use crate::source::{Failure, Source};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use wire::pcsd::{Expect, FileBody, Kind, MAX_FILE_BYTES, Places, file, is_plain};
use xml::Element;

const END: &str = ".tar.bz2";
const VERSION: &str = "1";
const CIB: &str = "cib.xml";
const CONF: &str = "corosync.conf";
const KEY: &str = "corosync_authkey";
const DIRECTORS: &str = "ha.d/";
const PCSD: &str = "pcsd/";
/// What lets the others know this host.
const PCSD_FILES: [&str; 4] = [file::KEY, file::CERTIFICATE, file::KNOWN_HOSTS, file::AUTHORISED];
/// Of a whole back-up, unpacked.
const MAX_BYTES: u64 = 64 << 20;
const MAX_FILES: usize = 64;

/// Names and contents, in the order of the names.
type Files = BTreeMap<String, Vec<u8>>;

pub fn backup(source: &Source, line: &Line, words: &[&str]) -> Result<String, Failure> {
    let places = hosts::places();
    let packed = pack(&collect(source, &places)?).map_err(|e| error(format!("the back-up cannot be packed: {e}")))?;
    let Some(name) = words.first() else {
        let written = kernel::output::stdout().write_all(&packed);
        return written.map(|()| String::new()).map_err(|e| error(format!("the back-up cannot be written: {e}")));
    };
    let path = PathBuf::from(if name.ends_with(END) { (*name).to_owned() } else { format!("{name}{END}") });
    if path.exists() && !line.has("--force") {
        return Err(error(format!("'{}' already exists, use --force to overwrite", path.display())));
    }
    kernel::files::replace(&path, &packed, 0o600).map_err(|e| error(format!("{}: {e}", path.display())))?;
    kernel::errln!("{}: keep it as safe as the cluster's key, which is in it", path.display());
    Ok(String::new())
}

fn collect(source: &Source, places: &Places) -> Result<Files, Failure> {
    let read = |path: &Path| {
        kernel::files::read_regular(path, MAX_FILE_BYTES as u64).map_err(|e| error(format!("{}: {e}", path.display())))
    };
    let cib = match source.cib() {
        Ok(root) => without_status(root),
        // The node does not run: what it began with, or would.
        Err(_) => kernel::state::cib(&places.state_dir, MAX_BYTES)
            .map_err(|e| error(format!("{}: {e}", places.state_dir.join(CIB).display())))?,
    };
    let mut files = Files::from([
        ("version.txt".to_owned(), format!("{VERSION}\n").into_bytes()),
        ("host.txt".to_owned(), format!("{}\n", crate::source::host_name()).into_bytes()),
        (CONF.to_owned(), read(&places.conf)?),
        (KEY.to_owned(), read(&places.authkey)?),
    ]);
    for path in directors(&cib, places) {
        match path.file_name().and_then(|n| n.to_str()).filter(|n| is_plain(n)) {
            Some(name) if path.parent() == Some(&places.directors) => {
                drop(files.insert(format!("{DIRECTORS}{name}"), read(&path)?));
            }
            _ => report::warn(&format!(
                "{} is not in the back-up: only files of directors in {} are",
                path.display(),
                places.directors.display()
            )),
        }
    }
    files.insert(CIB.to_owned(), cib.into_bytes());
    for name in PCSD_FILES {
        if let Ok(bytes) = read(&places.pcsd.join(name)) {
            files.insert(format!("{PCSD}{name}"), bytes);
        }
    }
    if std::fs::read_dir(kernel::secrets::directory()).is_ok_and(|mut d| d.next().is_some()) {
        report::warn("passwords that 'cibsecret' keeps are not in the back-up: set them again after it is restored");
    }
    Ok(files)
}

/// As it is on disk: what the nodes are at the moment is none of a back-up's business.
fn without_status(mut root: Element) -> String {
    if let Some(status) = root.child_mut("status") {
        *status = Element::new("status");
    }
    root.to_pretty()
}

/// What is there in the directors' directory, and what resources name elsewhere.
fn directors(cib: &str, places: &Places) -> Vec<PathBuf> {
    let there = std::fs::read_dir(&places.directors).into_iter().flatten().flatten().map(|e| e.path());
    let mut all: Vec<PathBuf> = there.filter(|p| p.extension().is_some_and(|e| e == "cf")).collect();
    if let Ok(root) = xml::parse(cib) {
        let ours = root.descendants().filter(|e| e.name() == "primitive" && e.attr("type") == Some("ldirectord"));
        let named = ours.flat_map(|p| p.descendants()).filter(|e| e.attr("name") == Some("configfile"));
        all.extend(named.filter_map(|e| e.attr("value")).map(PathBuf::from).filter(|p| p.exists()));
    }
    all.sort();
    all.dedup();
    all
}

fn pack(files: &Files) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best()));
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(crate::source::now().secs()).unwrap_or(0));
        header.set_cksum();
        archive.append_data(&mut header, name, content.as_slice())?;
    }
    archive.into_inner()?.finish()
}

fn unpack(packed: impl Read) -> Result<Files, String> {
    let said = |e: std::io::Error| e.to_string();
    let mut archive = tar::Archive::new(bzip2::read::MultiBzDecoder::new(packed).take(MAX_BYTES));
    let mut files = Files::new();
    for entry in archive.entries().map_err(said)? {
        let mut entry = entry.map_err(said)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = entry.path().map_err(said)?.to_string_lossy().trim_start_matches("./").to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(said)?;
        files.insert(name, content);
        if files.len() > MAX_FILES {
            return Err(format!("more than {MAX_FILES} files"));
        }
    }
    Ok(files)
}

pub fn restore(line: &Line, words: &[&str]) -> Result<String, Failure> {
    let what = words.first().copied().unwrap_or("standard input");
    let files = match words.first() {
        Some(name) => std::fs::File::open(name).map_err(|e| e.to_string()).and_then(unpack),
        None => unpack(std::io::stdin().lock()),
    };
    let files =
        files.and_then(whole).map_err(|why| error(format!("{what} is no back-up that can be restored: {why}")))?;
    let places = hosts::places();
    match line.has("--local") {
        true => here(&files, &places),
        false => everywhere(&files),
    }
}

/// Whether all that makes a cluster is there.
fn whole(files: Files) -> Result<Files, String> {
    match files.get("version.txt").map(|v| String::from_utf8_lossy(v).trim().to_owned()) {
        Some(version) if version == VERSION => {}
        Some(version) => return Err(format!("expected version {VERSION}, found {}", version.escape_debug())),
        None => return Err("it has no version.txt".to_owned()),
    }
    match [CIB, CONF, KEY].iter().find(|name| !files.contains_key(**name)) {
        Some(missing) => Err(format!("it has no {missing}")),
        None => Ok(files),
    }
}

/// The files of all nodes, and of directors.
fn bodies(files: &Files) -> Vec<FileBody> {
    let shared = [(CONF, Kind::CorosyncConf), (KEY, Kind::Authkey), (CIB, Kind::Cib)];
    let shared = shared.into_iter().filter_map(|(name, kind)| Some(FileBody::of(kind, files.get(name)?)));
    let directors = files.iter().filter_map(|(name, content)| {
        let name = name.strip_prefix(DIRECTORS)?.to_owned();
        Some(FileBody { name, ..FileBody::of(Kind::Director, content) })
    });
    shared.chain(directors).collect()
}

fn everywhere(files: &Files) -> Result<String, Failure> {
    let conf = files.get(CONF).map(Vec::as_slice).unwrap_or_default();
    let names = corosync::names(&corosync::parsed(conf)?);
    let targets = Book::read()?.targets(&names)?;
    let talker = Talker::of_this_host(&hosts::places())?;
    let bodies = bodies(files);
    let change = |target: &Target| Change { target: target.clone(), expect: Expect::Stopped, files: bodies.clone() };
    hosts::distribute(&talker, targets.iter().map(change).collect(), || Ok(()))?;
    kernel::errln!("Restored on {}; the cluster is started by 'pcs cluster start --all'", hosts::quoted(&names));
    Ok(String::new())
}

/// Without pcsd, which may be what is to be restored.
fn here(files: &Files, places: &Places) -> Result<String, Failure> {
    if hosts::own_service().is_running() {
        return Err(error("the node runs here: 'pcs cluster stop' first"));
    }
    let failed = |path: &Path, e: &dyn std::fmt::Display| error(format!("{}: {e}", path.display()));
    let cib = files.get(CIB).map(|c| String::from_utf8_lossy(c)).unwrap_or_default();
    xml::parse(&cib).map_err(|e| error(format!("cib.xml of the back-up: {e}")))?;
    for dir in [&places.state_dir, &places.pcsd] {
        kernel::files::private_dir(dir).map_err(|e| failed(dir, &e))?;
    }
    let mut to: Vec<(PathBuf, &[u8], u32)> = Vec::new();
    let mut own = false;
    let host = files.get("host.txt").map(|h| String::from_utf8_lossy(h).trim().to_owned()).unwrap_or_default();
    for (name, content) in files {
        let director = name.strip_prefix(DIRECTORS).filter(|n| is_plain(n));
        let known = name.strip_prefix(PCSD).filter(|n| PCSD_FILES.contains(n));
        match (name.as_str(), director, known) {
            (CONF, ..) => to.push((places.conf.clone(), content, 0o644)),
            (KEY, ..) => to.push((places.authkey.clone(), content, 0o400)),
            (CIB, ..) => to.push((places.state_dir.join("cib.xml.staged"), content, 0o600)),
            (_, Some(name), _) => to.push((places.directors.join(name), content, 0o600)),
            (_, _, Some(name)) if base::ids::same_node(&host, &crate::source::host_name()) => {
                own = true;
                to.push((places.pcsd.join(name), content, 0o600));
            }
            _ => {}
        }
    }
    for (path, content, mode) in &to {
        let dir = path.parent().unwrap_or(path);
        std::fs::create_dir_all(dir).map_err(|e| failed(dir, &e))?;
        kernel::files::replace(path, content, *mode).map_err(|e| failed(path, &e))?;
    }
    let staged = places.state_dir.join("cib.xml.staged");
    kernel::state::place_cib(&places.state_dir, &staged).map_err(|e| failed(&staged, &e))?;
    kernel::errln!("Restored on this host alone; it is started by 'pcs cluster start'");
    match own {
        true => kernel::errln!("Its key is there again as well: 'systemctl restart bascule-pcsd' takes it"),
        false => kernel::errln!(
            "The back-up is of {host}: if this host is new to the others, 'pcs host auth' makes it known"
        ),
    }
    Ok(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Files {
        let file = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
        Files::from([
            file("version.txt", "1"),
            file(CIB, "<cib/>"),
            file(CONF, "totem {\n}\n"),
            file(KEY, "key"),
            file("ha.d/web.cf", "virtual=192.0.2.1:80\n"),
        ])
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let packed = pack(&some()).expect("packed");
        assert_eq!(unpack(packed.as_slice()).and_then(whole), Ok(some()));
        assert_eq!(
            bodies(&some()).iter().map(|b| b.kind).collect::<Vec<_>>(),
            [Kind::CorosyncConf, Kind::Authkey, Kind::Cib, Kind::Director]
        );
    }

    #[test]
    fn half_a_back_up_and_what_is_none_are_refused() {
        let packed = pack(&some()).expect("packed");
        assert!(unpack(&packed[..packed.len() / 2]).is_err());
        assert!(unpack(&b"no archive"[..]).is_err());
        for missing in ["version.txt", CIB, CONF, KEY] {
            let mut files = some();
            files.remove(missing);
            assert!(whole(files).expect_err("refused").contains(missing), "{missing}");
        }
        let newer = Files::from([("version.txt".to_owned(), b"2\n".to_vec())]);
        assert!(whole(newer).expect_err("refused").contains("expected version 1"));
    }
}
