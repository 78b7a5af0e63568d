//! `service = radius`: an Access-Request for login and passwd is accepted (RFC 2865, Message-Authenticator of RFC 2869).

use super::io::Net;
use super::{Failure, Outcome, failure};
use crate::config::Virtual;
use md5::{Digest, Md5};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};

const ACCESS_REQUEST: u8 = 1;
const ACCESS_ACCEPT: u8 = 2;
const ACCESS_REJECT: u8 = 3;
const USER_NAME: u8 = 1;
const USER_PASSWORD: u8 = 2;
const NAS_IP_ADDRESS: u8 = 4;
const NAS_IPV6_ADDRESS: u8 = 95;
const MESSAGE_AUTHENTICATOR: u8 = 80;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Radius {
    pub addr: SocketAddr,
    login: String,
    passwd: String,
    secret: String,
}

impl Radius {
    pub fn of(v: &Virtual, addr: SocketAddr) -> Radius {
        Radius { addr, login: v.login.clone(), passwd: v.passwd.clone(), secret: v.secret.clone() }
    }

    pub async fn run(&self, net: &Net) -> Outcome {
        static IDS: AtomicU8 = AtomicU8::new(0);
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        let mut authenticator = [0; 16];
        aws_lc_rs::rand::fill(&mut authenticator).map_err(|_| failure("no random numbers".to_owned()))?;
        let mut socket = net.udp(self.addr).await?;
        let request = self.request(id, &authenticator, socket.local_addr()?.ip())?;
        socket.send(&request).await?;
        let mut buffer = [0; 4096];
        loop {
            let n = socket.recv(&mut buffer).await?;
            if let Some(code) = self.genuine(&buffer[..n], id, &authenticator) {
                return match code {
                    ACCESS_ACCEPT => Ok("Access-Accept".to_owned()),
                    ACCESS_REJECT => Err(failure("Access-Reject: login or passwd is wrong".to_owned())),
                    code => Err(failure(format!("answer with code {code}"))),
                };
            }
        }
    }

    fn request(&self, id: u8, authenticator: &[u8; 16], own: IpAddr) -> Result<Vec<u8>, Failure> {
        let mut out = vec![ACCESS_REQUEST, id, 0, 0];
        out.extend(authenticator);
        attribute(&mut out, USER_NAME, self.login.as_bytes())?;
        attribute(&mut out, USER_PASSWORD, &self.hidden(authenticator))?;
        match own {
            IpAddr::V4(a) => attribute(&mut out, NAS_IP_ADDRESS, &a.octets())?,
            IpAddr::V6(a) => attribute(&mut out, NAS_IPV6_ADDRESS, &a.octets())?,
        }
        attribute(&mut out, MESSAGE_AUTHENTICATOR, &[0; 16])?;
        let len = out.len();
        out[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        let mac = hmac(self.secret.as_bytes(), &out);
        out[len - 16..].copy_from_slice(&mac);
        Ok(out)
    }

    /// RFC 2865 §5.2: each block of 16 bytes xor MD5(secret, block before).
    fn hidden(&self, authenticator: &[u8; 16]) -> Vec<u8> {
        let mut padded = self.passwd.as_bytes().iter().copied().take(128).collect::<Vec<u8>>();
        padded.resize(padded.len().next_multiple_of(16).max(16), 0);
        let mut before = *authenticator;
        for block in padded.chunks_mut(16) {
            let key = md5(&[self.secret.as_bytes(), &before]);
            block.iter_mut().zip(key).for_each(|(b, k)| *b ^= k);
            before.copy_from_slice(block);
        }
        padded
    }

    /// The code of an answer to this request that knows the secret; anything else is ignored.
    fn genuine(&self, answer: &[u8], id: u8, authenticator: &[u8; 16]) -> Option<u8> {
        let len = usize::from(u16::from_be_bytes([*answer.get(2)?, *answer.get(3)?]));
        let answer = answer.get(..len).filter(|a| a.len() >= 20 && a[1] == id)?;
        let sum = md5(&[&answer[..4], authenticator, &answer[20..], self.secret.as_bytes()]);
        (sum == answer[4..20]).then_some(answer[0])
    }
}

fn attribute(out: &mut Vec<u8>, kind: u8, value: &[u8]) -> Result<(), Failure> {
    let len = u8::try_from(value.len() + 2).map_err(|_| failure("login is too long for RADIUS".to_owned()))?;
    out.extend([kind, len]);
    out.extend(value);
    Ok(())
}

fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut digest = Md5::new();
    parts.iter().for_each(|p| digest.update(p));
    digest.finalize().into()
}

/// RFC 2104.
fn hmac(key: &[u8], text: &[u8]) -> [u8; 16] {
    let mut block = [0; 64];
    if key.len() > 64 {
        block[..16].copy_from_slice(&md5(&[key]));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = md5(&[&block.map(|b| b ^ 0x36), text]);
    md5(&[&block.map(|b| b ^ 0x5c), &inner])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_md5_of_rfc_2202() {
        let expected = [0x75, 0x0c, 0x78, 0x3e, 0x6a, 0xb0, 0xb5, 0x03, 0xea, 0xa8, 0x6e, 0x31, 0x0a, 0x5d, 0xb7, 0x38];
        assert_eq!(hmac(b"Jefe", b"what do ya want for nothing?"), expected);
    }

    #[test]
    fn only_answers_with_the_secret_count() {
        let addr = "127.0.0.1:1812".parse().unwrap();
        let radius = Radius { addr, login: "u".into(), passwd: "p".into(), secret: "s".into() };
        let authenticator = [7; 16];
        let mut answer = vec![ACCESS_ACCEPT, 5, 0, 20];
        answer.extend(md5(&[&[ACCESS_ACCEPT, 5, 0, 20], &authenticator, &[], b"s"]));
        assert_eq!(radius.genuine(&answer, 5, &authenticator), Some(ACCESS_ACCEPT));
        assert_eq!(radius.genuine(&answer, 6, &authenticator), None);
        answer[4] ^= 1;
        assert_eq!(radius.genuine(&answer, 5, &authenticator), None);
        for len in 0..answer.len() {
            assert_eq!(radius.genuine(&answer[..len], 5, &authenticator), None);
        }
        assert_eq!(radius.request(1, &authenticator, addr.ip()).unwrap().len(), 20 + 3 + 18 + 6 + 18);
    }
}
