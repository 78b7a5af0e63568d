//! `bascule explain`: why each resource is where it is, from rule to score to verdict.

use crate::args::{self, Command};
use crate::cibadmin::read_xml;
use crate::report::{Common, Format};
use crate::source::{Failure, Source};
use base::WallTime;
use base::exit::crm;
use clap::Parser;
use scheduler::{Explanation, NodeScore, Part, Step};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fmt::Write;
use std::path::PathBuf;
use xml::Element;

/// Show why resources are where they are, or not running
#[derive(Parser, Debug)]
#[command(name = "explain", disable_version_flag = true, after_help = EXAMPLES)]
pub struct Explain {
    /// Resource, group, clone, bundle or instance; without it, one sentence on each
    #[arg(value_name = "RESOURCE")]
    resource: Option<String>,
    /// Take the CIB in this file ('-' is standard input) instead of the running cluster's
    #[arg(short = 'x', long, value_name = "FILE")]
    xml_file: Option<PathBuf>,
    /// Time to assume (ISO 8601)
    #[arg(short = 't', long, value_name = "DATETIME")]
    set_datetime: Option<String>,
    /// Only this node
    #[arg(short = 'N', long, value_name = "NODE")]
    node: Option<String>,
    /// The same as --output-as=json
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    common: Common,
}

const EXAMPLES: &str = "Examples:
  bascule explain                      one sentence on every resource
  bascule explain vip                  per node: every rule, what it adds, and what comes of it
  bascule explain web-clone -N lb2     only what concerns lb2
  bascule explain vip -x cib.xml       from a file, without a cluster
  bascule explain vip --json           for programs; INFINITY is 1000000

Rules stand in the order in which they are applied; '=' in front of a score means that it replaces the sum.
INFINITY is a million; minus INFINITY wins over everything.

Exit codes: 0 explained; 64 usage; 65 not a CIB; 66 no such file; 102 no daemon; 105 no such resource or node";

pub fn main(args: Vec<OsString>) -> i32 {
    args::run::<Explain>(args)
}

impl Command for Explain {
    const NAME: &'static str = "explain";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        let cib = match &self.xml_file {
            None => Source::open().cib()?,
            Some(path) => {
                let dash = path.as_os_str() == "-";
                let found = read_xml(Some(path.as_path()).filter(|_| !dash), None, dash)?;
                found.map(|(root, _)| root).ok_or_else(|| Failure::usage("No CIB"))?
            }
        };
        let told = scheduler::explain(&cib, self.time(&cib)?).map_err(|e| Failure::new(crm::DATAERR, e.to_string()))?;
        let parts = self.chosen(&told)?;
        if self.json || self.common.output_as == Format::Json {
            let list: Vec<Value> = parts.iter().map(|p| self.value(p)).collect();
            let document = json!({ "quorate": told.quorate, "resources": list });
            self.common.write(&format!("{document:#}\n"))?;
            return Ok(crm::OK);
        }
        self.common.print(|| self.text(&parts), || vec![self.element(&parts)])?;
        Ok(crm::OK)
    }
}

impl Explain {
    /// As asked for, as recorded in the file, or now.
    fn time(&self, cib: &Element) -> Result<WallTime, Failure> {
        let now = crate::source::now();
        if let Some(text) = &self.set_datetime {
            let parsed = base::dates::parse(text, now).map_err(|e| Failure::usage(e.to_string()))?;
            return Ok(WallTime::from_secs(parsed));
        }
        let recorded = cib.attr("execution-date").and_then(|t| t.parse().ok()).map(WallTime::from_secs);
        Ok(recorded.unwrap_or(now))
    }

    fn chosen<'a>(&self, told: &'a Explanation) -> Result<Vec<&'a Part>, Failure> {
        if let Some(node) = &self.node
            && !told.parts.iter().any(|p| p.nodes.iter().any(|n| base::ids::same_node(&n.node, node)))
        {
            return Err(Failure::new(crm::NOSUCH, format!("no resource has anything to do with a node '{node}'")));
        }
        let Some(id) = &self.resource else { return Ok(told.parts.iter().collect()) };
        let found = told.of(id);
        if found.is_empty() {
            let known: Vec<&str> = told.parts.iter().filter(|p| p.depth == 0).map(|p| p.id.as_str()).collect();
            let message = format!("no resource is called '{id}' (there are: {})", known.join(", "));
            return Err(Failure::new(crm::NOSUCH, message));
        }
        Ok(found)
    }

    fn shown<'a>(&'a self, part: &'a Part) -> impl Iterator<Item = &'a NodeScore> {
        part.nodes.iter().filter(|n| self.node.as_ref().is_none_or(|asked| base::ids::same_node(asked, &n.node)))
    }

    fn text(&self, parts: &[&Part]) -> String {
        let mut out = String::new();
        if self.resource.is_none() && self.node.is_none() {
            parts.iter().for_each(|p| out.push_str(&format!("{}{}\n", "  ".repeat(p.depth), p.why)));
            return out;
        }
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                out.push('\n');
            }
            let kind = part.agent.as_deref().unwrap_or(part.kind);
            let _ = writeln!(out, "{} ({kind})\n  {}\n", part.id, part.why);
            self.table(part, &mut out);
            let wanted = part.wanted.iter().filter(|w| w.operation != "monitor" || !w.possible);
            for (n, action) in wanted.enumerate() {
                let place = action.node.as_ref().map(|n| format!(" on {n}")).unwrap_or_default();
                let reason = action.reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default();
                let blocked = if action.possible { "" } else { " (not possible)" };
                let lead = if n == 0 { "  To do: " } else { "         " };
                let _ = writeln!(out, "{lead}{}{place}{blocked}{reason}", action.operation);
            }
        }
        out
    }

    /// Node, rule, score, sum; the verdict below.
    fn table(&self, part: &Part, out: &mut String) {
        let nodes: Vec<&NodeScore> = self.shown(part).collect();
        let width = nodes.iter().map(|n| n.node.chars().count()).max().unwrap_or(0).max(4);
        let all = nodes.iter().flat_map(|n| n.steps.iter().chain(&n.promotion));
        let words = all.map(|s| s.text.chars().count()).max().unwrap_or(0).clamp(4, 72);
        if !nodes.is_empty() {
            let _ = writeln!(out, "  {:width$}  {:words$}  {:>9}  {:>9}", "node", "rule", "score", "sum");
        }
        for node in nodes {
            let mut label = node.node.as_str();
            let mut line = |text: &str, score: String, sum: String| {
                let row = format!("  {label:width$}  {text:words$}  {score:>9}  {sum:>9}");
                let _ = writeln!(out, "{}", row.trim_end());
                label = "";
            };
            let mut steps = |list: &[Step]| {
                for step in list {
                    let text = if step.late { format!("afterwards: {}", step.text) } else { step.text.clone() };
                    line(&text, change(step), step.sum.map_or_else(|| "-".to_owned(), score));
                }
            };
            steps(&node.steps);
            if node.steps.is_empty() {
                line("(no rule)", String::new(), "-".to_owned());
            }
            line(&format!("-> {}", node.verdict), String::new(), String::new());
            if !node.promotion.is_empty() {
                line("to be promoted here:", String::new(), String::new());
                for step in &node.promotion {
                    line(&format!("  {}", step.text), change(step), step.sum.map_or_else(|| "-".to_owned(), score));
                }
            }
        }
    }

    fn value(&self, part: &Part) -> Value {
        let steps = |list: &[Step]| -> Vec<Value> {
            let one = |s: &Step| json!({ "kind": s.kind, "id": s.id, "text": s.text, "late": s.late, "adds": s.adds, "sum": s.sum });
            list.iter().map(one).collect()
        };
        let node = |n: &NodeScore| {
            json!({ "node": n.node, "score": n.score, "chosen": n.chosen, "verdict": n.verdict, "steps": steps(&n.steps),
                "promotion_score": n.promotion_score, "promotion_steps": steps(&n.promotion) })
        };
        let actions: Vec<Value> = part
            .wanted
            .iter()
            .map(|w| json!({ "operation": w.operation, "node": w.node, "possible": w.possible, "reason": w.reason }))
            .collect();
        json!({ "id": part.id, "name": part.name, "kind": part.kind, "agent": part.agent, "parent": part.parent,
            "managed": part.managed, "role": part.role.text(), "next_role": part.next_role.text(),
            "active_on": part.active_on, "node": part.node, "why": part.why,
            "nodes": self.shown(part).map(node).collect::<Vec<_>>(), "actions": actions })
    }

    fn element(&self, parts: &[&Part]) -> Element {
        let mut list = Element::new("explanation");
        for part in parts {
            let mut e = Element::new("resource").with("id", &part.id).with("name", &part.name).with("kind", part.kind);
            e.set("why", &part.why);
            for n in self.shown(part) {
                let mut node = Element::new("node").with("name", &n.node).with("chosen", n.chosen.to_string());
                if let Some(sum) = n.score {
                    node.set("score", score(sum));
                }
                node.set("verdict", &n.verdict);
                for (step, name) in
                    n.steps.iter().map(|s| (s, "step")).chain(n.promotion.iter().map(|s| (s, "promotion")))
                {
                    let mut s = Element::new(name).with("kind", step.kind).with("text", &step.text);
                    if let Some(id) = &step.id {
                        s.set("id", id);
                    }
                    s.set("change", change(step));
                    if let Some(sum) = step.sum {
                        s.set("sum", score(sum));
                    }
                    node.push(s);
                }
                e.push(node);
            }
            list.push(e);
        }
        list
    }
}

fn score(value: i32) -> String {
    base::Score::from(value).to_string()
}

fn change(step: &Step) -> String {
    match (step.adds, step.sum) {
        (Some(adds), _) if adds > 0 => format!("+{}", score(adds)),
        (Some(adds), _) => score(adds),
        (None, Some(sum)) => format!("= {}", score(sum)),
        (None, None) => "removed".to_owned(),
    }
}
