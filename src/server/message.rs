//! A message of a WebSocket, as handlers receive and send it.

use crate::proto::session::MessageKind;
use std::fmt;

/// A message, as it lies in the buffer that it was received in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    kind: MessageKind,
    payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// As it came; text has been checked.
    #[inline]
    pub(super) fn new(kind: MessageKind, payload: &'a [u8]) -> Self {
        Self { kind, payload }
    }

    /// Text or binary.
    #[inline]
    pub fn kind(self) -> MessageKind {
        self.kind
    }

    /// Its bytes.
    #[inline]
    pub fn payload(self) -> &'a [u8] {
        self.payload
    }

    /// Its text, if that is what it is.
    pub fn text(self) -> Option<&'a str> {
        // It was checked before, so this fails for binary ones alone.
        (self.kind == MessageKind::Text).then(|| std::str::from_utf8(self.payload).ok()).flatten()
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            Some(text) => f.debug_tuple("Text").field(&text).finish(),
            None => f.debug_tuple("Binary").field(&self.payload).finish(),
        }
    }
}

impl<'a> From<&'a str> for Message<'a> {
    fn from(text: &'a str) -> Self {
        Self::new(MessageKind::Text, text.as_bytes())
    }
}

impl<'a> From<&'a String> for Message<'a> {
    fn from(text: &'a String) -> Self {
        text.as_str().into()
    }
}

impl<'a> From<&'a [u8]> for Message<'a> {
    fn from(payload: &'a [u8]) -> Self {
        Self::new(MessageKind::Binary, payload)
    }
}

impl<'a> From<&'a Vec<u8>> for Message<'a> {
    fn from(payload: &'a Vec<u8>) -> Self {
        payload.as_slice().into()
    }
}
