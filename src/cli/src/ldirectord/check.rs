//! `ldirectord CONFIG check`: what is wrong with a file, what is likely wrong, and what table it makes.

use super::paths::Paths;
use super::{complain, exit, sentence};
use ::ldirectord::audit;
use ::ldirectord::config::{Config, OwnDirective, Problem, Severity, lint, service_id};
use ::ldirectord::service::{LoadError, load};
use kernel::ipvs::{Ipvs, Memory, render};
use serde_json::json;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

pub fn check(paths: &Paths, assume: Option<&str>, state_dir: &Path, as_json: bool) -> i32 {
    let accepted = match load(&paths.config) {
        Ok(accepted) => accepted,
        Err(error) => {
            if as_json {
                print_json(&refused(paths, &error));
            } else {
                complain(paths, &error);
            }
            return exit::CONFIG;
        }
    };
    let mut warnings = accepted.warnings;
    warnings.extend(lint(&accepted.config));
    warnings.extend(of_the_whole(&paths.config, &accepted.config));
    warnings.sort_by_key(|w| (w.line, w.column));
    let table = assume.map(|a| audit::placed(&accepted.config, a == "up").0);
    let errors = audit::audit(&accepted.config);
    let differences = super::real::kept(paths, state_dir, &accepted.config);
    let code = if errors.is_empty() { exit::OK } else { exit::CONFIG };
    if as_json {
        print_json(&json!({
            "file": paths.config, "valid": errors.is_empty(), "errors": errors, "warnings": warnings, "own_directives": accepted.own_directives, "config": accepted.config, "table": table,
            "differences": differences,
        }));
        return code;
    }
    errors.iter().for_each(|e| kernel::errln!("{}", sentence(paths, e)));
    warnings.iter().for_each(|w| kernel::errln!("{}", sentence(paths, w)));
    if let Some(text) = own(&accepted.own_directives) {
        kernel::errln!("{text}");
    }
    differences.iter().for_each(|d| kernel::errln!("Note: by command, against the file: {d}"));
    match table {
        Some(entries) => {
            let mut memory = Memory::with_services(entries.clone());
            let Ok(info) = memory.info() else { return exit::FAILED };
            kernel::output::put(render::listing(&info, &entries));
        }
        None if errors.is_empty() => kernel::outln!("{}", summary(paths, &accepted.config, &warnings)),
        None => {}
    }
    code
}

/// What no line is to blame for: a file that serves nothing, and one whose passwords anybody can read.
fn of_the_whole(path: &Path, config: &Config) -> Vec<Problem> {
    let problem = |found: &str, expected: &str, cure: String| Problem {
        severity: Severity::Warning,
        line: 1,
        column: 1,
        found: found.to_owned(),
        expected: expected.to_owned(),
        cure,
        deviation: None,
    };
    let mut all = Vec::new();
    if config.virtuals.is_empty() {
        all.push(problem("no virtual service", "nothing is served", String::new()));
    }
    let secret = config.virtuals.iter().any(|v| !v.passwd.is_empty() || !v.secret.is_empty());
    let mode = std::fs::metadata(path).map_or(0, |m| m.permissions().mode());
    if secret && mode & 0o004 != 0 {
        let cure = format!("chmod o-r {}", path.display());
        all.push(problem("passwords in a file that everybody can read", "others need not read it", cure));
    }
    all
}

/// Who may go back to the original wants to know what it would refuse.
fn own(directives: &[OwnDirective]) -> Option<String> {
    let mut lines: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for d in directives {
        lines.entry(&d.name).or_default().push(d.line.to_string());
    }
    let named: Vec<String> = lines.iter().map(|(name, at)| format!("{name} (line {})", at.join(", "))).collect();
    (!named.is_empty()).then(|| {
        format!(
            "Note: these directives are Bascule's own, the Perl ldirectord would refuse the file: {}",
            named.join(", ")
        )
    })
}

fn refused(paths: &Paths, error: &LoadError) -> serde_json::Value {
    match error {
        LoadError::Refused { refused, .. } => {
            json!({"file": paths.config, "valid": false, "errors": refused.errors, "warnings": refused.warnings})
        }
        other => json!({"file": paths.config, "valid": false, "errors": [{"found": other.to_string()}]}),
    }
}

fn print_json(value: &serde_json::Value) {
    kernel::outln!("{}", serde_json::to_string_pretty(value).unwrap_or_default());
}

fn summary(paths: &Paths, config: &Config, warnings: &[Problem]) -> String {
    let reals: usize = config.virtuals.iter().map(|v| v.reals.len()).sum();
    let mut out = format!(
        "{} is valid: {} virtual services, {reals} real servers, {} warnings",
        paths.config.display(),
        config.virtuals.len(),
        warnings.len()
    );
    for v in &config.virtuals {
        let check = format!("checktype {}, service {}", v.check_type, v.service.name());
        out.push_str(&format!("\n  {:<28} {:>5} real servers, {check}", service_id(&v.key), v.reals.len()));
    }
    out
}
