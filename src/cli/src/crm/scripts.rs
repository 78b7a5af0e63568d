//! `crm script` and `crm configure template`: recipes, which fill in a few lines of configuration from named values. Those are here that
//! need no other host.

use crate::edit::error;
use crate::source::Failure;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

pub struct Recipe {
    pub name: &'static str,
    category: &'static str,
    short: &'static str,
    values: &'static [Value],
    /// Lines of `crm configure`; one that names a value that is not given is left out.
    text: &'static str,
}

struct Value {
    name: &'static str,
    required: bool,
    about: &'static str,
}

const fn needed(name: &'static str, about: &'static str) -> Value {
    Value { name, required: true, about }
}

const fn maybe(name: &'static str, about: &'static str) -> Value {
    Value { name, required: false, about }
}

const ID: Value = needed("id", "Identifier for the cluster resource");

const RECIPES: &[Recipe] = &[
    Recipe {
        name: "mailto",
        category: "Basic",
        short: "E-Mail",
        values: &[ID, needed("email", "Whom to tell"), maybe("subject", "Subject")],
        text: "primitive {id} ocf:heartbeat:MailTo\n\temail=\"{email}\"\n\tsubject=\"{subject}\"\n\top start timeout=\"10\" op stop timeout=\"10\"\n\
               \top monitor interval=\"10\" timeout=\"10\"\nclone c-{id} {id}",
    },
    Recipe {
        name: "virtual-ip",
        category: "Basic",
        short: "Virtual IP",
        values: &[
            ID,
            needed("ip", "IPv4 or IPv6 address"),
            maybe("cidr_netmask", "CIDR netmask"),
            maybe("broadcast", "Broadcast address"),
        ],
        text: "primitive {id} ocf:heartbeat:IPaddr2\n\tip=\"{ip}\"\n\tcidr_netmask=\"{cidr_netmask}\"\n\tbroadcast=\"{broadcast}\"\n\
               \top start timeout=\"20\" op stop timeout=\"20\"\n\top monitor interval=\"10\" timeout=\"20\"",
    },
    Recipe {
        name: "filesystem",
        category: "File system",
        short: "File System (mount point)",
        values: &[
            ID,
            needed("device", "Block device, label or share"),
            needed("directory", "Mount point"),
            needed("fstype", "Type of the file system"),
            maybe("options", "Options of the mount"),
        ],
        text: "primitive {id} ocf:heartbeat:Filesystem\n\tdevice=\"{device}\"\n\tdirectory=\"{directory}\"\n\tfstype=\"{fstype}\"\n\
               \toptions=\"{options}\"\n\tmeta target-role=Stopped\n\top start timeout=60s\n\top stop timeout=60s\n\
               \top monitor interval=20s timeout=40s",
    },
    Recipe {
        name: "director",
        category: "Load balancing",
        short: "Virtual addresses with a director before real servers",
        values: &[
            ID,
            needed("ip", "Virtual IPv4 or IPv6 address"),
            needed("configfile", "The director's file, such as /etc/ha.d/ldirectord.cf"),
            maybe("cidr_netmask", "CIDR netmask"),
            maybe("nic", "Network interface"),
        ],
        text: "primitive {id}-ip ocf:heartbeat:IPaddr2\n\tip=\"{ip}\"\n\tcidr_netmask=\"{cidr_netmask}\"\n\tnic=\"{nic}\"\n\tlvs_support=true\n\
               \top monitor interval=10s timeout=20s\nprimitive {id}-lvs ocf:heartbeat:ldirectord\n\tconfigfile=\"{configfile}\"\n\
               \top monitor interval=10s timeout=20s\ngroup {id} {id}-ip {id}-lvs",
    },
    Recipe {
        name: "exportfs",
        category: "NFS",
        short: "NFS Exported File System",
        values: &[
            ID,
            needed("directory", "What is exported"),
            needed("fsid", "Number of the file system, of its own on each node"),
            needed("clientspec", "Who may mount it"),
            needed("options", "Options of the export"),
        ],
        text: "primitive {id} ocf:heartbeat:exportfs\n\tfsid=\"{fsid}\"\n\tdirectory=\"{directory}\"\n\toptions=\"{options}\"\n\
               \tclientspec=\"{clientspec}\"\n\tmeta target-role=Stopped\n\top start timeout=40s\n\top stop timeout=120s\n\
               \top monitor interval=10s timeout=20s",
    },
    Recipe {
        name: "apache",
        category: "Server",
        short: "Apache Webserver",
        values: &[ID, maybe("configfile", "Its configuration"), maybe("statusurl", "Where it tells its status")],
        text: "primitive {id} ocf:heartbeat:apache\n\tconfigfile=\"{configfile}\"\n\tstatusurl=\"{statusurl}\"\n\
               \top start timeout=40s\n\top stop timeout=60s\n\top monitor interval=10s timeout=20s",
    },
    Recipe {
        name: "nginx",
        category: "Server",
        short: "Nginx Webserver",
        values: &[ID, maybe("configfile", "Its configuration")],
        text: "primitive {id} ocf:heartbeat:nginx\n\tconfigfile=\"{configfile}\"\n\top start timeout=40s\n\top stop timeout=60s\n\
               \top monitor interval=10s timeout=30s",
    },
    Recipe {
        name: "ipmi",
        category: "Stonith",
        short: "Fencing by a node's management controller",
        values: &[
            ID,
            needed("node", "The node that it fences"),
            needed("ip", "Address of the controller"),
            needed("username", "User"),
            needed("password", "Password"),
        ],
        text: "primitive {id} stonith:fence_ipmilan\n\tip=\"{ip}\"\n\tusername=\"{username}\"\n\tpassword=\"{password}\"\n\tlanplus=1\n\
               \tpcmk_host_list=\"{node}\"\n\top monitor interval=60s\nlocation {id}-elsewhere {id} -inf: {node}",
    },
];

/// What crmsh's template of that name comes to, which is older than its script.
const PLAIN_ADDRESS: &str = "primitive {id} ocf:heartbeat:IPaddr\n\tip=\"{ip}\"\n\tcidr_netmask=\"{cidr_netmask}\"\n\tbroadcast=\"{broadcast}\"";

fn find(name: &str) -> Option<&'static Recipe> {
    RECIPES.iter().find(|r| r.name == name)
}

/// What a line comes to: words to be shown, or lines to be configured.
pub enum Outcome {
    Said(String),
    Configure { said: String, lines: String },
}

/// `script list|show|verify|run|json`.
pub fn run(words: &[&str]) -> Result<Outcome, Failure> {
    let found =
        |verb: &str, name: &str| find(name).ok_or_else(|| error(format!("script.{verb}: Script not found: {name}")));
    match words {
        ["list"] | ["list", "all"] => Ok(Outcome::Said(list())),
        ["list", "names"] | ["list", "all", "names"] | ["list", "names", "all"] => {
            let mut names: Vec<&str> = RECIPES.iter().map(|r| r.name).collect();
            names.sort_unstable();
            Ok(Outcome::Said(names.iter().map(|n| format!("{n}\n")).collect()))
        }
        ["list", odd, ..] => {
            Err(error(format!("script.list: Unexpected argument '{odd}', expected one of all, names")))
        }
        ["show", name] | ["show", name, "all"] => Ok(Outcome::Said(found("show", name)?.described())),
        ["describe", name] => {
            super::note!("WARNING: This command 'describe' is deprecated, please use 'show'");
            super::note!("INFO: \"describe\" is accepted as \"show\"");
            Ok(Outcome::Said(found("show", name)?.described()))
        }
        ["verify", name, values @ ..] => {
            let recipe = found("verify", name)?;
            let lines = recipe.filled(&given(values)?)?;
            Ok(Outcome::Said(format!("1. Configure cluster resources\n\n{}\n", indented(&lines))))
        }
        ["run", name, values @ ..] => {
            let recipe = found("run", name)?;
            let mut values = given(values)?;
            // Of what runs on nodes there is nothing.
            values.remove("nodes");
            let dry = values.remove("dry_run").is_some_and(|v| base::text::is_true(&v));
            let lines = recipe.filled(&values)?;
            let said = format!("INFO: {}\nINFO: Nodes: all, by the configuration\n", recipe.short);
            match dry {
                true => Ok(Outcome::Said(format!("{said}** all - #!crm configure\n{}\n", indented(&lines)))),
                false => Ok(Outcome::Configure {
                    said: format!("{said}OK: Configure cluster resources\n"),
                    lines: joined(&lines),
                }),
            }
        }
        ["json", text] => json(text),
        _ => Err(error(
            "script: list [all] [names], show NAME, verify NAME [VALUE=…], run NAME [VALUE=…] [dry_run=yes], json '[…]'",
        )),
    }
}

fn list() -> String {
    let mut categories: Vec<&str> = RECIPES.iter().map(|r| r.category).collect();
    categories.sort_unstable();
    categories.dedup();
    let mut text = String::new();
    for category in categories {
        let _ = writeln!(text, "{category}:\n");
        let mut of: Vec<&Recipe> = RECIPES.iter().filter(|r| r.category == category).collect();
        of.sort_by_key(|r| r.name);
        of.iter().for_each(|r| text += &format!("{:<16} {}\n", r.name, r.short));
        text.push('\n');
    }
    text
}

/// For programs, as crmsh's web front end asks: `["show", "NAME"]`, `["verify", "NAME", {…}]`, `["run", …]`, `["list"]`.
fn json(text: &str) -> Result<Outcome, Failure> {
    use serde_json::{Value as Json, json};
    let wrong = |e: String| error(format!("script.json: {e}"));
    let asked: Vec<Json> = serde_json::from_str(text).map_err(|e| wrong(format!("not a JSON list: {e}")))?;
    let word = |at: usize| asked.get(at).and_then(Json::as_str);
    let recipe =
        || word(1).and_then(find).ok_or_else(|| wrong(format!("Script not found: {}", word(1).unwrap_or("-"))));
    let values = || -> BTreeMap<String, String> {
        let map = asked.get(2).and_then(Json::as_object);
        let text = |v: &Json| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
        map.into_iter().flatten().map(|(name, v)| (name.clone(), text(v))).collect()
    };
    match word(0) {
        Some("list") => Ok(Outcome::Said(
            RECIPES
                .iter()
                .map(|r| {
                    format!(
                        "{}\n",
                        json!({"name": r.name, "category": r.category, "shortdesc": r.short, "longdesc": ""})
                    )
                })
                .collect(),
        )),
        Some("show") => {
            let r = recipe()?;
            let values: Vec<Json> = r
                .values
                .iter()
                .map(|v| json!({"name": v.name, "required": v.required, "shortdesc": v.about, "longdesc": ""}))
                .collect();
            let steps = json!([{"name": r.name, "shortdesc": r.short, "parameters": values}]);
            let shown =
                json!({"name": r.name, "category": r.category, "shortdesc": r.short, "longdesc": "", "steps": steps});
            Ok(Outcome::Said(format!("{shown}\n")))
        }
        Some("verify") => {
            let lines = recipe()?.filled(&values())?;
            let shown = json!({"shortdesc": "Configure cluster resources", "longdesc": "", "name": "", "nodes": "", "text": lines});
            Ok(Outcome::Said(format!("{shown}\n")))
        }
        Some("run") => {
            let lines = joined(&recipe()?.filled(&values())?);
            let said = format!("{}\n", json!({"shortdesc": "Configure cluster resources", "result": true}));
            Ok(Outcome::Configure { said, lines })
        }
        other => Err(wrong(format!("'{}' is none of list, show, verify, run", other.unwrap_or("-")))),
    }
}

fn given(words: &[&str]) -> Result<BTreeMap<String, String>, Failure> {
    words.iter().map(|w| crate::edit::pair(w)).collect()
}

fn indented(lines: &str) -> String {
    lines.lines().map(|l| format!("\t{l}\n")).collect()
}

/// One line each, as they would be typed.
fn joined(lines: &str) -> String {
    lines.replace("\n\t", " ") + "\n"
}

impl Recipe {
    fn described(&self) -> String {
        let mut text =
            format!("{} ({})\n{}\n\n1. Configure cluster resources\n\n", self.name, self.category, self.short);
        for v in self.values {
            let _ = write!(text, "  {}{}\n      {}\n", v.name, if v.required { " (required)" } else { "" }, v.about);
        }
        text + "\n"
    }

    /// Its lines, or what is lacking and what is odd.
    fn filled(&self, values: &BTreeMap<String, String>) -> Result<String, Failure> {
        self.filled_as(self.text, values)
    }

    fn filled_as(&self, text: &str, values: &BTreeMap<String, String>) -> Result<String, Failure> {
        let lacking: Vec<&str> =
            self.values.iter().filter(|v| v.required && !values.contains_key(v.name)).map(|v| v.name).collect();
        if !lacking.is_empty() {
            return Err(error(format!("{}: Missing required parameter(s): {}", self.name, lacking.join(", "))));
        }
        if let Some(odd) = values.keys().find(|n| !self.values.iter().any(|v| v.name == *n)) {
            let all: Vec<&str> = self.values.iter().map(|v| v.name).collect();
            return Err(error(format!("{}: it has no parameter '{odd}', but {}", self.name, all.join(", "))));
        }
        if let Some((name, _)) = values.iter().find(|(_, v)| v.contains(['"', '\n', '\\'])) {
            return Err(error(format!("{}: the value of {name} cannot be written in quotes", self.name)));
        }
        let mut filled = String::new();
        for line in text.lines() {
            let mut line = line.to_owned();
            values.iter().for_each(|(name, value)| line = line.replace(&format!("{{{name}}}"), value));
            if !line.contains('{') {
                filled += &line;
                filled.push('\n');
            }
        }
        Ok(filled.trim_end().to_owned())
    }
}

/// `configure template`: recipes whose values are kept in files until they are applied.
#[derive(Default)]
pub struct Templates {
    loaded: Option<String>,
}

/// Where a user's are.
fn folder() -> Result<PathBuf, Failure> {
    let config = super::options::file().ok_or_else(|| error("there is no home directory for templates"))?;
    Ok(config.with_file_name("templates"))
}

fn file(name: &str) -> Result<PathBuf, Failure> {
    let plain = !name.is_empty() && !name.starts_with('.') && !name.contains('/');
    if plain { Ok(folder()?.join(name)) } else { Err(error(format!("'{name}' is no name of a template"))) }
}

const MAX_BYTES: u64 = 64 * 1024;

impl Templates {
    pub fn run(&mut self, words: &[&str], edit: impl Fn(&str) -> Result<String, Failure>) -> Result<Outcome, Failure> {
        let said = |text: String| Ok(Outcome::Said(text));
        match words {
            ["list"] => said(kept()?.iter().map(|n| format!("{n}\n")).collect()),
            ["list", "templates"] => said(RECIPES.iter().map(|r| format!("{}\n", r.name)).collect()),
            ["new", name, recipe, rest @ ..] => {
                let at = file(name)?;
                let rest = if rest.first() == Some(&"params") { &rest[1..] } else { rest };
                let r = find(recipe)
                    .ok_or_else(|| error(format!("template.new: {recipe}: no such template (list templates)")))?;
                if at.exists() {
                    return Err(error(format!("template.new: config {name} exists; delete it first")));
                }
                let mut values = given(rest)?;
                values.entry("id".to_owned()).or_insert_with(|| (*recipe).to_owned());
                let mut text = format!("template={recipe}\n");
                for v in r.values {
                    let value = values.remove(v.name).unwrap_or_default();
                    text +=
                        &format!("# {}{}\n{}={value}\n", v.about, if v.required { " (required)" } else { "" }, v.name);
                }
                if let Some((odd, _)) = values.first_key_value() {
                    return Err(error(format!("template.new: {recipe} has no parameter '{odd}'")));
                }
                store(&at, &text)?;
                self.loaded = Some((*name).to_owned());
                said(format!("INFO: pulling in template {recipe}\n"))
            }
            ["load"] => {
                self.loaded = None;
                said(String::new())
            }
            ["load", name] => {
                read(name)?;
                self.loaded = Some((*name).to_owned());
                said(String::new())
            }
            ["edit", name @ ..] => {
                let name = self.name(name)?;
                let before = read(&name)?;
                store(&file(&name)?, &edit(&before)?)?;
                said(String::new())
            }
            ["delete", name, force @ ..] if force.is_empty() || *force == ["force"] => {
                read(name)?;
                std::fs::remove_file(file(name)?).map_err(|e| error(format!("{name}: {e}")))?;
                self.loaded.take_if(|n| n == name);
                said(String::new())
            }
            ["show", name @ ..] => said(format!("{}\n", lines_of(&self.name(name)?)?)),
            ["apply", rest @ ..] => {
                let rest = if matches!(rest.first(), Some(&"update")) { &rest[1..] } else { rest };
                let lines = lines_of(&self.name(rest)?)?;
                Ok(Outcome::Configure { said: String::new(), lines: joined(&lines) })
            }
            _ => Err(error(
                "template: list [templates], new NAME TEMPLATE [params VALUE=…], load [NAME], edit [NAME], show [NAME], apply [update] \
                 [NAME], delete NAME",
            )),
        }
    }

    fn name(&self, words: &[&str]) -> Result<String, Failure> {
        match words {
            [name] => Ok((*name).to_owned()),
            _ => self.loaded.clone().ok_or_else(|| error("template: name a config, or load one first (list, new)")),
        }
    }
}

fn kept() -> Result<Vec<String>, Failure> {
    let entries = std::fs::read_dir(folder()?).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

fn read(name: &str) -> Result<String, Failure> {
    let bytes = kernel::files::read_regular(&file(name)?, MAX_BYTES);
    let bytes = bytes.map_err(|e| error(format!("template: config {name} cannot be read: {e} (list, new)")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn store(path: &std::path::Path, text: &str) -> Result<(), Failure> {
    let failed = |e: std::io::Error| error(format!("{}: {e}", path.display()));
    path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(failed)?;
    // A value may be a password.
    kernel::files::replace(path, text.as_bytes(), 0o600).map_err(failed)
}

/// What the file comes to.
fn lines_of(name: &str) -> Result<String, Failure> {
    let text = read(name)?;
    let pairs = text.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split_once('='));
    let mut values: BTreeMap<String, String> =
        pairs.map(|(n, v)| (n.trim().to_owned(), v.trim().to_owned())).filter(|(_, v)| !v.is_empty()).collect();
    let recipe = values.remove("template").unwrap_or_default();
    let found = find(&recipe).ok_or_else(|| error(format!("{name}: no such template: '{recipe}'")))?;
    let text = if found.name == "virtual-ip" { PLAIN_ADDRESS } else { found.text };
    found.filled_as(text, &values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_fills_in_lines_that_crm_takes() {
        for r in RECIPES {
            let values: BTreeMap<String, String> = r
                .values
                .iter()
                .map(|v| (v.name.to_owned(), if v.name == "node" { "n1" } else { "x1" }.to_owned()))
                .collect();
            let lines = joined(&r.filled(&values).expect("complete"));
            for line in lines.lines() {
                let words = super::super::split(&format!("configure {line}")).expect("words");
                assert!(super::super::table::TABLE.parse(&words).is_ok(), "{}: {line}", r.name);
            }
            let fewest: BTreeMap<String, String> =
                r.values.iter().filter(|v| v.required).map(|v| (v.name.to_owned(), "x".to_owned())).collect();
            let text = r.filled(&fewest).expect("enough");
            assert!(!text.contains('{'), "{text}");
        }
    }

    #[test]
    fn what_lacks_or_is_odd_is_named() {
        let why = |words: &[&str]| match run(words) {
            Err(failure) => failure.message,
            Ok(_) => String::new(),
        };
        assert!(why(&["run", "virtual-ip", "id=a"]).contains("ip"));
        assert!(why(&["run", "virtual-ip", "id=a", "ip=b", "c=d"]).contains("'c'"));
        assert!(why(&["run", "virtual-ip", "id=a", "ip=\"; x"]).contains("ip cannot"));
        assert_eq!(why(&["show", "nosuch"]), "script.show: Script not found: nosuch");
    }
}
