//! What arbitrator and client have in common: one connection that may change to TLS on the way, and who is believed there.

pub mod certs;
pub mod certutil;
mod issue;
mod stream;

pub use stream::{Doing, Ear, Heard, Side, drive};

/// Words separated by blanks; double quotes and backslashes as in the originals' files and on their sockets.
pub fn words(line: &str) -> Vec<String> {
    let (mut all, mut word, mut begun, mut quoted) = (Vec::new(), String::new(), false, false);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                word.extend(chars.next());
                begun = true;
            }
            '"' => {
                quoted = !quoted;
                begun = true;
            }
            c if c.is_whitespace() && !quoted => {
                if std::mem::take(&mut begun) {
                    all.push(std::mem::take(&mut word));
                }
            }
            c => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        all.push(word);
    }
    all
}
