//! `service = ldap`, `ldaps`: a bind succeeds and a base search for `request` finds exactly one entry, whose name matches `receive`
//! (RFC 4511). The bind is simple with login and passwd, anonymous without. Messages are bounded before they are parsed.

use super::io::{Net, Stream, Tls};
use super::{Failure, Outcome, failure};
use crate::config::{ServiceProtocol, Virtual};
use crate::pattern::Pattern;
use bytes::BytesMut;
use ldap3_proto::LdapCodec;
use ldap3_proto::proto::{
    LdapBindCred, LdapBindRequest, LdapDerefAliases, LdapFilter, LdapMsg, LdapOp, LdapResult, LdapResultCode,
    LdapSearchRequest, LdapSearchScope,
};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::codec::{Decoder, Encoder};

const MAX_MESSAGE_BYTES: usize = 64 << 10;
/// Messages that may come before the one that is awaited.
const MAX_MESSAGES: usize = 64;
const BIND: i32 = 1;
const SEARCH: i32 = 2;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ldap {
    addr: SocketAddr,
    tls: Option<Tls>,
    login: String,
    passwd: String,
    /// Name of the entry that must be there; empty is the root of the directory.
    base: String,
    receive: Pattern,
}

impl Ldap {
    pub fn of(v: &Virtual, addr: SocketAddr, base: String, receive: Pattern) -> Ldap {
        let tls = (v.service == ServiceProtocol::Ldaps).then(|| v.into());
        let simple = !v.login.is_empty() && !v.passwd.is_empty();
        let or_none = |text: &String| if simple { text.clone() } else { String::new() };
        Ldap { addr, tls, login: or_none(&v.login), passwd: or_none(&v.passwd), base, receive }
    }

    pub fn label(&self) -> String {
        let name = if self.tls.is_some() { "ldaps" } else { "ldap" };
        format!("{name} {} {}", self.addr, self.base)
    }

    pub async fn run(&self, net: &Net) -> Outcome {
        let mut messages = Messages::new(net.open(self.addr, self.tls.as_ref()).await?);
        let bind =
            LdapBindRequest { version: 3, dn: self.login.clone(), cred: LdapBindCred::Simple(self.passwd.clone()) };
        messages.send(BIND, LdapOp::BindRequest(bind)).await?;
        match messages.receive(BIND).await? {
            LdapOp::BindResponse(answer) => success("bind", &answer.res)?,
            _ => return Err(failure("the bind got an answer of another kind")),
        }
        let search = LdapSearchRequest {
            base: self.base.clone(),
            scope: LdapSearchScope::Base,
            aliases: LdapDerefAliases::Never,
            sizelimit: 2,
            timelimit: 0,
            typesonly: true,
            filter: LdapFilter::Present("objectClass".to_owned()),
            // RFC 4511 §4.5.1.8: no attributes, the name is enough.
            attrs: vec!["1.1".to_owned()],
        };
        messages.send(SEARCH, LdapOp::SearchRequest(search)).await?;
        let names = self.entries(&mut messages).await?;
        let _ = messages.send(SEARCH + 1, LdapOp::UnbindRequest).await;
        self.judge(&names)
    }

    async fn entries(&self, messages: &mut Messages) -> Result<Vec<String>, Failure> {
        let mut names = Vec::new();
        for _ in 0..MAX_MESSAGES {
            match messages.receive(SEARCH).await? {
                LdapOp::SearchResultEntry(entry) => names.push(entry.dn),
                LdapOp::SearchResultDone(result) => return success("search", &result).map(|()| names),
                LdapOp::SearchResultReference(_) | LdapOp::IntermediateResponse(_) => {}
                _ => return Err(failure("the search got an answer of another kind")),
            }
        }
        Err(failure(format!("more than {MAX_MESSAGES} answers to the search")))
    }

    fn judge(&self, names: &[String]) -> Outcome {
        match names {
            [name] if self.receive.is_match(name.as_bytes()) => Ok(format!("entry {name}")),
            [name] => Err(failure(format!("the entry's name does not match: {name}"))),
            [] => Err(failure(format!("no entry `{}`", self.base))),
            _ => Err(failure(format!("{} entries instead of one", names.len()))),
        }
    }
}

fn success(what: &str, result: &LdapResult) -> Result<(), Failure> {
    match result.code {
        LdapResultCode::Success => Ok(()),
        ref code => Err(failure(format!("{what}: {code:?} {}", result.message))),
    }
}

/// A stream of LDAP messages.
struct Messages {
    stream: Box<dyn Stream>,
    buffer: BytesMut,
    codec: LdapCodec,
}

impl Messages {
    fn new(stream: Box<dyn Stream>) -> Messages {
        Messages { stream, buffer: BytesMut::new(), codec: LdapCodec::new(Some(MAX_MESSAGE_BYTES), None) }
    }

    async fn send(&mut self, id: i32, op: LdapOp) -> Result<(), Failure> {
        let mut bytes = BytesMut::new();
        self.codec.encode(LdapMsg::new(id, op), &mut bytes)?;
        self.stream.write_all(&bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// The next answer to the request of that number; others are passed over.
    async fn receive(&mut self, id: i32) -> Result<LdapOp, Failure> {
        for _ in 0..MAX_MESSAGES {
            let message = self.message().await?;
            match message.op {
                op if message.msgid == id => return Ok(op),
                LdapOp::ExtendedResponse(notice) if message.msgid == 0 => {
                    return Err(failure(format!("disconnected: {:?} {}", notice.res.code, notice.res.message)));
                }
                _ => {}
            }
        }
        Err(failure(format!("{MAX_MESSAGES} messages that answer no request")))
    }

    async fn message(&mut self) -> Result<LdapMsg, Failure> {
        loop {
            if let Some(message) = self.decode()? {
                return Ok(message);
            }
            let mut chunk = [0; 2048];
            match self.stream.read(&mut chunk).await? {
                0 => return Err(failure("closed without an answer")),
                n => self.buffer.extend_from_slice(&chunk[..n]),
            }
        }
    }

    /// The library logs and prints what it cannot read; here the verdict says it.
    fn decode(&mut self) -> Result<Option<LdapMsg>, Failure> {
        match operation(&self.buffer) {
            Operation::Known => {}
            Operation::Incomplete => return Ok(None),
            Operation::Strange => return Err(failure("no LDAP answer")),
        }
        let silent = tracing::subscriber::NoSubscriber::default();
        let (codec, buffer) = (&mut self.codec, &mut self.buffer);
        let decoded = tracing::subscriber::with_default(silent, || codec.decode(buffer));
        decoded.map_err(|e| failure(format!("no LDAP answer: {e}")))
    }
}

enum Operation {
    Known,
    Incomplete,
    Strange,
}

/// Looks whether the first message is an answer that a check may get: response to a bind, a search's entry, reference or end, an
/// extended or intermediate response (RFC 4511 §4.2 to §4.13).
fn operation(buffer: &[u8]) -> Operation {
    const ANSWERS: [u8; 6] = [0x61, 0x64, 0x65, 0x73, 0x78, 0x79];
    let found = || {
        let length = *buffer.get(1)?;
        // Either the length itself or the number of its bytes.
        let header = if length < 0x80 { 2 } else { 2 + usize::from(length & 0x7f) };
        let number = usize::from(*buffer.get(header + 1)?);
        Some((buffer[header], number, *buffer.get(header + 2 + number)?))
    };
    match (buffer.first(), found()) {
        (None | Some(0x30), None) => Operation::Incomplete,
        (Some(0x30), Some((0x02, 1..=4, kind))) if ANSWERS.contains(&kind) => Operation::Known,
        _ => Operation::Strange,
    }
}
