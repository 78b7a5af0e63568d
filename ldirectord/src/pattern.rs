//! `receive` patterns: Perl regular expressions over bytes, searched anywhere.
//!
//! The regex crate does all that it can in linear time. What it lacks of Perl's (look-around, back-references) goes to a
//! backtracking engine with a limit on its steps.

/// Steps after which a backtracking match counts as none.
const BACKTRACK_LIMIT: usize = 200_000;

#[derive(Clone, Debug)]
pub struct Pattern {
    source: String,
    engine: Option<Engine>,
}

#[derive(Clone, Debug)]
enum Engine {
    Linear(regex::bytes::Regex),
    Backtracking(fancy_regex::Regex),
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// The empty pattern matches everything.
    pub fn new(source: &str) -> Result<Pattern, String> {
        if source.is_empty() {
            return Ok(Pattern { source: String::new(), engine: None });
        }
        let text = perl_line_end(source);
        let linear = |unicode| regex::bytes::RegexBuilder::new(&text).unicode(unicode).size_limit(4 << 20).build();
        let engine = match linear(false).or_else(|_| linear(true)) {
            Ok(regex) => Engine::Linear(regex),
            Err(e) => match fancy_regex::RegexBuilder::new(&text).backtrack_limit(BACKTRACK_LIMIT).build() {
                Ok(regex) => Engine::Backtracking(regex),
                Err(_) => return Err(one_line(&e.to_string())),
            },
        };
        Ok(Pattern { source: source.to_owned(), engine: Some(engine) })
    }

    pub fn is_empty(&self) -> bool {
        self.engine.is_none()
    }

    pub fn is_match(&self, text: &[u8]) -> bool {
        match &self.engine {
            None => true,
            Some(Engine::Linear(regex)) => regex.is_match(text),
            Some(Engine::Backtracking(regex)) => regex.is_match(text).unwrap_or(false),
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
    fn backtracking_is_bounded() {
        let pattern = Pattern::new(r"^(a+)+\1b(?=c)").unwrap();
        assert!(!pattern.is_match("a".repeat(500).as_bytes()));
    }
}
