//! Exit codes: OCF agents', and those of Pacemaker's command line tools (`crm_error --exit -l`).

use std::fmt;

/// Result of an OCF agent's action (OCF Resource Agent API 1.1; 189–199 are Pacemaker's own).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OcfCode(pub i32);

impl OcfCode {
    pub const OK: OcfCode = OcfCode(0);
    pub const ERROR: OcfCode = OcfCode(1);
    pub const INVALID_PARAM: OcfCode = OcfCode(2);
    pub const UNIMPLEMENTED: OcfCode = OcfCode(3);
    pub const INSUFFICIENT_PRIV: OcfCode = OcfCode(4);
    pub const NOT_INSTALLED: OcfCode = OcfCode(5);
    pub const NOT_CONFIGURED: OcfCode = OcfCode(6);
    pub const NOT_RUNNING: OcfCode = OcfCode(7);
    pub const PROMOTED: OcfCode = OcfCode(8);
    pub const FAILED_PROMOTED: OcfCode = OcfCode(9);
    pub const DEGRADED: OcfCode = OcfCode(190);
    pub const DEGRADED_PROMOTED: OcfCode = OcfCode(191);
    /// The history's target code of an action that has not reported yet.
    pub const PENDING: OcfCode = OcfCode(193);

    /// The words that status output uses, e.g. `not running`.
    pub fn words(self) -> &'static str {
        match self.0 {
            0 => "ok",
            1 => "error",
            2 => "invalid parameter",
            3 => "unimplemented feature",
            4 => "insufficient privileges",
            5 => "not installed",
            6 => "not configured",
            7 => "not running",
            8 => "promoted",
            9 => "promoted (failed)",
            190 => "degraded",
            191 => "promoted (degraded)",
            _ => "unknown",
        }
    }
}

impl OcfCode {
    /// The words that Pacemaker 3's logs and details use, e.g. `Not running`.
    pub fn title(self) -> &'static str {
        match self.0 {
            0 => "OK",
            2 => "Invalid parameter",
            3 => "Unimplemented",
            4 => "Insufficient privileges",
            5 => "Not installed",
            6 => "Not configured",
            7 => "Not running",
            8 => "Promoted",
            9 => "Failed in promoted role",
            _ => "Error occurred",
        }
    }
}

impl fmt::Display for OcfCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// Exit codes of the Pacemaker-compatible commands, in sysexits' numbering with Pacemaker's additions.
pub mod crm {
    pub const OK: i32 = 0;
    pub const ERROR: i32 = 1;
    pub const UNIMPLEMENT_FEATURE: i32 = 3;
    pub const INSUFFICIENT_PRIV: i32 = 4;
    pub const CONFIG: i32 = 78;
    pub const USAGE: i32 = 64;
    pub const DATAERR: i32 = 65;
    pub const NOINPUT: i32 = 66;
    pub const NOHOST: i32 = 68;
    pub const UNAVAILABLE: i32 = 69;
    pub const SOFTWARE: i32 = 70;
    pub const OSERR: i32 = 71;
    pub const CANTCREAT: i32 = 73;
    pub const PROTOCOL: i32 = 76;
    /// Not to be started again by itself.
    pub const FATAL: i32 = 100;
    pub const DISCONNECT: i32 = 102;
    pub const OLD: i32 = 103;
    pub const DIGEST: i32 = 104;
    pub const NOSUCH: i32 = 105;
    pub const EXISTS: i32 = 108;
    pub const TIMEOUT: i32 = 124;
    pub const QUORUM: i32 = 106;
    pub const UNSAFE: i32 = 107;
    pub const MULTIPLE: i32 = 109;
}
