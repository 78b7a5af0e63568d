//! `corosync-cpgtool`: process groups of the ring, and who is in them.

use super::error;
use crate::args::{self, Command};
use crate::client::Client;
use crate::report::{Common, Format};
use crate::source::Failure;
use clap::Parser;
use std::ffi::OsString;
use std::fmt::Write;
use wire::api::{GroupMember, Groups};

/// Show process groups and their members
#[derive(Parser, Debug)]
#[command(
    name = "corosync-cpgtool",
    disable_version_flag = true,
    after_help = "Examples:\n  corosync-cpgtool         groups, with the processes in them\n  corosync-cpgtool -n      names only\n  corosync-cpgtool -d ,    for a script\n\nGroups named bascule: are services of the node daemons themselves."
)]
pub struct Cpgtool {
    /// Between the fields; one line for each member
    #[arg(short = 'd', value_name = "DELIMITER", allow_hyphen_values = true)]
    delimiter: Option<String>,
    /// Print unprintable characters of a name as they are
    #[arg(short = 'e')]
    unescaped: bool,
    /// Names of the groups only
    #[arg(short = 'n')]
    names: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    common: Common,
}

pub fn cpgtool(args: Vec<OsString>) -> i32 {
    args::run::<Cpgtool>(args)
}

impl Command for Cpgtool {
    const NAME: &'static str = "corosync-cpgtool";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        let groups: Groups = Client::from_env().get("/v1/groups").map_err(error)?;
        let text = match self.json || self.common.output_as == Format::Json {
            true => serde_json::to_string_pretty(&groups).map_err(|e| Failure::new(1, e.to_string()))? + "\n",
            false => self.text(&groups),
        };
        self.common.write(&text)?;
        Ok(0)
    }
}

impl Cpgtool {
    fn text(&self, groups: &Groups) -> String {
        let mut out = String::new();
        match &self.delimiter {
            _ if self.names => {}
            Some(d) => out += &format!("GRP_NAME{d}PID{d}NODEID\n"),
            None => out += "Group Name\t       PID\t   Node ID\n",
        }
        for group in &groups.groups {
            let name = if self.unescaped { group.name.clone() } else { escaped(&group.name) };
            match &self.delimiter {
                // As the original: one line, with the delimiter behind each.
                Some(d) if self.names => out += &format!("{name}{d}"),
                None => out += &format!("{name}\n"),
                Some(_) => {}
            }
            for GroupMember { node, pid, address } in group.members.iter().filter(|_| !self.names) {
                // A String takes everything.
                let _ = match &self.delimiter {
                    Some(d) => writeln!(out, "{name}{d}{pid}{d}{node}"),
                    None => writeln!(out, "\t\t{pid:>10}\t{node:>10} ({})", without_port(address), node = node.0),
                };
            }
        }
        if self.names && self.delimiter.is_some() { out + "\n" } else { out }
    }
}

fn without_port(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(ip, _)| ip).trim_matches(['[', ']'])
}

/// As the original: a backslash twice, what is not printable as `\xNN`.
fn escaped(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'\\' => "\\\\".to_owned(),
            b' '..=b'~' => char::from(byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::NodeId;
    use wire::api::Group;

    /// Recorded from the original, with a group of such a name on one node.
    #[test]
    fn texts_are_the_originals() {
        let member = |pid| GroupMember { node: NodeId(1), pid, address: "127.0.0.1:5405".to_owned() };
        let group = |name: &str, pids: &[u32]| Group {
            name: name.to_owned(),
            members: pids.iter().copied().map(member).collect(),
        };
        let groups = Groups { groups: vec![group("b\u{1}\\c d", &[30561]), group("web", &[30560, 30562])] };
        let text = |words: &[&str]| {
            let line = std::iter::once("corosync-cpgtool").chain(words.iter().copied());
            Cpgtool::try_parse_from(line).expect("options").text(&groups)
        };
        assert_eq!(
            text(&[]),
            "Group Name\t       PID\t   Node ID\nb\\x01\\\\c d\n\t\t     30561\t         1 (127.0.0.1)\nweb\n\
             \t\t     30560\t         1 (127.0.0.1)\n\t\t     30562\t         1 (127.0.0.1)\n"
        );
        assert!(text(&["-e"]).contains("b\u{1}\\c d\n"));
        assert_eq!(text(&["-n"]), "b\\x01\\\\c d\nweb\n");
        assert_eq!(text(&["-d", ","]), "GRP_NAME,PID,NODEID\nb\\x01\\\\c d,30561,1\nweb,30560,1\nweb,30562,1\n");
        assert_eq!(text(&["-n", "-d", ","]), "b\\x01\\\\c d,web,\n");
    }
}
