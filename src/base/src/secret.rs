//! Values that are not for logs and lists: which they are, what stands in their place, and where `cibsecret` keeps them.
//!
//! ```text
//! DIR/RESOURCE/PARAMETER        the value; all instances of a clone are one resource
//! DIR/RESOURCE/PARAMETER.sign   MD5 of the value, in hexadecimal
//! ```
//!
//! Both are root's alone; `kernel::secrets` reads and writes them. A value is put in right
//! before an agent runs, on the node that runs it, so that it gets into no digest, record, history, log or other node.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// In place of a secret.
pub const HIDDEN: &str = "(hidden)";
/// In place of a secret in a list of the configuration, as crmsh has it. It is never taken for a value.
pub const MASK: &str = "******";
/// In place of a value that stands in a file of each node (`cibsecret`).
pub const ELSEWHERE: &str = "lrm://";

/// Whether a parameter's name says that its value is a secret.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["passw", "secret", "credential", "private_key", "privatekey"].iter().any(|part| name.contains(part))
        || name == "pass"
}

/// Where Pacemaker's `cibsecret` keeps them.
pub const DIR: &str = "/var/lib/pacemaker/lrm/secrets";
/// Names another directory.
pub const DIR_VAR: &str = "BASCULE_SECRETS_DIR";
/// Longest value that is kept in a file.
pub const MAX_BYTES: u64 = 64 * 1024;

/// The files of one value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    pub value: PathBuf,
    pub sign: PathBuf,
}

/// `None` where the names would lead elsewhere.
pub fn place(dir: &Path, resource: &str, parameter: &str) -> Option<Place> {
    let plain = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']);
    let resource = resource.split(':').next().unwrap_or_default();
    (plain(resource) && plain(parameter)).then(|| {
        let dir = dir.join(resource);
        Place { value: dir.join(parameter), sign: dir.join(format!("{parameter}.sign")) }
    })
}

/// A value as it may be shown.
pub fn shown<'v>(name: &str, value: &'v str) -> &'v str {
    if is_secret(name) && value != ELSEWHERE { HIDDEN } else { value }
}

/// Parameters as they may be shown.
pub fn all_shown<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> BTreeMap<&'a str, &'a str> {
    pairs.into_iter().map(|(name, value)| (name.as_str(), shown(name, value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Instance;

    #[test]
    fn secrets_are_told_by_their_names_and_not_printed() {
        for name in ["passwd", "Password", "ha_password", "passwd_script", "client_secret", "pass"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["ip", "user", "passive", "bypass", "path"] {
            assert!(!is_secret(name), "{name}");
        }
        let params = [("passwd", "s3cret"), ("login", "root"), ("password2", ELSEWHERE)];
        let params = params.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let text = format!("{:?}", Instance { params, ..Instance::default() });
        assert!(!text.contains("s3cret") && text.contains("root") && text.contains(ELSEWHERE), "{text}");
    }

    #[test]
    fn files_are_below_the_directory_whatever_the_names() {
        let at = |resource: &str, parameter: &str| place(Path::new("/s"), resource, parameter).map(|p| p.sign);
        assert_eq!(at("db:1", "passwd"), Some("/s/db/passwd.sign".into()));
        for (resource, parameter) in [("../x", "y"), ("x", ".y"), ("", "y"), ("x", "a/b"), (":1", "y")] {
            assert_eq!(at(resource, parameter), None, "{resource} {parameter}");
        }
    }
}
