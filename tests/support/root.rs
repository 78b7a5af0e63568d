//! Whether network namespaces can be made here.

/// `None`, and a word about it, where the tests cannot run.
pub fn root() -> Option<()> {
    if nix::unistd::geteuid().is_root() {
        return Some(());
    }
    println!("SKIPPED: needs root for network namespaces");
    None
}
