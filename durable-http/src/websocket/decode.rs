//! From the bytes of a client to what they say: plain data, without I/O.
//!
//! Guarantees:
//! - What a client may not send by RFC 6455 is found out, with the close code that says so: 1002, 1007 for text that is not UTF-8, 1009 for
//!   a message that is too long, as soon as its length is known. Text that goes wrong is refused before its end.
//! - Memory grows with what has arrived and not with what a header promises, to at most twice the longest message; and when all that was
//!   read is decoded, nothing is kept.

use std::io::Cursor;

use bytes::{Buf, Bytes, BytesMut};
use durable_runtime::Message;
use durable_runtime::transport::{CloseFrame, Incoming};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// How long the payload of a control frame may be.
const CONTROL_BYTES_MAX: u64 = 125;

/// How much is reserved for a message before any of it has arrived.
const RESERVED_BYTES_MAX: usize = 64 * 1024;

/// What a client has said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// To be answered with a pong of the same bytes.
    Ping(Bytes),
    Incoming(Incoming),
}

/// What breaks the protocol.
#[derive(Debug)]
struct Broken {
    code: u16,
    reason: String,
}

impl Broken {
    fn protocol(reason: impl Into<String>) -> Self {
        Broken { code: 1002, reason: reason.into() }
    }

    fn text() -> Self {
        Broken { code: 1007, reason: "a text is not UTF-8".to_owned() }
    }
}

/// A frame whose payload is arriving.
#[derive(Debug)]
struct Frame {
    opcode: OpCode,
    is_final: bool,
    /// As of the next byte.
    mask: [u8; 4],
    /// Bytes that have not arrived.
    left: usize,
}

/// A message whose end has not arrived.
#[derive(Debug)]
struct Partial {
    is_text: bool,
    bytes: Vec<u8>,
    /// How many bytes of a text are known to be UTF-8.
    valid: usize,
}

/// See the module. Nothing follows an [`Incoming::Close`] or an [`Incoming::Invalid`]: it is to be dropped then.
#[derive(Debug)]
pub(super) struct Decoder {
    message_bytes_max: usize,
    /// What is read and not decoded.
    buffer: BytesMut,
    frame: Option<Frame>,
    message: Option<Partial>,
}

impl Decoder {
    pub(super) fn new(message_bytes_max: usize) -> Self {
        Decoder { message_bytes_max, buffer: BytesMut::new(), frame: None, message: None }
    }

    /// Takes what was read; to be called when [`next`](Self::next) has nothing more.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// What was said next; `None` until more is read.
    pub(super) fn next(&mut self) -> Option<Event> {
        let event = self.decode().unwrap_or_else(|Broken { code, reason }| {
            Some(Event::Incoming(Incoming::Invalid { code, reason }))
        });
        if self.buffer.is_empty() {
            // Most sockets are silent most of the time.
            self.buffer = BytesMut::new();
        }
        event
    }

    fn decode(&mut self) -> Result<Option<Event>, Broken> {
        loop {
            let frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.header()? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            let event = match frame.opcode {
                OpCode::Control(_) if frame.left > self.buffer.len() => {
                    self.frame = Some(frame);
                    return Ok(None);
                }
                OpCode::Control(control) => Some(self.control(control, &frame)?),
                OpCode::Data(_) => {
                    let is_whole = self.data(frame)?;
                    if !is_whole && self.frame.is_some() {
                        return Ok(None);
                    }
                    if is_whole { self.message.take().map(whole).transpose()? } else { None }
                }
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// The header of the next frame, if all of it is there.
    fn header(&mut self) -> Result<Option<Frame>, Broken> {
        let mut cursor = Cursor::new(&self.buffer[..]);
        let parsed =
            FrameHeader::parse(&mut cursor).map_err(|error| Broken::protocol(error.to_string()))?;
        let Some((header, length)) = parsed else { return Ok(None) };
        let header_bytes = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Broken::protocol("a frame is of an extension that was not agreed upon"));
        }
        if header_bytes != header.len(length) {
            return Err(Broken::protocol("a length is not written in the shortest form"));
        }
        let Some(mask) = header.mask else {
            return Err(Broken::protocol("a client's frame has no mask"));
        };
        let left = match header.opcode {
            OpCode::Control(_) if length > CONTROL_BYTES_MAX || !header.is_final => {
                return Err(Broken::protocol("a control frame is in parts, or too long"));
            }
            OpCode::Control(_) => usize::try_from(length).unwrap_or(usize::MAX),
            OpCode::Data(data) => self.begin(data, length)?,
        };
        self.buffer.advance(header_bytes);
        Ok(Some(Frame { opcode: header.opcode, is_final: header.is_final, mask, left }))
    }

    /// A frame with data begins. Gives its length.
    fn begin(&mut self, data: Data, length: u64) -> Result<usize, Broken> {
        let bytes_before = match (data, &self.message) {
            (Data::Continue, Some(message)) => message.bytes.len(),
            (Data::Continue, None) => {
                return Err(Broken::protocol("a message goes on that has not begun"));
            }
            (_, Some(_)) => return Err(Broken::protocol("a message begins inside another")),
            (_, None) => 0,
        };
        let bytes = u64::try_from(bytes_before).unwrap_or(u64::MAX).saturating_add(length);
        let bytes_max = self.message_bytes_max;
        let Some(length) = usize::try_from(length).ok().filter(|_| bytes <= bytes_max as u64)
        else {
            let reason = format!("a message has {bytes} bytes, over the limit of {bytes_max}");
            return Err(Broken { code: 1009, reason });
        };
        if self.message.is_none() {
            let bytes = Vec::with_capacity(length.min(RESERVED_BYTES_MAX));
            self.message = Some(Partial { is_text: data == Data::Text, bytes, valid: 0 });
        }
        Ok(length)
    }

    /// Takes as much of the payload as is there. Says whether the message is whole.
    fn data(&mut self, mut frame: Frame) -> Result<bool, Broken> {
        let Some(message) = &mut self.message else { return Ok(false) };
        let mut arrived = self.buffer.split_to(frame.left.min(self.buffer.len()));
        unmask(&mut arrived, &mut frame.mask);
        message.bytes.extend_from_slice(&arrived);
        frame.left -= arrived.len();
        if frame.left == 0 && frame.is_final {
            return Ok(true);
        }
        message.check()?;
        if frame.left > 0 {
            self.frame = Some(frame);
        }
        Ok(false)
    }

    /// A control frame, all of which is there.
    fn control(&mut self, control: Control, frame: &Frame) -> Result<Event, Broken> {
        let mut payload = self.buffer.split_to(frame.left);
        unmask(&mut payload, &mut frame.mask.clone());
        Ok(match control {
            // Copied: it must not keep the whole buffer.
            Control::Ping => Event::Ping(Bytes::copy_from_slice(&payload)),
            Control::Close => Event::Incoming(Incoming::Close(close(&payload)?)),
            Control::Pong | Control::Reserved(_) => Event::Incoming(Incoming::Heartbeat),
        })
    }
}

impl Partial {
    /// Finds out early that a text is none. The last character may be in parts.
    fn check(&mut self) -> Result<(), Broken> {
        if !self.is_text {
            return Ok(());
        }
        match std::str::from_utf8(&self.bytes[self.valid..]) {
            Ok(_) => self.valid = self.bytes.len(),
            Err(error) if error.error_len().is_some() => return Err(Broken::text()),
            Err(error) => self.valid += error.valid_up_to(),
        }
        Ok(())
    }
}

fn whole(message: Partial) -> Result<Event, Broken> {
    let message = if message.is_text {
        Message::Text(String::from_utf8(message.bytes).map_err(|_| Broken::text())?)
    } else {
        Message::Binary(message.bytes.into())
    };
    Ok(Event::Incoming(Incoming::Message(message)))
}

/// The payload of a close frame: a code and a reason, or nothing.
fn close(payload: &[u8]) -> Result<CloseFrame, Broken> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() {
            Ok(CloseFrame::default())
        } else {
            Err(Broken::protocol("a close frame has half a code"))
        };
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Broken::protocol(format!("{code} is no close code that may be sent")));
    }
    let reason = str::from_utf8(reason).map_err(|_| Broken::text())?.to_owned();
    Ok(CloseFrame { code: Some(code), reason })
}

/// Takes the mask off, and turns it so that it fits what follows.
fn unmask(bytes: &mut [u8], mask: &mut [u8; 4]) {
    let (words, rest) = bytes.as_chunks_mut::<4>();
    let word = u32::from_ne_bytes(*mask);
    for bytes in words {
        *bytes = (u32::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(*mask) {
        *byte ^= mask;
    }
    mask.rotate_left(rest.len());
}

#[cfg(test)]
mod tests;
