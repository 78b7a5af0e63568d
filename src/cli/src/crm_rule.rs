//! `crm_rule`: whether a rule is in effect at some moment.

use crate::args::{self, Command};
use crate::cibadmin::read_xml;
use crate::log;
use crate::report::{Common, Format};
use crate::source::{Failure, Source};
use base::WallTime;
use base::exit::crm;
use clap::Parser;
use scheduler::{RuleProblem, RuleState};
use std::ffi::OsString;
use xml::Element;

/// Check whether rules are in effect
#[derive(Parser, Debug)]
#[command(name = "crm_rule", disable_version_flag = true, after_help = EXAMPLES)]
pub struct CrmRule {
    /// Check whether the rule is in effect
    #[arg(short = 'c', long, help_heading = "Modes")]
    check: bool,
    /// Take the rule from this CIB, or from standard input if '-', instead of the running cluster's
    #[arg(short = 'X', long, value_name = "XML", help_heading = "Data")]
    xml_text: Option<String>,
    /// The moment to look at (ISO 8601); now if it is left out
    #[arg(short = 'd', long, value_name = "DATE", help_heading = "Data")]
    date: Option<String>,
    /// Id of a rule; may be given several times
    #[arg(short = 'r', long, value_name = "RULE", help_heading = "Data")]
    rule: Vec<String>,
    #[command(flatten)]
    common: Common,
}

const EXAMPLES: &str = "Examples:
  crm_rule -c -r cli-prefer-rule-vip                       whether a move's rule still holds
  crm_rule -c -r office-hours -d '2026-11-20 12:00:00Z'    at another moment
  crm_rule -c -r r1 -r r2 -X - < cib.xml                   rules of a file

Only rules of exactly one date expression can be checked.

Exit codes: 0 in effect; 110 expired; 111 not in effect yet; 113 not satisfied; 3 cannot be checked; 105 no such rule; 64 usage";

/// Exit codes of this command.
const EXPIRED: i32 = 110;
const NOT_YET: i32 = 111;
const UNSATISFIED: i32 = 113;
const UNIMPLEMENTED: i32 = 3;

pub fn main(args: Vec<OsString>) -> i32 {
    args::run::<CrmRule>(args)
}

impl Command for CrmRule {
    const NAME: &'static str = "crm_rule";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        if !self.check {
            return Err(Failure::usage("No mode operation given"));
        }
        if self.rule.is_empty() {
            return Err(Failure::usage("--check requires use of --rule="));
        }
        let now = crate::source::now();
        let at = match &self.date {
            None => now,
            Some(text) => {
                let parsed = base::dates::parse(text, now);
                WallTime::from_secs(parsed.map_err(|_| Failure::usage(format!("Invalid --date value '{text}'")))?)
            }
        };
        let given = self.xml_text.as_deref();
        let found = read_xml(None, given.filter(|t| *t != "-"), given == Some("-")).map_err(|f| {
            log::error(&f.message);
            let what = match given {
                Some("-") => "input from STDIN".to_owned(),
                text => format!("input string: {}", text.unwrap_or_default()),
            };
            Failure { message: format!("Couldn't parse {what}"), ..f }
        })?;
        let cib = match found {
            Some((root, _)) => root,
            None => Source::open().cib()?,
        };
        self.check_all(&cib, at)
    }
}

impl CrmRule {
    fn check_all(&self, cib: &Element, at: WallTime) -> Result<i32, Failure> {
        let checked: Vec<_> = self.rule.iter().map(|id| (id, scheduler::check_rule(cib, id, at))).collect();
        let text = || {
            let known = checked.iter().filter_map(|(id, outcome)| {
                let state = *outcome.as_ref().ok()?;
                // Parts of a calendar are met or not; there is no end to them.
                let dated = state == RuleState::InEffect && is_calendar(cib, id);
                Some(if dated { format!("Rule {id} satisfies conditions\n") } else { sentence(id, state) })
            });
            known.collect()
        };
        let elements = || {
            let element = |(id, outcome): &(&String, Result<RuleState, RuleProblem>)| {
                Element::new("rule-check").with("rule-id", id).with("rc", code(outcome).to_string())
            };
            checked.iter().map(element).collect()
        };
        let result = checked.iter().map(|(_, outcome)| code(outcome)).rfind(|c| *c != crm::OK).unwrap_or(crm::OK);
        let problem = |(id, outcome): &(&String, Result<RuleState, RuleProblem>)| {
            let problem = outcome.as_ref().err()?;
            Some(format!("Could not determine whether rule {id} is in effect: {problem}"))
        };
        let problems: Vec<String> = checked.iter().filter_map(problem).collect();
        self.common.print_result(result, &problems, text, elements)?;
        if matches!(self.common.output_as, Format::Text | Format::Console) {
            problems.iter().for_each(|p| kernel::errln!("{p}"));
        }
        Ok(result)
    }
}

fn is_calendar(cib: &Element, id: &str) -> bool {
    let rule = cib.descendants().find(|e| e.name() == "rule" && e.id() == Some(id));
    rule.is_some_and(|r| r.descendants().any(|e| e.attr("operation") == Some("date_spec")))
}

fn sentence(id: &str, state: RuleState) -> String {
    match state {
        RuleState::InEffect => format!("Rule {id} is still in effect\n"),
        RuleState::NotYet => format!("Rule {id} has not yet taken effect\n"),
        RuleState::Expired => format!("Rule {id} is expired\n"),
        RuleState::Unsatisfied => format!("Rule {id} does not satisfy conditions\n"),
    }
}

fn code(outcome: &Result<RuleState, RuleProblem>) -> i32 {
    match outcome {
        Ok(RuleState::InEffect) => crm::OK,
        Ok(RuleState::NotYet) => NOT_YET,
        Ok(RuleState::Expired) => EXPIRED,
        Ok(RuleState::Unsatisfied) => UNSATISFIED,
        Err(RuleProblem::NotFound(_)) => crm::NOSUCH,
        Err(RuleProblem::Invalid) => crm::CONFIG,
        Err(_) => UNIMPLEMENTED,
    }
}
