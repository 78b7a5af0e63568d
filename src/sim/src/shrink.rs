//! A failing plan is made smaller, as long as the same property fails.

use crate::book::Violation;
use crate::plan::Plan;
use crate::run::run;

/// Runs that one shrinking may take.
const MAX_RUNS: usize = 400;

/// The smallest plan found, and how it fails.
pub fn shrink(plan: &Plan, violation: &Violation) -> (Plan, Violation) {
    let (mut best, mut how, mut runs) = (plan.clone(), violation.clone(), 0);
    let mut size = best.steps.len().div_ceil(2);
    while size > 0 && runs < MAX_RUNS {
        let mut at = 0;
        let mut smaller = false;
        while at < best.steps.len() && runs < MAX_RUNS {
            let mut candidate = best.clone();
            candidate.steps.drain(at..(at + size).min(candidate.steps.len()));
            runs += 1;
            match run(&candidate) {
                Err(v) if v.property == violation.property => {
                    (best, how, smaller) = (candidate, v, true);
                }
                _ => at += size,
            }
        }
        if !smaller || size > best.steps.len() {
            size /= 2;
        }
    }
    (best, how)
}
