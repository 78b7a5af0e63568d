//! `ldirectord CONFIG top`: every real server, again and again.

use super::ask::{self, AskError};
use super::exit;
use super::paths::Paths;
use super::show;
use crate::terminal::{self, View};
use ::ldirectord::service::{RealStatus, Standing, Status};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Row, Table};
use std::time::Duration;

const KEYS: &str = "q quit   arrows scroll   t only trouble   a by active connections   l by latency";

pub fn top(paths: &Paths, interval: Duration, rounds: u64) -> i32 {
    if !terminal::is_live() {
        return print(paths, interval, rounds.max(1));
    }
    // A director that is not there at the start is a mistake; one that goes away later is news.
    if let Err(e) = ask::status(paths) {
        return complain(&e);
    }
    match terminal::run(interval, rounds, || ask::status(paths), draw) {
        Ok(()) => exit::OK,
        Err(e) => {
            kernel::errln!("ldirectord: terminal: {e}");
            exit::FAILED
        }
    }
}

fn complain(error: &AskError) -> i32 {
    kernel::errln!("ldirectord: {error}");
    if matches!(error, AskError::NotRunning { .. }) { exit::STOPPED } else { exit::FAILED }
}

fn print(paths: &Paths, interval: Duration, rounds: u64) -> i32 {
    for round in 0..rounds {
        if round > 0 {
            std::thread::sleep(interval);
        }
        match ask::status(paths) {
            Ok(status) => kernel::output::put(show::text(&status)),
            Err(e) => return complain(&e),
        }
        if !kernel::output::is_open() {
            break;
        }
    }
    exit::OK
}

fn draw(frame: &mut Frame<'_>, seen: &Result<Status, AskError>, view: &mut View) {
    let status = match seen {
        Ok(status) => status,
        Err(e) => {
            frame.render_widget(Paragraph::new(e.to_string()), frame.area());
            return;
        }
    };
    let troubles = show::troubles(status);
    let height = (troubles.len() as u16).min(frame.area().height / 3);
    let layout = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(height),
        Constraint::Min(1),
        Constraint::Length(1),
    ]);
    let [top, middle, body, bottom] = layout.areas(frame.area());
    frame.render_widget(Line::raw(show::head(status)), top);
    let red = Style::new().fg(Color::Red);
    frame.render_widget(Paragraph::new(troubles.into_iter().map(Line::raw).collect::<Vec<_>>()).style(red), middle);
    let rows = rows(status, view);
    let room = usize::from(body.height.saturating_sub(1)).max(1);
    view.scroll = view.scroll.min(rows.len().saturating_sub(room));
    let shown = rows.into_iter().skip(view.scroll).take(room);
    let widths = [22, 22, 22, 9, 7, 8, 10, 8].map(Constraint::Length).into_iter().chain([Constraint::Min(10)]);
    let header = Row::new(std::iter::once("SERVICE").chain(show::COLUMNS)).style(Modifier::BOLD);
    frame.render_widget(Table::new(shown, widths).header(header), body);
    frame.render_widget(Line::styled(KEYS, Modifier::DIM), bottom);
}

fn rows(status: &Status, view: &View) -> Vec<Row<'static>> {
    let mut all: Vec<(&str, &RealStatus)> =
        status.virtuals.iter().flat_map(|v| v.reals.iter().map(move |r| (v.id.as_str(), r))).collect();
    if view.is_on('t') {
        all.retain(|(_, r)| !is_well(r));
    }
    if view.is_on('l') {
        all.sort_by_key(|(_, r)| std::cmp::Reverse(r.latency_us));
    } else if view.is_on('a') {
        all.sort_by_key(|(_, r)| std::cmp::Reverse(r.active_conns));
    }
    let row = |(id, real): (&str, &RealStatus)| {
        let style = match real.standing {
            _ if is_well(real) => Style::new(),
            Standing::Down => Style::new().fg(Color::Red),
            Standing::Up | Standing::Unknown => Style::new().fg(Color::Yellow),
        };
        Row::new(std::iter::once(id.to_owned()).chain(show::row(real))).style(style)
    };
    all.into_iter().map(row).collect()
}

fn is_well(real: &RealStatus) -> bool {
    real.standing == Standing::Up && real.weight == Some(real.configured_weight) && real.failures == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn status() -> Status {
        let real = |n: u8, standing: &str, weight: serde_json::Value| {
            serde_json::json!({
                "server": format!("10.0.1.{n}:80"), "standing": standing, "source": "check", "maintenance": false, "weight": weight,
                "configured_weight": 5, "failures": 0, "since_ms": 1_000, "last_check_age_ms": 10, "last_answer": "said", "latency_us": 1_000,
                "check": "GET x", "active_conns": n, "inactive_conns": 0,
            })
        };
        let reals: Vec<_> = (1..=30)
            .map(|n| if n == 9 { real(n, "down", serde_json::Value::Null) } else { real(n, "up", 5.into()) })
            .collect();
        serde_json::from_value(serde_json::json!({
            "pid": 1, "uptime_ms": 1_000, "config": "/x.cf", "active": true, "last_reload": null, "table_error": "no table", "refused": [],
            "repairs": 0, "virtuals": [{"id": "tcp:10.0.0.1:80", "scheduler": "rr", "all_down": false, "fallback_active": false, "reals": reals}],
        }))
        .unwrap()
    }

    fn screen(view: &mut View) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(130, 10)).unwrap();
        let seen = Ok(status());
        terminal.draw(|frame| draw(frame, &seen, view)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        (0..10)
            .map(|y| (0..130).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>().trim_end().to_owned())
            .collect()
    }

    #[test]
    fn the_screen() {
        let mut view = View::default();
        let lines = screen(&mut view);
        assert_eq!(lines[0], "ldirectord for /x.cf: pid 1, up 1s, keeps the table");
        assert!(
            lines[1].contains("no table") && lines[2].starts_with("SERVICE") && lines[9].starts_with("q quit"),
            "{lines:#?}"
        );
        assert!(lines[3].starts_with("tcp:10.0.0.1:80        10.0.1.1:80"), "{lines:#?}");
        view.scroll = 1_000;
        assert!(screen(&mut view)[8].contains("10.0.1.30:80"), "the last row is the last that can be reached");
        view.switches.insert('t');
        let lines = screen(&mut view);
        assert!(lines[3].contains("10.0.1.9:80") && lines[4].is_empty(), "{lines:#?}");
        view.switches = ['a'].into();
        assert!(screen(&mut view)[3].contains("10.0.1.30:80"));
    }
}
