//! One fixed answer in place of a server, whatever is asked: lets a fuzzer try every parser of answers through the check itself.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Script {
    pub answer: Vec<u8>,
    /// Bytes of a datagram that are taken from the request, so that its number is right.
    pub echoed: Range<usize>,
}

impl Script {
    /// Fills in the answer to a request and gives its length.
    pub(super) fn datagram(&self, request: &[u8], buffer: &mut [u8]) -> usize {
        let len = self.answer.len().min(buffer.len());
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
        let end = (self.at + buffer.remaining()).min(self.script.answer.len());
        buffer.put_slice(&self.script.answer[self.at..end]);
        self.at = end;
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
