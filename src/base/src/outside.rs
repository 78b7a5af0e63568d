//! Text from outside that may enter the cluster's tree: only characters that XML 1.0 can hold, and of bounded length.
//!
//! There are two ways in. [`XmlText::checked`] refuses, and says what and where, for what a user gives; [`XmlText::cleaned`]
//! replaces and cuts, for what agents print. Reading one from a message checks too, so that no way leads around.

use crate::Text;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::ops::Deref;

/// Names: of attributes, nodes, resources, operations, programs.
pub type Word = XmlText<1024>;
/// Values of attributes.
pub type Value = XmlText<{ 8 * 1024 }>;
/// Why an agent failed, in its own words.
pub type Reason = XmlText<512>;
/// XPath expressions.
pub type Expression = XmlText<{ 8 * 1024 }>;

/// What a cleaned text has in place of a character that cannot be held.
pub const REPLACEMENT: char = '\u{fffd}';
/// What a cleaned text ends with if it was cut.
pub const CUT: char = '…';

/// XML 1.0 §2.2, production 2.
pub fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..) && !matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// Text of at most `MAX` bytes, all of whose characters XML can hold.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct XmlText<const MAX: usize>(Text);

/// Why a text was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TextError {
    #[error("character {position} is U+{:04X}, which XML cannot hold: leave it out", u32::from(*.found))]
    Character {
        /// Counted in characters, from 1.
        position: usize,
        found: char,
    },
    #[error("{bytes} bytes are too long: at most {limit} are accepted")]
    TooLong { bytes: usize, limit: usize },
}

impl<const MAX: usize> XmlText<MAX> {
    /// Takes the text as it is, or refuses it.
    pub fn checked(text: impl Into<Text> + AsRef<str>) -> Result<XmlText<MAX>, TextError> {
        let found = text.as_ref();
        if found.len() > MAX {
            return Err(TextError::TooLong { bytes: found.len(), limit: MAX });
        }
        match found.chars().enumerate().find(|(_, c)| !is_xml_char(*c)) {
            Some((at, found)) => Err(TextError::Character { position: at + 1, found }),
            None => Ok(XmlText(text.into())),
        }
    }

    /// Makes an acceptable text of anything: what cannot be held is replaced, what is too long is cut, and both can be seen.
    pub fn cleaned(text: &str) -> XmlText<MAX> {
        let mut out = String::with_capacity(text.len().min(MAX));
        for c in text.chars().map(|c| if is_xml_char(c) { c } else { REPLACEMENT }) {
            if out.len() + c.len_utf8() > MAX {
                let kept = out.floor_char_boundary(MAX.saturating_sub(CUT.len_utf8()));
                out.truncate(kept);
                if MAX >= CUT.len_utf8() {
                    out.push(CUT);
                }
                break;
            }
            out.push(c);
        }
        XmlText(out.into())
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The same text where another length is allowed.
    pub fn widen<const WIDER: usize>(self) -> XmlText<WIDER> {
        const { assert!(WIDER >= MAX) };
        XmlText(self.0)
    }
}

impl<const MAX: usize> Deref for XmlText<MAX> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> AsRef<str> for XmlText<MAX> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> PartialEq<str> for XmlText<MAX> {
    fn eq(&self, other: &str) -> bool {
        self.0 == *other
    }
}

impl<const MAX: usize> PartialEq<&str> for XmlText<MAX> {
    fn eq(&self, other: &&str) -> bool {
        self.0 == **other
    }
}

impl<const MAX: usize> fmt::Debug for XmlText<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const MAX: usize> fmt::Display for XmlText<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl<const MAX: usize> Serialize for XmlText<MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for XmlText<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<XmlText<MAX>, D::Error> {
        let text = String::deserialize(deserializer)?;
        XmlText::checked(text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_named_with_its_place() {
        let error = Word::checked("a\u{1}b").expect_err("a control character");
        assert_eq!(error.to_string(), "character 2 is U+0001, which XML cannot hold: leave it out");
        let error = XmlText::<3>::checked("ab\u{e9}").expect_err("four bytes");
        assert_eq!(error, TextError::TooLong { bytes: 4, limit: 3 });
        assert_eq!(Word::checked("Straße\t→\r\n").expect("fine"), "Straße\t→\r\n");
    }

    #[test]
    fn what_is_cleaned_can_always_be_held() {
        let all: String = (0..=u32::from(char::MAX)).filter_map(char::from_u32).collect();
        let cleaned = XmlText::<{ 8 << 20 }>::cleaned(&all);
        assert!(cleaned.chars().all(is_xml_char));
        assert_eq!(cleaned.chars().count(), all.chars().count());
        assert_eq!(XmlText::<{ 8 << 20 }>::checked(cleaned.as_str()), Ok(cleaned));
    }

    #[test]
    fn a_cut_shows_and_keeps_the_bound() {
        for (text, expected) in [("abcdef", "abcdef"), ("abcdefg", "abc…"), ("ééé", "ééé"), ("éééé", "é…")]
        {
            assert_eq!(XmlText::<6>::cleaned(text), expected);
        }
        assert_eq!(XmlText::<2>::cleaned("abc"), "", "no room for the mark");
        let long = "\u{1b}[31m".repeat(10_000);
        assert!(Reason::cleaned(&long).len() <= 512);
    }
}
