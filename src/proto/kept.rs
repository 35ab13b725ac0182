//! What a session keeps, for those who count it.

use super::partial::{Partial, Progress};
use super::session::Session;

impl Session {
    /// Bytes of memory that it keeps: of what has arrived in part, and the windows of compression, malloc's overhead included.
    #[inline]
    pub fn kept_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.kept_bytes())
    }

    /// How much has come of a head, a body or a message of which more has to come.
    pub fn unfinished_bytes(&self) -> Option<usize> {
        self.partial.as_ref().filter(|partial| partial.is_unfinished()).map(|partial| partial.buffer.len())
    }

    /// Bytes on the heap that it keeps for what has arrived in part.
    pub fn partial_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| size_of::<Partial>() + partial.buffer.capacity())
    }

    /// Whether part of a head, a body, a frame or a message has arrived, or a window is kept.
    #[inline]
    pub fn has_partial(&self) -> bool {
        self.partial.is_some()
    }

    /// Whether a part of a HEAD is what has come: the answer to it has no body.
    pub fn is_head(&self) -> bool {
        self.partial.as_ref().is_some_and(|partial| partial.buffer.starts_with(b"HEAD "))
    }

    /// How much of a request has come, while its body is awaited.
    pub fn request_bytes(&self) -> Option<usize> {
        let partial = self.partial.as_ref()?;
        matches!(partial.progress, Progress::RequestBody { .. }).then_some(partial.buffer.len())
    }

    /// Returns up the window of its own compressor, which the peer need not know: the next message refers to nothing before it.
    pub fn forget_own_window(&mut self) {
        Partial::drop_deflater(&mut self.partial);
    }
}
