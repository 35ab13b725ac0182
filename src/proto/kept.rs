//! The memory that a session keeps.

use super::partial::{Partial, Progress};
use super::session::Session;

impl Session {
    /// Returns how many bytes of memory the session keeps: of what has arrived in part, and of the windows of
    /// compression, including malloc's overhead.
    #[inline]
    pub fn kept_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.kept_bytes())
    }

    /// Returns how many bytes have arrived of an incomplete head, body or message.
    pub fn unfinished_bytes(&self) -> Option<usize> {
        self.partial.as_ref().filter(|partial| partial.is_unfinished()).map(|partial| partial.buffer.len())
    }

    /// Returns how many bytes on the heap the session keeps for what has arrived in part.
    pub fn partial_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| size_of::<Partial>() + partial.buffer.capacity())
    }

    /// Returns whether a part of a head, a body, a frame or a message has arrived, or a window is kept.
    #[inline]
    pub fn has_partial(&self) -> bool {
        self.partial.is_some()
    }

    /// Returns whether a part of a HEAD request has arrived, whose response has no body.
    pub fn is_head(&self) -> bool {
        self.partial.as_ref().is_some_and(|partial| partial.buffer.starts_with(b"HEAD "))
    }

    /// Returns how many bytes of a request have arrived, while its body is incomplete.
    pub fn request_bytes(&self) -> Option<usize> {
        let partial = self.partial.as_ref()?;
        matches!(partial.progress, Progress::RequestBody { .. }).then_some(partial.buffer.len())
    }

    /// Drops the window of the session's own compressor. The peer need not know: the next message refers to nothing
    /// before it.
    pub fn forget_own_window(&mut self) {
        Partial::drop_deflater(&mut self.partial);
    }
}
