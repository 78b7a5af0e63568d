//! Values that are not for logs and lists: which they are, and what stands in their place.

/// In place of a secret.
pub const HIDDEN: &str = "(hidden)";
/// In place of a value that stands in a file of each node (`cibsecret`).
pub const ELSEWHERE: &str = "lrm://";

/// Whether a parameter's name says that its value is a secret.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["passw", "secret", "credential", "private_key", "privatekey"].iter().any(|part| name.contains(part))
        || name == "pass"
}

/// A value as it may be shown.
pub fn shown<'v>(name: &str, value: &'v str) -> &'v str {
    if is_secret(name) && value != ELSEWHERE { HIDDEN } else { value }
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
}
