//! `crm configure role`: what may be read and written, with crmsh's short words for paths.

use crate::acl_edit::{self, Permission};
use crate::edit::error;
use crate::source::Failure;
use xml::Element;

/// A short word, the path that it stands for, and what a second name adds; `%` stands for a name.
const SHORT: [(&str, &str, Option<&str>); 10] = [
    ("meta", "//primitive[@id='%']/meta_attributes", Some("/nvpair[@name='%']")),
    ("params", "//primitive[@id='%']/instance_attributes", Some("/nvpair[@name='%']")),
    ("utilization", "//primitive[@id='%']/utilization", None),
    ("location", "//rsc_location[@id='cli-prefer-%' and @rsc='%']", None),
    ("property", "//crm_config/cluster_property_set", Some("/nvpair[@name='%']")),
    ("nodeattr", "//nodes/node/instance_attributes", Some("/nvpair[@name='%']")),
    ("nodeutil", "//nodes/node/utilization", Some("[@uname='%']")),
    ("node", "//nodes/node", Some("[@uname='%']")),
    ("status", "/cib/status", None),
    ("cib", "/cib", None),
];

/// `WORD[:NAME[:NAME]]` as a path.
fn path_of(spec: &str) -> Option<String> {
    let mut names = spec.split(':');
    let word = names.next()?;
    let (_, path, more) = SHORT.iter().find(|(w, ..)| *w == word)?;
    // What ends the quotes would end the name.
    let sound = |name: &&str| !name.is_empty() && !name.contains(['\'', '"', '[', ']', '%']);
    let mut path = (*path).to_owned();
    if path.contains('%') {
        path = path.replace('%', names.next().filter(sound)?);
    }
    if let Some(name) = names.next() {
        path += &(*more)?.replace('%', Some(name).filter(|n| sound(n))?);
    }
    names.next().is_none().then_some(path)
}

/// The short word for a path.
fn short_for(path: &str) -> Option<String> {
    let names = names_in(path);
    SHORT.iter().find_map(|(word, ..)| {
        let all = match names.as_slice() {
            [] => vec![(*word).to_owned()],
            [a] => vec![format!("{word}:{a}")],
            [a, b, ..] => vec![format!("{word}:{a}:{b}"), format!("{word}:{b}")],
        };
        all.into_iter().find(|spec| path_of(spec).as_deref() == Some(path))
    })
}

/// What stands in quotes.
fn names_in(path: &str) -> Vec<&str> {
    path.split('\'').skip(1).step_by(2).collect()
}

/// Part of a permission: what it is of, or the attribute that it is about.
enum Spec {
    Of(&'static str, String),
    Attribute(String),
}

/// A permission's kind, what it is of, and its attribute, as far as they are read.
type Given<'a> = (&'a str, Option<(&'static str, String)>, Option<String>);

fn spec(word: &str) -> Option<Spec> {
    let (kind, value) = word.split_once(':').unwrap_or((word, ""));
    Some(match kind {
        "xpath" => Spec::Of("xpath", value.to_owned()),
        "ref" | "reference" => Spec::Of("reference", value.to_owned()),
        "type" | "tag" => Spec::Of("object-type", value.to_owned()),
        "attr" | "attribute" => Spec::Attribute(value.to_owned()),
        _ => Spec::Of("xpath", path_of(word)?),
    })
}

/// `[description=TEXT] ((read|write|deny) SPEC…)…`.
pub fn role(configuration: &mut Element, id: &str, words: &[&str]) -> Result<String, Failure> {
    let (description, words) = match words {
        [first, rest @ ..] if first.starts_with("description=") => (first.split_once('=').map(|(_, d)| d), rest),
        words => (None, words),
    };
    let mut all: Vec<Given<'_>> = Vec::new();
    for word in words {
        match (*word, all.last_mut()) {
            ("read" | "write" | "deny", _) => all.push((word, None, None)),
            (word, Some((_, of, attribute))) => match spec(word) {
                Some(Spec::Of(by, what)) if of.is_none() && !what.is_empty() => *of = Some((by, what)),
                Some(Spec::Attribute(name)) if attribute.is_none() && !name.is_empty() => *attribute = Some(name),
                _ => {
                    return Err(error(format!(
                        "configure role: expected xpath:, ref:, type: or a short word for a path, found '{word}'"
                    )));
                }
            },
            (word, None) => {
                return Err(error(format!("configure role: expected read, write or deny, found '{word}'")));
            }
        }
    }
    let mut permissions = Vec::new();
    for (kind, of, attribute) in &all {
        let (by, what) = of.as_ref().ok_or_else(|| error(format!("configure role: {kind} what?")))?;
        if *by == "xpath" {
            cib::acl::check_expression(what).map_err(|why| error(format!("'{what}' cannot be enforced: {why}")))?;
        }
        permissions.push(Permission { kind, by, what, attribute: attribute.as_deref() });
    }
    acl_edit::create_role(configuration, id, description)?;
    acl_edit::add_permissions(configuration, id, &permissions, true).map(|()| String::new())
}

/// A role, target or group in crmsh's words.
pub fn show(word: &str, e: &Element) -> String {
    let id = e.id().unwrap_or_default();
    if word != "role" {
        let roles: String = e.elements_named("role").filter_map(Element::id).map(|r| format!(" \\\n\t{r}")).collect();
        return format!("{word} {id}{roles}");
    }
    let one = |p: &Element| {
        let attribute = p.attr("attribute").map(|a| format!(" attr:{a}")).unwrap_or_default();
        let what = if let Some(path) = p.attr("xpath") {
            short_for(path).unwrap_or_else(|| format!("xpath:{}", super::show::quoted(path)))
        } else if let Some(id) = p.attr("reference") {
            format!("ref:{}", super::show::quoted(id))
        } else {
            p.attr("object-type").map(|t| format!("type:{}", super::show::quoted(t))).unwrap_or_default()
        };
        format!(" \\\n\t{}{attribute} {what}", p.attr("kind").unwrap_or_default()).trim_end().to_owned()
    };
    let description = e.attr("description").map(|d| format!(" description={}", super::show::quoted(d)));
    let rules: String = e.elements_named("acl_permission").map(one).collect();
    format!("role {id}{}{rules}", description.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_words_stand_for_paths_and_back() {
        for (spec, path) in [
            ("meta:d0:target-role", "//primitive[@id='d0']/meta_attributes/nvpair[@name='target-role']"),
            ("meta:d0", "//primitive[@id='d0']/meta_attributes"),
            ("utilization:d0", "//primitive[@id='d0']/utilization"),
            ("location:d0", "//rsc_location[@id='cli-prefer-d0' and @rsc='d0']"),
            ("property", "//crm_config/cluster_property_set"),
            ("property:a", "//crm_config/cluster_property_set/nvpair[@name='a']"),
            ("nodeutil:n1", "//nodes/node/utilization[@uname='n1']"),
            ("node", "//nodes/node"),
            ("cib", "/cib"),
        ] {
            assert_eq!(path_of(spec).as_deref(), Some(path));
            assert_eq!(short_for(path).as_deref(), Some(spec));
        }
        for bad in ["meta", "cib:x", "status:x", "meta:a:b:c", "meta:a']", "nosuch", "utilization:a:b"] {
            assert_eq!(path_of(bad), None, "{bad}");
        }
        assert_eq!(short_for("//other"), None);
    }

    #[test]
    fn a_role_is_read_as_it_is_shown() {
        let text = "<configuration><resources><primitive id='d0' class='lsb' type='x'/></resources></configuration>";
        let configuration = || xml::parse(text).expect("good");
        let mut c = configuration();
        let words = "read attr:uname type:node write meta:d0:target-role deny ref:d0 read xpath://nodes";
        role(&mut c, "r", &words.split(' ').collect::<Vec<_>>()).expect("sound");
        let shown = show("role", c.descendants().find(|e| e.name() == "acl_role").expect("there"));
        let wanted = format!("role r {words}").replace("xpath://nodes", "xpath:\"//nodes\"");
        assert_eq!(shown.replace(" \\\n\t", " "), wanted);
        for bad in ["read", "read nosuch:x", "d0", "read ref:d0 ref:d0", "read ref:"] {
            let words: Vec<&str> = bad.split(' ').collect();
            assert!(role(&mut configuration(), "r", &words).is_err(), "{bad}");
        }
    }
}
