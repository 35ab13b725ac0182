//! What a page looks like: learned from its first answers, which come one at a time, and held against all that follow.

/// Answers that have to be alike before a page is taken to be always the same.
const SAMPLES: usize = 2;

/// The page behind one URL, as one worker knows it.
#[derive(Debug, Default)]
pub(super) struct Page {
    looks: Looks,
    /// An answer came that was compared with nothing.
    unseen: bool,
}

#[derive(Debug)]
enum Looks {
    /// The first answers, and the connection whose answer is being taken down.
    Learning { samples: Vec<Vec<u8>>, learner: Option<u32> },
    /// Always this.
    Same(Vec<u8>),
    /// Different each time: only its status can be judged.
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

    /// Whether every answer was held against what the page has to be; so it is as well where none came.
    pub(super) fn is_compared(&self) -> bool {
        match &self.looks {
            Looks::Same(_) => !self.unseen,
            Looks::Learning { samples, .. } => samples.is_empty() && !self.unseen,
            Looks::Varies => false,
        }
    }

    /// A connection asks for the page.
    pub(super) fn begin(&mut self, connection: u32) {
        if let Looks::Learning { samples, learner } = &mut self.looks
            && learner.is_none()
        {
            *learner = Some(connection);
            samples.push(Vec::new());
        }
    }

    /// A piece of an answer, `from` so far into it; whether it is right.
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

    /// The end of an answer of `length_bytes`; whether it is right.
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

    /// A connection is gone, and cannot be the learner any more.
    pub(super) fn forget(&mut self, connection: u32) {
        if let Looks::Learning { samples, learner } = &mut self.looks
            && *learner == Some(connection)
        {
            *learner = None;
            samples.pop();
        }
    }
}
