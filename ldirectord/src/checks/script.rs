//! One fixed answer in place of a server, whatever is asked: lets a fuzzer try every parser of answers through the check itself.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[derive(Debug)]
pub struct Script {
    answer: Vec<u8>,
    /// Bytes that are taken from the request, so that its number is right.
    echoed: Range<usize>,
    /// Bytes that each stream gives; the answer is repeated as often as that needs.
    offered: usize,
    /// Whether a stream says nothing before it was asked.
    asked_first: bool,
    taken: AtomicUsize,
}

/// What a check made of a script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Judged {
    pub up: bool,
    /// Bytes that it has read.
    pub taken: usize,
}

impl Script {
    pub fn new(answer: &[u8], echoed: Range<usize>, offered: usize) -> Script {
        Script { answer: answer.to_vec(), echoed, offered, asked_first: false, taken: AtomicUsize::new(0) }
    }

    /// A server that waits for a request, as those of HTTP do.
    pub fn asked_first(self, yes: bool) -> Script {
        Script { asked_first: yes, ..self }
    }

    pub(super) fn judged(&self, up: bool) -> Judged {
        Judged { up, taken: self.taken.load(Ordering::Relaxed) }
    }

    /// Fills in the answer to a request and gives its length.
    pub(super) fn datagram(&self, request: &[u8], buffer: &mut [u8]) -> usize {
        let len = self.answer.len().min(buffer.len());
        self.taken.fetch_add(len, Ordering::Relaxed);
        buffer[..len].copy_from_slice(&self.answer[..len]);
        for at in self.echoed.clone() {
            if let (Some(to), Some(from)) = (buffer[..len].get_mut(at), request.get(at)) {
                *to = *from;
            }
        }
        len
    }
}

/// A stream that takes everything and gives the answer, then ends.
pub(super) struct Scripted {
    script: Arc<Script>,
    at: usize,
    asked: bool,
    /// The beginning of the request, for what is echoed.
    sent: Vec<u8>,
    reader: Option<Waker>,
}

impl Scripted {
    pub fn new(script: Arc<Script>) -> Scripted {
        Scripted { asked: !script.asked_first, script, at: 0, sent: Vec::new(), reader: None }
    }
}

impl AsyncRead for Scripted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.asked {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let answer = &self.script.answer;
        let end = (self.at + buffer.remaining()).min(self.script.offered);
        let from = self.at;
        let first = buffer.filled().len();
        let mut at = from;
        while at < end && !answer.is_empty() {
            let part = &answer[at % answer.len()..];
            let part = &part[..part.len().min(end - at)];
            buffer.put_slice(part);
            at += part.len();
        }
        for n in self.script.echoed.clone().filter(|n| (from..at).contains(n)) {
            if let Some(byte) = self.sent.get(n) {
                buffer.filled_mut()[first + n - from] = *byte;
            }
        }
        self.script.taken.fetch_add(at - from, Ordering::Relaxed);
        self.at = at;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.asked = true;
        if self.sent.len() < self.script.echoed.end {
            self.sent.extend_from_slice(bytes);
        }
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
