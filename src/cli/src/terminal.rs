//! Live tables on a terminal: the screen, the keys, the clock. What is shown belongs to the command.
//!
//! Where standard output is no terminal a command prints its text instead; see [`is_live`].

use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// What the keys have set so far.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// First row that is shown; the command bounds it by what it has.
    pub scroll: usize,
    /// Letters that were pressed an odd number of times.
    pub switches: std::collections::BTreeSet<char>,
}

impl View {
    pub fn is_on(&self, switch: char) -> bool {
        self.switches.contains(&switch)
    }

    /// Takes a key in; `false`: the user wants to leave.
    fn key(&mut self, code: KeyCode, modifiers: KeyModifiers) -> bool {
        match code {
            KeyCode::Char('q') | KeyCode::Esc => return false,
            KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => return false,
            KeyCode::Down => self.scroll = self.scroll.saturating_add(1),
            KeyCode::Up => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::PageDown => self.scroll = self.scroll.saturating_add(20),
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(20),
            KeyCode::Home => self.scroll = 0,
            KeyCode::Char(c) if self.switches.remove(&c) => {}
            KeyCode::Char(c) if self.switches.len() < 32 => {
                self.switches.insert(c);
            }
            _ => {}
        }
        true
    }
}

/// Asks whether to go on, naming what is at stake; `false` where nobody can be asked.
pub fn confirmed(question: &str, stakes: &[String]) -> bool {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return false;
    }
    kernel::output::complain(format!("{question}:\n  {}\nGo on? [y/N] ", stakes.join("\n  ")));
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    read.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

/// What may have been meant, told to people alone: scripts know the messages as they are.
pub fn hint(nearest: Option<String>) -> Vec<String> {
    let told = nearest.filter(|_| std::io::stderr().is_terminal());
    told.into_iter().map(|near| format!("did you mean '{near}'?")).collect()
}

pub fn is_live() -> bool {
    std::io::stdout().is_terminal() && std::io::stdin().is_terminal()
}

/// Looks each `interval` and draws, at each key as well, until the user leaves or `rounds` (0 = no end) are over.
pub fn run<T>(
    interval: Duration,
    rounds: u64,
    mut look: impl FnMut() -> T,
    mut draw: impl FnMut(&mut Frame<'_>, &T, &mut View),
) -> std::io::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let mut view = View::default();
    let mut round = 0;
    let result = loop {
        let seen = look();
        let until = Instant::now() + interval;
        match watch(&mut terminal, until, &mut view, |frame, view| draw(frame, &seen, view)) {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(e) => break Err(e),
        }
        round += 1;
        if round == rounds {
            break Ok(());
        }
    };
    ratatui::restore();
    result
}

/// Draws and takes keys until the time of the next look; `false`: the user wants to leave.
fn watch(
    terminal: &mut ratatui::DefaultTerminal,
    until: Instant,
    view: &mut View,
    mut draw: impl FnMut(&mut Frame<'_>, &mut View),
) -> std::io::Result<bool> {
    loop {
        terminal.draw(|frame| draw(frame, view))?;
        if !event::poll(until.saturating_duration_since(Instant::now()))? {
            return Ok(true);
        }
        if let Event::Key(key) = event::read()?
            && key.kind != KeyEventKind::Release
            && !view.key(key.code, key.modifiers)
        {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let mut view = View::default();
        let none = KeyModifiers::NONE;
        for code in [KeyCode::Down, KeyCode::PageDown, KeyCode::Up, KeyCode::Char('t')] {
            assert!(view.key(code, none));
        }
        assert_eq!((view.scroll, view.is_on('t')), (20, true));
        assert!(view.key(KeyCode::Char('t'), none) && !view.is_on('t'));
        assert!(!view.key(KeyCode::Char('q'), none) && !view.key(KeyCode::Char('c'), KeyModifiers::CONTROL));
    }
}
