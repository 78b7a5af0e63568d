//! What is not for others' eyes: values of parameters whose names say that they are secrets, wherever they stand.

use crate::source::Failure;
use base::secret::{self, MASK, is_secret};
use regex::{Captures, Regex};
use std::collections::BTreeSet;
use std::sync::Mutex;
use xml::Element;

/// A shorter value would stand everywhere.
const LEAST_BYTES: usize = 4;
/// Values that are looked for in all texts.
const MOST_VALUES: usize = 10_000;

pub struct Conceal {
    /// Names, beside those that always are.
    names: Vec<Regex>,
    pair: Regex,
    attribute: Regex,
    /// Values that were met in the configuration; they may stand in a log without their name.
    values: Mutex<BTreeSet<String>>,
}

pub fn patterns<'p>(texts: impl Iterator<Item = &'p str>) -> Result<Vec<Regex>, Failure> {
    texts.map(|p| Regex::new(p).map_err(|e| Failure::usage(format!("'{p}' is no regular expression: {e}")))).collect()
}

impl Conceal {
    pub fn new(names: &[String]) -> Result<Conceal, Failure> {
        let fixed = |text: &str| Regex::new(text).map_err(|e| Failure::usage(e.to_string()));
        Ok(Conceal {
            names: patterns(names.iter().map(String::as_str))?,
            pair: fixed(r#"([A-Za-z_][A-Za-z0-9_.-]*)(["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s,;&"']+)"#)?,
            attribute: fixed(r#"(\bname="([^"]*)"[^<>]*?\bvalue=")([^"]*)""#)?,
            values: Mutex::default(),
        })
    }

    fn is_secret(&self, name: &str) -> bool {
        is_secret(name) || self.names.iter().any(|p| p.is_match(name))
    }

    /// Takes note of the secrets of a configuration.
    pub fn learn(&self, cib: &Element) {
        for e in cib.descendants() {
            if let (Some(name), Some(value)) = (e.attr("name"), e.attr("value"))
                && self.is_secret(name)
                && value != secret::ELSEWHERE
            {
                self.learn_value(value);
            }
        }
    }

    pub fn learn_value(&self, value: &str) {
        let mut values = self.values.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if value.len() >= LEAST_BYTES && values.len() < MOST_VALUES {
            values.insert(value.to_owned());
        }
    }

    /// Any text: a file, a log, a document.
    pub fn text(&self, text: &str) -> String {
        let masked = self.attribute.replace_all(text, |c: &Captures<'_>| {
            match self.is_secret(&c[2]) && &c[3] != secret::ELSEWHERE {
                true => format!("{}{MASK}\"", &c[1]),
                false => c[0].to_owned(),
            }
        });
        let masked = self.pair.replace_all(&masked, |c: &Captures<'_>| match self.is_secret(&c[1]) {
            true => format!("{}{}{MASK}", &c[1], &c[2]),
            false => c[0].to_owned(),
        });
        let mut masked = masked.into_owned();
        let values = self.values.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // The longest first: one may begin another.
        let mut values: Vec<&String> = values.iter().filter(|v| masked.contains(v.as_str())).collect();
        values.sort_by_key(|v| std::cmp::Reverse(v.len()));
        for value in values {
            masked = masked.replace(value.as_str(), MASK);
        }
        masked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_concealed_by_name_and_then_wherever_they_stand() {
        let conceal = Conceal::new(&["^pin$".to_owned()]).expect("sound");
        let text = "<nvpair id=\"a\" name=\"passwd\" value=\"geheim\"/><nvpair value=\"x\" id=\"b\" name=\"ip\"/>\n\
                    login = \"me\"\npasswd = \"ge heim\"\npin: 12345\nrun with password='q w' and token=abc\nsecret=lrm://";
        let shown = conceal.text(text);
        for gone in ["geheim", "ge heim", "12345", "q w"] {
            assert!(!shown.contains(gone), "{gone} in {shown}");
        }
        assert!(shown.contains("login = \"me\"") && shown.contains("token=abc"), "{shown}");
        assert!(shown.contains("value=\"x\""), "{shown}");
        conceal.learn(
            &xml::parse("<a><nvpair name=\"passwd\" value=\"geheim\"/><nvpair name=\"secret\" value=\"lrm://\"/></a>")
                .expect("XML"),
        );
        assert_eq!(
            conceal.text("fence said: geheim was wrong, lrm:// is elsewhere"),
            format!("fence said: {MASK} was wrong, lrm:// is elsewhere")
        );
        assert!(Conceal::new(&["(".to_owned()]).is_err());
    }
}
