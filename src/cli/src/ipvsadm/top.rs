//! `ipvsadm top`: the table with its rates, again and again, busiest services first.

use super::parse::EXIT_USAGE;
use super::values::number;
use crate::terminal;
use base::ipvs::{Info, Protocol, ServiceEntry};
use kernel::ipvs::render::{self, Names, Numeric, Options, View};
use kernel::ipvs::{Error, Ipvs, Kernel, Memory};
use kernel::names::{SystemNames, ask_all};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::Modifier;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const KEYS: &str = "q quit   arrows scroll   s rates or counters   n names or numbers";
/// Version and titles, which do not scroll.
const HEAD_LINES: usize = 3;
/// Hosts whose names are remembered at most.
const MAX_HOSTS: usize = 100_000;
/// How long a resolver may take for all that are new.
const PATIENCE: Duration = Duration::from_secs(5);

const HELP: &str = "\
Shows services and real servers with their rates, busiest first, until interrupted.

  ipvsadm top [-n] [--stats] [--interval SECONDS] [--rounds N] [--table FILE.json]

  -n           numbers instead of names
  --stats      counters instead of rates
  --interval   seconds between two looks (default 2, as often as the kernel estimates)
  --rounds     stop after so many looks
On a terminal: q quits, arrows scroll, s switches between rates and counters, n between names and numbers.
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
            kernel::output::put(HELP);
            return 0;
        }
        Err(message) => {
            kernel::errln!("{message}");
            return EXIT_USAGE;
        }
    };
    let mut table: Box<dyn Ipvs> = match &settings.file {
        None => Box::new(Kernel::new()),
        Some(file) => match Memory::load(Path::new(file)) {
            Ok(memory) => Box::new(memory),
            Err(e) => {
                kernel::errln!("{e}");
                return EXIT_USAGE;
            }
        },
    };
    show(&settings, table.as_mut())
}

fn show(settings: &Settings, table: &mut dyn Ipvs) -> i32 {
    let on_terminal = terminal::is_live();
    let names = Remembered::new(!on_terminal);
    let result = if on_terminal { live(settings, table, &names) } else { print(settings, table, &names) };
    match result {
        Ok(()) => 0,
        Err(message) => {
            kernel::errln!("{message}");
            1
        }
    }
}

fn interval(settings: &Settings) -> Duration {
    Duration::from_secs(settings.interval_s)
}

fn live(settings: &Settings, table: &mut dyn Ipvs, names: &Remembered) -> Result<(), String> {
    // No IPVS at the start is said on the command line; what goes wrong later, on the screen.
    table.info().map_err(|e| e.to_string())?;
    let draw = |frame: &mut Frame<'_>, seen: &Result<Seen, Error>, keys: &mut terminal::View| {
        draw(frame, seen, settings, names, keys);
    };
    terminal::run(interval(settings), settings.rounds, || look(table), draw).map_err(|e| format!("terminal: {e}"))
}

fn print(settings: &Settings, table: &mut dyn Ipvs, names: &Remembered) -> Result<(), String> {
    let mut round = 0;
    loop {
        let text = text(&look(table).map_err(|e| e.to_string())?, settings.view, settings.numeric, names);
        kernel::output::put(&text);
        round += 1;
        if round == settings.rounds || !kernel::output::is_open() {
            return Ok(());
        }
        std::thread::sleep(interval(settings));
    }
}

/// The table, busiest first.
struct Seen {
    info: Info,
    services: Vec<ServiceEntry>,
}

fn look(table: &mut dyn Ipvs) -> Result<Seen, Error> {
    let mut services = table.services()?;
    services.sort_by_key(|s| std::cmp::Reverse((s.stats.cps, s.stats.inpps + s.stats.outpps)));
    for service in &mut services {
        service.dests.sort_by_key(|d| std::cmp::Reverse((d.stats.cps, d.stats.inpps + d.stats.outpps)));
    }
    Ok(Seen { info: table.info()?, services })
}

fn text(seen: &Seen, view: View, numeric: bool, names: &Remembered) -> String {
    let names: &dyn Names = if numeric { &Numeric } else { names };
    render::table(&seen.info, &seen.services, &Options { view, exact: false, no_sort: true }, names)
}

fn draw(
    frame: &mut Frame<'_>,
    seen: &Result<Seen, Error>,
    settings: &Settings,
    names: &Remembered,
    keys: &mut terminal::View,
) {
    let seen = match seen {
        Ok(seen) => seen,
        Err(e) => return frame.render_widget(Paragraph::new(e.to_string()), frame.area()),
    };
    let other = if matches!(settings.view, View::Stats) { View::Rate } else { View::Stats };
    let view = if keys.is_on('s') { other } else { settings.view };
    let text = text(seen, view, settings.numeric != keys.is_on('n'), names);
    let mut lines = text.lines().map(Line::raw);
    let head: Vec<Line<'_>> = lines.by_ref().take(HEAD_LINES).map(|l| l.style(Modifier::BOLD)).collect();
    let rows: Vec<Line<'_>> = lines.collect();
    let layout = Layout::vertical([Constraint::Length(HEAD_LINES as u16), Constraint::Min(1), Constraint::Length(1)]);
    let [top, body, bottom] = layout.areas(frame.area());
    frame.render_widget(Paragraph::new(head), top);
    let room = usize::from(body.height).max(1);
    keys.scroll = keys.scroll.min(rows.len().saturating_sub(room));
    let shown: Vec<Line<'_>> = rows.into_iter().skip(keys.scroll).take(room).collect();
    frame.render_widget(Paragraph::new(shown), body);
    frame.render_widget(Line::styled(KEYS, Modifier::DIM), bottom);
}

/// The system's names, each host asked for once and side by side: a resolver may take seconds to say that there is none. On a
/// terminal nobody waits for them: the number stands there until the name has come.
struct Remembered {
    hosts: Arc<Mutex<BTreeMap<IpAddr, Option<String>>>>,
    asking: Arc<AtomicBool>,
    waits: bool,
    ask: fn(&IpAddr) -> Option<String>,
}

impl Remembered {
    fn new(waits: bool) -> Remembered {
        let ask = |addr: &IpAddr| kernel::names::reverse_lookup(*addr);
        Remembered { hosts: Arc::default(), asking: Arc::default(), waits, ask }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<IpAddr, Option<String>>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Names for Remembered {
    fn learn(&self, addrs: Vec<IpAddr>) {
        let new: Vec<IpAddr> = {
            let known = self.known();
            let room = MAX_HOSTS.saturating_sub(known.len());
            addrs.into_iter().filter(|a| !known.contains_key(a)).take(room).collect()
        };
        if new.is_empty() || self.asking.swap(true, Ordering::AcqRel) {
            return;
        }
        let (hosts, asking, ask) = (self.hosts.clone(), self.asking.clone(), self.ask);
        let work = move || {
            let found = ask_all(new.clone(), ask, PATIENCE);
            let mut hosts = hosts.lock().unwrap_or_else(PoisonError::into_inner);
            hosts.extend(new.into_iter().map(|addr| (addr, None)));
            hosts.extend(found);
            asking.store(false, Ordering::Release);
        };
        match self.waits {
            true => work(),
            false => drop(std::thread::spawn(work)),
        }
    }

    fn host(&self, addr: IpAddr) -> Option<String> {
        self.known().get(&addr).cloned().flatten()
    }

    fn port(&self, port: u16, protocol: Protocol) -> Option<String> {
        SystemNames.port(port, protocol)
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use base::ipvs::{Service, ServiceKey};
    use kernel::ipvs::Change;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn screen(table: &mut Memory, keys: &mut terminal::View) -> Vec<String> {
        let settings = parse(&["-n".to_owned()]).unwrap().unwrap();
        let mut terminal = Terminal::new(TestBackend::new(100, 8)).unwrap();
        let seen = look(table);
        terminal.draw(|frame| draw(frame, &seen, &settings, &Remembered::new(false), keys)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        (0..8)
            .map(|y| (0..100).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>().trim_end().to_owned())
            .collect()
    }

    #[test]
    fn a_screen_does_not_wait_for_names_and_asks_for_each_once() {
        static ASKED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let ask = |addr: &IpAddr| {
            ASKED.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(1_000));
            Some(format!("host-{addr}"))
        };
        let names = Remembered { ask, ..Remembered::new(false) };
        let addrs: Vec<IpAddr> = (1..=9u8).map(|n| [10, 0, 0, n].into()).collect();
        names.learn(addrs.clone());
        assert_eq!(names.host(addrs[0]), None, "not yet");
        let begin = std::time::Instant::now();
        while names.host(addrs[8]).is_none() {
            names.learn(addrs.clone());
            assert!(begin.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!((names.host(addrs[0]).unwrap().as_str(), ASKED.load(Ordering::Relaxed)), ("host-10.0.0.1", 9));
        let waiting = Remembered { ask, ..Remembered::new(true) };
        waiting.learn(addrs[..1].to_vec());
        assert!(waiting.host(addrs[0]).is_some(), "a listing on a pipe waits");
    }

    #[test]
    fn titles_stay_and_rows_scroll() {
        let mut table = Memory::default();
        for n in 1..=9u8 {
            let key = ServiceKey::Address { protocol: Protocol::Tcp, addr: [10, 0, 0, n].into(), port: 80 };
            table.apply(&Change::AddService(Service::new(key, "rr"))).unwrap();
        }
        let mut keys = terminal::View::default();
        let lines = screen(&mut table, &mut keys);
        assert!(lines[0].starts_with("IP Virtual Server version") && lines[1].contains("CPS"), "{lines:#?}");
        assert!(lines[3].starts_with("TCP  10.0.0.1:80") && lines[7].starts_with("q quit"), "{lines:#?}");
        keys.scroll = 100;
        keys.switches.insert('s');
        let lines = screen(&mut table, &mut keys);
        assert!(lines[1].contains("InPkts") && lines[6].starts_with("TCP  10.0.0.9:80"), "{lines:#?}");
        assert_eq!(keys.scroll, 5, "bounded by what there is");
    }
}
