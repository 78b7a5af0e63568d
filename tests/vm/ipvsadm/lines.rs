//! Random command lines for `ipvsadm`, valid and invalid, from a seed. Pure: the same seed gives the same lines.

/// A small generator (xorshift64*); good enough to shuffle words, and the same everywhere.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n.max(1)
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// Few addresses, so that lines meet what earlier lines made.
const V4: &[&str] = &[
    "10.0.0.1:80",
    "10.0.0.1:443",
    "10.0.0.2:80",
    "10.0.0.2:53",
    "10.0.0.3:0",
    "10.0.0.3",
    "10.1:80",
    "0x0a000001:81",
];
const V6: &[&str] = &["[2001:db8::1]:80", "[2001:db8::2]:443", "[2001:db8::3]:0", "2001:db8::3"];
const REALS4: &[&str] = &["10.0.1.1:80", "10.0.1.2:8080", "10.0.1.3", "10.0.1.4:http", "127.0.0.1:80"];
const REALS6: &[&str] = &["[2001:db8:1::1]:80", "[2001:db8:1::2]:8080", "2001:db8:1::3", "[::1]:80"];
const SCHEDULERS: &[&str] =
    &["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "fo", "ovf", "nosuch", "none"];
const FLAGS: &[&str] = &[
    "flag-1",
    "flag-2,flag-3",
    "flag-1,flag-2,flag-3",
    "sh-port",
    "sh-fallback,sh-port",
    "mh-port,mh-fallback",
    "flag-4",
];
const NASTY: &[&str] = &[
    "",
    "-1",
    "0",
    "65535",
    "65536",
    "99999999999",
    "0x10",
    " 5",
    "+5",
    "5 ",
    "abc",
    "1.2.3",
    "::",
    "[::1]:80",
    "[::1]",
    "10.0.0.1:http",
    "10.0.0.1:",
    "255.255.255.0",
    "2147483647",
    "2147483648",
    "224.0.0.1:80",
    "ff02::5",
    "fe80::1",
    "host.invalid:80",
    "10.0.0.1:65536",
    "[10.0.0.1]:80",
    "a,b",
    "averyveryverylongname",
];
const LONE: &[&str] = &[
    "-n",
    "-c",
    "-o",
    "-6",
    "-m",
    "-i",
    "-g",
    "-X",
    "--stats",
    "--rate",
    "--thresholds",
    "--persistent-conn",
    "--nosort",
    "--sort",
    "--timeout",
    "--daemon",
    "--tun-info",
    "--tun-csum",
    "--tun-nocsum",
    "--tun-remcsum",
    "--bogus",
    "-q",
    "-",
    "--",
    "-A",
    "-D",
    "-Ln",
    "foo",
];
const VALUED: &[&str] = &[
    "-t",
    "-u",
    "-f",
    "-s",
    "-p",
    "-M",
    "-r",
    "-w",
    "-x",
    "-y",
    "-b",
    "--pe",
    "--syncid",
    "--mcast-interface",
    "--mcast-group",
    "--mcast-port",
    "--mcast-ttl",
    "--sync-maxlen",
    "--tun-type",
    "--tun-port",
    "--sctp-service",
    "--weight",
    "--scheduler",
];

/// One command line and what it reads from standard input.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub words: Vec<String>,
    pub input: String,
}

/// `count` lines that show no intended difference.
pub fn lines(seed: u64, count: usize) -> Vec<Line> {
    let mut random = Random::new(seed);
    let mut lines = Vec::with_capacity(count);
    while lines.len() < count {
        let line = line(&mut random);
        if !differs_by_intent(&line) {
            lines.push(line);
        }
    }
    lines
}

fn line(random: &mut Random) -> Line {
    if random.chance(4) {
        let inner: Vec<String> = (0..random.below(5)).map(|_| spoken(&words(random))).collect();
        return Line { words: vec!["-R".to_owned()], input: inner.iter().map(|l| format!("{l}\n")).collect() };
    }
    Line { words: words(random), input: String::new() }
}

/// Words as a line of a rules file; empty words cannot be written there.
fn spoken(words: &[String]) -> String {
    words.iter().filter(|w| !w.is_empty()).map(|w| w.trim()).collect::<Vec<_>>().join(" ")
}

fn words(random: &mut Random) -> Vec<String> {
    let mut words = valid(random);
    if random.chance(30) {
        for _ in 0..=random.below(2) {
            spoil(&mut words, random);
        }
    }
    words
}

fn valid(random: &mut Random) -> Vec<String> {
    let text = match random.below(100) {
        0..22 => format!("-A {}{}", service(random), service_options(random)),
        22..28 => format!("-E {}{}", service(random), service_options(random)),
        28..32 => format!("-D {}", service(random)),
        32..56 => format!("-a {}", server(random)),
        56..66 => format!("-e {}", server(random)),
        66..72 => bare_server(random),
        72..73 => "-C".to_owned(),
        73..76 => {
            if random.chance(50) {
                "-Z".to_owned()
            } else {
                format!("-Z {}", service(random))
            }
        }
        76..79 => format!("--set {} {} {}", random.below(3000), random.below(300), random.below(3) * 100),
        79..84 => format!("--start-daemon {}{}", random.pick(&["master", "backup"]), daemon_options(random)),
        84..88 => format!("--stop-daemon {}", random.pick(&["master", "backup", "master --syncid 3"])),
        88..97 => format!("-L -n {}", listing(random)),
        _ => "-S -n".to_owned(),
    };
    text.split_whitespace().map(str::to_owned).collect()
}

fn service(random: &mut Random) -> String {
    match random.below(10) {
        0..5 => format!("-t {}", random.pick(V4)),
        5 => format!("-u {}", random.pick(V4)),
        6 => format!("--sctp-service {}", random.pick(V4)),
        7 => format!("-t {}", random.pick(V6)),
        8 => format!("-f {}", random.pick(&["1", "7", "2147483647"])),
        _ => format!("-f {} -6", random.pick(&["1", "9"])),
    }
}

fn service_options(random: &mut Random) -> String {
    let mut text = String::new();
    let mut maybe = |percent, options: &[&str]| {
        if random.chance(percent) {
            text.push(' ');
            text.push_str(random.pick(options));
        }
    };
    maybe(35, &["-p", "-p 60", "-p 2678400", "--persistent=5", "-p 600 -M 255.255.255.0", "-p 600 -M 64"]);
    maybe(10, &["-o"]);
    maybe(8, &["--pe sip", "--pe nosuch"]);
    if random.chance(80) {
        text = format!("{text} -s {}", random.pick(SCHEDULERS));
    }
    if random.chance(12) {
        text = format!("{text} -b {}", random.pick(FLAGS));
    }
    text
}

fn server(random: &mut Random) -> String {
    let service = service(random);
    let same = service.contains("db8") || service.contains("-6");
    let six = if random.chance(85) { same } else { !same };
    let real = if six { random.pick(REALS6) } else { random.pick(REALS4) };
    let mut text = format!("{service} -r {real}");
    let tunnels = [
        "-i",
        "-i --tun-type ipip",
        "-i --tun-type gue --tun-port 6080",
        "-i --tun-type gue --tun-port 6080 --tun-csum",
        "-i --tun-type gue --tun-port 5 --tun-remcsum",
        "-i --tun-type gre",
        "-i --tun-type gre --tun-csum",
        "-i --tun-type gue",
        "-i --tun-type gre --tun-nocsum",
        "-i --tun-type gue --tun-port 65535 --tun-nocsum",
        "-i --tun-type gue --tun-port 6080 --tun-csum --tun-remcsum",
        "-i --tun-type gre --tun-port 6080",
        "-i --tun-type gre --tun-remcsum",
        "-i --tun-type ipip --tun-csum",
        "--tun-type gue --tun-port 6080",
    ];
    match random.below(10) {
        0..3 => text.push_str(" -m"),
        3..5 => text.push_str(" -g"),
        5..8 => text = format!("{text} {}", random.pick(&tunnels)),
        _ => {}
    }
    for (option, values) in
        [("-w", ["0", "1", "100", "65535"]), ("-x", ["0", "10", "500", "2147483647"]), ("-y", ["0", "5", "10", "499"])]
    {
        if random.chance(30) {
            text = format!("{text} {option} {}", random.pick(&values));
        }
    }
    text
}

fn bare_server(random: &mut Random) -> String {
    format!("-d {} -r {}", service(random), if random.chance(80) { random.pick(REALS4) } else { random.pick(REALS6) })
}

fn daemon_options(random: &mut Random) -> String {
    let options = [
        " --mcast-interface eth1",
        " --mcast-interface nosuch0",
        " --syncid 3",
        " --syncid 255",
        " --sync-maxlen 1000",
        " --mcast-group 224.0.0.82",
        " --mcast-group ff02::81",
        " --mcast-port 9000",
        " --mcast-ttl 5",
    ];
    (0..random.below(4)).map(|_| random.pick(&options)).collect()
}

fn listing(random: &mut Random) -> String {
    let views = [
        "",
        "--stats",
        "--rate",
        "--thresholds",
        "--persistent-conn",
        "--tun-info",
        "--nosort",
        "--sort",
        "--exact --stats",
        "--timeout",
        "--daemon",
        "-c",
        "-c --persistent-conn",
        "--stats --rate",
    ];
    let view = random.pick(&views);
    if random.chance(25) { format!("{view} {}", service(random)) } else { view.to_owned() }
}

/// Makes a line wrong, or at least unusual.
fn spoil(words: &mut Vec<String>, random: &mut Random) {
    let at = random.below(words.len());
    match random.below(9) {
        0 => drop(words.remove(at)),
        1 => words.insert(at, words[at].clone()),
        2 | 3 => words[at] = random.pick(NASTY).to_owned(),
        4 => words.insert(at + 1, random.pick(LONE).to_owned()),
        5 => {
            words.push(random.pick(VALUED).to_owned());
            words.push(random.pick(NASTY).to_owned());
        }
        6 => {
            let other = random.below(words.len());
            words.swap(at, other);
        }
        7 => words.push(random.pick(LONE).to_owned()),
        _ if at + 1 < words.len() => {
            let value = words.remove(at + 1);
            let glue = if words[at].starts_with("--") { "=" } else { "" };
            words[at] = format!("{}{glue}{value}", words[at]);
        }
        _ => words.push(random.pick(NASTY).to_owned()),
    }
    if words.is_empty() {
        words.push("-Ln".to_owned());
    }
}

/// Lines on which ours differs on purpose; each reason stands in the table of deviations of the golden test.
fn differs_by_intent(line: &Line) -> bool {
    let mut all: Vec<Vec<String>> = vec![line.words.clone()];
    all.extend(line.input.lines().map(|l| l.split_whitespace().map(str::to_owned).collect()));
    all.iter().any(|words| {
        let at = |names: &[&str]| words.iter().position(|w| names.iter().any(|n| w.starts_with(n)));
        let service = at(&["-t", "-u", "-f", "--sctp-service", "--tcp-service", "--udp-service", "--fwmark"]);
        let early = |other: Option<usize>| other.is_some_and(|o| service.is_none_or(|s| o < s));
        let reordered = early(at(&["-M", "--netmask"])) || early(at(&["-r", "--real-server"]));
        let mask_then_v6 = at(&["-M"]).zip(at(&["-6"])).is_some_and(|(mask, six)| mask < six);
        let huge_mark = words.iter().any(|w| w.contains("2147483648") || w.contains("4294967295"));
        let empty_flags = words.iter().any(|w| w == ",");
        // Debian's build takes weights above 65535; 1.31 as recorded refuses them.
        let weight = at(&["-w", "--weight"]).is_some_and(|w| words[w..].iter().take(2).any(|v| is_heavy(v)));
        let v4_in_brackets = words.iter().any(|w| w.contains("[10.0.0.1]"));
        let third_flag = at(&["-b", "--sched-flags"])
            .is_some_and(|b| words[b..].iter().take(2).any(|w| w.contains("flag-3")))
            && words.iter().any(|w| matches!(w.strip_prefix("-s").unwrap_or(w), "sh" | "mh"));
        let help = words.iter().any(|w| w.starts_with("-h") || w == "--help");
        reordered || mask_then_v6 || huge_mark || empty_flags || weight || v4_in_brackets || third_flag || help
    })
}

fn is_heavy(word: &str) -> bool {
    let digits: String = word.chars().filter(char::is_ascii_digit).collect();
    digits.parse::<u64>().is_ok_and(|n| n > 65535)
}
