//! `service = mysql`: login, then the request gives at least one row. MySQL and MariaDB.
//!
//! Passwords go as `mysql_native_password` or `caching_sha2_password` want them, in clear never outside of verified TLS. Packets are bounded, and of the
//! rows only the beginning of the first is read. (No client library takes a socket of ours, so that neither source address nor
//! limits would hold; the packets that a login and a query need are few.)

use super::io::{Net, Stream, Tls};
use super::{Failure, Outcome, failure};
use crate::config::Virtual;
use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
use openssl::pkey::PKey;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MAX_PACKET_BYTES: usize = 64 << 10;
/// Packets of one login.
const MAX_LOGIN_PACKETS: usize = 8;
const MAX_COLUMNS: usize = 4_096;
/// A server's key of 4,096 bits in PEM.
const MAX_KEY_BYTES: usize = 1_024;
const NONCE_LEN: usize = 20;
const MAX_ALLOWED_PACKET: u32 = 16 << 20;

// Capabilities (protocol of MySQL 4.1 and later).
const LONG_PASSWORD: u32 = 1;
const CONNECT_WITH_DB: u32 = 1 << 3;
const PROTOCOL_41: u32 = 1 << 9;
const SSL: u32 = 1 << 11;
const TRANSACTIONS: u32 = 1 << 13;
const SECURE_CONNECTION: u32 = 1 << 15;
const PLUGIN_AUTH: u32 = 1 << 19;
const UTF8MB4: u8 = 45;

const NATIVE: &[u8] = b"mysql_native_password";
const CACHING_SHA2: &[u8] = b"caching_sha2_password";

const OK: u8 = 0x00;
const AUTH_MORE: u8 = 0x01;
const LOCAL_FILE: u8 = 0xfb;
/// End of a list, or a switch to another way of login.
const EOF: u8 = 0xfe;
const ERROR: u8 = 0xff;
const COM_QUIT: u8 = 1;
const COM_QUERY: u8 = 3;
// Answers of caching_sha2_password, and its request for the server's key.
const FAST_AUTH_SUCCESS: &[u8] = &[3];
const FULL_AUTH: &[u8] = &[4];
const KEY_REQUEST: &[u8] = &[2];

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mysql {
    pub addr: SocketAddr,
    login: String,
    passwd: String,
    database: String,
    request: String,
    tls: Option<Tls>,
}

impl Mysql {
    pub fn of(v: &Virtual, addr: SocketAddr, request: String) -> Mysql {
        let (login, passwd, database) = (v.login.clone(), v.passwd.clone(), v.database.clone());
        Mysql { addr, login, passwd, database, request, tls: v.sql_tls.then(|| v.into()) }
    }

    pub async fn run(&self, net: &Net) -> Outcome {
        let mut packets = Packets { stream: net.tcp(self.addr).await?.0, sequence: 0 };
        let greeting = packets.read().await?;
        if greeting.first() == Some(&ERROR) {
            return Err(refusal(&greeting));
        }
        let greeting = Greeting::parse(&greeting).ok_or_else(no_mysql)?;
        if let Some(tls) = &self.tls {
            packets = self.encrypt(net, packets, &greeting, tls).await?;
        }
        self.log_in(&mut packets, &greeting).await?;
        packets.sequence = 0;
        packets.write(&[&[COM_QUERY], self.request.as_bytes()].concat()).await?;
        self.one_row(&mut packets).await?;
        packets.sequence = 0;
        let _ = packets.write(&[COM_QUIT]).await;
        Ok(format!("a row from {}", greeting.version))
    }

    /// The beginning of the login asks for TLS; the login follows as a whole within it.
    async fn encrypt(
        &self,
        net: &Net,
        mut packets: Packets,
        greeting: &Greeting,
        tls: &Tls,
    ) -> Result<Packets, Failure> {
        if greeting.capabilities & SSL == 0 {
            return Err(failure("the server offers no TLS"));
        }
        packets.write(&self.settings(greeting)).await?;
        let stream = net.secure(packets.stream, self.addr.ip(), tls).await?;
        Ok(Packets { stream, ..packets })
    }

    async fn log_in(&self, packets: &mut Packets, greeting: &Greeting) -> Result<(), Failure> {
        if greeting.capabilities & (PROTOCOL_41 | SECURE_CONNECTION) != PROTOCOL_41 | SECURE_CONNECTION {
            return Err(failure("a server older than MySQL 4.1"));
        }
        // What is not known here the server is asked to change from.
        let known = greeting.plugin == CACHING_SHA2;
        let plugin = if known { CACHING_SHA2 } else { NATIVE }.to_vec();
        let secure = self.tls.as_ref().map(|tls| tls.verify);
        let mut challenge = Challenge { nonce: greeting.nonce.clone(), plugin, passwd: &self.passwd, secure };
        packets.write(&self.login(greeting, &challenge)?).await?;
        for _ in 0..MAX_LOGIN_PACKETS {
            let packet = packets.read().await?;
            match packet.split_first() {
                Some((&OK, _)) => return Ok(()),
                Some((&ERROR, _)) => return Err(refusal(&packet)),
                Some((&AUTH_MORE, more)) => {
                    if let Some(reply) = challenge.more(more)? {
                        packets.write(&reply).await?;
                    }
                }
                Some((&EOF, switch)) => {
                    let (plugin, data) = until_nul(switch).ok_or_else(no_mysql)?;
                    let nonce = data.strip_suffix(&[0]).unwrap_or(data).to_vec();
                    challenge = Challenge { nonce, plugin: plugin.to_vec(), ..challenge };
                    packets.write(&challenge.answer()?).await?;
                }
                _ => return Err(no_mysql()),
            }
        }
        Err(failure(format!("no login after {MAX_LOGIN_PACKETS} packets")))
    }

    fn login(&self, greeting: &Greeting, challenge: &Challenge<'_>) -> Result<Vec<u8>, Failure> {
        let named = greeting.capabilities & PLUGIN_AUTH;
        let answer = challenge.answer()?;
        let mut out = self.settings(greeting);
        out.extend([self.login.as_bytes(), &[0, answer.len() as u8], &answer].concat());
        if !self.database.is_empty() {
            out.extend([self.database.as_bytes(), &[0]].concat());
        }
        if named != 0 {
            out.extend([challenge.plugin.as_slice(), &[0]].concat());
        }
        Ok(out)
    }

    /// What stands before the user's name.
    fn settings(&self, greeting: &Greeting) -> Vec<u8> {
        let named = greeting.capabilities & PLUGIN_AUTH;
        let database = if self.database.is_empty() { 0 } else { CONNECT_WITH_DB };
        let tls = if self.tls.is_some() { SSL } else { 0 };
        let capabilities = LONG_PASSWORD | PROTOCOL_41 | TRANSACTIONS | SECURE_CONNECTION | named | database | tls;
        let mut out = capabilities.to_le_bytes().to_vec();
        out.extend(MAX_ALLOWED_PACKET.to_le_bytes());
        out.push(UTF8MB4);
        out.extend([0; 23]);
        out
    }

    /// Reads as far as the beginning of the first row.
    async fn one_row(&self, packets: &mut Packets) -> Result<(), Failure> {
        let first = packets.read().await?;
        let columns = match first.first() {
            Some(&OK) => return Err(failure("the request gives no rows")),
            Some(&ERROR) => return Err(refusal(&first)),
            Some(&LOCAL_FILE) => return Err(failure("the server wants a file of this machine")),
            Some(count @ 1..=250) => usize::from(*count),
            Some(0xfc) if first.len() == 3 => usize::from(u16::from_le_bytes([first[1], first[2]])),
            _ => return Err(no_mysql()),
        };
        if columns > MAX_COLUMNS {
            return Err(failure(format!("{columns} columns, at most {MAX_COLUMNS} are read")));
        }
        for _ in 0..columns {
            packets.read().await?;
        }
        if packets.read().await?.first() != Some(&EOF) {
            return Err(no_mysql());
        }
        // A row may be as long as it likes: its beginning tells enough.
        let (len, kind) = packets.begin().await?;
        match kind {
            ERROR => {
                let mut packet = packets.rest(len.min(MAX_PACKET_BYTES)).await?;
                packet.insert(0, ERROR);
                Err(refusal(&packet))
            }
            EOF if len < 8 => Err(failure("no row")),
            _ => Ok(()),
        }
    }
}

/// The first packet of a server, protocol 10.
struct Greeting {
    version: String,
    nonce: Vec<u8>,
    capabilities: u32,
    plugin: Vec<u8>,
}

impl Greeting {
    fn parse(packet: &[u8]) -> Option<Greeting> {
        let (version, rest) = until_nul(packet.strip_prefix(&[10])?)?;
        // Connection number, first part of the nonce, filler.
        let (nonce, rest) = rest.get(4..)?.split_at_checked(8)?;
        let low = u16::from_le_bytes(rest.get(1..3)?.try_into().ok()?);
        let mut greeting = Greeting {
            version: String::from_utf8_lossy(version).into_owned(),
            nonce: nonce.to_vec(),
            capabilities: u32::from(low),
            plugin: Vec::new(),
        };
        // Character set, status, upper capabilities, length of the nonce, ten reserved.
        let Some(rest) = rest.get(3..).filter(|r| !r.is_empty()) else { return Some(greeting) };
        let high = u16::from_le_bytes(rest.get(3..5)?.try_into().ok()?);
        greeting.capabilities |= u32::from(high) << 16;
        let len = usize::from(*rest.get(5)?).saturating_sub(8).max(13);
        let (nonce, rest) = rest.get(16..)?.split_at_checked(len)?;
        greeting.nonce.extend(nonce.strip_suffix(&[0]).unwrap_or(nonce));
        if greeting.capabilities & PLUGIN_AUTH != 0 {
            greeting.plugin = until_nul(rest).map_or(rest, |(name, _)| name).to_vec();
        }
        Some(greeting)
    }
}

fn until_nul(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|b| *b == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

fn no_mysql() -> Failure {
    failure("no MySQL answer")
}

/// An error packet: a number, for later protocols `#` and a state of five letters, a text.
fn refusal(packet: &[u8]) -> Failure {
    let Some([low, high, text @ ..]) = packet.get(1..) else { return no_mysql() };
    let text = if text.starts_with(b"#") { text.get(6..).unwrap_or_default() } else { text };
    failure(format!("error {}: {}", u16::from_le_bytes([*low, *high]), String::from_utf8_lossy(text)))
}

/// What the server wants to be answered, and the password.
struct Challenge<'a> {
    nonce: Vec<u8>,
    plugin: Vec<u8>,
    passwd: &'a str,
    /// Within TLS: whether the server has proved who it is.
    secure: Option<bool>,
}

impl Challenge<'_> {
    fn answer(&self) -> Result<Vec<u8>, Failure> {
        let known = [NATIVE, CACHING_SHA2].contains(&self.plugin.as_slice());
        if !known {
            let name = String::from_utf8_lossy(&self.plugin).into_owned();
            let cure = "give the account mysql_native_password or caching_sha2_password";
            return Err(failure(format!("login by `{name}` is not supported: {cure}")));
        }
        let nonce: &[u8; NONCE_LEN] = self.nonce.as_slice().try_into().map_err(|_| no_mysql())?;
        let algorithm = if self.plugin == NATIVE { &SHA1_FOR_LEGACY_USE_ONLY } else { &SHA256 };
        if self.passwd.is_empty() {
            return Ok(Vec::new());
        }
        let once = hash(algorithm, &[self.passwd.as_bytes()]);
        let twice = hash(algorithm, &[&once]);
        let salted: [&[u8]; 2] = if self.plugin == NATIVE { [nonce, &twice] } else { [&twice, nonce] };
        Ok(xor(&once, &hash(algorithm, &salted)))
    }

    /// caching_sha2_password where the server has not cached the password: it is sent under the server's RSA key.
    fn more(&self, data: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        match data {
            _ if self.plugin != CACHING_SHA2 => Err(no_mysql()),
            FAST_AUTH_SUCCESS => Ok(None),
            FULL_AUTH => match self.secure {
                None => Ok(Some(KEY_REQUEST.to_vec())),
                // Within TLS a server wants the password itself, which not everybody shall have.
                Some(true) => Ok(Some(self.passwd.bytes().chain([0]).collect())),
                Some(false) => Err(failure("the server wants the password within TLS: set tlsverify = yes")),
            },
            key if key.len() <= MAX_KEY_BYTES => encrypt(key, &self.masked()).map(Some).ok_or_else(no_mysql),
            _ => Err(failure(format!("a key of more than {MAX_KEY_BYTES} bytes"))),
        }
    }

    /// With its end, so that the server knows where that is.
    fn masked(&self) -> Vec<u8> {
        self.passwd.bytes().chain([0]).zip(self.nonce.iter().cycle()).map(|(p, n)| p ^ n).collect()
    }
}

fn hash(algorithm: &'static Algorithm, parts: &[&[u8]]) -> Vec<u8> {
    digest(algorithm, &parts.concat()).as_ref().to_vec()
}

fn xor(a: &[u8], b: &[u8]) -> Vec<u8> {
    a.iter().zip(b).map(|(a, b)| a ^ b).collect()
}

fn encrypt(pem: &[u8], text: &[u8]) -> Option<Vec<u8>> {
    let der = PKey::public_key_from_pem(pem).and_then(|key| key.public_key_to_der()).ok()?;
    let key = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(&der).ok()?).ok()?;
    let mut out = vec![0; key.ciphertext_size()];
    let len = key.encrypt(&OAEP_SHA1_MGF1SHA1, text, &mut out, None).ok()?.len();
    out.truncate(len);
    Some(out)
}

/// A stream of packets: three bytes of length, one of sequence.
struct Packets {
    stream: Box<dyn Stream>,
    sequence: u8,
}

impl Packets {
    async fn write(&mut self, payload: &[u8]) -> Result<(), Failure> {
        let len = u32::try_from(payload.len()).ok().filter(|l| *l < MAX_ALLOWED_PACKET - 1);
        let len = len.ok_or_else(|| failure("the request is too long"))?;
        let mut packet = len.to_le_bytes().to_vec();
        packet[3] = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        packet.extend(payload);
        self.stream.write_all(&packet).await?;
        Ok(self.stream.flush().await?)
    }

    async fn header(&mut self) -> Result<usize, Failure> {
        let mut header = [0; 4];
        self.fill(&mut header).await?;
        self.sequence = header[3].wrapping_add(1);
        Ok(usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16)
    }

    async fn read(&mut self) -> Result<Vec<u8>, Failure> {
        match self.header().await? {
            len if len <= MAX_PACKET_BYTES => self.rest(len).await,
            len => Err(failure(format!("a packet of {len} bytes, at most {MAX_PACKET_BYTES} are read"))),
        }
    }

    /// Length of what follows the first byte of the next packet, and that byte.
    async fn begin(&mut self) -> Result<(usize, u8), Failure> {
        let len = self.header().await?;
        let mut first = [0];
        if len > 0 {
            self.fill(&mut first).await?;
        }
        Ok((len.saturating_sub(1), first[0]))
    }

    async fn rest(&mut self, len: usize) -> Result<Vec<u8>, Failure> {
        let mut payload = vec![0; len];
        self.fill(&mut payload).await?;
        Ok(payload)
    }

    async fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Failure> {
        match self.stream.read_exact(buffer).await {
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Err(failure("closed without a whole answer")),
            other => Ok(other.map(drop)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Taken from the documentation's description of the packet, field by field.
    #[test]
    fn a_greeting_and_what_is_cut_off() {
        let mut packet = b"\x0a8.0.36\0\x08\0\0\0abcdefgh\0".to_vec();
        packet.extend([0xff, 0xff, 45, 2, 0, 0xff, 0xdf, 21]);
        packet.extend([0; 10]);
        packet.extend(b"ijklmnopqrst\0caching_sha2_password\0");
        let greeting = Greeting::parse(&packet).unwrap();
        assert_eq!((greeting.version.as_str(), greeting.nonce.as_slice()), ("8.0.36", &b"abcdefghijklmnopqrst"[..]));
        assert_eq!((greeting.capabilities, greeting.plugin.as_slice()), (0xdfff_ffff, CACHING_SHA2));
        for len in 0..packet.len() {
            let _ = Greeting::parse(&packet[..len]);
        }
        assert!(Greeting::parse(b"\x09old\0").is_none());
    }

    #[test]
    fn a_password_never_goes_in_clear() {
        let ask = |plugin: &[u8]| {
            Challenge { nonce: vec![1; 20], plugin: plugin.to_vec(), passwd: "p", secure: None }.answer()
        };
        assert_eq!(ask(NATIVE).unwrap().len(), 20);
        assert_eq!(ask(CACHING_SHA2).unwrap().len(), 32);
        assert!(ask(b"mysql_clear_password").is_err());
        assert!(ask(b"mysql_old_password").is_err());
    }
}
