//! Constraints over sets of resources, and those of tickets.

use super::{identify, needs_any, push, role_of, rule, show};
use crate::edit::{edit, error, pair};
use crate::grammar::Line;
use crate::pcs::report::Report;
use crate::pcs::unable;
use crate::source::{Failure, Source};
use xml::Element;

type Pairs = Vec<(String, String)>;

/// `set A B [OPTION=VALUE...] [set ...] [setoptions OPTION=VALUE...]`; the first `set` has been taken.
struct Sets {
    sets: Vec<(Vec<String>, Pairs)>,
    options: Pairs,
}

impl Sets {
    fn of(words: &[&str]) -> Result<Sets, Failure> {
        let mut all = Sets { sets: vec![Default::default()], options: Vec::new() };
        let mut in_options = false;
        for word in words {
            match (*word, in_options) {
                ("set", false) => all.sets.push(Default::default()),
                ("setoptions", _) => in_options = true,
                (word, true) => all.options.push(pair(word)?),
                (word, false) => {
                    let Some((ids, pairs)) = all.sets.last_mut() else { continue };
                    match word.contains('=') {
                        true => pairs.push(pair(word)?),
                        false => ids.push(word.to_owned()),
                    }
                }
            }
        }
        match all.sets.iter().any(|(ids, _)| ids.is_empty()) {
            true => Err(error("each set needs at least one resource")),
            false => Ok(all),
        }
    }

    fn ids(&self) -> Vec<String> {
        self.sets.iter().flat_map(|(ids, _)| ids.clone()).collect()
    }

    fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

const BOOLEANS: [&str; 2] = ["sequential", "require-all"];

pub fn create(source: &Source, line: &Line, kind: &str, words: &[&str]) -> Result<String, Failure> {
    let sets = Sets::of(words)?;
    edit(source, |configuration| {
        rule::all_there(configuration, &sets.ids())?;
        check(&sets, line, kind)?;
        if kind == "order" && same_group(configuration, &sets.ids()) {
            return Err(error("Cannot create an order constraint for resources in the same group"));
        }
        let mut e = Element::new(format!("rsc_{kind}").as_str());
        sets.options.iter().for_each(|(n, v)| e.set(n, v));
        if kind == "colocation" && sets.option("score").is_none() {
            e.set("score", "INFINITY");
        }
        no_twin(configuration, line, &e, &sets)?;
        let letters = |id: &String| id.chars().next().into_iter().chain(id.chars().last()).collect::<String>();
        let name: String = sets.ids().iter().map(letters).collect();
        identify(configuration, &mut e, &format!("{kind}_set_{name}"))?;
        let mut ids = crate::edit::rules::Ids::of(configuration);
        let base = format!("{}_set", e.id().unwrap_or_default());
        for (resources, pairs) in &sets.sets {
            let mut set = Element::new("resource_set").with("id", ids.free(&base));
            for (name, value) in pairs {
                let role = (name == "role").then(|| role_of(value)).flatten();
                set.set(name, role.unwrap_or(value));
            }
            resources.iter().for_each(|id| set.push(Element::new("resource_ref").with("id", id)));
            e.push(set);
        }
        push(configuration, e);
        Ok(String::new())
    })
}

fn check(sets: &Sets, line: &Line, kind: &str) -> Result<(), Failure> {
    let mut report = Report::of(line);
    for (name, value) in sets.sets.iter().flat_map(|(_, pairs)| pairs) {
        match name.as_str() {
            "action" => report.one_of("action", Some(value), &["start", "stop", "promote", "demote"]),
            "role" => {
                report.one_of("role", Some(value), &["Started", "Stopped", "Promoted", "Unpromoted", "Master", "Slave"])
            }
            name if BOOLEANS.contains(&name) => report.one_of(name, Some(value), &["true", "false"]),
            name => report.error(format!(
                "invalid set option '{name}', allowed options are: 'action', 'require-all', 'role', 'sequential'"
            )),
        }
    }
    report.done()?;
    let mut report = Report::of(line);
    match kind {
        "order" => report.one_of("kind", sets.option("kind"), &["Mandatory", "Optional", "Serialize"]),
        "ticket" => {
            if sets.option("ticket").is_none() {
                report.error("required option 'ticket' is missing");
            }
            report.one_of("loss-policy", sets.option("loss-policy"), &LOSS);
        }
        _ => {
            if let Some(bad) = sets.option("score").filter(|s| base::Score::parse(s).is_none()) {
                report.error(format!("invalid score '{bad}', use integer or INFINITY or -INFINITY"));
            }
        }
    }
    report.done_alone()
}

const LOSS: [&str; 4] = ["demote", "fence", "freeze", "stop"];

/// Whether several of them stand in one group.
fn same_group(configuration: &Element, ids: &[String]) -> bool {
    let resources = configuration.child("resources");
    let groups = resources.into_iter().flat_map(Element::descendants).filter(|e| e.name() == "group");
    let inside =
        |group: &Element| group.elements().filter(|e| e.id().is_some_and(|id| ids.iter().any(|i| i == id))).count();
    ids.len() > 1 && groups.into_iter().any(|g| inside(g) > 1)
}

fn no_twin(configuration: &Element, line: &Line, new: &Element, sets: &Sets) -> Result<(), Failure> {
    let members = |e: &Element| -> Vec<Vec<String>> {
        let ids = |s: &Element| s.elements_named("resource_ref").filter_map(Element::id).map(str::to_owned).collect();
        e.elements_named("resource_set").map(ids).collect()
    };
    let wanted: Vec<Vec<String>> = sets.sets.iter().map(|(ids, _)| ids.clone()).collect();
    let twin = |e: &&Element| e.name() == new.name() && members(e) == wanted && e.attr("ticket") == new.attr("ticket");
    let constraints = configuration.child("constraints");
    let twins: Vec<&Element> = constraints.into_iter().flat_map(Element::elements).filter(twin).collect();
    if twins.is_empty() || line.has("--force") {
        return Ok(());
    }
    kernel::errln!("Duplicate constraints:");
    twins.iter().for_each(|e| kernel::errln!("  {}", show::of_sets(e, true)));
    Err(unable(&["duplicate constraint already exists, use --force to override".to_owned()]))
}

/// `ticket add TICKET [ROLE] ID [OPTION=VALUE...]`.
pub fn ticket(source: &Source, line: &Line, ticket: &str, words: &[&str]) -> Result<String, Failure> {
    let (role, id, rest) = match words {
        [role, id, rest @ ..] if !id.contains('=') => {
            let bad = || {
                error(format!(
                    "invalid role value '{role}', allowed values are: 'Promoted', 'Started', 'Stopped', 'Unpromoted'"
                ))
            };
            (Some(role_of(role).ok_or_else(bad)?), *id, rest)
        }
        [id, rest @ ..] => (None, *id, rest),
        [] => return Err(error("name a resource")),
    };
    let pairs = rest.iter().map(|w| pair(w)).collect::<Result<Pairs, _>>()?;
    edit(source, |configuration| {
        needs_any(configuration, id)?;
        let mut report = Report::of(line);
        for (name, value) in &pairs {
            match name.as_str() {
                "loss-policy" => report.one_of(name, Some(value), &LOSS),
                "id" => {}
                _ => report.error(format!("invalid option '{name}', allowed options are: 'id', 'loss-policy'")),
            }
        }
        report.done()?;
        let mut e = Element::new("rsc_ticket");
        pairs.iter().for_each(|(n, v)| e.set(n, v));
        if let Some(role) = role {
            e.set("rsc-role", role);
        }
        e = e.with("ticket", ticket).with("rsc", id);
        let role = role.map(|r| format!("-{r}")).unwrap_or_default();
        identify(configuration, &mut e, &format!("ticket-{ticket}-{id}{role}"))?;
        push(configuration, e);
        Ok(String::new())
    })
}

/// A ticket's hold on a resource, alone or in sets.
pub fn forget_ticket(source: &Source, ticket: &str, resource: &str) -> Result<String, Failure> {
    edit(source, |configuration| {
        let constraints = configuration.child_or_insert("constraints");
        let before = constraints.clone();
        let of = |e: &Element| e.name() == "rsc_ticket" && e.attr("ticket") == Some(ticket);
        constraints.retain_elements(|e| !(of(e) && e.attr("rsc") == Some(resource)));
        for e in constraints.elements_mut().filter(|e| of(e)) {
            take_member(e, resource);
        }
        constraints.retain_elements(|e| !of(e) || e.attr("rsc").is_some() || e.child("resource_set").is_some());
        match *constraints == before {
            true => Err(error("no matching ticket constraint found")),
            false => Ok(String::new()),
        }
    })
}

fn take_member(constraint: &mut Element, id: &str) {
    for set in constraint.elements_mut().filter(|e| e.name() == "resource_set") {
        set.retain_elements(|r| r.id() != Some(id));
    }
    constraint.retain_elements(|s| s.name() != "resource_set" || s.child("resource_ref").is_some());
}

/// All orders of these resources; out of sets they are taken.
pub fn forget_orders(source: &Source, ids: &[&str]) -> Result<String, Failure> {
    edit(source, |configuration| {
        let constraints = configuration.child_or_insert("constraints");
        let before = constraints.clone();
        for id in ids {
            let names = |e: &Element| [e.attr("first"), e.attr("then")].contains(&Some(*id));
            constraints.retain_elements(|e| !(e.name() == "rsc_order" && names(e)));
            constraints.elements_mut().filter(|e| e.name() == "rsc_order").for_each(|e| take_member(e, id));
            constraints.retain_elements(|e| {
                e.name() != "rsc_order" || e.attr("first").is_some() || e.child("resource_set").is_some()
            });
        }
        match *constraints == before {
            true => Err(error("No matching resources found in ordering list")),
            false => Ok(String::new()),
        }
    })
}

/// Colocations of two resources, whichever is with which.
pub fn forget_pair(source: &Source, a: &str, b: &str) -> Result<String, Failure> {
    edit(source, |configuration| {
        let constraints = configuration.child_or_insert("constraints");
        let before = constraints.clone();
        constraints.retain_elements(|e| {
            let pair = (e.attr("rsc"), e.attr("with-rsc"));
            let named = pair == (Some(a), Some(b)) || pair == (Some(b), Some(a));
            !(e.name() == "rsc_colocation" && named)
        });
        match *constraints == before {
            true => Err(error("No matching resources found in ordering list")),
            false => Ok(String::new()),
        }
    })
}
