//! What `ipvsadm` says where something is missing: the module, a scheduler's module, the right.
//!
//! A rule of modprobe hides a module: the file is there, but nothing loads it.

use crate::BASCULE;
use crate::guest::{Namespace, shell};

const HIDDEN: &str = "/etc/modprobe.d/hidden.conf";
/// A scheduler that nobody else in the guest needs.
const SCHEDULER: &str = "lblcr";
const ADD: &str = "ipvsadm -A -t 10.0.0.1:80 -s";

/// What a command says on a terminal, and its exit code; `before` is what runs it.
fn said(space: &Namespace, before: &str, command: &str) -> Result<String, String> {
    let line = format!("{before} {BASCULE} {command}");
    Ok(space.run(&format!("script -qec '{line}' /dev/null; echo \"exit $?\""))?.replace('\r', ""))
}

fn expect(text: &str, parts: &[&str]) -> Result<(), String> {
    let missing: Vec<_> = parts.iter().filter(|p| !text.contains(**p)).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("expected {missing:?} in:\n{text}")) }
}

fn hide(module: &str) -> Result<(), String> {
    shell(&format!("mkdir -p /etc/modprobe.d && echo 'install {module} /bin/false' > {HIDDEN}")).map(drop)
}

pub fn clear_words() -> Result<(), String> {
    let space = Namespace::new("words")?;
    let result = without_module(&space).and_then(|()| without_scheduler(&space));
    let _ = std::fs::remove_file(HIDDEN);
    result
}

fn without_module(space: &Namespace) -> Result<(), String> {
    if shell(
        "modprobe -r ip_vs_rr ip_vs_wrr ip_vs_wlc ip_vs_sh ip_vs_mh ip_vs 2>/dev/null; grep -q '^ip_vs ' /proc/modules",
    )
    .is_ok()
    {
        println!("     SKIPPED: IPVS is in use in this guest; words without it");
        return Ok(());
    }
    hide("ip_vs")?;
    let root = said(space, "", "ipvsadm -Ln")?;
    println!("     root, module kept away:\n{root}");
    expect(
        &root,
        &["Can't initialize ipvs: Protocol not available", "it is installed for kernel", "modprobe said:", "exit 2"],
    )?;
    let nobody = said(space, "setpriv --reuid 65534 --regid 65534 --clear-groups", "ipvsadm -Ln")?;
    expect(&nobody, &["Can't initialize ipvs: Permission denied (you must be root)", "modprobe ip_vs", "exit 2"])?;
    // No lists of modules: as in a container, or with the package missing.
    let bare = space.run(&format!(
        "unshare -m sh -c 'mount -t tmpfs none /lib/modules; {BASCULE} ipvsadm -Ln' 2>&1; echo \"exit $?\""
    ))?;
    expect(&bare, &["package linux-image-", "in a container the host must load it", "exit 2"])?;
    std::fs::remove_file(HIDDEN).map_err(|e| e.to_string())?;
    expect(&said(space, "", "ipvsadm -Ln")?, &["IP Virtual Server version", "exit 0"])
}

fn without_scheduler(space: &Namespace) -> Result<(), String> {
    shell("modprobe ip_vs")?;
    let module = format!("ip_vs_{SCHEDULER}");
    let _ = shell(&format!("modprobe -r {module}"));
    hide(&module)?;
    let hidden = said(space, "", &format!("{ADD} {SCHEDULER}"))?;
    println!("     scheduler's module kept away:\n{hidden}");
    let cure = format!("modprobe {module}");
    expect(&hidden, &["Scheduler or persistence engine not found", &module, &cure, "exit 255"])?;
    let unknown = said(space, "", &format!("{ADD} nosuch"))?;
    expect(&unknown, &["Scheduler or persistence engine not found", "modules have no ip_vs_nosuch", "exit 255"])?;
    let nobody = said(space, "setpriv --reuid 65534 --regid 65534 --clear-groups", &format!("{ADD} rr"))?;
    expect(&nobody, &["Permission denied (you must be root)"])?;
    std::fs::remove_file(HIDDEN).map_err(|e| e.to_string())?;
    expect(&said(space, "", &format!("{ADD} {SCHEDULER}"))?, &["exit 0"])
}
