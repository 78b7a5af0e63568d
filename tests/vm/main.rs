//! Scenarios that need kernel IPVS. This binary boots a guest (see `lab::vm`) and runs itself there.
//!
//! On the host it boots; in the guest (`BASCULE_IN_GUEST=1`) it runs the scenarios, all of one kind of guest in one boot.
//! Arguments are parts of scenario names to run; without any, all run.

mod doctor;
mod ecmp;
mod failover;
mod guest;
mod hold;
mod ipvsadm;
mod ldirectord;
mod machine;
mod many;
mod power;
mod probe;
mod refused;
mod reload;
mod scenarios;
mod takeover;
mod topology;
mod tunnels;
mod watchdog;

#[allow(dead_code)] // The clusters' tests use all of it.
#[path = "../cluster/fixture.rs"]
mod fixture;

use lab::vm::Clock;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A scenario: its name and what it does; an `Err` says what was expected and what was seen.
pub type Scenario = (&'static str, fn() -> Result<(), String>);

/// Says in the guest that its clock counts instructions.
const STEADY: &str = "BASCULE_STEADY";

/// The binary under test, as cargo built it.
pub const BASCULE: &str = env!("CARGO_BIN_EXE_bascule");

fn main() -> ExitCode {
    if std::env::var_os("BASCULE_TOOL").is_some() {
        return hold::tool(&std::env::args().skip(1).collect::<Vec<_>>());
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    if std::env::args().any(|a| a == "--list") {
        return ExitCode::SUCCESS;
    }
    if std::env::var_os("BASCULE_IN_GUEST").is_some() { in_guest(&wanted) } else { on_host(&wanted) }
}

fn wanted_here<Run: Copy>(scenarios: &[(&'static str, Run)], wanted: &[String]) -> Vec<(&'static str, Run)> {
    let named = |name: &str| wanted.is_empty() || wanted.iter().any(|w| name.contains(w.as_str()));
    scenarios.iter().filter(|(name, _)| named(name)).copied().collect()
}

fn in_guest(wanted: &[String]) -> ExitCode {
    let mut failed = 0;
    let limit = Duration::from_secs(if std::env::var_os("BASCULE_LONG").is_some() { 3600 } else { 600 });
    let scenarios = if std::env::var_os(STEADY).is_some() { scenarios::STEADY } else { scenarios::ALL };
    for (name, run) in wanted_here(scenarios, wanted) {
        let began = Instant::now();
        println!("run  {name}");
        let Some(result) = watchdog::within(limit, run) else {
            println!("STUCK {name}: no end within {} s\n{}", limit.as_secs(), watchdog::what_hangs());
            return ExitCode::FAILURE;
        };
        match result {
            Ok(()) => println!("ok   {name} ({:.1} s)", began.elapsed().as_secs_f32()),
            Err(why) => {
                failed += 1;
                println!("FAIL {name} ({:.1} s)\n{why}", began.elapsed().as_secs_f32());
            }
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn on_host(wanted: &[String]) -> ExitCode {
    let missing = lab::vm::missing_tools();
    if !missing.is_empty() {
        println!("SKIPPED: all VM scenarios; install the Debian packages {}", missing.join(" "));
        return if std::env::var_os("CI").is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    // Guests that do not ask for the host's time run beside the one that does: together they take as long as it.
    let passed = std::thread::scope(|scope| {
        let beside = scope.spawn(|| power(wanted) && passes(wanted, Clock::Instructions));
        passes(wanted, Clock::Host) & beside.join().unwrap_or(false)
    });
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// All scenarios of one guest.
fn passes(wanted: &[String], clock: Clock) -> bool {
    let scenarios = if clock == Clock::Host { scenarios::ALL } else { scenarios::STEADY };
    if wanted_here(scenarios, wanted).is_empty() {
        return true;
    }
    let mut result = boot(wanted, clock);
    if let Err(why @ lab::vm::VmError::Silent { .. }) = &result {
        // Nothing in user space can stop a whole kernel: that was the emulator, and says nothing of what is tested.
        println!("{why}\nBOOTING ONCE MORE: the emulated machine stood still");
        result = boot(wanted, clock);
    }
    match result {
        Ok(0) => return true,
        Ok(code) => println!("the guest's run failed with exit code {code}"),
        Err(why) => println!("{why}"),
    }
    false
}

/// The scenarios whose guests go down.
fn power(wanted: &[String]) -> bool {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/vm");
    for (name, run) in wanted_here(power::ALL, wanted) {
        let began = Instant::now();
        println!("run  {name}");
        let result = prepare(&target).map_err(|e| e.to_string()).and_then(|image| run(&image, &target.join("power")));
        let took = began.elapsed().as_secs_f32();
        if let Err(why) = result {
            println!("FAIL {name} ({took:.1} s)\n{why}");
            return false;
        }
        println!("ok   {name} ({took:.1} s)");
    }
    true
}

/// Kernel and initramfs, made by whoever comes first.
fn prepare(target: &Path) -> Result<lab::vm::Image, lab::vm::VmError> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    lab::vm::prepare(target)
}

fn boot(wanted: &[String], clock: Clock) -> Result<i32, lab::vm::VmError> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/vm");
    let image = prepare(&target)?;
    let me =
        std::env::current_exe().map_err(|source| lab::vm::VmError::Io { path: "current executable".into(), source })?;
    let passed: String = ["BASCULE_SHARED", "BASCULE_LONG", "BASCULE_SEED"]
        .iter()
        .filter_map(|name| std::env::var(name).ok().map(|value| format!("{name}='{value}' ")))
        .collect();
    let (dir, steady) = match clock {
        Clock::Instructions => ("steady", format!("{STEADY}=1 ")),
        Clock::Host => ("run", String::new()),
    };
    let mut output = Lines::default();
    let words: String = wanted.iter().map(|w| format!(" '{w}'")).collect();
    let long = std::env::var_os("BASCULE_LONG").is_some();
    let job = lab::vm::Job {
        script: format!("{passed}{steady}BASCULE_IN_GUEST=1 '{}'{words}", me.display()),
        deadline: Duration::from_secs(if long { 5400 } else { 2400 }),
        memory_mb: 4096,
        clock,
    };
    let result = lab::vm::run(&image, &target.join(dir), &job, |text| output.take(text))?;
    println!("guest: power-on to power-off in {:.1} s", result.took.as_secs_f32());
    Ok(result.exit_code)
}

/// What a guest says, printed by whole lines: two speak at a time.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn take(&mut self, text: &str) {
        self.0.push_str(text);
        if let Some(end) = self.0.rfind('\n') {
            print!("{}", &self.0[..=end]);
            self.0.drain(..=end);
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        print!("{}", self.0);
    }
}
