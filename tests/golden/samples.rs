//! Every sample CIB that is handed out verifies without a word.

use std::path::{Path, PathBuf};

#[test]
fn sample_cibs_are_valid() {
    let files = xml_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("configs"));
    assert!(!files.is_empty());
    for file in files {
        let text = std::fs::read_to_string(&file).expect("readable");
        let root = xml::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
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
