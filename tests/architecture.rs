//! Holds the workspace to DESIGN's table of arrows: who may use whom, and what pure crates must never see.
//!
//! A new crate or arrow needs a line here and a reason there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Crate, its directory, and the workspace crates that it may use.
const MAY_USE: &[(&str, &str, &[&str])] = &[
    ("base", "src/base", &[]),
    ("xml", "src/xml", &["base"]),
    ("wire", "src/wire", &["base"]),
    ("quorum", "src/quorum", &["base"]),
    ("totem", "src/totem", &["base", "wire"]),
    ("cib", "src/cib", &["base", "xml"]),
    ("scheduler", "src/scheduler", &["base", "xml", "cib"]),
    ("controller", "src/controller", &["base", "xml", "cib", "scheduler", "totem", "quorum"]),
    ("kernel", "src/kernel", &["base"]),
    ("policy", "ldirectord/policy", &["base"]),
    ("ldirectord", "ldirectord", &["base", "kernel", "policy"]),
    ("agents", "agents", &["base", "kernel", "ldirectord"]),
    ("daemon", "src/daemon", ALL),
    ("cli", "src/cli", &["base", "xml", "cib", "scheduler", "quorum", "wire", "kernel", "ldirectord"]),
    ("sim", "src/sim", &["base", "xml", "totem", "quorum", "cib", "scheduler", "controller", "policy"]),
    ("lab", "src/lab", &["base", "kernel"]),
    ("bascule", ".", &["base", "cli", "daemon", "kernel", "lab", "agents"]),
];

const ALL: &[&str] = &[
    "base",
    "xml",
    "wire",
    "quorum",
    "totem",
    "cib",
    "scheduler",
    "controller",
    "kernel",
    "policy",
    "ldirectord",
    "agents",
];

/// Crates whose results depend on their arguments alone.
const PURE: &[&str] = &["base", "xml", "wire", "quorum", "totem", "cib", "scheduler", "controller", "policy"];

/// What would let a clock, a socket, a file or a thread into a pure crate.
const IMPURE: &[&str] =
    &["tokio", "hyper", "hyper-util", "nix", "libc", "socket2", "neli", "rtnetlink", "tracing", "rand"];

/// Words in a pure crate's source that read the outside world.
const IMPURE_WORDS: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "std::net::UdpSocket",
    "std::net::Tcp",
    "std::fs::",
    "std::thread::spawn",
    "HashMap<",
];

fn manifest(dir: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir).join("Cargo.toml");
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Names under `[dependencies]` of a manifest.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[dependencies]";
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            names.extend(line.split(['.', ' ', '=']).next().map(str::to_owned));
        }
    }
    names
}

#[test]
fn every_member_stands_in_the_table() {
    let root = manifest(".");
    let members = root.split("members = [").nth(1).and_then(|rest| rest.split(']').next()).expect("a member list");
    let listed: BTreeSet<&str> =
        members.split('"').filter(|m| m.contains('/') || m.starts_with(char::is_alphabetic)).collect();
    let known: BTreeSet<&str> = MAY_USE.iter().map(|(_, dir, _)| *dir).filter(|d| *d != ".").collect();
    assert_eq!(listed, known);
}

#[test]
fn arrows_point_only_where_they_may() {
    let names: BTreeSet<&str> = MAY_USE.iter().map(|(name, ..)| *name).collect();
    let mut wrong = Vec::new();
    for (name, dir, may) in MAY_USE {
        for dep in dependencies(&manifest(dir)) {
            if names.contains(dep.as_str()) && !may.contains(&dep.as_str()) {
                wrong.push(format!("{name} -> {dep}"));
            }
        }
    }
    assert!(wrong.is_empty(), "forbidden arrows: {wrong:?}");
}

#[test]
fn pure_crates_depend_on_nothing_impure() {
    let dirs: BTreeMap<&str, &str> = MAY_USE.iter().map(|(name, dir, _)| (*name, *dir)).collect();
    for name in PURE {
        let found: Vec<String> =
            dependencies(&manifest(dirs[name])).into_iter().filter(|d| IMPURE.contains(&d.as_str())).collect();
        assert!(found.is_empty(), "{name} is pure, but depends on {found:?}");
    }
}

#[test]
fn pure_crates_read_nothing_of_the_outside_world() {
    let mut wrong = Vec::new();
    for (name, dir, _) in MAY_USE.iter().filter(|(name, ..)| PURE.contains(name)) {
        for file in rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(dir).join("src")) {
            if file.components().any(|c| c.as_os_str() == "tests") || file.ends_with("tests.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for word in IMPURE_WORDS.iter().filter(|w| code.contains(**w)) {
                wrong.push(format!("{name}: {} has {word}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `unsafe` stands in `kernel` only, and every file that has it says so at its top.
#[test]
fn unsafe_code_stays_in_the_kernel_crate() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, dir, _) in MAY_USE.iter().filter(|(name, ..)| !["kernel", "bascule"].contains(name)) {
        for file in rust_files(&root.join(dir).join("src")) {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(!text.contains("allow(unsafe_code)"), "{name}: {} allows unsafe code", file.display());
        }
    }
}

/// The macros of `std` panic where the reader has gone, which took the guard and half-finished commands with them; what
/// `stdout()` returns forgets a full disk. `kernel::output` is the one writer; `is_terminal` and progress bars only ask.
#[test]
fn output_goes_through_the_one_writer() {
    // The log's thread counts the lines that standard error did not take; the simulator's program is for its developers, a build script speaks to cargo.
    const WRITERS: &[&str] = &["kernel/src/output.rs", "daemon/src/logging/sink.rs", "sim/src/main.rs", "src/build.rs"];
    let mut wrong = Vec::new();
    for (file, code) in sources().filter(|(file, _)| !WRITERS.iter().any(|w| file.ends_with(w))) {
        for (number, line) in code.lines().enumerate() {
            let words: Vec<&str> = line.split(|c: char| !(c.is_alphanumeric() || "_!:".contains(c))).collect();
            let prints = ["print!", "println!", "eprint!", "eprintln!"].iter().any(|m| words.contains(m));
            let writes = ["io::stdout", "io::stderr"].iter().any(|w| words.iter().any(|word| word.ends_with(w)));
            // That of a parser of arguments, which forgets a full disk as well: see `kernel::output::say`.
            let prints = prints || line.contains(".print()");
            let asks = ["is_terminal", "stderr.lock", "IsTerminal", "with_writer"].iter().any(|w| line.contains(w));
            if !line.trim_start().starts_with("//") && (prints || writes && !asks) {
                wrong.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "not through kernel::output:\n{}", wrong.join("\n"));
}

/// Sets of pairs are read by `cib::config`, which knows references and the order of sets. Besides it stand those who look at
/// pairs as they are written: the schema and its upgrades, what edits or shows them, and the attributes that the status itself keeps.
#[test]
fn pairs_are_read_in_one_place() {
    const MAY_READ: &[&str] = &[
        "cib/src/config.rs",
        "cib/src/schema/verify.rs",
        "cib/src/upgrade/to_3.rs",
        "cib/src/upgrade/to_4.rs",
        "cib/src/upgrade/to_4/gone.rs",
        "cli/src/nvpairs.rs",
        "cli/src/crm/sets.rs",
        "cli/src/crm/show.rs",
        "controller/src/status.rs",
    ];
    let reads = |code: &str| code.contains("elements_named(\"nvpair\")") || code.contains("name() == \"nvpair\"");
    let wrong: Vec<String> = sources()
        .filter(|(file, code)| reads(code) && !MAY_READ.iter().any(|m| file.ends_with(m)))
        .map(|(file, _)| file.display().to_string())
        .collect();
    assert!(wrong.is_empty(), "not through cib::config: {wrong:?}");
}

/// Lines of a file and of a function that a reader can still hold in mind; tests are read as well.
const MAX_FILE_LINES: usize = 600;
const MAX_FUNCTION_LINES: usize = 80;
/// Beyond that today, by file and function (none: the file itself). Only ever shorter.
const STILL_LONG: &[(&str, &str)] = &[("src/daemon/src/node/start.rs", "node")];

#[test]
fn files_and_functions_stay_short() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    for file in ["src", "ldirectord", "agents", "tests"].iter().flat_map(|dir| rust_files(&root.join(dir))) {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let count = text.lines().count();
        let excused = |function: &str| STILL_LONG.iter().any(|(path, name)| file.ends_with(path) && *name == function);
        if count > MAX_FILE_LINES && !excused("") {
            wrong.push(format!("{}: {count} lines", file.display()));
        }
        let long = functions(&text).into_iter().filter(|(name, lines)| *lines > MAX_FUNCTION_LINES && !excused(name));
        wrong.extend(long.map(|(name, lines)| format!("{}: fn {name} has {lines} lines", file.display())));
    }
    assert!(wrong.is_empty(), "beyond {MAX_FILE_LINES} or {MAX_FUNCTION_LINES} lines:\n{}", wrong.join("\n"));
}

/// Functions with their lines, as rustfmt lays them out: the closing brace stands in the column of the first line.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = &line[..line.len() - code.len()];
        let mut words = code.split(' ').skip_while(|w| {
            ["pub", "const", "async", "unsafe", "extern", "\"C\""].contains(w)
                || w.starts_with("pub(")
                || w.ends_with(')')
        });
        let (Some("fn"), Some(name)) = (words.next(), words.next()) else { continue };
        let closes = |l: &&str| l.strip_prefix(indent).is_some_and(|rest| rest.starts_with('}'));
        let one_line = code.ends_with(['}', ';']);
        let length = if one_line { 1 } else { lines[i..].iter().position(closes).map_or(1, |n| n + 1) };
        found.push((name.split(['(', '<']).next().unwrap_or_default().to_owned(), length));
    }
    found
}

#[test]
fn lengths_are_counted() {
    let text = "pub(super) fn a<T>(\n    x: T,\n) -> T\nwhere\n    T: Copy,\n{\n    x\n}\n\nimpl X {\n    async fn b(self) {\n        if c {\n        }\n    }\n\n    fn d() {}\n}\n";
    let expected = [("a", 8), ("b", 4), ("d", 1)];
    assert_eq!(functions(text), expected.map(|(name, lines)| (name.to_owned(), lines)));
}

/// All sources of the product without their tests.
fn sources() -> impl Iterator<Item = (std::path::PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["src", "ldirectord", "agents"].iter().flat_map(|dir| rust_files(&root.join(dir)));
    files.filter_map(|file| {
        let test = |c: std::path::Component<'_>| {
            ["tests", "benches", "tests.rs", "target"].iter().any(|t| c.as_os_str() == *t)
        };
        if file.components().any(test) {
            return None;
        }
        let text = std::fs::read_to_string(&file).ok()?;
        Some((file, text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()))
    })
}

fn rust_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}
