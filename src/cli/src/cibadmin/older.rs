//! The CIB as programs of Pacemaker 2.1 can read it: they look for its schema among those that they know, and do without one
//! where it is none of them.

use crate::source::Source;
use cib::{Op, Request, Target};
use xml::Element;

/// The newest schema of 2.1.5.
const NEWEST: &str = "pacemaker-3.9";

fn is_newer(schema: &str) -> bool {
    let number = |part: Option<&str>| part.and_then(|n| n.parse::<u32>().ok()).unwrap_or(0);
    let mut parts = schema.strip_prefix("pacemaker-").unwrap_or_default().split('.');
    (number(parts.next()), number(parts.next())) > (3, 9)
}

/// A whole document under a schema that they know; what is written in a newer one's words is in theirs as well.
pub fn shown(mut answer: Element) -> Element {
    let newer = answer.name() == "cib" && answer.attr("validate-with").is_some_and(is_newer);
    if newer && crate::args::compat_21() {
        answer.set("validate-with", NEWEST);
    }
    answer
}

/// What comes from them in an older schema's words is written in those of the one that the document has; a whole document that
/// comes back under the schema that was shown keeps its own.
pub fn keep(source: &Source, request: &mut Request) {
    let Some(payload) = request.payload.as_mut().filter(|_| request.op != Op::Delete) else { return };
    // Where there is no document yet, there is nothing to keep.
    let Ok(own) = source.cib() else { return };
    let Some(schema) = own.attr("validate-with").filter(|s| is_newer(s)) else { return };
    crate::crm::modernise(payload);
    let whole = request.op == Op::Replace && request.target == Target::Whole;
    if whole && payload.attr("validate-with") == Some(NEWEST) {
        payload.set("validate-with", schema);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_newer_is_shown_as_another() {
        for (schema, newer) in
            [("pacemaker-4.0", true), ("pacemaker-3.10", true), ("pacemaker-3.9", false), ("none", false)]
        {
            assert_eq!(is_newer(schema), newer, "{schema}");
        }
    }

    #[test]
    fn what_comes_back_keeps_its_schema() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("cib.xml");
        std::fs::write(&file, cib::empty_root("pacemaker-4.0").to_pretty()).expect("written");
        let back = |schema: &str| {
            let mut request = Request::new(Op::Replace, Target::Whole, Some(cib::empty_root(schema)));
            keep(&Source::File(file.clone()), &mut request);
            request.payload.and_then(|p| p.attr("validate-with").map(str::to_owned))
        };
        assert_eq!(back(NEWEST).as_deref(), Some("pacemaker-4.0"));
        assert_eq!(back("pacemaker-3.2").as_deref(), Some("pacemaker-3.2"), "another one is asked for");
        let master = xml::parse("<resources><master id='m'><primitive id='p'/></master></resources>").expect("good");
        let mut request = Request::upsert("resources", master);
        keep(&Source::File(file), &mut request);
        let text = request.payload.map(|p| p.to_compact()).unwrap_or_default();
        assert!(text.contains("<clone id=\"m\">") && text.contains("name=\"promotable\" value=\"true\""), "{text}");
    }
}
