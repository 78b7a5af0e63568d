//! `service = dns`: the server answers a question for `request` without error (RFC 1035).
//!
//! A name is asked for A and then AAAA, an address for its PTR. Some record's text must match `receive`; without `receive` any answer
//! record will do. Without a request the root's name servers are asked for.

use super::io::Net;
use super::{Exchange, Failure, Outcome, failure};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU16, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const A: u16 = 1;
const NS: u16 = 2;
const CNAME: u16 = 5;
const PTR: u16 = 12;
const AAAA: u16 = 28;
const CLASS_IN: u16 = 1;
/// Labels of one name that are followed, pointers included.
const MAX_LABELS: usize = 128;

pub async fn run(net: &Net, exchange: &Exchange) -> Outcome {
    let (name, kinds) = question(&exchange.request);
    let mut seen = Vec::new();
    for kind in kinds {
        static IDS: AtomicU16 = AtomicU16::new(1);
        let id = IDS.fetch_add(1, Ordering::Relaxed) ^ (std::process::id() as u16);
        let query = query(id, &name, *kind).ok_or_else(|| failure(format!("`{name}` is no domain name")))?;
        let message = if exchange.udp {
            datagram(net, exchange, &query, id).await?
        } else {
            stream(net, exchange, &query).await?
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

fn question(request: &str) -> (String, &'static [u16]) {
    match request.parse::<IpAddr>() {
        Ok(IpAddr::V4(a)) => {
            let [a, b, c, d] = a.octets();
            (format!("{d}.{c}.{b}.{a}.in-addr.arpa"), &[PTR])
        }
        Ok(IpAddr::V6(a)) => {
            let nibbles = a.octets().into_iter().rev().flat_map(|o| [o & 0xf, o >> 4]).map(|n| format!("{n:x}."));
            (format!("{}ip6.arpa", nibbles.collect::<String>()), &[PTR])
        }
        Err(_) if request.is_empty() => (String::new(), &[NS]),
        Err(_) => (request.to_owned(), &[A, AAAA]),
    }
}

fn query(id: u16, name: &str, kind: u16) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    // Recursion desired, one question.
    for word in [id, 0x0100, 1, 0, 0, 0] {
        out.extend(word.to_be_bytes());
    }
    for label in name.trim_end_matches('.').split('.').filter(|_| !name.is_empty()) {
        let len = u8::try_from(label.len()).ok().filter(|l| (1..=63).contains(l))?;
        out.push(len);
        out.extend(label.as_bytes());
    }
    out.push(0);
    out.extend(kind.to_be_bytes());
    out.extend(CLASS_IN.to_be_bytes());
    (out.len() <= 12 + 255 + 4).then_some(out)
}

async fn datagram(net: &Net, exchange: &Exchange, query: &[u8], id: u16) -> Result<Vec<u8>, Failure> {
    let mut socket = net.udp(exchange.addr).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; 65_536];
    loop {
        let n = socket.recv(&mut buffer).await?;
        if buffer[..n].starts_with(&id.to_be_bytes()) {
            buffer.truncate(n);
            return Ok(buffer);
        }
    }
}

async fn stream(net: &Net, exchange: &Exchange, query: &[u8]) -> Result<Vec<u8>, Failure> {
    let (mut stream, _) = net.tcp(exchange.addr).await?;
    let mut framed = (query.len() as u16).to_be_bytes().to_vec();
    framed.extend(query);
    stream.write_all(&framed).await?;
    let len = stream.read_u16().await?;
    let mut message = vec![0; usize::from(len)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// The texts of the answer section's A, AAAA, PTR, NS and CNAME records.
fn answers(message: &[u8], id: u16) -> Result<Vec<String>, String> {
    let mut reader = Reader { message, at: 0 };
    let mut header = [0; 6];
    for word in &mut header {
        *word = reader.u16().ok_or("a message that is too short")?;
    }
    let [got_id, flags, questions, count, _, _] = header;
    if got_id != id || flags & 0x8000 == 0 {
        return Err("not an answer to the question".to_owned());
    }
    match flags & 0xf {
        0 => {}
        3 => return Err("no such name".to_owned()),
        2 => return Err("server failure".to_owned()),
        5 => return Err("refused".to_owned()),
        code => return Err(format!("response code {code}")),
    }
    read_records(&mut reader, questions, count).ok_or_else(|| "a malformed message".to_owned())
}

fn read_records(reader: &mut Reader<'_>, questions: u16, count: u16) -> Option<Vec<String>> {
    for _ in 0..questions {
        reader.name()?;
        reader.take(4)?;
    }
    let mut out = Vec::new();
    for _ in 0..count {
        reader.name()?;
        let (kind, _class) = (reader.u16()?, reader.u16()?);
        reader.take(4)?;
        let len = usize::from(reader.u16()?);
        let start = reader.at;
        let data = reader.take(len)?;
        match kind {
            A => out.push(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).to_string()),
            AAAA => out.push(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).to_string()),
            PTR | NS | CNAME => out.push(Reader { message: reader.message, at: start }.name()?),
            _ => {}
        }
    }
    Some(out)
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let part = self.message.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(part)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|b| u16::from_be_bytes([b[0], b[1]]))
    }

    /// A name, with compression pointers followed, at most [`MAX_LABELS`] steps.
    fn name(&mut self) -> Option<String> {
        let mut out = String::new();
        let mut resume = None;
        for _ in 0..MAX_LABELS {
            let len = self.take(1)?[0];
            if len == 0 {
                self.at = resume.unwrap_or(self.at);
                return Some(if out.is_empty() { ".".to_owned() } else { out });
            }
            if len & 0xc0 == 0xc0 {
                let low = self.take(1)?[0];
                resume.get_or_insert(self.at);
                self.at = usize::from(len & 0x3f) << 8 | usize::from(low);
                continue;
            }
            let label = self.take(usize::from(len & 0x3f))?;
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(&String::from_utf8_lossy(label));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn questions() {
        assert_eq!(question("192.0.2.7").0, "7.2.0.192.in-addr.arpa");
        assert!(question("2001:db8::1").0.starts_with("1.0.0.0."));
        assert!(query(1, &"x".repeat(64), A).is_none());
        assert!(query(1, "a..b", A).is_none());
    }

    #[test]
    fn an_answer_with_compression() {
        let mut message = query(7, "www.example.test", A).unwrap();
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
