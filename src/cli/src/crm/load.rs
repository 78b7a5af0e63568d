//! `crm configure load|filter|edit|xml`: a configuration from text, crmsh's or XML.

use super::configure;
use super::meta::Asking;
use crate::edit::{self, error};
use crate::source::Failure;
use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};
use xml::Element;

const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// What becomes of what is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// What the text names takes the place of what has its name; all else stays.
    Update,
    /// All of it goes first but the nodes.
    Replace,
    /// All of it goes first.
    Push,
}

impl How {
    pub fn of(word: &str) -> Result<How, Failure> {
        match word {
            "update" => Ok(How::Update),
            "replace" => Ok(How::Replace),
            "push" => Ok(How::Push),
            other => Err(error(format!("configure.load: Unknown method {other}"))),
        }
    }
}

const SECTIONS: [&str; 10] = [
    "nodes",
    "crm_config",
    "resources",
    "constraints",
    "rsc_defaults",
    "op_defaults",
    "tags",
    "acls",
    "alerts",
    "fencing-topology",
];

fn read(path: &str) -> Result<String, Failure> {
    let bytes = kernel::files::read_regular(std::path::Path::new(path), MAX_BYTES).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            error(format!("could not open {path}: [Errno 2] No such file or directory: '{path}'"))
        }
        _ => error(format!("could not open {path}: {e}")),
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn clear(configuration: &mut Element, how: How) {
    let sections: &[&str] = match how {
        How::Update => &[],
        How::Replace => &SECTIONS[1..],
        How::Push => &SECTIONS,
    };
    for name in sections {
        if configuration.child(name).is_some() {
            configuration.child_or_insert(name).nodes_mut().clear();
        }
    }
}

/// All but the nodes.
pub fn erase(configuration: &mut Element) {
    clear(configuration, How::Replace);
}

pub fn file(configuration: &mut Element, how: &str, path: &str, asking: Asking) -> Result<String, Failure> {
    let how = How::of(how)?;
    let text = read(path)?;
    match text.trim_start().starts_with('<') {
        true => document(configuration, &text, how),
        false => self::text(configuration, &text, path, how, asking),
    }
}

/// Lines as they would be typed. All that are no commands are named.
pub fn text(configuration: &mut Element, text: &str, path: &str, how: How, asking: Asking) -> Result<String, Failure> {
    let mut new = configuration.clone();
    clear(&mut new, how);
    let mut said = String::new();
    let mut wrong = Vec::new();
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    let mut all = Vec::new();
    for (number, line) in (1..).zip(lines) {
        all.push((number, line, super::split(line)?));
    }
    // What others are made of comes first, in whatever order it is written.
    all.sort_by_key(|(.., words)| rank(words.first().map_or("", String::as_str)));
    for (number, line, words) in &all {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        // Commit is the caller's.
        if matches!(words.first(), None | Some(&"commit" | &"configure")) {
            continue;
        }
        let in_table = std::iter::once("configure").chain(words.iter().copied()).map(str::to_owned).collect::<Vec<_>>();
        if super::table::TABLE.parse(&in_table).is_err() {
            wrong.push(format!("{number}: syntax: Unknown command near <{}> parsing '{line}'", words[0]));
            continue;
        }
        said += &put(&mut new, &words, asking).map_err(|mut f| {
            f.message = format!("{path}: entry {number}: {}", f.message);
            f
        })?;
    }
    if !wrong.is_empty() {
        return Err(error(wrong.join("\nERROR: ")));
    }
    *configuration = new;
    Ok(said)
}

fn rank(kind: &str) -> usize {
    const FIRST: [&[&str]; 5] =
        [&["node"], &["rsc_template"], &["primitive"], &["group", "bundle"], &["clone", "ms", "master", "tag"]];
    FIRST.iter().position(|kinds| kinds.contains(&kind)).unwrap_or(FIRST.len())
}

/// One object: a new one, or one in the place of that which has its id.
fn put(configuration: &mut Element, words: &[&str], asking: Asking) -> Result<String, Failure> {
    const RESOURCES: [&str; 6] = ["primitive", "group", "clone", "ms", "bundle", "rsc_template"];
    const OTHERS: [&str; 10] = [
        "location",
        "colocation",
        "collocation",
        "order",
        "rsc_ticket",
        "tag",
        "role",
        "acl_target",
        "acl_group",
        "alert",
    ];
    let [kind, id, ..] = words else { return configure::run(configuration, words, asking) };
    let id = id.trim_end_matches(':').trim_start_matches("id=");
    let there = configuration.descendants().any(|e| e.id() == Some(id) && e.name() != "node");
    if there && RESOURCES.contains(kind) {
        return replace_resource(configuration, words, id, asking);
    }
    if there && OTHERS.contains(kind) {
        let mut place = None;
        for section in configuration.elements_mut() {
            let at = section.nodes().iter().position(|n| matches!(n, xml::Node::Element(e) if e.id() == Some(id)));
            if let Some(at) = at {
                section.nodes_mut().remove(at);
                place = Some((section.name().to_owned(), at));
            }
        }
        let said = configure::run(configuration, words, asking)?;
        // It comes last, and goes where it was.
        if let Some((section, at)) = place {
            let nodes = configuration.child_or_insert(&section).nodes_mut();
            if let Some(new) = nodes.len().checked_sub(1).and_then(|last| nodes.remove(last)) {
                nodes.insert(at.min(nodes.len()), new);
            }
        }
        return Ok(said);
    }
    configure::run(configuration, words, asking)
}

/// The old one leaves what it held at the top; the new one takes what it names, and the place of the old one.
fn replace_resource(configuration: &mut Element, words: &[&str], id: &str, asking: Asking) -> Result<String, Failure> {
    let is = |n: &xml::Node| matches!(n, xml::Node::Element(e) if e.id() == Some(id));
    let resources = configuration.child_or_insert("resources");
    let mut path = Vec::new();
    find(resources, &is, &mut path);
    let Some(old) = resources.remove_at(&path) else { return configure::run(configuration, words, asking) };
    let members: Vec<Element> = old.elements().filter(|c| edit::RESOURCES.contains(&c.name())).cloned().collect();
    let mut scratch = configuration.clone();
    members.into_iter().for_each(|m| scratch.child_or_insert("resources").push(m));
    let said = configure::run(&mut scratch, words, asking)?;
    let resources = scratch.child_or_insert("resources");
    let nodes = resources.nodes_mut();
    let Some(mut new) = nodes.len().checked_sub(1).and_then(|last| nodes.remove(last)) else { return Ok(said) };
    if let xml::Node::Element(new) = &mut new {
        keep_referred(&old, new, configuration);
    }
    let (at, above) = path.split_last().map_or((0, &[][..]), |(at, above)| (*at, above));
    let holder = if above.is_empty() { Some(resources) } else { resources.at_mut(above) };
    if let Some(holder) = holder {
        let at = at.min(holder.nodes().len());
        holder.nodes_mut().insert(at, new);
    }
    *configuration = scratch;
    Ok(said)
}

/// Values that others refer to keep their ids, which the text does not show.
fn keep_referred(old: &Element, new: &mut Element, configuration: &Element) {
    for set in old.elements() {
        for pair in set.elements().filter(|p| p.attr("name").is_some()) {
            let Some(id) = pair.id() else { continue };
            let refers = |e: &Element| e.attr("id-ref") == Some(id);
            if new.find_id(id).is_some() || !configuration.descendants().any(refers) {
                continue;
            }
            let mut sets = new.elements_mut().filter(|s| s.name() == set.name());
            let same = sets.find_map(|s| s.elements_mut().find(|p| p.attr("name") == pair.attr("name")));
            same.into_iter().for_each(|p| p.set("id", id));
        }
    }
}

fn find(e: &Element, is: &dyn Fn(&xml::Node) -> bool, path: &mut Vec<usize>) -> bool {
    for (at, node) in e.nodes().iter().enumerate() {
        path.push(at);
        if is(node) || matches!(node, xml::Node::Element(child) if find(child, is, path)) {
            return true;
        }
        path.pop();
    }
    false
}

/// `<cib>`, `<configuration>`, or one element of it.
pub fn document(configuration: &mut Element, text: &str, how: How) -> Result<String, Failure> {
    let wrong = |e: &dyn std::fmt::Display| {
        kernel::errln!("ERROR: Cannot parse XML data: {}", base::text::one_line(text, 80));
        error(format!("syntax in xml: {e} parsing 'xml {}'", base::text::one_line(text, 80)))
    };
    let root = text.get(text.find("<?xml").map_or(0, |_| text.find("?>").map_or(0, |at| at + 2))..).unwrap_or(text);
    let root = xml::parse(root).map_err(|e| wrong(&e))?;
    let whole = match root.name() {
        "cib" => Some(root.child("configuration").cloned().ok_or_else(|| wrong(&"no configuration"))?),
        "configuration" => Some(root.clone()),
        _ => None,
    };
    let mut new = configuration.clone();
    match whole {
        Some(whole) => {
            let how = if how == How::Replace { How::Push } else { how };
            clear(&mut new, how);
            for section in whole.elements().filter(|s| SECTIONS.contains(&s.name())) {
                section.elements().for_each(|e| element(&mut new, section.name(), e));
            }
        }
        None => {
            let section = section_of(root.name()).ok_or_else(|| wrong(&format!("'{}' is no object", root.name())))?;
            element(&mut new, section, &root);
        }
    }
    *configuration = new;
    Ok(String::new())
}

fn section_of(name: &str) -> Option<&'static str> {
    Some(match name {
        "primitive" | "group" | "clone" | "master" | "bundle" | "template" => "resources",
        "rsc_location" | "rsc_colocation" | "rsc_order" | "rsc_ticket" => "constraints",
        "node" => "nodes",
        "tag" => "tags",
        "alert" => "alerts",
        "acl_role" | "acl_target" | "acl_group" => "acls",
        "cluster_property_set" => "crm_config",
        "fencing-level" => "fencing-topology",
        _ => return None,
    })
}

fn element(configuration: &mut Element, section: &str, e: &Element) {
    let holder = configuration.child_or_insert(section);
    let at = holder.nodes().iter().position(
        |n| matches!(n, xml::Node::Element(c) if c.name() == e.name() && e.id().is_some() && c.id() == e.id()),
    );
    match at {
        Some(at) => {
            holder.nodes_mut().remove(at);
            holder.nodes_mut().insert(at, xml::Node::Element(e.clone()));
        }
        None => holder.push(e.clone()),
    }
}

/// What a shell command makes of it.
pub fn filtered(program: &str, text: &str) -> Result<String, Failure> {
    let failed = |e: std::io::Error| error(format!("cannot run '{program}': {e}"));
    let mut child = Command::new("sh")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut stdin = child.stdin.take().ok_or_else(|| error("no pipe"))?;
    // Both at once: a filter may write before it has read all.
    let input = text.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let done = child.wait_with_output().map_err(failed)?;
    let _ = writer.join();
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).into_owned()),
        false => Err(error(format!("'{program}' failed: {}", done.status))),
    }
}

/// What the user makes of it in an editor; only at a terminal.
pub fn edited(editor: &str, text: &str) -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(error(
            "edit needs a terminal; else: crm configure save FILE, change it, crm configure load update FILE",
        ));
    }
    let failed = |e: std::io::Error| error(format!("cannot edit: {e}"));
    let path = std::env::temp_dir().join(format!("crm-{}.pcmk", std::process::id()));
    kernel::files::replace(&path, text.as_bytes(), 0o600).map_err(failed)?;
    let done = Command::new("sh").args(["-c", &format!("{editor} \"$0\"")]).arg(&path).status().map_err(failed);
    let after = kernel::files::read_regular(&path, MAX_BYTES).map_err(failed);
    let _ = std::fs::remove_file(&path);
    match done?.success() {
        true => Ok(String::from_utf8_lossy(&after?).into_owned()),
        false => Err(error(format!("{editor} ended with an error; nothing was changed"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crm::options::Children;

    const FORCED: Asking = Asking { force: true, children: Children::Ask };

    fn configuration() -> Element {
        xml::parse(
            "<configuration><crm_config/><nodes/><resources><primitive id='a' class='lsb' type='x'/><clone id='c'><group id='g'>\
             <primitive id='p' class='lsb' type='x'/><primitive id='q' class='lsb' type='x'/></group></clone></resources>\
             <constraints><rsc_location id='l' rsc='c' node='n' score='1'/><rsc_location id='m' rsc='a' node='n' score='1'/>\
             </constraints></configuration>",
        )
        .expect("good")
    }

    #[test]
    fn an_update_takes_the_place_of_what_has_its_name() {
        let mut c = configuration();
        let lines = "primitive a lsb:y\nprimitive p lsb:z\ngroup g q p\nlocation l c 5: n\nprimitive new lsb:x\n";
        text(&mut c, lines, "file", How::Update, FORCED).expect("good");
        let wanted = "<configuration><crm_config/><nodes/><resources><primitive id='a' class='lsb' type='y'/><clone id='c'><group id='g'>\
             <primitive id='q' class='lsb' type='x'/><primitive id='p' class='lsb' type='z'/></group></clone>\
             <primitive id='new' class='lsb' type='x'/></resources>\
             <constraints><rsc_location id='l' rsc='c' node='n' score='5'/><rsc_location id='m' rsc='a' node='n' score='1'/>\
             </constraints></configuration>";
        let keys = |e: &Element| {
            e.descendants().filter_map(|d| Some((d.name().to_owned(), d.id()?.to_owned()))).collect::<Vec<_>>()
        };
        assert_eq!(keys(&c), keys(&xml::parse(wanted).expect("good")), "{}", c.to_pretty());
        assert!(c.to_compact().contains("score=\"5\"") && c.to_compact().contains("type=\"z\""));
    }

    #[test]
    fn what_is_wrong_changes_nothing() {
        let mut c = configuration();
        let failure =
            text(&mut c, "primitive b lsb:y\nsite = x\nticket = y\n", "file", How::Push, FORCED).expect_err("no");
        assert!(failure.message.contains("2: syntax") && failure.message.contains("3: syntax"), "{}", failure.message);
        assert_eq!(c, configuration());
        assert!(document(&mut c, "<bad", How::Update).is_err() && document(&mut c, "<bad/>", How::Update).is_err());
        document(&mut c, "<?xml version='1.0'?><primitive id='a' class='lsb' type='w'/>", How::Update).expect("good");
        assert!(c.to_compact().contains("type=\"w\"") && c.to_compact().matches("id=\"a\"").count() == 1);
        text(&mut c, "group h n o\nprimitive n lsb:x\nprimitive o lsb:x\n", "file", How::Update, FORCED)
            .expect("sorted");
        assert_eq!(filtered("sed s/a/b/", "aha\n").expect("runs"), "bha\n");
        assert!(filtered("false", "x").is_err());
    }
}
