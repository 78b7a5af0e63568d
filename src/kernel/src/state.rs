//! The state directory of a node that does not run.

use std::io::{Error, ErrorKind};
use std::path::Path;

/// Where the generations go that a restored CIB takes the place of.
const BEFORE: &str = "before-restore";

/// Makes `cib` (a whole CIB) what the next start begins with. Each step can be made twice; what was there is kept in a directory beside.
pub fn place_cib(state_dir: &Path, cib: &Path) -> std::io::Result<()> {
    let before = state_dir.join(BEFORE);
    for entry in std::fs::read_dir(state_dir)? {
        let name = entry?.file_name();
        let generation = name.to_str().is_some_and(|n| {
            // The form is that of what was written there, which this is not.
            n == "format" || n.starts_with("cib.") && (n.ends_with(".xml") || n.ends_with(".sha256"))
        });
        if generation {
            crate::files::private_dir(&before)?;
            let kept = before.join(&name);
            let _ = std::fs::remove_file(&kept);
            std::fs::rename(state_dir.join(&name), kept)?;
        }
    }
    std::fs::rename(cib, state_dir.join("cib.xml"))?;
    std::fs::File::open(state_dir)?.sync_all()
}

/// The newest CIB there, without a status.
pub fn cib(state_dir: &Path, max_bytes: u64) -> std::io::Result<String> {
    let file = state_dir.join("cib.xml");
    let file = std::fs::canonicalize(file)?;
    let bytes = crate::files::read_regular(&file, max_bytes)?;
    String::from_utf8(bytes).map_err(|e| Error::new(ErrorKind::InvalidData, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_cib_is_the_first_and_what_was_there_is_kept() {
        let dir = std::env::temp_dir().join(format!("bascule-state-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let at = |name: &str| dir.join(name);
        for name in ["format", "cib.1.xml", "cib.1.sha256", "cib.2.xml", "ring_seq"] {
            std::fs::write(at(name), name).expect("written");
        }
        std::os::unix::fs::symlink("cib.2.xml", at("cib.xml")).expect("a link");
        std::fs::write(at("cib.xml.staged"), "<cib/>").expect("written");
        place_cib(&dir, &at("cib.xml.staged")).expect("placed");
        assert_eq!(cib(&dir, 100).expect("read"), "<cib/>");
        assert!(
            !at("cib.1.xml").exists() && !at("format").exists() && !at("cib.2.xml").exists() && at("ring_seq").exists()
        );
        assert_eq!(std::fs::read_to_string(at("before-restore/cib.2.xml")).expect("kept"), "cib.2.xml");
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
