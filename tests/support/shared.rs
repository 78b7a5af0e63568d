//! The one way to test data from elsewhere: `../shared` beside the checkout, or `BASCULE_SHARED`.

use std::path::PathBuf;

/// Path of `part` in the shared data; prints what is missing and returns `None` where it is absent.
pub fn shared(part: &str) -> Option<PathBuf> {
    let root = std::env::var_os("BASCULE_SHARED")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared")));
    let path = root.join(part);
    if path.exists() {
        return Some(path);
    }
    println!("SKIPPED: shared test data '{part}' is missing ({}); only the project's own cases ran", path.display());
    None
}
