//! Values that stand in files of this node in place of the CIB: read, kept and forgotten. Where they are is [`base::secret`]'s.

use base::secret::{DIR, DIR_VAR, MAX_BYTES, Place, place};
use md5::{Digest, Md5};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Why there is no value. None tells the value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("a resource and a parameter name files of their own; `{resource}` and `{parameter}` do not")]
    Name { resource: String, parameter: String },
    #[error("{}: {error}", .file.display())]
    Read { file: PathBuf, error: io::Error },
    #[error("{} is longer than {MAX_BYTES} bytes", .file.display())]
    TooLong { file: PathBuf },
    #[error("{} does not fit its .sign: it was altered, or copied in part", .file.display())]
    Altered { file: PathBuf },
    #[error("cannot write {}: {error}", .file.display())]
    Write { file: PathBuf, error: io::Error },
}

/// Where this process looks for them.
pub fn directory() -> PathBuf {
    std::env::var_os(DIR_VAR).map_or_else(|| DIR.into(), PathBuf::from)
}

/// The value, if it is what was signed.
pub fn read(dir: &Path, resource: &str, parameter: &str) -> Result<String, SecretError> {
    let place = named(dir, resource, parameter)?;
    let (value, sign) = (text_of(&place.value)?, text_of(&place.sign)?);
    match sign.split_whitespace().next() {
        Some(signed) if signed == sum(&value) => Ok(value),
        _ => Err(SecretError::Altered { file: place.value }),
    }
}

/// Signed, for this user alone.
pub fn keep(dir: &Path, resource: &str, parameter: &str, value: &str) -> Result<(), SecretError> {
    let Place { value: file, sign } = named(dir, resource, parameter)?;
    let written =
        |file: &Path, done: io::Result<()>| done.map_err(|error| SecretError::Write { file: file.to_owned(), error });
    if value.len() as u64 > MAX_BYTES {
        return Err(SecretError::TooLong { file });
    }
    let dir = file.parent().unwrap_or(Path::new("/"));
    written(dir, std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir))?;
    written(&file, crate::files::replace(&file, value.as_bytes(), 0o600))?;
    written(&sign, crate::files::replace(&sign, format!("{}\n", sum(value)).as_bytes(), 0o600))
}

/// One that is not there is forgotten already.
pub fn forget(dir: &Path, resource: &str, parameter: &str) -> Result<(), SecretError> {
    let Place { value, sign } = named(dir, resource, parameter)?;
    for file in [value, sign] {
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(SecretError::Write { file, error }),
            _ => {}
        }
    }
    Ok(())
}

/// Whether these names can name files at all, and which.
pub fn named(dir: &Path, resource: &str, parameter: &str) -> Result<Place, SecretError> {
    let name = || SecretError::Name { resource: resource.to_owned(), parameter: parameter.to_owned() };
    place(dir, resource, parameter).ok_or_else(name)
}

fn sum(value: &str) -> String {
    Md5::digest(value.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

/// Without the line's end.
fn text_of(file: &Path) -> Result<String, SecretError> {
    let failed = |error| SecretError::Read { file: file.to_owned(), error };
    let mut text = String::new();
    // Whatever has been put there, a pipe included, nobody waits for it.
    let open = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(file).map_err(failed)?;
    open.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(SecretError::TooLong { file: file.to_owned() });
    }
    text.truncate(text.trim_end_matches(['\n', '\r']).len());
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_value_is_kept_signed_for_one_user_checked_and_forgotten() {
        let dir = std::env::temp_dir().join(format!("bascule-secrets-{}", std::process::id()));
        keep(&dir, "db:1", "passwd", "s3cret").expect("kept");
        assert_eq!(read(&dir, "db", "passwd").expect("sound"), "s3cret");
        let files = place(&dir, "db", "passwd").expect("plain names");
        let mode = |p: &Path| std::fs::metadata(p).map(|m| m.permissions().mode() & 0o777).ok();
        assert_eq!((mode(&files.value), mode(&files.sign), mode(&dir)), (Some(0o600), Some(0o600), Some(0o700)));
        // echo -n s3cret | md5sum: as the original signs it.
        let sign = std::fs::read_to_string(&files.sign).expect("signed");
        assert_eq!(sign.trim(), "33e1b232a4e6fa0028a6670753749a17");
        std::fs::write(&files.value, "s3cret\n").expect("written");
        assert_eq!(read(&dir, "db", "passwd").expect("an editor's line end is none of it"), "s3cret");
        std::fs::write(&files.value, "another").expect("written");
        let refused = read(&dir, "db", "passwd").expect_err("altered");
        assert!(matches!(refused, SecretError::Altered { .. }) && !refused.to_string().contains("another"));
        let long = "x".repeat(MAX_BYTES as usize + 1);
        assert!(matches!(keep(&dir, "db", "passwd", &long), Err(SecretError::TooLong { .. })));
        std::fs::write(&files.value, long).expect("written");
        assert!(matches!(read(&dir, "db", "passwd"), Err(SecretError::TooLong { .. })));
        forget(&dir, "db", "passwd").expect("gone");
        forget(&dir, "db", "passwd").expect("gone already");
        assert!(matches!(read(&dir, "db", "passwd"), Err(SecretError::Read { .. })));
        assert!(matches!(keep(&dir, "../x", "y", "z"), Err(SecretError::Name { .. })));
        std::fs::remove_dir_all(dir).expect("removed");
    }
}
