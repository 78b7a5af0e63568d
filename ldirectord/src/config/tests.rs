//! Small cases of the grammar, of each deviation and of messages.

use super::*;
use base::ipvs::{Family, Protocol, ServiceKey, service_flags};
use std::net::IpAddr;
use std::path::Path;

/// A machine where `web1` resolves, `http` is a port, and only `/var/log` can be written.
struct Fake;

impl Environment for Fake {
    fn resolve(&mut self, host: &str, family: Family) -> Option<IpAddr> {
        (host == "web1").then(|| if family == Family::IPv4 { "192.0.2.1" } else { "2001:db8::11" }.parse().unwrap())
    }

    fn service_port(&mut self, name: &str, _: Option<Protocol>) -> Option<u16> {
        [("http", 80), ("domain", 53)].into_iter().find(|(n, _)| *n == name).map(|(_, p)| p)
    }

    fn is_directory(&mut self, path: &Path) -> bool {
        path == Path::new("/etc")
    }

    fn can_append(&mut self, path: &Path) -> Result<(), String> {
        if path.starts_with("/var/log") { Ok(()) } else { Err("no such directory".to_owned()) }
    }
}

fn accept(text: &str) -> Accepted {
    parse(text, &mut Fake).unwrap_or_else(|e| panic!("refused: {e}\n{text}"))
}

fn refuse(text: &str) -> Problem {
    parse(text, &mut Fake).map(|a| a.config).expect_err(text).errors.remove(0)
}

fn deviations(text: &str) -> Vec<Deviation> {
    accept(text).warnings.into_iter().filter_map(|w| w.deviation).collect()
}

const ONE: &str = "virtual=10.0.0.1:80\n    real=10.0.1.1:80 masq\n";

#[test]
fn defaults() {
    let config = accept(ONE).config;
    let v = &config.virtuals[0];
    assert_eq!(
        (v.check_timeout_ms, v.negotiate_timeout_ms, v.check_interval_ms, v.failure_count),
        (5_000, 30_000, 10_000, 1)
    );
    assert_eq!((v.check_type, v.service, v.scheduler.as_str()), (CheckType::Negotiate, ServiceProtocol::Http, "wrr"));
    assert_eq!((v.quiescent, v.clean_stop), (false, true));
    assert_eq!(v.url(&v.reals[0]), "http://10.0.1.1:80/");
    assert_eq!(config.global.log, LogTarget::File(DEFAULT_LOG.into()));
    assert!(accept("").config.virtuals.is_empty());
}

#[test]
fn directives_of_our_own_are_off_unless_asked_for() {
    let plain = accept(ONE);
    let off = Tuning { rise: 1, flap: None, check_jitter_percent: 0, slow_start_s: 0, agent: None };
    assert_eq!(plain.config.virtuals[0].tuning, off);
    assert!(plain.own_directives.is_empty());
    let head = "rise=2\nfall=4\nflapchanges=3\ncheckjitter=10\nslowstart=30\nagentport=8000\nagentinterval=5\nagentsend=\"w\\n\"\n\
        sourceaddress=10.0.0.9\nsourceaddress=2001:db8::9\n";
    let all = accept(&format!("{head}{ONE}    flapwindow=20\n    flaphold=7\n    tlsverify=yes\n    sqltls=no\n"));
    let v = &all.config.virtuals[0];
    let flap = Some(Flap { changes: 3, window_s: 20, hold_s: 7 });
    let agent = Some(Agent { port: 8000, interval_ms: 5_000, send: "w\\n".to_owned() });
    let t = &v.tuning;
    assert_eq!((v.failure_count, t.rise, t.flap, t.check_jitter_percent, t.slow_start_s), (4, 2, flap, 10, 30));
    assert_eq!((&t.agent, v.source_addr), (&agent, "10.0.0.9".parse().ok()));
    let six = accept(&format!("{head}virtual6=[2001:db8::1]:80\n    real6=[2001:db8::2] gate\n")).config;
    assert_eq!(six.virtuals[0].source_addr, "2001:db8::9".parse().ok());
    let names: Vec<(&str, u32)> = all.own_directives.iter().map(|o| (o.name.as_str(), o.line)).collect();
    assert_eq!((names.len(), names[0], names[12], names[13]), (14, ("rise", 1), ("tlsverify", 15), ("sqltls", 16)));
    assert!(
        names.iter().all(|(n, _)| OWN_DIRECTIVES.iter().any(|(own, ..)| own == n)) && all.warnings.is_empty(),
        "{:?}",
        all.warnings
    );
    // A virtual can turn them off again.
    let none = accept(&format!(
        "{head}{ONE}    rise=1\n    flapchanges=0\n    checkjitter=0\n    slowstart=0\n    agentport=0\n"
    ));
    let t = &none.config.virtuals[0].tuning;
    assert_eq!((t.rise, t.flap, t.check_jitter_percent, t.slow_start_s, &t.agent), (1, None, 0, 0, &None));
    for bad in [
        "rise=0",
        "fall=0",
        "checkjitter=51",
        "slowstart=90000",
        "agentport=70000",
        "sourceaddress=web1",
        "flapchanges=101",
    ] {
        assert_eq!(refuse(&format!("{bad}\n{ONE}")).line, 1, "{bad}");
    }
}

#[test]
fn fall_and_failurecount_are_one_thing() {
    let count = |text: &str| accept(text).config.virtuals[0].failure_count;
    assert_eq!(count(&format!("failurecount=2\nfall=3\n{ONE}")), 3);
    assert_eq!(count(&format!("fall=3\n{ONE}    failurecount=5\n")), 5, "the virtual's word is stronger");
    assert_eq!(count(&format!("failurecount=3\n{ONE}    fall=4\n    failurecount=5\n")), 4);
    let said = |text: &str| accept(text).warnings.iter().any(|w| w.expected.contains("fall counts"));
    assert!(
        said(&format!("{ONE}    fall=4\n    failurecount=5\n")) && !said(&format!("fall=3\n{ONE}    failurecount=5\n"))
    );
    assert_eq!(accept(&format!("fork=yes\nfork=yes\n{ONE}")).warnings.len(), 1, "said once");
}

#[test]
fn every_directive_of_a_virtual() {
    let text = "virtual6=[2001:db8::1]:http\n\treal6=web1:8080 masq 7 \"a\", \"b\" l:1 u:2\n\tchecktype=external\n\tservice=https\n\tprotocol=udp\n\tscheduler=sh\n\
        \tschedflags=sh-port\n\tpersistent=600\n\tnetmask=64\n\tops=yes\n\tcheckport=81\n\tchecktimeout=3\n\tnegotiatetimeout=4\n\tcheckcount=2\n\tfailurecount=5\n\
        \tcheckinterval=6\n\tcheckcommand=\"/bin/x -y\"\n\trequest=\"r\"\n\treceive=\"s\"\n\thttpmethod=head\n\tvirtualhost=\"h\"\n\tlogin=\"l\"\n\tpasswd=\"p\"\n\
        \tdatabase=\"d\"\n\tsecret=\"x\"\n\tload=\"y\"\n\tfallback6=[::1]:90 masq\n\tfallbackcommand=/bin/f\n\tquiescent=yes\n\tcleanstop=no\n\temailalert=a@b\n\
        \temailalertfreq=9\n\temailalertstatus=starting,running\n\tsmtp=mail\n\tmonitorfile=/var/log/m\n\tservicename=my service\n\tcomment=some text\n\ttlsverify=yes\n\ttlscafile=/etc/ca.pem\n\tsourceaddress=10.0.0.9\n";
    let v = accept(text).config.virtuals.remove(0);
    assert_eq!(v.key, ServiceKey::Address { protocol: Protocol::Udp, addr: "2001:db8::1".parse().unwrap(), port: 80 });
    let service = v.ipvs_service();
    assert_eq!(service.flags, service_flags::PERSISTENT | service_flags::ONE_PACKET | service_flags::SCHED2);
    assert_eq!((service.timeout_s, service.netmask), (600, 64));
    let r = &v.reals[0];
    assert_eq!((r.port, r.weight, r.request.as_str(), r.receive.as_str()), (8080, 7, "/a", "b"));
    assert_eq!((r.lower_threshold, r.upper_threshold, r.name.as_deref()), (Some(1), Some(2), Some("web1")));
    assert_eq!(v.port_to_check(r), 81);
    assert_eq!(v.fallback, Some(Fallback { addr: "::1".parse().unwrap(), port: 90, forward: Method::Masq }));
    assert_eq!(v.alert.when, AlertStatus { starting: true, running: true, stopping: false, reloading: false });
    assert_eq!((v.quiescent, v.clean_stop, v.tls_verify), (true, false, true));
    assert_eq!(v.tls_ca_file.as_deref(), Some(Path::new("/etc/ca.pem")));
    assert_eq!(v.source_addr, Some("10.0.0.9".parse().unwrap()));
    assert_eq!((v.service_name.as_deref(), v.check_command.as_str()), (Some("my service"), "/bin/x -y"));
}

#[test]
fn global_directives() {
    let text = "autoreload=yes\ncallback=\"/usr/bin/sync it\"\nlogfile=\"local0\"\nemailalert=\"a@b, c@d\"\nemailalertfrom=x@y\nemailalertfreq=0\n\
        emailalertstatus=none\nsmtp=m\nexecute=one.cf\nexecute=two.cf\nsupervised\nfork=yes\nquiescent=yes\nreaddquiescent=yes\ncleanstop=no\n\
        maintenancedir=/etc\nfallbackcommand=\"/bin/x\" y # z\nchecktimeout=3\nnegotiatetimeout=4\n";
    let accepted = accept(text);
    let g = accepted.config.global;
    assert_eq!(g.execute, ["one.cf", "two.cf"]);
    assert_eq!(
        (g.autoreload, g.supervised, g.fork, g.quiescent, g.readd_quiescent, g.clean_stop),
        (true, true, true, true, true, false)
    );
    assert_eq!(g.log, LogTarget::Syslog("local0".to_owned()));
    assert_eq!(g.alert.when, AlertStatus::NONE);
    assert_eq!(g.fallback_command.as_deref(), Some("\"/bin/x\" y # z"));
    assert!(accepted.warnings.iter().any(|w| w.found.contains("bare")));
}

#[test]
fn timeouts_inherit_crosswise() {
    let both = |text: &str| {
        let v = accept(text).config.virtuals.remove(0);
        (v.check_timeout_ms, v.negotiate_timeout_ms)
    };
    assert_eq!(both(&format!("checktimeout=7\n{ONE}")), (7_000, 7_000));
    assert_eq!(both(&format!("checktimeout=7\n{ONE}    negotiatetimeout=9\n")), (9_000, 9_000));
    assert_eq!(both(&format!("checktimeout=7\nnegotiatetimeout=8\n{ONE}")), (7_000, 8_000));
}

#[test]
fn accepted_with_a_warning() {
    let cases: &[(&str, Deviation)] = &[
        ("quiescent=yes\r\nvirtual=1\r\n", Deviation::Crlf),
        ("quiescent=yes \n", Deviation::TrailingBlank),
        ("quiescent=yes # c\n", Deviation::TrailingComment),
        ("fallback=127.0.0.1:80 gate # c\n", Deviation::TrailingComment),
        ("virtual=10.0.0.1:80\n    request=\"a#b\"\n", Deviation::HashInQuotes),
        (" quiescent=yes\n", Deviation::IndentedGlobal),
        ("  virtual=10.0.0.1:80\n    real=10.0.1.1 gate\n", Deviation::IndentedGlobal),
        ("virtual=10.0.0.1:80\n real=10.0.1.1 gate\n", Deviation::ShortIndent),
        ("virtual=10.0.0.1:80\nreal=10.0.1.1 gate\n", Deviation::Unindented),
        ("virtual=10.0.0.1:80\n    real=10.0.1.1 gate\n\n    scheduler=rr\n", Deviation::BlankInBlock),
        ("Quiescent=yes\n", Deviation::UpperCase),
        ("virtual=10.0.0.1:80\n    real=10.0.1.1 GATE\n", Deviation::UpperCase),
        ("virtual=\"10.0.0.1:80\"\n", Deviation::QuotedValue),
        ("virtual=10.0.0.1:80\n    login=foo\n", Deviation::UnquotedValue),
        ("virtual=10.0.0.1:80\n    receive=\"\"\n", Deviation::EmptyValue),
        ("virtual=10.0.0.1:80\n    real=10.0.1.1 gate u:5 l:1\n", Deviation::ThresholdOrder),
        ("virtual=10.0.0.1:80\n    real=59.154.201.254->59.154.202.1 gate\n", Deviation::RangeDigits),
        ("fallback=127.0.0.1\nvirtual=5\n", Deviation::FallbackMark),
        ("virtual=10.0.0.1:80\n    checkinterval=3\n", Deviation::IntervalInBlock),
        ("virtual=10.0.0.1:80\n    netmask=255.0.0.0\n", Deviation::EmptyMask),
    ];
    for (text, deviation) in cases {
        assert!(deviations(text).contains(deviation), "{text:?} gives {:?}", deviations(text));
    }
    assert_eq!(
        accept("virtual=10.0.0.1:80\n    real=59.154.201.254->59.154.202.1 gate\n").config.virtuals[0].reals.len(),
        4
    );
}

#[test]
fn refused_with_place_and_cure() {
    let cases: &[(&str, (u32, u32), &str)] = &[
        ("virtual=10.0.0.1\n", (1, 9), "firewall mark"),
        ("virtual=0\n", (1, 9), ""),
        ("virtual=[::1]:80\n", (1, 9), "virtual6"),
        ("virtual6=2001:db8::1:80\n", (1, 10), "brackets"),
        ("virtual=10.0.0.1:nosuch\n", (1, 9), ""),
        ("timeout=3\n", (1, 1), "checktimeout"),
        ("quiesent=yes\n", (1, 1), "quiescent"),
        ("checktimeout=0\n", (1, 14), ""),
        ("emailalertstatus=none,all\n", (1, 18), ""),
        ("logfile=\"/nowhere/x\"\n", (1, 9), ""),
        ("virtual=10.0.0.1:80\n    real=10.0.1.1:80 nat\n", (2, 22), "masq"),
        ("virtual=10.0.0.1:80\n    real=10.0.1.1:80\n", (2, 10), ""),
        ("virtual=10.0.0.1:80\n    real6=[::1]:80 gate\n", (2, 5), ""),
        ("virtual=10.0.0.1:80\n    real=10.0.1.1:80 masq 1.5\n", (2, 27), ""),
        ("virtual=10.0.0.1:80\n    real=10.0.1.3->10.0.1.1:80 masq\n", (2, 10), ""),
        ("virtual=10.0.0.1:80\n    real=10.0.0.0->10.255.0.0 masq\n", (2, 10), ""),
        ("virtual=10.0.0.1:80\n    real=nohost:80 masq\n", (2, 10), ""),
        ("virtual=10.0.0.1:80\n    autoreload=yes\n", (2, 5), "column 1"),
        ("virtual=10.0.0.1:80\n    receive=\"(\"\n", (2, 13), ""),
        ("virtual=10.0.0.1:80\n    monitorfile=/nowhere/f\n", (2, 17), ""),
        ("virtual=1\n    protocol=tcp\n", (2, 14), "remove"),
        ("virtual=10.0.0.1:80\nvirtual=10.0.0.1:http\n", (2, 9), "join"),
        ("virtual=10.0.0.1:80\nquiescent=yes\n    real=10.0.1.1 gate\n", (3, 1), "under its virtual"),
    ];
    for (text, place, cure) in cases {
        let problem = refuse(text);
        assert_eq!((problem.line, problem.column), *place, "{text:?}: {problem}");
        assert!(problem.cure.contains(cure), "{text:?}: {problem}");
        assert!(!problem.expected.is_empty());
    }
}

#[test]
fn all_errors_are_collected() {
    let refused = parse("foo=1\nbar=2\nvirtual=10.0.0.1:80\n    real=x\n", &mut Fake).unwrap_err();
    assert_eq!(refused.errors.iter().map(|e| e.line).collect::<Vec<_>>(), [1, 2, 4]);
}

#[test]
fn a_tutorial_pasted_without_indentation() {
    let text = "checktimeout=10\ncheckinterval=2\nautoreload=yes\nlogfile=\"/var/log/ldirectord.log\"\nquiescent=yes\n\nvirtual=192.168.1.100:80\n\
        real=192.168.1.11:80 gate\nreal=192.168.1.12:80 gate\nreal=192.168.1.13:80 gate\nfallback=127.0.0.1:80\nservice=http\nrequest=\"index.html\"\n\
        receive=\"HTTP/1.1 200 OK\"\nscheduler=rr\nprotocol=tcp\nchecktype=negotiate\n";
    let accepted = accept(text);
    let v = &accepted.config.virtuals[0];
    assert_eq!((v.reals.len(), v.scheduler.as_str(), v.quiescent), (3, "rr", true));
    assert!(v.fallback.is_some());
    assert_eq!(accepted.warnings.iter().filter(|w| w.deviation == Some(Deviation::Unindented)).count(), 1);
    let said = lint(&accepted.config);
    assert!(said.iter().any(|w| w.expected.contains("only the body is searched")), "{said:?}");
}

#[test]
fn lint_finds_likely_mistakes() {
    let says = |text: &str, part: &str| {
        let found = lint(&accept(text).config);
        assert!(found.iter().any(|p| p.to_string().contains(part)), "{text:?}: {found:?}");
    };
    says("virtual=10.0.0.1:80\n    real=10.0.1.1:8080 gate\n", "cannot change the port");
    says("virtual=10.0.0.1:80\n    real=10.0.1.1 gate\n    real=10.0.1.1 gate 2\n", "again");
    says("virtual=10.0.0.1:80\n    real=10.0.0.1 gate\n", "is the service itself");
    says("virtual=10.0.0.1:80\n    real=10.0.1.1 gate\n    httpmethod=HEAD\n    receive=\"x\"\n", "no body");
    says("virtual=10.0.0.1:1521\n    real=10.0.1.1 gate\n", "no check for service = oracle");
    says("virtual=10.0.0.1:3306\n    real=10.0.1.1 gate\n", "a login and a request");
    says("virtual=10.0.0.1:80\n    real=10.0.1.1 gate\n    sourceaddress=2001:db8::1\n", "family");
    says("virtual=5\n    real=10.0.1.1 gate\n    checktype=connect\n", "no port to check");
    says("virtual=10.0.0.1:0\n    real=10.0.1.1:0 masq\n    checkport=80\n", "only with persistence");
    says("virtual=10.0.0.1:443\n    real=10.0.1.1:443 gate\n    service=http\n", "the other protocol");
    says("virtual=10.0.0.1:80\n    real=10.0.1.1 gate\n    fallback=10.0.0.1:80 gate\n", "it is the service itself");
    says("virtual=10.0.0.1:50051\n    real=10.0.1.1 gate\n    service=grpc\n    tlsverify=yes\n", "speaks no TLS");
    says("virtual=10.0.0.1:443\n    real=10.0.1.1 gate\n    tlscafile=/no/such.pem\n", "no such file");
    says("virtual=10.0.0.1:80\n    real=10.0.1.1 gate\n    request=\"GET / HTTP/1.0\"\n", "a path such as");
    assert!(lint(&accept(ONE).config).is_empty());
    assert!(lint(&accept("virtual=10.0.0.1:80\n    real=10.0.1.1 masq\n").config).is_empty());
}

#[test]
fn each_deviation_has_its_row() {
    for row in DEVIATIONS {
        assert_eq!(row.deviation.row().id, row.id);
        assert!(!row.reason.is_empty() && !row.original.is_empty() && !row.ours.is_empty());
        assert_eq!(serde_json::to_value(row.deviation).unwrap(), row.id);
    }
}

mod random {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn no_text_panics(text in "\\PC{0,200}") {
            let _ = parse(&text, &mut Fake);
        }

        #[test]
        fn no_mixture_of_pieces_panics(pieces in proptest::collection::vec(prop_oneof![
            Just("virtual="), Just("virtual6="), Just("    "), Just("\t"), Just("\n"), Just("real="), Just("10.0.0.1"), Just(":80"), Just("[2001:db8::1]"), Just("->"),
            Just(" gate"), Just(" masq"), Just("\""), Just(","), Just("#"), Just("="), Just("request="), Just("receive="), Just("l:5"), Just("u:"), Just("quiescent=yes"),
            Just("checktype="), Just("5"), Just("ü"), Just("fallback="), Just("netmask="), Just("-w"), Just("\r\n"), Just("checkport="), Just("scheduler="),
        ], 0..40)) {
            let text: String = pieces.concat();
            if let Err(refused) = parse(&text, &mut Fake) {
                prop_assert!(refused.errors.iter().all(|e| e.line >= 1 && e.column >= 1));
            }
        }
    }
}

#[test]
fn what_editors_and_web_pages_do_to_a_file() {
    assert_eq!(deviations(&format!("\u{feff}checkinterval=3\n{ONE}")), [Deviation::ByteOrderMark]);
    assert_eq!(accept(&format!("\u{feff}checkinterval=3\n{ONE}")).config.global.check_interval_ms, 3_000);
    let pasted = format!("{ONE}    receive = \u{201c}al\u{201c}ive\u{201d} # x\n    request=\u{201e}a\u{201f}\n");
    assert_eq!(deviations(&pasted), [Deviation::PastedQuotes]);
    let v = accept(&pasted).config.virtuals.remove(0);
    assert_eq!((v.receive.as_str(), v.request.as_str()), ("al\u{201c}ive", "/a"));
    let hard = "virtual=10.0.0.1:80\n\u{a0}\u{a0}\u{a0}\u{a0}real\u{a0}=\u{a0}10.0.1.1:80 masq\n";
    assert_eq!(accept(hard).config.virtuals[0].reals.len(), 1);
    // What is meant literally stays.
    let literal = accept(&format!("{ONE}    receive=\"\u{201c}quoted\u{201d}\"\n"));
    assert_eq!(literal.config.virtuals[0].receive, "\u{201c}quoted\u{201d}");
    assert!(refuse("\u{fffd}\u{fffd}v\0i\0r\0").found.contains("UTF-16"));
}

#[test]
fn other_programs_files_and_bare_ipv6() {
    let text = "global_defs {\n}\nvirtual_server 10.0.0.1 80 {\n    real_server 10.0.1.1 80 {\n    }\n}\n";
    let errors = parse(text, &mut Fake).map(|a| a.config).unwrap_err().errors;
    assert_eq!((errors.len(), errors[0].line), (1, 1));
    assert!(errors[0].found.contains("keepalived") && errors[0].cure.contains("virtual = ADDRESS:PORT"));
    for name in ["virtual", "virtual6"] {
        let cure = refuse(&format!("{name}=2001:db8::1:80\n    real6=[2001:db8::2]:80 masq\n")).cure;
        assert!(cure.ends_with("virtual6 = [2001:db8::1]:80"), "{cure}");
    }
}

#[test]
fn intervals_and_timeouts_in_milliseconds() {
    let text = format!("checkinterval=250ms\nchecktimeout = 100ms\n{ONE}    negotiatetimeout=2\n");
    let v = accept(&text).config.virtuals.remove(0);
    assert_eq!((v.check_interval_ms, v.check_timeout_ms, v.negotiate_timeout_ms), (250, 2_000, 2_000));
    assert_eq!(deviations(&text), [Deviation::Milliseconds, Deviation::Milliseconds]);
    assert!(refuse(&format!("checkinterval=5ms\n{ONE}")).expected.contains("10ms"));
    assert_eq!(accept(&format!("checkinterval=7x\n{ONE}")).config.global.check_interval_ms, 7_000);
}

#[test]
fn checks_that_cannot_fail_or_succeed_and_their_lines() {
    let said = |body: &str| {
        let config = accept(&format!("{ONE}{body}")).config;
        lint(&config).into_iter().map(|p| (p.line, format!("{} {}", p.found, p.expected))).collect::<Vec<_>>()
    };
    let has = |body: &str, line: u32, words: &str| {
        let all = said(body);
        assert!(all.iter().any(|(l, text)| *l == line && text.contains(words)), "{body}: {all:?}");
    };
    has("    quiescent=yes\n    checktype=external\n", 4, "counts as up");
    has("    checktype=external\n    checkcommand=/nowhere/check\n", 4, "stay down");
    has("    service=radius\n", 3, "stay down");
    has("    service=http\n    request=\"http://www.example.test:8080/x\"\n", 4, "asked is 10.0.1.1:80, without TLS");
    has("    checkport=80\n    service=none\n", 4, "without a check");
    assert!(said("    service=http\n    request=\"http://www.example.test/x\"\n").is_empty());
}
