//! Topics of one reactor: who has subscribed to which, and what is on its way to them.
//!
//! A topic's members stand in one array, so that publishing is one pass over it. The pass may stop in the middle, since
//! others want their turns too, and members come and go meanwhile: it goes from the end to the front, new ones are added
//! at the end, and one that goes leaves its place to one of the same side of the pass.

use crate::proto::shared_frame::Shared;
use slab::Slab;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Messages that may wait at a reactor for being sent to the members of their topics.
pub(super) const MAX_WAITING: usize = 1024;

/// And bytes of them.
const MAX_WAITING_BYTES: usize = 16 << 20;

/// And receivers of them, together: some seconds of work. One topic has no more than half of that, so that another is heard
/// beside it.
const MAX_WAITING_DELIVERIES: usize = 1 << 18;

/// A delivery counts once more for each so many bytes.
const DELIVERY_BYTES: usize = 4 << 10;

const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Member {
    /// Its place in the slab of connections.
    connection: u32,
    subscription: u32,
    /// The first publication that it gets. In 64 bits it never comes around.
    since: u64,
}

/// One topic of one connection; all of one connection are a list.
#[derive(Debug)]
struct Subscription {
    topic: u32,
    /// Among the members of the topic.
    position: u32,
    next: u32,
}

#[derive(Debug)]
struct Topic {
    name: Arc<str>,
    /// Never that of another topic: 1 is the first one's.
    number: u32,
    members: Vec<Member>,
    /// Publications that wait.
    waiting: usize,
    /// How many of the first members the publication that is under way has yet to reach.
    ahead: usize,
}

#[derive(Debug)]
struct Publication {
    topic: u32,
    number: u32,
    message: Arc<Shared>,
    receivers: usize,
    sequence: u64,
    begun: bool,
}

/// All topics of a reactor.
#[derive(Debug, Default)]
pub(super) struct Topics {
    by_name: HashMap<Arc<str>, u32>,
    topics: Slab<Topic>,
    subscriptions: Slab<Subscription>,
    /// By the place of a connection, its first subscription; as long as it has to be.
    firsts: Vec<u32>,
    waiting: VecDeque<Publication>,
    waiting_bytes: usize,
    waiting_deliveries: usize,
    sequence: u64,
    last_number: u32,
}

impl Topics {
    /// Adds a connection to a topic, which is made if need be; returns whether it was none of its members.
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
        true
    }

    fn make(&mut self, name: &str) -> u32 {
        let name: Arc<str> = name.into();
        // The first and the last number stand for no topic.
        self.last_number = self.last_number % (u32::MAX - 1) + 1;
        let topic =
            Topic { name: Arc::clone(&name), number: self.last_number, members: Vec::new(), waiting: 0, ahead: 0 };
        let index = self.topics.insert(topic) as u32;
        self.by_name.insert(name, index);
        index
    }

    /// The subscription of a connection to a topic, and the one that is before it in the list.
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

    /// Takes a connection out of a topic; returns whether it was a member.
    pub(super) fn unsubscribe(&mut self, connection: usize, name: &str) -> bool {
        let found = self.by_name.get(name).and_then(|&topic| self.find(connection, topic));
        let Some((at, before)) = found else { return false };
        let next = self.subscriptions[at as usize].next;
        match before {
            NONE => self.firsts[connection] = next,
            before => self.subscriptions[before as usize].next = next,
        }
        self.remove(at);
        true
    }

    /// Takes a connection out of all topics: it has ended.
    #[inline]
    pub(super) fn leave(&mut self, connection: usize) {
        let Some(first) = self.firsts.get_mut(connection) else { return };
        let mut at = std::mem::replace(first, NONE);
        while at != NONE {
            let next = self.subscriptions[at as usize].next;
            self.remove(at);
            at = next;
        }
    }

    fn remove(&mut self, subscription: u32) {
        let Subscription { topic, position, .. } = self.subscriptions.remove(subscription as usize);
        let (index, mut hole) = (topic as usize, position as usize);
        let topic = &mut self.topics[index];
        if hole < topic.ahead {
            // The last of those that are still to be reached takes its place, and leaves one that is behind the pass.
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

    /// The member at `position` has come there from elsewhere.
    fn subscriptions_of(&mut self, topic: usize, position: usize) {
        let moved = self.topics[topic].members[position].subscription;
        // The one that is being removed has no subscription any more.
        if let Some(subscription) = self.subscriptions.get_mut(moved as usize) {
            subscription.position = position as u32;
        }
    }

    /// Has a message sent to all who are members now; returns how many will not get it because too much waits already.
    pub(super) fn publish(&mut self, name: &str, message: &Arc<Shared>) -> usize {
        let Some(&index) = self.by_name.get(name) else { return 0 };
        let topic = &mut self.topics[index as usize];
        // One that has more members than its share counts as if it had that, or a small one could silence it.
        let (bytes, receivers) = (message.frame().len(), topic.members.len().min(MAX_WAITING_DELIVERIES / 2));
        // Where nothing waits, any one message may.
        let own_share = (topic.waiting + 1) * receivers <= MAX_WAITING_DELIVERIES / 2 || topic.waiting == 0;
        let fits = self.waiting.len() < MAX_WAITING
            && self.waiting_bytes + bytes <= MAX_WAITING_BYTES
            && self.waiting_deliveries + receivers <= MAX_WAITING_DELIVERIES;
        let takes = self.waiting.is_empty() || (fits && own_share);
        if !takes {
            return topic.members.len();
        }
        self.waiting_bytes += bytes;
        self.waiting_deliveries += receivers;
        topic.waiting += 1;
        let (number, message, sequence) = (topic.number, Arc::clone(message), self.sequence);
        self.waiting.push_back(Publication { topic: index, number, message, receivers, sequence, begun: false });
        self.sequence += 1;
        0
    }

    /// Whether something is to be sent.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends on what waits, to `budget` members at most, and to fewer where it is long: each by a call of `deliver`, with its
    /// place in the slab and the number of the topic. Returns whether more waits.
    pub(super) fn deliver(&mut self, mut budget: usize, mut deliver: impl FnMut(usize, &Arc<Shared>, u32)) -> bool {
        while budget > 0 {
            let Some(publication) = self.waiting.front_mut() else { return false };
            let topic = self.topics.get_mut(publication.topic as usize);
            // Its last member may have gone meanwhile, and another topic come to its place.
            if let Some(topic) = topic.filter(|topic| topic.number == publication.number) {
                if !std::mem::replace(&mut publication.begun, true) {
                    topic.ahead = topic.members.len();
                }
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
        }
        !self.waiting.is_empty()
    }
}

#[cfg(test)]
#[path = "../tests/unit/topics.rs"]
mod tests;
