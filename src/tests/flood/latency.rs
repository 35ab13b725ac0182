//! Latencies: what is added up is what was recorded, also when it was written and read in between.

use proptest::prelude::*;
use steadfast::flood::latency::{Latencies, Latency, MEASURES};

fn recorded(values: &[u64]) -> Latency {
    let mut latency = Latency::default();
    values.iter().for_each(|value| latency.record(*value));
    latency
}

fn through_json(latency: &Latency) -> Latency {
    let text = serde_json::to_string(latency).expect("JSON");
    serde_json::from_str(&text).expect("what was written")
}

/// Microseconds: mostly those that there are, and some that are beyond all bounds.
fn values() -> impl Strategy<Value = Vec<u64>> {
    let value = prop_oneof![8 => 0..10_000_000_u64, 1 => 0..600_000_000_u64, 1 => any::<u64>()];
    prop::collection::vec(value, 0..200)
}

proptest! {
    #[test]
    fn what_is_written_is_read(values in values()) {
        let latency = recorded(&values);
        prop_assert_eq!(&through_json(&latency), &latency);
        prop_assert_eq!(latency.samples(), values.len() as u64);
        let again = serde_json::to_value(through_json(&latency)).expect("JSON");
        prop_assert_eq!(again, serde_json::to_value(&latency).expect("JSON"));
    }

    #[test]
    fn added_histograms_equal_one_that_recorded_all(one in values(), two in values()) {
        let all = recorded(&[&one[..], &two].concat());
        let mut sum = recorded(&one);
        sum.add(&recorded(&two));
        prop_assert_eq!(&sum, &all);
        let mut sum = through_json(&recorded(&two));
        sum.add(&through_json(&recorded(&one)));
        prop_assert_eq!(&sum, &all);
        for share in [0.0, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0] {
            prop_assert_eq!(sum.quantile_us(share), all.quantile_us(share));
        }
        prop_assert_eq!((sum.max_us(), sum.mean_us()), (all.max_us(), all.mean_us()));
    }

    #[test]
    fn quantiles_are_exact_to_three_digits(mut values in prop::collection::vec(1..600_000_000_u64, 1..200)) {
        let latency = recorded(&values);
        values.sort_unstable();
        for share in [0.5_f64, 0.9, 0.95, 0.99, 1.0] {
            let rank = ((share * values.len() as f64).ceil() as usize).max(1);
            let (exact, found) = (values[rank - 1] as f64, latency.quantile_us(share).expect("samples") as f64);
            prop_assert!((found - exact).abs() <= exact * 0.001 + 1.0, "{} of {:?}: {}", share, values, found);
        }
    }

    #[test]
    fn measures_are_recorded_separately(values in prop::collection::vec((0..MEASURES.len(), 0..1_000_000_u64), 0..100)) {
        let (mut one, mut two, mut all) = (Latencies::default(), Latencies::default(), Latencies::default());
        for (at, (measure, us)) in values.iter().enumerate() {
            let half = if at % 2 == 0 { &mut one } else { &mut two };
            half.record(MEASURES[*measure], *us);
            all.record(MEASURES[*measure], *us);
        }
        let text = serde_json::to_string(&one).expect("JSON");
        let mut sum: Latencies = serde_json::from_str(&text).expect("what was written");
        sum.add(&two);
        prop_assert_eq!(&sum, &all);
        for (at, measure) in MEASURES.into_iter().enumerate() {
            let recorded = values.iter().filter(|(wanted, _)| *wanted == at).count();
            prop_assert_eq!(all.of(measure).samples(), recorded as u64);
            prop_assert_eq!(serde_json::to_value(measure).expect("JSON"), measure.name());
        }
    }
}

#[test]
fn figures_that_differ_from_their_histogram_are_refused() {
    let mut written = serde_json::to_value(recorded(&[1, 2, 3])).expect("JSON");
    written["samples"] = 4.into();
    assert!(serde_json::from_value::<Latency>(written.clone()).is_err());
    for histogram in ["", "!", "AAAA", "HISTFAAAAAB42"] {
        written["histogram"] = histogram.into();
        assert!(serde_json::from_value::<Latency>(written.clone()).is_err(), "{histogram:?}");
    }
}
