//! `service = dns`: the server answers a question for `request` without error (RFC 1035).
//!
//! A name is asked for A and then AAAA, an address for its PTR. Some record's text must match `receive`; without `receive` any answer
//! record will do. Without a request the root's name servers are asked for. An answer that was too long for a datagram is asked for
//! again over TCP, as every resolver does (RFC 7766).

use super::io::Net;
use super::{Exchange, Failure, Outcome, failure};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The flag of RFC 1035 §4.1.1 that an answer was cut, in the header's third byte.
const TRUNCATED: u8 = 0x02;

pub async fn run(net: &Net, exchange: &Exchange) -> Outcome {
    let (name, kinds) = question(&exchange.request)?;
    let mut seen = Vec::new();
    for kind in kinds {
        let id = next_id();
        let query = query(id, &name, *kind)?;
        let message = match exchange.udp {
            true => datagram(net, exchange.addr, &query).await?,
            false => stream(net, exchange.addr, &query).await?,
        };
        let records = answers(&message, id).map_err(failure)?;
        if let Some(record) = records.iter().find(|r| exchange.receive.is_match(r.as_bytes())) {
            return Ok(record.clone());
        }
        seen.extend(records);
    }
    match seen.is_empty() {
        true => Err(failure("no record in the answer")),
        false => Err(failure(format!("no record matches: {}", seen.join(" ")))),
    }
}

fn next_id() -> u16 {
    static IDS: AtomicU16 = AtomicU16::new(1);
    IDS.fetch_add(1, Ordering::Relaxed) ^ (std::process::id() as u16)
}

fn question(request: &str) -> Result<(Name, &'static [RecordType]), Failure> {
    if let Ok(addr) = request.parse::<IpAddr>() {
        return Ok((Name::from(addr), &[RecordType::PTR]));
    }
    if request.is_empty() {
        return Ok((Name::root(), &[RecordType::NS]));
    }
    // Names of services have letters that host names must not have.
    let name = Name::from_utf8(request).or_else(|_| Name::from_ascii(request));
    let mut name = name.map_err(|e| failure(format!("`{request}` is no domain name: {e}")))?;
    name.set_fqdn(true);
    Ok((name, &[RecordType::A, RecordType::AAAA]))
}

fn query(id: u16, name: &Name, kind: RecordType) -> Result<Vec<u8>, Failure> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name.clone(), kind));
    message.to_vec().map_err(|e| failure(format!("`{name}` cannot be asked for: {e}")))
}

/// Why a question has no records for an answer.
pub enum Cut {
    NoSuchName,
    Failed(String),
}

/// A question to a name server for the director itself; a name without such a record has none.
pub async fn look(server: SocketAddr, name: &str, kind: RecordType) -> Result<Vec<Record>, Cut> {
    let failed = |why: String| Cut::Failed(why);
    let (name, _) = question(name).map_err(|e| failed(e.why))?;
    let id = next_id();
    let query = query(id, &name, kind).map_err(|e| failed(e.why))?;
    let answer = datagram(&Net::default(), server, &query).await.map_err(|e| failed(e.why))?;
    let message = response(&answer, id).map_err(failed)?;
    match message.metadata.response_code {
        ResponseCode::NXDomain => Err(Cut::NoSuchName),
        code => refusal(code).map_or(Ok(message.answers), |why| Err(failed(why))),
    }
}

async fn datagram(net: &Net, addr: SocketAddr, query: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut socket = net.udp(addr).await?;
    let answer = socket.ask(query, |answer| answer.len() > 2 && answer[..2] == query[..2]).await?;
    if answer[2] & TRUNCATED == 0 {
        return Ok(answer);
    }
    let over_tcp = stream(net, addr, query).await;
    over_tcp.map_err(|e| Failure { why: format!("the answer is cut over UDP, and over TCP: {}", e.why), ..e })
}

async fn stream(net: &Net, addr: SocketAddr, query: &[u8]) -> Result<Vec<u8>, Failure> {
    let (mut stream, _) = net.tcp(addr).await?;
    let mut framed = (query.len() as u16).to_be_bytes().to_vec();
    framed.extend(query);
    stream.write_all(&framed).await?;
    let len = stream.read_u16().await?;
    let mut message = vec![0; usize::from(len)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// The texts of the answer section's records.
fn answers(bytes: &[u8], id: u16) -> Result<Vec<String>, String> {
    let message = response(bytes, id)?;
    if let Some(why) = refusal(message.metadata.response_code) {
        return Err(why);
    }
    Ok(message.answers.iter().filter_map(|record| text(&record.data)).collect())
}

fn response(bytes: &[u8], id: u16) -> Result<Message, String> {
    let message = Message::from_vec(bytes).map_err(|e| format!("a malformed message: {e}"))?;
    if message.metadata.id != id || message.metadata.message_type != MessageType::Response {
        return Err("not an answer to the question".to_owned());
    }
    Ok(message)
}

fn refusal(code: ResponseCode) -> Option<String> {
    Some(match code {
        ResponseCode::NoError => return None,
        ResponseCode::NXDomain => "no such name".to_owned(),
        ResponseCode::ServFail => "server failure".to_owned(),
        ResponseCode::Refused => "refused".to_owned(),
        code => format!("response code {code}"),
    })
}

fn text(data: &RData) -> Option<String> {
    let plain = |name: &Name| {
        let text = name.to_ascii();
        if text == "." { text } else { text.trim_end_matches('.').to_owned() }
    };
    match data {
        // It has no text.
        RData::OPT(_) => None,
        RData::CNAME(name) => Some(plain(name)),
        RData::NS(name) => Some(plain(name)),
        RData::PTR(name) => Some(plain(name)),
        data => Some(data.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asked(text: &str) -> Option<String> {
        question(text).ok().map(|(name, _)| name.to_ascii())
    }

    #[test]
    fn questions() {
        assert_eq!(asked("192.0.2.7").unwrap(), "7.2.0.192.in-addr.arpa.");
        assert!(asked("2001:db8::1").unwrap().starts_with("1.0.0.0."));
        assert_eq!(asked("_sip._udp.example.test").unwrap(), "_sip._udp.example.test.");
        assert_eq!(asked(""), Some(".".to_owned()));
        assert!(asked(&"x".repeat(64)).is_none());
        assert!(asked("a..b").is_none());
    }

    #[test]
    fn an_answer_with_compression() {
        let (name, _) = question("www.example.test").ok().unwrap();
        let mut message = query(7, &name, RecordType::A).ok().unwrap();
        message[2] = 0x81;
        message[7] = 1;
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 9]);
        assert_eq!(answers(&message, 7).unwrap(), ["192.0.2.9"]);
        assert!(answers(&message, 8).is_err());
        for len in 0..message.len() {
            let _ = answers(&message[..len], 7);
        }
        // A pointer to itself ends.
        message.truncate(12);
        message[5] = 1;
        message.extend([0xc0, 12]);
        assert!(answers(&message, 7).is_err());
    }

    proptest! {
        #[test]
        fn no_message_panics(mut message in proptest::collection::vec(any::<u8>(), 0..300)) {
            if message.len() > 4 {
                message[..4].copy_from_slice(&[0, 7, 0x80, 0]);
            }
            let _ = answers(&message, 7);
        }
    }
}
