//! The table entry by which a crate offers a command to the multi-call binary.

/// One command: its name as typed (or as the link is called), one line of help, and its entry point.
pub struct Applet {
    pub name: &'static str,
    pub about: &'static str,
    /// Gets the arguments after the applet's name; returns the process exit code.
    pub run: fn(Vec<std::ffi::OsString>) -> i32,
    /// Hidden applets are for programs (guard process, agent helpers), not listed for people.
    pub hidden: bool,
}
