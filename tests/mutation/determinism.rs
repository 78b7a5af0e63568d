//! The same input gives the same bytes in other processes, whose hash tables have other seeds, and in other time zones.

use crate::shared::shared;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_bascule");

/// Offsets that are not whole hours, and days that differ.
const ZONES: [&str; 3] = ["UTC", "Pacific/Kiritimati", "<-0330>3:30"];

/// Every so many-th case; all with `BASCULE_LONG`.
const STEP: usize = 16;

#[test]
fn the_same_bytes_everywhere() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mutation/samples");
    let mut files: Vec<PathBuf> = std::fs::read_dir(samples).unwrap().map(|e| e.unwrap().path()).collect();
    if let Some(cases) = shared("scheduler/cases/xml") {
        let mut more: Vec<PathBuf> = std::fs::read_dir(cases).unwrap().map(|e| e.unwrap().path()).collect();
        more.sort();
        let step = if std::env::var_os("BASCULE_LONG").is_some() { 1 } else { STEP };
        files.extend(more.into_iter().step_by(step));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for file in &files {
        let first = run(file, ZONES[0], dir.path());
        for zone in ZONES {
            if run(file, zone, dir.path()) != first {
                wrong.push(format!("{} with TZ={zone}", file.display()));
            }
        }
    }
    println!("{} inputs, each {} times", files.len(), ZONES.len() + 1);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn run(file: &Path, zone: &str, dir: &Path) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let (graph, dot) = (dir.join("graph"), dir.join("dot"));
    let done = Command::new(PROGRAM)
        .args(["crm_simulate", "-S", "-s", "-U", "-t", "2026-11-20T12:00:00Z", "-x"])
        .arg(file)
        .arg("-G")
        .arg(&graph)
        .arg("-D")
        .arg(&dot)
        .env("TZ", zone)
        .output()
        .unwrap();
    assert!(!done.stdout.is_empty(), "{}: {}", file.display(), String::from_utf8_lossy(&done.stderr));
    (done.stdout, std::fs::read(graph).unwrap(), std::fs::read(dot).unwrap())
}
