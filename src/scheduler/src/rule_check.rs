//! Whether a rule of a CIB is in effect at some moment; for `crm_rule`.

use crate::model::Index;
use crate::model::rules::{Rule, RuleInput, Verdict};
use base::WallTime;
use xml::Element;

/// How a rule stands at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleState {
    InEffect,
    NotYet,
    Expired,
    /// Its dates neither lie before nor behind, but do not fit either.
    Unsatisfied,
}

/// Why a rule cannot be checked by its date alone.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RuleProblem {
    #[error("Rule not found")]
    NotFound(String),
    #[error("More than one rule with ID={0} found")]
    Ambiguous(String),
    #[error("Rule does not have a date expression")]
    NoDate,
    #[error("Rule has more than one date expression")]
    SeveralDates,
    #[error("Rule must either not use date_spec, or use date_spec with years=")]
    NoYears,
    #[error("Rule has expressions besides its date expression")]
    Mixed,
    #[error("Rule is not valid")]
    Invalid,
}

/// Checks the rule called `id` as of `now`; only rules of exactly one date expression can be checked.
pub fn check_rule(cib: &Element, id: &str, now: WallTime) -> Result<RuleState, RuleProblem> {
    let mut found = cib.descendants().filter(|e| e.name() == "rule" && e.id() == Some(id));
    let e = found.next().ok_or_else(|| RuleProblem::NotFound(id.to_owned()))?;
    if found.next().is_some() {
        return Err(RuleProblem::Ambiguous(id.to_owned()));
    }
    let conditions: Vec<&Element> = e.descendants().filter(|c| c.name().ends_with("expression")).collect();
    match conditions.iter().filter(|c| c.name() == "date_expression").count() {
        0 => return Err(RuleProblem::NoDate),
        1 => {}
        _ => return Err(RuleProblem::SeveralDates),
    }
    // Nobody can say whether a time of the year is over, or still to come.
    let spec = |c: &&&Element| c.attr("operation") == Some("date_spec");
    if conditions.iter().find(spec).is_some_and(|c| c.child("date_spec").is_none_or(|s| s.attr("years").is_none())) {
        return Err(RuleProblem::NoYears);
    }
    if conditions.len() > 1 {
        return Err(RuleProblem::Mixed);
    }
    let index = Index::new(cib);
    let input = RuleInput { now: now.secs(), ..Default::default() };
    match Rule::read(e, &index, now).only_verdict(&input) {
        Verdict::Satisfied => Ok(RuleState::InEffect),
        Verdict::Before => Ok(RuleState::NotYet),
        Verdict::After => Ok(RuleState::Expired),
        Verdict::Unsatisfied => Ok(RuleState::Unsatisfied),
        Verdict::Invalid => Err(RuleProblem::Invalid),
    }
}
