//! TLS with the key that cluster and remote nodes share: 1.2, with Diffie-Hellman, as GnuTLS offers it to the original.

use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions, SslVerifyMode, SslVersion};
use std::path::{Path, PathBuf};
use wire::executor::{KEY_FILE, MAX_KEY_BYTES, USER};
use zeroize::Zeroizing;

/// Where the key is, if not in its usual place.
const KEY_VAR: &str = "PCMK_authkey_location";
/// Only with forward secrecy: who learns the key later reads nothing of what was said.
const CIPHERS: &str =
    "DHE-PSK-AES256-GCM-SHA384:DHE-PSK-CHACHA20-POLY1305:DHE-PSK-AES128-GCM-SHA256:DHE-PSK-AES256-CCM";

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(
        "{file}: {error}; copy the key of the other nodes there, or make one: `dd if=/dev/urandom of={file} bs=256 count=1`"
    )]
    Read { file: PathBuf, error: std::io::Error },
    #[error(
        "{file}: expected 1 to {MAX_KEY_BYTES} bytes, found {found}; a shorter key for all nodes: `dd if=/dev/urandom of={file} bs=256 count=1`"
    )]
    Length { file: PathBuf, found: usize },
    #[error("TLS: {0}")]
    Tls(#[from] ErrorStack),
}

pub fn key_file() -> PathBuf {
    std::env::var_os(KEY_VAR).map_or_else(|| KEY_FILE.into(), PathBuf::from)
}

fn key(file: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let key = std::fs::read(file).map_err(|error| KeyError::Read { file: file.to_owned(), error })?;
    match key.len() {
        1..=MAX_KEY_BYTES => Ok(Zeroizing::new(key)),
        found => Err(KeyError::Length { file: file.to_owned(), found }),
    }
}

fn context(method: SslMethod) -> Result<SslContextBuilder, ErrorStack> {
    let mut context = SslContextBuilder::new(method)?;
    context.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    context.set_max_proto_version(Some(SslVersion::TLS1_2))?;
    context.set_cipher_list(CIPHERS)?;
    // Who knows the key is who it says it is; there are no certificates.
    context.set_verify(SslVerifyMode::NONE);
    context.set_options(SslOptions::NO_TICKET | SslOptions::NO_RENEGOTIATION);
    Ok(context)
}

/// For one connection to a remote node. The key is read each time: it may have been changed.
pub fn client() -> Result<Ssl, KeyError> {
    let key = key(&key_file())?;
    let mut context = context(SslMethod::tls_client())?;
    context.set_psk_client_callback(move |_, _, identity, psk| {
        let fits = identity.len() > USER.len() && psk.len() >= key.len();
        if !fits {
            return Ok(0);
        }
        identity[..USER.len()].copy_from_slice(USER.as_bytes());
        identity[USER.len()] = 0;
        psk[..key.len()].copy_from_slice(&key);
        Ok(key.len())
    });
    Ok(Ssl::new(&context.build())?)
}

/// For all connections of cluster nodes to this remote node.
pub fn server() -> Result<SslContext, KeyError> {
    let key = key(&key_file())?;
    let mut context = context(SslMethod::tls_server())?;
    context.set_tmp_dh(&*openssl::dh::Dh::get_2048_256()?)?;
    context.set_psk_server_callback(move |_, identity, psk| {
        if identity != Some(USER.as_bytes()) || psk.len() < key.len() {
            return Ok(0);
        }
        psk[..key.len()].copy_from_slice(&key);
        Ok(key.len())
    });
    Ok(context.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_does_not_serve_is_told_with_the_cure() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("authkey");
        let text = |result: Result<Zeroizing<Vec<u8>>, KeyError>| result.expect_err("refused").to_string();
        assert!(text(key(&file)).contains("copy the key of the other nodes there"));
        for length in [0, MAX_KEY_BYTES + 1, 4096] {
            std::fs::write(&file, vec![1; length]).expect("written");
            let told = text(key(&file));
            assert!(told.contains(&format!("found {length}")) && told.contains("bs=256"), "{told}");
        }
        std::fs::write(&file, [1; 256]).expect("written");
        assert_eq!(key(&file).map(|k| k.len()).ok(), Some(256));
    }
}
