//! A `keepalived.conf` with all that it includes as one text: comments gone, `$NAME=value` put in, lines for other hosts (`@id …`) left
//! out. Which line of which file each came from is kept.

use super::report::{Place, Report};
use regex::Regex;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const MAX_BYTES: u64 = 4 * 1024 * 1024;
const MAX_LINES: usize = 200_000;
const MAX_DEPTH: usize = 16;
const INCLUDES: [&str; 6] = ["include", "includer", "includem", "includew", "includeb", "includea"];

#[derive(Debug, Default)]
pub struct Lines {
    pub text: String,
    /// Of each line of `text`.
    pub places: Vec<Place>,
    variables: BTreeMap<String, String>,
    /// `-i ID` of keepalived.
    id: Option<String>,
}

impl Lines {
    pub fn read(path: &Path, id: Option<&str>, report: &mut Report) -> Result<Lines, String> {
        let mut lines = Lines { id: id.map(str::to_owned), ..Lines::default() };
        lines.file(path, 0, report)?;
        Ok(lines)
    }

    fn file(&mut self, path: &Path, depth: usize, report: &mut Report) -> Result<(), String> {
        let shown = path.display().to_string();
        if depth > MAX_DEPTH {
            return Err(format!("{shown}: includes deeper than {MAX_DEPTH}: does a file include itself?"));
        }
        let bytes = kernel::files::read_regular(path, MAX_BYTES).map_err(|e| format!("{shown}: {e}"))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        for (number, raw) in (1..).zip(text.lines()) {
            let at = Place::new(&shown, number);
            let bare = without_comment(raw);
            let words: Vec<&str> = bare.split_whitespace().collect();
            match words.as_slice() {
                [] => continue,
                [keyword, pattern] if INCLUDES.contains(keyword) => {
                    self.include(path, pattern, depth, &at, report)?;
                    continue;
                }
                _ => {}
            }
            let Some(line) = self.conditional(bare.trim(), &at, report) else { continue };
            if self.defines(&line, &at, report) {
                continue;
            }
            let line = self.filled(&line, &at, report);
            if self.places.len() >= MAX_LINES {
                return Err(format!("{shown}: more than {MAX_LINES} lines with all includes"));
            }
            self.text += &line;
            self.text.push('\n');
            self.places.push(at);
        }
        Ok(())
    }

    fn include(
        &mut self,
        from: &Path,
        pattern: &str,
        depth: usize,
        at: &Place,
        report: &mut Report,
    ) -> Result<(), String> {
        let pattern = pattern.trim_matches('"');
        let dir = from.parent().unwrap_or(Path::new("."));
        let files = matching(&dir.join(pattern));
        if files.is_empty() {
            report.differs(
                at,
                &format!("include {pattern}"),
                "there is no such file; keepalived goes on without it, and so does this",
            );
        }
        files.iter().try_for_each(|file| self.file(file, depth + 1, report))
    }

    /// `@id line` is for the host that was started with that id, `@^id line` for all others.
    fn conditional(&self, line: &str, at: &Place, report: &mut Report) -> Option<String> {
        let Some(marked) = line.strip_prefix('@') else { return Some(line.to_owned()) };
        let (id, rest) = marked.split_once(char::is_whitespace).unwrap_or((marked, ""));
        let (id, not) = id.strip_prefix('^').map_or((id, false), |id| (id, true));
        if (self.id.as_deref() == Some(id)) != not {
            return Some(rest.trim().to_owned());
        }
        let chosen = self.id.as_deref().map_or("without --config-id".to_owned(), |id| format!("with --config-id {id}"));
        report.differs(at, line, format!("left out {chosen}, as keepalived leaves it out without -i {id}"));
        None
    }

    fn defines(&mut self, line: &str, at: &Place, report: &mut Report) -> bool {
        let Some((name, value)) = line.strip_prefix('$').and_then(|l| l.split_once('=')) else { return false };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return false;
        }
        if value.ends_with('\\') {
            report.cannot(at, line, "a definition over several lines: write what it stands for in its places");
        } else {
            let value = self.filled(value.trim(), at, report);
            report.maps(at, line, "put in where it is used");
            self.variables.insert(name.to_owned(), value);
        }
        true
    }

    fn filled(&self, line: &str, at: &Place, report: &mut Report) -> String {
        let mut out = String::new();
        let mut rest = line;
        while let Some(start) = rest.find('$') {
            out += &rest[..start];
            let after = &rest[start + 1..];
            let (name, tail) = match after.strip_prefix('{').and_then(|a| a.split_once('}')) {
                Some(braced) => braced,
                None => {
                    after.split_at(after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len()))
                }
            };
            // Without braces a name ends at a blank, and is none before anything else.
            let whole = after.starts_with('{') || tail.is_empty() || tail.starts_with(char::is_whitespace);
            match self.variables.get(name).filter(|_| whole) {
                Some(value) => out += value,
                None => {
                    let found = &rest[..rest.len() - tail.len()][start..];
                    if !name.is_empty() {
                        report.cannot(at, line, format!("'{found}' stands for nothing that is defined above (within words: ${{NAME}}); taken as it is"));
                    }
                    out += found;
                }
            }
            rest = tail;
        }
        if line.contains("~SEQ(") || line.contains("~LST(") {
            report.cannot(at, line, "a line that stands for several (~SEQ, ~LST): write them out");
        }
        out + rest
    }
}

/// Comments begin with `#` or `!` anywhere but within quotes.
fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        match c {
            '"' if before != '\\' => quoted = !quoted,
            '#' | '!' if !quoted => return &line[..at],
            _ => {}
        }
        before = c;
    }
    line
}

/// Files that a path with wildcards in its last part stands for, in order.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    if !name.contains(['*', '?', '[']) {
        return if pattern.is_file() { vec![pattern.to_owned()] } else { Vec::new() };
    }
    let escaped = regex::escape(&name).replace(r"\*", ".*").replace(r"\?", ".").replace(r"\[", "[").replace(r"\]", "]");
    let Ok(regex) = Regex::new(&format!("^{escaped}$")) else { return Vec::new() };
    let dir = pattern.parent().and_then(|d| std::fs::read_dir(d).ok());
    let names = dir.into_iter().flatten().flatten().map(|e| e.path());
    let fits = |p: &PathBuf| {
        let name = p.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        p.is_file() && !name.starts_with('.') && regex.is_match(&name)
    };
    let mut all: Vec<PathBuf> = names.filter(fits).collect();
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_as_keepalived_does() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
        std::fs::create_dir(dir.path().join("d")).expect("made");
        write(
            "main.conf",
            "$VIP=10.0.0.1\ninclude d/*.conf\na ${VIP} \"#1\" # no\n@one b\n@two c\n@^two d\n! all\ne $NONE\n",
        );
        write("d/x.conf", "x $VIP\n");
        write("d/y.txt", "y\n");
        let mut report = Report::default();
        let lines = Lines::read(&dir.path().join("main.conf"), Some("one"), &mut report).expect("read");
        assert_eq!(lines.text, "x 10.0.0.1\na 10.0.0.1 \"#1\"\nb\nd\ne $NONE\n");
        assert_eq!(lines.places.iter().map(|p| p.line).collect::<Vec<_>>(), [1, 3, 4, 6, 8]);
        assert_eq!(report.rows.len(), 3, "{:?}", report.rows);
    }

    #[test]
    fn a_file_that_includes_itself_ends() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("a"), "include a\n").expect("written");
        let refused = Lines::read(&dir.path().join("a"), None, &mut Report::default());
        assert!(refused.is_err_and(|why| why.contains("include itself")));
    }
}
