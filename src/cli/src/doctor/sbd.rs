//! As much of `/etc/default/sbd` as the rules ask about.
//!
//! Debian's `sbd` can watch a shared disk beside a Bascule node; what it wants of Pacemaker and corosync, nobody answers.

use std::path::PathBuf;

pub const FILE: &str = "/etc/default/sbd";
/// What the program takes where the file says nothing.
const DEVICE: &str = "/dev/watchdog";

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sbd {
    pub file: PathBuf,
    /// It asks Pacemaker and corosync whether all is well; it does unless told otherwise.
    pub pacemaker: bool,
    /// It holds Pacemaker's start back until it is ready; it does unless told otherwise, and does not start where it may not ask
    /// Pacemaker.
    pub syncs_start: bool,
    /// There is a shared disk.
    pub disk: bool,
    pub watchdog_device: String,
}

pub fn read(file: PathBuf, text: &str) -> Sbd {
    let value = |name: &str| {
        let lines = text.lines().map(str::trim).filter(|l| !l.starts_with('#'));
        let found = lines.filter_map(|l| l.split_once('=')).rfind(|(n, _)| n.trim() == name);
        found.map(|(_, v)| v.trim().trim_matches(['"', '\'']).to_owned()).filter(|v| !v.is_empty())
    };
    let truth = |name: &str| value(name).and_then(|v| base::text::parse_bool(&v)).unwrap_or(true);
    Sbd {
        file,
        pacemaker: truth("SBD_PACEMAKER"),
        syncs_start: truth("SBD_SYNC_RESOURCE_STARTUP"),
        disk: value("SBD_DEVICE").is_some(),
        watchdog_device: value("SBD_WATCHDOG_DEV").unwrap_or_else(|| DEVICE.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debians_file_and_an_operators() {
        let stock = read(
            FILE.into(),
            "# SBD_DEVICE=\"/dev/x\"\nSBD_PACEMAKER=yes\nSBD_WATCHDOG_DEV=/dev/watchdog\nSBD_OPTS=\n",
        );
        assert!(stock.pacemaker && stock.syncs_start && !stock.disk);
        let own = read(
            FILE.into(),
            "SBD_DEVICE='/dev/sda1;/dev/sdb1'\nSBD_PACEMAKER=\"no\"\nSBD_WATCHDOG_DEV=/dev/watchdog1\n",
        );
        assert!(!own.pacemaker && own.disk && own.watchdog_device == "/dev/watchdog1");
        assert!(read(FILE.into(), "").pacemaker);
    }
}
