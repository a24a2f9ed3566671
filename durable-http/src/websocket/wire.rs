//! A connection that speaks WebSocket, as the two sides that a [`SocketDriver`](durable_runtime::transport::SocketDriver) runs.
//!
//! Guarantees:
//! - Only whole frames are written, and nothing after the close frame.
//! - A ping is answered, the last one if there are several; a client that does not read its pongs costs one.
//! - A connection that says nothing and is told nothing has no buffers.
//! - When both sides have closed, or the client has broken the protocol, the connection is shut down behind the close frame, and what still
//!   comes is read and dropped: else the system would throw the close frame away with the connection.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use durable_runtime::transport::{CloseFrame, Incoming, Outgoing};
use futures_core::Stream;
use futures_sink::Sink;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::decode::{Decoder, Event};

/// How much is read at once.
const READ_BYTES: usize = 8 * 1024;

/// How much is put together before it is written.
const WRITE_BYTES: usize = 16 * 1024;

/// A payload longer than this is written from where it is.
const COPIED_BYTES_MAX: usize = 4 * 1024;

/// Both sides of a connection, for the driver of a socket whose messages have at most so many bytes.
pub(super) fn split<C>(connection: C, message_bytes_max: usize) -> (Reader<C>, Writer<C>) {
    let wire = Arc::new(Mutex::new(Wire {
        connection,
        decoder: Some(Decoder::new(message_bytes_max)),
        out: Vec::new(),
        written: 0,
        tail: Bytes::new(),
        has_moved: false,
        pong: None,
        has_closed: false,
        is_shut: false,
    }));
    (Reader(Arc::clone(&wire)), Writer(wire))
}

/// What the client says.
#[derive(Debug)]
pub(super) struct Reader<C>(Arc<Mutex<Wire<C>>>);

/// What the client is told.
#[derive(Debug)]
pub(super) struct Writer<C>(Arc<Mutex<Wire<C>>>);

#[derive(Debug)]
struct Wire<C> {
    connection: C,
    /// `None` when nothing counts any more that is read.
    decoder: Option<Decoder>,
    /// Frames, of which the first `written` bytes are written.
    out: Vec<u8>,
    written: usize,
    /// The payload of the last of them, if it is long.
    tail: Bytes,
    /// Whether the client has taken some of what it could not take at once.
    has_moved: bool,
    /// The payload of a pong that is owed.
    pong: Option<Bytes>,
    /// Whether the close frame is among `out`, or written.
    has_closed: bool,
    is_shut: bool,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Wire<C> {
    /// Puts a frame behind all others. Only when `tail` is empty.
    fn put(&mut self, opcode: OpCode, payload: Bytes) -> io::Result<()> {
        let header = FrameHeader { opcode, ..FrameHeader::default() };
        header.format(payload.len() as u64, &mut self.out).map_err(io::Error::other)?;
        if payload.len() <= COPIED_BYTES_MAX {
            self.out.extend_from_slice(&payload);
        } else {
            self.tail = payload;
        }
        Ok(())
    }

    /// Writes all there is to write.
    fn poll_out(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_frames(task))?;
            match self.pong.take() {
                Some(payload) if !self.has_closed => {
                    self.put(OpCode::Control(Control::Pong), payload)?;
                }
                _ => break,
            }
        }
        ready!(Pin::new(&mut self.connection).poll_flush(task))?;
        if self.is_shut_due() {
            ready!(Pin::new(&mut self.connection).poll_shutdown(task))?;
            self.is_shut = true;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_frames(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut has_written = false;
        while self.written < self.out.len() || !self.tail.is_empty() {
            let head = &self.out[self.written..];
            let parts = [IoSlice::new(head), IoSlice::new(&self.tail)];
            let connection = Pin::new(&mut self.connection);
            let count = match (head, &self.tail[..]) {
                (_, []) => connection.poll_write(task, head),
                ([], tail) => connection.poll_write(task, tail),
                _ => connection.poll_write_vectored(task, &parts),
            };
            let Poll::Ready(count) = count else {
                self.has_moved |= has_written;
                return Poll::Pending;
            };
            let count = count?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            has_written = true;
            let of_head = count.min(head.len());
            self.written += of_head;
            self.tail.advance(count - of_head);
        }
        (self.out, self.written, self.tail) = (Vec::new(), 0, Bytes::new());
        Poll::Ready(Ok(()))
    }

    fn is_shut_due(&self) -> bool {
        self.has_closed && self.decoder.is_none() && !self.is_shut
    }

    fn poll_incoming(&mut self, task: &mut Context<'_>) -> Poll<Option<Incoming>> {
        let mut has_read = false;
        loop {
            if self.owes() && matches!(self.poll_out(task), Poll::Ready(Err(_))) {
                return Poll::Ready(None);
            }
            if std::mem::take(&mut self.has_moved) {
                // Behind a long message no ping comes through, and the client is there all the same.
                return Poll::Ready(Some(Incoming::Heartbeat));
            }
            match self.decoder.as_mut().and_then(Decoder::next) {
                Some(Event::Ping(payload)) => {
                    self.pong = Some(payload);
                    // Written now if it can be; a failure is found when the next thing is read.
                    let _ = self.poll_out(task);
                    return Poll::Ready(Some(Incoming::Heartbeat));
                }
                Some(Event::Incoming(incoming)) => {
                    if matches!(incoming, Incoming::Close(_) | Incoming::Invalid { .. }) {
                        self.decoder = None;
                    }
                    return Poll::Ready(Some(incoming));
                }
                // A part of something long: the client cannot answer a ping before its end.
                None if has_read && self.decoder.is_some() => {
                    return Poll::Ready(Some(Incoming::Heartbeat));
                }
                None => {}
            }
            let mut place = [MaybeUninit::uninit(); READ_BYTES];
            let mut read = ReadBuf::uninit(&mut place);
            let result = ready!(Pin::new(&mut self.connection).poll_read(task, &mut read));
            if result.is_err() || read.filled().is_empty() {
                return Poll::Ready(None);
            }
            has_read = true;
            if let Some(decoder) = &mut self.decoder {
                decoder.feed(read.filled());
            }
        }
    }

    /// Whether something is to be written that the driver does not know of.
    fn owes(&self) -> bool {
        self.pong.is_some() || !self.out.is_empty() || self.is_shut_due()
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> Stream for Reader<C> {
    type Item = Incoming;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Incoming>> {
        self.0.lock().poll_incoming(task)
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> Sink<Outgoing> for Writer<C> {
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wire = self.0.lock();
        if wire.out.len() < WRITE_BYTES && wire.tail.is_empty() {
            return Poll::Ready(Ok(()));
        }
        wire.poll_frames(task)
    }

    fn start_send(self: Pin<&mut Self>, frame: Outgoing) -> io::Result<()> {
        let mut wire = self.0.lock();
        match frame {
            Outgoing::Text(bytes) => wire.put(OpCode::Data(Data::Text), bytes),
            Outgoing::Binary(bytes) => wire.put(OpCode::Data(Data::Binary), bytes),
            Outgoing::Ping => wire.put(OpCode::Control(Control::Ping), Bytes::new()),
            Outgoing::Close(frame) => {
                wire.has_closed = true;
                wire.put(OpCode::Control(Control::Close), close_payload(&frame))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().poll_out(task)
    }

    fn poll_close(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(task)
    }
}

fn close_payload(frame: &CloseFrame) -> Bytes {
    let Some(code) = frame.code else { return Bytes::new() };
    [&code.to_be_bytes(), frame.reason.as_bytes()].concat().into()
}

#[cfg(test)]
mod tests;
