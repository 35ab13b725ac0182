//! The topics of one reactor: their members, and the publications that are being delivered.
//!
//! The members of a topic are one array, so that a publication is one pass over it. The pass is interrupted to let other
//! connections be processed, and members come and go meanwhile. It therefore runs from the end to the front: new members are
//! appended, and a removed member is replaced by one from the same side of the pass.

use crate::proto::shared_frame::SharedFrame;
use slab::Slab;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// The most publications that may wait at a reactor for their delivery.
pub(super) const MAX_WAITING: usize = 1024;

/// The most bytes of waiting publications.
const MAX_WAITING_BYTES: usize = 16 << 20;

/// The most deliveries of waiting publications, which is some seconds of work. One topic may use half of them, so that it
/// cannot keep out the others.
const MAX_WAITING_DELIVERIES: usize = 1 << 18;

/// A delivery counts once more for each multiple of this size.
const DELIVERY_BYTES: usize = 4 << 10;

const NONE: u32 = u32::MAX;

/// The most subscriptions and publications that are checked after each change.
#[cfg(debug_assertions)]
const MAX_CHECKED: usize = 64;

#[derive(Debug)]
struct Member {
    /// Its index in the slab of connections.
    connection: u32,
    subscription: u32,
    /// The sequence number of the first publication that it gets. 64 bits do not wrap around.
    since: u64,
}

/// One topic of one connection. The subscriptions of a connection form a linked list.
#[derive(Debug)]
struct Subscription {
    topic: u32,
    /// Its index among the members of the topic.
    position: u32,
    next: u32,
}

#[derive(Debug)]
struct Topic {
    name: Arc<str>,
    /// Identifies the topic: unlike its index, a number is not reused when a topic is removed. The first one is 1.
    number: u32,
    members: Vec<Member>,
    /// How many of its publications wait.
    waiting: usize,
    /// The members before this index have not been reached by the pass of the current publication.
    ahead: usize,
}

#[derive(Debug)]
struct Publication {
    topic: u32,
    number: u32,
    message: Arc<SharedFrame>,
    receivers: usize,
    sequence: u64,
    /// The connection that does not get it, or [`NONE`].
    except: u32,
    begun: bool,
}

/// All topics of a reactor.
#[derive(Debug, Default)]
pub(super) struct Topics {
    by_name: HashMap<Arc<str>, u32>,
    topics: Slab<Topic>,
    subscriptions: Slab<Subscription>,
    /// The first subscription of each connection, by its index in the slab; grown on demand.
    firsts: Vec<u32>,
    waiting: VecDeque<Publication>,
    waiting_bytes: usize,
    waiting_deliveries: usize,
    sequence: u64,
    last_number: u32,
}

impl Topics {
    /// Adds a connection to a topic, which is created if it does not exist. Returns whether the connection was not a member
    /// before.
    pub(super) fn subscribe(&mut self, connection: usize, name: &str) -> bool {
        let topic = self.by_name.get(name).copied().unwrap_or_else(|| self.make(name));
        if self.find(connection, topic).is_some() {
            return false;
        }
        if self.firsts.len() <= connection {
            self.firsts.resize(connection + 1, NONE);
        }
        let members = &mut self.topics[topic as usize].members;
        let next = self.firsts[connection];
        let subscription =
            self.subscriptions.insert(Subscription { topic, position: members.len() as u32, next }) as u32;
        members.push(Member { connection: connection as u32, subscription, since: self.sequence });
        self.firsts[connection] = subscription;
        self.check_if_small();
        true
    }

    fn make(&mut self, name: &str) -> u32 {
        let name: Arc<str> = name.into();
        // 0 and `u32::MAX` are not numbers of topics.
        self.last_number = self.last_number % (u32::MAX - 1) + 1;
        let topic =
            Topic { name: Arc::clone(&name), number: self.last_number, members: Vec::new(), waiting: 0, ahead: 0 };
        let index = self.topics.insert(topic) as u32;
        self.by_name.insert(name, index);
        index
    }

    /// Finds the subscription of a connection to a topic, and the previous one in its list.
    fn find(&self, connection: usize, topic: u32) -> Option<(u32, u32)> {
        let (mut before, mut at) = (NONE, *self.firsts.get(connection)?);
        while at != NONE {
            let subscription = &self.subscriptions[at as usize];
            if subscription.topic == topic {
                return Some((at, before));
            }
            (before, at) = (at, subscription.next);
        }
        None
    }

    /// Removes a connection from a topic. Returns whether it was a member.
    pub(super) fn unsubscribe(&mut self, connection: usize, name: &str) -> bool {
        let found = self.by_name.get(name).and_then(|&topic| self.find(connection, topic));
        let Some((at, before)) = found else { return false };
        let next = self.subscriptions[at as usize].next;
        match before {
            NONE => self.firsts[connection] = next,
            before => self.subscriptions[before as usize].next = next,
        }
        self.remove(at);
        self.check_if_small();
        true
    }

    /// Removes a connection that has ended from all topics.
    #[inline]
    pub(super) fn leave(&mut self, connection: usize) {
        let Some(first) = self.firsts.get_mut(connection) else { return };
        let mut at = std::mem::replace(first, NONE);
        while at != NONE {
            let next = self.subscriptions[at as usize].next;
            self.remove(at);
            at = next;
        }
        self.check_if_small();
    }

    fn remove(&mut self, subscription: u32) {
        let Subscription { topic, position, .. } = self.subscriptions.remove(subscription as usize);
        let (index, mut hole) = (topic as usize, position as usize);
        let topic = &mut self.topics[index];
        if hole < topic.ahead {
            // The last member that is still to be reached takes its place. The hole moves to the side that has been reached.
            topic.ahead -= 1;
            topic.members.swap(hole, topic.ahead);
            self.subscriptions_of(index, hole);
            hole = self.topics[index].ahead;
        }
        let topic = &mut self.topics[index];
        topic.members.swap_remove(hole);
        if hole < topic.members.len() {
            self.subscriptions_of(index, hole);
        } else if topic.members.is_empty() {
            self.by_name.remove(&topic.name);
            self.topics.remove(index);
        }
    }

    /// Updates the subscription of a member that has moved to `position`.
    fn subscriptions_of(&mut self, topic: usize, position: usize) {
        let moved = self.topics[topic].members[position].subscription;
        // The member that is being removed has no subscription any more.
        if let Some(subscription) = self.subscriptions.get_mut(moved as usize) {
            subscription.position = position as u32;
        }
    }

    /// Returns the number of members of a topic.
    pub(super) fn members(&self, name: &str) -> usize {
        self.by_name.get(name).map_or(0, |&topic| self.topics[topic as usize].members.len())
    }

    /// Queues a message for all current members but the connection `except`. Returns for how many it is dropped because too
    /// much waits already.
    pub(super) fn publish(&mut self, name: &str, message: &Arc<SharedFrame>, except: Option<usize>) -> usize {
        let Some(&index) = self.by_name.get(name) else { return 0 };
        let except = except.filter(|&connection| self.find(connection, index).is_some());
        let topic = &mut self.topics[index as usize];
        // A topic with more members than its share is counted with its share; otherwise a small topic could block it for good.
        let (bytes, receivers) = (message.frame().len(), topic.members.len().min(MAX_WAITING_DELIVERIES / 2));
        // A topic without a waiting publication may always queue one.
        let own_share = (topic.waiting + 1) * receivers <= MAX_WAITING_DELIVERIES / 2 || topic.waiting == 0;
        let fits = self.waiting.len() < MAX_WAITING
            && self.waiting_bytes + bytes <= MAX_WAITING_BYTES
            && self.waiting_deliveries + receivers <= MAX_WAITING_DELIVERIES;
        let takes = self.waiting.is_empty() || (fits && own_share);
        if !takes {
            return topic.members.len() - usize::from(except.is_some());
        }
        self.waiting_bytes += bytes;
        self.waiting_deliveries += receivers;
        topic.waiting += 1;
        let (number, message, sequence) = (topic.number, Arc::clone(message), self.sequence);
        let except = except.map_or(NONE, |connection| connection as u32);
        let publication = Publication { topic: index, number, message, receivers, sequence, except, begun: false };
        self.waiting.push_back(publication);
        self.sequence += 1;
        self.check_if_small();
        0
    }

    /// Begins the pass of the first publication, if it is to begin. The connection that does not get it becomes the last
    /// member, and the pass begins before it: a delivery need not look for it.
    fn begin(&mut self) {
        let Some(publication) = self.waiting.front_mut() else { return };
        if std::mem::replace(&mut publication.begun, true) {
            return;
        }
        let (index, number, except) = (publication.topic, publication.number, publication.except);
        let excepted = if except == NONE { None } else { self.find(except as usize, index) };
        let Some(topic) = self.topics.get_mut(index as usize).filter(|topic| topic.number == number) else { return };
        topic.ahead = topic.members.len();
        let Some((subscription, _)) = excepted else { return };
        topic.ahead -= 1;
        let (position, last) = (self.subscriptions[subscription as usize].position as usize, topic.ahead);
        topic.members.swap(position, last);
        self.subscriptions_of(index as usize, position);
        self.subscriptions_of(index as usize, last);
    }

    /// Whether no publication waits.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Delivers waiting publications to at most `budget` members, and to fewer if they are long. Calls `deliver` for each with
    /// its index in the slab and the number of the topic. Returns whether more waits.
    pub(super) fn deliver(
        &mut self,
        mut budget: usize,
        mut deliver: impl FnMut(usize, &Arc<SharedFrame>, u32),
    ) -> bool {
        while budget > 0 {
            self.begin();
            let Some(publication) = self.waiting.front() else { return false };
            let topic = self.topics.get_mut(publication.topic as usize);
            // The topic may have been removed meanwhile, and its index given to another one.
            if let Some(topic) = topic.filter(|topic| topic.number == publication.number) {
                let cost = 1 + publication.message.frame().len() / DELIVERY_BYTES;
                let from = topic.ahead.saturating_sub(budget.div_ceil(cost));
                for member in topic.members[from..topic.ahead].iter().rev() {
                    if publication.sequence >= member.since {
                        deliver(member.connection as usize, &publication.message, topic.number);
                    }
                }
                budget = budget.saturating_sub((topic.ahead - from) * cost);
                topic.ahead = from;
                if from > 0 {
                    return true;
                }
                topic.waiting -= 1;
            }
            self.waiting_bytes -= publication.message.frame().len();
            self.waiting_deliveries -= publication.receivers;
            self.waiting.pop_front();
            self.check_if_small();
        }
        !self.waiting.is_empty()
    }

    /// Checks the topics after a change, in debug builds: unless they are many, since the check visits all of them.
    #[inline]
    fn check_if_small(&self) {
        #[cfg(debug_assertions)]
        if self.subscriptions.len() + self.waiting.len() <= MAX_CHECKED {
            self.check();
        }
    }

    /// Checks that members, subscriptions, names and the sums of what waits agree with each other.
    #[cfg(any(debug_assertions, test))]
    fn check(&self) {
        let mut members = 0;
        for (index, topic) in &self.topics {
            assert_eq!(self.by_name.get(&topic.name), Some(&(index as u32)), "{self:?}");
            assert!(!topic.members.is_empty() && topic.ahead <= topic.members.len(), "{self:?}");
            for (position, member) in topic.members.iter().enumerate() {
                let subscription = &self.subscriptions[member.subscription as usize];
                let found = (subscription.topic as usize, subscription.position as usize);
                assert_eq!(found, (index, position), "{self:?}");
            }
            let waiting = self.waiting.iter().filter(|publication| publication.number == topic.number);
            assert_eq!(topic.waiting, waiting.count(), "{self:?}");
            members += topic.members.len();
        }
        assert_eq!((self.by_name.len(), self.subscriptions.len()), (self.topics.len(), members), "{self:?}");
        let mut listed = 0;
        for (connection, &first) in self.firsts.iter().enumerate() {
            let mut at = first;
            while at != NONE {
                let Subscription { topic, position, next } = self.subscriptions[at as usize];
                let member = &self.topics[topic as usize].members[position as usize];
                assert_eq!((member.connection as usize, member.subscription), (connection, at), "{self:?}");
                (at, listed) = (next, listed + 1);
            }
        }
        assert_eq!(listed, members, "{self:?}");
        let waiting_bytes: usize = self.waiting.iter().map(|publication| publication.message.frame().len()).sum();
        let waiting_deliveries: usize = self.waiting.iter().map(|publication| publication.receivers).sum();
        assert_eq!((self.waiting_bytes, self.waiting_deliveries), (waiting_bytes, waiting_deliveries), "{self:?}");
    }
}

#[cfg(test)]
#[path = "../tests/server/topics.rs"]
mod tests;
