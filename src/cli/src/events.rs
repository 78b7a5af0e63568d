//! `bascule events`: what happens, as it happens: the node's timeline, and real servers that come and go, one line each.
//!
//! The node keeps its timeline in the order of causes, and some reports come late: each look goes back a little, and what was told is
//! not told again. A node that is started anew counts from the beginning.

use crate::client::Client;
use crate::source::Failure;
use ::ldirectord::service::{Standing, Status};
use base::exit::crm;
use clap::Parser;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wire::api::{Timeline, TimelineEvent};

/// Between two looks.
const LOOK_EACH: Duration = Duration::from_millis(250);
/// Directors are asked less often.
const SERVERS_EACH: u32 = 4;
/// So far back at each look.
const LATE_US: u64 = 2_000_000;
/// Of these none is news.
const NOISE: [&str; 3] = ["schedule", "peer", "reach"];

/// Show what happens on this node and in its cluster, as it happens
#[derive(Parser, Debug)]
#[command(
    name = "events",
    disable_version_flag = true,
    after_help = "Examples:
  bascule events                        from now on, until interrupted
  bascule events --json | while read -r line; do …; done
                                        one JSON object a line: node, wall_us, kind, subject, text
  bascule events --past --once          what the node still knows, and no more
  bascule events --kind quorum --kind server_down --count 1
                                        until the first of these

Kinds: heartbeat_lost, ring, quorum, dc, address_added, address_dropped, announced, agent_end, fence, link_down, …; of this command: server_up,
server_down, server_drained, server_maintenance, server_back, node_gone, node_back.

Exit codes: 0 ended as asked; 102 no daemon at the start"
)]
pub struct Events {
    /// One JSON object for each line
    #[arg(long)]
    json: bool,
    /// First what is known of before
    #[arg(long)]
    past: bool,
    /// Do not wait for more
    #[arg(long)]
    once: bool,
    /// Only of this kind; may be given several times
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,
    /// Everything, also what happens all the time
    #[arg(long)]
    all: bool,
    /// End after so many
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

pub fn main(args: Vec<OsString>) -> i32 {
    let events = match crate::args::parse::<Events>("events", args) {
        Ok(events) => events,
        Err(code) => return code,
    };
    match events.run() {
        Ok(()) => crm::OK,
        Err(failure) => {
            kernel::errln!("events: {}", failure.message);
            failure.code
        }
    }
}

/// A line.
#[derive(Serialize)]
struct Told<'a> {
    node: &'a str,
    wall_us: i64,
    kind: &'a str,
    subject: &'a str,
    text: &'a str,
}

/// What has been told, and how far.
#[derive(Default)]
struct Follower {
    node: String,
    /// µs of the node's own clock.
    last: u64,
    now: u64,
    told: BTreeSet<(u64, String, String, String)>,
    servers: BTreeMap<(String, String), String>,
    gone: bool,
}

impl Events {
    fn run(&self) -> Result<(), Failure> {
        let client = Client::from_env();
        let first: Timeline = client.get("/v1/timeline")?;
        let mut follower = Follower { node: first.node.clone(), ..Follower::default() };
        let mut left = self.count.unwrap_or(u64::MAX);
        let before = follower.news(first);
        if self.past && !self.tell(&follower.node, &before, &mut left) || self.once {
            return Ok(());
        }
        follower.servers(&crate::ldirectord::running());
        for round in 1u32.. {
            std::thread::sleep(LOOK_EACH);
            let mut news = follower.look(&client);
            if round % SERVERS_EACH == 0 {
                news.extend(follower.servers(&crate::ldirectord::running()));
            }
            if !self.tell(&follower.node, &news, &mut left) || !kernel::output::is_open() {
                break;
            }
        }
        Ok(())
    }

    /// `false`: that is enough.
    fn tell(&self, node: &str, events: &[TimelineEvent], left: &mut u64) -> bool {
        for event in events.iter().filter(|e| self.wants(&e.kind)) {
            let line = match self.json {
                true => {
                    let (kind, subject, text) = (&*event.kind, &*event.subject, &*event.text);
                    serde_json::to_string(&Told { node, wall_us: event.wall_us, kind, subject, text })
                        .unwrap_or_default()
                }
                false => format!(
                    "{}  {:<18} {} {}",
                    crate::clock::stamp_us(event.wall_us),
                    event.kind.replace('_', " "),
                    event.subject,
                    event.text
                ),
            };
            kernel::output::put(line.trim_end().to_owned() + "\n");
            *left -= 1;
            if *left == 0 {
                return false;
            }
        }
        true
    }

    fn wants(&self, kind: &str) -> bool {
        match self.kind.is_empty() {
            true => self.all || !NOISE.contains(&kind),
            false => self.kind.iter().any(|k| k.replace(' ', "_") == kind),
        }
    }
}

fn wall_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
}

fn own(kind: &str, subject: &str, text: &str) -> TimelineEvent {
    let (kind, subject, text) = (kind.to_owned(), subject.to_owned(), text.to_owned());
    TimelineEvent { at: base::Time(0), wall_us: wall_us(), kind, subject, text }
}

impl Follower {
    fn look(&mut self, client: &Client) -> Vec<TimelineEvent> {
        let since = self.last.saturating_sub(LATE_US);
        match client.get::<Timeline>(&format!("/v1/timeline?since_us={since}")) {
            Ok(timeline) => {
                let mut news = Vec::new();
                if std::mem::take(&mut self.gone) {
                    news.push(own("node_back", &self.node, "the node answers again"));
                }
                // Started anew: its clock may stand before what was told, or after.
                if timeline.now.0 < self.now {
                    (self.last, self.told) = (0, BTreeSet::new());
                    let whole = client.get::<Timeline>("/v1/timeline").unwrap_or(timeline);
                    news.extend(self.news(whole));
                } else {
                    news.extend(self.news(timeline));
                }
                news
            }
            Err(_) if self.gone => Vec::new(),
            Err(why) => {
                self.gone = true;
                vec![own("node_gone", &self.node, &why.to_string())]
            }
        }
    }

    /// What has not been told, in order.
    fn news(&mut self, timeline: Timeline) -> Vec<TimelineEvent> {
        self.now = timeline.now.0;
        let key = |e: &TimelineEvent| (e.at.0, e.kind.clone(), e.subject.clone(), e.text.clone());
        let news: Vec<TimelineEvent> = timeline.events.into_iter().filter(|e| self.told.insert(key(e))).collect();
        self.last = news.last().map_or(self.last, |e| self.last.max(e.at.0));
        let keep = self.last.saturating_sub(LATE_US);
        self.told.retain(|(at, ..)| *at >= keep);
        news
    }

    /// Servers that are otherwise than at the last look.
    fn servers(&mut self, directors: &[Status]) -> Vec<TimelineEvent> {
        let mut news = Vec::new();
        let mut seen = BTreeMap::new();
        for director in directors {
            for (service, real) in director.virtuals.iter().flat_map(|v| v.reals.iter().map(move |r| (&v.id, r))) {
                let state = match real.standing {
                    _ if real.maintenance => "server_maintenance",
                    _ if real.drained => "server_drained",
                    Standing::Up => "server_up",
                    Standing::Down => "server_down",
                    Standing::Unknown => continue,
                };
                let name = (service.clone(), real.server.clone());
                let before = self.servers.get(&name);
                if before.is_some_and(|b| b != state) {
                    let subject = format!("{} of {service}", real.server);
                    news.push(own(state, &subject, &real.last_answer));
                }
                seen.insert(name, state.to_owned());
            }
        }
        self.servers = seen;
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Time, WallTime};

    fn timeline(now: u64, events: &[(u64, &str)]) -> Timeline {
        let event = |(at, kind): &(u64, &str)| TimelineEvent { at: Time(*at), wall_us: 0, ..own(kind, "", "") };
        Timeline {
            node: "n1".to_owned(),
            now: Time(now),
            wall: WallTime(0),
            forgotten: 0,
            events: events.iter().map(event).collect(),
        }
    }

    #[test]
    fn what_was_told_is_not_told_again_and_what_comes_late_is_told() {
        let mut follower = Follower::default();
        assert_eq!(follower.news(timeline(10, &[(1, "ring"), (9, "quorum")])).len(), 2);
        let late = follower.news(timeline(20, &[(1, "ring"), (5, "link_down"), (9, "quorum"), (15, "dc")]));
        assert_eq!(late.iter().map(|e| e.kind.as_str()).collect::<Vec<_>>(), ["link_down", "dc"]);
        assert!(follower.news(timeline(30, &[(15, "dc")])).is_empty());
    }
}
