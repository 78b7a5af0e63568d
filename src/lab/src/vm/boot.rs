//! One job in one guest: start it, follow what it prints, take its result, and never outlive the deadline.

use super::{Image, VmError, io_at};
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Lines of the guest's console that an error shows.
const CONSOLE_LINES: usize = 60;

/// What the guest's kernel says, in the directory of the guest.
pub const CONSOLE: &str = "console.log";

/// A guest that does not add to its pulse for this long stands still: it does so every few seconds.
const SILENCE: Duration = Duration::from_secs(180);

/// What a guest's time comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// The host's: where the host is busy the guest's processors stand still while their time goes on.
    Host,
    /// The instructions that its one processor has done, a nanosecond each, and none while it idles: for scenarios that need more
    /// than emulated processors do in time. What is measured there is the same on any machine, and takes as long as it takes.
    Instructions,
}

impl Clock {
    fn options(self) -> &'static [&'static str] {
        match self {
            Clock::Host => &["-accel", "tcg,thread=multi,tb-size=1024", "-smp", "2"],
            Clock::Instructions => {
                &["-accel", "tcg,thread=single,tb-size=1024", "-icount", "shift=0,sleep=off", "-rtc", "clock=vm"]
            }
        }
    }
}

/// What the guest is to do.
pub struct Job {
    /// Shell commands, run as root in the guest with the working directory of the caller.
    pub script: String,
    /// From power-on to power-off.
    pub deadline: Duration,
    pub memory_mb: u32,
    pub clock: Clock,
}

/// What the job left behind.
#[derive(Debug)]
pub struct JobResult {
    /// Exit code of the script.
    pub exit_code: i32,
    /// Host path of the directory that the guest saw as `/result`.
    pub dir: PathBuf,
    pub took: Duration,
}

/// Everything the job prints goes to `on_output` as it comes, in pieces.
pub fn run(image: &Image, dir: &Path, job: &Job, mut on_output: impl FnMut(&str)) -> Result<JobResult, VmError> {
    let _ = fs::remove_dir_all(dir);
    let mut emulator = emulator(image, dir, &job.script, job.memory_mb, job.clock)?;
    let dir = dir.canonicalize().map_err(io_at(dir))?;
    let console = dir.join(CONSOLE);
    let began = Instant::now();
    let mut guest = Guest(emulator.spawn().map_err(io_at("qemu-system-x86_64"))?);
    let mut log = Follower { path: dir.join("output.log"), at: 0 };
    let mut pulse = Follower { path: dir.join("pulse"), at: 0 };
    let mut last_pulse = Instant::now();
    loop {
        on_output(&log.read());
        if guest.0.try_wait().map_err(io_at("qemu"))?.is_some() {
            break;
        }
        if !pulse.read().is_empty() {
            last_pulse = Instant::now();
        }
        if last_pulse.elapsed() > SILENCE {
            return Err(VmError::Silent { seconds: SILENCE.as_secs(), last_words: last_lines(&console), console });
        }
        if began.elapsed() > job.deadline {
            return Err(VmError::Deadline {
                seconds: job.deadline.as_secs(),
                last_words: last_lines(&console),
                console,
            });
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    on_output(&log.read());
    let code = fs::read_to_string(dir.join("exit-code")).ok().and_then(|t| t.trim().parse().ok());
    let exit_code = code.ok_or_else(|| VmError::NoResult { last_words: last_lines(&console), console })?;
    Ok(JobResult { exit_code, dir, took: began.elapsed() })
}

/// The emulator that boots a guest for this script, not started: for whoever gives it further devices, or a namespace to run in.
/// `dir` is what the guest sees as `/result`; what lies there already stays.
pub fn emulator(image: &Image, dir: &Path, script: &str, memory_mb: u32, clock: Clock) -> Result<Command, VmError> {
    fs::create_dir_all(dir).map_err(io_at(dir))?;
    let dir = dir.canonicalize().map_err(io_at(dir))?;
    let cwd = std::env::current_dir().map_err(io_at("."))?;
    write(&dir.join("start"), &start_script(image, &cwd))?;
    write(&dir.join("job"), script)?;
    let console = dir.join(CONSOLE);
    let log = fs::File::create(&console).map_err(io_at(&console))?;
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(clock.options())
        .args(["-cpu", "max"])
        .args(["-nographic", "-no-reboot", "-nic", "none", "-m", &memory_mb.to_string()])
        .arg("-kernel")
        .arg(&image.kernel)
        .arg("-initrd")
        .arg(&image.initramfs)
        .args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off nopti"])
        .args(["-fsdev", "local,id=h,path=/,security_model=none,readonly=on,multidevs=remap"])
        .args(["-device", "virtio-9p-pci,fsdev=h,mount_tag=host"])
        .arg("-fsdev")
        .arg(format!("local,id=r,path={},security_model=none", dir.display()))
        .args(["-device", "virtio-9p-pci,fsdev=r,mount_tag=result"])
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(io_at(&console))?)
        .stderr(log);
    Ok(command)
}

/// The end of what the guest's kernel said: on another machine nobody can look into the file.
fn last_lines(console: &Path) -> String {
    let text = String::from_utf8_lossy(&fs::read(console).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(CONSOLE_LINES)..].join("\n")
}

/// Kills the emulator when the caller gives up or panics.
struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Follower {
    path: PathBuf,
    at: u64,
}

impl Follower {
    fn read(&mut self) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = fs::File::open(&self.path) {
            let _ = file.seek(SeekFrom::Start(self.at));
            let _ = file.read_to_end(&mut text);
        }
        self.at += text.len() as u64;
        String::from_utf8_lossy(&text).into_owned()
    }
}

fn start_script(image: &Image, cwd: &Path) -> String {
    // A checkout in /tmp must stay in sight; the host's other files there do no harm.
    let tmp = if cwd.starts_with("/tmp") { ":" } else { "mount -t tmpfs tmpfs /tmp" };
    format!(
        "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8\n\
         mount -t tmpfs tmpfs /run; {tmp}; mkdir -p /dev/shm /dev/pts\n\
         mount -t tmpfs tmpfs /dev/shm; mount -t devpts devpts /dev/pts\n\
         mkdir -p /lib/modules; mount --bind '{modules}' /lib/modules\n\
         ln -sfn /run /var/run; mkdir -p /run/lock; hostname vm; ip link set lo up\n\
         cd '{cwd}'\n\
         (while :; do echo alive >>/result/pulse; sleep 5; done) &\n\
         sh /result/job >/result/output.log 2>&1 </dev/null\n\
         echo $? >/result/exit-code; sync; exec /bin/busybox poweroff -f\n",
        modules = image.modules.display(),
        cwd = cwd.display()
    )
}

fn write(path: &Path, text: &str) -> Result<(), VmError> {
    fs::write(path, text).map_err(io_at(path))
}
