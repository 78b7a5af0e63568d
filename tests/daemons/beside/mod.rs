//! The Perl original beside our checks: the same odd servers are asked by both, under the same directives, and the verdicts compared.
//!
//! The original's own functions judge: its program is read where Debian has installed it, without the part that runs at start,
//! and `service_set`, through which every check tells its verdict, is listened to. Where the two differ the row says why ours is
//! right; a row that agrees though it says that they differ fails as well. The whole table is printed.

mod rows;
mod servers;

use crate::fixture::{Daemon, V4, configured, daemon, verdict};
use std::collections::BTreeMap;
use std::process::{Command, Stdio};

/// Rows that are asked about at a time, of each side.
const AT_A_TIME: usize = 8;

pub struct Row {
    pub what: &'static str,
    pub port: u16,
    pub directives: String,
    /// Ours.
    pub up: bool,
    /// Why the original's verdict is another one, and the wrong one; empty: it is the same.
    pub differs: &'static str,
}

#[test]
fn odd_servers_as_the_original_judges_them() {
    let Some(mut d) = daemon("ldirectord", "ldirectord") else { return };
    let rows = rows::rows(&mut d);
    assert!(rows.len() >= 60, "{} rows", rows.len());
    let theirs = originals(&d, &rows);
    let ours = ours(&rows);
    let (mut table, mut wrong) = (Vec::new(), Vec::new());
    for (n, row) in rows.iter().enumerate() {
        let (up, answer) = &ours[&n];
        let their = theirs.get(&n).map_or("no verdict", String::as_str);
        let word = if *up { "up" } else { "down" };
        table.push(format!("{:44} ours {word:5} original {their:10} {}", row.what, row.differs));
        if *up != row.up {
            wrong.push(format!("{}: ours is {word}: {answer}", row.what));
        }
        if (their != word) == row.differs.is_empty() {
            wrong.push(format!("{}: ours {word} ({answer}), the original's {their}: {:?}", row.what, row.differs));
        }
    }
    println!("{}", table.join("\n"));
    let differ = rows.iter().filter(|r| !r.differs.is_empty()).count();
    println!("{} rows, {differ} differ", rows.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    d.confirm_as("service=all");
}

fn ours(rows: &[Row]) -> BTreeMap<usize, (bool, String)> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let verdicts = std::sync::Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(row) = rows.get(n) else { return };
                    let v = verdict(V4, row.port, &row.directives);
                    verdicts.lock().expect("no panic").insert(n, (v.up, v.answer));
                }
            });
        }
    });
    verdicts.into_inner().expect("no panic")
}

/// By number of the row: `up`, `down`; `hangs`, if it was not done after the time that its directives allow and more; `refused`, if
/// it does not take the configuration.
fn originals(d: &Daemon, rows: &[Row]) -> BTreeMap<usize, String> {
    let script = d.write("original.pl", ORIGINAL);
    let mut command = Command::new("perl");
    command.arg(script).arg(AT_A_TIME.to_string());
    for (n, row) in rows.iter().enumerate() {
        command.arg(d.write(&format!("{n}.cf"), configured(V4, row.port, &row.directives)));
    }
    let log = std::fs::File::create(d.path("log-perl")).expect("a log");
    let out = command.stdin(Stdio::null()).stderr(log).output().expect("perl");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{text}\n{}", d.logs());
    let verdicts = text.lines().filter_map(|l| l.strip_prefix("verdict ")?.split_once(' '));
    verdicts.filter_map(|(file, word)| Some((file.parse().ok()?, word.to_owned()))).collect()
}

const ORIGINAL: &str = r##"
use POSIX ":sys_wait_h";
my ($at_a_time, @files) = splice @ARGV;
open my $program, '<', '/usr/sbin/ldirectord' or die "ldirectord: $!";
my $text = join '', <$program>;
$text =~ s/^# main code\n.*?^# functions\n//ms or die "this ldirectord is another one";
eval "$text\n1;" or die $@;
our ($DEBUG, $LDIRLOG, $CONFIG, @VIRTUAL);
($DEBUG, $LDIRLOG) = (0, '/dev/null');

sub judge {
    my $file = shift;
    my $word = 'none';
    no warnings 'redefine';
    *main::service_set = sub { $word = $_[2] };
    *main::ld_log = sub { };
    *main::ld_exit = sub { $word = 'refused'; die "refused\n" };
    # What is printed by a check goes nowhere.
    open my $out, '>&', \*STDOUT or die;
    open STDOUT, '>', '/dev/null' or die;
    $CONFIG = $file;
    local $SIG{__DIE__} = 'DEFAULT';
    eval { read_config(); ld_setup(); _check_real($VIRTUAL[0], $VIRTUAL[0]{real}[0]); };
    syswrite $out, "verdict " . ($file =~ m{(\d+)\.cf$})[0] . " $word\n";
    POSIX::_exit(0);
}

my %since;
while (@files or %since) {
    while (@files and keys %since < $at_a_time) {
        my $file = shift @files;
        my $pid = fork;
        if (!$pid) { setpgrp; judge($file) }
        $since{$pid} = [time, $file];
    }
    while ((my $pid = waitpid -1, WNOHANG) > 0) { delete $since{$pid} }
    for my $pid (keys %since) {
        next if time - $since{$pid}[0] < 25;
        kill KILL => -$pid;
        syswrite STDOUT, "verdict " . ($since{$pid}[1] =~ m{(\d+)\.cf$})[0] . " hangs\n";
        waitpid $pid, 0;
        delete $since{$pid};
    }
    select undef, undef, undef, 0.05;
}
"##;
