//! Making certificates: the arbitrator's authority, its own certificate, and those of clusters.
//!
//! As the originals make them: RSA of 2048 bits, SHA-256, a common name and nothing else that matters, valid for a hundred years.
//! Requests and certificates are DER on disk, as certutil writes and reads them; PEM is read as well. A cluster's key travels as
//! PKCS#12 with an empty password.

use super::certs::SERVER_NAME;
use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::{PKey, Private, Public};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, KeyUsage};
use openssl::x509::{X509, X509Builder, X509Name, X509NameBuilder, X509Req};

const BITS: u32 = 2048;
const DAYS: u32 = 100 * 365;
const AUTHORITY: &str = "QNet CA";
const SERIAL_BITS: i32 = 63;

/// A key with the certificate that is made out to it.
pub struct Pair {
    pub key: PKey<Private>,
    pub certificate: X509,
}

pub fn key() -> Result<PKey<Private>, ErrorStack> {
    PKey::from_rsa(Rsa::generate(BITS)?)
}

/// Signs itself.
pub fn authority() -> Result<Pair, ErrorStack> {
    let key = key()?;
    let subject = name(AUTHORITY)?;
    let public = PKey::public_key_from_pem(&key.public_key_to_pem()?)?;
    let mut builder = builder(&subject, &subject, &public)?;
    builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
    builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
    builder.sign(&key, MessageDigest::sha256())?;
    Ok(Pair { certificate: builder.build(), key })
}

/// The arbitrator's own.
pub fn server(authority: &Pair) -> Result<Pair, ErrorStack> {
    let key = key()?;
    let public = PKey::public_key_from_pem(&key.public_key_to_pem()?)?;
    Ok(Pair { certificate: signed(authority, SERVER_NAME, &public)?, key })
}

/// What a cluster asks for.
pub fn request(key: &PKey<Private>, cluster: &str) -> Result<X509Req, ErrorStack> {
    let subject = name(cluster)?;
    let mut builder = X509Req::builder()?;
    builder.set_subject_name(&subject)?;
    builder.set_pubkey(key)?;
    builder.sign(key, MessageDigest::sha256())?;
    Ok(builder.build())
}

/// For the key that has signed the request, whatever name it asks for; `None` if it has not.
pub fn grant(authority: &Pair, request: &X509Req, cluster: &str) -> Result<Option<X509>, ErrorStack> {
    let public = request.public_key()?;
    if !request.verify(&public)? {
        return Ok(None);
    }
    signed(authority, cluster, &public).map(Some)
}

pub fn pack(pair: &Pair) -> Result<Vec<u8>, ErrorStack> {
    Pkcs12::builder().name("Cluster Cert").pkey(&pair.key).cert(&pair.certificate).build2("")?.to_der()
}

/// `None` where one of the two is missing.
pub fn unpack(bytes: &[u8]) -> Result<Option<Pair>, ErrorStack> {
    let parsed = Pkcs12::from_der(bytes)?.parse2("")?;
    Ok(parsed.pkey.zip(parsed.cert).map(|(key, certificate)| Pair { key, certificate }))
}

/// PEM, with or without text before it, or DER.
pub fn certificate(bytes: &[u8]) -> Result<X509, ErrorStack> {
    if has(bytes, b"-----BEGIN CERTIFICATE-----") { X509::from_pem(bytes) } else { X509::from_der(bytes) }
}

pub fn read_request(bytes: &[u8]) -> Result<X509Req, ErrorStack> {
    if has(bytes, b"-----BEGIN") { X509Req::from_pem(bytes) } else { X509Req::from_der(bytes) }
}

fn has(bytes: &[u8], mark: &[u8]) -> bool {
    bytes.windows(mark.len()).any(|w| w == mark)
}

fn signed(authority: &Pair, common_name: &str, public: &PKey<Public>) -> Result<X509, ErrorStack> {
    let subject = name(common_name)?;
    let issuer = authority.certificate.subject_name().to_owned()?;
    let mut builder = builder(&subject, &issuer, public)?;
    builder.sign(&authority.key, MessageDigest::sha256())?;
    Ok(builder.build())
}

fn name(common: &str) -> Result<X509Name, ErrorStack> {
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_text("CN", common)?;
    Ok(name.build())
}

fn builder(subject: &X509Name, issuer: &X509Name, public: &PKey<Public>) -> Result<X509Builder, ErrorStack> {
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    let mut serial = BigNum::new()?;
    serial.rand(SERIAL_BITS, MsbOption::MAYBE_ZERO, false)?;
    builder.set_serial_number(&*serial.to_asn1_integer()?)?;
    builder.set_subject_name(subject)?;
    builder.set_issuer_name(issuer)?;
    builder.set_pubkey(public)?;
    builder.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    builder.set_not_after(&*Asn1Time::days_from_now(DAYS)?)?;
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use super::super::certs::Store;
    use super::*;
    use std::path::Path;

    fn store(dir: &Path, ca: &X509, pair: &Pair) -> Store {
        std::fs::create_dir_all(dir).expect("made");
        let write = |name: &str, pem: Vec<u8>| std::fs::write(dir.join(name), pem).expect("written");
        write("ca.pem", ca.to_pem().expect("PEM"));
        write("cert.pem", pair.certificate.to_pem().expect("PEM"));
        write("key.pem", pair.key.private_key_to_pem_pkcs8().expect("PEM"));
        Store::read(dir).expect("a store")
    }

    #[test]
    fn a_request_becomes_a_certificate_that_the_authority_vouches_for_and_no_other() {
        let dir = tempfile::tempdir().expect("a directory");
        let authority = authority().expect("an authority");
        let server = server(&authority).expect("a server");
        let arbitrator = store(&dir.path().join("a"), &authority.certificate, &server);
        let key = key().expect("a key");
        let asked = request(&key, "web").expect("a request").to_der().expect("DER");
        let asked = read_request(&asked).expect("a request");
        let granted = grant(&authority, &asked, "web").expect("signed").expect("granted");
        let packed = pack(&Pair { key, certificate: granted }).expect("packed");
        let pair = unpack(&packed).expect("unpacked").expect("both");
        assert_eq!(arbitrator.vouched(&pair.certificate), Some(vec!["web".to_owned()]));
        let node = store(&dir.path().join("n"), &authority.certificate, &pair);
        assert_eq!(node.vouched(&server.certificate), Some(vec![SERVER_NAME.to_owned()]));
        // Somebody else's authority of the same name.
        let other = super::authority().expect("an authority");
        let forged = grant(&other, &asked, "web").expect("signed").expect("granted");
        assert_eq!(arbitrator.vouched(&forged), None);
        // Text before it, as certutil -L writes.
        let pem = [b"Certificate:\n".to_vec(), forged.to_pem().expect("PEM")].concat();
        assert_eq!(certificate(&pem).expect("read"), forged);
        assert!(certificate(b"nonsense").is_err() && unpack(b"nonsense").is_err() && read_request(b"").is_err());
    }
}
