//! A calm reactor looks again in time.

use super::Calm;

#[test]
fn calm_lasts_until_the_first_that_may_be_due() {
    let mut calm = Calm::default();
    assert!(!calm.lasts(0), "nothing has been looked at");
    calm.begin_round();
    for tick in [400, 90, 100] {
        calm.found(tick);
    }
    assert!(!calm.lasts(1), "the round has not ended");
    calm.end_round();
    assert!(calm.lasts(89) && !calm.lasts(90));
}

#[test]
fn what_happens_ends_the_calm_and_what_is_found_in_its_round() {
    let mut calm = Calm::default();
    calm.begin_round();
    calm.found(100);
    calm.disturb();
    calm.found(200);
    calm.end_round();
    assert!(!calm.lasts(1), "it was disturbed within the round");
    calm.begin_round();
    calm.found(100);
    calm.end_round();
    calm.disturb();
    assert!(!calm.lasts(1), "it was disturbed behind the round");
}

#[test]
fn one_that_may_be_due_at_once_leaves_no_calm() {
    let mut calm = Calm::default();
    calm.begin_round();
    calm.found(0);
    calm.end_round();
    assert!(!calm.lasts(0));
}
