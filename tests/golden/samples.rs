//! Every sample CIB that is handed out verifies without a word.

use std::path::{Path, PathBuf};

#[test]
fn sample_cibs_are_valid() {
    let files = xml_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("configs"));
    assert!(!files.is_empty());
    for file in files {
        let text = std::fs::read_to_string(&file).expect("readable");
        let root = xml::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        // Firewalld's services are XML as well.
        if root.name() == "service" {
            continue;
        }
        let problems = cib::schema::check(&root);
        assert!(problems.is_empty(), "{}: {problems:?}", file.display());
        cib::Cib::from_element(root).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }
}

fn xml_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(xml_files(&path));
        } else if path.extension().is_some_and(|e| e == "xml") {
            found.push(path);
        }
    }
    found
}

/// `configs/topologies/NAME`: an operator's own `crm_verify` finds nothing, every parameter is one of its agent's, and
/// the director takes every file of virtual services that the CIB names.
#[test]
fn topologies_are_complete() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/topologies");
    let files = xml_files(&dir);
    assert!(files.len() >= 7, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).expect("readable");
        assert!(text.starts_with("<!--"), "{}: no head that explains it", file.display());
        let (code, said) = bascule(&["crm_verify", "-V", "-x", &file.to_string_lossy()]);
        assert!(code == 0 && !said.contains("error:") && !said.contains("warning:"), "{}: {said}", file.display());
        let root = xml::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        // Firewalld's services are XML as well.
        if root.name() == "service" {
            continue;
        }
        let mut named = std::collections::BTreeSet::new();
        for primitive in root.descendants().filter(|e| e.name() == "primitive") {
            let agent = primitive.attr("type").expect("type");
            let (code, metadata) = bascule(&["ocf", agent, "meta-data"]);
            assert_eq!(code, 0, "{agent}");
            for pair in primitive.descendants().filter(|e| e.name() == "nvpair") {
                let name = pair.attr("name").expect("name");
                assert!(metadata.contains(&format!("<parameter name=\"{name}\"")), "{agent} has no parameter {name}");
                if name == "configfile" {
                    let path = Path::new(pair.attr("value").expect("value"));
                    named.insert(path.file_name().expect("file name").to_owned());
                }
            }
        }
        for name in named {
            let path = file.with_file_name(name);
            let accepted = ldirectord::service::load(&path).unwrap_or_else(|e| panic!("{e}"));
            assert!(accepted.warnings.is_empty(), "{}: {:?}", path.display(), accepted.warnings);
        }
    }
}

/// The documented kernel settings are those that are set.
#[test]
fn kernel_settings_are_documented() {
    use kernel::settings::{Host, SETTINGS, Topology};
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/topologies/README.md");
    let text = std::fs::read_to_string(readme).expect("readable");
    for s in SETTINGS {
        let host = if s.host == Host::RealServer { "real server, " } else { "" };
        let names: Vec<&str> = s.when.iter().map(|t: &Topology| t.name()).collect();
        let when = if names.is_empty() { "always".to_owned() } else { names.join(" ") };
        let row = format!("| `{}` | {} | {host}{when} | {} |", s.name, s.wanted.value(), s.reason);
        assert!(text.contains(&row), "configs/topologies/README.md lacks the row\n{row}");
    }
}

fn bascule(words: &[&str]) -> (i32, String) {
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_bascule")).args(words).output().expect("bascule runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    (out.status.code().unwrap_or(-1), text)
}
