//! What a page looks like: learned from its first answers, which come one at a time, and held against all that follow.

/// Answers that have to be alike before a page is taken to be always the same.
const SAMPLES: usize = 2;

/// The page behind one URL, as one worker knows it.
#[derive(Debug)]
pub(super) enum Page {
    /// The first answers, and the connection whose answer is being taken down.
    Learning { samples: Vec<Vec<u8>>, learner: Option<u32> },
    /// Always this.
    Same(Vec<u8>),
    /// Different each time: only its status can be judged.
    Varies,
}

impl Default for Page {
    fn default() -> Self {
        Self::Learning { samples: Vec::new(), learner: None }
    }
}

impl Page {
    pub(super) fn is_learning(&self) -> bool {
        matches!(self, Self::Learning { .. })
    }

    pub(super) fn varies(&self) -> bool {
        matches!(self, Self::Varies)
    }

    /// A connection asks for the page.
    pub(super) fn begin(&mut self, connection: u32) {
        if let Self::Learning { samples, learner } = self
            && learner.is_none_or(|other| other == connection)
        {
            *learner = Some(connection);
            if samples.len() < SAMPLES {
                samples.push(Vec::new());
            }
        }
    }

    /// A piece of an answer, `from` so far into it; whether it is right.
    pub(super) fn piece(&mut self, connection: u32, from: usize, bytes: &[u8]) -> bool {
        match self {
            Self::Learning { samples, learner } => {
                if *learner == Some(connection)
                    && let Some(sample) = samples.last_mut()
                {
                    sample.truncate(from); // what a learner that was lost has left behind
                    sample.extend_from_slice(bytes);
                }
                true
            }
            Self::Same(page) => page.get(from..from + bytes.len()) == Some(bytes),
            Self::Varies => true,
        }
    }

    /// The end of an answer of `length_bytes`; whether it is right.
    pub(super) fn end(&mut self, connection: u32, length_bytes: usize) -> bool {
        match self {
            Self::Same(page) => page.len() == length_bytes,
            Self::Varies => true,
            Self::Learning { learner, .. } if *learner != Some(connection) => true,
            Self::Learning { samples, learner } => {
                *learner = None;
                if samples.len() == SAMPLES {
                    let last = samples.pop().unwrap_or_default();
                    *self = if samples.first() == Some(&last) { Self::Same(last) } else { Self::Varies };
                }
                true
            }
        }
    }

    /// A connection is gone, and cannot be the learner any more.
    pub(super) fn forget(&mut self, connection: u32) {
        if let Self::Learning { samples, learner } = self
            && *learner == Some(connection)
        {
            *learner = None;
            samples.pop();
        }
    }
}
