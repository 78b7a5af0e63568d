//! How fast: restore, list and one change, ours and Debian's in turn on the same machine.

use super::{Line, Program, released, run, space};
use std::time::{Duration, Instant};

/// Services in the bench, four real servers each. Debian's list takes a socket per service, so the long run is long.
const SERVICES: u32 = 2_000;
const LONG_SERVICES: u32 = 10_000;

fn rules(services: u32) -> String {
    let mut text = String::new();
    for n in 0..services {
        let service = format!("-t 10.{}.{}.{}:80", n / 65_536, n / 256 % 256, n % 256);
        text += &format!("-A {service} -s wrr\n");
        for real in 1..=4 {
            text += &format!("-a {service} -r 172.16.{}.{real}:80 -m -w {real}\n", n % 256);
        }
    }
    text
}

fn timed(space: &kernel::netns::Namespace, program: Program, words: &str, input: &str) -> Result<Duration, String> {
    let line = Line { words: words.split(' ').map(str::to_owned).collect(), input: input.to_owned() };
    let began = Instant::now();
    let outcome = run(space, program, &line)?;
    if outcome.exit != Some(0) {
        return Err(format!("{words}: {outcome:?}"));
    }
    Ok(began.elapsed())
}

/// Prints the figures; fails only if a command fails.
pub fn bench() -> Result<(), String> {
    let services = if std::env::var_os("BASCULE_LONG").is_some() { LONG_SERVICES } else { SERVICES };
    let rules = rules(services);
    println!("     {services} services with 4 real servers each (seconds); ours is {}", released().display());
    let mut figures = Vec::new();
    for (name, program) in [("Debian's", Program::Theirs), ("ours", Program::Released)] {
        let space = space(if program == Program::Released { "bench-ours" } else { "bench-theirs" })?;
        let restore = timed(&space, program, "-R", &rules)?;
        let list = timed(&space, program, "-Ln", "")?;
        let add = (0..20)
            .map(|n| timed(&space, program, &format!("-a -t 10.0.0.1:80 -r 172.17.0.{} -m", n + 1), ""))
            .collect::<Result<Vec<_>, _>>()?;
        let add = add.into_iter().min().unwrap_or_default();
        println!(
            "     {name:<9} restore {:.2}  list {:.2}  one add {:.3}",
            restore.as_secs_f64(),
            list.as_secs_f64(),
            add.as_secs_f64()
        );
        figures.push((restore, list, add));
    }
    if let [theirs, ours] = figures[..] {
        let times = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
        let (restore, list, add) = (times(theirs.0, ours.0), times(theirs.1, ours.1), times(theirs.2, ours.2));
        println!("     ours is faster by: restore {restore:.1}, list {list:.1}, one add {add:.2}");
    }
    Ok(())
}
