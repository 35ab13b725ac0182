//! Single cases of the queue.

use super::*;

#[test]
fn of_each_topic_the_newest_waits_and_where_it_was_put_last() {
    let limits = QueueLimits { max_queued_bytes: 10_000, max_queued_messages: 100 };
    let mut queue = WriteQueue::new(0);
    queue.queue_partly_sent(own(message(0, 10).frame()), Topic::Number(1), 1);
    let pushes = [(1, 0), (2, 0), (0, 0), (1, 1), (0, 0), (3, 0), (2, 1), (1, 1)];
    for (number, (topic, dropped)) in pushes.into_iter().enumerate() {
        let pushed =
            queue.try_queue(own(message(number + 1, 10).frame()), numbered(topic), limits, Overflow::KeepLatest);
        assert_eq!(pushed, Pushed::Queued { dropped }, "message {}", number + 1);
    }
    // The first one was begun.
    let expected = [0, 3, 5, 6, 7, 8].map(|number| message(number, 10).frame().to_vec()).concat();
    assert_eq!(drain(&mut queue, 3), expected[1..]);
}

#[test]
fn a_call_gathers_so_many_pieces_and_no_more() {
    for pieces in [0, 1, GATHERED - 1, GATHERED, GATHERED + 1, 3 * GATHERED] {
        let mut queue = WriteQueue::new(0);
        let frames: Vec<Vec<u8>> = (0..pieces).map(|number| control(Opcode::Ping, number)).collect();
        frames.iter().for_each(|frame| queue.queue_control(own(frame)));
        assert_eq!(queue.next(&mut WriteQueue::slices()), pieces.min(GATHERED));
        assert_eq!(drain(&mut queue, 101), frames.concat());
    }
}

#[test]
fn a_file_is_sent_by_itself() {
    let mut queue = WriteQueue::new(0);
    queue.queue_control(own(b"head"));
    queue.queue_control(file());
    queue.queue_control(own(b"behind"));
    assert!(queue.file().is_none());
    assert_eq!(next_bytes(&queue), b"head");
    queue.took(4);
    assert_eq!(next_bytes(&queue), b"");
    // Nothing of what is dropped is it.
    assert_eq!((queue.drop_waiting(), queue.took(0)), (0, 0));
    queue.file().expect("the file").left_bytes = 0;
    queue.file_sent();
    assert_eq!(drain(&mut queue, usize::MAX), b"behind");
}
