//! Makes a failing input smaller while it fails in the same way.

use crate::mutate::{collect, element, element_mut, take};
use std::path::Path;
use xml::Element;

/// Attempts that are made at most.
const MAX_ATTEMPTS: usize = 20_000;

fn fails(cib: &Element, kind: &str) -> bool {
    let same = |outcome: Result<(), (&'static str, String)>| outcome.is_err_and(|(k, _)| k == kind);
    same(crate::examine(cib)) || same(crate::examine_more(cib))
}

/// Writes the smallest input that is found.
pub fn write(file: &Path, cib: Element, kind: &str) {
    std::fs::write(file, cib.to_pretty()).unwrap();
    if kind == "slow" {
        return;
    }
    let (mut smallest, mut attempts) = (cib, 0);
    loop {
        let before = attempts;
        let mut shrunk = drop_elements(&mut smallest, kind, &mut attempts);
        shrunk |= drop_attributes(&mut smallest, kind, &mut attempts);
        if !shrunk || attempts >= MAX_ATTEMPTS || attempts == before {
            break;
        }
    }
    std::fs::write(file, smallest.to_pretty()).unwrap();
    println!("{} elements left, in {}", smallest.descendants().count(), file.display());
}

/// Tries to do without each element, the largest subtrees first.
fn drop_elements(smallest: &mut Element, kind: &str, attempts: &mut usize) -> bool {
    let mut shrunk = false;
    let mut depth = 1;
    loop {
        let mut paths = Vec::new();
        collect(smallest, &mut Vec::new(), &mut paths);
        let level: Vec<Vec<usize>> = paths.into_iter().filter(|p| p.len() == depth).collect();
        if level.is_empty() || *attempts >= MAX_ATTEMPTS {
            return shrunk;
        }
        // From behind, so that the positions of those before stay right.
        for path in level.iter().rev() {
            let mut smaller = smallest.clone();
            take(&mut smaller, path);
            *attempts += 1;
            if fails(&smaller, kind) {
                *smallest = smaller;
                shrunk = true;
            }
        }
        depth += 1;
    }
}

fn drop_attributes(smallest: &mut Element, kind: &str, attempts: &mut usize) -> bool {
    let mut paths = vec![Vec::new()];
    collect(smallest, &mut Vec::new(), &mut paths);
    let mut shrunk = false;
    for path in paths {
        let names: Vec<String> =
            element(smallest, &path).into_iter().flat_map(|e| e.attrs().map(|(n, _)| n.to_owned())).collect();
        for name in names {
            let mut smaller = smallest.clone();
            element_mut(&mut smaller, &path).unwrap().remove_attr(&name);
            *attempts += 1;
            if *attempts < MAX_ATTEMPTS && fails(&smaller, kind) {
                *smallest = smaller;
                shrunk = true;
            }
        }
    }
    shrunk
}
