//! The project's own cases, over a table in memory. Recorded cases of the original are in the root package's golden tests.

use super::*;
use kernel::ipvs::render::Numeric;

/// Runs a line; returns exit code, output, errors.
fn run_with(line: &str, input: &str, table: &mut dyn Ipvs) -> (i32, String, String) {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let (mut out, mut err, mut input) = (Vec::new(), Vec::new(), input.as_bytes());
    let mut io = Io {
        input: &mut input,
        out: &mut out,
        err: &mut err,
        names: &Numeric,
        lookup: &|_| None,
        connections: &|| Ok(String::new()),
        probe: true,
        interactive: false,
    };
    let code = command_line(&words, table, &mut io);
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn done(line: &str, table: &mut Memory) -> String {
    let (code, out, err) = run_with(line, "", table);
    assert_eq!((code, err.as_str()), (0, ""), "{line}");
    out
}

fn refused(line: &str, input: &str, table: &mut Memory) -> (i32, String) {
    let before = table.clone();
    let (code, _, err) = run_with(line, input, table);
    assert_ne!(code, 0, "{line}");
    assert_eq!(*table, before, "{line} was refused but changed the table");
    (code, err)
}

const RULES: &str = "\
-A -t 10.0.0.1:80 -s rr
-a -t 10.0.0.1:80 -r 10.0.1.1:80 -g -w 1
-a -t 10.0.0.1:80 -r 10.0.1.2:80 -g -w 2 -x 9 -y 3
-A -f 5 -6 -s wlc -p 60 -M 64
";

fn table_of(rules: &str) -> Memory {
    let mut table = Memory::new();
    let (code, _, err) = run_with("-R", rules, &mut table);
    assert_eq!((code, err.as_str()), (0, ""));
    table
}

#[test]
fn a_table_is_made_and_saved() {
    let mut table = table_of(RULES);
    assert_eq!(done("-S -n", &mut table), RULES);
    assert!(!done("-S -n --classic", &mut table).contains("-x"));
    assert!(done("-L -n -t 10.0.0.1:80", &mut table).contains("10.0.1.2:80"));
}

#[test]
fn editing_resets_what_is_not_given_unless_kept() {
    let mut table = table_of(RULES);
    done("-e -t 10.0.0.1:80 -r 10.0.1.2 --keep -w 7", &mut table);
    assert!(done("-Sn", &mut table).contains("-w 7 -x 9 -y 3"));
    done("-e -t 10.0.0.1:80 -r 10.0.1.2", &mut table);
    assert!(done("-Sn", &mut table).contains("-r 10.0.1.2:80 -g -w 1\n"));
    done("-E -f 5 -6 --keep -s rr", &mut table);
    assert!(done("-Sn", &mut table).contains("-A -f 5 -6 -s rr -p 60 -M 64\n"));
}

#[test]
fn options_in_the_wrong_company_are_refused() {
    let mut table = table_of(RULES);
    let cases = [
        ("-L --keep", 2, "Illegal 'keep' option with the 'list' command\n"),
        ("-A -t 10.0.0.9:80 --json", 2, "Illegal 'json' option with the 'add-service' command\n"),
        ("-S --stats", 2, "Illegal 'stats' option with the 'save' command\n"),
        ("-Lz", 255, "-Lz: unknown option\n"),
        ("-A --exact=1", 255, "--exact=1: option does not take an argument\n"),
    ];
    for (line, code, message) in cases {
        assert_eq!(refused(line, "", &mut table), (code, message.to_owned()), "{line}");
    }
}

#[test]
fn plain_restore_goes_on_after_the_kernel_and_stops_at_bad_lines() {
    let mut table = Memory::new();
    let input = "-A -t 10.0.0.1:80\n-A -t 10.0.0.1:80\n-A -t 10.0.0.2:80\n";
    assert_eq!(run_with("-R", input, &mut table), (0, String::new(), "Service already exists\n".to_owned()));
    assert_eq!(table.entries().len(), 2);
    let (code, _, err) = run_with("-R", "-D -t 10.0.0.2:80\n-A -t bad\n-C\n", &mut table);
    assert_eq!((code, err.as_str()), (2, "illegal virtual server address[:port] specified\n"));
    assert_eq!(table.entries().len(), 1);
    let (code, _, err) = run_with("-R", "-L --bogus\n-Z\n", &mut table);
    assert_eq!((code, err.as_str()), (0, "--bogus: unknown option\n"));
}

#[test]
fn a_refused_listing_ends_a_restore() {
    let (code, err) = refused("-R", "-L -n -t 10.9.9.9:80\n-A -t 10.0.0.9:80\nabc\n", &mut Memory::new());
    assert_eq!((code, err.as_str()), (1, "No such service\n"));
}

#[test]
fn listing_within_a_restore_sees_the_lines_before_it() {
    let mut table = Memory::new();
    let (code, out, _) = run_with("-R", "-A -t 10.0.0.1:80 -s rr\n-Sn\n-C\n-Sn\n", &mut table);
    assert_eq!((code, out.as_str()), (0, "-A -t 10.0.0.1:80 -s rr\n"));
}

#[test]
fn check_names_every_wrong_line() {
    let mut table = table_of(RULES);
    let input = "# fine\n-A -t 10.0.0.1:80 -s rr\n-A -t 10.0.0.1:80\n\n-a -t 10.0.0.9:80 -r 10.0.1.1\n-L\n-A -t x\n";
    let (code, err) = refused("-R --check", input, &mut table);
    assert_eq!(code, 2);
    let expected = "\
line 3: Service already exists
line 5: Service not defined
line 6: 'list' has no place in a table's rules
line 7: illegal virtual server address[:port] specified
4 lines are wrong; nothing was changed
";
    assert_eq!(err, expected);
    assert_eq!(run_with("-R --check", RULES, &mut table).0, 0);
}

#[test]
fn what_the_table_does_not_have_is_no_rule() {
    for odd in ["-A -t 10.0.0.1:80 -s nosuch\n", "-A -t 10.0.0.1:80 --pe nosuch -p 60\n", "-A -u 10.0.0.1:80 -s\n"] {
        let plain = run_with("-R", odd, &mut Memory::new());
        assert!(plain.0 != 0 || !plain.2.is_empty(), "{odd}");
        let (code, err) = refused("-R --check", odd, &mut Memory::new());
        assert!(code == 2 && err.contains("line 1: "), "{odd}: {err}");
    }
}

#[test]
fn replace_changes_only_what_differs() {
    let mut table = table_of(RULES);
    table.entries_mut()[0].dests[1].stats.conns = 77;
    table.record();
    let wanted = RULES.replace("-r 10.0.1.2:80 -g -w 2", "-r 10.0.1.2:80 -g -w 5").replace("-A -f 5 -6", "-A -f 6 -6");
    let (code, _, err) = run_with("-R --replace", &wanted, &mut table);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(table.take_log().len(), 3, "one edit, one new service, one gone");
    assert_eq!(done("-Sn", &mut table), wanted);
    assert_eq!(table.entries()[0].dests[1].stats.conns, 77, "what stays keeps its counters");
    run_with("-R --replace", &wanted, &mut table);
    assert!(table.take_log().is_empty(), "the same table needs no change");
    refused("-R --replace", &wanted.replace("-w 5", "-w 70000"), &mut table);
}

/// A table that refuses the n-th change.
struct Failing {
    memory: Memory,
    changes_left: usize,
}

impl Ipvs for Failing {
    fn info(&mut self) -> Result<base::ipvs::Info, Error> {
        self.memory.info()
    }
    fn services(&mut self) -> Result<Vec<base::ipvs::ServiceEntry>, Error> {
        self.memory.services()
    }
    fn service(&mut self, key: &base::ipvs::ServiceKey) -> Result<base::ipvs::ServiceEntry, Error> {
        self.memory.service(key)
    }
    fn timeouts(&mut self) -> Result<base::ipvs::Timeouts, Error> {
        self.memory.timeouts()
    }
    fn daemons(&mut self) -> Result<Vec<base::ipvs::SyncDaemon>, Error> {
        self.memory.daemons()
    }
    fn apply(&mut self, change: &kernel::ipvs::Change) -> Result<(), Error> {
        self.changes_left = self.changes_left.wrapping_sub(1);
        if self.changes_left == 0 { Err(Error::OutOfMemory) } else { self.memory.apply(change) }
    }
}

#[test]
fn a_failed_replace_leaves_the_old_table() {
    let wanted = "-A -t 10.0.0.7:80 -s rr\n-a -t 10.0.0.7:80 -r 10.0.1.7:80 -m -w 1\n--set 5 6 7\n";
    for n in 1..8 {
        let mut table = Failing { memory: table_of(RULES), changes_left: n };
        let (code, _, err) = run_with("-R --replace", wanted, &mut table);
        let after = done("-Sn --full", &mut table.memory);
        if code == 0 {
            assert_eq!((after.as_str(), n > 5), (wanted, true), "change {n}");
        } else {
            assert_eq!(err, "Memory allocation problem; the old table is back\n", "change {n}");
            assert_eq!(after, format!("{RULES}--set 900 120 300\n"), "change {n}");
        }
    }
}

#[test]
fn json_can_be_listed_and_restored() {
    let mut table = table_of(RULES);
    let json = done("-L --json", &mut table);
    assert_eq!(Memory::from_json(&json, "test").unwrap().entries(), table.entries());
    let mut other = Memory::new();
    assert_eq!(run_with("-R --replace", &json, &mut other).0, 0);
    assert_eq!(done("-Sn", &mut other), RULES);
    assert!(done("-L --timeout --json", &mut table).contains("\"tcp_s\": 900"));
    assert!(done("-L -t 10.0.0.1:80 --json", &mut table).contains("10.0.1.1"));
    assert_eq!(done("-Lc --json", &mut table), "[]\n");
}

#[test]
fn without_ipvs_the_help_still_works() {
    let mut table = Memory::new();
    table.refuse(Some(Error::NoIpvs { hint: "package x".into() }));
    assert_eq!(run_with("-h", "", &mut table).0, 0);
    let (code, _, err) = run_with("-Ln", "", &mut table);
    assert_eq!(code, 2);
    let words = if nix::unistd::geteuid().is_root() {
        "Protocol not available"
    } else {
        "Permission denied (you must be root)"
    };
    assert!(err.starts_with(&format!("Can't initialize ipvs: {words}\nAre you sure")), "{err}");
    assert!(err.contains("modprobe ip_vs") && err.contains("package x"), "{err}");
    assert_eq!(run_with("-A -t x", "", &mut table).2, "illegal virtual server address[:port] specified\n");
}
