//! `bascule setup`: a pair of directors from two bare hosts, by questions or by options, over `bascule pcsd`.
//!
//! ```text
//! questions, options -> Answers -> Files (corosync.conf, ldirectord.cf, CIB) -> shown -> confirmed -> carried out
//! ```
//!
//! [`questions::QUESTIONS`] is the table of what can be answered, typed or as an option. Nothing is changed before everything has been
//! shown and confirmed.

mod answers;
mod carry;
mod files;
mod questions;

use crate::edit::error;
use crate::report::put;
use crate::source::Failure;
use answers::Answers;
pub use answers::{Node, node};
use base::exit::crm;
use carry::LogIn;
use clap::{Arg, ArgAction, ArgMatches};
use files::Files;
use questions::{QUESTIONS, Question};
use serde_json::json;
use std::ffi::OsString;
use std::fmt::Write;
use std::io::IsTerminal;

const EXAMPLES: &str = "\
Examples:
  bascule setup                                 asks for everything, shows what it will write, asks again
  bascule setup --dry-run --node d1=192.0.2.11 --node d2=192.0.2.12 --vip 192.0.2.100@eth0 --server 192.0.2.21 --server 192.0.2.22 --yes
                                                only shows it
  bascule setup --node d1=192.0.2.11 --node d2=192.0.2.12 --vip 192.0.2.100@eth0 --server 192.0.2.21 --server 192.0.2.22 \\
      --arbitrator q.example.org --password-file /root/hacluster --yes
                                                asks nothing: what is not given has its default

On every director 'bascule pcsd' has to run. An option that takes several values may be given several times.

Exit codes: 0 the group runs (or was shown); 1 refused or failed, and why; 64 wrong arguments.";

pub fn tree() -> clap::Command {
    let mut command = clap::Command::new("setup")
        .about("Build a pair of directors: cluster, virtual addresses, services")
        .after_help(EXAMPLES)
        .disable_version_flag(true);
    for question in &QUESTIONS {
        let arg = Arg::new(question.option).long(question.option).value_name(question.value).help(question.ask);
        command = command.arg(arg.action(ArgAction::Append));
    }
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help).action(ArgAction::SetTrue);
    command
        .arg(flag("dry-run", "Show what would be written, and end"))
        .arg(flag("yes", "Ask nothing: defaults for what is not given, and no confirmation").short('y'))
        .arg(flag("force", "Replace a cluster or an ldirectord.cf that is there"))
        .arg(flag("json", "For programs: what is (or would be) written, as JSON"))
        .arg(
            Arg::new("password-file")
                .long("password-file")
                .value_name("FILE")
                .help("Password of hacluster on the other directors (first line); else it is asked for"),
        )
        .arg(
            Arg::new("token")
                .long("token")
                .value_name("NODE=FILE")
                .help("Instead of the password: what 'bascule pcsd token' has printed on that director")
                .action(ArgAction::Append),
        )
}

pub fn main(args: Vec<OsString>) -> i32 {
    let line = std::iter::once(OsString::from("setup")).chain(args);
    let matches = match tree().try_get_matches_from(line) {
        Ok(matches) => matches,
        Err(e) => {
            kernel::output::say(e.render().ansi(), e.render(), e.use_stderr());
            return if e.use_stderr() { crm::USAGE } else { crm::OK };
        }
    };
    match run(&matches) {
        Ok(()) => crm::OK,
        Err(failure) => {
            kernel::errln!("setup: {}", failure.message);
            failure.details.iter().for_each(|d| kernel::errln!("  {d}"));
            failure.code
        }
    }
}

fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let is = |name: &str| matches.get_flag(name);
    let login = log_in(matches)?;
    let answers = answers(matches)?;
    let director_file = crate::hosts::places().director();
    let files = files::files(&answers, &director_file, is("force"))?;
    let shown = if is("json") {
        document(&answers, &files)
    } else {
        text(&answers, &files, &director_file.display().to_string())
    };
    if is("dry-run") {
        put(&shown);
        return Ok(());
    }
    if !is("json") {
        put(&shown);
    }
    carry::look(&answers)?;
    if !is("yes") && !confirmed()? {
        return Err(error("nothing was changed"));
    }
    carry::meet(&answers, &login)?;
    carry::director_files_are_free(&files, is("force"))?;
    let on = carry::build(&files)?;
    match is("json") {
        true => put(&shown),
        false => put(&format!("\nThe group 'director' runs on {on}. Look at it: bascule top, or https://{on}:2224/\n")),
    }
    Ok(())
}

fn log_in(matches: &ArgMatches) -> Result<LogIn, Failure> {
    let mut login = LogIn { password_file: matches.get_one("password-file").cloned(), ..LogIn::default() };
    for given in matches.get_many::<String>("token").into_iter().flatten() {
        let pair = given.split_once('=').ok_or_else(|| Failure::usage("--token: expected NODE=FILE"))?;
        login.tokens.insert(pair.0.to_owned(), pair.1.to_owned());
    }
    Ok(login)
}

/// From options; what they do not say is asked for.
fn answers(matches: &ArgMatches) -> Result<Answers, Failure> {
    let mut answers = Answers::default();
    let mut missing = Vec::new();
    for question in &QUESTIONS {
        let given: Vec<&String> = matches.get_many::<String>(question.option).into_iter().flatten().collect();
        if !(question.asked)(&answers) {
            if given.is_empty() {
                continue;
            }
            return Err(Failure::usage(format!("--{} does not go with the other answers", question.option)));
        }
        if !given.is_empty() {
            let given = given.iter().map(|g| g.as_str()).collect::<Vec<_>>().join(" ");
            (question.take)(&mut answers, &given)
                .map_err(|why| Failure::usage(format!("--{}: {why}", question.option)))?;
            continue;
        }
        match (matches.get_flag("yes"), (question.default)(&answers)) {
            (true, Some(default)) => (question.take)(&mut answers, &default).map_err(Failure::usage)?,
            // What follows from it cannot be judged either.
            (true, None) => missing.push(format!("--{} {}: {}", question.option, question.value, question.ask)),
            (false, _) => ask(question, &mut answers)?,
        }
    }
    if !missing.is_empty() {
        return Err(Failure { details: missing, ..Failure::usage("with --yes these have to be given") });
    }
    answers.fit().map_err(Failure::usage)?;
    Ok(answers)
}

/// Until the answer is one.
fn ask(question: &Question, answers: &mut Answers) -> Result<(), Failure> {
    let default = (question.default)(answers);
    let hint = match default.as_deref() {
        Some("") => String::new(),
        Some(default) => format!(" [{default}]"),
        None => questions::example(question, answers).map(|e| format!(" (like {e})")).unwrap_or_default(),
    };
    loop {
        let line = crate::hosts::ask(&format!("{}{hint}: ", question.ask), true)
            .map_err(|_| error(format!("no answer to: {} (--{} {})", question.ask, question.option, question.value)))?;
        let given = match (line.trim(), &default) {
            ("", Some(default)) => default.clone(),
            (line, _) => line.to_owned(),
        };
        let refused = match (given.is_empty(), &default) {
            (true, None) => Err(format!("expected {}", question.value)),
            _ => (question.take)(answers, &given),
        };
        match refused {
            Ok(()) => return Ok(()),
            Err(why) => kernel::errln!("{why}"),
        }
    }
}

fn confirmed() -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        kernel::errln!("Write this, and start the cluster? [y/N]");
    }
    let line = crate::hosts::ask("Write this, and start the cluster? [y/N] ", true)
        .map_err(|_| error("not confirmed (--yes confirms): nothing was changed"))?;
    Ok(["y", "yes"].contains(&line.trim().to_lowercase().as_str()))
}

/// Of the CIB as it is shown: no secrets.
fn cib_shown(files: &Files) -> String {
    crate::edit::masked(&files.cib.element()).to_pretty()
}

fn text(answers: &Answers, files: &Files, director: &str) -> String {
    let names = files.cluster.names.join(", ");
    let places = crate::hosts::places();
    let mut out = String::new();
    let mut part = |title: &str, body: &str| {
        let _ = write!(out, "\n== {title}\n{body}");
    };
    part(&format!("{} (on {names})", places.conf.display()), &files.cluster.conf.text());
    part(&format!("{director} (on {names})"), &files.director.text());
    part("resources, once the cluster runs", &cib_shown(files));
    let mut notes = vec![format!("a new key goes to {names} as {}", places.authkey.display())];
    notes.push("the cluster is started, and starts with the hosts".to_owned());
    if answers.arbitrator.is_some() {
        notes.push(
            "the arbitrator is asked without TLS; certificates: bascule corosync-qdevice-net-certutil --help"
                .to_owned(),
        );
    }
    if answers.fences.is_empty() {
        notes.push(
            "without fence devices a director that hangs keeps its addresses for up to two seconds: bascule plan prints what that means"
                .to_owned(),
        );
    }
    part("and", &notes.iter().map(|n| format!("- {n}\n")).collect::<String>());
    out
}

fn document(answers: &Answers, files: &Files) -> String {
    let value = json!({
        "cluster": answers.cluster,
        "nodes": answers.nodes.iter().map(|n| json!({"name": n.name, "addresses": n.addresses})).collect::<Vec<_>>(),
        "files": {
            "corosync.conf": files.cluster.conf.text(),
            "ldirectord.cf": files.director.text(),
            "cib": cib_shown(files),
        },
    });
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &str) -> Result<Answers, Failure> {
        let line = std::iter::once("setup").chain(words.split_whitespace());
        answers(&tree().try_get_matches_from(line).expect("known options"))
    }

    const PAIR: &str = "--yes --node d1=192.0.2.11 --node d2=192.0.2.12 --vip 192.0.2.100@eth0";

    #[test]
    fn defaults_stand_for_what_is_not_given() {
        let answers = parsed(&format!("{PAIR} --server 192.0.2.21 --server 192.0.2.22*3")).expect("answers");
        assert_eq!((answers.cluster.as_str(), answers.check.as_str()), ("directors", "http"));
        let files = files::files(&answers, "/etc/ha.d/ldirectord.cf".as_ref(), false).expect("files");
        let director = files.director.text();
        assert!(director.contains("real = 192.0.2.22:80 gate 3") && director.contains("service = http"), "{director}");
        assert!(files.cluster.conf.text().contains("two_node: 1"));
        let problems = cib::schema::verify(&files.cib.document());
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn each_method_and_family_makes_files_that_are_taken() {
        for (more, has) in [
            ("--server 10.0.0.1:8080 --forward masq --gateway 10.0.0.254@eth1", "real = 10.0.0.1:8080 masq"),
            ("--server 10.0.0.1 --forward ipip --port 53/udp", "protocol = udp"),
            ("--vip 2001:db8::1 --server 2001:db8::7 --server 10.0.0.1 --port 443", "virtual6 = [2001:db8::1]:443"),
            ("--server 10.0.0.1 --check https --port 8443 --request /health --receive ok", "receive = \"ok\""),
            ("--server 10.0.0.1 --check none --sync eth1 --arbitrator 192.0.2.3:5000", "checktype = on"),
        ] {
            let answers = parsed(&format!("{PAIR} {more}")).unwrap_or_else(|e| panic!("{more}: {}", e.message));
            let files = files::files(&answers, "/etc/ha.d/ldirectord.cf".as_ref(), false);
            let files = files.unwrap_or_else(|e| panic!("{more}: {} {:?}", e.message, e.details));
            assert!(files.director.text().contains(has), "{more}:\n{}", files.director.text());
            let problems = cib::schema::verify(&files.cib.document());
            assert!(problems.is_empty(), "{more}: {problems:?}");
        }
    }

    #[test]
    fn what_is_wrong_or_missing_is_told_by_its_option() {
        for (words, why) in [
            (PAIR.to_owned(), "with --yes these have to be given"),
            (format!("{PAIR} --server x"), "--server: 'x' is no server"),
            (format!("{PAIR} --server 10.0.0.1 --gateway 10.0.0.9"), "--gateway does not go with"),
            (format!("{PAIR} --server 10.0.0.1:81"), "only masq can change the port"),
            ("--yes --node d1=1.2.3.4".to_owned(), "--node: 1 directors"),
        ] {
            let failure = parsed(&words).expect_err(&words);
            assert!(failure.message.contains(why) && failure.code == crm::USAGE, "{words}: {}", failure.message);
        }
    }
}
