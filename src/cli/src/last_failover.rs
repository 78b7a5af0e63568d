//! `bascule last-failover`: what happened last, from the first sign to the last consequence, in one line and with its milliseconds.

use crate::args::{self, Command};
use crate::client::Client;
use crate::report::{Common, Format, put};
use crate::source::Failure;
use base::exit::crm;
use clap::Parser;
use std::ffi::OsString;
use std::fmt::Write;
use wire::api::{Incident, Timeline, incidents};

/// Show what happened last, with its milliseconds
#[derive(Parser, Debug)]
#[command(
    name = "last-failover",
    disable_version_flag = true,
    after_help = "Examples:\n  bascule last-failover              the last fault and what followed, as this node saw it\n  bascule last-failover --count 5    the last five, newest first\n  bascule last-failover --brief      one line each\n  bascule last-failover --json       for programs; times in \u{b5}s\n\nExit codes: 0 shown; 102 no daemon; 105 nothing has happened since the node was started"
)]
pub struct LastFailover {
    /// How many
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,
    /// One line each
    #[arg(short, long)]
    brief: bool,
    /// The same as --output-as=json
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    common: Common,
}

pub fn main(args: Vec<OsString>) -> i32 {
    args::run::<LastFailover>(args)
}

impl Command for LastFailover {
    const NAME: &'static str = "last-failover";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        if self.common.output_as == Format::Xml {
            return Err(Failure::usage("there is no XML of this; --json has it for programs"));
        }
        let timeline: Timeline = Client::from_env().get("/v1/timeline")?;
        let found = incidents(&timeline.events, usize::from(self.count));
        if self.json || self.common.output_as == Format::Json {
            let text = serde_json::to_string_pretty(&found).unwrap_or_default();
            self.common.write(&(text + "\n"))?;
        } else if !found.is_empty() {
            let text: String = found.iter().map(|i| self.text(i)).collect::<Vec<_>>().join("\n");
            match self.common.output_to {
                Some(_) => self.common.write(&text)?,
                None => put(&text),
            }
        }
        match found.is_empty() {
            true => Err(Failure::new(crm::NOSUCH, "nothing has happened since this node was started")),
            false => Ok(crm::OK),
        }
    }
}

impl LastFailover {
    fn text(&self, incident: &Incident) -> String {
        let mut out = format!("{}  {}\n", crate::clock::stamp_us(incident.wall_us), incident.summary);
        if self.brief {
            return out;
        }
        for e in &incident.events {
            let after = e.after_us as f64 / 1000.0;
            let _ = writeln!(out, "{after:>10.1} ms  {:<16} {} {}", e.kind.replace('_', " "), e.subject, e.text);
        }
        if incident.more > 0 {
            let _ = writeln!(out, "               and {} more", incident.more);
        }
        out
    }
}
