//! Parameters whose value in the CIB is `lrm://`: the value proper stands in a file of each node, as `cibsecret` puts it there.
//!
//! `DIR/RESOURCE/PARAMETER` holds the value, `PARAMETER.sign` its MD5 in hexadecimal; both are root's alone. It is put in right
//! before an agent runs, so that it gets into no digest, record, history, log or other node.

use base::Operation;
use base::secret::ELSEWHERE;
use md5::{Digest, Md5};
use std::path::{Path, PathBuf};

/// Where Pacemaker's `cibsecret` keeps them; `BASCULE_SECRETS_DIR` says otherwise.
const DIR: &str = "/var/lib/pacemaker/lrm/secrets";
/// Longest value.
const MAX_BYTES: u64 = 64 * 1024;

pub(super) fn directory() -> PathBuf {
    std::env::var_os("BASCULE_SECRETS_DIR").map_or_else(|| DIR.into(), PathBuf::from)
}

/// The operation with its secrets; `None` if it has none.
pub(super) fn reveal(dir: &Path, operation: &Operation) -> Result<Option<Operation>, String> {
    if !operation.instance.params.values().any(|v| v == ELSEWHERE) {
        return Ok(None);
    }
    let mut revealed = operation.clone();
    // All instances of a clone are one resource.
    let id = operation.instance.id.split(':').next().unwrap_or_default();
    for (name, value) in revealed.instance.params.iter_mut().filter(|(_, v)| *v == ELSEWHERE) {
        *value =
            read(dir, id, name).map_err(|why| format!("parameter {name} is kept elsewhere (lrm://), and {why}"))?;
    }
    Ok(Some(revealed))
}

fn read(dir: &Path, resource: &str, parameter: &str) -> Result<String, String> {
    let plain = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']);
    if !plain(resource) || !plain(parameter) {
        return Err("its name is no name of a file".to_owned());
    }
    let file = dir.join(resource).join(parameter);
    let mut sign = file.clone().into_os_string();
    sign.push(".sign");
    let value = text_of(&file)?;
    let sign = text_of(Path::new(&sign))?;
    let sum: String = Md5::digest(value.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
    match sign.split_whitespace().next() {
        Some(signed) if signed == sum => Ok(value),
        _ => Err(format!("{} does not fit its .sign: run cibsecret check {resource} {parameter}", file.display())),
    }
}

/// Without the line's end.
fn text_of(file: &Path) -> Result<String, String> {
    use std::io::Read as _;
    let mut text = String::new();
    let open = std::fs::File::open(file);
    let read = open.and_then(|f| f.take(MAX_BYTES).read_to_string(&mut text));
    read.map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_kept_elsewhere_is_put_in_and_one_that_was_altered_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let of = |resource: &str| dir.path().join(resource);
        std::fs::create_dir(of("db")).expect("made");
        std::fs::write(of("db/passwd"), "s3cret\n").expect("written");
        // echo -n s3cret | md5sum
        std::fs::write(of("db/passwd.sign"), "33e1b232a4e6fa0028a6670753749a17\n").expect("written");
        let mut operation = Operation { action: "start".to_owned(), ..Operation::default() };
        operation.instance.id = "db:1".to_owned();
        operation.instance.params.insert("user".to_owned(), "u".to_owned());
        assert_eq!(reveal(dir.path(), &operation), Ok(None));
        operation.instance.params.insert("passwd".to_owned(), ELSEWHERE.to_owned());
        let revealed = reveal(dir.path(), &operation).expect("readable").expect("secrets");
        assert_eq!(revealed.instance.params["passwd"], "s3cret");
        assert!(!format!("{revealed:?}").contains("s3cret"));
        std::fs::write(of("db/passwd"), "other").expect("written");
        assert!(reveal(dir.path(), &operation).is_err_and(|e| e.contains(".sign") && !e.contains("other")));
        operation.instance.id = "../db".to_owned();
        assert!(reveal(dir.path(), &operation).is_err_and(|e| e.contains("no name of a file")));
    }
}
