//! `crm configure`: crmsh's words to elements.

use crate::acl_edit::{self, Permission};
use crate::edit::{self, NewPrimitive, error, pair};
use crate::nvpairs::as_id;
use crate::source::Failure;
use base::Score;
use xml::{Element, Node};

pub fn run(configuration: &mut Element, words: &[&str]) -> Result<String, Failure> {
    match words {
        ["primitive", id, rest @ ..] => primitive(configuration, id, rest),
        ["group", id, rest @ ..] => group(configuration, id, rest),
        ["clone", id, inner, rest @ ..] => clone(configuration, id, inner, rest, false),
        ["ms" | "master", id, inner, rest @ ..] => clone(configuration, id, inner, rest, true),
        ["location", id, rest @ ..] => location(configuration, id, rest),
        ["colocation" | "collocation", id, score, rest @ ..] => colocation(configuration, id, score, rest),
        ["order", id, rest @ ..] => order(configuration, id, rest),
        ["alert", id, rest @ ..] => super::alert::add(configuration, id, rest),
        ["fencing_topology", rest @ ..] => super::topology::set(configuration, rest),
        ["monitor", what, times] => monitor(configuration, what, times),
        ["property", rest @ ..] => property(configuration, rest),
        ["rsc_defaults", rest @ ..] => defaults(configuration, "rsc_defaults", "rsc-options", rest),
        ["op_defaults", rest @ ..] => defaults(configuration, "op_defaults", "op-options", rest),
        ["role", id, rules @ ..] => role(configuration, id, rules),
        ["acl_target", name, roles @ ..] => holder(configuration, "acl_target", name, roles),
        ["acl_group", name, roles @ ..] => holder(configuration, "acl_group", name, roles),
        ["delete", ids @ ..] => delete(configuration, ids),
        ["rename", old, new] => rename(configuration, old, new),
        ["modgroup", group, "add", id] => {
            edit::group_add(configuration, group, &[(*id).to_owned()]).map(|()| String::new())
        }
        ["modgroup", group, "remove", id] => out_of_group(configuration, group, id),
        ["erase"] => {
            for section in ["resources", "constraints"] {
                configuration.child_or_insert(section).nodes_mut().clear();
            }
            Ok(String::new())
        }
        ["load", how @ ("update" | "replace" | "push"), path] => load(configuration, how, path),
        _ => Err(error(format!("configure: unknown command '{}' (see: crm help)", words.join(" ")))),
    }
}

fn holder(configuration: &mut Element, tag: &str, name: &str, roles: &[&str]) -> Result<String, Failure> {
    acl_edit::create_holder(configuration, tag, name, roles).map(|()| String::new())
}

/// `(read|write|deny) (xpath|ref|type|tag):VALUE [attribute:NAME]` any number of times behind `description=TEXT`.
fn role(configuration: &mut Element, id: &str, words: &[&str]) -> Result<String, Failure> {
    let (description, mut words) = match words {
        [first, rest @ ..] if first.starts_with("description=") => (first.split_once('=').map(|(_, d)| d), rest),
        words => (None, words),
    };
    let mut all = Vec::new();
    while let [kind, spec, rest @ ..] = words {
        let (by, what) = spec.split_once(':').unwrap_or((spec, ""));
        let by = match by {
            "xpath" => "xpath",
            "ref" | "reference" => "reference",
            "type" | "tag" => "object-type",
            _ => return Err(error(format!("configure role: expected xpath:, ref: or type:, found '{spec}'"))),
        };
        if !["read", "write", "deny"].contains(kind) || what.is_empty() {
            return Err(error(format!(
                "configure role: expected read, write or deny of something, found '{kind} {spec}'"
            )));
        }
        if by == "xpath" {
            cib::acl::check_expression(what).map_err(|why| error(format!("'{what}' cannot be enforced: {why}")))?;
        }
        let (attribute, rest) = match rest {
            [next, rest @ ..] if next.starts_with("attribute:") => (next.split_once(':').map(|(_, a)| a), rest),
            rest => (None, rest),
        };
        all.push(Permission { kind, by, what, attribute });
        words = rest;
    }
    if !words.is_empty() {
        return Err(error(format!("configure role: '{}' is not a rule", words.join(" "))));
    }
    acl_edit::create_role(configuration, id, description)?;
    acl_edit::add_permissions(configuration, id, &all).map(|()| String::new())
}

pub fn verify(configuration: &Element) -> String {
    let root = Element::new("cib").with("admin_epoch", "0").with("epoch", "0").with("num_updates", "0");
    let root = root.with_child(configuration.clone()).with_child(Element::new("status"));
    let problems = cib::schema::verify(&root);
    problems.iter().map(|p| format!("{}: {}: {}\n", p.severity.word().to_uppercase(), p.path, p.message)).collect()
}

/// Parameters, meta-attributes and operations of a resource.
#[derive(Default)]
struct Parts {
    params: Vec<(String, String)>,
    meta: Vec<(String, String)>,
    utilization: Vec<(String, String)>,
    operations: Vec<(String, Vec<(String, String)>)>,
    bare: Vec<String>,
}

fn parts(words: &[&str]) -> Result<Parts, Failure> {
    let mut parts = Parts::default();
    let mut place = "";
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "params" | "meta" | "utilization" | "operations" => place = word,
            "op" => {
                place = "op";
                let name = words.next().ok_or_else(|| error("op needs an operation's name"))?;
                parts.operations.push(((*name).to_owned(), Vec::new()));
            }
            word if !word.contains('=') && place.is_empty() => parts.bare.push(word.to_owned()),
            word => {
                let given = pair(word)?;
                match place {
                    "meta" => parts.meta.push(given),
                    "utilization" => parts.utilization.push(given),
                    "op" => {
                        if let Some((_, pairs)) = parts.operations.last_mut() {
                            pairs.push(given);
                        }
                    }
                    "operations" => {}
                    _ => parts.params.push(given),
                }
            }
        }
    }
    Ok(parts)
}

fn primitive(configuration: &mut Element, id: &str, words: &[&str]) -> Result<String, Failure> {
    edit::needs_free_id(configuration, id)?;
    let [agent, rest @ ..] = words else { return Err(error(format!("primitive {id} needs an agent"))) };
    let agent = edit::full_agent_name(agent)?;
    let parts = parts(rest)?;
    let mut said = String::new();
    if !edit::agent_is_there(&agent) {
        said = format!("WARNING: {agent} is not installed on this node\n");
    }
    let names: Vec<String> = parts.params.iter().map(|(name, _)| name.clone()).collect();
    said.extend(edit::problems_of(&agent, &parts.params, &names).iter().map(|p| format!("WARNING: {id}: {p}\n")));
    let new = NewPrimitive { id, agent: &agent, params: parts.params, meta: parts.meta, operations: parts.operations };
    let mut e = new.element()?;
    edit::set_pairs(&mut e, "utilization", &format!("{id}-utilization"), &parts.utilization);
    configuration.child_or_insert("resources").push(e);
    Ok(said)
}

fn group(configuration: &mut Element, id: &str, words: &[&str]) -> Result<String, Failure> {
    edit::needs_free_id(configuration, id)?;
    let parts = parts(words)?;
    if parts.bare.is_empty() {
        return Err(error(format!("group {id} needs members")));
    }
    edit::group_add(configuration, id, &parts.bare)?;
    let e = edit::resource_mut(configuration, id)?;
    edit::set_pairs(e, "meta_attributes", &format!("{id}-meta_attributes"), &parts.meta);
    Ok(String::new())
}

fn clone(
    configuration: &mut Element,
    id: &str,
    inner: &str,
    words: &[&str],
    promotable: bool,
) -> Result<String, Failure> {
    edit::needs_free_id(configuration, id)?;
    let mut parts = parts(words)?;
    if promotable {
        parts.meta.push(("promotable".to_owned(), "true".to_owned()));
    }
    let resources = configuration.child_or_insert("resources");
    let fits = |e: &Element| e.id() == Some(inner) && ["primitive", "group"].contains(&e.name());
    let at = resources.nodes().iter().position(|n| matches!(n, Node::Element(e) if fits(e)));
    let at = at.ok_or_else(|| error(format!("'{inner}' does not exist at the top level")))?;
    let taken = resources.remove_at(&[at]).ok_or_else(|| error("gone"))?;
    let mut e = Element::new("clone").with("id", id).with_child(taken);
    edit::set_pairs(&mut e, "meta_attributes", &format!("{id}-meta_attributes"), &parts.meta);
    resources.nodes_mut().insert(at, Node::Element(e));
    Ok(String::new())
}

/// `inf`, `-inf`, `INFINITY`, a number, or a kind; with its colon.
fn score(word: &str) -> Result<String, Failure> {
    let text = word
        .strip_suffix(':')
        .ok_or_else(|| error(format!("'{word}': expected a score with a colon, such as inf: or 100:")))?;
    match text {
        "inf" | "+inf" | "INF" | "infinity" => Ok("INFINITY".to_owned()),
        "-inf" | "-INF" | "-infinity" => Ok("-INFINITY".to_owned()),
        other if Score::parse(other).is_some() => Ok(other.to_owned()),
        other => Err(error(format!("'{other}' is not a score"))),
    }
}

/// `RSC[:ROLE]`.
fn with_role(word: &str) -> (&str, Option<&str>) {
    match word.split_once(':') {
        Some((id, "Master" | "master" | "Promoted")) => (id, Some("Promoted")),
        Some((id, "Slave" | "slave" | "Unpromoted")) => (id, Some("Unpromoted")),
        Some((id, role @ ("Started" | "Stopped"))) => (id, Some(role)),
        _ => (word, None),
    }
}

fn add_constraint(configuration: &mut Element, e: Element) -> Result<String, Failure> {
    edit::needs_free_id(configuration, e.id().unwrap_or_default())?;
    configuration.child_or_insert("constraints").push(e);
    Ok(String::new())
}

fn location(configuration: &mut Element, id: &str, words: &[&str]) -> Result<String, Failure> {
    let role = words.iter().find_map(|w| w.strip_prefix("role="));
    let plain: Vec<&str> = words.iter().copied().filter(|w| !w.starts_with("role=")).collect();
    let (resource, value, node) = match plain.as_slice() {
        [resource, value, node] => (*resource, score(value)?, *node),
        [resource, value, "rule", ..] | [resource, "rule", value, ..] => {
            let _ = score(value)?;
            return Err(error(format!("rules for {resource} are written in XML: cibadmin -C -o constraints -x FILE")));
        }
        _ => return Err(error("usage: location ID RESOURCE SCORE: NODE")),
    };
    edit::needs_resource(configuration, resource)?;
    let known = configuration
        .child("nodes")
        .is_some_and(|n| n.elements().any(|e| e.attr("uname").is_some_and(|n| base::ids::same_node(n, node))));
    let said = if known { String::new() } else { format!("WARNING: no node is called {node}\n") };
    let mut e = Element::new("rsc_location").with("id", id).with("rsc", resource);
    if let Some(role) = role {
        e.set("role", role);
    }
    let e = e.with("score", value).with("node", node);
    add_constraint(configuration, e).map(|_| said)
}

fn colocation(configuration: &mut Element, id: &str, value: &str, words: &[&str]) -> Result<String, Failure> {
    let value = score(value)?;
    let mut e = Element::new("rsc_colocation").with("id", id).with("score", value);
    match words {
        [a, b] => {
            let ((a, role), (b, with)) = (with_role(a), with_role(b));
            edit::needs_resource(configuration, a)?;
            edit::needs_resource(configuration, b)?;
            e = e.with("rsc", a).with("with-rsc", b);
            role.into_iter().for_each(|r| e.set("rsc-role", r));
            with.into_iter().for_each(|r| e.set("with-rsc-role", r));
        }
        [_, _, _, ..] => e.push(resource_set(configuration, id, words)?),
        _ => return Err(error("usage: colocation ID SCORE: RESOURCE WITH-RESOURCE")),
    }
    add_constraint(configuration, e)
}

fn resource_set(configuration: &Element, id: &str, words: &[&str]) -> Result<Element, Failure> {
    let mut set = Element::new("resource_set").with("id", format!("{id}-0"));
    for word in words {
        edit::needs_resource(configuration, word)?;
        set.push(Element::new("resource_ref").with("id", word));
    }
    Ok(set)
}

/// `order ID [KIND:|SCORE:] A[:ACTION] B[:ACTION] [symmetrical=…]`.
fn order(configuration: &mut Element, id: &str, words: &[&str]) -> Result<String, Failure> {
    let mut e = Element::new("rsc_order").with("id", id);
    let (kind, rest) = match words {
        [first, rest @ ..] if first.ends_with(':') => (Some(*first), rest),
        rest => (None, rest),
    };
    match kind.map(|k| k.trim_end_matches(':').to_lowercase()).as_deref() {
        None | Some("mandatory") => e.set("kind", "Mandatory"),
        Some("optional") => e.set("kind", "Optional"),
        Some("serialize") => e.set("kind", "Serialize"),
        // crmsh takes a score for the kind: 0 is optional, anything else mandatory.
        Some(_) => {
            let value = score(kind.unwrap_or_default())?;
            e.set("kind", if value == "0" { "Optional" } else { "Mandatory" });
        }
    }
    let (options, resources): (Vec<&str>, Vec<&str>) = rest.iter().partition(|w| w.contains('='));
    for word in options {
        let (name, value) = pair(word)?;
        e.set(&name, value);
    }
    let side = |word: &str| match word.split_once(':') {
        Some((id, action)) => (id.to_owned(), Some(action.to_owned())),
        None => (word.to_owned(), None),
    };
    match resources.as_slice() {
        [a, b] => {
            for (word, name, action) in [(a, "first", "first-action"), (b, "then", "then-action")] {
                let (id, given) = side(word);
                edit::needs_resource(configuration, &id)?;
                e.set(name, id);
                given.into_iter().for_each(|g| e.set(action, g));
            }
        }
        [_, _, _, ..] => e.push(resource_set(configuration, id, &resources)?),
        _ => return Err(error("usage: order ID [Mandatory:|Optional:|Serialize:] FIRST THEN")),
    }
    add_constraint(configuration, e)
}

/// `monitor RSC[:ROLE] INTERVAL[:TIMEOUT]`.
fn monitor(configuration: &mut Element, what: &str, times: &str) -> Result<String, Failure> {
    let (id, role) = with_role(what);
    let (interval, timeout) = times.split_once(':').map_or((times, None), |(i, t)| (i, Some(t)));
    let mut pairs = vec![("interval".to_owned(), interval.to_owned())];
    timeout.into_iter().for_each(|t| pairs.push(("timeout".to_owned(), t.to_owned())));
    role.into_iter().for_each(|r| pairs.push(("role".to_owned(), r.to_owned())));
    let op = edit::operation(id, "monitor", &pairs);
    edit::needs_free_id(configuration, op.id().unwrap_or_default())?;
    edit::resource_mut(configuration, id)?.child_or_insert("operations").push(op);
    Ok(String::new())
}

/// Words without `=` and with a colon name the set; they are taken as given.
fn pairs(words: &[&str]) -> Result<Vec<(String, String)>, Failure> {
    words.iter().filter(|w| !(w.starts_with('$') || w.ends_with(':'))).map(|w| pair(w)).collect()
}

fn property(configuration: &mut Element, words: &[&str]) -> Result<String, Failure> {
    let mut said = String::new();
    let mut kept = Vec::new();
    for (name, value) in pairs(words)? {
        if name == "default-resource-stickiness" {
            said += "WARNING: default-resource-stickiness is a resource default now: set as rsc_defaults resource-stickiness\n";
            defaults(configuration, "rsc_defaults", "rsc-options", &[&format!("resource-stickiness={value}")])?;
            continue;
        }
        let known = cib::schema::PROPERTIES.iter().find(|p| p.name == name);
        match known.map(|p| p.accepts(&value)) {
            Some(Err(expected)) => return Err(error(format!("{name}={value}: expected {expected}"))),
            Some(Ok(())) => {}
            None => {
                let names: Vec<&str> = cib::schema::PROPERTIES.iter().map(|p| p.name).collect();
                let hint =
                    cib::schema::closest(&name, &names).map(|n| format!("; did you mean '{n}'?")).unwrap_or_default();
                said += &format!("WARNING: unknown property '{name}'{hint}\n");
            }
        }
        kept.push((name, value));
    }
    edit::set_pairs(
        configuration.child_or_insert("crm_config"),
        "cluster_property_set",
        "cib-bootstrap-options",
        &kept,
    );
    Ok(said)
}

fn defaults(configuration: &mut Element, section: &str, set: &str, words: &[&str]) -> Result<String, Failure> {
    let pairs = pairs(words)?;
    edit::set_pairs(configuration.child_or_insert(section), "meta_attributes", set, &pairs);
    Ok(String::new())
}

fn delete(configuration: &mut Element, ids: &[&str]) -> Result<String, Failure> {
    let mut said = String::new();
    for id in ids {
        let constraints = configuration.child_or_insert("constraints");
        if constraints.elements().any(|e| e.id() == Some(id)) {
            constraints.retain_elements(|e| e.id() != Some(id));
            continue;
        }
        if edit::alerts::remove(configuration, "alert", &[id]).is_ok() {
            continue;
        }
        // crmsh keeps what a deleted group or clone held.
        let kept: Vec<Element> = match edit::find_resource(configuration, id) {
            Some(e) if e.name() != "primitive" => {
                e.elements().filter(|c| edit::RESOURCES.contains(&c.name())).cloned().collect()
            }
            _ => Vec::new(),
        };
        for line in edit::delete_resource(configuration, id)? {
            said += &format!("INFO: {line}\n");
        }
        kept.into_iter().for_each(|e| configuration.child_or_insert("resources").push(e));
    }
    Ok(said)
}

fn rename(configuration: &mut Element, old: &str, new: &str) -> Result<String, Failure> {
    edit::needs_free_id(configuration, new)?;
    edit::needs_resource(configuration, old)?;
    fn replace(e: &mut Element, old: &str, new: &str) {
        for name in ["id", "rsc", "with-rsc", "first", "then", "reference"] {
            if e.attr(name) == Some(old) && e.name() != "node" {
                e.set(name, new);
            }
        }
        e.elements_mut().for_each(|c| replace(c, old, new));
    }
    replace(configuration, old, as_id(new).as_str());
    Ok(String::new())
}

fn out_of_group(configuration: &mut Element, group: &str, id: &str) -> Result<String, Failure> {
    let holder = edit::resource_mut(configuration, group)?;
    if !holder.elements_named("primitive").any(|p| p.id() == Some(id)) {
        return Err(error(format!("'{id}' is not in group '{group}'")));
    }
    let last = holder.elements_named("primitive").count() == 1;
    let e = edit::take_primitive(configuration, id)?;
    configuration.child_or_insert("resources").push(e);
    if last {
        edit::delete_resource(configuration, group)?;
    }
    Ok(String::new())
}

/// Lines of a file, as they would be typed; `replace` starts from no resources and constraints.
fn load(configuration: &mut Element, how: &str, path: &str) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| error(format!("cannot read {path}: {e}")))?;
    if how == "replace" {
        run(configuration, &["erase"])?;
    }
    let mut said = String::new();
    let joined = text.replace("\\\n", " ");
    for (number, line) in
        joined.lines().enumerate().filter(|(_, l)| !l.trim().is_empty() && !l.trim_start().starts_with('#'))
    {
        let words = super::split(line)?;
        let words: Vec<&str> = words.iter().map(String::as_str).filter(|w| !w.starts_with('$')).collect();
        // Nodes are the cluster's own; commit is the caller's.
        if matches!(words.first(), None | Some(&"node" | &"commit" | &"configure")) {
            continue;
        }
        let in_table = std::iter::once("configure").chain(words.iter().copied()).map(str::to_owned).collect::<Vec<_>>();
        if super::table::TABLE.parse(&in_table).is_err() {
            return Err(error(format!(
                "{path}: entry {}: '{}' is no command, or has other arguments",
                number + 1,
                words.join(" ")
            )));
        }
        said += &run(configuration, &words).map_err(|mut f| {
            f.message = format!("{path}: entry {}: {}", number + 1, f.message);
            f
        })?;
    }
    Ok(said)
}
