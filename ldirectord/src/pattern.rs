//! `receive` patterns: Perl regular expressions over bytes, searched anywhere.
//!
//! The regex crate does all that it can in linear time. What it lacks of Perl's (look-around, back-references) goes to a
//! backtracking engine with a limit on its steps.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};

/// Longest pattern. The engines compile it whole, in time and memory a thousand times its length.
pub const MAX_PATTERN_BYTES: usize = 16 << 10;

/// Steps after which a backtracking match counts as none.
const BACKTRACK_LIMIT: usize = 200_000;

/// A compiled pattern. Equal ones share their program, since thousands of servers may have the same.
#[derive(Clone)]
pub struct Pattern {
    /// `None` matches everything.
    inner: Option<Arc<Inner>>,
}

struct Inner {
    source: String,
    engine: Engine,
}

enum Engine {
    Linear(regex::bytes::Regex),
    Backtracking(Box<fancy_regex::Regex>),
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.source())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.source() == other.source()
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// The empty pattern matches everything; one beyond [`MAX_PATTERN_BYTES`] is refused before any work is done on it.
    pub fn new(source: &str) -> Result<Pattern, String> {
        if source.len() > MAX_PATTERN_BYTES {
            return Err(format!("of at most {MAX_PATTERN_BYTES} bytes, this has {}", source.len()));
        }
        if source.is_empty() {
            return Ok(Pattern { inner: None });
        }
        static SHARED: Mutex<BTreeMap<String, Weak<Inner>>> = Mutex::new(BTreeMap::new());
        let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(inner) = shared.get(source).and_then(Weak::upgrade) {
            return Ok(Pattern { inner: Some(inner) });
        }
        let inner = Arc::new(Inner { source: source.to_owned(), engine: Engine::new(source)? });
        shared.retain(|_, weak| weak.strong_count() > 0);
        shared.insert(source.to_owned(), Arc::downgrade(&inner));
        Ok(Pattern { inner: Some(inner) })
    }

    pub fn is_match(&self, text: &[u8]) -> bool {
        match self.inner.as_deref().map(|i| &i.engine) {
            None => true,
            Some(Engine::Linear(regex)) => regex.is_match(text),
            Some(Engine::Backtracking(regex)) => regex.is_match(text).unwrap_or(false),
        }
    }

    fn source(&self) -> &str {
        self.inner.as_deref().map_or("", |i| &i.source)
    }
}

impl Engine {
    fn new(source: &str) -> Result<Engine, String> {
        let text = perl_line_end(source);
        let linear = |unicode| regex::bytes::RegexBuilder::new(&text).unicode(unicode).size_limit(4 << 20).build();
        match linear(false).or_else(|_| linear(true)) {
            Ok(regex) => Ok(Engine::Linear(regex)),
            Err(e) => match fancy_regex::RegexBuilder::new(&text).backtrack_limit(BACKTRACK_LIMIT).build() {
                Ok(regex) => Ok(Engine::Backtracking(Box::new(regex))),
                Err(_) => Err(one_line(&e.to_string())),
            },
        }
    }
}

fn one_line(text: &str) -> String {
    let last = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("invalid");
    last.trim().trim_start_matches("error: ").to_owned()
}

/// Perl's `$` also matches before a newline at the end; `\Z` likewise.
fn perl_line_end(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + 8);
    let mut class = false;
    let mut chars = source.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('Z') if !class => out.push_str(r"(?:\n?\z)"),
                Some(next) => out.extend(['\\', next]),
                None => out.push('\\'),
            },
            '[' if !class => {
                class = true;
                out.push(c);
                // `]` right after the opening (and `^`) is a member.
                for literal in ['^', ']'] {
                    if chars.peek() == Some(&literal) {
                        chars.next();
                        out.push_str(if literal == ']' { r"\]" } else { "^" });
                    }
                }
            }
            ']' => {
                class = false;
                out.push(c);
            }
            '$' if !class => out.push_str(r"(?:\n?\z)"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &[u8]) -> bool {
        Pattern::new(pattern).unwrap().is_match(text)
    }

    #[test]
    fn as_perl_matches() {
        assert!(matches("", b""));
        assert!(matches("OK$", b"all OK\n"));
        assert!(!matches("OK$", b"OK then\n"));
        assert!(matches(r"^\d+ \$5[$]", b"12 $5$"));
        assert!(matches("[]x]", b"]"));
        assert!(matches("gr\u{fc}n", "gr\u{fc}n".as_bytes()));
        assert!(matches("a.c", b"a\xffc"));
        assert!(matches(r"(?=.*one)(?=.*two)", b"two and one"));
        assert!(matches(r"(\w)\1", b"book"));
        assert!(Pattern::new("(").is_err());
        assert!(Pattern::new("*x").is_err());
    }

    #[test]
    fn length_is_bounded_before_any_work() {
        let began = std::time::Instant::now();
        let why = Pattern::new(&"(a?b)+".repeat(1_200_000)).map(|_| ()).unwrap_err();
        assert!(why.contains("at most 16384 bytes"), "{why}");
        assert!(began.elapsed().as_millis() < 500, "{:?}", began.elapsed());
        assert!(Pattern::new(&"x".repeat(MAX_PATTERN_BYTES)).is_ok());
    }

    #[test]
    fn backtracking_is_bounded() {
        let pattern = Pattern::new(r"^(a+)+\1b(?=c)").unwrap();
        assert!(!pattern.is_match("a".repeat(500).as_bytes()));
    }
}
