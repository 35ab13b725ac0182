//! Mail to the other reactors, gathered for the length of a turn: one wake-up for each of them, however much there is.

use super::mail::Command;
use crate::net::mailbox::Mailbox;
use std::sync::Arc;

/// What one reactor has for the others.
#[derive(Debug)]
pub(super) struct MailBatch {
    own: u16,
    mailboxes: Arc<[Mailbox<Command>]>,
    outgoing: Vec<Vec<Command>>,
    is_empty: bool,
}

impl MailBatch {
    pub(super) fn new(own: u16, mailboxes: Arc<[Mailbox<Command>]>) -> Self {
        let outgoing = mailboxes.iter().map(|_| Vec::new()).collect();
        Self { own, mailboxes, outgoing, is_empty: true }
    }

    /// The number of the reactor that sends it.
    pub(super) fn own(&self) -> u16 {
        self.own
    }

    /// For all others.
    pub(super) fn broadcast(&mut self, mails: &mut Vec<Command>) {
        for mail in mails.drain(..) {
            self.is_empty = false;
            for (reactor, outgoing) in self.outgoing.iter_mut().enumerate() {
                if reactor != usize::from(self.own) {
                    outgoing.push(mail.clone());
                }
            }
        }
    }

    /// For one of them.
    pub(super) fn put(&mut self, reactor: u16, mail: Command) {
        if let Some(outgoing) = self.outgoing.get_mut(usize::from(reactor)) {
            outgoing.push(mail);
            self.is_empty = false;
        }
    }

    /// Hands it all over.
    pub(super) fn flush(&mut self) {
        if std::mem::replace(&mut self.is_empty, true) {
            return;
        }
        for (mailbox, outgoing) in self.mailboxes.iter().zip(&mut self.outgoing) {
            // A reactor that cannot be woken has ended, and its connections with it.
            let _ = mailbox.send_all(outgoing);
        }
    }
}
