//! `service = pgsql`: login (trust, password, md5, SCRAM-SHA-256), then the request gives at least one row. Protocol version 3.
//!
//! Messages are bounded, SCRAM's work as well, and of the rows only the header of the first is read.

use super::io::{Net, Stream, Tls};
use super::{Failure, Outcome, failure};
use crate::config::Virtual;
use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{DATA_ROW_TAG, ErrorResponseBody, Header, Message};
use postgres_protocol::message::frontend;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MAX_MESSAGE_BYTES: usize = 64 << 10;
/// Messages of one answer: parameters, notices, descriptions.
const MAX_MESSAGES: usize = 512;
/// Rounds of hashing that a server may demand (PostgreSQL's default is 4,096); about 50 ms.
const MAX_SCRAM_ROUNDS: u32 = 100_000;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pgsql {
    pub addr: SocketAddr,
    login: String,
    passwd: String,
    database: String,
    request: String,
    tls: Option<Tls>,
}

impl Pgsql {
    pub fn of(v: &Virtual, addr: SocketAddr, request: String) -> Pgsql {
        let (login, passwd, database) = (v.login.clone(), v.passwd.clone(), v.database.clone());
        Pgsql { addr, login, passwd, database, request, tls: v.sql_tls.then(|| v.into()) }
    }

    pub async fn run(&self, net: &Net) -> Outcome {
        let stream = net.tcp(self.addr).await?.0;
        let stream = match &self.tls {
            Some(tls) => self.encrypt(net, stream, tls).await?,
            None => stream,
        };
        let mut messages = Messages { stream };
        let database = [("database", self.database.as_str())];
        let parameters =
            [("user", self.login.as_str()), ("client_encoding", "UTF8"), ("application_name", "ldirectord")];
        let named = database.into_iter().filter(|(_, name)| !name.is_empty());
        messages.send(|out| frontend::startup_message(parameters.into_iter().chain(named), out)).await?;
        self.log_in(&mut messages).await?;
        messages.send(|out| frontend::query(&self.request, out)).await?;
        for _ in 0..MAX_MESSAGES {
            match messages.next().await? {
                Incoming::Row => {
                    let terminate = |out: &mut BytesMut| {
                        frontend::terminate(out);
                        Ok(())
                    };
                    let _ = messages.send(terminate).await;
                    return Ok("a row".to_owned());
                }
                Incoming::Other(Message::ErrorResponse(body)) => return Err(refusal(&body)),
                Incoming::Other(Message::ReadyForQuery(_)) => return Err(failure("no row")),
                Incoming::Other(Message::CopyInResponse(_) | Message::CopyOutResponse(_)) => {
                    return Err(failure("the request gives no rows"));
                }
                Incoming::Other(_) => {}
            }
        }
        Err(failure(format!("no row within {MAX_MESSAGES} messages")))
    }

    /// The server answers the wish for TLS with one byte, behind which nothing may come before the handshake.
    async fn encrypt(&self, net: &Net, mut stream: Box<dyn Stream>, tls: &Tls) -> Result<Box<dyn Stream>, Failure> {
        let mut wish = BytesMut::new();
        frontend::ssl_request(&mut wish);
        stream.write_all(&wish).await?;
        match stream.read_u8().await? {
            b'S' => net.secure(stream, self.addr.ip(), tls).await,
            b'N' => Err(failure("the server offers no TLS")),
            _ => Err(no_pgsql()),
        }
    }

    /// Until the server is ready for a query.
    async fn log_in(&self, messages: &mut Messages) -> Result<(), Failure> {
        let mut scram = None;
        for _ in 0..MAX_MESSAGES {
            let Incoming::Other(message) = messages.next().await? else { return Err(no_pgsql()) };
            let reply = match message {
                Message::ReadyForQuery(_) => return Ok(()),
                Message::ErrorResponse(body) => return Err(refusal(&body)),
                Message::AuthenticationCleartextPassword => self.passwd.clone().into_bytes(),
                Message::AuthenticationMd5Password(body) => {
                    md5_hash(self.login.as_bytes(), self.passwd.as_bytes(), body.salt()).into_bytes()
                }
                Message::AuthenticationSasl(_) => {
                    let begun = ScramSha256::new(self.passwd.as_bytes(), ChannelBinding::unsupported());
                    messages.send(|out| frontend::sasl_initial_response(SCRAM_SHA_256, begun.message(), out)).await?;
                    scram = Some((begun, Step::First));
                    continue;
                }
                Message::AuthenticationSaslContinue(body) => {
                    let Some((exchange, step @ Step::First)) = &mut scram else { return Err(no_pgsql()) };
                    rounds(body.data())?;
                    exchange.update(body.data()).map_err(|e| failure(format!("SCRAM: {e}")))?;
                    *step = Step::Final;
                    messages.send(|out| frontend::sasl_response(exchange.message(), out)).await?;
                    continue;
                }
                Message::AuthenticationSaslFinal(body) => {
                    let Some((mut exchange, Step::Final)) = scram.take() else { return Err(no_pgsql()) };
                    exchange.finish(body.data()).map_err(|e| failure(format!("SCRAM: {e}")))?;
                    continue;
                }
                Message::AuthenticationOk
                | Message::BackendKeyData(_)
                | Message::ParameterStatus(_)
                | Message::NoticeResponse(_) => continue,
                _ => return Err(failure("a way of login that is not supported")),
            };
            messages.send(|out| frontend::password_message(&reply, out)).await?;
        }
        Err(failure(format!("not ready after {MAX_MESSAGES} messages")))
    }
}

/// Which of the server's SCRAM messages is due; the library would panic on one out of turn.
#[derive(PartialEq, Eq)]
enum Step {
    First,
    Final,
}

/// The library hashes as often as the server says: refuses what would hold the others up.
fn rounds(first: &[u8]) -> Result<(), Failure> {
    let text = String::from_utf8_lossy(first);
    let rounds = text.split(',').find_map(|part| part.strip_prefix("i=")).and_then(|n| n.parse::<u32>().ok());
    match rounds {
        Some(n) if n <= MAX_SCRAM_ROUNDS => Ok(()),
        _ => Err(failure(format!("SCRAM with more than {MAX_SCRAM_ROUNDS} rounds"))),
    }
}

fn no_pgsql() -> Failure {
    failure("no PostgreSQL answer")
}

fn refusal(body: &ErrorResponseBody) -> Failure {
    let mut fields = body.fields();
    while let Ok(Some(field)) = fields.next() {
        if field.type_() == b'M' {
            return failure(String::from_utf8_lossy(field.value_bytes()));
        }
    }
    no_pgsql()
}

enum Incoming {
    /// Its content is not read.
    Row,
    Other(Message),
}

struct Messages {
    stream: Box<dyn Stream>,
}

impl Messages {
    async fn send(&mut self, fill: impl FnOnce(&mut BytesMut) -> std::io::Result<()>) -> Result<(), Failure> {
        let mut out = BytesMut::new();
        fill(&mut out).map_err(|e| failure(format!("request: {e}")))?;
        self.stream.write_all(&out).await?;
        Ok(self.stream.flush().await?)
    }

    async fn next(&mut self) -> Result<Incoming, Failure> {
        let mut buffer = BytesMut::zeroed(5);
        self.fill(&mut buffer).await?;
        let header = Header::parse(&buffer).ok().flatten().ok_or_else(no_pgsql)?;
        if header.tag() == DATA_ROW_TAG {
            return Ok(Incoming::Row);
        }
        // The length counts itself.
        let len = usize::try_from(header.len()).unwrap_or(usize::MAX).saturating_sub(4);
        if len > MAX_MESSAGE_BYTES {
            return Err(failure(format!("a message of {len} bytes, at most {MAX_MESSAGE_BYTES} are read")));
        }
        buffer.resize(5 + len, 0);
        self.fill(&mut buffer[5..]).await?;
        let message = Message::parse(&mut buffer).ok().flatten();
        message.map(Incoming::Other).ok_or_else(no_pgsql)
    }

    async fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Failure> {
        match self.stream.read_exact(buffer).await {
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Err(failure("closed without a whole answer")),
            other => Ok(other.map(drop)?),
        }
    }
}
