//! Kernel, modules and initramfs, made once and kept in a cache directory.

use super::{VmError, io_at};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a guest boots from.
#[derive(Clone, Debug)]
pub struct Image {
    pub kernel: PathBuf,
    pub initramfs: PathBuf,
    /// `…/lib/modules` with all modules of that kernel, to be bound to `/lib/modules` in the guest.
    pub modules: PathBuf,
}

/// Modules that the initramfs needs before it can see the host's files; everything else loads from there.
const EARLY_MODULES: [&str; 4] = ["virtio_pci", "9pnet_virtio", "9p", "overlay"];

/// Programs and the Debian packages that hold them.
const TOOLS: [(&str, &str); 6] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("cpio", "cpio"),
    ("modprobe", "kmod"),
    ("dpkg", "dpkg"),
    ("apt-get", "apt"),
];

/// Debian packages that must be installed first; empty when all is there.
pub fn missing_tools() -> Vec<&'static str> {
    let dirs: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .chain(["/sbin".into(), "/usr/sbin".into()])
        .collect();
    TOOLS.iter().filter(|(tool, _)| !dirs.iter().any(|d| d.join(tool).exists())).map(|(_, package)| *package).collect()
}

/// Makes the image in `cache`, or finds the one made before.
pub fn prepare(cache: &Path) -> Result<Image, VmError> {
    fs::create_dir_all(cache).map_err(io_at(cache))?;
    let cache = &cache.canonicalize().map_err(io_at(cache))?;
    let root = cache.join("kernel");
    if !cache.join("kernel.complete").exists() {
        unpack_kernel(cache, &root)?;
        fs::write(cache.join("kernel.complete"), "").map_err(io_at(cache))?;
    }
    let modules = root.join("lib/modules");
    let version = only_entry(&modules)?;
    let image = Image {
        kernel: root.join("boot").join(format!("vmlinuz-{version}")),
        initramfs: cache.join(format!("initramfs-{version}.cpio")),
        modules,
    };
    // Made anew each time: it takes a tenth of a second, and the init script may have changed.
    build_initramfs(&root, &version, &image.initramfs)?;
    Ok(image)
}

fn unpack_kernel(cache: &Path, root: &Path) -> Result<(), VmError> {
    let depends = output(Command::new("apt-cache").args(["depends", "linux-image-amd64"]))?;
    let package = depends
        .lines()
        .filter_map(|l| l.trim().strip_prefix("Depends: "))
        .find(|p| p.starts_with("linux-image-"))
        .ok_or(VmError::NoKernelPackage)?;
    let downloads = cache.join("download");
    let _ = fs::remove_dir_all(&downloads);
    fs::create_dir_all(&downloads).map_err(io_at(&downloads))?;
    // apt drops to the user _apt, which must be able to write here.
    fs::set_permissions(&downloads, fs::Permissions::from_mode(0o777)).map_err(io_at(&downloads))?;
    output(
        Command::new("apt-get").args(["-o", "APT::Sandbox::User=root", "download", package]).current_dir(&downloads),
    )?;
    let deb = downloads.join(only_entry(&downloads)?);
    output(Command::new("dpkg").arg("-x").arg(&deb).arg(root))?;
    let version = only_entry(&root.join("lib/modules"))?;
    output(Command::new("depmod").arg("-b").arg(root).arg(&version))?;
    fs::remove_dir_all(&downloads).map_err(io_at(&downloads))
}

fn build_initramfs(root: &Path, version: &str, target: &Path) -> Result<(), VmError> {
    let tree = target.with_extension("tree");
    let _ = fs::remove_dir_all(&tree);
    for dir in ["bin", "mod", "proc", "sys", "dev", "lower", "upper", "new"] {
        fs::create_dir_all(tree.join(dir)).map_err(io_at(&tree))?;
    }
    let busybox = which("busybox").unwrap_or_else(|| "/bin/busybox".into());
    fs::copy(&busybox, tree.join("bin/busybox")).map_err(io_at(busybox))?;
    let mut order = Vec::new();
    for module in EARLY_MODULES {
        let listed =
            output(Command::new("modprobe").arg("-d").arg(root).args(["-S", version, "--show-depends", module]))?;
        for path in listed.lines().filter_map(|l| l.strip_prefix("insmod ")).map(|p| PathBuf::from(p.trim())) {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            if !order.contains(&name) {
                fs::copy(&path, tree.join("mod").join(&name)).map_err(io_at(&path))?;
                order.push(name);
            }
        }
    }
    let init = tree.join("init");
    fs::write(&init, init_script(&order)).map_err(io_at(&init))?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).map_err(io_at(&init))?;
    pack(&tree, target)?;
    fs::remove_dir_all(&tree).map_err(io_at(tree))
}

fn init_script(modules: &[String]) -> String {
    let insmod: String =
        modules.iter().map(|m| format!("$B insmod /mod/{m} || $B echo \"insmod {m} failed\"\n")).collect();
    format!(
        "#!/bin/busybox sh\nB=/bin/busybox\n\
         $B mount -t proc proc /proc; $B mount -t sysfs sys /sys; $B mount -t devtmpfs dev /dev\n\
         {insmod}\
         $B mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro host /lower\n\
         $B mount -t tmpfs -o size=2g tmp /upper; $B mkdir /upper/up /upper/work\n\
         $B mount -t overlay -o lowerdir=/lower,upperdir=/upper/up,workdir=/upper/work overlay /new\n\
         for d in proc sys dev; do $B mkdir -p /new/$d; $B mount -o move /$d /new/$d; done\n\
         $B mkdir -p /new/result; $B mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=none result /new/result\n\
         exec $B switch_root /new /bin/sh /result/start\n"
    )
}

fn pack(tree: &Path, target: &Path) -> Result<(), VmError> {
    let file = fs::File::create(target).map_err(io_at(target))?;
    let mut find =
        Command::new("find").arg(".").current_dir(tree).stdout(Stdio::piped()).spawn().map_err(io_at("find"))?;
    let names = find.stdout.take().map_or_else(Stdio::null, Stdio::from);
    let status = Command::new("cpio")
        .args(["-o", "-H", "newc", "--quiet"])
        .current_dir(tree)
        .stdin(names)
        .stdout(file)
        .status()
        .map_err(io_at("cpio"))?;
    let _ = find.wait();
    if status.success() {
        return Ok(());
    }
    Err(VmError::Tool { tool: "cpio".into(), status: status.to_string(), stderr: String::new() })
}

fn only_entry(dir: &Path) -> Result<String, VmError> {
    let mut names = fs::read_dir(dir).map_err(io_at(dir))?.filter_map(Result::ok).map(|e| e.file_name());
    names.next().map(|n| n.to_string_lossy().into_owned()).ok_or(VmError::NoKernelPackage)
}

fn which(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|d| d.join(name)).find(|p| p.exists())
}

/// Standard output of a command that must succeed.
fn output(command: &mut Command) -> Result<String, VmError> {
    let tool = command.get_program().to_string_lossy().into_owned();
    let out = command.stdin(Stdio::null()).output().map_err(io_at(&tool))?;
    if !out.status.success() {
        let stderr = String::from_utf8_lossy(&out.stderr).trim().to_owned();
        return Err(VmError::Tool { tool, status: out.status.to_string(), stderr });
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
