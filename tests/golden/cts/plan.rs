//! The steps of the suite: reading them and running them.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_bascule");

/// All checks whose output stands in one file.
pub struct File {
    pub name: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    #[serde(flatten)]
    what: What,
    env: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum What {
    Mkdir {
        path: String,
    },
    Rmdir {
        path: String,
    },
    Copy {
        from: String,
        path: String,
    },
    Write {
        text: String,
        path: String,
    },
    Run {
        cmds: Vec<String>,
    },
    Setup {
        cmds: Vec<String>,
    },
    Test(Check),
    /// Prepares a CIB as root, prints it, and gives it to the command on standard input.
    AclTest(Check),
}

#[derive(Deserialize)]
struct Check {
    desc: String,
    cmd: String,
    expected: i32,
    update_cib: bool,
    setup: Vec<String>,
    teardown: Vec<String>,
    stdin: Option<String>,
    stdin_file: Option<String>,
    stdin_command: Option<String>,
}

pub fn read(text: &str) -> Result<Vec<File>, String> {
    let files: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let file =
        |(name, steps)| Ok(File { steps: serde_json::from_value(steps).map_err(|e| format!("{name}: {e}"))?, name });
    files.into_iter().map(file).collect()
}

/// What each check puts out, by its title.
pub fn play(dir: &Path, file: &File) -> Vec<(String, Vec<String>)> {
    let home = tempfile::tempdir().expect("a directory");
    let links = home.path().join("bin");
    assert!(Command::new(PROGRAM).arg("links").arg(&links).output().expect("runs").status.success());
    let world = World { home: home.path().to_owned(), data: home.path().join("data") };
    // A copy: no check may spoil another's input.
    std::fs::create_dir(&world.data).expect("a directory");
    for entry in std::fs::read_dir(dir.join("cts/cli")).expect("the suite's files").flatten() {
        std::fs::copy(entry.path(), world.data.join(entry.file_name())).expect("copied");
    }
    let mut out = Vec::new();
    for step in &file.steps {
        match &step.what {
            What::Mkdir { path } => std::fs::create_dir_all(world.real(path)).expect("a directory"),
            What::Rmdir { path } => std::fs::remove_dir_all(world.real(path)).expect("removed"),
            What::Copy { from, path } => drop(std::fs::copy(world.real(from), world.real(path)).expect("copied")),
            What::Write { text, path } => std::fs::write(world.real(path), world.real(text)).expect("written"),
            What::Run { cmds } | What::Setup { cmds } => drop(world.prepare(cmds, &step.env)),
            What::Test(check) => out.push((check.desc.clone(), world.check(check, &step.env))),
            What::AclTest(check) => out.push((check.desc.clone(), world.acl_check(check, &step.env))),
        }
    }
    out
}

/// The directory of one run.
struct World {
    home: PathBuf,
    data: PathBuf,
}

impl World {
    /// With the plan's placeholders filled in.
    fn real(&self, text: &str) -> String {
        let mut text = text.replace("@DATA@", &self.data.display().to_string());
        for kind in ["SHADOW", "CIB"] {
            while let Some((before, rest)) = text.clone().split_once(&format!("@{kind}")) {
                let Some((number, after)) = rest.split_once('@') else { break };
                text = format!("{before}{}/{kind}{number}{after}", self.home.display());
            }
        }
        text.replace("@TOMORROW@", &tomorrow())
    }

    /// As the suite prints them.
    fn shown(&self, text: &str) -> Vec<String> {
        let mut out = Vec::new();
        let home = format!("{}/SHADOW", self.home.display());
        for line in text.lines() {
            let mut line = line.replace(&self.data.display().to_string(), "CTS_CLI_DATA");
            while let Some((before, rest)) = line.clone().split_once(&home) {
                line = format!("{before}/tmp/cts-cli.shadow{}", rest.trim_start_matches(|c: char| c.is_ascii_digit()));
            }
            out.push(line);
        }
        out
    }

    fn command(&self, line: &str, env: &BTreeMap<String, String>) -> Command {
        let search = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("sh");
        command
            .args(["-c", &self.real(line)])
            .current_dir(&self.home)
            .env_clear()
            .env("PATH", format!("{}:{search}", self.home.join("bin").display()))
            .env("HOME", &self.home)
            .env("BASCULE_RUN_DIR", self.home.join("no-daemon"))
            .env("TZ", "UTC")
            .envs(env.iter().map(|(name, value)| (name, self.real(value))));
        command
    }

    /// Runs commands one after another; `Err` at the first that fails, with what it said.
    fn prepare(&self, commands: &[String], env: &BTreeMap<String, String>) -> Result<(), Vec<String>> {
        for line in commands {
            if line == "@delete_shadow_resource_defaults" {
                let _ = self.command("cibadmin --delete --xml-text '<rsc_defaults/>'", env).output();
                self.reset_versions(env);
                continue;
            }
            let done = self.command(line, env).output().expect("sh runs");
            if !done.status.success() {
                return Err(self.shown(&said(&done)));
            }
        }
        Ok(())
    }

    /// The shadow's versions as those of a new CIB, whatever was done to it.
    fn reset_versions(&self, env: &BTreeMap<String, String>) {
        let named = self.command("crm_shadow --file", env).output().expect("sh runs");
        let path = String::from_utf8_lossy(&named.stdout).trim().to_owned();
        let Ok(text) = std::fs::read_to_string(&path) else { return };
        let mut root = xml::parse(&text).expect("well-formed");
        for (name, value) in [("admin_epoch", "0"), ("epoch", "1"), ("num_updates", "0")] {
            if root.attr(name).is_some() {
                root.set(name, value);
            }
        }
        std::fs::write(&path, root.to_string()).expect("writable");
    }

    fn cib(&self, env: &BTreeMap<String, String>) -> String {
        let mut env = env.clone();
        env.insert("CIB_user".to_owned(), "root".to_owned());
        let done = self.command("cibadmin -Q", &env).output().expect("sh runs");
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// The exit codes' texts are themselves part of what is compared (`error_codes`).
    fn words_of(&self, code: i32) -> String {
        let done = self.command(&format!("crm_error -X -- {code}"), &BTreeMap::new()).output().expect("sh runs");
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    fn check(&self, check: &Check, env: &BTreeMap<String, String>) -> Vec<String> {
        let mut out = vec![format!("=#=#=#= Begin test: {} =#=#=#=", check.desc)];
        match self.prepare(&check.setup, env) {
            Ok(()) => self.run(check, env, None, &mut out),
            Err(said) => out.extend(said),
        }
        out
    }

    fn acl_check(&self, check: &Check, env: &BTreeMap<String, String>) -> Vec<String> {
        let path = self.home.join("prepared.xml");
        std::fs::write(&path, self.cib(env)).expect("writable");
        let mut root = env.clone();
        root.insert("CIB_user".to_owned(), "root".to_owned());
        root.insert("CIB_file".to_owned(), path.display().to_string());
        root.remove("CIB_shadow");
        let mut out = Vec::new();
        if let Err(said) = self.prepare(&check.setup, &root) {
            out.extend(said);
            return out;
        }
        out.extend(self.shown(&self.cib(&root)));
        out.push(format!("=#=#=#= Begin test: {} =#=#=#=", check.desc));
        let input = std::fs::read_to_string(&path).expect("the CIB");
        self.run(check, env, Some(input), &mut out);
        out
    }

    fn run(&self, check: &Check, env: &BTreeMap<String, String>, input: Option<String>, out: &mut Vec<String>) {
        let line = match &check.stdin_command {
            Some(first) => format!("{first} | {}", check.cmd),
            None => check.cmd.clone(),
        };
        let from_file = |path| std::fs::read_to_string(self.real(path)).expect("the suite's file");
        let input = input.or_else(|| check.stdin.clone()).or_else(|| check.stdin_file.as_deref().map(from_file));
        let done = feed(self.command(&line, env), input.unwrap_or_default());
        out.extend(self.shown(&said(&done)));
        if let Err(said) = self.prepare(&check.teardown, env) {
            out.extend(said);
            return;
        }
        if check.update_cib {
            out.push(format!("=#=#=#= Current cib after: {} =#=#=#=", check.desc));
            out.extend(self.shown(&self.cib(env)));
        }
        let code = done.status.code().unwrap_or(-1);
        let text = self.words_of(code);
        out.push(format!("=#=#=#= End test: {} - {text} ({code}) =#=#=#=", check.desc));
        let tool = check.cmd.split(' ').next().unwrap_or_default();
        out.push(match code == check.expected {
            true => format!("* Passed: {tool:<21} - {}", check.desc),
            false => format!("* Failed (rc={code:03}): {tool:<23} - {}", check.desc),
        });
    }
}

/// Standard error first, as the suite keeps them.
fn said(done: &Output) -> String {
    let mut text = String::from_utf8_lossy(&done.stderr).into_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text + &String::from_utf8_lossy(&done.stdout)
}

fn feed(mut command: Command, input: String) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sh runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    // On a thread of its own: a command that does not read must not block the one that is written to.
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let done = child.wait_with_output().expect("ends");
    writer.join().expect("written");
    done
}

/// As the suite writes it: date and time of this moment tomorrow.
fn tomorrow() -> String {
    let done = Command::new("date").args(["-u", "-d", "tomorrow", "+%F %T "]).output().expect("date runs");
    String::from_utf8_lossy(&done.stdout).trim_end_matches('\n').to_owned()
}
