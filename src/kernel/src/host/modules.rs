//! Kernel modules: which are loaded, and which could be.

use std::collections::BTreeSet;
use std::path::Path;

/// `modules.dep` larger than this is not read.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Names with `_` (`ip_vs_wrr`).
pub fn loaded_modules() -> BTreeSet<String> {
    let text = read("/proc/modules".as_ref()).unwrap_or_default();
    text.lines().filter_map(|l| l.split(' ').next()).map(str::to_owned).collect()
}

/// What `modprobe` could load for the running kernel, and what is built in; `None` if the lists are not there.
pub fn available_modules() -> Option<BTreeSet<String>> {
    let release = nix::sys::utsname::uname().ok()?.release().to_str()?.to_owned();
    let directory = Path::new("/lib/modules").join(release);
    let dep = read(&directory.join("modules.dep"))?;
    let built_in = read(&directory.join("modules.builtin")).unwrap_or_default();
    Some(dep.lines().chain(built_in.lines()).filter_map(name).collect())
}

/// `kernel/net/netfilter/ipvs/ip_vs_wrr.ko.xz: …` to `ip_vs_wrr`.
fn name(line: &str) -> Option<String> {
    let path = line.split(':').next()?;
    let file = path.rsplit('/').next()?;
    Some(file.split(".ko").next()?.replace('-', "_"))
}

fn read(path: &Path) -> Option<String> {
    let in_proc = path.starts_with("/proc");
    if !in_proc && std::fs::metadata(path).ok()?.len() > MAX_BYTES {
        return None;
    }
    std::fs::read(path).ok().map(|b| String::from_utf8_lossy(&b).into_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_of_modules() {
        let line = "kernel/net/netfilter/ipvs/ip_vs_wrr.ko.xz: kernel/net/netfilter/ipvs/ip_vs.ko.xz";
        assert_eq!(super::name(line).as_deref(), Some("ip_vs_wrr"));
        assert_eq!(super::name("kernel/drivers/net/netdevsim-x.ko").as_deref(), Some("netdevsim_x"));
    }
}
