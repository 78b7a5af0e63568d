//! TLS for checks: certificates are not verified unless the configuration asks for it, handshake signatures always are.

use super::io::Tls;
use super::{Failure, failure};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Bytes of a `tlscafile`.
const MAX_CA_BYTES: u64 = 4 << 20;

pub async fn wrap<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    addr: IpAddr,
    tls: &Tls,
) -> Result<TlsStream<S>, Failure> {
    let name = match &tls.name {
        Some(name) => ServerName::try_from(host_only(name).to_owned())
            .map_err(|_| failure(format!("`{name}` is no name that TLS can use")))?,
        None => ServerName::IpAddress(addr.into()),
    };
    let config = match &tls.ca_file {
        Some(path) if tls.verify => Arc::new(build(Some(roots_of(path)?)).map_err(failure)?),
        _ => config(tls.verify)?,
    };
    TlsConnector::from(config).connect(name, stream).await.map_err(|e| failure(format!("TLS: {}", words(&e))))
}

/// What operators meet most, in plain words.
fn words(e: &std::io::Error) -> String {
    let text = e.to_string();
    let plain = [
        ("CaUsedAsEndEntity", "the server's certificate is a CA's own: give it one that the CA has issued"),
        ("UnknownIssuer", "the certificate is of an unknown issuer: name its CA in tlscafile"),
        ("ProtocolVersion", "the server speaks no TLS 1.2 or newer: use checktype = external"),
    ];
    plain.iter().find(|(sign, _)| text.contains(sign)).map_or(text.clone(), |(_, words)| (*words).to_owned())
}

/// The certificates of `tlscafile`, read at each check, so that a new file counts at once.
fn roots_of(path: &Path) -> Result<RootCertStore, Failure> {
    let why = |what: String| failure(format!("tlscafile {}: {what}", path.display()));
    let size = std::fs::metadata(path).map_err(|e| why(super::io::plain(&e)))?.len();
    if size > MAX_CA_BYTES {
        return Err(why(format!("more than {MAX_CA_BYTES} bytes")));
    }
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(path).map_err(|e| why(e.to_string()))?;
    roots.add_parsable_certificates(found.filter_map(Result::ok));
    if roots.is_empty() { Err(why("no certificate in it".to_owned())) } else { Ok(roots) }
}

/// A virtual host without its port.
fn host_only(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.contains(':') => host,
        _ => name,
    }
}

fn config(verify: bool) -> Result<Arc<ClientConfig>, Failure> {
    static CONFIGS: [OnceLock<Result<Arc<ClientConfig>, String>>; 2] = [OnceLock::new(), OnceLock::new()];
    let made = CONFIGS[usize::from(verify)].get_or_init(|| {
        let roots = if verify { Some(system_roots()?) } else { None };
        build(roots).map(Arc::new)
    });
    made.clone().map_err(failure)
}

fn system_roots() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let none = "tlsverify: this machine has no root certificates; name a file in tlscafile";
    if roots.is_empty() { Err(none.to_owned()) } else { Ok(roots) }
}

/// Without roots any certificate is taken.
fn build(roots: Option<RootCertStore>) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS: {e}"))?;
    Ok(match roots {
        Some(roots) => builder.with_root_certificates(roots).with_no_client_auth(),
        None => {
            let any = Arc::new(AnyCertificate(provider));
            builder.dangerous().with_custom_certificate_verifier(any).with_no_client_auth()
        }
    })
}

/// Takes any certificate whose key signed the handshake.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
