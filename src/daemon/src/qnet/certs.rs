//! Keys and certificates of arbitrator and cluster: three PEM files in one directory.
//!
//! | file | arbitrator | cluster |
//! |---|---|---|
//! | `ca.pem` | its own authority, `QNet CA` | the arbitrator's authority |
//! | `cert.pem`, `key.pem` | `Qnetd Server`, signed by it | the cluster's name, signed by it |
//! | `ca-key.pem` | signs clusters' requests | – |
//!
//! The originals' certificates carry no alternative names and no constraints, so a usual path validation refuses them. What counts
//! is what their makers mean: signed by this very authority, not out of date, and with the right common name.

use openssl::asn1::Asn1Time;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{Ssl, SslContext, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::{X509, X509Ref};
use std::cmp::Ordering;
use std::path::{Path, PathBuf};

/// What the arbitrator's certificate is made out to.
pub const SERVER_NAME: &str = "Qnetd Server";
/// Larger files are no certificates.
const MAX_BYTES: u64 = 1024 * 1024;

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    #[error("{}: {error}", file.display())]
    File { file: PathBuf, error: std::io::Error },
    #[error("{}: {error}", file.display())]
    Content { file: PathBuf, error: openssl::error::ErrorStack },
    #[error("{}: not signed by {}", file.display(), ca.display())]
    Stranger { file: PathBuf, ca: PathBuf },
    #[error(transparent)]
    Ssl(#[from] openssl::error::ErrorStack),
}

/// The three files, read.
pub struct Store {
    pub ca: X509,
    pub certificate: X509,
    key: PKey<Private>,
}

impl Store {
    /// Whether there is one: all that is needed, or nothing.
    pub fn is_there(dir: &Path) -> bool {
        ["ca.pem", "cert.pem", "key.pem"].iter().any(|f| dir.join(f).exists())
    }

    pub fn read(dir: &Path) -> Result<Store, CertError> {
        let (ca_file, cert_file, key_file) = (dir.join("ca.pem"), dir.join("cert.pem"), dir.join("key.pem"));
        let ca = X509::from_pem(&bytes(&ca_file)?).map_err(content(&ca_file))?;
        let certificate = X509::from_pem(&bytes(&cert_file)?).map_err(content(&cert_file))?;
        let key_pem = zeroize::Zeroizing::new(bytes(&key_file)?);
        let key = PKey::private_key_from_pem(&key_pem).map_err(content(&key_file))?;
        if !is_signed(&certificate, &ca) {
            return Err(CertError::Stranger { file: cert_file, ca: ca_file });
        }
        Ok(Store { ca, certificate, key })
    }

    /// For one connection of a server.
    pub fn server(&self, ask_certificate: bool) -> Result<Ssl, CertError> {
        let mut context = context(SslMethod::tls_server())?;
        context.set_certificate(&self.certificate)?;
        context.set_private_key(&self.key)?;
        if ask_certificate {
            context.add_client_ca(&self.ca)?;
            // Judged afterwards, by `vouched`.
            context.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
        }
        context.set_session_id_context(b"qnetd")?;
        Ok(Ssl::new(&context.build())?)
    }

    /// For one connection of a client.
    pub fn client(&self) -> Result<Ssl, CertError> {
        let mut context = context(SslMethod::tls_client())?;
        context.set_certificate(&self.certificate)?;
        context.set_private_key(&self.key)?;
        context.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
        Ok(Ssl::new(&context.build())?)
    }

    /// The names that a peer's certificate vouches for; nothing where it is not of our authority, or out of date.
    pub fn vouched(&self, certificate: &X509Ref) -> Option<Vec<String>> {
        (is_signed(certificate, &self.ca) && is_in_time(certificate)).then(|| names(certificate))
    }
}

fn content(file: &Path) -> impl FnOnce(openssl::error::ErrorStack) -> CertError {
    let file = file.to_owned();
    move |error| CertError::Content { file, error }
}

fn context(method: SslMethod) -> Result<openssl::ssl::SslContextBuilder, CertError> {
    let mut context = SslContext::builder(method)?;
    context.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    Ok(context)
}

fn is_signed(certificate: &X509Ref, ca: &X509Ref) -> bool {
    let same = |a: &openssl::x509::X509NameRef, b| a.try_cmp(b).is_ok_and(Ordering::is_eq);
    let key = ca.public_key();
    same(certificate.issuer_name(), ca.subject_name()) && key.is_ok_and(|k| certificate.verify(&k).unwrap_or(false))
}

fn is_in_time(certificate: &X509Ref) -> bool {
    let Ok(now) = Asn1Time::days_from_now(0) else { return false };
    let begun = certificate.not_before().compare(&now).is_ok_and(Ordering::is_le);
    begun && certificate.not_after().compare(&now).is_ok_and(Ordering::is_ge)
}

/// Common names, and alternative ones.
fn names(certificate: &X509Ref) -> Vec<String> {
    let common = certificate.subject_name().entries_by_nid(Nid::COMMONNAME);
    let common = common.filter_map(|e| e.data().to_string().ok());
    let alternative = certificate.subject_alt_names().into_iter().flatten();
    common.chain(alternative.filter_map(|n| n.dnsname().map(str::to_owned))).collect()
}

fn bytes(file: &Path) -> Result<Vec<u8>, CertError> {
    crate::config::read_bounded(file, MAX_BYTES).map_err(|error| CertError::File { file: file.to_owned(), error })
}
