//! Becoming known to other hosts: password or token, and their keys from then on.

use super::{ANSWER_WITHIN, Book, TalkError, Talker, authorise, locked};
use crate::edit::error;
use crate::source::{Failure, host_name};
use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Read};
use wire::pcsd::{Auth, Authorized, Destination, KnownHost, Token, USER, path};

const MAX_SECRET_BYTES: u64 = 4096;

/// What is shown to the other host.
#[derive(Clone)]
pub enum Secret {
    Password { user: String, password: String },
    Token(Token),
}

/// From options, else asked for: `-u`, `-p`, `--token FILE` (`-`: standard input).
pub fn secret(user: Option<&str>, password: Option<&str>, token: Option<&str>) -> Result<Secret, Failure> {
    if let Some(file) = token {
        let mut text = String::new();
        let read = match file {
            "-" => std::io::stdin().lock().take(MAX_SECRET_BYTES).read_line(&mut text).map(drop),
            file => kernel::files::read_regular(file.as_ref(), MAX_SECRET_BYTES).map(|bytes| {
                text = String::from_utf8_lossy(&bytes).into_owned();
            }),
        };
        read.map_err(|e| error(format!("Unable to read file '{file}': {e}")))?;
        let token = Token::parse(&text);
        return token.map(Secret::Token).ok_or_else(|| {
            error(
                "that is no token of 'bascule pcsd token' (run it on the other host; it counts once, and for one host)",
            )
        });
    }
    let user = match user {
        Some(user) => user.to_owned(),
        None => ask("Username: ", true)?,
    };
    let password = match password {
        Some(password) => password.to_owned(),
        None => ask("Password: ", false)?,
    };
    Ok(match Token::parse(&password) {
        Some(token) => Secret::Token(token),
        None => Secret::Password { user, password },
    })
}

/// A line from whoever types; without a terminal the next one of standard input.
pub fn ask(what: &str, shown: bool) -> Result<String, Failure> {
    let stdin = std::io::stdin();
    let terminal = stdin.is_terminal();
    if terminal {
        kernel::output::complain(what);
    }
    let hidden = if terminal && !shown { kernel::output::without_echo() } else { None };
    let mut line = String::new();
    let read = stdin.lock().take(MAX_SECRET_BYTES).read_line(&mut line);
    if hidden.is_some() {
        kernel::errln!("");
    }
    drop(hidden);
    match read {
        Ok(n) if n > 0 => Ok(line.trim_end_matches(['\n', '\r']).to_owned()),
        _ => Err(error(format!("Unable to read {}: use -u and -p, or --token FILE", what.trim_end_matches(": ")))),
    }
}

/// Each host is asked; those that let this one in are known from now on. What went wrong with the others.
pub fn log_in(
    talker: &Talker,
    hosts: &BTreeMap<String, Destination>,
    secret: &Secret,
) -> Result<(Vec<String>, Vec<String>), Failure> {
    let known = Book::read()?;
    let own = host_name();
    let from = if wire::pcsd::is_plain(&own) { own } else { "unnamed".to_owned() };
    let (user, password, token) = match secret {
        Secret::Password { user, password } => (user.clone(), Some(password.clone()), None),
        Secret::Token(token) => (USER.to_owned(), None, Some(token.text())),
    };
    let body = serde_json::to_vec(&Auth { user, password, token, from }).map_err(|e| error(e.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| error(e.to_string()))?;
    let (mut good, mut wrong) = (BTreeMap::new(), Vec::new());
    runtime.block_on(async {
        let mut set = tokio::task::JoinSet::new();
        for (name, destination) in hosts {
            let (talker, body, secret) = (talker.clone(), body.clone(), secret.clone());
            let (name, destination, known) = (name.clone(), destination.clone(), known.target(name).map(|t| t.pin));
            set.spawn(async move {
                let own = talker.pin.clone();
                let check = |found: &str| expected(&own, known.as_deref(), &secret, found);
                let to = std::slice::from_ref(&destination);
                let answer = talker.exchange(to, check, path::AUTH, body, ANSWER_WITHIN).await;
                let answer = answer.and_then(|(pin, answer)| match serde_json::from_slice::<Authorized>(&answer) {
                    Ok(_) => Ok(pin),
                    Err(e) => Err(TalkError::Protocol(e.to_string())),
                });
                (name, destination, answer)
            });
        }
        for (name, destination, answer) in set.join_all().await {
            match answer {
                Ok(key) => {
                    good.insert(name, KnownHost { dest_list: vec![destination], token: String::new(), key });
                }
                Err(TalkError::OneSelf) => {
                    let key = talker.pin.clone();
                    good.insert(name, KnownHost { dest_list: vec![destination], token: String::new(), key });
                }
                Err(TalkError::Refused { status: 403, message }) => wrong.push(format!("{name}: {message}")),
                Err(why) => wrong.push(why.of(&name)),
            }
        }
    });
    runtime.shutdown_background();
    wrong.sort();
    if !good.is_empty() {
        locked(|book| {
            book.take(&good);
            Ok(())
        })?;
        let own = good.iter().find(|(_, h)| h.key == talker.pin);
        own.map(|(name, _)| authorise(name, &talker.pin, "root of this host")).transpose()?;
    }
    Ok((good.into_keys().collect(), wrong))
}

/// Whether one may go on: not with this host itself, where root needs no leave. Whether the key is the one that is known, or that made the token; of one that is seen for the first time a password has to trust
/// the network.
fn expected(own: &str, known: Option<&str>, secret: &Secret, found: &str) -> Result<(), TalkError> {
    let stranger = |expected: &str| TalkError::Stranger { expected: expected.to_owned(), found: found.to_owned() };
    match (known, secret) {
        (Some(known), _) if known != found => Err(stranger(known)),
        _ if own == found => Err(TalkError::OneSelf),
        (_, Secret::Token(token)) if !token.is_of(found) => Err(TalkError::OthersToken),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_to_nobody_but_the_host_that_made_it() {
        let (own, other) = (wire::pcsd::sha256(b"a"), wire::pcsd::sha256(b"b"));
        let token = Secret::Token(Token::new(&[1; 12], &own));
        let expected = |known, secret: &Secret, found: &str| super::expected("me", known, secret, found);
        assert!(expected(None, &token, &own).is_ok() && expected(None, &token, &other).is_err());
        assert!(matches!(expected(None, &token, "me"), Err(TalkError::OneSelf)));
        let password = Secret::Password { user: USER.to_owned(), password: "x".to_owned() };
        assert!(expected(None, &password, &other).is_ok());
        assert!(expected(Some(&own), &password, &other).is_err(), "once known, it stays so");
    }
}
