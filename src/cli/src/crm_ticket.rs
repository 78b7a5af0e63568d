//! `crm_ticket`: tickets of multi-site clusters: who has them, granting and revoking, their attributes.

use crate::args::{self, Command};
use crate::attributes::sign;
use crate::report::Common;
use crate::source::{Failure, Source};
use base::WallTime;
use base::exit::crm;
use cib::{Op, Request, Target};
use clap::Parser;
use std::ffi::OsString;
use xml::Element;

/// Show, grant, revoke and set tickets
#[derive(Parser, Debug)]
#[command(name = "crm_ticket", disable_version_flag = true, after_help = EXAMPLES)]
pub struct CrmTicket {
    /// List tickets and their states
    #[arg(short = 'l', long, group = "command", help_heading = "Queries")]
    info: bool,
    /// List tickets with all their attributes
    #[arg(short = 'L', long, group = "command", help_heading = "Queries")]
    details: bool,
    /// List the ids of tickets
    #[arg(short = 'w', long, group = "command", help_heading = "Queries")]
    raw: bool,
    /// Show the XML of tickets' states
    #[arg(short = 'q', long, group = "command", help_heading = "Queries")]
    query_xml: bool,
    /// Show the constraints that depend on tickets
    #[arg(short = 'c', long, group = "command", help_heading = "Queries")]
    constraints: bool,
    /// Grant a ticket to this site (needs --force)
    #[arg(short = 'g', long, help_heading = "Commands")]
    grant: bool,
    /// Revoke a ticket from this site (needs --force)
    #[arg(short = 'r', long, help_heading = "Commands")]
    revoke: bool,
    /// What depends on the ticket is to be stopped in good order
    #[arg(short = 's', long, help_heading = "Commands")]
    standby: bool,
    /// End the standby
    #[arg(short = 'a', long, help_heading = "Commands")]
    activate: bool,
    /// Show an attribute
    #[arg(short = 'G', long, value_name = "ATTRIBUTE", group = "command", help_heading = "Advanced")]
    get_attr: Option<String>,
    /// Set an attribute (each with its --attr-value); it may stand beside a command, and all is one change
    #[arg(short = 'S', long, value_name = "ATTRIBUTE", help_heading = "Advanced")]
    set_attr: Vec<String>,
    /// Delete an attribute
    #[arg(short = 'D', long, value_name = "ATTRIBUTE", help_heading = "Advanced")]
    delete_attr: Vec<String>,
    /// Forget the ticket's state at this site
    #[arg(short = 'C', long, group = "command", help_heading = "Advanced")]
    cleanup: bool,
    /// The ticket
    #[arg(short = 't', long, value_name = "ID")]
    ticket: Option<String>,
    /// The value for --set-attr
    #[arg(short = 'v', long, value_name = "VALUE", allow_hyphen_values = true)]
    attr_value: Vec<String>,
    /// With --get-attr: what to show if there is none
    #[arg(short = 'd', long, value_name = "VALUE", allow_hyphen_values = true)]
    default: Option<String>,
    /// Do it although the arbitrator is not asked
    #[arg(short = 'f', long)]
    force: bool,
    /// Accepted: tickets have no sets of attributes any more
    #[arg(short = 'n', long, value_name = "ID")]
    set_name: Option<String>,
    /// Accepted: tickets have no sets of attributes any more
    #[arg(short = 'i', long, value_name = "ID")]
    nvpair: Option<String>,
    /// Only the value
    #[arg(short = 'Q', long)]
    quiet: bool,
    /// Nothing stands here: guides put the ticket behind --grant
    #[arg(hide = true)]
    stray: Option<String>,
    #[command(flatten)]
    common: Common,
}

const EXAMPLES: &str = "Examples:
  crm_ticket --info                              all tickets
  crm_ticket --ticket A --constraints            what depends on A
  crm_ticket --ticket A --standby                stop in good order what depends on A
  crm_ticket --ticket A --grant --force          grant A by hand, where no arbitrator does
  crm_ticket --ticket A --grant --force -S owner -v 7     grant, and set an attribute in the same change
  crm_ticket --ticket A --get-attr granted

Exit codes: 0 done; 64 usage; 105 no such ticket or attribute; 107 it needs --force";

const GRANTED: &str = "granted";
const LAST_GRANTED: &str = "last-granted";
const STANDBY: &str = "standby";
/// Attributes that are moments, in seconds.
const MOMENTS: [&str; 2] = [LAST_GRANTED, "expires"];

pub fn main(args: Vec<OsString>) -> i32 {
    args::run::<CrmTicket>(args)
}

/// A ticket: the attributes of its state. One that only constraints name has none.
struct Ticket<'a> {
    id: &'a str,
    state: Vec<(&'a str, &'a str)>,
}

impl Ticket<'_> {
    fn attr(&self, name: &str) -> Option<&str> {
        self.state.iter().find(|(n, _)| *n == name).map(|(_, value)| *value)
    }

    fn is(&self, name: &str) -> bool {
        self.attr(name).is_some_and(base::text::is_true)
    }

    fn status(&self) -> &'static str {
        if self.is(GRANTED) { "granted" } else { "revoked" }
    }
}

impl Command for CrmTicket {
    const NAME: &'static str = "crm_ticket";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        if let Some(word) = &self.stray {
            return Err(Failure::usage(format!(
                "'{word}' stands alone: a ticket is named with --ticket, as in: {}",
                self.meant(word)
            )));
        }
        let source = Source::open();
        let cib = source.cib()?;
        let tickets = tickets(&cib);
        if self.info || self.details || self.raw {
            self.list(&tickets)?;
        } else if self.query_xml {
            self.query(&cib)?;
        } else if self.constraints {
            self.show_constraints(&cib)?;
        } else if let Some(name) = &self.get_attr {
            self.show_attribute(&tickets, name)?;
        } else {
            self.change(&source, &tickets)?;
            self.common.print(String::new, Vec::new)?;
        }
        Ok(crm::OK)
    }
}

impl CrmTicket {
    fn id(&self) -> Result<&str, Failure> {
        self.ticket.as_deref().ok_or_else(|| Failure::usage("Must supply ticket ID with -t"))
    }

    fn asked(&self, id: &str) -> bool {
        self.ticket.as_deref().is_none_or(|t| t == id)
    }

    fn list(&self, tickets: &[Ticket<'_>]) -> Result<(), Failure> {
        let shown: Vec<&Ticket<'_>> = tickets.iter().filter(|t| self.asked(t.id)).collect();
        if let (Some(id), true) = (&self.ticket, shown.is_empty()) {
            return Err(Failure::new(crm::NOSUCH, format!("No such ticket '{id}'")));
        }
        let line = |t: &&Ticket<'_>| match self.raw {
            true => format!("{}\n", t.id),
            false => format!("{}\t{}{}\n", t.id, t.status(), self.described(t)),
        };
        let all = || vec![shown.iter().map(|t| element(t)).fold(Element::new("tickets"), Element::with_child)];
        self.common.print(|| shown.iter().map(line).collect(), all)
    }

    fn described(&self, t: &Ticket<'_>) -> String {
        let standby = if t.is(STANDBY) { " [standby]" } else { "" };
        let value = |(name, value): &(&str, &str)| match MOMENTS.contains(name) {
            true => format!("{name}={}", moment(value)),
            false => format!("{name}={value}"),
        };
        match (self.details && !t.state.is_empty(), t.attr(LAST_GRANTED)) {
            (true, _) => {
                let all: Vec<String> = t.state.iter().map(value).collect();
                format!("{standby}\t({})", all.join(", "))
            }
            (false, Some(seconds)) => format!("{standby} last-granted=\"{}\"", moment(seconds)),
            (false, None) => standby.to_owned(),
        }
    }

    fn query(&self, cib: &Element) -> Result<(), Failure> {
        let found: Vec<&Element> = states(cib).filter(|e| e.id().is_some_and(|id| self.asked(id))).collect();
        if found.is_empty() {
            return Err(Failure::new(crm::NOSUCH, "Could not query ticket XML: No such device or address"));
        }
        let text = || found.iter().fold("State XML:\n\n".to_owned(), |text, e| text + &e.to_pretty());
        let ticket = |e: &&Element| e.attrs().fold(Element::new("ticket"), |t, (name, value)| t.with(name, value));
        self.common.print(text, || vec![found.iter().map(ticket).fold(Element::new("tickets"), Element::with_child)])
    }

    fn show_constraints(&self, cib: &Element) -> Result<(), Failure> {
        let found: Vec<&Element> =
            constraints(cib).filter(|e| e.attr("ticket").is_some_and(|t| self.asked(t))).collect();
        if found.is_empty() {
            return Err(Failure::new(crm::NOSUCH, "Could not show ticket constraints: No such device or address"));
        }
        let text = || found.iter().fold("Constraints XML:\n\n".to_owned(), |text, e| text + &e.to_pretty());
        let elements = || {
            let ticket = |e: &&Element| {
                let list = Element::new("constraints").with_child((*e).clone());
                Element::new("ticket").with("id", e.attr("ticket").unwrap_or_default()).with_child(list)
            };
            // What the constraints refer to by id is in the document as well.
            let resource = |e: &&Element| Some(Element::new("resource").with("id", e.attr("rsc")?));
            let resources = found.iter().filter_map(resource).fold(Element::new("resources"), Element::with_child);
            vec![found.iter().map(ticket).fold(Element::new("tickets"), Element::with_child), resources]
        };
        self.common.print(text, elements)
    }

    fn show_attribute(&self, tickets: &[Ticket<'_>], name: &str) -> Result<(), Failure> {
        let id = self.id()?;
        let own = tickets.iter().find(|t| t.id == id).and_then(|t| t.attr(name));
        let Some(value) = own.or(self.default.as_deref()) else {
            return Err(Failure::new(crm::NOSUCH, format!("ticket '{id}' has no attribute '{name}'")));
        };
        let element = || {
            let attribute = Element::new("attribute").with("name", name).with("value", value);
            vec![Element::new("tickets").with_child(Element::new("ticket").with("id", id).with_child(attribute))]
        };
        self.common.print(|| format!("{value}\n"), element)
    }

    fn change(&self, source: &Source, tickets: &[Ticket<'_>]) -> Result<(), Failure> {
        let known = |id: &str| tickets.iter().find(|t| t.id == id);
        if self.cleanup {
            let id = self.id()?;
            let ticket = known(id).ok_or_else(|| Failure::new(crm::NOSUCH, format!("No such ticket '{id}'")))?;
            if ticket.is(GRANTED) {
                self.forced(id, Change::Revoke)?;
            }
            let criteria = Element::new("ticket_state").with("id", id);
            return source.call(sign(Request::new(Op::Delete, status(), Some(criteria)))).map(drop);
        }
        let (set, gone) = (self.wanted()?, &self.delete_attr);
        let id = self.id()?;
        let granted = set.iter().rev().find(|(name, _)| *name == GRANTED).map(|(_, value)| base::text::is_true(value));
        match granted {
            Some(true) => self.forced(id, Change::Grant)?,
            Some(false) => self.forced(id, Change::Revoke)?,
            None if gone.iter().any(|name| name == GRANTED) => self.forced(id, Change::Revoke)?,
            None => {}
        }
        let new = Element::new("ticket_state").with("id", id);
        let mut change = set.iter().fold(new, |e, (name, value)| e.with(name, value));
        if granted == Some(true) && !known(id).is_some_and(|t| t.is(GRANTED)) {
            change.set(LAST_GRANTED, crate::source::now().secs().to_string());
        }
        let held = known(id).filter(|t| gone.iter().any(|name| t.attr(name).is_some()));
        if let Some(t) = held {
            let kept = t.state.iter().filter(|(name, _)| !gone.iter().any(|g| g == name));
            let mut whole = kept.fold(Element::new("ticket_state").with("id", id), |e, (n, v)| e.with(n, v));
            change.attrs().for_each(|(name, value)| whole.set(name, value));
            return source.call(sign(Request::new(Op::Replace, status(), Some(whole)))).map(drop);
        }
        // What is not there need not go.
        if set.is_empty() {
            return Ok(());
        }
        let frame = Element::new("status").with_child(Element::new("tickets").with_child(change));
        source.call(sign(Request::upsert("status", frame))).map(drop)
    }

    /// The attributes to set, with their values.
    fn wanted(&self) -> Result<Vec<(&str, &str)>, Failure> {
        let short = [
            (self.grant, GRANTED, "true"),
            (self.revoke, GRANTED, "false"),
            (self.standby, STANDBY, "true"),
            (self.activate, STANDBY, "false"),
        ];
        let mut all: Vec<(&str, &str)> =
            short.iter().filter(|(chosen, _, _)| *chosen).map(|(_, name, value)| (*name, *value)).collect();
        let (mut names, mut values) = (self.set_attr.iter(), self.attr_value.iter());
        loop {
            match (names.next(), values.next()) {
                (Some(name), Some(value)) if !value.is_empty() => all.push((name, value)),
                (Some(name), _) => {
                    return Err(Failure::usage(format!("Must supply attribute value with -v for -S {name}")));
                }
                (None, Some(value)) => {
                    return Err(Failure::usage(format!("Must supply attribute name with -S for -v {value}")));
                }
                (None, None) if all.is_empty() && self.delete_attr.is_empty() => {
                    return Err(Failure::usage("Must supply a command"));
                }
                (None, None) => return Ok(all),
            }
        }
    }

    /// What somebody meant who typed the ticket behind a command.
    fn meant(&self, word: &str) -> String {
        let id = self.ticket.as_deref().unwrap_or(word);
        let chosen = [
            (self.grant, "--grant --force"),
            (self.revoke, "--revoke --force"),
            (self.standby, "--standby"),
            (self.activate, "--activate"),
            (self.cleanup, "--cleanup"),
            (self.details, "--details"),
            (self.constraints, "--constraints"),
            (self.query_xml, "--query-xml"),
        ];
        let command = chosen.iter().find(|(chosen, _)| *chosen).map_or("--info", |(_, command)| command);
        format!("crm_ticket --ticket {id} {command}")
    }

    fn forced(&self, id: &str, change: Change) -> Result<(), Failure> {
        if self.force {
            return Ok(());
        }
        kernel::errln!("{}", change.warning(id));
        // What boothd takes for a tool that can change several attributes at once is told by 2.1's code.
        let code = if args::compat_21() { crm::INSUFFICIENT_PRIV } else { crm::UNSAFE };
        Err(Failure::new(code, "Ticket modification not allowed without --force"))
    }
}

/// What an arbitrator decides, not an operator.
enum Change {
    Grant,
    Revoke,
}

impl Change {
    fn warning(&self, id: &str) -> String {
        match self {
            Change::Grant => format!(
                "Nobody checks here whether another site has '{id}': granted at two sites, it lets both run what depends on it.\n\
                 If you are sure that it is granted nowhere else, say --force."
            ),
            Change::Revoke => format!(
                "Revoking '{id}' can set off the loss-policies of what depends on it; see:\n\
                 crm_ticket --ticket {id} --constraints\n\
                 To stop it in good order first:\n\
                 crm_ticket --ticket {id} --standby\n\
                 If you are sure, say --force."
            ),
        }
    }
}

fn status() -> Target {
    Target::Section("status".to_owned())
}

fn states(cib: &Element) -> impl Iterator<Item = &Element> {
    let tickets = cib.child("status").and_then(|s| s.child("tickets"));
    tickets.into_iter().flat_map(|t| t.elements_named("ticket_state"))
}

fn constraints(cib: &Element) -> impl Iterator<Item = &Element> {
    let all = cib.child("configuration").and_then(|c| c.child("constraints"));
    all.into_iter().flat_map(|c| c.elements_named("rsc_ticket"))
}

/// Those that have a state, then those that constraints name, by id.
fn tickets(cib: &Element) -> Vec<Ticket<'_>> {
    let mut all: Vec<Ticket<'_>> = Vec::new();
    for e in states(cib) {
        let state = e.attrs().filter(|(name, _)| *name != "id").collect();
        all.extend(e.id().map(|id| Ticket { id, state }));
    }
    for id in constraints(cib).filter_map(|e| e.attr("ticket")) {
        if !all.iter().any(|t| t.id == id) {
            all.push(Ticket { id, state: Vec::new() });
        }
    }
    all.sort_by_key(|t| t.id);
    all
}

fn element(t: &Ticket<'_>) -> Element {
    let standby = if t.is(STANDBY) { "true" } else { "false" };
    let mut e = Element::new("ticket").with("id", t.id).with("status", t.status()).with("standby", standby);
    if let Some(seconds) = t.attr(LAST_GRANTED) {
        e.set(LAST_GRANTED, moment(seconds));
    }
    t.state.iter().filter(|(name, _)| !MOMENTS.contains(name)).for_each(|(name, value)| e.set(name, value));
    e
}

/// Seconds since the epoch, for people.
fn moment(seconds: &str) -> String {
    seconds.parse().map_or_else(|_| seconds.to_owned(), |s| crate::clock::ctime(WallTime::from_secs(s)))
}
