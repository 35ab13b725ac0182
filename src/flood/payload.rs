//! What is sent, and so what has to come back: text that differs for each connection and each message.

/// Makes and checks payloads of one length.
#[derive(Debug)]
pub(super) struct Payload {
    pattern: Vec<u8>,
    made: Vec<u8>,
}

/// By so much the pattern is longer than a payload: a payload begins at one of so many places in it.
const OFFSETS: usize = 256;

impl Payload {
    pub(super) fn new(payload_bytes: usize) -> Self {
        // Printable, so that a person who looks at the wire sees text, and servers of text take it.
        let mut state = 0x2545_F491_u32;
        let letter = |_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            b'a' + (state % 26) as u8
        };
        Self { pattern: (0..payload_bytes + OFFSETS).map(letter).collect(), made: vec![0; payload_bytes] }
    }

    /// The payload of message `sequence` of a connection.
    pub(super) fn make(&mut self, connection: u32, sequence: u16) -> &[u8] {
        let payload_bytes = self.made.len();
        let from = (connection as usize).wrapping_add(usize::from(sequence) * 7) % OFFSETS;
        self.made.copy_from_slice(&self.pattern[from..from + payload_bytes]);
        let mut rest = u64::from(connection) << 16 | u64::from(sequence);
        // Twelve hexadecimal digits name the message, where there is room for them.
        if payload_bytes >= 12 {
            for byte in self.made[..12].iter_mut().rev() {
                *byte = b"0123456789abcdef"[(rest & 15) as usize];
                rest >>= 4;
            }
        }
        &self.made
    }
}
