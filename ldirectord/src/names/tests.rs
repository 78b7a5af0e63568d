use super::*;
use crate::config::{Environment, parse};
use base::ipvs::Protocol;
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, SRV};
use hickory_proto::rr::{Name, RData};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::net::UdpSocket;

/// Records by name and the time that they hold; names that are not there do not exist.
pub(crate) type Zone = Arc<Mutex<BTreeMap<&'static str, (u32, Vec<RData>)>>>;

pub(crate) fn a(text: &str) -> RData {
    RData::A(A(text.parse().unwrap()))
}

fn srv(priority: u16, weight: u16, port: u16, host: &str) -> RData {
    RData::SRV(SRV::new(priority, weight, port, Name::from_ascii(host).unwrap()))
}

/// A name server with this zone; it is silent while the zone is empty.
pub(crate) async fn server(zone: Zone) -> Resolvers {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let servers = vec![socket.local_addr().unwrap()];
    tokio::spawn(async move {
        let mut packet = [0; 2048];
        while let Ok((n, from)) = socket.recv_from(&mut packet).await {
            let query = Message::from_vec(&packet[..n]).unwrap();
            let mut answer = query.clone();
            answer.metadata.message_type = MessageType::Response;
            {
                let zone = zone.lock().unwrap();
                if zone.is_empty() {
                    continue;
                }
                let asked = &query.queries[0];
                match zone.get(asked.name().to_ascii().trim_end_matches('.')) {
                    Some((ttl, records)) => {
                        for data in records.iter().filter(|d| d.record_type() == asked.query_type()) {
                            answer.add_answer(Record::from_rdata(asked.name().clone(), *ttl, data.clone()));
                        }
                    }
                    None => answer.metadata.response_code = ResponseCode::NXDomain,
                }
            }
            let _ = socket.send_to(&answer.to_vec().unwrap(), from).await;
        }
    });
    Resolvers { servers, ..Resolvers::default() }
}

fn all(name: &str) -> Asked {
    Asked { name: name.to_owned(), family: Family::IPv4, resolve: Resolve::All }
}

fn target(text: &str, service: Option<(u16, u32)>) -> Target {
    Target { addr: text.parse().unwrap(), service }
}

#[test]
fn files_of_the_resolver() {
    let conf = "# x\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\nnameserver bad\nsearch a.test b.test ; c\n";
    let found =
        Resolvers::parse(conf, "127.0.0.1 localhost lo # x\n192.0.2.9 Web.test\n192.0.2.8 web.test\nnonsense\n");
    let servers: Vec<String> = found.servers.iter().map(|s| s.to_string()).collect();
    assert_eq!(servers, ["192.0.2.1:53", "[fe80::1]:53"]);
    assert_eq!(found.search, ["a.test", "b.test"]);
    assert_eq!(found.hosts["web.test"].len(), 2);
    assert_eq!(Resolvers::parse("", "").servers, ["127.0.0.1:53".parse().unwrap()]);
}

/// A sinkhole's answer would be this machine, for a check.
#[tokio::test]
async fn what_no_packet_can_be_sent_to_is_no_server() {
    let zone = Zone::default();
    zone.lock().unwrap().insert("web.test", (7, vec![a("0.0.0.0"), a("239.1.1.1")]));
    zone.lock().unwrap().insert("host.test", (7, vec![a("192.0.2.7")]));
    zone.lock().unwrap().insert("_http.test", (7, vec![srv(1, 1, 0, "host.test."), srv(1, 1, 80, "host.test.")]));
    let resolvers = server(zone.clone()).await;
    let why = resolvers.ask(&all("web.test")).await.unwrap_err();
    assert!(why.contains("stands for 0.0.0.0 alone"), "{why}");
    let services = Asked { name: "_http.test".to_owned(), family: Family::IPv4, resolve: Resolve::Srv };
    assert_eq!(resolvers.ask(&services).await.unwrap().targets, [target("192.0.2.7", Some((80, 1)))]);
}

#[tokio::test]
async fn all_addresses_and_for_how_long() {
    let zone = Zone::default();
    zone.lock().unwrap().insert("web.example.test", (7, vec![a("192.0.2.9"), a("192.0.2.7"), a("192.0.2.9")]));
    zone.lock().unwrap().insert("six.example.test", (7, Vec::new()));
    let mut resolvers = server(zone.clone()).await;
    resolvers.search = vec!["example.test".to_owned()];
    let expected = vec![target("192.0.2.7", None), target("192.0.2.9", None)];
    for name in ["web.example.test", "web.example.test.", "web"] {
        let answer = resolvers.ask(&all(name)).await.unwrap();
        assert_eq!((answer.targets, answer.ttl), (expected.clone(), Duration::from_secs(7)), "{name}");
    }
    assert!(resolvers.ask(&all("six.example.test")).await.unwrap_err().contains("has no A record"));
    assert!(resolvers.ask(&all("gone.example.test")).await.unwrap_err().contains("there is no"));
    resolvers.hosts.insert("web".to_owned(), vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()]);
    assert_eq!(resolvers.ask(&all("WEB")).await.unwrap().targets, [target("192.0.2.1", None)], "hosts come first");
    zone.lock().unwrap().clear();
    assert!(resolvers.ask(&all("web.example.test")).await.unwrap_err().contains("does not answer"));
}

#[tokio::test]
async fn services_with_ports_and_weights() {
    let zone = Zone::default();
    let records = vec![
        srv(10, 3, 8080, "one.example.test."),
        srv(10, 0, 8081, "two.example.test."),
        srv(20, 9, 80, "spare.example.test."),
    ];
    {
        let mut zone = zone.lock().unwrap();
        zone.insert("_http._tcp.example.test", (30, records));
        zone.insert("one.example.test", (9, vec![a("192.0.2.1")]));
        zone.insert("two.example.test", (60, vec![a("192.0.2.2"), a("192.0.2.3")]));
        zone.insert("_none._tcp.example.test", (30, vec![srv(0, 0, 0, ".")]));
    }
    let resolvers = server(zone.clone()).await;
    let asked = |name: &str| Asked { resolve: Resolve::Srv, ..all(name) };
    let answer = resolvers.ask(&asked("_http._tcp.example.test")).await.unwrap();
    let (one, two) = (Some((8080, 3)), Some((8081, 1)));
    assert_eq!(answer.targets, [target("192.0.2.1", one), target("192.0.2.2", two), target("192.0.2.3", two)]);
    assert_eq!(answer.ttl, Duration::from_secs(9), "the shortest of all that it rests on");
    assert!(
        resolvers.ask(&asked("_none._tcp.example.test")).await.unwrap_err().contains("no SRV record with a server")
    );
    // One host that cannot be found: nothing is known, rather than less.
    zone.lock().unwrap().remove("two.example.test");
    assert!(resolvers.ask(&asked("_http._tcp.example.test")).await.is_err());
}

/// A resolver that knows two servers of every name.
struct Two;

impl Environment for Two {
    fn resolve(&mut self, _: &str, _: Family) -> Option<IpAddr> {
        Some([192, 0, 2, 1].into())
    }
    fn targets(&mut self, asked: &Asked) -> Result<Vec<Target>, String> {
        match asked.resolve {
            Resolve::Srv => Ok(vec![target("192.0.2.1", Some((81, 4))), target("192.0.2.2", Some((82, 1)))]),
            _ => Ok(vec![target("192.0.2.1", None), target("192.0.2.2", None)]),
        }
    }
    fn service_port(&mut self, _: &str, _: Option<Protocol>) -> Option<u16> {
        None
    }
    fn is_directory(&mut self, _: &Path) -> bool {
        true
    }
    fn can_append(&mut self, _: &Path) -> Result<(), String> {
        Ok(())
    }
}

fn reals(config: &Config) -> Vec<String> {
    config.virtuals[0].reals.iter().map(|r| format!("{}:{} {}", r.addr, r.port, r.weight)).collect()
}

#[test]
fn the_file_says_whether_a_name_stands_for_more_than_one() {
    let read = |directives: &str| {
        let text =
            format!("virtual=10.0.0.1:80\n    real=web.test:80 masq 5\n    real=192.0.2.9:80 masq 2\n{directives}");
        parse(&text, &mut Two).unwrap_or_else(|e| panic!("{e}"))
    };
    for stock in ["", "    resolve = once\n"] {
        assert_eq!(reals(&read(stock).config), ["192.0.2.1:80 5", "192.0.2.9:80 2"]);
        assert!(asked(&read(stock).config).is_empty());
    }
    let accepted = read("    resolve = all\n");
    assert_eq!(reals(&accepted.config), ["192.0.2.1:80 5", "192.0.2.2:80 5", "192.0.2.9:80 2"]);
    assert_eq!(accepted.own_directives[0].name, "resolve");
    assert_eq!(asked(&accepted.config), [all("web.test")]);
    let services = read("    resolve = srv\n");
    assert_eq!(reals(&services.config), ["192.0.2.1:81 4", "192.0.2.2:82 1", "192.0.2.9:80 2"]);
    assert!(services.warnings.iter().any(|w| w.line == 2 && w.expected.contains("record")), "{:?}", services.warnings);
    let text = "virtual=10.0.0.1:80\n    real=web.test:80 masq\n    resolve = many\n";
    assert_eq!(parse(text, &mut Two).unwrap_err().errors[0].line, 3);
}

#[test]
fn new_answers_change_their_own_lines_alone() {
    let text = "virtual=10.0.0.1:80\n    real=a.test:80 masq 5\n    real=b.test:80 masq 2 l:1 u:9\n    resolve=all\n";
    let config = parse(text, &mut Two).unwrap().config;
    let mut known = BTreeMap::from([(all("a.test"), vec![target("192.0.2.1", None), target("192.0.2.2", None)])]);
    assert_eq!(refreshed(&config, &known), None, "as before");
    known.insert(all("b.test"), vec![target("192.0.2.2", None), target("192.0.2.3", None), target("192.0.2.4", None)]);
    let new = refreshed(&config, &known).unwrap();
    let expected = ["192.0.2.1:80 5", "192.0.2.2:80 5", "192.0.2.2:80 2", "192.0.2.3:80 2", "192.0.2.4:80 2"];
    assert_eq!(reals(&new), expected);
    assert!(new.virtuals[0].reals[2..].iter().all(|r| r.upper_threshold == Some(9)));
}
