//! RFC 6455 once more, as plainly as it can be put: what a session must make of frames, told from all of its input at
//! once. It shares no code with the library but names of faults and limits.

use crate::feed::Seen;
use crate::wire;
use steadfast::proto::close::Fault;
use steadfast::proto::frame::Role;
use steadfast::proto::session::{Limits, State};

/// A frame's header (section 5.2).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) fin: bool,
    /// Their place in the first byte.
    pub(crate) reserved_bits: u8,
    pub(crate) opcode: u8,
    pub(crate) mask: Option<[u8; 4]>,
    /// How many bytes more than 7 bits its length took.
    pub(crate) length_bytes: usize,
    pub(crate) payload_bytes: u64,
    pub(crate) header_bytes: usize,
}

impl Header {
    pub(crate) fn is_control(&self) -> bool {
        self.opcode >= 8
    }
}

pub(crate) fn read_header(input: &[u8]) -> Option<Header> {
    let (first, second) = (*input.first()?, *input.get(1)?);
    let length_bytes = match second % 128 {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let header_bytes = 2 + length_bytes + if second >= 128 { 4 } else { 0 };
    let bytes = input.get(..header_bytes)?;
    let long = bytes[2..2 + length_bytes].iter().fold(0, |length, &byte| length * 256 + u64::from(byte));
    Some(Header {
        fin: first >= 128,
        reserved_bits: first & 0b0111_0000,
        opcode: first % 16,
        mask: (second >= 128).then(|| bytes[header_bytes - 4..].try_into().expect("four bytes")),
        length_bytes,
        payload_bytes: if length_bytes == 0 { u64::from(second % 128) } else { long },
        header_bytes,
    })
}

/// What a header is judged against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) role: Role,
    /// Bytes of the message that is open, if one is.
    pub(crate) open_message: Option<u64>,
    pub(crate) max_message_bytes: u64,
    pub(crate) extension_bits: u8,
}

/// Every rule that the header breaks there, in no order that matters.
pub(crate) fn broken_rules(header: &Header, place: Place) -> Vec<Fault> {
    let masked = header.mask.is_some();
    let control = header.is_control();
    let data = matches!(header.opcode, 0..=2);
    let message_bytes = u128::from(place.open_message.unwrap_or(0)) + u128::from(header.payload_bytes);
    let least = match header.length_bytes {
        2 => 126,
        8 => 65_536,
        _ => 0,
    };
    // The limit is one of what a compressed message comes to; on the wire it may be a little longer.
    let (message_bytes, max_bytes) = match (header.reserved_bits & 0x40 != 0, u128::from(place.max_message_bytes)) {
        (true, max) => (u128::from(header.payload_bytes), (max + max / 8 + 64).min(u128::from(u64::MAX))),
        (false, max) => (message_bytes, max),
    };
    let rules = [
        (header.reserved_bits & !place.extension_bits != 0, Fault::ReservedBits),
        (control && header.reserved_bits != 0, Fault::ReservedBits),
        (!matches!(header.opcode, 0..=2 | 8..=10), Fault::ReservedOpcode),
        (place.role == Role::Server && !masked, Fault::Unmasked),
        (place.role == Role::Client && masked, Fault::Masked),
        (header.payload_bytes < least, Fault::LengthNotMinimal),
        (header.payload_bytes >= 1 << 63, Fault::LengthOverflow),
        (control && header.payload_bytes > 125, Fault::ControlTooLong),
        (control && !header.fin, Fault::ControlFragmented),
        (header.opcode == 0 && place.open_message.is_none(), Fault::UnexpectedContinuation),
        (matches!(header.opcode, 1 | 2) && place.open_message.is_some(), Fault::ExpectedContinuation),
        (data && message_bytes > max_bytes, Fault::MessageTooBig),
    ];
    rules.into_iter().filter(|(broken, _)| *broken).map(|(_, fault)| fault).collect()
}

pub(crate) fn unmasked(payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mask = mask.unwrap_or_default();
    (0..payload.len()).map(|at| payload[at] ^ mask[at % 4]).collect()
}

/// The state of a text: it may be valid, or no more bytes can make it so.
fn can_be_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).map_or_else(|error| error.error_len().is_none(), |_| true)
}

/// The Close code and the reason of a body (section 5.5.1), or what may be said against it.
pub(crate) fn read_close(body: &[u8]) -> Result<(u16, Vec<u8>), Vec<Fault>> {
    let (code, reason) = match body {
        [] => return Ok((1005, Vec::new())),
        [_] => return Err(vec![Fault::CloseBodyTooShort]),
        [high, low, reason @ ..] => (u16::from(*high) * 256 + u16::from(*low), reason),
    };
    let registered = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014].contains(&code);
    let mut faults = Vec::new();
    if !registered && !(3000..5000).contains(&code) {
        faults.push(Fault::CloseCodeInvalid);
    }
    if std::str::from_utf8(reason).is_err() {
        faults.push(Fault::CloseReasonNotUtf8);
    }
    if faults.is_empty() { Ok((code, reason.to_vec())) } else { Err(faults) }
}

/// What frames must lead to.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) seen: Vec<Seen>,
    pub(crate) sent: Vec<u8>,
    pub(crate) state: State,
    /// Not empty where a rule was broken after all that was seen: the session names one of these, and closes.
    pub(crate) faults: Vec<Fault>,
    /// What the end of the stream adds, and where it leaves the session, if that is not as `over` has it.
    pub(crate) at_end: Option<(Vec<Seen>, State)>,
}

impl Expected {
    /// The end of the stream is proper after the end of the conversation; before that it is the end of both.
    pub(crate) fn over(closed: bool) -> (Vec<Seen>, State) {
        (vec![Seen::End(closed)], State::Closed)
    }
}

/// One end of a connection that reads frames.
pub(crate) struct Reader<'l> {
    role: Role,
    limits: &'l Limits,
    /// Whether the open message is text, and its state.
    message: Option<(bool, Vec<u8>)>,
    fragments: u32,
    controls: u16,
    expected: Expected,
}

impl<'l> Reader<'l> {
    /// `state` is Open, or Closing if it has sent its Close.
    pub(crate) fn new(role: Role, state: State, limits: &'l Limits) -> Self {
        let expected = Expected { seen: Vec::new(), sent: Vec::new(), state, faults: Vec::new(), at_end: None };
        Self { role, limits, message: None, fragments: 0, controls: 0, expected }
    }

    fn is_open(&self) -> bool {
        self.expected.state == State::Open
    }

    /// Reads all of `input`, all of it in the same second.
    pub(crate) fn read(mut self, input: &[u8]) -> Expected {
        let mut rest = input;
        while self.expected.state != State::Closed {
            let Some(header) = read_header(rest) else { break };
            if let Err(faults) = self.begin(&header) {
                self.expected.faults = faults;
                break;
            }
            rest = &rest[header.header_bytes..];
            let here = usize::try_from(header.payload_bytes).unwrap_or(usize::MAX).min(rest.len());
            let complete = here as u64 == header.payload_bytes;
            let payload = unmasked(&rest[..here], header.mask);
            rest = &rest[here..];
            let read = match (header.is_control(), complete) {
                (false, _) => self.data(&payload, complete && header.fin),
                (true, true) => self.control(header.opcode, payload),
                (true, false) => Ok(()),
            };
            if let Err(faults) = read {
                self.expected.faults = faults;
                break;
            }
            if !complete {
                break;
            }
        }
        self.expected
    }

    fn begin(&mut self, header: &Header) -> Result<(), Vec<Fault>> {
        let place = Place {
            role: self.role,
            open_message: self.message.as_ref().map(|(_, bytes)| bytes.len() as u64),
            max_message_bytes: self.limits.max_message_bytes,
            extension_bits: 0,
        };
        let faults = broken_rules(header, place);
        if !faults.is_empty() {
            return Err(faults);
        }
        if header.is_control() {
            return Ok(());
        }
        self.message.get_or_insert_with(|| (header.opcode == 1, Vec::new()));
        self.fragments += 1;
        if self.fragments > self.limits.max_fragments { Err(vec![Fault::TooManyFragments]) } else { Ok(()) }
    }

    fn data(&mut self, payload: &[u8], ends: bool) -> Result<(), Vec<Fault>> {
        let (text, bytes) = self.message.as_mut().expect("a header opened it");
        bytes.extend(payload);
        let right = if ends { std::str::from_utf8(bytes).is_ok() } else { can_be_text(bytes) };
        if *text && !right {
            return Err(vec![Fault::TextNotUtf8]);
        }
        if ends {
            self.fragments = 0;
            let (text, bytes) = self.message.take().expect("a header opened it");
            if self.is_open() {
                self.expected.seen.push(if text { Seen::Text(bytes) } else { Seen::Binary(bytes) });
            }
        }
        Ok(())
    }

    fn control(&mut self, opcode: u8, payload: Vec<u8>) -> Result<(), Vec<Fault>> {
        self.controls += 1;
        if self.controls > self.limits.max_control_frames_per_s {
            return Err(vec![Fault::TooManyControlFrames]);
        }
        match opcode {
            9 => {
                if self.is_open() {
                    self.expected.sent.extend(wire::from(self.role, wire::PONG, &payload));
                }
                self.expected.seen.push(Seen::Ping(payload));
            }
            10 => self.expected.seen.push(Seen::Pong(payload)),
            _ => {
                let (code, reason) = read_close(&payload)?;
                if self.is_open() {
                    // 5.5.1: the code is echoed, and there was none in an empty body.
                    let echo = if payload.is_empty() { Vec::new() } else { wire::close_body(code, "") };
                    self.expected.sent.extend(wire::from(self.role, wire::CLOSE, echo));
                }
                self.expected.seen.push(Seen::Closed(code, reason));
                self.expected.state = State::Closed;
            }
        }
        Ok(())
    }
}
