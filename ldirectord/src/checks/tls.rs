//! TLS for checks, by OpenSSL, which is what the servers' own clients and the original speak.
//!
//! Without verification everything is taken that the library can do: TLS 1.0, RSA key exchange, CBC, short keys, any curve, servers
//! without secure renegotiation. Nothing is protected by such a check, and a server that its clients reach must not be called dead.
//! With verification (`tlsverify`, `tlscafile`) the client is strict and modern. Each refusal names its cure.

use super::io::Tls;
use super::{Failure, failure};
use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslMode, SslOptions, SslVerifyMode, SslVersion};
use openssl::x509::verify::X509CheckFlags;
use openssl::x509::{X509, X509VerifyResult};
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::OnceLock;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_openssl::SslStream;

/// Bytes of a `tlscafile`.
const MAX_CA_BYTES: u64 = 4 << 20;

/// All but encryption without keys first; the library orders them by strength.
const ANY_CIPHER: &str = "ALL:eNULL:@SECLEVEL=0";

/// Of TLS 1.3.
const ANY_SUITE: &str = "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_128_CCM_SHA256:\
                         TLS_AES_128_CCM_8_SHA256";

const STRICT_CIPHERS: &str = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:@SECLEVEL=2";

/// In the order of preference; what the library does not have is left out.
const ANY_GROUP: &[&str] = &[
    "X25519",
    "P-256",
    "X448",
    "P-384",
    "P-521",
    "ffdhe2048",
    "ffdhe3072",
    "ffdhe4096",
    "ffdhe6144",
    "ffdhe8192",
    "brainpoolP256r1",
    "brainpoolP384r1",
    "brainpoolP512r1",
    "secp256k1",
    "secp224r1",
    "prime192v1",
    "sect571r1",
    "sect409r1",
    "sect283r1",
    "sect233r1",
];

pub async fn wrap<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    addr: IpAddr,
    tls: &Tls,
) -> Result<SslStream<S>, Failure> {
    let ssl = session(addr, tls)?;
    let mut stream = SslStream::new(ssl, stream).map_err(|e| library(&e))?;
    match Pin::new(&mut stream).connect().await {
        Ok(()) if tls.http2 && stream.ssl().selected_alpn_protocol() != Some(b"h2") => {
            Err(failure("TLS: the server does not offer HTTP/2 (ALPN h2): use service = https"))
        }
        Ok(()) => Ok(stream),
        Err(e) => Err(failure(format!("TLS: {}", refusal(&e, stream.ssl().verify_result(), tls.verify)))),
    }
}

/// An error of an established stream, if it is one of TLS.
pub fn later(e: &std::io::Error) -> Option<String> {
    let inner = e.get_ref()?.downcast_ref::<openssl::ssl::Error>()?;
    Some(format!("TLS: {}", refusal(inner, X509VerifyResult::OK, false)))
}

fn session(addr: IpAddr, tls: &Tls) -> Result<Ssl, Failure> {
    let context = match &tls.ca_file {
        Some(path) if tls.verify => strict(Some(path))?,
        _ => shared(tls.verify)?,
    };
    let mut ssl = Ssl::new(&context).map_err(|e| library(&e))?;
    let name = tls.name.as_deref().map(host_only).map(|n| n.trim_matches(['[', ']']));
    let name = name.filter(|n| n.parse::<IpAddr>().is_err());
    if let Some(name) = name {
        let usable = !name.is_empty() && name.len() <= 255 && name.bytes().all(|b| b.is_ascii_graphic());
        if !usable || ssl.set_hostname(name).is_err() {
            return Err(failure(format!("`{name}` is no name that TLS can use: correct virtualhost")));
        }
    }
    if tls.http2 {
        ssl.set_alpn_protos(b"\x02h2").map_err(|e| library(&e))?;
    }
    if tls.verify {
        let param = ssl.param_mut();
        param.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
        let set = match (name, tls.name.as_deref().and_then(|n| host_only(n).trim_matches(['[', ']']).parse().ok())) {
            (Some(name), _) => param.set_host(name),
            (None, Some(named)) => param.set_ip(named),
            (None, None) => param.set_ip(addr),
        };
        set.map_err(|e| library(&e))?;
    }
    Ok(ssl)
}

fn library(e: &ErrorStack) -> Failure {
    failure(format!("TLS library: {e}"))
}

/// A virtual host without its port.
fn host_only(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((host, port))
            if port.bytes().all(|b| b.is_ascii_digit()) && (!host.contains(':') || host.ends_with(']')) =>
        {
            host
        }
        _ => name,
    }
}

fn shared(verify: bool) -> Result<SslContext, Failure> {
    static CONTEXTS: [OnceLock<SslContext>; 2] = [OnceLock::new(), OnceLock::new()];
    if let Some(made) = CONTEXTS[usize::from(verify)].get() {
        return Ok(made.clone());
    }
    let made = if verify { strict(None)? } else { tolerant().map_err(|e| library(&e))? };
    Ok(CONTEXTS[usize::from(verify)].get_or_init(|| made).clone())
}

fn tolerant() -> Result<SslContext, ErrorStack> {
    let mut builder = SslContext::builder(SslMethod::tls_client())?;
    builder.set_verify(SslVerifyMode::NONE);
    builder.set_security_level(0);
    builder.set_min_proto_version(None)?;
    builder.set_max_proto_version(None)?;
    builder.set_cipher_list(ANY_CIPHER)?;
    builder.set_ciphersuites(ANY_SUITE)?;
    let known: Vec<&str> = ANY_GROUP.iter().copied().filter(|g| has_group(g)).collect();
    builder.set_groups_list(&known.join(":"))?;
    // `SSL_OP_LEGACY_SERVER_CONNECT`: some old servers know no secure renegotiation (RFC 5746).
    let old = SslOptions::from_bits_retain(1 << 2);
    builder.clear_options(SslOptions::NO_TLSV1 | SslOptions::NO_TLSV1_1);
    builder.set_options(SslOptions::ALL | SslOptions::IGNORE_UNEXPECTED_EOF | old);
    builder.set_mode(SslMode::RELEASE_BUFFERS);
    Ok(builder.build())
}

fn has_group(name: &str) -> bool {
    SslContext::builder(SslMethod::tls_client()).is_ok_and(|mut scratch| scratch.set_groups_list(name).is_ok())
}

/// Certificates are verified against those of the file, read at each check so that a new file counts at once, or the system's.
fn strict(ca_file: Option<&Path>) -> Result<SslContext, Failure> {
    let roots = ca_file.map(roots_of).transpose()?;
    let build = || {
        let mut builder = SslContext::builder(SslMethod::tls_client())?;
        builder.set_verify(SslVerifyMode::PEER);
        builder.set_security_level(2);
        builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
        builder.set_cipher_list(STRICT_CIPHERS)?;
        builder.set_options(SslOptions::IGNORE_UNEXPECTED_EOF);
        builder.set_mode(SslMode::RELEASE_BUFFERS);
        match roots {
            Some(roots) => {
                for root in roots {
                    builder.cert_store_mut().add_cert(root)?;
                }
            }
            None => builder.set_default_verify_paths()?,
        }
        Ok(builder.build())
    };
    build().map_err(|e: ErrorStack| library(&e))
}

fn roots_of(path: &Path) -> Result<Vec<X509>, Failure> {
    let why = |what: String| failure(format!("tlscafile {}: {what}", path.display()));
    let file = kernel::files::open_regular(path).map_err(|e| why(super::io::plain(&e)))?;
    let mut pem = Vec::new();
    file.take(MAX_CA_BYTES + 1).read_to_end(&mut pem).map_err(|e| why(super::io::plain(&e)))?;
    if pem.len() as u64 > MAX_CA_BYTES {
        return Err(why(format!("more than {MAX_CA_BYTES} bytes")));
    }
    let roots = X509::stack_from_pem(&pem).map_err(|e| why(reasons(&e)))?;
    if roots.is_empty() { Err(why("no certificate in it".to_owned())) } else { Ok(roots) }
}

/// What operators meet, in plain words, with what to do.
fn refusal(e: &openssl::ssl::Error, verified: X509VerifyResult, strict: bool) -> String {
    if strict && verified != X509VerifyResult::OK {
        return format!("{} ({verified})", unverified(verified));
    }
    if let Some(io) = e.io_error() {
        return format!("the server broke off: {}", super::io::plain(io));
    }
    let Some(stack) = e.ssl_error() else {
        return "the server closed the connection in the handshake: does it speak TLS on this port?".to_owned();
    };
    let reasons = reasons(stack);
    let cures = if strict { &[STRICT_CURES, CURES].concat() } else { CURES };
    let cure = cures.iter().find(|(sign, _)| reasons.contains(sign)).map_or(
        if strict { "tlsverify = no takes all that OpenSSL can" } else { "checktype = connect asks for no TLS" },
        |(_, cure)| cure,
    );
    format!("{reasons}: {cure}")
}

fn reasons(stack: &ErrorStack) -> String {
    let all: Vec<&str> = stack.errors().iter().filter_map(|e| e.reason()).collect();
    if all.is_empty() { stack.to_string() } else { all.join(", ") }
}

/// Sign in the library's words, and the cure.
const CURES: &[(&str, &str)] = &[
    (
        "wrong version number",
        "the server does not speak TLS on this port, or nothing newer than SSL 3: correct the port or service",
    ),
    ("packet length too long", "the server does not speak TLS on this port: correct the port or service"),
    ("http request", "the server does not speak TLS on this port: correct the port or service"),
    ("unrecognized name", "the server does not know the name it is asked for: set virtualhost to one that it serves"),
    ("certificate required", "the server wants a client's certificate: use checktype = connect, or external"),
    ("bad certificate", "the server wants a client's certificate: use checktype = connect, or external"),
    ("unsupported protocol", "the server speaks nothing newer than SSL 3: use checktype = connect, or external"),
    ("protocol version", "client and server have no version of TLS in common: use checktype = connect, or external"),
    (
        "handshake failure",
        "the server takes nothing that is offered, wants another name (virtualhost) or a client's certificate",
    ),
    ("internal error", "the server failed: see its log; or it wants another name (virtualhost)"),
];

const STRICT_CURES: &[(&str, &str)] = &[
    (
        "unsupported protocol",
        "the server speaks no TLS 1.2 or newer, which tlsverify = yes wants: update it, or set tlsverify = no",
    ),
    (
        "protocol version",
        "the server speaks no TLS 1.2 or newer, which tlsverify = yes wants: update it, or set tlsverify = no",
    ),
    (
        "handshake failure",
        "the server takes no modern cipher, which tlsverify = yes wants: update it, or set tlsverify = no",
    ),
    (
        "dh key too small",
        "the server's Diffie-Hellman group is weaker than tlsverify = yes wants: renew it, or set tlsverify = no",
    ),
    ("key too small", "the server's key is weaker than tlsverify = yes wants: renew it, or set tlsverify = no"),
    ("md too weak", "the server's certificate is signed by an old digest: renew it, or set tlsverify = no"),
    ("wrong signature type", "the server signs by an old digest: update it, or set tlsverify = no"),
];

/// Codes of `X509_verify_cert` (`x509_vfy.h`).
fn unverified(result: X509VerifyResult) -> &'static str {
    match result.as_raw() {
        2 | 18 | 19 | 20 | 21 | 27 => "the certificate is of an unknown issuer: name its CA in tlscafile",
        9 => "the certificate is not valid yet: correct this machine's clock or the certificate",
        10 => "the certificate has expired: renew it",
        62 => "the certificate is not valid for name of virtualhost: set virtualhost to a name that is in it",
        64 => "the certificate is not valid for name or address asked for: set virtualhost to a name that is in it",
        66..=68 => "a key or digest in the chain is weaker than tlsverify = yes wants: renew it, or set tlsverify = no",
        23 => "the certificate has been revoked: renew it",
        24 | 79 => "a certificate that issued another is no CA's: have the server's issued by a CA",
        _ => "the certificate does not verify: correct it, or set tlsverify = no",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        assert_eq!(host_only("www.example.test:8443"), "www.example.test");
        assert_eq!(host_only("[2001:db8::1]:443"), "[2001:db8::1]");
        assert_eq!(host_only("2001:db8::1"), "2001:db8::1");
    }
}
