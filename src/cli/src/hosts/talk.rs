//! One request to one host: TLS with this host's key, the other's key looked at before anything is said, HTTP/1.1.

use super::Target;
use crate::edit::error;
use crate::source::Failure;
use http_body_util::{BodyExt, Full, Limited};
use hyper::StatusCode;
use hyper::body::Bytes;
use openssl::ssl::{Ssl, SslContext, SslFiletype, SslMethod, SslVerifyMode, SslVersion};
use std::pin::Pin;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;
use wire::pcsd::{Destination, MAX_ANSWER_BYTES, Places, Refusal, file, pin};

/// Of each address.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// Why a host gave no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TalkError {
    #[error("{0}")]
    Unreachable(String),
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// Its key is another one than is known.
    #[error("its key is {found}, expected {expected}")]
    Stranger { expected: String, found: String },
    /// It is this host.
    #[error("it is this host")]
    OneSelf,
    #[error("the token was made by another host: nothing was sent")]
    OthersToken,
    #[error("{0}")]
    Unauthorised(String),
    #[error("{message}")]
    Refused { status: u16, message: String },
    #[error("unexpected answer: {0}")]
    Protocol(String),
}

impl TalkError {
    /// In pcs's words where it has them.
    pub fn of(&self, host: &str) -> String {
        match self {
            TalkError::Unreachable(why) => {
                format!("Unable to connect to {host} ({why}): does 'bascule pcsd' run there?")
            }
            TalkError::Timeout(_) => format!("{host}: Connection timeout ({self})"),
            TalkError::Stranger { expected, found } => format!(
                "{host}: its key has changed: known here is {}…, it shows {}…. Either the host was set up anew (then: pcs host \
                 deauth {host}, and pcs host auth {host}), or somebody is in between. Nothing was sent to it",
                short(expected),
                short(found)
            ),
            TalkError::Unauthorised(why) => {
                format!("Unable to authenticate to {host} ({why}), try running 'pcs host auth {host}'")
            }
            _ => format!("{host}: {self}"),
        }
    }
}

fn short(pin: &str) -> &str {
    pin.get(..16).unwrap_or(pin)
}

/// This host, as others see it.
#[derive(Clone)]
pub struct Talker {
    context: SslContext,
    pub pin: String,
}

impl Talker {
    /// With the key that this host's pcsd has made.
    pub fn of_this_host(places: &Places) -> Result<Talker, Failure> {
        let (key, certificate) = (places.pcsd.join(file::KEY), places.pcsd.join(file::CERTIFICATE));
        std::fs::File::open(&key).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => error(
                "this host has no key yet: pcsd makes it (systemctl start bascule-pcsd, or: bascule pcsd), and must run on every host",
            ),
            std::io::ErrorKind::PermissionDenied => error("only root can talk to other hosts"),
            _ => error(format!("{}: {e}", key.display())),
        })?;
        let made = || -> Result<Talker, openssl::error::ErrorStack> {
            let mut context = SslContext::builder(SslMethod::tls_client())?;
            context.set_min_proto_version(Some(SslVersion::TLS1_2))?;
            context.set_certificate_file(&certificate, SslFiletype::PEM)?;
            context.set_private_key_file(&key, SslFiletype::PEM)?;
            context.check_private_key()?;
            // Judged by its key, right after the handshake.
            context.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
            let context = context.build();
            let own = context
                .certificate()
                .map(|c| c.public_key())
                .transpose()?
                .map(|k| k.public_key_to_der())
                .transpose()?;
            Ok(Talker { pin: pin(&own.unwrap_or_default()), context })
        };
        made().map_err(|e| error(format!("{}: {e}", places.pcsd.display())))
    }

    pub async fn ask(
        &self,
        target: &Target,
        path: &str,
        body: Vec<u8>,
        within: Duration,
    ) -> Result<Vec<u8>, TalkError> {
        let check = |found: &str| match target.pin == found {
            true => Ok(()),
            false => Err(TalkError::Stranger { expected: target.pin.clone(), found: found.to_owned() }),
        };
        self.exchange(&target.destinations, check, path, body, within).await.map(|(_, answer)| answer)
    }

    /// The pin of whoever answers, and what; nothing is sent before `check` has seen the pin.
    pub async fn exchange(
        &self,
        destinations: &[Destination],
        check: impl Fn(&str) -> Result<(), TalkError>,
        path: &str,
        body: Vec<u8>,
        within: Duration,
    ) -> Result<(String, Vec<u8>), TalkError> {
        let (tls, host) = self.connect(destinations).await?;
        let certificate = tls.ssl().peer_certificate();
        let der = certificate.and_then(|c| c.public_key().ok()).and_then(|k| k.public_key_to_der().ok());
        let found = pin(&der.ok_or_else(|| TalkError::Protocol("no certificate".to_owned()))?);
        check(&found)?;
        let sent = send(tls, &host, path, body);
        let answer = tokio::time::timeout(within, sent).await.unwrap_or(Err(TalkError::Timeout(within)))?;
        Ok((found, answer))
    }

    /// To the first address that takes it.
    async fn connect(&self, destinations: &[Destination]) -> Result<(SslStream<TcpStream>, String), TalkError> {
        let mut why = "no address is known".to_owned();
        for destination in destinations {
            let connect = TcpStream::connect((destination.addr.as_str(), destination.port));
            let tcp = match tokio::time::timeout(CONNECT_WITHIN, connect).await {
                Ok(Ok(tcp)) => tcp,
                Ok(Err(e)) => {
                    why = format!("{destination}: {e}");
                    continue;
                }
                Err(_) => {
                    why = format!("{destination}: no answer within {} s", CONNECT_WITHIN.as_secs());
                    continue;
                }
            };
            let _ = tcp.set_nodelay(true);
            let tls = Ssl::new(&self.context).and_then(|ssl| SslStream::new(ssl, tcp));
            let mut tls = tls.map_err(|e| TalkError::Protocol(e.to_string()))?;
            match tokio::time::timeout(HANDSHAKE_WITHIN, Pin::new(&mut tls).connect()).await {
                Ok(Ok(())) => return Ok((tls, destination.to_string())),
                Ok(Err(e)) => why = format!("{destination}: no TLS: {e}"),
                Err(_) => why = format!("{destination}: no TLS within {} s", HANDSHAKE_WITHIN.as_secs()),
            }
        }
        Err(TalkError::Unreachable(why))
    }
}

async fn send(tls: SslStream<TcpStream>, host: &str, path: &str, body: Vec<u8>) -> Result<Vec<u8>, TalkError> {
    let lost = |e: &dyn std::fmt::Display| TalkError::Protocol(e.to_string());
    let io = hyper_util::rt::TokioIo::new(tls);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(|e| lost(&e))?;
    let driver = tokio::spawn(connection);
    let request = hyper::Request::builder().method("POST").uri(path).header("host", host);
    let request = request.header("content-type", "application/json").body(Full::new(Bytes::from(body)));
    let response = sender.send_request(request.map_err(|e| lost(&e))?).await.map_err(|e| lost(&e))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
    let body = body.map_err(|e| TalkError::Protocol(e.to_string()))?.to_bytes().to_vec();
    driver.abort();
    if status.is_success() {
        return Ok(body);
    }
    let message = serde_json::from_slice::<Refusal>(&body).map_or_else(|_| status.to_string(), |r| r.message);
    Err(match status {
        StatusCode::UNAUTHORIZED => TalkError::Unauthorised(message),
        status => TalkError::Refused { status: status.as_u16(), message },
    })
}
