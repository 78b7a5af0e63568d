//! `pcs`: the commands of its guides, on the cluster's API or a CIB file (`-f FILE` or `CIB_file`).
//!
//! What Bascule does otherwise (setting up nodes, pcsd) is refused with what to do instead.

mod cluster;
mod constraint;
mod node;
mod resource;

use crate::edit::error;
use crate::source::{Failure, Source};
use base::exit::crm;
use std::ffi::OsString;

/// Words of the command, and the switches that may stand anywhere.
pub struct Line {
    pub words: Vec<String>,
    pub force: bool,
    pub full: bool,
    pub wait: bool,
    pub disabled: bool,
    /// `--group`, `--before`, `--after`.
    pub options: Vec<(String, String)>,
}

impl Line {
    fn parse(args: Vec<String>) -> Result<(Line, Option<String>), Failure> {
        let mut line =
            Line { words: Vec::new(), force: false, full: false, wait: false, disabled: false, options: Vec::new() };
        let mut file = None;
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let mut value =
                |name: &str| args.next().ok_or_else(|| error(format!("option {name} requires an argument")));
            match arg.as_str() {
                "--force" => line.force = true,
                "--full" => line.full = true,
                "--disabled" => line.disabled = true,
                "-f" => file = Some(value("-f")?),
                "--group" | "--before" | "--after" => {
                    let name = arg.trim_start_matches('-').to_owned();
                    let given = value(&arg)?;
                    line.options.push((name, given));
                }
                "--wait" => line.wait = true,
                "--help" | "-h" => line.words = vec!["help".to_owned()],
                // Options of pcs that change nothing here.
                "--debug" | "--all" | "--enable" | "--start" | "--no-hardened" | "--safe" => {}
                "--name" => line.words.push(format!("--name={}", value("--name")?)),
                "-u" | "-p" | "--request-timeout" => drop(value(&arg)?),
                other if other.starts_with("--wait=") => line.wait = true,
                other
                    if other.starts_with("--")
                        && !other.contains(' ')
                        && line.words.is_empty()
                        && other != "--version" =>
                {
                    return Err(error(format!("option {other} not recognized")));
                }
                _ => line.words.push(arg),
            }
        }
        Ok((line, file))
    }

    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

pub fn main(args: Vec<OsString>) -> i32 {
    let args = args.into_iter().map(|a| a.to_string_lossy().into_owned()).collect();
    match run(args) {
        Ok((text, code)) => {
            crate::report::put(&text);
            code
        }
        Err(failure) => {
            kernel::errln!("Error: {}", failure.message);
            failure.details.iter().for_each(|d| kernel::errln!("  {d}"));
            // pcs knows one code for all that fails.
            crm::ERROR
        }
    }
}

fn run(args: Vec<String>) -> Result<(String, i32), Failure> {
    let (line, file) = Line::parse(args)?;
    let source = match file {
        Some(file) => Source::File(file.into()),
        None => Source::open(),
    };
    let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
    let text = match words.as_slice() {
        [] | ["help"] => USAGE.to_owned(),
        ["--version"] => "0.11.5\n".to_owned(),
        ["status", rest @ ..] => cluster::status(&source, rest)?,
        ["resource", rest @ ..] => resource::run(&source, &line, rest)?,
        ["constraint", rest @ ..] => constraint::run(&source, &line, rest)?,
        ["property", rest @ ..] => node::property(&source, rest, line.force)?,
        ["node", rest @ ..] => node::run(&source, rest)?,
        ["stonith", rest @ ..] => resource::stonith(&source, &line, rest)?,
        ["quorum", rest @ ..] => return cluster::quorum(rest),
        ["cluster", rest @ ..] => return cluster::run(&source, rest),
        ["config", ..] => cluster::config(&source)?,
        ["host" | "pcsd" | "client" | "booth" | "dr" | "qdevice" | "acl" | "alert" | "tag", ..] => {
            return Err(cluster::elsewhere(words[0]));
        }
        _ => return Err(error(format!("unknown command '{}'\n{USAGE}", words.join(" ")))),
    };
    Ok((text, crm::OK))
}

const USAGE: &str = "
Usage: pcs [-f FILE] COMMAND ...

  status [resources|nodes|quorum|xml]
  config
  resource status | config [ID] | create ID AGENT [PARAM=VALUE]... [op NAME OPTION=VALUE...]... [meta NAME=VALUE...]
           [clone [NAME=VALUE...] | promotable [NAME=VALUE...] | --group GROUP] [--disabled] [--force]
  resource delete ID... | enable ID... | disable ID... | update ID PARAM=VALUE... | meta ID NAME=VALUE...
  resource move ID [NODE] | move-with-constraint ID [NODE] | ban ID [NODE] | clear ID [NODE] | cleanup [ID] | refresh [ID]
  resource group add GROUP ID... | group remove GROUP [ID...] | ungroup GROUP | clone ID | unclone ID
  resource manage ID... | unmanage ID... | defaults [update NAME=VALUE...] | standards | providers | agents [STANDARD[:PROVIDER]] | describe AGENT
  constraint [config] | location ID prefers|avoids NODE[=SCORE]... | colocation add ID with ID [SCORE] | order ID then ID | delete ID...
  property set NAME=VALUE... | unset NAME... | config [NAME]
  node standby [NODE...] | unstandby | maintenance | unmaintenance | attribute [NODE [NAME=VALUE...]]
  stonith create ID AGENT [PARAM=VALUE]... | delete ID | list | describe AGENT | status | config
  quorum status
  cluster status | verify | cib [FILE] | cib-push FILE
";
