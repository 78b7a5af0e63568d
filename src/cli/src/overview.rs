//! What `bascule` itself does: the overview of all commands, links to them, shell completion and man pages.

use crate::report::put;
use base::applet::Applet;
use base::exit::crm;
use std::ffi::OsString;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Topics in the order of the overview, and what belongs to them; anything else is listed last.
const TOPICS: [(&str, &[&str]); 7] = [
    ("Try it", &["manual", "demo", "lab"]),
    ("Load balancing", &["ldirectord", "ipvsadm", "ipvsadm-save", "ipvsadm-restore"]),
    (
        "Running a node",
        &[
            "setup",
            "migrate",
            "node",
            "renew",
            "plan",
            "corosync-keygen",
            "corosync-quorumtool",
            "corosync-cfgtool",
            "corosync-cmapctl",
        ],
    ),
    (
        "Status",
        &[
            "top",
            "events",
            "last-failover",
            "doctor",
            "crm_mon",
            "crm_node",
            "crmadmin",
            "crm_verify",
            "crm_error",
            "crm_simulate",
            "explain",
            "crm_report",
            "crm_rule",
            "iso8601",
        ],
    ),
    (
        "Resources",
        &["crm_resource", "crm_standby", "crm_attribute", "crm_failcount", "crm_master", "attrd_updater", "pcs", "crm"],
    ),
    ("Fencing", &["stonith_admin"]),
    ("Configuration", &["cibadmin", "crm_diff"]),
];

/// Commands of `bascule` itself.
const OWN: [(&str, &str); 3] = [
    ("links", "make links for all commands in a directory: bascule links DIR [--compat 2.1]"),
    ("completion", "print shell completion: bascule completion bash|zsh|fish|elvish|powershell"),
    ("man", "print the man page of this overview, or write all man pages: bascule man [DIR]"),
];

/// Performs what is not an applet; the exit code is the result.
pub fn run(applets: &[&Applet], asked: Option<&str>, args: Vec<OsString>) -> i32 {
    let rest = args.get(1..).unwrap_or_default();
    let own = OWN.iter().find(|(name, _)| Some(*name) == asked);
    if let Some((_, about)) = own.filter(|_| rest.iter().any(|word| word == "--help" || word == "-h")) {
        put(&format!("{about}\n"));
        return crm::OK;
    }
    match asked {
        None | Some("help" | "--help" | "-h") => {
            put(&overview(applets));
            crm::OK
        }
        Some("--version" | "-V") => {
            put(&format!("bascule {}\n", env!("CARGO_PKG_VERSION")));
            crm::OK
        }
        Some("links") => finish(links(applets, rest)),
        Some("completion") => finish(completion(applets, rest)),
        Some("man") => finish(man(applets, rest)),
        Some(name) => {
            let names: Vec<&str> = applets.iter().map(|a| a.name).chain(OWN.iter().map(|(n, _)| *n)).collect();
            let hint = nearest(name, &names).map(|n| format!("; did you mean '{n}'?")).unwrap_or_default();
            kernel::errln!("bascule: no command is called '{name}'{hint}\n'bascule --help' lists them");
            crm::USAGE
        }
    }
}

fn finish(result: Result<(), String>) -> i32 {
    match result {
        Ok(()) => crm::OK,
        Err(message) => {
            kernel::errln!("bascule: {message}");
            crm::USAGE
        }
    }
}

fn overview(applets: &[&Applet]) -> String {
    let mut out = String::from(
        "Bascule: a group of Linux Virtual Server directors that fails over as one\n\nUsage: bascule COMMAND [ARGUMENTS]\n       \
         COMMAND [ARGUMENTS]                  through links (bascule links DIR)\n",
    );
    let visible: Vec<&&Applet> = applets.iter().filter(|a| !a.hidden).collect();
    let line = |name: &str, about: &str| format!("  {name:<22} {about}\n");
    for (topic, names) in TOPICS {
        let lines: String =
            names.iter().filter_map(|n| visible.iter().find(|a| a.name == *n)).map(|a| line(a.name, a.about)).collect();
        if !lines.is_empty() {
            out.push_str(&format!("\n{topic}:\n{lines}"));
        }
    }
    let listed = |name: &str| TOPICS.iter().any(|(_, names)| names.contains(&name));
    let other: String = visible.iter().filter(|a| !listed(a.name)).map(|a| line(a.name, a.about)).collect();
    let own: String = OWN.iter().map(|(name, about)| line(name, about)).collect();
    out.push_str(&format!("\nOther:\n{other}{own}\n'bascule COMMAND --help' explains one, with examples.\n"));
    out
}

fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    let starts = known.iter().find(|k| k.starts_with(name) && name.len() > 2);
    starts.copied().or_else(|| cib::schema::closest(name, known))
}

fn links(applets: &[&Applet], args: &[OsString]) -> Result<(), String> {
    let mut dir: Option<PathBuf> = None;
    let mut compat = false;
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--compat") => compat = words.next().is_some_and(|v| v == "2.1") || compat_error()?,
            Some("--compat=2.1") => compat = true,
            Some(option) if option.starts_with('-') => return Err(format!("links has no option {option}")),
            _ => dir = Some(word.into()),
        }
    }
    let dir = dir.ok_or("links needs a directory: bascule links DIR [--compat 2.1]")?;
    let program = std::env::current_exe().map_err(|e| format!("cannot find this program: {e}"))?;
    std::fs::create_dir_all(&dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
    for applet in applets.iter().filter(|a| !a.hidden) {
        let path = dir.join(applet.name);
        let (program, compat) = match small(&program, applet.name) {
            Some(small) => (small, false),
            None => (program.clone(), compat),
        };
        link(&path, &program, applet.name, compat).map_err(|e| format!("cannot make {}: {e}", path.display()))?;
    }
    put(&format!("Put {} first in PATH to use these commands.\n", dir.display()));
    Ok(())
}

/// The program that has this command alone and starts faster, where it is installed beside this one.
fn small(program: &Path, name: &str) -> Option<PathBuf> {
    let known = crate::ipvsadm::APPLETS.iter().any(|a| a.name == name);
    let beside = program.with_file_name(crate::ipvsadm::PROGRAM);
    (known && beside.is_file()).then_some(beside)
}

fn compat_error() -> Result<bool, String> {
    Err("--compat knows only 2.1".to_owned())
}

/// A link of ours is renewed; a file that is somebody else's is left alone.
fn link(path: &Path, program: &Path, name: &str, compat: bool) -> std::io::Result<()> {
    if let Ok(found) = std::fs::symlink_metadata(path) {
        let ours = found.is_symlink() || std::fs::read_to_string(path).is_ok_and(|t| t.contains("BASCULE_COMPAT"));
        if !ours {
            return Err(std::io::Error::new(std::io::ErrorKind::AlreadyExists, "it exists and is not a link"));
        }
        std::fs::remove_file(path)?;
    }
    if !compat {
        return symlink(program, path);
    }
    let quoted = program.display().to_string().replace('\'', "'\\''");
    std::fs::write(path, format!("#!/bin/sh\nBASCULE_COMPAT=2.1 exec '{quoted}' {name} \"$@\"\n"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}

/// The tree for completion: applets of this crate with their options, the others by name.
fn tree(applets: &[&Applet]) -> clap::Command {
    let mut root =
        clap::Command::new("bascule").about("A group of Linux Virtual Server directors that fails over as one");
    for applet in applets.iter().filter(|a| !a.hidden) {
        root = root.subcommand(command_of(applet));
    }
    OWN.iter().fold(root, |root, (name, about)| root.subcommand(clap::Command::new(*name).about(*about)))
}

fn command_of(applet: &Applet) -> clap::Command {
    let known = crate::COMMANDS.iter().find(|(name, _)| *name == applet.name);
    known.map_or_else(|| clap::Command::new(applet.name), |(_, make)| make()).about(applet.about)
}

fn completion(applets: &[&Applet], args: &[OsString]) -> Result<(), String> {
    let usage = "completion needs a shell: bash, zsh, fish, elvish or powershell";
    let shell = args.first().and_then(|a| a.to_str()).ok_or(usage)?;
    let shell: clap_complete::Shell = shell.parse().map_err(|_| usage.to_owned())?;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut tree(applets), "bascule", &mut script);
    // The commands are also called by their own names, through links.
    for applet in applets.iter().filter(|a| !a.hidden && crate::COMMANDS.iter().any(|(n, _)| *n == a.name)) {
        clap_complete::generate(shell, &mut command_of(applet), applet.name, &mut script);
    }
    if shell == clap_complete::Shell::Bash {
        script.extend_from_slice(crate::completion::BASH.as_bytes());
    }
    kernel::output::put(script);
    Ok(())
}

fn man(applets: &[&Applet], args: &[OsString]) -> Result<(), String> {
    let page = |command: clap::Command| {
        let mut out = Vec::new();
        clap_mangen::Man::new(command).section("8").render(&mut out).map(|()| out)
    };
    let Some(dir) = args.first().map(PathBuf::from) else {
        let text = page(tree(applets)).map_err(|e| e.to_string())?;
        kernel::output::put(text);
        return Ok(());
    };
    std::fs::create_dir_all(&dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
    let all = std::iter::once(tree(applets)).chain(applets.iter().filter(|a| !a.hidden).map(|a| command_of(a)));
    for command in all {
        let path = dir.join(format!("{}.8", command.get_name()));
        let text = page(command).map_err(|e| e.to_string())?;
        std::fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_commands_have_help_and_make_nothing_for_it() {
        for (name, _) in OWN {
            for words in [&["--help"][..], &["-h"], &["nowhere", "--help"]] {
                let args = std::iter::once(name).chain(words.iter().copied()).map(OsString::from).collect();
                assert_eq!(run(&[], Some(name), args), crm::OK, "{name} {words:?}");
            }
        }
        assert!(!Path::new("nowhere").exists() && !Path::new("--help").exists());
        assert_eq!(run(&[], Some("links"), vec!["links".into(), "--bogus".into()]), crm::USAGE);
    }
}
