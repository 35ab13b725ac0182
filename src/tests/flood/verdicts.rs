//! Assertions: what can be asserted, what is refused, and how it is judged.

use crate::reports::{Fate, Sample, report};
use proptest::prelude::*;
use steadfast::flood::latency::{MEASURES, Measure};
use steadfast::flood::report::{Reconciliation, Report};
use steadfast::flood::verdict::Assertion;

/// Ten connections, of which one was lost; replies took 1 to 1,000 ms, and the pushed messages a second.
fn flood() -> Report {
    let fate = |at: u64| Fate { opened_s: 1, ended_s: 4, cause: (at == 0).then_some("timeout: connect") };
    let reply = |ms: u64| Sample { second: 3, measure: Measure::Reply, us: ms * 1000 };
    let mut samples: Vec<Sample> = (1..=1000).map(reply).collect();
    samples.push(Sample { second: 1, measure: Measure::Age, us: 1_000_000 });
    report(&(0..10).map(fate).collect::<Vec<_>>(), &samples, 4)
}

fn judge(text: &str, report: &Report) -> (Option<f64>, bool) {
    let assertion: Assertion = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    let verdict = assertion.judge(report);
    assert_eq!(verdict.assertion, text);
    (verdict.figure, verdict.holds)
}

#[test]
fn every_name_is_the_figure_that_it_says() {
    let mut flood = flood();
    flood.reconciliation = Some(Reconciliation { figures: Vec::new(), agrees: true });
    flood.memory.server.kernel_bytes_per_connection = Some(4179.5);
    for (name, figure) in [
        ("planned", 10.0),
        ("opened", 10.0),
        ("reopened", 0.0),
        ("answered", 9.0),
        ("held", 9.0),
        ("closed", 9.0),
        ("lost", 1.0),
        ("lost[\"timeout\"]", 1.0),
        ("lost[\"timeout: connect\"]", 1.0),
        ("lost[\"timeout: reply\"]", 0.0),
        ("lost[\"refused\"]", 0.0),
        ("lost[\"close code 1001\"]", 0.0),
        ("lost[\"status\"]", 0.0),
        ("lost[\"Network is unreachable (os error 101)\"]", 0.0),
        ("sent", 1000.0),
        ("replies", 1000.0),
        ("received", 1.0),
        ("schedule.due", 30.0),
        ("schedule.sent", 20.0),
        ("schedule.answered", 9.0),
        ("hold.schedule.due", 30.0),
        ("ramp.schedule.due", 0.0),
        ("reply.samples", 1000.0),
        ("hold.reply.samples", 1000.0),
        ("ramp.reply.samples", 0.0),
        ("reconciled", 1.0),
    ] {
        assert_eq!(judge(&format!("{name} == {figure}"), &flood), (Some(figure), true), "{name}");
        assert_eq!(judge(&format!("{name} > {figure}"), &flood), (Some(figure), false), "{name}");
    }
    for text in [
        "seconds == 4s",
        "seconds == 4000ms",
        "close_seconds <= 0.5",
        "hold.seconds == 4",
        "ramp.seconds == 2 s",
        "reply.seconds == 4",
        "reply.per_second == 250/s",
        "ramp.age.per_second == 0.5",
        "server.user_bytes_per_connection == 51",
        "server.kernel_bytes_per_connection < 4.1KiB",
        "client.user_bytes_per_connection < 1 MiB",
        "server.cpu_s == 3.75",
        "client.cpu_s == 3750ms",
        "reply.p50 < 501ms",
        "reply.p99.9 <= 1s",
        "reply.p99 > 989ms",
        "reply.max >= 1s",
        "age.mean < 1.001s",
        "ramp.age.max > 999_000us",
        "lost <= 10%",
        "closed >= 90%",
        "hold.schedule.sent > 66%",
    ] {
        assert!(judge(text, &flood).1, "{text}: {:?}", judge(text, &flood));
    }
}

#[test]
fn assertion_on_an_unmeasured_figure_does_not_hold() {
    let flood = flood();
    for name in [
        "connect.p99",
        "ramp.reply.max",
        "connect.mean",
        "client.kernel_bytes_per_connection",
        "reconciled",
        "ramp9.seconds",
        "ramp9.schedule.due",
    ] {
        let unit = if name.contains("connect.") || name.contains("max") { "us" } else { "" };
        for sign in ["==", "!=", "<", ">="] {
            assert_eq!(judge(&format!("{name} {sign} 1{unit}"), &flood), (None, false), "{name} {sign}");
        }
    }
}

fn refused(text: &str) -> String {
    text.parse::<Assertion>().err().unwrap_or_else(|| panic!("{text} is taken")).to_string()
}

#[test]
fn invalid_assertion_is_rejected_with_a_reason_and_an_example() {
    let right = "expected NAME OP NUMBER[UNIT], such as 'lost == 0' or 'connect.p99 < 50ms'";
    for (text, said) in [
        ("", format!("it has no comparison; {right}")),
        ("lost", format!("it has no comparison; {right}")),
        ("lost = 0", "expected one of == != < <= > >= between name and number".into()),
        ("lost == none", format!("\"none\" is not a number; {right}")),
        ("lost < ", format!("\"\" is not a number; {right}")),
        ("lsot == 0", "\"lsot\" is not a figure of a report; expected lost".into()),
        ("conect.p99 < 5ms", "\"conect.p99\" is not a figure of a report; expected connect.p99".into()),
        ("connect.p99 < 5", "connect.p99 needs a unit; expected us, ms or s".into()),
        ("connect.p99 < 5KiB", "connect.p99 has no unit \"KiB\"; expected us, ms or s".into()),
        ("connect.p999 < 5ms", "connect has no \"p999\"; expected p99".into()),
        ("lost < 5ms", "lost has no unit \"ms\"; expected a number without unit, or %".into()),
        ("replies > 5%", "replies has no unit \"%\"; expected a number without unit".into()),
        ("server.cpu_s < 5B", "server.cpu_s has no unit \"B\"; expected us, ms or s".into()),
        ("reply.per_second > 5s", "reply.per_second has no unit \"s\"; expected /s".into()),
        (
            "server.user_bytes_per_connection < 5kB",
            "server.user_bytes_per_connection has no unit \"kB\"; expected B, KiB, MiB or GiB".into(),
        ),
        ("lost[\"refusd\"] == 0", "\"refusd\" is not a cause of a loss; expected refused".into()),
        (
            "lost[\"timeout: conect\"] == 0",
            "\"timeout: conect\" is not a cause of a loss; expected timeout: connect".into(),
        ),
        ("lost[refused] == 0", "lost[refused] has no quotes; expected lost[\"refused\"] or lost[\"timeout\"]".into()),
    ] {
        assert!(refused(text).starts_with(&said), "{text}: {}", refused(text));
    }
}

#[test]
fn phases_are_known_before_the_flood_begins() {
    let check = |text: &str| text.parse::<Assertion>().expect("an assertion").check(["ramp", "ramp2"]);
    assert_eq!(check("ramp2.connect.p99 < 1s"), Ok(()));
    assert_eq!(check("connect.p99 < 1s"), Ok(()));
    let error = check("ramp3.connect.p99 < 1s").expect_err("there is none");
    assert_eq!(error.to_string(), "there is no phase \"ramp3\"; expected ramp or ramp2");
}

proptest! {
    #[test]
    fn any_text_is_taken_or_refused(text in "[ -~]{0,30}|(lost|connect\\.p[0-9.]{1,5}|seconds) ?(==|<=|>) ?[0-9.]{1,6} ?(ms|s|%)?") {
        if let Ok(assertion) = text.parse::<Assertion>() {
            prop_assert_eq!(assertion.to_string(), text.trim());
            prop_assert_eq!(&assertion.to_string().parse::<Assertion>().expect("it was taken before"), &assertion);
        }
    }

    #[test]
    fn either_it_or_its_opposite_holds(measure in 0..MEASURES.len(), tenth in 0..1000_u32, bound_us in 0..2_000_000_u64) {
        let flood = flood();
        let name = format!("{}.p{}.{}", MEASURES[measure].name(), tenth / 10, tenth % 10);
        let is = |sign: &str| judge(&format!("{name} {sign} {bound_us}us"), &flood);
        let (figure, less) = is("<");
        let expected = flood.timing(MEASURES[measure]).latency.quantile_us(f64::from(tenth) / 1000.0);
        prop_assert_eq!(figure, expected.map(|us| us as f64));
        prop_assert_eq!(is(">=").1, figure.is_some() && !less);
        prop_assert_eq!(is("<=").1, less || is("==").1);
        prop_assert_eq!(is(">").1, figure.is_some() && !is("<=").1);
        prop_assert_eq!(is("!=").1, figure.is_some() && !is("==").1);
    }
}
