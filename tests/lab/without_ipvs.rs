//! What `ipvsadm` says on a kernel without IPVS, to root and to others. (Where the kernel has it: the VM's scenarios.)

use crate::root::root;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Both programs that have the command.
const PROGRAMS: [(&str, &[&str]); 2] =
    [(env!("CARGO_BIN_EXE_bascule"), &["ipvsadm"]), (env!("CARGO_BIN_EXE_bascule-ipvsadm"), &[])];
const NOBODY: u32 = 65_534;

#[test]
fn root_hears_which_package_and_others_that_they_are_not_root() {
    let Some(()) = root() else { return };
    let known = kernel::host::loaded_modules().contains("ip_vs") || std::path::Path::new("/proc/net/ip_vs").exists();
    if known || kernel::host::available_modules().is_some_and(|all| all.contains("ip_vs")) {
        println!("SKIPPED: this kernel has IPVS");
        return;
    }
    for (program, words) in PROGRAMS {
        for (uid, first) in [
            (0, "Can't initialize ipvs: Protocol not available"),
            (NOBODY, "Can't initialize ipvs: Permission denied (you must be root)"),
        ] {
            // Nobody need not be able to read the directory of the build.
            let dir = tempfile::tempdir().expect("a directory");
            let copy = dir.path().join("program");
            std::fs::copy(program, &copy).expect("copied");
            std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .expect("readable");
            let out =
                Command::new(copy).args(words).args(["-L", "-n"]).uid(uid).current_dir("/").output().expect("runs");
            let said = String::from_utf8_lossy(&out.stderr);
            assert_eq!((out.status.code(), said.lines().next()), (Some(2), Some(first)), "{said}");
            let cure = said.lines().nth(2).unwrap_or_default();
            assert!(
                cure.contains("modprobe ip_vs") && cure.contains("linux-image-") && cure.contains("container"),
                "{said}"
            );
        }
    }
}
