//! A line of `crm` as words.

use crate::edit::error;
use crate::source::Failure;

pub fn of(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// Words at blanks; quotes hold words together.
pub fn split(line: &str) -> Result<Vec<String>, Failure> {
    let (mut words, mut word, mut quote, mut started) = (Vec::new(), String::new(), None, false);
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), c) => word.push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                started = true;
            }
            (None, c) if c.is_whitespace() => {
                if started || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                started = false;
            }
            (None, c) => word.push(c),
        }
    }
    if quote.is_some() {
        return Err(error("a quote is not closed"));
    }
    if started || !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}
