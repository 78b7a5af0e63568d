//! Sets of values as crmsh writes them: `params [$id=ID] [SCORE:] [rule …] NAME=VALUE… $ID:NAME=VALUE @ID`, and the same of meta-attributes,
//! utilization and operations.

use super::constraints;
use super::show::{quoted, quoted_pair, rule as shown_rule, score as shown_score};
use crate::edit::rules::Ids;
use crate::edit::{error, pair};
use crate::source::Failure;
use base::Score;
use xml::Element;

#[derive(Debug, Default)]
pub struct Set {
    /// Its name in the CIB.
    pub kind: &'static str,
    id: Option<String>,
    /// It is another's, by this id.
    id_ref: Option<String>,
    score: Option<String>,
    rule: Option<Vec<String>>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
enum Entry {
    Pair {
        id: Option<String>,
        name: String,
        value: String,
    },
    /// Another set's pair, by its id; maybe under another name.
    Ref {
        id: String,
        name: Option<String>,
    },
}

/// What stands in a condition as `NAME=VALUE`, of ranges and points in time.
const OF_DATES: [&str; 14] = [
    "start",
    "end",
    "years",
    "months",
    "days",
    "hours",
    "minutes",
    "seconds",
    "weeks",
    "weekdays",
    "monthdays",
    "yearsdays",
    "weekyears",
    "moon",
];

impl Set {
    pub fn new(kind: &'static str) -> Set {
        Set { kind, ..Set::default() }
    }

    /// Named values.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().filter_map(|e| match e {
            Entry::Pair { name, value, .. } => Some((name.as_str(), value.as_str())),
            Entry::Ref { .. } => None,
        })
    }

    /// Whether some of it stands elsewhere.
    pub fn refers(&self) -> bool {
        self.id_ref.is_some() || self.entries.iter().any(|e| matches!(e, Entry::Ref { .. }))
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.rule.is_none() && self.id_ref.is_none()
    }

    /// One more word of it.
    pub fn take(&mut self, word: &str) -> Result<(), Failure> {
        if let Some(rule) = self.rule.as_mut().filter(|_| self.entries.is_empty()) {
            if is_of_rule(rule, word) {
                rule.push(word.to_owned());
                return Ok(());
            }
        } else if self.entries.is_empty() && self.rule.is_none() {
            if word == "rule" {
                self.rule = Some(Vec::new());
                return Ok(());
            }
            if let Some(score) = word.strip_suffix(':').filter(|s| Score::parse(s).is_some()) {
                self.score = Some(score.to_owned());
                return Ok(());
            }
        }
        if let Some(reference) = word.strip_prefix('@') {
            let (id, name) = reference.split_once(':').map_or((reference, None), |(id, n)| (id, Some(n.to_owned())));
            self.entries.push(Entry::Ref { id: id.to_owned(), name });
            return Ok(());
        }
        let (name, value) = pair(word)?;
        match name.as_str() {
            "$id" => self.id = Some(value),
            "$id-ref" => self.id_ref = Some(value),
            name => {
                let (id, name) = match name.strip_prefix('$').and_then(|n| n.split_once(':')) {
                    Some((id, name)) => (Some(id.to_owned()), name),
                    None => (None, name),
                };
                self.entries.push(Entry::Pair { id, name: name.to_owned(), value });
            }
        }
        Ok(())
    }

    /// The set of `holder`, or nothing where it holds nothing.
    pub fn element(&self, configuration: &Element, holder: &str, ids: &mut Ids) -> Result<Option<Element>, Failure> {
        if let Some(other) = &self.id_ref {
            return Ok(Some(Element::new(self.kind).with("id-ref", other)));
        }
        let said = |e: &&Entry| !matches!(e, Entry::Pair { value, .. } if value.is_empty());
        let entries: Vec<&Entry> = self.entries.iter().filter(said).collect();
        if entries.is_empty() && self.rule.is_none() {
            return Ok(None);
        }
        let id = self.id.clone().unwrap_or_else(|| ids.free(&format!("{holder}-{}", self.kind)));
        let mut e = Element::new(self.kind).with("id", &id);
        self.score.iter().for_each(|score| e.set("score", score));
        if let Some(rule) = &self.rule {
            let words: Vec<&str> = rule.iter().map(String::as_str).collect();
            e.push(constraints::rule(configuration, &id, &words, ids)?);
        }
        for entry in entries {
            match entry {
                Entry::Ref { id, name } => {
                    let nvpair = Element::new("nvpair").with("id-ref", id);
                    e.push(name.iter().fold(nvpair, |e, name| e.with("name", name)));
                }
                Entry::Pair { id: own, name, value } => {
                    // The last of several counts.
                    e.retain_elements(|p| p.name() != "nvpair" || p.attr("name") != Some(name));
                    let own = own.clone().unwrap_or_else(|| ids.free(&format!("{id}-{name}")));
                    e.push(Element::new("nvpair").with("id", own).with("name", name).with("value", value));
                }
            }
        }
        Ok(Some(e))
    }
}

/// Whether a word goes on with the condition: what is `NAME=VALUE` does so at the beginning and within dates.
pub fn is_of_rule(rule: &[String], word: &str) -> bool {
    let Some((name, _)) = word.split_once('=') else { return !word.starts_with('@') };
    if rule.iter().all(|w| w.contains('=')) && ["$id", "$id-ref", "$role", "role"].contains(&name) {
        return true;
    }
    let last = rule.iter().rposition(|w| !w.contains('='));
    last.is_some_and(|at| ["in", "in_range", "spec", "date_spec"].contains(&rule[at].as_str()))
        && OF_DATES.contains(&name)
}

/// Values of this kind, as a line of crmsh each: what is before the values and the values.
pub fn shown(configuration: &Element, e: &Element, word: &str) -> String {
    if let Some(other) = e.attr("id-ref") {
        return format!(" \\\n\t{word} $id-ref={}", quoted(other));
    }
    let mut text = String::new();
    if e.attr("score").is_some() {
        text += &format!(" {}:", shown_score(e));
    }
    for r in e.elements_named("rule") {
        text += &format!(" {}", shown_rule(configuration, e, r));
    }
    for p in e.elements_named("nvpair") {
        text += &match (p.attr("id-ref"), p.attr("name")) {
            (Some(id), Some(name)) => format!(" @{id}:{name}"),
            (Some(id), None) => format!(" @{id}"),
            (None, _) => format!(" {}", quoted_pair(p)),
        };
    }
    if text.is_empty() { text } else { format!(" \\\n\t{word}{text}") }
}

/// What is said of a set that is not the last of its kind: nothing may follow without a word that opens it.
pub fn misplaced(word: &str) -> Failure {
    error(format!("'{word}' stands where no parameters can be: params, meta, utilization or op opens a part"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(words: &str) -> Element {
        let configuration = Element::new("configuration");
        let mut set = Set::new("instance_attributes");
        words.split(' ').for_each(|w| set.take(w).expect("sound"));
        let mut ids = Ids::from_nought(&configuration);
        set.element(&configuration, "p", &mut ids).expect("sound").expect("not empty")
    }

    #[test]
    fn rules_end_where_values_begin_and_are_shown_as_they_were_read() {
        for words in [
            "rule #uname eq node1 fake=1",
            "2: rule #uname eq node1 and pingd gt 0 fake=1",
            "rule date in start=2009-05-26 end=2010-05-26 or date gt 2014-01-01 state=2 other=3",
            "rule date spec years=2009 hours=09-17 fake=7",
            "@a-b",
            "@a-b:c d=1",
            "a=1",
        ] {
            let e = made(words);
            let text = shown(&Element::new("configuration"), &e, "params");
            assert_eq!(
                text.replace(" \\\n\t", "").strip_prefix("params ").unwrap_or_default(),
                words,
                "{}",
                e.to_pretty()
            );
        }
        let e = made("$mine:state=1");
        assert_eq!(e.child("nvpair").and_then(Element::id), Some("mine"));
        assert_eq!(made("$id=own a=1").id(), Some("own"));
    }
}
