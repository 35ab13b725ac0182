//! The content of a page, learned from its first responses, which are fetched one at a time, and compared with all that
//! follow.

/// Responses that have to be equal before a page is taken to be constant.
const SAMPLES: usize = 2;

/// The page at one URL, as one worker knows it.
#[derive(Debug, Default)]
pub(super) struct Page {
    looks: Looks,
    /// A response was compared with nothing.
    unseen: bool,
}

#[derive(Debug)]
enum Looks {
    /// The first responses, and the connection whose response is being recorded.
    Learning { samples: Vec<Vec<u8>>, learner: Option<u32> },
    /// Every response is this.
    Same(Vec<u8>),
    /// Responses differ: only the status can be checked.
    Varies,
}

impl Default for Looks {
    fn default() -> Self {
        Self::Learning { samples: Vec::new(), learner: None }
    }
}

impl Page {
    pub(super) fn is_learning(&self) -> bool {
        matches!(self.looks, Looks::Learning { .. })
    }

    /// Returns whether every response was compared with the expected content; `true` if there was none.
    pub(super) fn is_compared(&self) -> bool {
        match &self.looks {
            Looks::Same(_) => !self.unseen,
            Looks::Learning { samples, .. } => samples.is_empty() && !self.unseen,
            Looks::Varies => false,
        }
    }

    /// Notes that a connection requests the page.
    pub(super) fn begin(&mut self, connection: u32) {
        if let Looks::Learning { samples, learner } = &mut self.looks
            && learner.is_none()
        {
            *learner = Some(connection);
            samples.push(Vec::new());
        }
    }

    /// Compares a part of a response that begins at byte `from`; returns whether it is correct.
    pub(super) fn on_data(&mut self, connection: u32, from: usize, bytes: &[u8]) -> bool {
        match &mut self.looks {
            Looks::Learning { samples, learner } => {
                if *learner == Some(connection)
                    && let Some(sample) = samples.last_mut()
                {
                    sample.extend_from_slice(bytes);
                }
                true
            }
            Looks::Same(page) => page.get(from..from + bytes.len()) == Some(bytes),
            Looks::Varies => true,
        }
    }

    /// Ends a response of `length_bytes`; returns whether its length is correct.
    pub(super) fn end(&mut self, connection: u32, length_bytes: usize) -> bool {
        match &mut self.looks {
            Looks::Same(page) => return page.len() == length_bytes,
            Looks::Varies => {}
            Looks::Learning { learner, .. } if *learner != Some(connection) => self.unseen = true,
            Looks::Learning { samples, learner } => {
                *learner = None;
                if samples.len() == SAMPLES {
                    let last = samples.pop().unwrap_or_default();
                    self.looks = if samples.first() == Some(&last) { Looks::Same(last) } else { Looks::Varies };
                }
            }
        }
        true
    }

    /// Forgets a connection that has ended; if its response was being recorded, the next one is.
    pub(super) fn forget(&mut self, connection: u32) {
        if let Looks::Learning { samples, learner } = &mut self.looks
            && *learner == Some(connection)
        {
            *learner = None;
            samples.pop();
        }
    }
}
