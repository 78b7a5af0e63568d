//! One fixed answer in place of a server, whatever is asked: lets a fuzzer try every parser of answers through the check itself.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[derive(Debug)]
pub struct Script {
    answer: Vec<u8>,
    /// Bytes of a datagram that are taken from the request, so that its number is right.
    echoed: Range<usize>,
    /// Bytes that each stream gives; the answer is repeated as often as that needs.
    offered: usize,
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
        Script { answer: answer.to_vec(), echoed, offered, taken: AtomicUsize::new(0) }
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
}

impl Scripted {
    pub fn new(script: Arc<Script>) -> Scripted {
        Scripted { script, at: 0 }
    }
}

impl AsyncRead for Scripted {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let answer = &self.script.answer;
        let end = (self.at + buffer.remaining()).min(self.script.offered);
        let from = self.at;
        let mut at = from;
        while at < end && !answer.is_empty() {
            let part = &answer[at % answer.len()..];
            let part = &part[..part.len().min(end - at)];
            buffer.put_slice(part);
            at += part.len();
        }
        self.script.taken.fetch_add(at - from, Ordering::Relaxed);
        self.at = at;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
