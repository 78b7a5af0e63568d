//! `ipvsadm top`: the table with its rates, again and again, busiest services first.

use super::parse::EXIT_USAGE;
use super::values::number;
use kernel::ipvs::render::{self, Names, Numeric, Options, View};
use kernel::ipvs::{Error, Ipvs, Kernel, Memory};
use kernel::names::SystemNames;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

const HELP: &str = "\
Shows services and real servers with their rates, busiest first, until interrupted.

  ipvsadm top [-n] [--stats] [--interval SECONDS] [--rounds N] [--table FILE.json]

  -n           numbers instead of names
  --stats      counters instead of rates
  --interval   seconds between two looks (default 2, as often as the kernel estimates)
  --rounds     stop after so many looks
Example: ipvsadm top -n --interval 5
";

struct Settings {
    numeric: bool,
    view: View,
    interval_s: u64,
    rounds: u64,
    file: Option<String>,
}

/// Runs until interrupted or done; returns the exit code.
pub fn run(words: &[String]) -> i32 {
    let settings = match parse(words) {
        Ok(Some(settings)) => settings,
        Ok(None) => {
            print!("{HELP}");
            return 0;
        }
        Err(message) => {
            eprintln!("{message}");
            return EXIT_USAGE;
        }
    };
    let mut table: Box<dyn Ipvs> = match &settings.file {
        None => Box::new(Kernel::new()),
        Some(file) => match Memory::load(Path::new(file)) {
            Ok(memory) => Box::new(memory),
            Err(e) => {
                eprintln!("{e}");
                return EXIT_USAGE;
            }
        },
    };
    show(&settings, table.as_mut())
}

fn show(settings: &Settings, table: &mut dyn Ipvs) -> i32 {
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
    let mut round = 0;
    loop {
        let text = match look(settings, table) {
            Ok(text) => text,
            Err(e) => {
                eprintln!("{e}");
                return 1;
            }
        };
        // Home and clear: no flicker from scrolling.
        let clear = if terminal { "\x1b[H\x1b[2J" } else { "" };
        let mut out = std::io::stdout().lock();
        if write!(out, "{clear}{text}").and_then(|()| out.flush()).is_err() {
            return 0;
        }
        round += 1;
        if round == settings.rounds {
            return 0;
        }
        std::thread::sleep(Duration::from_secs(settings.interval_s));
    }
}

fn look(settings: &Settings, table: &mut dyn Ipvs) -> Result<String, Error> {
    let mut services = table.services()?;
    services.sort_by_key(|s| std::cmp::Reverse((s.stats.cps, s.stats.inpps + s.stats.outpps)));
    for service in &mut services {
        service.dests.sort_by_key(|d| std::cmp::Reverse((d.stats.cps, d.stats.inpps + d.stats.outpps)));
    }
    let names: &dyn Names = if settings.numeric { &Numeric } else { &SystemNames };
    let options = Options { view: settings.view, exact: false, no_sort: true };
    Ok(render::table(&table.info()?, &services, &options, names))
}

fn parse(words: &[String]) -> Result<Option<Settings>, String> {
    let mut settings = Settings { numeric: false, view: View::Rate, interval_s: 2, rounds: 0, file: None };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (name, glued) = word.split_once('=').map_or((word.as_str(), None), |(n, v)| (n, Some(v)));
        let mut value =
            || glued.or_else(|| words.next().map(String::as_str)).ok_or(format!("{name}: missing argument"));
        match name {
            "-n" | "--numeric" => settings.numeric = true,
            "--stats" => settings.view = View::Stats,
            "--rate" => settings.view = View::Rate,
            "--interval" => settings.interval_s = positive(name, value()?)?,
            "--rounds" => settings.rounds = positive(name, value()?)?,
            "--table" => settings.file = Some(value()?.to_owned()),
            "-h" | "--help" => return Ok(None),
            _ => return Err(format!("{word}: unknown option; 'ipvsadm top --help' lists them")),
        }
    }
    Ok(Some(settings))
}

fn positive(name: &str, text: &str) -> Result<u64, String> {
    let value = number(text, 1, 86_400).and_then(|n| u64::try_from(n).ok());
    value.ok_or_else(|| format!("{name}: expected a number from 1 to 86400, got '{text}'"))
}
