//! This host's key and the certificate that it shows. Others know the key; the certificate is made anew as its end comes near.

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{Ssl, SslContext, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder, X509Ref};
use std::path::Path;
use wire::pcsd::{file, pin};

const DAYS: u32 = 397;
/// Whoever has a clock that is behind sees it valid as well.
const BEGUN_DAYS_AGO: i64 = 2;
const RENEW_BEFORE_DAYS: u32 = 100;
const MAX_BYTES: u64 = 64 * 1024;
const DAY_S: i64 = 86_400;
const SERIAL_BITS: i32 = 127;

pub struct Identity {
    key: PKey<Private>,
    certificate: X509,
    pub pin: String,
}

impl Identity {
    /// As it is there, or made; and a certificate that goes on for a while. `true` where the certificate is new.
    pub fn keep(dir: &Path, host: &str) -> Result<(Identity, bool), String> {
        let (key_file, cert_file) = (dir.join(file::KEY), dir.join(file::CERTIFICATE));
        kernel::files::private_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let _lock = kernel::files::lock(&dir.join("lock")).map_err(|e| format!("{}: {e}", dir.display()))?;
        let key = match key_file.exists() {
            true => read_key(&key_file)?,
            false => {
                let key = new_key().map_err(|e| e.to_string())?;
                let pem = zeroize::Zeroizing::new(key.private_key_to_pem_pkcs8().map_err(|e| e.to_string())?);
                write(&key_file, &pem, 0o600)?;
                key
            }
        };
        let there = read(&cert_file).ok().and_then(|pem| X509::from_pem(&pem).ok());
        let good = there.filter(|c| c.public_key().is_ok_and(|k| k.public_eq(&key)) && is_for_long(c));
        let (certificate, new) = match good {
            Some(certificate) => (certificate, false),
            None => (certificate(&key, host).map_err(|e| e.to_string())?, true),
        };
        if new {
            write(&cert_file, &certificate.to_pem().map_err(|e| e.to_string())?, 0o644)?;
        }
        let der = key.public_key_to_der().map_err(|e| e.to_string())?;
        Ok((Identity { pin: pin(&der), key, certificate }, new))
    }

    /// For one connection: whoever comes is asked for a certificate, and judged by its key afterwards.
    pub fn server(&self) -> Result<Ssl, ErrorStack> {
        let mut context = SslContext::builder(SslMethod::tls_server())?;
        context.set_min_proto_version(Some(SslVersion::TLS1_2))?;
        context.set_certificate(&self.certificate)?;
        context.set_private_key(&self.key)?;
        context.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
        context.set_session_cache_mode(openssl::ssl::SslSessionCacheMode::OFF);
        context.set_num_tickets(0)?;
        Ssl::new(&context.build())
    }
}

/// The pin of whoever shows this certificate; that it has the key as well, the handshake has proved.
pub fn pin_of(certificate: &X509Ref) -> Option<String> {
    Some(pin(&certificate.public_key().ok()?.public_key_to_der().ok()?))
}

fn new_key() -> Result<PKey<Private>, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    PKey::from_ec_key(EcKey::generate(&group)?)
}

fn certificate(key: &PKey<Private>, host: &str) -> Result<X509, ErrorStack> {
    let host = if wire::pcsd::is_plain(host) && host.len() <= 64 { host } else { "bascule" };
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_text("CN", host)?;
    let name = name.build();
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    let mut serial = BigNum::new()?;
    serial.rand(SERIAL_BITS, MsbOption::MAYBE_ZERO, false)?;
    builder.set_serial_number(&*serial.to_asn1_integer()?)?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    builder.set_pubkey(key)?;
    let now = crate::clock::wall_us() / 1_000_000;
    builder.set_not_before(&*Asn1Time::from_unix(now - BEGUN_DAYS_AGO * DAY_S)?)?;
    builder.set_not_after(&*Asn1Time::days_from_now(DAYS)?)?;
    builder.append_extension(BasicConstraints::new().critical().build()?)?;
    builder.append_extension(ExtendedKeyUsage::new().server_auth().client_auth().build()?)?;
    let alternative = SubjectAlternativeName::new().dns(host).build(&builder.x509v3_context(None, None))?;
    builder.append_extension(alternative)?;
    builder.sign(key, MessageDigest::sha256())?;
    Ok(builder.build())
}

fn is_for_long(certificate: &X509Ref) -> bool {
    let then = Asn1Time::days_from_now(RENEW_BEFORE_DAYS);
    then.is_ok_and(|then| certificate.not_after().compare(&then).is_ok_and(|o| o.is_gt()))
}

fn read_key(file: &Path) -> Result<PKey<Private>, String> {
    let pem = zeroize::Zeroizing::new(read(file)?);
    PKey::private_key_from_pem(&pem).map_err(|e| format!("{}: {e}", file.display()))
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    kernel::files::read_regular(file, MAX_BYTES).map_err(|e| format!("{}: {e}", file.display()))
}

fn write(file: &Path, content: &[u8], mode: u32) -> Result<(), String> {
    kernel::files::replace(file, content, mode).map_err(|e| format!("{}: {e}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_new_certificate_has_the_old_key() {
        let dir = tempfile::tempdir().expect("a directory");
        let (first, new) = Identity::keep(dir.path(), "n1").expect("made");
        assert!(new);
        let mode = std::fs::metadata(dir.path().join(file::KEY)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (again, new) = Identity::keep(dir.path(), "n1").expect("kept");
        assert!(!new && again.pin == first.pin && again.certificate == first.certificate);
        std::fs::remove_file(dir.path().join(file::CERTIFICATE)).expect("removed");
        let (third, new) = Identity::keep(dir.path(), "n1").expect("renewed");
        assert!(new && third.pin == first.pin && third.certificate != first.certificate);
        assert_eq!(pin_of(&third.certificate), Some(first.pin));
        std::fs::write(dir.path().join(file::KEY), "nonsense").expect("written");
        assert!(Identity::keep(dir.path(), "n1").is_err(), "a key that is lost is not replaced silently");
    }
}
