//! The commands that people type: parsing, talking to the node's API, output as text, XML and JSON.

use base::applet::Applet;
use std::ffi::OsString;

/// Commands of this crate.
pub const APPLETS: &[Applet] = &[];

/// What `bascule` without a known applet does: list the applets, or say that the asked one does not exist.
pub fn overview(applets: &[&Applet], asked: Option<&str>, _args: Vec<OsString>) -> i32 {
    if let Some(name) = asked.filter(|n| !n.starts_with('-')) {
        eprintln!("bascule: no command is called '{name}'; 'bascule --help' lists them");
        return base::exit::crm::USAGE;
    }
    for applet in applets.iter().filter(|a| !a.hidden) {
        println!("  {:<22} {}", applet.name, applet.about);
    }
    0
}
