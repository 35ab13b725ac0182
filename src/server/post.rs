//! Collects the commands for other reactors during an iteration, so that each reactor is woken at most once for all of them.

use super::mail::Command;
use crate::net::mailbox::Mailbox;
use std::sync::Arc;

/// The commands that one reactor sends to the others at the end of its iteration.
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

    /// Returns the number of the reactor that sends.
    pub(super) fn own(&self) -> u16 {
        self.own
    }

    /// Adds commands for all other reactors.
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

    /// Adds a command for one reactor.
    pub(super) fn put(&mut self, reactor: u16, mail: Command) {
        if let Some(outgoing) = self.outgoing.get_mut(usize::from(reactor)) {
            outgoing.push(mail);
            self.is_empty = false;
        }
    }

    /// Sends all collected commands.
    pub(super) fn flush(&mut self) {
        if std::mem::replace(&mut self.is_empty, true) {
            return;
        }
        for (mailbox, outgoing) in self.mailboxes.iter().zip(&mut self.outgoing) {
            // A reactor that cannot be woken has ended, and so have its connections.
            let _ = mailbox.send_all(outgoing);
        }
    }
}
