//! Parameters whose value in the CIB is `lrm://`: the value proper stands in a file of each node ([`kernel::secrets`]).
//!
//! It is put in right before an agent runs, so that it gets into no digest, record, history, log or other node. Nor does it by way
//! of what the agent says: [`Secrets::hide`] takes every secret out of an agent's words.

use base::Operation;
use base::secret::{ELSEWHERE, HIDDEN, is_secret};
use std::path::Path;
use zeroize::Zeroizing;

/// Shorter ones would be found in ordinary words.
const SHORTEST: usize = 4;

/// The secrets of one run, in memory for as long as it lasts.
#[derive(Default)]
pub(super) struct Secrets(Vec<Zeroizing<String>>);

impl Secrets {
    /// Those that their names tell.
    pub fn among<'a>(pairs: impl Iterator<Item = (&'a String, &'a String)>) -> Secrets {
        let mut secrets = Secrets::default();
        pairs.for_each(|(name, value)| secrets.note(name, value, false));
        secrets
    }

    /// What agents say, as it may be logged and shown.
    pub fn hide(&self, text: &str) -> String {
        let long = self.0.iter().filter(|s| s.len() >= SHORTEST);
        long.fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), HIDDEN))
    }

    fn note(&mut self, name: &str, value: &str, elsewhere: bool) {
        if elsewhere || is_secret(name) {
            self.0.push(Zeroizing::new(value.to_owned()));
        }
    }
}

/// Puts the values of `resource` in that stand elsewhere. The error says which is not to be had, and why.
pub(super) fn reveal<'a>(
    dir: &Path,
    resource: &str,
    params: impl Iterator<Item = (&'a str, &'a mut String)>,
) -> Result<Secrets, String> {
    let mut secrets = Secrets::default();
    for (name, value) in params {
        let elsewhere = value == ELSEWHERE;
        if elsewhere {
            let found = kernel::secrets::read(dir, resource, name);
            *value = found.map_err(|why| format!("parameter {name} is kept elsewhere (lrm://), and {why}"))?;
        }
        secrets.note(name, value, elsewhere);
    }
    Ok(secrets)
}

/// The operation with its secrets.
pub(super) fn revealed(dir: &Path, operation: &Operation) -> Result<(Operation, Secrets), String> {
    let mut operation = operation.clone();
    let id = operation.instance.id.clone();
    let params = operation.instance.params.iter_mut().map(|(name, value)| (name.as_str(), value));
    let secrets = reveal(dir, &id, params)?;
    Ok((operation, secrets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_kept_elsewhere_is_put_in_and_one_that_was_altered_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        kernel::secrets::keep(dir.path(), "db", "passwd", "s3cret").expect("kept");
        let mut operation = Operation { action: "start".to_owned(), ..Operation::default() };
        operation.instance.id = "db:1".to_owned();
        for (name, value) in [("user", "u"), ("passwd", ELSEWHERE), ("password2", "0ther"), ("pass", "x")] {
            operation.instance.params.insert(name.to_owned(), value.to_owned());
        }
        let (revealed, secrets) = revealed(dir.path(), &operation).expect("readable");
        assert_eq!(revealed.instance.params["passwd"], "s3cret");
        assert!(!format!("{revealed:?}").contains("s3cret"));
        assert_eq!(secrets.hide("u: s3cret or 0ther? exit"), "u: (hidden) or (hidden)? exit");
        std::fs::write(dir.path().join("db/passwd"), "other").expect("written");
        let refused = super::revealed(dir.path(), &operation).err().expect("altered");
        assert!(refused.contains(".sign") && !refused.contains("other"), "{refused}");
        operation.instance.id = "../db".to_owned();
        assert!(super::revealed(dir.path(), &operation).is_err_and(|e| e.contains("`../db`")));
    }
}
