//! A `ldirectord.cf` that is written, not read.

use ::ldirectord::audit;
use ::ldirectord::config::{self, Accepted, System};
use std::net::IpAddr;

/// One `virtual`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Above it, each without its `#`.
    pub comments: Vec<String>,
    /// `192.0.2.1:80`, `[2001:db8::1]:80`, or a mark.
    pub key: String,
    pub is_v6: bool,
    /// `10.0.0.1:80 masq 5`.
    pub reals: Vec<String>,
    /// Directives in order; values as they stand in the file.
    pub lines: Vec<(&'static str, String)>,
}

impl Block {
    pub fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.lines.push((name, value.into()));
    }
}

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    pub comments: Vec<String>,
    pub globals: Vec<(&'static str, String)>,
    pub blocks: Vec<Block>,
}

impl File {
    pub fn text(&self) -> String {
        let comments = |all: &[String]| all.iter().map(|c| format!("# {c}\n")).collect::<String>();
        let mut out = comments(&self.comments);
        out.extend(self.globals.iter().map(|(n, v)| format!("{n} = {v}\n")));
        for block in &self.blocks {
            let six = if block.is_v6 { "6" } else { "" };
            out += &format!("\n{}virtual{six} = {}\n", comments(&block.comments), block.key);
            out.extend(block.reals.iter().map(|r| format!("    real{six} = {r}\n")));
            out.extend(block.lines.iter().map(|(n, v)| format!("    {n} = {v}\n")));
        }
        out
    }

    /// As a director reads it; or what it would refuse.
    pub fn read(&self) -> Result<Accepted, Vec<String>> {
        read(&self.text())
    }
}

/// As a director reads a file; or what it would refuse.
pub fn read(text: &str) -> Result<Accepted, Vec<String>> {
    let told = |p: &config::Problem| p.to_string();
    let accepted = config::parse(text, &mut System::default())
        .map_err(|refused| refused.errors.iter().map(told).collect::<Vec<_>>())?;
    let wrong: Vec<String> = audit::audit(&accepted.config).iter().map(told).collect();
    if wrong.is_empty() { Ok(accepted) } else { Err(wrong) }
}

/// An address with a port, as the file has it.
pub fn place(addr: IpAddr, port: u16) -> String {
    match addr {
        IpAddr::V4(addr) => format!("{addr}:{port}"),
        IpAddr::V6(addr) => format!("[{addr}]:{port}"),
    }
}

/// A text in quotes; `None` where the file cannot say it.
pub fn quoted(text: &str) -> Option<String> {
    let fits = !text.contains(['"', '\n', '\r', '\0']) && !text.ends_with('\\');
    fits.then(|| format!("\"{text}\""))
}
