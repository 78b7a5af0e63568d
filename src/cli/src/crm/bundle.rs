//! `crm configure bundle`: a container with its network, its storage and its resource.

use crate::edit::rules::Ids;
use crate::edit::{self, error, pair};
use crate::source::Failure;
use xml::{Element, Node};

const CONTAINERS: [&str; 3] = ["docker", "podman", "rkt"];
/// What stands within a part.
const MAPPINGS: [(&str, &str); 2] = [("network", "port-mapping"), ("storage", "storage-mapping")];

/// `[id=]ID (docker|podman|rkt) N=V… [network N=V… [port-mapping N=V…]…] [storage storage-mapping N=V…]… [primitive ID] [meta N=V…]`.
pub fn add(configuration: &mut Element, id: &str, words: &[&str]) -> Result<String, Failure> {
    let id = id.strip_prefix("id=").unwrap_or(id);
    super::primitive::exists(configuration, "bundle", id)?;
    let mut bundle = Element::new("bundle").with("id", id);
    let mut meta = Vec::new();
    let mut inner = None;
    // Which part the words are of, and which mapping in it.
    let (mut part, mut mapping) = ("", false);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let in_mapping = MAPPINGS.iter().any(|(of, name)| *of == part && name == word);
        match *word {
            "meta" => part = "meta",
            "network" | "storage" => (part, mapping) = (open(&mut bundle, word), false),
            word if CONTAINERS.contains(&word) => (part, mapping) = (open(&mut bundle, word), false),
            "primitive" => inner = Some(*words.next().ok_or_else(|| wrong("primitive needs an id"))?),
            word if in_mapping => {
                bundle.child_or_insert(part).push(Element::new(word));
                mapping = true;
            }
            word => {
                let (name, value) = pair(word)?;
                match part {
                    "" => return Err(wrong(&format!("'{word}' stands in no part"))),
                    "meta" => meta.push((name, value)),
                    part => {
                        let holder = bundle.child_or_insert(part);
                        let e = match mapping {
                            true => holder.elements_mut().last(),
                            false => Some(holder),
                        };
                        e.into_iter().for_each(|e| e.set(&name, &value));
                    }
                }
            }
        }
    }
    if !CONTAINERS.iter().any(|c| bundle.child(c).is_some()) {
        return Err(wrong(&format!("needs one of {}", CONTAINERS.join(", "))));
    }
    let mut ids = Ids::from_nought(configuration);
    for (of, name) in MAPPINGS {
        let Some(holder) = bundle.elements_mut().find(|e| e.name() == of) else { continue };
        for m in holder.elements_mut().filter(|m| m.name() == name && m.id().is_none()) {
            m.set("id", ids.free(&format!("{id}-{name}")));
        }
    }
    if !meta.is_empty() {
        let mut set = Element::new("bundle");
        edit::set_pairs(&mut set, "meta_attributes", &format!("{id}-meta_attributes"), &meta);
        set.elements().for_each(|s| bundle.push(s.clone()));
    }
    if let Some(inner) = inner {
        let resources = configuration.child_or_insert("resources");
        let is = |n: &Node| matches!(n, Node::Element(e) if e.name() == "primitive" && e.id() == Some(inner));
        let at = resources.nodes().iter().position(is);
        let at = at.ok_or_else(|| error(format!("{id} refers to missing object {inner}")))?;
        if let Some(taken) = resources.remove_at(&[at]) {
            bundle.push(taken);
        }
    }
    configuration.child_or_insert("resources").push(bundle);
    Ok(String::new())
}

fn open<'w>(bundle: &mut Element, word: &'w str) -> &'w str {
    bundle.child_or_insert(word);
    word
}

fn wrong(why: &str) -> Failure {
    error(format!("syntax in bundle: {why}"))
}

/// In crmsh's words, which [`add`] takes.
pub fn show(e: &Element) -> String {
    let mut text = format!("bundle {}", e.id().unwrap_or_default());
    for part in e.elements() {
        match part.name() {
            "primitive" => text += &format!(" \\\n\tprimitive {}", part.id().unwrap_or_default()),
            "meta_attributes" => {
                let pairs: Vec<String> = crate::nvpairs::written(part).map(super::show::quoted_pair).collect();
                text += &format!(" \\\n\tmeta {}", pairs.join(" "));
            }
            name => {
                text += &format!(" \\\n\t{name}{}", attributes(part));
                for m in part.elements() {
                    text += &format!(" {}{}", m.name(), attributes(m));
                }
            }
        }
    }
    text
}

fn attributes(e: &Element) -> String {
    e.attrs().map(|(n, v)| format!(" {n}={}", super::show::quoted(v))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_again() {
        let c = "<configuration><resources><primitive id='d' type='x'/></resources></configuration>";
        let mut c = xml::parse(c).expect("good");
        let line = "docker image=test network ip-range-start=10.0.0.1 port-mapping id=p1 port=80 port-mapping port=81 storage \
            storage-mapping id=s1 target-dir=/a source-dir=/b primitive d meta target-role=Stopped";
        add(&mut c, "id=b", &line.split_whitespace().collect::<Vec<_>>()).expect("sound");
        let shown = show(edit::find_resource(&c, "b").expect("there"));
        let mut again =
            xml::parse("<configuration><resources><primitive id='d' type='x'/></resources></configuration>")
                .expect("good");
        let text = shown.replace("\\\n\t", " ");
        let words = crate::crm::split(&text).expect("words");
        let words: Vec<&str> = words.iter().skip(2).map(String::as_str).collect();
        add(&mut again, "b", &words).expect("sound");
        assert_eq!(again, c, "{shown}");
        assert!(add(&mut c, "b", &["docker", "image=x"]).is_err(), "there is one");
        assert!(add(&mut c, "e", &["network", "a=b"]).is_err() && add(&mut c, "f", &["image=x"]).is_err());
    }
}
