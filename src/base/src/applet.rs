//! What a crate offers to the multi-call binary: commands, and the resource agents that it has in itself.

/// One command: its name as typed (or as the link is called), one line of help, and its entry point.
pub struct Applet {
    pub name: &'static str,
    pub about: &'static str,
    /// Gets the arguments after the applet's name; returns the process exit code.
    pub run: fn(Vec<std::ffi::OsString>) -> i32,
    /// Hidden applets are for programs (guard process, agent helpers), not listed for people.
    pub hidden: bool,
}

/// Agents that need no file on the host. Whoever makes the binary hands them from the crate that has them to the one that asks.
pub struct Natives {
    /// As configurations call them: `ocf:heartbeat:IPaddr2`.
    pub names: fn() -> Vec<String>,
    /// What the agent of that name says of itself (OCF Resource Agent API); `None` if it is not one of these.
    pub document: fn(&str) -> Option<String>,
}
