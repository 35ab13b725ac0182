//! A reactor whose sweep rests visits its connections again in time.

use super::NextDue;

#[test]
fn sweep_rests_until_the_first_connection_may_be_due() {
    let mut next_due = NextDue::default();
    assert!(!next_due.is_after(0), "nothing has been looked at");
    next_due.begin_round();
    for tick in [400, 90, 100] {
        next_due.may_be_due_from(tick);
    }
    assert!(!next_due.is_after(1), "the round has not ended");
    next_due.end_round();
    assert!(next_due.is_after(89) && !next_due.is_after(90));
}

#[test]
fn reset_forgets_what_the_round_has_found() {
    let mut next_due = NextDue::default();
    next_due.begin_round();
    next_due.may_be_due_from(100);
    next_due.reset();
    next_due.may_be_due_from(200);
    next_due.end_round();
    assert!(!next_due.is_after(1), "it was reset within the round");
    next_due.begin_round();
    next_due.may_be_due_from(100);
    next_due.end_round();
    next_due.reset();
    assert!(!next_due.is_after(1), "it was reset after the round");
}

#[test]
fn connection_that_may_be_due_at_once_prevents_rest() {
    let mut next_due = NextDue::default();
    next_due.begin_round();
    next_due.may_be_due_from(0);
    next_due.end_round();
    assert!(!next_due.is_after(0));
}
