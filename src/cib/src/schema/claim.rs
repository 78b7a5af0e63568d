//! Which schema a document says that it follows.

use std::fmt;
use xml::Element;

/// The schemas that there are, the newest minor number of each major one.
const NEWEST_MINOR: [(u32, u32); 4] = [(1, 3), (2, 10), (3, 10), (4, 0)];

/// What `validate-with` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// Major and minor number.
    Version((u32, u32)),
    /// The document asks not to be checked.
    Unchecked,
}

/// A schema that is not known, or none at all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownSchema(pub Option<String>);

impl fmt::Display for UnknownSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cure = format!("set it to {} or another known schema", crate::SCHEMA);
        match &self.0 {
            Some(name) => write!(f, "validate-with=\"{name}\" is no known schema; {cure}"),
            None => write!(f, "validate-with is missing; {cure}"),
        }
    }
}

impl Claim {
    pub fn of(cib: &Element) -> Result<Claim, UnknownSchema> {
        let name = cib.attr("validate-with").ok_or(UnknownSchema(None))?;
        if name.eq_ignore_ascii_case("none") {
            return Ok(Claim::Unchecked);
        }
        Claim::parse(name).map(Claim::Version).ok_or_else(|| UnknownSchema(Some(name.to_owned())))
    }

    fn parse(name: &str) -> Option<(u32, u32)> {
        let (major, minor) = name.strip_prefix("pacemaker-")?.split_once('.')?;
        let version = (major.parse().ok()?, minor.parse().ok()?);
        let known = NEWEST_MINOR.iter().any(|(m, newest)| *m == version.0 && version.1 <= *newest);
        (known && name == format!("pacemaker-{}.{}", version.0, version.1)).then_some(version)
    }
}
