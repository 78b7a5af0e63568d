//! `crm configure`: crmsh's words to elements.

use super::meta::{self, Asking};
use super::{constraints, load, primitive};
use crate::acl_edit;
use crate::edit::rules::Ids;
use crate::edit::{self, error, pair};
use crate::nvpairs::as_id;
use crate::source::Failure;
use xml::Element;

pub fn run(configuration: &mut Element, words: &[&str], asking: Asking) -> Result<String, Failure> {
    // `id=ID` is taken for `ID` of every object.
    let bare: Vec<&str> = match words {
        [kind, id, rest @ ..] => {
            [*kind, id.strip_prefix("id=").unwrap_or(id)].into_iter().chain(rest.iter().copied()).collect()
        }
        words => words.to_vec(),
    };
    match bare.as_slice() {
        [kind @ ("primitive" | "rsc_template"), id, rest @ ..] => primitive::primitive(configuration, kind, id, rest),
        ["group", id, rest @ ..] => primitive::group(configuration, id, rest),
        ["clone", id, rest @ ..] => primitive::clone(configuration, "clone", id, rest),
        ["bundle", id, rest @ ..] => super::bundle::add(configuration, id, rest),
        ["ms" | "master", id, rest @ ..] => primitive::clone(configuration, "ms", id, rest),
        ["node", rest @ ..] => primitive::node(configuration, rest),
        ["tag", id, rest @ ..] => primitive::tag(configuration, id, rest),
        ["location", id, rest @ ..] => constraints::location(configuration, id, rest),
        ["colocation" | "collocation", id, rest @ ..] => constraints::colocation(configuration, id, rest),
        ["order", id, rest @ ..] => constraints::order(configuration, id, rest),
        ["rsc_ticket", id, rest @ ..] => constraints::ticket(configuration, id, rest),
        ["alert", id, rest @ ..] => super::alert::add(configuration, id, rest),
        ["fencing_topology", rest @ ..] => super::topology::set(configuration, rest),
        ["monitor", what, times] => primitive::monitor(configuration, what, times),
        ["property", rest @ ..] => property(configuration, rest, asking),
        ["rsc_defaults", rest @ ..] => defaults(configuration, "rsc_defaults", "rsc-options", rest),
        ["op_defaults", rest @ ..] => defaults(configuration, "op_defaults", "op-options", rest),
        ["role", id, rules @ ..] => super::acl::role(configuration, id, rules),
        ["acl_target", name, roles @ ..] => holder(configuration, "acl_target", name, roles),
        ["acl_group", name, roles @ ..] => holder(configuration, "acl_group", name, roles),
        ["delete" | "rm" | "del", ids @ ..] => delete(configuration, ids, asking),
        ["rename", old, new] => rename(configuration, old, new),
        ["modgroup", group, "add", id, rest @ ..] => into_group(configuration, group, id, rest),
        ["modgroup", group, "remove", id] => out_of_group(configuration, group, id),
        ["erase", "nodes"] => {
            configuration.child_or_insert("nodes").nodes_mut().clear();
            Ok(String::new())
        }
        ["get_property", rest @ ..] => get_property(configuration, rest),
        ["set", path, value] => set(configuration, path, value),
        ["erase"] => {
            load::erase(configuration);
            Ok(String::new())
        }
        ["load", "xml", how, path] | ["load", how, path] => load::file(configuration, how, path, asking),
        ["xml", text @ ..] => load::document(configuration, &text.join(" "), load::How::Update),
        _ => Err(error(format!("configure: unknown command '{}' (see: crm help)", words.join(" ")))),
    }
}

/// A cluster property's value, or its default.
fn get_property(configuration: &Element, words: &[&str]) -> Result<String, Failure> {
    let name = words.iter().find(|w| !w.starts_with('-')).ok_or_else(|| error("name a property"))?;
    let section = configuration.child("crm_config");
    let set = section.and_then(|s| s.descendants().find(|p| crate::nvpairs::names(p, name)));
    let default = cib::schema::PROPERTIES.iter().find(|p| p.name == *name).map(|p| p.default);
    let value = set.and_then(|p| p.attr("value")).or(default);
    value.map(|v| format!("{v}\n")).ok_or_else(|| error(format!("property {name} is not set")))
}

/// `ID.PARAMETER VALUE`.
fn set(configuration: &mut Element, path: &str, value: &str) -> Result<String, Failure> {
    let (id, name) = path.split_once('.').ok_or_else(|| error(format!("'{path}' is not ID.PARAMETER")))?;
    let e =
        edit::resource_mut(configuration, id).map_err(|_| error(format!("configure.set: Object {id} not found")))?;
    let kinds = ["instance_attributes", "meta_attributes", "utilization"];
    let kind = kinds.iter().find(|k| e.elements_named(k).any(|s| s.elements().any(|p| p.attr("name") == Some(name))));
    let kind = kind.ok_or_else(|| error(format!("configure.set: Attribute not found: {path}")))?;
    edit::set_pairs(e, kind, &format!("{id}-{kind}"), &[(name.to_owned(), value.to_owned())]);
    Ok(String::new())
}

fn holder(configuration: &mut Element, tag: &str, name: &str, roles: &[&str]) -> Result<String, Failure> {
    acl_edit::create_holder(configuration, tag, name, roles).map(|()| String::new())
}

/// With what the agents advise, where that is asked for.
pub fn verify(configuration: &Element, advise: bool) -> String {
    let resources = configuration.child("resources").into_iter().flat_map(Element::descendants);
    resources.filter(|e| advise && e.name() == "primitive").for_each(primitive::advise);
    let root = Element::new("cib").with("admin_epoch", "0").with("epoch", "0").with("num_updates", "0");
    let root = root.with_child(configuration.clone()).with_child(Element::new("status"));
    let problems = cib::schema::verify(&root);
    problems.iter().map(|p| format!("{}: {}: {}\n", p.severity.word().to_uppercase(), p.path, p.message)).collect()
}

/// Words without `=` and with a colon name the set; they are taken as given.
fn pairs(words: &[&str]) -> Result<Vec<(String, String)>, Failure> {
    words.iter().filter(|w| !(w.starts_with('$') || w.ends_with(':'))).map(|w| pair(w)).collect()
}

/// The set that `$id=ID` or `ID:` names, or the usual one.
fn named<'a>(words: &[&'a str], usual: &'a str) -> &'a str {
    let own = |w: &&'a str| w.strip_prefix("$id=").or(w.strip_suffix(':'));
    words.first().and_then(own).unwrap_or(usual)
}

fn property(configuration: &mut Element, words: &[&str], asking: Asking) -> Result<String, Failure> {
    if words.is_empty() {
        return Err(error("syntax in property: Expected at least 1 arguments near <property> parsing 'property'"));
    }
    let mut said = String::new();
    let mut kept = Vec::new();
    let (rule, words) = apart(words);
    for (name, value) in pairs(&words)? {
        if name == "default-resource-stickiness" {
            said += "WARNING: default-resource-stickiness is a resource default now: set as rsc_defaults resource-stickiness\n";
            defaults(configuration, "rsc_defaults", "rsc-options", &[&format!("resource-stickiness={value}")])?;
            continue;
        }
        let known = cib::schema::PROPERTIES.iter().find(|p| p.name == name);
        match known.map(|p| p.accepts(&value)) {
            Some(Err(_)) | None if asking.force => {}
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
    if kept.iter().any(|(name, value)| name == "maintenance-mode" && value == "true") {
        meta::no_other_maintenance(configuration, true, asking);
    }
    let set = named(&words, "cib-bootstrap-options").to_owned();
    put_pairs(configuration.child_or_insert("crm_config"), "cluster_property_set", &set, &kept);
    if let Some(rule) = rule {
        let mut ids = Ids::from_nought(configuration);
        let rule = constraints::rule(configuration, &set, &rule, &mut ids)?;
        let section = configuration.child_or_insert("crm_config");
        if let Some(there) = section.elements_mut().find(|e| e.id() == Some(&set)) {
            there.retain_elements(|e| e.name() != "rule");
            there.nodes_mut().insert(0, xml::Node::Element(rule));
        }
    }
    Ok(said)
}

/// Words of a rule, and all others: what follows the rule's last word is the set's.
fn apart<'w>(words: &[&'w str]) -> (Option<Vec<&'w str>>, Vec<&'w str>) {
    let Some(at) = words.iter().position(|w| *w == "rule") else { return (None, words.to_vec()) };
    let mut rule: Vec<String> = Vec::new();
    let rest = &words[at + 1..];
    let length = rest
        .iter()
        .take_while(|w| super::sets::is_of_rule(&rule, w).then(|| rule.push((**w).to_owned())).is_some())
        .count();
    (Some(rest[..length].to_vec()), [&words[..at], &rest[length..]].concat())
}

/// Pairs in the set of that id, which is made if there is none; the usual id stands for the only set.
fn put_pairs(section: &mut Element, kind: &str, id: &str, pairs: &[(String, String)]) {
    let there = section.child_by_id(kind, id).is_some();
    let first = section.elements_named(kind).find_map(Element::id).map(str::to_owned);
    let usual = ["cib-bootstrap-options", "rsc-options", "op-options"].contains(&id);
    let id = if there || !usual { id.to_owned() } else { first.unwrap_or_else(|| id.to_owned()) };
    // Set apart, so that the pair goes into no other set that has it; and put back where it was.
    let at = section.elements().position(|e| e.name() == kind && e.id() == Some(id.as_str()));
    let old = at.and_then(|at| section.elements().nth(at)).cloned();
    let mut alone = Element::new(section.name());
    alone.push(old.unwrap_or_else(|| Element::new(kind).with("id", &id)));
    edit::set_pairs(&mut alone, kind, &id, pairs);
    let Some(new) = alone.elements().next().cloned() else { return };
    match at.and_then(|at| section.elements_mut().nth(at)) {
        Some(there) => *there = new,
        None => section.push(new),
    }
}

fn defaults(configuration: &mut Element, section: &str, set: &str, words: &[&str]) -> Result<String, Failure> {
    let id = named(words, set).to_owned();
    let (rule, plain) = apart(words);
    let pairs_of = pairs(&plain)?;
    let Some(rule) = rule else {
        put_pairs(configuration.child_or_insert(section), "meta_attributes", &id, &pairs_of);
        return Ok(String::new());
    };
    let mut ids = Ids::from_nought(configuration);
    let rule = constraints::rule(configuration, &id, &rule, &mut ids)?;
    let section = configuration.child_or_insert(section);
    section.push(Element::new("meta_attributes").with("id", &id).with_child(rule));
    put_pairs(section, "meta_attributes", &id, &pairs_of);
    Ok(String::new())
}

/// Whatever has one of these ids, with what refers to it alone.
fn delete(configuration: &mut Element, ids: &[&str], asking: Asking) -> Result<String, Failure> {
    for id in ids {
        let there = *id == "fencing_topology"
            || configuration.descendants().any(|e| e.id() == Some(id) || e.attr("uname") == Some(id));
        // What is gone is as it shall be, where it is forced.
        if there || !asking.force {
            delete_one(configuration, id)?;
        }
    }
    Ok(String::new())
}

fn delete_one(configuration: &mut Element, id: &str) -> Result<(), Failure> {
    const PLAIN: [&str; 9] = [
        "constraints",
        "tags",
        "alerts",
        "acls",
        "crm_config",
        "rsc_defaults",
        "op_defaults",
        "fencing-topology",
        "nodes",
    ];
    for section in PLAIN {
        let Some(section) = configuration.child_mut(section) else { continue };
        let is = |e: &Element| e.id() == Some(id) || e.name() == "node" && e.attr("uname") == Some(id);
        if section.elements().any(is) {
            section.retain_elements(|e| !is(e));
            return Ok(());
        }
    }
    if id == "fencing_topology" {
        configuration.retain_elements(|e| e.name() != "fencing-topology");
        return Ok(());
    }
    let resources = configuration.child("resources");
    if let Some(template) = resources.and_then(|r| r.child_by_id("template", id)) {
        let of: Vec<String> = template
            .id()
            .into_iter()
            .flat_map(|t| configuration.descendants().filter(move |e| e.attr("template") == Some(t)))
            .filter_map(Element::id)
            .map(str::to_owned)
            .collect();
        of.iter().for_each(|primitive| super::note!("INFO: hanging primitive:{primitive} deleted"));
        of.iter().try_for_each(|primitive| delete_one(configuration, primitive))?;
        configuration.child_or_insert("resources").retain_elements(|e| e.id() != Some(id));
        return Ok(());
    }
    let Some(e) = edit::find_resource(configuration, id) else {
        return Err(error(format!("object {id} does not exist")));
    };
    // What a deleted group or clone held is kept, and an only member takes its place.
    let kept: Vec<Element> = e.elements().filter(|c| edit::RESOURCES.contains(&c.name())).cloned().collect();
    if let [only] = kept.as_slice() {
        let heir = only.id().unwrap_or_default().to_owned();
        hand_over(configuration, id, &heir);
    }
    // A group or clone that would hold nothing more goes first, and leaves its place to what it held.
    let holder = configuration.child("resources").and_then(|r| {
        r.descendants().find(|h| {
            let members: Vec<&Element> = h.elements().filter(|c| edit::RESOURCES.contains(&c.name())).collect();
            matches!(members.as_slice(), [one] if one.id() == Some(id)) && edit::RESOURCES.contains(&h.name())
        })
    });
    if let Some(holder) = holder.and_then(Element::id).map(str::to_owned) {
        delete_one(configuration, &holder)?;
    }
    forget(configuration, id)?;
    kept.into_iter().for_each(|e| configuration.child_or_insert("resources").push(e));
    Ok(())
}

/// A resource goes, without what it held, and what refers to it goes with it.
fn forget(configuration: &mut Element, id: &str) -> Result<(), Failure> {
    edit::resource_mut(configuration, id)?.retain_elements(|c| !edit::RESOURCES.contains(&c.name()));
    let constraints = configuration.child("constraints").into_iter().flat_map(Element::elements);
    let in_sets = constraints
        .filter(|c| c.elements_named("resource_set").flat_map(Element::elements).any(|member| member.id() == Some(id)));
    let shrunk: Vec<String> = in_sets.filter_map(Element::id).map(str::to_owned).collect();
    let constraints = configuration.child("constraints").into_iter().flat_map(Element::elements);
    let kinds: Vec<(String, String)> =
        constraints.map(|c| (c.id().unwrap_or_default().to_owned(), super::show::word_of(c).to_owned())).collect();
    for line in edit::delete_resource(configuration, id)? {
        let constraint = line.trim_start_matches("Removing Constraint - ");
        let kind = kinds.iter().find(|(id, _)| id == constraint).map_or("constraint", |(_, kind)| kind);
        super::note!("INFO: hanging {kind}:{constraint} deleted");
    }
    for c in configuration.child_or_insert("constraints").elements_mut() {
        if c.id().is_some_and(|id| shrunk.iter().any(|s| s == id)) {
            constraints::simplify(c);
            super::note!("INFO: constraint {}:{} updated", super::show::word_of(c), c.id().unwrap_or_default());
        }
    }
    Ok(())
}

/// Constraints that name one resource name another from now on.
fn hand_over(configuration: &mut Element, from: &str, to: &str) {
    for c in configuration.child_or_insert("constraints").elements_mut() {
        let (kind, id) = (super::show::word_of(c).to_owned(), c.id().unwrap_or_default().to_owned());
        let mut changed = false;
        for name in ["rsc", "with-rsc", "first", "then"] {
            if c.attr(name) == Some(from) {
                c.set(name, to);
                changed = true;
            }
        }
        for member in c.elements_mut().flat_map(Element::elements_mut).filter(|m| m.name() == "resource_ref") {
            if member.id() == Some(from) {
                member.set("id", to);
                changed = true;
            }
        }
        if changed {
            super::note!("INFO: modified {kind}:{id} from {from} to {to}");
        }
    }
}

/// What only schemas before 4.0 know is written as the newer ones have it.
pub fn modernise(e: &mut Element) {
    if e.name() == "master" {
        e.rename("clone");
        let id = e.id().unwrap_or_default().to_owned();
        let promotable = ("promotable".to_owned(), "true".to_owned());
        edit::set_pairs(e, "meta_attributes", &format!("{id}-meta_attributes"), &[promotable]);
    }
    for name in ["role", "rsc-role", "with-rsc-role"] {
        match e.attr(name) {
            Some("Master" | "master") => e.set(name, "Promoted"),
            Some("Slave" | "slave") => e.set(name, "Unpromoted"),
            _ => {}
        }
    }
    e.elements_mut().for_each(modernise);
}

fn rename(configuration: &mut Element, old: &str, new: &str) -> Result<String, Failure> {
    edit::needs_resource(configuration, old).map_err(|_| error(format!("object {old} does not exist")))?;
    edit::needs_free_id(configuration, new).map_err(|_| error(format!("{new}: id is already in use")))?;
    let refers = |e: &Element| {
        let of = |d: &Element| ["rsc", "with-rsc", "first", "then"].iter().any(|n| d.attr(n) == Some(old));
        e.descendants().any(|d| of(d) || d.name() == "resource_ref" && d.id() == Some(old))
    };
    for c in configuration.child("constraints").into_iter().flat_map(Element::elements).filter(|c| refers(c)) {
        let (kind, id) = (super::show::word_of(c), c.id().unwrap_or_default());
        super::note!("INFO: modified {kind}:{id} from {old} to {new}");
    }
    fn replace(e: &mut Element, old: &str, new: &str) {
        for name in ["id", "rsc", "with-rsc", "first", "then", "reference"] {
            if e.attr(name) == Some(old) && e.name() != "node" {
                e.set(name, new);
            }
        }
        e.elements_mut().for_each(|c| replace(c, old, new));
    }
    replace(configuration, old, as_id(new).as_str());
    if let Some(e) = edit::find_resource(configuration, new) {
        primitive::advise(e);
    }
    Ok(String::new())
}

/// `[after|before MEMBER]`.
fn into_group(configuration: &mut Element, group: &str, id: &str, place: &[&str]) -> Result<String, Failure> {
    let holder = edit::resource_mut(configuration, group)?;
    if holder.child_by_id("primitive", id).is_some() {
        let members: Vec<&str> = holder.elements_named("primitive").filter_map(Element::id).collect();
        return Err(error(format!(
            "1: syntax in group: child {id} listed more than once in group {group} parsing 'group {group} {} {id}'",
            members.join(" ")
        )));
    }
    let at =
        |e: &Element, id: &str| e.nodes().iter().position(|n| matches!(n, xml::Node::Element(c) if c.id() == Some(id)));
    let anchor = match place {
        [] => None,
        [how @ ("after" | "before"), member] if at(holder, member).is_some() => Some((*how, *member)),
        _ => return Err(error(format!("'{}' is no place in group {group}", place.join(" ")))),
    };
    edit::group_add(configuration, group, &[id.to_owned()])?;
    let Some((how, member)) = anchor else { return Ok(String::new()) };
    let holder = edit::resource_mut(configuration, group)?;
    let own = at(holder, id).and_then(|own| holder.nodes_mut().remove(own));
    if let (Some(own), Some(there)) = (own, at(holder, member)) {
        holder.nodes_mut().insert(there + usize::from(how == "after"), own);
    }
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
