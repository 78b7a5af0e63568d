//! `bascule top`: the whole cluster on the terminal, again and again; once, as text, where there is none.
//!
//! [`sections`] makes lines of what was found ([`Facts`]); both ways of showing draw the same ones.

use crate::client::Client;
use crate::metrics::Facts;
use crate::report::put;
use crate::terminal::{self, View};
use ::ldirectord::service::{Standing, Status};
use base::exit::crm;
use base::ipvs::{ServiceEntry, ServiceKey};
use clap::Parser;
use kernel::ipvs::render::short;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use scheduler::status::{Cluster, Node, Resource};
use std::ffi::OsString;
use std::time::Duration;
use wire::api::{Incident, NodeStatus, Timeline, incidents};

const KEYS: &str =
    "q quit  arrows scroll  hide: n nodes  r resources  s services  f failures  h happened   t only trouble";
/// Of what happened.
const MAX_INCIDENTS: usize = 8;

/// Show the whole cluster: nodes, quorum, resources, services, failures, what happened
#[derive(Parser, Debug)]
#[command(
    name = "top",
    disable_version_flag = true,
    after_help = "Examples:
  bascule top                    live; q leaves
  bascule top --once             one look, as text
  bascule top --interval 5       looks every five seconds

Keys: n, r, s, f, h hide and show a part; t leaves only what is not well; arrows and page keys scroll.
For programs: bascule metrics, bascule events --json, crm_mon --output-as=json.

Exit codes: 0 shown; 102 no daemon"
)]
pub struct Top {
    /// One look, as text
    #[arg(long)]
    once: bool,
    /// Seconds between looks
    #[arg(short, long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
}

pub fn main(args: Vec<OsString>) -> i32 {
    let top = match crate::args::parse::<Top>("top", args) {
        Ok(top) => top,
        Err(code) => return code,
    };
    let client = Client::from_env();
    // At the start it is a mistake; later it is news.
    if let Err(why) = client.get::<NodeStatus>("/v1/status") {
        kernel::errln!("top: {why}");
        return why.exit_code();
    }
    if top.once || !terminal::is_live() {
        put(&text(&look()));
        return crm::OK;
    }
    match terminal::run(Duration::from_secs(top.interval), 0, look, draw) {
        Ok(()) => crm::OK,
        Err(e) => {
            kernel::errln!("top: terminal: {e}");
            crm::ERROR
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tone {
    Plain,
    Title,
    Good,
    Odd,
    Bad,
}

type Row = (Tone, String);

/// A part that a key hides.
struct Section {
    key: char,
    title: String,
    rows: Vec<Row>,
}

struct Seen {
    head: Vec<Row>,
    sections: Vec<Section>,
}

fn look() -> Seen {
    let facts = Facts::ask();
    let mut client = Client::from_env();
    client.timeout = Duration::from_secs(4);
    let timeline = client.get::<Timeline>("/v1/timeline");
    let happened = timeline.map(|t| incidents(&t.events, MAX_INCIDENTS)).unwrap_or_default();
    Seen { head: head(&facts), sections: sections(&facts, &happened) }
}

fn head(facts: &Facts) -> Vec<Row> {
    let mut rows = Vec::new();
    match &facts.status.answer {
        Ok(status) => {
            let (tone, quorum) = if status.quorate { (Tone::Good, "quorate") } else { (Tone::Bad, "WITHOUT QUORUM") };
            let votes = facts
                .quorum
                .get()
                .map(|q| format!(", {} of {} votes, {} needed", q.total_votes, q.expected_votes, q.quorum));
            let coordinator = status.dc_name.as_deref().unwrap_or("none");
            rows.push((
                tone,
                format!(
                    "{} on {}: {quorum}{}; coordinator {coordinator}; {} IPVS",
                    status.cluster_name,
                    status.name,
                    votes.unwrap_or_default(),
                    status.data_plane
                ),
            ));
            if let Some(device) = facts.quorum.get().and_then(|q| q.device.as_ref()) {
                let tone = if device.trouble.is_none() && device.alive { Tone::Plain } else { Tone::Bad };
                let votes = if device.cast { ", votes for us" } else { "" };
                let trouble = device.trouble.as_ref().map(|t| format!(": {t}")).unwrap_or_default();
                rows.push((
                    tone,
                    format!("arbitrator {} ({}) {}{votes}{trouble}", device.host, device.algorithm, device.state),
                ));
            }
            rows.extend(status.warnings.iter().map(|w| (Tone::Odd, format!("warning: {w}"))));
        }
        Err(why) => rows.push((Tone::Bad, why.clone())),
    }
    if let Err(why) = &facts.held.answer {
        rows.push((Tone::Bad, format!("configuration: {why}")));
    }
    rows
}

fn sections(facts: &Facts, happened: &[Incident]) -> Vec<Section> {
    let mut all = Vec::new();
    let mut add = |key: char, title: &str, rows: Vec<Row>| {
        if !rows.is_empty() {
            all.push(Section { key, title: title.to_owned(), rows });
        }
    };
    if let Some(held) = facts.held.get() {
        let cluster = &held.cluster;
        add('n', "NODES", cluster.nodes.iter().map(|n| node(n, facts.status.get())).collect());
        let mut rows = Vec::new();
        cluster.resources.iter().for_each(|r| resource(r, 0, &mut rows));
        add('r', "RESOURCES", rows);
        add('f', "FAILURES", failures(cluster));
    }
    let table = facts.table.get().and_then(|t| t.as_deref()).unwrap_or_default();
    let directors = facts.directors.get().map(Vec::as_slice).unwrap_or_default();
    add('s', "SERVICES", directors.iter().flat_map(|d| director(d, table)).collect());
    let told = |i: &Incident| (Tone::Plain, format!("{}  {}", crate::clock::stamp_us(i.wall_us), i.summary));
    add('h', "HAPPENED", happened.iter().map(told).collect());
    all
}

fn node(node: &Node, status: Option<&NodeStatus>) -> Row {
    let (tone, state) = match node {
        Node { unclean: true, .. } => (Tone::Bad, "UNCLEAN"),
        Node { pending: true, .. } => (Tone::Odd, "pending"),
        Node { online: true, shutdown: true, .. } => (Tone::Odd, "shutting down"),
        Node { online: true, standby: true, .. } => (Tone::Odd, "standby"),
        Node { online: true, maintenance: true, .. } => (Tone::Odd, "maintenance"),
        Node { online: true, .. } => (Tone::Good, "online"),
        Node { .. } => (Tone::Bad, "offline"),
    };
    let known = status.and_then(|s| s.nodes.iter().find(|n| n.name == node.name));
    let links = status.into_iter().flat_map(|s| &s.links).filter(|l| known.is_some_and(|k| k.id == l.peer));
    let links: Vec<String> = links
        .map(|l| match (l.up, l.rtt_us) {
            (true, Some(rtt)) => format!("link {} {rtt} \u{b5}s", l.link),
            (true, None) => format!("link {} up", l.link),
            (false, _) => format!("link {} DOWN", l.link),
        })
        .collect();
    let tone = if links.iter().any(|l| l.ends_with("DOWN")) && tone == Tone::Good { Tone::Odd } else { tone };
    let dc = if node.is_dc { "  coordinator" } else { "" };
    (tone, format!("{:<20} {state:<14} {:>3} running{dc}  {}", node.name, node.running.len(), links.join(", ")))
}

fn resource(r: &Resource, depth: usize, rows: &mut Vec<Row>) {
    let marks = [
        (r.failed, "FAILED"),
        (r.blocked, "BLOCKED"),
        (r.disabled, "disabled"),
        (!r.managed, "unmanaged"),
        (r.maintenance, "maintenance"),
    ];
    let marks: Vec<&str> = marks.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
    let tone = match () {
        () if r.failed || r.blocked => Tone::Bad,
        () if !marks.is_empty() || (r.active_on.is_empty() && r.children.is_empty()) => Tone::Odd,
        () => Tone::Plain,
    };
    let on = r.active_on.join(" ");
    let name = format!("{:indent$}{}", "", r.name, indent = depth * 2);
    rows.push((tone, format!("{name:<34} {:<10} {on:<20} {}", r.role.text(), marks.join(" "))));
    r.children.iter().for_each(|c| resource(c, depth + 1, rows));
}

fn failures(cluster: &Cluster) -> Vec<Row> {
    let told = |f: &scheduler::status::FailedAction| {
        let why = f.exit_reason.as_deref().unwrap_or("no reason was given");
        (Tone::Bad, format!("{} {} on {}: {why} (code {})", f.resource, f.operation, f.node, f.rc))
    };
    cluster.failures.iter().map(told).collect()
}

/// As a director calls it.
fn label(key: &ServiceKey) -> String {
    match key {
        ServiceKey::Address { protocol, addr, port } => {
            format!("{}:{}", format!("{protocol:?}").to_lowercase(), std::net::SocketAddr::new(*addr, *port))
        }
        ServiceKey::Fwmark { mark, .. } => format!("fwm:{mark}"),
    }
}

fn director(director: &Status, table: &[ServiceEntry]) -> Vec<Row> {
    let keeps = if director.active { "keeps the table" } else { "checks only" };
    let mut rows = vec![(Tone::Plain, format!("{} ({keeps})", director.config.as_deref().unwrap_or("ldirectord")))];
    rows.extend(crate::ldirectord::troubles(director).into_iter().map(|t| (Tone::Bad, format!("  {t}"))));
    for v in &director.virtuals {
        let entry = table.iter().find(|e| label(&e.service.key) == v.id);
        let rates = entry.map(|e| {
            format!("{}/s  in {}B/s  out {}B/s", short(e.stats.cps), short(e.stats.inbps), short(e.stats.outbps))
        });
        let (tone, state) = match (v.all_down, v.fallback_active) {
            (_, true) => (Tone::Bad, "FALLBACK"),
            (Some(true), _) => (Tone::Bad, "DOWN"),
            _ => (Tone::Plain, ""),
        };
        rows.push((tone, format!("  {:<30} {:<6} {state} {}", v.id, v.scheduler, rates.unwrap_or_default())));
        for r in &v.reals {
            let (tone, state) = match r.standing {
                _ if r.maintenance => (Tone::Odd, "maint"),
                _ if r.drained => (Tone::Odd, "drained"),
                Standing::Up => (Tone::Good, "up"),
                Standing::Down => (Tone::Bad, "DOWN"),
                Standing::Unknown => (Tone::Odd, "unknown"),
            };
            let weight = r.weight.map_or("-".to_owned(), |w| w.to_string());
            let conns = r.active_conns.map_or("-".to_owned(), |n| n.to_string());
            let ms = r.latency_us as f64 / 1000.0;
            rows.push((
                tone,
                format!(
                    "    {:<28} {state:<8} weight {weight:>5}  conns {conns:>7}  {ms:>7.1} ms  {}",
                    r.server, r.last_answer
                ),
            ));
        }
    }
    rows
}

/// What is shown of a look: parts that are not hidden, and with `t` only what is not well.
fn rows(seen: &Seen, view: &View) -> Vec<Row> {
    let mut all = seen.head.clone();
    for section in seen.sections.iter().filter(|s| !view.is_on(s.key)) {
        let wanted = |r: &&Row| !view.is_on('t') || matches!(r.0, Tone::Odd | Tone::Bad) || section.key == 'h';
        let rows: Vec<Row> = section.rows.iter().filter(wanted).cloned().collect();
        if !rows.is_empty() {
            all.push((Tone::Title, section.title.clone()));
            all.extend(rows.into_iter().map(|(tone, text)| (tone, format!("  {}", text.trim_end()))));
        }
    }
    all
}

fn text(seen: &Seen) -> String {
    rows(seen, &View::default()).iter().map(|(_, line)| format!("{line}\n")).collect()
}

fn draw(frame: &mut Frame<'_>, seen: &Seen, view: &mut View) {
    let [body, bottom] = Layout::vertical([Constraint::Min(1), Constraint::Length(1)]).areas(frame.area());
    let rows = rows(seen, view);
    view.scroll = view.scroll.min(rows.len().saturating_sub(usize::from(body.height)));
    let style = |tone: Tone| match tone {
        Tone::Plain => Style::new(),
        Tone::Title => Style::new().add_modifier(Modifier::BOLD),
        Tone::Good => Style::new().fg(Color::Green),
        Tone::Odd => Style::new().fg(Color::Yellow),
        Tone::Bad => Style::new().fg(Color::Red),
    };
    let shown = rows.into_iter().skip(view.scroll).map(|(tone, text)| Line::styled(text, style(tone)));
    frame.render_widget(Paragraph::new(shown.collect::<Vec<_>>()), body);
    frame.render_widget(Line::styled(KEYS, Modifier::DIM), bottom);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn seen() -> Seen {
        let row = |tone, text: &str| (tone, text.to_owned());
        Seen {
            head: vec![row(Tone::Good, "web on n1: quorate")],
            sections: vec![
                Section {
                    key: 'n',
                    title: "NODES".to_owned(),
                    rows: vec![row(Tone::Good, "n1 online"), row(Tone::Bad, "n2 offline")],
                },
                Section {
                    key: 'r',
                    title: "RESOURCES".to_owned(),
                    rows: (0..50).map(|n| row(Tone::Plain, &format!("r{n}"))).collect(),
                },
            ],
        }
    }

    fn screen(view: &mut View) -> String {
        let mut terminal = Terminal::new(TestBackend::new(100, 12)).expect("a terminal");
        terminal.draw(|frame| draw(frame, &seen(), view)).expect("drawn");
        let buffer = terminal.backend().buffer().clone();
        buffer.content().chunks(100).map(|l| l.iter().map(|c| c.symbol()).collect::<String>() + "\n").collect()
    }

    #[test]
    fn keys_hide_parts_and_what_is_well() {
        let mut view = View::default();
        let all = screen(&mut view);
        assert!(
            all.contains("quorate") && all.contains("n2 offline") && all.contains("r3") && all.contains("q quit"),
            "{all}"
        );
        view.switches.insert('n');
        assert!(!screen(&mut view).contains("n2 offline"));
        view.switches = ['t'].into();
        let trouble = screen(&mut view);
        assert!(
            trouble.contains("n2 offline") && !trouble.contains("n1 online") && !trouble.contains("RESOURCES"),
            "{trouble}"
        );
        view = View { scroll: 1000, ..View::default() };
        assert!(screen(&mut view).contains("r49") && view.scroll < 1000, "scrolled no further than to the end");
    }
}
