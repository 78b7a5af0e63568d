//! Progress for people: a line that is rewritten on a terminal, plain lines elsewhere. Results go to standard output,
//! and with `--json` everything else goes to standard error.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Without a terminal the status is printed this often.
const PLAIN_STATUS_EVERY: Duration = Duration::from_secs(2);

pub struct Ui {
    bar: Option<ProgressBar>,
    to_stderr: bool,
    start: Instant,
    last_plain: Mutex<Option<Instant>>,
}

impl Ui {
    pub fn new(json: bool) -> Ui {
        let terminal = if json { std::io::stderr().is_terminal() } else { std::io::stdout().is_terminal() };
        let bar = terminal.then(|| {
            let target = if json { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::stdout() };
            let bar = ProgressBar::with_draw_target(None, target);
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Ui { bar, to_stderr: json, start: Instant::now(), last_plain: Mutex::new(None) }
    }

    /// A lasting line, stamped with the seconds since the start.
    pub fn say(&self, text: impl AsRef<str>) {
        let line = format!("{:6.1} s  {}", self.start.elapsed().as_secs_f64(), text.as_ref());
        match &self.bar {
            Some(bar) => bar.println(line),
            None if self.to_stderr => kernel::errln!("{line}"),
            None => kernel::outln!("{line}"),
        }
    }

    /// The line that tells how things are now.
    pub fn status(&self, text: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(text);
            return;
        }
        let due = match self.last_plain.lock() {
            Ok(mut last) if last.is_none_or(|at| at.elapsed() >= PLAIN_STATUS_EVERY) => {
                *last = Some(Instant::now());
                true
            }
            _ => false,
        };
        if due {
            self.say(format!("  … {text}"));
        }
    }

    /// Takes the rewritten line away, before the results.
    pub fn done(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
