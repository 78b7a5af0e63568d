//! `checktype = external` and `external-perl`: a command whose exit code 0 means up.
//!
//! It runs in a process group of its own; when the deadline drops the check, the whole group is killed.

use super::{External, Outcome, failure};
use crate::group::Group;
use std::io::Read;
use std::path::Path;
use tokio::process::Command;

pub async fn run(external: &External) -> Outcome {
    let child = match start(command(external), external) {
        // As execvp does it: what the kernel does not know is a script of the shell's.
        Err(e) if e.raw_os_error() == Some(libc::ENOEXEC) => start(by_shell(external), external),
        child => child,
    };
    let mut group =
        child.map_err(|e| failure(format!("{}: {}", external.command, super::io::plain(&e)) + cure(external, &e)))?;
    let status = group.wait().await?;
    if status.success() { Ok("exit code 0".to_owned()) } else { Err(failure(status.to_string())) }
}

fn start(mut command: Command, external: &External) -> std::io::Result<Group> {
    command.args(&external.args);
    Group::spawn(command)
}

fn by_shell(external: &External) -> Command {
    let mut script = command(external);
    let mut command = Command::new("/bin/sh");
    command.arg(script.as_std_mut().get_program()).args(script.as_std().get_args());
    command
}

/// A script from Windows names an interpreter whose name ends in a carriage return, and "no such file" misleads.
fn cure(external: &External, e: &std::io::Error) -> &'static str {
    let program = command(external).as_std().get_program().to_owned();
    let mut start = [0; 128];
    let read = kernel::files::open_regular(std::path::Path::new(&program))
        .and_then(|mut file| file.read(&mut start))
        .unwrap_or(0);
    let first = start[..read].split(|b| *b == b'\n').next().unwrap_or_default();
    match e.kind() {
        std::io::ErrorKind::NotFound if first.starts_with(b"#!") && first.ends_with(b"\r") => {
            ": its lines end in carriage returns, and the interpreter's name with them: convert it (sed -i 's/\\r$//')"
        }
        std::io::ErrorKind::NotFound if first.starts_with(b"#!") => {
            ": the interpreter that its first line names is missing"
        }
        std::io::ErrorKind::PermissionDenied if read > 0 => ": make it executable (chmod +x)",
        _ => "",
    }
}

/// A whole path with blanks is the program; otherwise blanks part its arguments.
fn command(external: &External) -> Command {
    if external.perl {
        let mut command = Command::new("perl");
        command.arg(&external.command);
        return command;
    }
    let mut words = external.command.split_whitespace();
    match words.next() {
        Some(program) if !Path::new(&external.command).exists() => {
            let mut command = Command::new(program);
            command.args(words);
            command
        }
        _ => Command::new(&external.command),
    }
}
