//! lab

/// Commands of this crate.
pub const APPLETS: &[base::applet::Applet] = &[];
