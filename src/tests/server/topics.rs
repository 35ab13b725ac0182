//! Topics against a model that is as naive as can be, and by example what happens in the middle of a pass.

use super::*;
use crate::proto::session::MessageKind;
use proptest::prelude::*;
use std::collections::BTreeSet;

const CONNECTIONS: usize = 12;
const NAMES: [&str; 4] = ["a", "b", "chat/lobby", ""];

/// A message that says which one it is.
fn numbered(number: usize) -> Arc<SharedFrame> {
    Arc::new(SharedFrame::new(MessageKind::Binary, &number.to_be_bytes()))
}

fn number_of(message: &SharedFrame) -> usize {
    usize::from_be_bytes(message.payload().try_into().expect("a number"))
}

/// What `deliver` gave to whom: connection, message, number of the topic.
type Delivered = Vec<(usize, usize, u32)>;

fn deliver(topics: &mut Topics, budget: usize) -> (Delivered, bool) {
    let mut delivered = Vec::new();
    let more = topics.deliver(budget, |connection, message, topic| {
        delivered.push((connection, number_of(message), topic));
    });
    (delivered, more)
}

/// The receivers of each message, in order, until nothing waits.
fn all(topics: &mut Topics) -> Vec<(usize, usize)> {
    let (delivered, more) = deliver(topics, usize::MAX);
    assert!(!more, "the budget was enough for all");
    delivered.into_iter().map(|(connection, number, _)| (connection, number)).collect()
}

/// Nothing is kept for connections that have ended.
fn assert_empty(topics: &Topics) {
    assert!(topics.by_name.is_empty() && topics.topics.is_empty() && topics.subscriptions.is_empty(), "{topics:?}");
    assert!(topics.firsts.iter().all(|&first| first == NONE), "{topics:?}");
    assert!(topics.is_idle() && topics.waiting.is_empty(), "{topics:?}");
    assert_eq!((topics.waiting_bytes, topics.waiting_deliveries), (0, 0));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Subscribe(usize, usize),
    Unsubscribe(usize, usize),
    Leave(usize),
    /// To a topic, and to all members but one.
    Publish(usize, Option<usize>),
    Deliver(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (connection, name) = (0..CONNECTIONS, 0..NAMES.len());
    prop_oneof![
        6 => (connection.clone(), name.clone()).prop_map(|(connection, name)| Step::Subscribe(connection, name)),
        3 => (connection.clone(), name.clone()).prop_map(|(connection, name)| Step::Unsubscribe(connection, name)),
        1 => connection.clone().prop_map(Step::Leave),
        4 => (name, prop::option::of(connection)).prop_map(|(name, except)| Step::Publish(name, except)),
        // Small ones for the most part: so that passes are interrupted.
        4 => prop_oneof![4 => 0_usize..5, 1 => 5_usize..100].prop_map(Step::Deliver),
    ]
}

/// A message, and the members since it was published.
#[derive(Debug)]
struct Awaited {
    number: usize,
    name: usize,
    /// How often its topic had emptied before.
    life: usize,
    due: BTreeSet<usize>,
}

#[derive(Debug, Default)]
struct Model {
    members: [BTreeSet<usize>; NAMES.len()],
    lives: [usize; NAMES.len()],
    awaited: VecDeque<Awaited>,
    published: usize,
    /// The number of each topic, by its name and its life.
    numbers: HashMap<(usize, usize), u32>,
}

impl Model {
    fn remove(&mut self, connection: usize, name: usize) -> bool {
        let was = self.members[name].remove(&connection);
        for awaited in self.awaited.iter_mut().filter(|awaited| awaited.name == name) {
            awaited.due.remove(&connection);
        }
        self.lives[name] += usize::from(was && self.members[name].is_empty());
        was
    }

    /// A receiver that is due gets the first message that is due, and gets it once.
    fn check(&mut self, delivered: Delivered) {
        for (connection, number, topic) in delivered {
            self.awaited.retain(|awaited| !awaited.due.is_empty());
            let Some(first) = self.awaited.front_mut() else { panic!("{number} to {connection}, and nothing is due") };
            let is_due = first.number == number && first.due.remove(&connection);
            assert!(is_due, "{number} to {connection}, while due is {first:?}");
            let known = *self.numbers.entry((first.name, first.life)).or_insert(topic);
            assert_eq!(known, topic, "a topic keeps its number");
        }
        self.awaited.retain(|awaited| !awaited.due.is_empty());
    }

    fn take(&mut self, topics: &mut Topics, step: Step) {
        match step {
            Step::Subscribe(connection, name) => {
                let is_new = self.members[name].insert(connection);
                assert_eq!(topics.subscribe(connection, NAMES[name]), is_new, "{step:?}");
            }
            Step::Unsubscribe(connection, name) => {
                let was = self.remove(connection, name);
                assert_eq!(topics.unsubscribe(connection, NAMES[name]), was, "{step:?}");
            }
            Step::Leave(connection) => {
                for name in 0..NAMES.len() {
                    self.remove(connection, name);
                }
                topics.leave(connection);
            }
            Step::Publish(name, except) => {
                let (number, life, mut due) = (self.published, self.lives[name], self.members[name].clone());
                assert_eq!(topics.members(NAMES[name]), due.len());
                if let Some(except) = except {
                    due.remove(&except);
                }
                self.published += 1;
                self.awaited.push_back(Awaited { number, name, life, due });
                assert_eq!(topics.publish(NAMES[name], &numbered(number), except), 0, "there is room");
            }
            Step::Deliver(budget) => {
                let (delivered, more) = deliver(topics, budget);
                assert!(delivered.len() <= budget, "{} of {budget}", delivered.len());
                self.check(delivered);
                assert_eq!(more, !topics.is_idle(), "{topics:?}");
                assert!(more || self.awaited.is_empty(), "not delivered: {:?}", self.awaited);
            }
        }
        topics.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn permanent_members_get_each_message_once_and_in_order(
        steps in prop::collection::vec(step(), 0..200)
    ) {
        let mut topics = Topics::default();
        let mut model = Model::default();
        for step in steps {
            model.take(&mut topics, step);
        }
        model.take(&mut topics, Step::Deliver(usize::MAX));
        let numbers: BTreeSet<u32> = model.numbers.values().copied().collect();
        prop_assert_eq!(numbers.len(), model.numbers.len(), "no two topics have the same number");
        prop_assert!(!numbers.contains(&0) && !numbers.contains(&u32::MAX));
        for connection in 0..CONNECTIONS {
            model.take(&mut topics, Step::Leave(connection));
        }
        assert_empty(&topics);
    }

    #[test]
    fn all_may_leave_while_messages_wait(steps in prop::collection::vec(step(), 0..200)) {
        let mut topics = Topics::default();
        let mut model = Model::default();
        for step in steps {
            model.take(&mut topics, step);
        }
        for connection in 0..CONNECTIONS {
            model.take(&mut topics, Step::Leave(connection));
        }
        // What waits has no receiver any more; it costs no budget to drop it.
        let (delivered, more) = deliver(&mut topics, 1);
        prop_assert_eq!((delivered, more), (Vec::new(), false));
        assert_empty(&topics);
    }
}

/// A topic with members 0, 1, 2 ...
fn topic_of(members: usize) -> Topics {
    let mut topics = Topics::default();
    for connection in 0..members {
        assert!(topics.subscribe(connection, "a"));
    }
    topics
}

/// Those among `0..members` that have not been reached.
fn missing(members: usize, delivered: &Delivered) -> Vec<usize> {
    (0..members).filter(|connection| !delivered.iter().any(|(reached, ..)| reached == connection)).collect()
}

#[test]
fn a_topic_without_members_takes_no_message() {
    let mut topics = Topics::default();
    assert_eq!(topics.publish("a", &numbered(0), None), 0);
    assert!(!topics.unsubscribe(7, "a"));
    topics.leave(7);
    assert_empty(&topics);
    let mut topics = topic_of(1);
    assert_eq!(topics.publish("A", &numbered(0), None), 0, "names are compared as they stand");
    assert!(topics.is_idle());
}

#[test]
fn connection_that_subscribes_twice_is_a_member_once() {
    let mut topics = topic_of(1);
    assert!(!topics.subscribe(0, "a"));
    assert_eq!(topics.publish("a", &numbered(5), None), 0);
    assert_eq!(all(&mut topics), [(0, 5)]);
    assert!(topics.unsubscribe(0, "a") && !topics.unsubscribe(0, "a"));
    assert_empty(&topics);
}

#[test]
fn a_pass_is_interrupted_when_the_budget_is_spent() {
    let mut topics = topic_of(10);
    topics.publish("a", &numbered(0), None);
    topics.publish("a", &numbered(1), None);
    let (first, more) = deliver(&mut topics, 4);
    assert_eq!((first.len(), more), (4, true));
    assert_eq!(deliver(&mut topics, 0), (Vec::new(), true));
    let (second, more) = deliver(&mut topics, 8);
    let of_the_next = second.iter().filter(|(_, number, _)| *number == 1).count();
    assert_eq!((second.len(), of_the_next, more), (8, 2, true), "what is left of it goes to the next message");
    let (last, more) = deliver(&mut topics, 8);
    assert_eq!((last.len(), more), (8, false), "just enough is enough");
    let reached = [first, second, last].concat();
    for number in 0..2 {
        let of_this: Delivered = reached.iter().filter(|(_, which, _)| *which == number).copied().collect();
        assert_eq!((of_this.len(), missing(10, &of_this)), (10, Vec::new()));
    }
}

#[test]
fn member_that_leaves_within_a_pass_is_not_reached_and_all_others_are() {
    let whole = topic_of(6);
    // Every point of the pass, and every member that might leave there.
    for (reached, leaver) in (0..=6).flat_map(|reached| (0..whole.firsts.len()).map(move |leaver| (reached, leaver))) {
        let mut topics = topic_of(6);
        topics.publish("a", &numbered(0), None);
        let (mut delivered, _) = deliver(&mut topics, reached);
        let had_it = missing(6, &delivered).iter().all(|connection| *connection != leaver);
        topics.leave(leaver);
        topics.check();
        delivered.extend(deliver(&mut topics, usize::MAX).0);
        let expected = if had_it { Vec::new() } else { vec![leaver] };
        assert_eq!(
            (missing(6, &delivered), delivered.len()),
            (expected, 6 - usize::from(!had_it)),
            "{reached} {leaver}"
        );
    }
}

#[test]
fn member_that_joins_within_a_pass_gets_the_next_message_and_not_this_one() {
    for reached in 0..=3 {
        let mut topics = topic_of(3);
        topics.publish("a", &numbered(0), None);
        let (mut delivered, _) = deliver(&mut topics, reached);
        // One that takes the last place, and one that leaves and comes again in the place of another.
        assert!(topics.subscribe(3, "a"));
        assert!(topics.unsubscribe(0, "a") && topics.subscribe(0, "a"));
        topics.publish("a", &numbered(1), None);
        delivered.extend(deliver(&mut topics, usize::MAX).0);
        let got = |number: usize| {
            let of_it = delivered.iter().filter(|(_, which, _)| *which == number);
            let mut who: Vec<usize> = of_it.map(|(connection, ..)| *connection).collect();
            who.sort_unstable();
            who
        };
        // The pass begins with the newest member, so 0 had it only if all did.
        let of_the_first = if reached == 3 { vec![0, 1, 2] } else { vec![1, 2] };
        assert_eq!((got(0), got(1)), (of_the_first, vec![0, 1, 2, 3]), "behind {reached}");
    }
}

#[test]
fn a_topic_that_comes_again_has_nothing_of_what_waits_for_the_old_one() {
    for reached in 0..3 {
        let mut topics = topic_of(3);
        topics.publish("a", &numbered(0), None);
        topics.publish("a", &numbered(1), None);
        assert_eq!(deliver(&mut topics, reached).0.len(), reached);
        (0..3).for_each(|connection| topics.leave(connection));
        assert!(topics.by_name.is_empty());
        // The new one takes the place of the old one, under the same name or under another.
        let name = ["a", "b"][reached % 2];
        assert!(topics.subscribe(1, name) && topics.subscribe(5, name));
        topics.publish(name, &numbered(2), None);
        // Nor does that cost any of the budget.
        let (delivered, more) = deliver(&mut topics, 2);
        let delivered: Vec<(usize, usize)> = delivered.into_iter().map(|(who, number, _)| (who, number)).collect();
        assert_eq!((delivered, more), (vec![(5, 2), (1, 2)], false), "behind {reached}");
        topics.check();
    }
}

#[test]
fn a_message_to_others_reaches_every_member_but_one() {
    for except in 0..5 {
        let mut topics = topic_of(5);
        topics.publish("a", &numbered(0), Some(except));
        topics.publish("a", &numbered(1), None);
        let (mut delivered, _) = deliver(&mut topics, 2);
        topics.check();
        // One that comes in the middle of the pass gets the second message alone.
        topics.subscribe(5, "a");
        delivered.extend(deliver(&mut topics, usize::MAX).0);
        let of =
            |number: usize| delivered.iter().filter(|(_, which, _)| *which == number).copied().collect::<Delivered>();
        assert_eq!((missing(5, &of(0)), of(0).len()), (vec![except], 4));
        assert_eq!((missing(5, &of(1)), of(1).len()), (vec![], 5));
    }
    // Of one that is no member all are others.
    let mut topics = topic_of(2);
    topics.publish("a", &numbered(0), Some(7));
    assert_eq!(all(&mut topics).len(), 2);
    // Of the only member none is.
    let mut topics = topic_of(1);
    topics.publish("a", &numbered(0), Some(0));
    assert!(all(&mut topics).is_empty());
    assert_eq!((topics.members("a"), topics.members("b")), (1, 0));
    topics.leave(0);
    assert_empty(&topics);
}

#[test]
fn a_message_to_others_that_is_dropped_is_counted_for_the_others() {
    let mut topics = topic_of(3);
    for number in 0..MAX_WAITING {
        assert_eq!(topics.publish("a", &numbered(number), None), 0);
    }
    assert_eq!(topics.publish("a", &numbered(0), Some(1)), 2);
    assert_eq!(topics.publish("a", &numbered(0), Some(7)), 3);
}

#[test]
fn messages_of_all_topics_go_in_the_order_in_which_they_were_published() {
    let mut topics = Topics::default();
    assert!(topics.subscribe(0, "a") && topics.subscribe(0, "b") && topics.subscribe(1, "b"));
    for (number, name) in ["a", "b", "a", "a", "b"].iter().enumerate() {
        topics.publish(name, &numbered(number), None);
    }
    let got: Vec<usize> = all(&mut topics).into_iter().filter(|(who, _)| *who == 0).map(|(_, number)| number).collect();
    assert_eq!(got, [0, 1, 2, 3, 4]);
}

#[test]
fn beyond_the_limit_of_messages_the_members_are_counted() {
    let mut topics = topic_of(3);
    topics.subscribe(9, "b");
    for number in 0..MAX_WAITING {
        assert_eq!(topics.publish("a", &numbered(number), None), 0, "message {number}");
    }
    assert_eq!(
        (topics.publish("a", &numbered(MAX_WAITING), None), topics.publish("b", &numbered(MAX_WAITING), None)),
        (3, 1)
    );
    assert_eq!(topics.publish("nobody's", &numbered(MAX_WAITING), None), 0);
    // One that is begun still waits; one that is done makes room.
    deliver(&mut topics, 2);
    assert_eq!(topics.publish("a", &numbered(MAX_WAITING), None), 3);
    deliver(&mut topics, 1);
    assert_eq!((topics.publish("a", &numbered(9999), None), topics.publish("a", &numbered(MAX_WAITING), None)), (0, 3));
    let last: Vec<usize> =
        all(&mut topics).into_iter().filter(|(who, _)| *who == 0).map(|(_, number)| number).collect();
    let expected: Vec<usize> = (1..MAX_WAITING).chain([9999]).collect();
    assert_eq!(last, expected);
    topics.check();
}

#[test]
fn beyond_the_limit_of_bytes_the_members_are_counted() {
    let mut topics = topic_of(2);
    let quarter = |more: usize| {
        let empty = SharedFrame::new(MessageKind::Binary, &vec![0; MAX_WAITING_BYTES / 4 - 100]);
        let header_bytes = empty.frame().len() - empty.payload().len();
        Arc::new(SharedFrame::new(MessageKind::Binary, &vec![0; MAX_WAITING_BYTES / 4 - header_bytes + more]))
    };
    let (exact, larger) = (quarter(0), quarter(1));
    for _ in 0..3 {
        assert_eq!(topics.publish("a", &exact, None), 0);
    }
    assert_eq!((topics.publish("a", &larger, None), topics.publish("a", &exact, None)), (2, 0));
    assert_eq!(topics.publish("a", &numbered(0), None), 2, "it is full to the byte");
    let mut delivered = 0;
    assert!(!topics.deliver(usize::MAX, |_, _, _| delivered += 1));
    assert_eq!((delivered, topics.waiting_bytes), (8, 0));
    // A message that is larger than the limit goes alone.
    let huge = Arc::new(SharedFrame::new(MessageKind::Binary, &vec![0; MAX_WAITING_BYTES + 1]));
    assert_eq!((topics.publish("a", &huge, None), topics.publish("a", &huge, None)), (0, 2));
    assert!(!topics.deliver(usize::MAX, |_, _, _| delivered += 1));
    assert_eq!((delivered, topics.waiting_bytes), (10, 0));
}

#[test]
fn beyond_the_limit_of_deliveries_the_members_are_counted() {
    const QUARTER: usize = MAX_WAITING_DELIVERIES / 4;
    let mut topics = topic_of(QUARTER);
    for connection in 0..QUARTER {
        topics.subscribe(connection, "b");
    }
    topics.subscribe(0, "c");
    let number = numbered(0);
    assert_eq!((topics.publish("a", &number, None), topics.publish("a", &number, None)), (0, 0));
    assert_eq!(topics.publish("a", &number, None), QUARTER, "half of it is all that one topic has");
    assert_eq!((topics.publish("b", &number, None), topics.publish("b", &number, None)), (0, 0));
    assert_eq!((topics.publish("b", &number, None), topics.publish("c", &number, None)), (QUARTER, 1), "it is full");
    // What has been done in part still counts, and what is done makes room.
    assert!(topics.deliver(QUARTER - 1, |_, _, _| {}));
    assert_eq!(topics.publish("c", &number, None), 1);
    assert!(topics.deliver(1, |_, _, _| {}));
    assert_eq!((topics.publish("c", &number, None), topics.publish("a", &number, None)), (0, QUARTER));
    let mut delivered = 0;
    assert!(!topics.deliver(usize::MAX, |_, _, _| delivered += 1));
    assert_eq!((delivered, topics.waiting_deliveries), (3 * QUARTER + 1, 0));
    // A topic that is larger than the limit has one message at a time.
    let mut topics = topic_of(MAX_WAITING_DELIVERIES + 1);
    assert_eq!(topics.publish("a", &number, None), 0);
    assert_eq!(topics.publish("a", &number, None), MAX_WAITING_DELIVERIES + 1);
    let mut delivered = 0;
    assert!(!topics.deliver(usize::MAX, |_, _, _| delivered += 1));
    assert_eq!((delivered, topics.publish("a", &number, None)), (MAX_WAITING_DELIVERIES + 1, 0));
}

#[test]
fn a_long_message_takes_more_of_the_budget() {
    for (bytes, cost) in [(0, 1), (4000, 1), (4096, 2), (8000, 2), (9000, 3), (100_000, 25)] {
        let mut topics = topic_of(10);
        topics.publish("a", &Arc::new(SharedFrame::new(MessageKind::Binary, &vec![0; bytes])), None);
        let mut count = |budget: usize| {
            let mut delivered = 0;
            let more = topics.deliver(budget, |_, _, _| delivered += 1);
            (delivered, more)
        };
        assert_eq!(count(4 * cost), (4, true), "{bytes} bytes");
        // Whatever is left of a budget is enough for one, so that a pass goes on.
        assert_eq!((count(1), count(cost + 1)), ((1, true), (2, true)), "{bytes} bytes");
        assert_eq!(count(usize::MAX), (3, false));
    }
}

#[test]
fn the_numbers_that_stand_for_no_topic_are_given_to_none() {
    let mut topics = Topics { last_number: u32::MAX - 3, ..Topics::default() };
    let mut numbers = Vec::new();
    for connection in 0..4 {
        topics.subscribe(connection, &connection.to_string());
        numbers.extend(topics.topics.get(connection).map(|topic| topic.number));
    }
    assert_eq!(numbers, [u32::MAX - 2, u32::MAX - 1, 1, 2]);
}
