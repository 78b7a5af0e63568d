//! One connection to a remote node: a task that owns the stream and the [`Session`], and handles to it.
//!
//! ```text
//! open: TCP, TLS, hello -> ready: [orders, messages]* -> lost (told) or ended (the last handle is gone)
//! ```

use super::{News, tls};
use base::exit::OcfCode;
use base::{Operation, Reason};
use controller::remote::Proxied;
use controller::remote::session::{Event, Session};
use controller::{ExecResult, OpStatus};
use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_openssl::SslStream;
use wire::executor::{HEADER_BYTES, PORT, Reader, encode};

/// For name, TCP, TLS and the first reply together; then it is tried again.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Beyond an operation's own time, which the remote executor keeps.
const RESULT_GRACE: Duration = Duration::from_secs(5);
/// A host that vanishes is noticed after about so long, whatever the monitor's interval.
const SILENT_AT_MOST: Duration = Duration::from_secs(10);
const PROBE_EVERY: Duration = Duration::from_secs(3);
/// The loss of a connection is known before the ends of what was under way over it.
const AFTER_LOSS: Duration = Duration::from_millis(500);
/// Orders that wait for the task.
const ORDERS: usize = 1024;
const PIECE_BYTES: usize = 16 * 1024;

pub type Stream = SslStream<TcpStream>;

/// Where a connection goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    host: String,
    port: u16,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} port {}", self.host, self.port)
    }
}

impl Target {
    /// `server` and `port` of a remote node, `addr` of a guest; without, the node's own name and the usual port.
    pub fn of(operation: &Operation) -> Result<Target, String> {
        let host = operation.param("server").or_else(|| operation.param("addr")).unwrap_or(&operation.instance.id);
        let port = match operation.param("port").map(|p| (p, p.parse::<u16>())) {
            None => PORT,
            Some((_, Ok(port))) if port > 0 => port,
            Some((text, _)) => return Err(format!("parameter port: expected 1 to 65535, found `{text}`")),
        };
        Ok(Target { host: host.to_owned(), port })
    }
}

enum Order {
    Exec(Box<Operation>, oneshot::Sender<ExecResult>),
    Poke(oneshot::Sender<bool>),
    Forward(Box<Proxied>),
}

/// Ends the connection when the last copy goes.
#[derive(Clone)]
pub struct Link {
    orders: mpsc::Sender<Order>,
    lost: Arc<AtomicBool>,
    rival_expected: Arc<AtomicBool>,
}

pub fn not_connected() -> ExecResult {
    let reason = Reason::cleaned("no connection to the remote node");
    ExecResult { status: OpStatus::NotConnected, reason, ..ExecResult::done(OcfCode::ERROR) }
}

impl Link {
    pub async fn open(
        node: &str,
        target: &Target,
        me: &str,
        news: mpsc::UnboundedSender<News>,
    ) -> Result<Link, String> {
        let opened = tokio::time::timeout(CONNECT_WITHIN, shake_hands(target, me)).await;
        let talk = opened.map_err(|_| format!("no answer within {} s", CONNECT_WITHIN.as_secs()))??;
        let (orders, inbox) = mpsc::channel(ORDERS);
        let link = Link { orders, lost: Arc::default(), rival_expected: Arc::default() };
        let (lost, rival_expected) = (link.lost.clone(), link.rival_expected.clone());
        let task = Task {
            node: node.to_owned(),
            talk,
            news,
            rival_expected,
            waiting: BTreeMap::new(),
            pokes: Vec::new(),
            calls: 0,
        };
        tokio::spawn(task.run(inbox, lost));
        Ok(link)
    }

    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    pub fn expect_rival(&self) {
        self.rival_expected.store(true, Ordering::Relaxed);
    }

    pub async fn exec(&self, operation: Operation) -> ExecResult {
        let within = operation.timeout() + RESULT_GRACE;
        let (to, answer) = oneshot::channel();
        if self.orders.send(Order::Exec(Box::new(operation), to)).await.is_err() {
            return not_connected();
        }
        match tokio::time::timeout(within, answer).await {
            Ok(result) => result.unwrap_or_else(|_| not_connected()),
            Err(_) => ExecResult::timeout("the remote node did not tell a result in time"),
        }
    }

    /// Whether it answers; waits for as long as it takes.
    pub async fn poke(&self) -> bool {
        let (to, answer) = oneshot::channel();
        self.orders.send(Order::Poke(to)).await.is_ok() && answer.await.unwrap_or(false)
    }

    pub fn forward(&self, message: Proxied) {
        // A connection that does not keep up with answers will be noticed by its monitor.
        let _ = self.orders.try_send(Order::Forward(Box::new(message)));
    }
}

/// Stream, session and what was read of the next message.
struct Talk {
    stream: Stream,
    session: Session,
    reader: Reader,
    sent: u64,
}

async fn shake_hands(target: &Target, me: &str) -> Result<Talk, String> {
    let ssl = tls::client().map_err(|e| e.to_string())?;
    let tcp = TcpStream::connect((target.host.as_str(), target.port)).await.map_err(|e| e.to_string())?;
    watch_over(&tcp);
    let mut stream = SslStream::new(ssl, tcp).map_err(|e| e.to_string())?;
    Pin::new(&mut stream)
        .connect()
        .await
        .map_err(|e| format!("TLS: {e}; is {} the same on both sides?", tls::key_file().display()))?;
    let mut talk = Talk { stream, session: Session::begin(me), reader: Reader::default(), sent: 0 };
    talk.flush().await?;
    while !talk.session.is_ready() {
        for event in talk.hear().await? {
            if let Event::Refused(why) = event {
                return Err(why);
            }
        }
    }
    Ok(talk)
}

/// Header and text in a TLS record each: the original waits for its socket after it has read the header, and what is left of a record
/// that it has read is not there any more.
pub async fn send(stream: &mut Stream, frame: &[u8]) -> std::io::Result<()> {
    let (header, text) = frame.split_at(HEADER_BYTES.min(frame.len()));
    for part in [header, text] {
        stream.write_all(part).await?;
        stream.flush().await?;
    }
    Ok(())
}

/// The kernel looks whether the other host is still there.
pub fn watch_over(tcp: &TcpStream) {
    let probes = socket2::TcpKeepalive::new().with_time(PROBE_EVERY).with_interval(PROBE_EVERY).with_retries(2);
    let socket = socket2::SockRef::from(tcp);
    let set = socket.set_tcp_keepalive(&probes).and_then(|()| socket.set_tcp_user_timeout(Some(SILENT_AT_MOST)));
    if let Err(error) = set.and_then(|()| socket.set_tcp_nodelay(true)) {
        tracing::warn!("a connection to a remote node is not watched by the kernel: {error}");
    }
}

impl Talk {
    async fn flush(&mut self) -> Result<(), String> {
        for message in self.session.take_out() {
            self.sent += 1;
            let frame = encode(self.sent, &message.to_compact());
            send(&mut self.stream, &frame).await.map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// Waits for something to come; what it means may be nothing yet. Can be dropped while it waits.
    async fn hear(&mut self) -> Result<Vec<Event>, String> {
        let mut piece = vec![0; PIECE_BYTES];
        let read = self.stream.read(&mut piece).await.map_err(|e| e.to_string())?;
        if read == 0 {
            return Err("the remote executor has ended the connection".to_owned());
        }
        self.reader.push(&piece[..read]);
        let mut events = Vec::new();
        while let Some(text) = self.reader.next_text().map_err(|e| e.to_string())? {
            let message = xml::parse(&text).map_err(|e| format!("an unreadable message: {e}"))?;
            events.extend(self.session.receive(&message));
        }
        Ok(events)
    }
}

struct Task {
    node: String,
    talk: Talk,
    news: mpsc::UnboundedSender<News>,
    rival_expected: Arc<AtomicBool>,
    waiting: BTreeMap<u64, oneshot::Sender<ExecResult>>,
    pokes: Vec<oneshot::Sender<bool>>,
    calls: u64,
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::Receiver<Order>, lost: Arc<AtomicBool>) {
        let ended = self.serve(&mut inbox).await;
        lost.store(true, Ordering::Relaxed);
        if let Err(reason) = ended {
            tracing::error!("remote node {}: {reason}", self.node);
            // First the loss: what was under way then has no result of its own.
            let _ = self.news.send(News::Lost { node: self.node.clone(), reason });
            tokio::time::sleep(AFTER_LOSS).await;
        }
        let _ = tokio::time::timeout(Duration::from_secs(1), self.talk.stream.shutdown()).await;
    }

    async fn serve(&mut self, inbox: &mut mpsc::Receiver<Order>) -> Result<(), String> {
        loop {
            tokio::select! {
                order = inbox.recv() => match order {
                    Some(order) => self.order(order),
                    None => return Ok(()),
                },
                events = self.talk.hear() => {
                    for event in events? {
                        self.event(event)?;
                    }
                }
            }
            // Whom nobody waits for any more: given up, or cancelled.
            let gone: Vec<u64> = self.waiting.iter().filter(|(_, to)| to.is_closed()).map(|(call, _)| *call).collect();
            for call in gone {
                self.waiting.remove(&call);
                self.talk.session.give_up(call);
            }
            let within = tokio::time::timeout(SILENT_AT_MOST, self.talk.flush());
            within.await.map_err(|_| "it does not take what is sent to it".to_owned())??;
        }
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::Exec(operation, to) => {
                self.calls += 1;
                if self.talk.session.exec(self.calls, &operation) {
                    self.waiting.insert(self.calls, to);
                } else {
                    let many = Reason::cleaned("too many operations are under way on the remote node");
                    let _ = to.send(ExecResult {
                        reason: many,
                        status: OpStatus::Error,
                        ..ExecResult::done(OcfCode::ERROR)
                    });
                }
            }
            Order::Poke(to) => {
                self.talk.session.poke();
                self.pokes.push(to);
            }
            Order::Forward(message) => self.talk.session.forward(&message),
        }
    }

    fn event(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Done { call, result } => {
                if let Some(to) = self.waiting.remove(&call) {
                    let _ = to.send(result);
                }
            }
            Event::Poked => {
                for to in self.pokes.drain(..) {
                    let _ = to.send(true);
                }
            }
            Event::Rival if !self.rival_expected.load(Ordering::Relaxed) => {
                return Err("another cluster node has taken over the connection".to_owned());
            }
            Event::Rival | Event::Ready => {}
            Event::Refused(why) => return Err(why),
            Event::Proxied(message) => {
                let _ = self.news.send(News::Proxied { node: self.node.clone(), message });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_connection_goes() {
        let target = |params: &[(&str, &str)]| {
            let mut operation = Operation::default();
            operation.instance.id = "far".to_owned();
            operation.instance.params = params.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            Target::of(&operation).map(|t| t.to_string())
        };
        assert_eq!(target(&[]).as_deref(), Ok("far port 3121"));
        assert_eq!(target(&[("server", "10.0.0.9"), ("port", "99")]).as_deref(), Ok("10.0.0.9 port 99"));
        assert_eq!(target(&[("addr", "guest")]).as_deref(), Ok("guest port 3121"));
        for port in ["0", "65536", "x", "-1"] {
            assert!(target(&[("port", port)]).is_err(), "{port}");
        }
    }
}
