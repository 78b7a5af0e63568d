//! The commands of a front end as a table, and the one parser that holds every line to it.
//!
//! A row is a line of usage: `resource move ID [NODE] | --wait? --force`. Lower-case words are typed as they stand (`a/b`: either),
//! `UPPER` is an argument, `[UPPER]` may be left out, `...` takes any number more; behind the bar stand the options: `--x` alone,
//! `--x=` with a value, `--x?` with or without, `!-f` not though it is taken elsewhere, `*` any. What stands in no row is refused, an option of another command too, and help asked
//! for anywhere is given in place of the command. So nothing that was typed is ever dropped in silence.

use std::collections::BTreeSet;
use std::fmt::Write;

/// A front end's commands.
pub struct Table {
    pub program: &'static str,
    /// Options that stand before or within any command.
    pub anywhere: &'static [&'static str],
    pub rows: &'static [&'static str],
    /// Shown below all rows.
    pub examples: &'static [&'static str],
}

/// A line that stands in the table.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Line {
    pub words: Vec<String>,
    options: Vec<(String, Option<String>)>,
}

/// Why a line is not performed.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// Help was asked for: the usage of what it was asked about.
    Help(String),
    /// No command has these words.
    Unknown { words: String, usage: String },
    /// The command is there, with other arguments.
    Arguments { usage: String },
    /// The command does not know these options, which are in order; another may.
    Options { options: Vec<String>, usage: String },
    /// The option stands without the value that it needs, or with one that it does not take.
    Value { option: String, needed: bool },
}

impl Line {
    pub fn words(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }

    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|(name, _)| name == option)
    }

    /// The value that was given last.
    pub fn value(&self, option: &str) -> Option<&str> {
        self.options.iter().rev().find(|(name, _)| name == option)?.1.as_deref()
    }
}

impl Table {
    /// Takes a line apart; see the module.
    pub fn parse(&self, args: &[String]) -> Result<Line, Refused> {
        let mut line = Line::default();
        let mut help = false;
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if !is_option(arg) {
                line.words.push(arg.clone());
                continue;
            }
            let (name, mut value) = match arg.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (arg.clone(), None),
            };
            if ["--help", "-h"].contains(&name.as_str()) {
                help = true;
                continue;
            }
            // Whether a value follows must be known before it is known which command it is.
            match self.known(&name) {
                Some('=') if value.is_none() => {
                    value = Some(args.next().ok_or(Refused::Value { option: name.clone(), needed: true })?.clone());
                }
                Some(' ') if value.is_some() => return Err(Refused::Value { option: name, needed: false }),
                _ => {}
            }
            line.options.push((name, value));
        }
        help |= line.words.iter().any(|w| w == "help");
        if help {
            line.words.retain(|w| w != "help");
            return Err(Refused::Help(self.usage(&line.words)));
        }
        self.check(line)
    }

    fn check(&self, line: Line) -> Result<Line, Refused> {
        let rows = self.matching(&line.words);
        let usage = self.usage(&line.words);
        let Some(longest) = rows.iter().map(|r| r.literals.len()).max() else {
            return Err(Refused::Unknown { words: line.words.join(" "), usage });
        };
        let given = line.words.len() - longest;
        let fits = |r: &Row| r.literals.len() == longest && r.least <= given && r.most.is_none_or(|most| given <= most);
        let fitting: Vec<&Row> = rows.iter().filter(|r| fits(r)).collect();
        if fitting.is_empty() {
            return Err(Refused::Arguments { usage });
        }
        let takes = |r: &Row, option: &str| {
            let except = r.options.iter().any(|o| o.strip_prefix('!') == Some(option));
            let everywhere = r.any_option || self.anywhere.iter().any(|o| name_of(o) == option);
            everywhere && !except || r.options.iter().any(|o| name_of(o) == option)
        };
        let given = line.options.iter().map(|(option, _)| option);
        let mut odd: Vec<String> = given.filter(|o| !fitting.iter().any(|r| takes(r, o))).cloned().collect();
        odd.sort();
        odd.dedup();
        if odd.is_empty() { Ok(line) } else { Err(Refused::Options { options: odd, usage }) }
    }

    /// Words that begin one command's word alone, with that word: `(place, word)`.
    pub fn begun(&self, words: &[String]) -> Vec<(usize, &'static str)> {
        let rows: Vec<Row> = self.rows.iter().map(|r| Row::of(r)).collect();
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut found = Vec::new();
        for at in 0..words.len() {
            let led =
                |r: &&Row| r.literals.iter().zip(&words[..at]).all(|(l, w)| l.contains(w)) && r.literals.len() >= at;
            let here: Vec<&Row> = rows.iter().filter(led).collect();
            // What may be an argument is none of the command's words.
            if here.iter().any(|r| r.literals.len() == at && r.most != Some(0)) {
                break;
            }
            let groups: BTreeSet<&Vec<&str>> = here.iter().filter_map(|r| r.literals.get(at)).collect();
            if groups.iter().any(|g| g.contains(&words[at])) {
                continue;
            }
            let begins = |g: &&&Vec<&'static str>| g.iter().copied().find(|w| w.starts_with(words[at]));
            let begun: BTreeSet<&'static str> = groups.iter().filter_map(|g| begins(&g)).collect();
            match begun.first().filter(|_| begun.len() == 1 && !words[at].is_empty()) {
                Some(word) => {
                    found.push((at, *word));
                    words[at] = word;
                }
                None => break,
            }
        }
        found
    }

    /// What may follow these words: words of commands, options, and by their names the arguments.
    pub fn next(&self, words: &[String]) -> (BTreeSet<String>, BTreeSet<&'static str>) {
        let given: Vec<&str> = words.iter().map(String::as_str).filter(|w| !is_option(w)).collect();
        let (mut following, mut arguments) = (BTreeSet::new(), BTreeSet::new());
        for text in self.rows {
            let row = Row::of(text);
            if !row.literals.iter().zip(&given).all(|(l, w)| l.contains(w)) {
                continue;
            }
            if let Some(literal) = row.literals.get(given.len()) {
                following.extend(literal.iter().map(|w| (*w).to_owned()));
                continue;
            }
            let named = text.split(" | ").next().unwrap_or_default().split_whitespace().skip(row.literals.len());
            let named: Vec<&'static str> = named.map(|w| w.trim_matches(['[', ']'])).collect();
            let last = named.last().filter(|w| w.ends_with("..."));
            arguments.extend(named.get(given.len() - row.literals.len()).or(last).map(|w| w.trim_end_matches("...")));
            let options = row.options.iter().filter(|o| !o.starts_with(['*', '!']));
            following.extend(options.map(|o| o.trim_end_matches('?').to_owned()));
        }
        (following, arguments)
    }

    /// The command that a mistyped one is nearest to.
    pub fn nearest(&self, words: &[String]) -> Option<String> {
        let rows: Vec<Row> = self.rows.iter().map(|r| Row::of(r)).collect();
        let led = |r: &Row, n: usize| {
            r.literals.len() > n && r.literals.iter().zip(&words[..n]).all(|(l, w)| l.contains(&w.as_str()))
        };
        let at = (0..words.len()).rev().find(|n| rows.iter().any(|r| led(r, *n)))?;
        let known: Vec<&str> = rows.iter().filter(|r| led(r, at)).flat_map(|r| r.literals[at].clone()).collect();
        let near = cib::schema::closest(&words[at], &known)?;
        let before = words[..at].iter().map(|w| format!("{w} ")).collect::<String>();
        Some(format!("{before}{near}"))
    }

    /// How an option stands in the table: `=` with a value, `?` either, ` ` alone.
    fn known(&self, name: &str) -> Option<char> {
        let rows = self.rows.iter().map(|r| Row::of(r));
        let all = self.anywhere.iter().copied().chain(rows.flat_map(|r| r.options));
        all.filter(|o| name_of(o) == name).map(|o| o.chars().last().filter(|c| "=?".contains(*c)).unwrap_or(' ')).next()
    }

    /// Rows whose literal words all stand at the beginning of the line.
    fn matching(&self, words: &[String]) -> Vec<Row> {
        let all = self.rows.iter().map(|r| Row::of(r));
        all.filter(|r| {
            r.literals.len() <= words.len() && r.literals.iter().zip(words).all(|(l, w)| l.contains(&w.as_str()))
        })
        .collect()
    }

    /// Rows that the words lead to, longest lead first; all where they lead nowhere.
    pub fn usage(&self, words: &[String]) -> String {
        let lead = |row: &'static str| {
            let row = Row::of(row);
            row.literals.iter().zip(words).take_while(|(l, w)| l.contains(&w.as_str())).count()
        };
        let best = self.rows.iter().map(|r| lead(r)).max().unwrap_or(0);
        let mut out = format!("Usage: {} COMMAND ...\n", self.program);
        if best == 0 && !words.is_empty() {
            out.push_str("'help' lists the commands");
            return out;
        }
        out.push('\n');
        for row in self.rows.iter().filter(|r| lead(r) == best) {
            let (words, options) = row.split_once(" | ").unwrap_or((row, ""));
            let options: String = options
                .split_whitespace()
                .filter(|o| !o.starts_with(['*', '!']))
                .map(|o| format!(" [{}]", shown(o)))
                .collect();
            let _ = writeln!(out, "  {words}{options}");
        }
        if best == 0 {
            let _ = writeln!(out, "\nExamples:");
            for example in self.examples {
                let _ = writeln!(out, "  {example}");
            }
        }
        out
    }
}

/// `--x`, `--x=VALUE` or `--x[=VALUE]`.
fn shown(option: &str) -> String {
    match option.chars().last() {
        Some('=') => format!("{option}VALUE"),
        Some('?') => format!("{}[=VALUE]", name_of(option)),
        _ => option.to_owned(),
    }
}

fn name_of(option: &str) -> &str {
    option.trim_end_matches(['=', '?'])
}

/// `-INFINITY`, `-inf:` and `-100` are scores.
fn is_option(arg: &str) -> bool {
    let Some(rest) = arg.strip_prefix('-').filter(|rest| !rest.is_empty()) else { return false };
    let score = rest.to_ascii_lowercase();
    let is_score =
        score.starts_with(|c: char| c.is_ascii_digit()) || ["inf", "infinity"].contains(&score.trim_end_matches(':'));
    // A value of several words (`-X <xml ...>`) is none either.
    !is_score && !arg.contains(' ')
}

struct Row {
    literals: Vec<Vec<&'static str>>,
    least: usize,
    most: Option<usize>,
    options: Vec<&'static str>,
    /// For commands that do nothing but say what to do instead.
    any_option: bool,
}

impl Row {
    fn of(text: &'static str) -> Row {
        let (words, options) = text.split_once(" | ").unwrap_or((text, ""));
        let options: Vec<&str> = options.split_whitespace().collect();
        let mut row =
            Row { literals: Vec::new(), least: 0, most: Some(0), any_option: options.contains(&"*"), options };
        for word in words.split_whitespace() {
            match word.trim_matches(['[', ']']) {
                "..." => row.most = None,
                name if name.starts_with(|c: char| c.is_uppercase()) => {
                    row.least += usize::from(!word.starts_with('['));
                    row.most = match name.ends_with("...") {
                        true => None,
                        false => row.most.map(|m| m + 1),
                    };
                }
                name => row.literals.push(name.split('/').collect()),
            }
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Table = Table {
        program: "tool",
        anywhere: &["-f="],
        rows: &[
            "cluster stop [NODE...] | --all",
            "cluster setup NAME NODE... | *",
            "resource move ID [NODE] | --wait?",
            "resource delete/remove ID... | --force",
            "configure erase",
            "score ID SCORE",
            "live ... | * !-f",
        ],
        examples: &[],
    };

    fn parse(text: &str) -> Result<Line, Refused> {
        TABLE.parse(&text.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_stands_in_no_row_is_refused() {
        assert!(
            matches!(parse("configure erase --force"), Err(Refused::Options { options, .. }) if options == ["--force"])
        );
        assert!(matches!(parse("configure erase --what"), Err(Refused::Options { .. })));
        assert!(matches!(parse("configure erase nodes"), Err(Refused::Arguments { .. })));
        assert!(matches!(parse("resource delete"), Err(Refused::Arguments { .. })));
        assert!(matches!(parse("resource move a b c"), Err(Refused::Arguments { .. })));
        assert!(matches!(parse("nonsense"), Err(Refused::Unknown { .. })));
        assert!(matches!(parse("resource move a --all"), Err(Refused::Options { .. })), "another command's option");
        let several = parse("resource move a --what --all --force");
        assert!(matches!(several, Err(Refused::Options { options, .. }) if options == ["--all", "--force", "--what"]));
        assert!(matches!(parse("live x -f c --any"), Err(Refused::Options { options, .. }) if options == ["-f"]));
    }

    #[test]
    fn what_is_begun_or_mistyped_is_known_again() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(TABLE.begun(&words("resource mo a")), [(1, "move")]);
        assert_eq!(TABLE.begun(&words("res d x")), [(0, "resource"), (1, "delete")], "one command of two words");
        assert_eq!(TABLE.begun(&words("cluster s")), [], "setup or stop");
        assert_eq!(TABLE.begun(&words("score er")), [], "an argument");
        assert_eq!(TABLE.begun(&words("resource move mo")), []);
        assert_eq!(TABLE.nearest(&words("resource mvoe a")).as_deref(), Some("resource move"));
        assert_eq!(TABLE.nearest(&words("clutser stop")).as_deref(), Some("cluster"));
        assert_eq!(TABLE.nearest(&words("resource qqqqqqqq")), None);
    }

    #[test]
    fn what_may_follow() {
        let next = |text: &str| {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            let (following, arguments) = TABLE.next(&words);
            (following.into_iter().collect::<Vec<_>>().join(" "), arguments.into_iter().collect::<Vec<_>>().join(" "))
        };
        assert_eq!(next("resource"), ("delete move remove".to_owned(), String::new()));
        assert_eq!(next("resource move a"), ("--wait".to_owned(), "NODE".to_owned()));
        assert_eq!(next("resource delete a b"), ("--force".to_owned(), "ID".to_owned()));
        assert_eq!(next("resource move a b"), ("--wait".to_owned(), String::new()));
        assert_eq!(next("nonsense"), (String::new(), String::new()));
    }

    #[test]
    fn help_anywhere_is_help_alone() {
        for line in [
            "configure erase --help",
            "configure erase -h",
            "configure help erase",
            "--help configure erase",
            "configure erase help",
        ] {
            let Err(Refused::Help(text)) = parse(line) else { panic!("{line}") };
            assert!(text.contains("  configure erase\n") && !text.contains("cluster stop"), "{text}");
        }
        assert!(
            matches!(parse("help"), Err(Refused::Help(text)) if text.contains("cluster stop") && text.contains("score ID SCORE"))
        );
    }

    #[test]
    fn options_and_their_values() {
        let line = parse("resource move a b --wait=5 -f cib.xml").expect("good");
        assert_eq!(
            (line.words(), line.value("--wait"), line.value("-f")),
            (vec!["resource", "move", "a", "b"], Some("5"), Some("cib.xml"))
        );
        assert!(parse("resource move a --wait").expect("good").has("--wait"));
        assert_eq!(parse("resource move a -f"), Err(Refused::Value { option: "-f".to_owned(), needed: true }));
        assert_eq!(parse("cluster stop --all=1"), Err(Refused::Value { option: "--all".to_owned(), needed: false }));
        assert!(parse("cluster setup x n1 n2 --start --link=2").is_ok());
        for score in ["-INFINITY", "-inf:", "-5"] {
            assert_eq!(parse(&format!("score a {score}")).expect("good").words().len(), 3);
        }
    }
}
