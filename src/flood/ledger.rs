//! The ledger: every connection is in exactly one stage at all times, and every lost one has a cause.

use crate::net::conn::{Cause, Deadline, Reason};
use crate::net::sys::errno;
use crate::proto::upgrade::Rejected;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

/// The stage of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Not opened yet.
    #[default]
    Planned,
    /// connect(2) is in progress.
    Connecting,
    /// The upgrade is in progress.
    Upgrading,
    /// Open.
    Open,
    /// Open, and all its messages were answered correctly.
    Answered,
    /// Alive at the end of a hold: one more message was answered.
    Held,
    /// The close is in progress.
    Closing,
    /// Closed as intended.
    Closed,
    /// Lost, with a cause.
    Lost,
}

/// The names of the stages, in the order of [`Stage`].
pub const STAGES: [&str; 9] =
    ["planned", "connecting", "upgrading", "open", "answered", "held", "closing", "closed", "lost"];

/// How many connections are in each stage, and totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections in each stage, in the order of [`STAGES`]; they sum to the planned connections.
    pub stages: [u64; 9],
    /// Connections that were ever open.
    pub opened: u64,
    /// How often a connection was opened again after a storm.
    pub reopened: u64,
    /// Connections whose messages were ever all answered correctly.
    pub answered: u64,
    /// Connections that were ever alive at the end of a hold.
    pub held: u64,
    /// Connections that were lost during the upgrade; the server may count them as open.
    pub lost_upgrading: u64,
    /// Messages or requests sent.
    pub sent: u64,
    /// Messages answered correctly.
    pub replies: u64,
    /// Messages received that were not replies.
    pub received: u64,
}

impl Counts {
    /// Adds the counts of another worker.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.stages.iter_mut().zip(other.stages) {
            *sum += more;
        }
        self.opened += other.opened;
        self.reopened += other.reopened;
        self.answered += other.answered;
        self.held += other.held;
        self.lost_upgrading += other.lost_upgrading;
        self.sent += other.sent;
        self.replies += other.replies;
        self.received += other.received;
    }

    /// Returns the number of connections in one stage.
    pub fn in_stage(&self, stage: Stage) -> u64 {
        self.stages[stage as usize]
    }
}

/// The ledger of one worker. Other threads see it through [`SharedCounts`], as of the end of an iteration.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) counts: Counts,
    pub(super) lost_by_cause: HashMap<Cause, u64>,
}

impl Ledger {
    pub(super) fn new(planned: u64) -> Self {
        let mut ledger = Self::default();
        ledger.counts.stages[Stage::Planned as usize] = planned;
        ledger
    }

    pub(super) fn shift(&mut self, from: Stage, to: Stage) {
        self.counts.stages[from as usize] -= 1;
        self.counts.stages[to as usize] += 1;
    }

    pub(super) fn lose(&mut self, from: Stage, cause: Cause) {
        self.shift(from, Stage::Lost);
        self.counts.lost_upgrading += u64::from(from == Stage::Upgrading);
        *self.lost_by_cause.entry(cause).or_default() += 1;
    }
}

/// The counts that a worker publishes: all of one moment, so that they always sum to the planned connections.
#[derive(Debug, Default)]
pub(super) struct SharedCounts(Mutex<Counts>);

impl SharedCounts {
    pub(super) fn publish(&self, counts: Counts) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }

    pub(super) fn read(&self) -> Counts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reply differs from what was sent.
pub(super) const WRONG_REPLY: Cause = Cause::Driver(Reason::WrongReply);
/// The flood was interrupted while the connection was opening.
pub(super) const INTERRUPTED: Cause = Cause::Driver(Reason::Interrupted);
/// The flood was interrupted before the connection was begun.
pub(super) const NOT_STARTED: Cause = Cause::Driver(Reason::NotStarted);
/// A storm reset the connection; this is not a loss, since it is opened again.
pub(super) const DROPPED: Cause = Cause::Driver(Reason::Dropped);
/// A reply was longer than the limit.
pub(super) const TOO_LONG: Cause = Cause::Driver(Reason::TooLong);
/// The flood was interrupted, and the connection was not closed in time.
pub(super) const RESET: Cause = Cause::Driver(Reason::Reset);

/// Adds the losses of one worker to the sums, by the causes' names in a report.
pub(super) fn add_causes(sums: &mut BTreeMap<String, u64>, lost: &HashMap<Cause, u64>) {
    for (cause, count) in lost {
        *sums.entry(name(*cause)).or_default() += count;
    }
}

fn name(cause: Cause) -> String {
    match cause {
        Cause::Closed(code) => format!("close code {}", u16::from(code)),
        Cause::EndOfStream | Cause::Abrupt | Cause::ResponseSent => "closed by peer".into(),
        Cause::Io(code) | Cause::Connect(code) => error_name(code),
        Cause::Local(code) => format!("local limit: {}", error_name(code)),
        Cause::Deadline(deadline) => match deadline {
            Deadline::Connect | Deadline::Head => "timeout: connect".into(),
            Deadline::Reply => "timeout: reply".into(),
            Deadline::Close => "timeout: close".into(),
            Deadline::Idle | Deadline::KeepAlive => "timeout: silence".into(),
            Deadline::Stalled => "timeout: stalled".into(),
            Deadline::Message => "timeout: message".into(),
        },
        Cause::Fault(fault) => format!("protocol error: {}", fault.reason()),
        Cause::BadHead(_) => "protocol error: malformed response".into(),
        Cause::Rejected(Rejected::Status(status)) => format!("status {status}"),
        Cause::Rejected(Rejected::NotUpgrade) => "protocol error: 101 without upgrade".into(),
        Cause::Rejected(Rejected::Accept) => "protocol error: wrong Sec-WebSocket-Accept".into(),
        Cause::Rejected(Rejected::NotOffered) => "protocol error: extension or subprotocol not offered".into(),
        Cause::Driver(reason) => match reason {
            Reason::WrongReply => "wrong reply".into(),
            Reason::Interrupted => "interrupted".into(),
            Reason::NotStarted => "not started".into(),
            Reason::TooLong => "reply too long".into(),
            Reason::Reset => "interrupted: reset".into(),
            Reason::Dropped => "dropped by a storm".into(),
            Reason::Aborted => "aborted".into(),
        },
    }
}

fn error_name(code: u16) -> String {
    if code == errno::EADDRNOTAVAIL {
        return "no free port or address".into();
    }
    match i32::from(code) {
        errno::ECONNREFUSED => "refused".into(),
        errno::ECONNRESET | errno::EPIPE => "reset".into(),
        errno::ETIMEDOUT => "timeout: TCP".into(),
        code => std::io::Error::from_raw_os_error(code).to_string(),
    }
}
