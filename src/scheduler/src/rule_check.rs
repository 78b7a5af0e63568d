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
    #[error("No rule found with ID={0}")]
    NotFound(String),
    #[error("More than one rule with ID={0} found")]
    Ambiguous(String),
    #[error("Rule must contain exactly one date expression")]
    NotOneDate,
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
    if conditions.iter().filter(|c| c.name() == "date_expression").count() != 1 {
        return Err(RuleProblem::NotOneDate);
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
