//! What sets of name-value pairs come to at some moment, for those who ask outside of a transition.

use crate::model::Map;
use crate::model::nvpair::Blocks;
use crate::model::rules::RuleInput;
use base::WallTime;
use cib::config::Index;
use std::collections::BTreeMap;
use xml::Element;

/// The sets of `kind` directly below `holder`, their rules evaluated as of `now` without any node, resource or operation.
pub fn settings_at(holder: &Element, kind: &str, index: &Index<'_>, now: WallTime) -> BTreeMap<String, String> {
    let input = RuleInput { now: now.secs(), ..Default::default() };
    let mut values = Map::new();
    Blocks::read(holder, kind, None, index, now).unpack(&input, &mut values, &mut None);
    values.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_decides_by_the_date() {
        let cib = xml::parse(
            "<alert id='a'><meta_attributes id='m' score='5'><rule id='r' boolean-op='and'>\
             <date_expression id='d' operation='gt' start='2026-01-01'/></rule><nvpair id='x' name='enabled' value='false'/>\
             </meta_attributes><meta_attributes id='n'><nvpair id='y' name='enabled' value='true'/></meta_attributes></alert>",
        )
        .expect("good");
        let at = |date: &str| {
            let now = base::dates::parse(date, WallTime::default()).expect("a date");
            settings_at(&cib, "meta_attributes", &Index::new(&cib), WallTime::from_secs(now)).remove("enabled")
        };
        assert_eq!(at("2025-06-01").as_deref(), Some("true"));
        assert_eq!(at("2026-06-01").as_deref(), Some("false"));
    }
}
