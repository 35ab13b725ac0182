//! Lengths of messages: within their bounds, as often as was asked, and always the same for the same message.

use proptest::prelude::*;
use steadfast::flood::sizes::Sizes;

/// Numbers as messages have them: that of the connection, and that of the message on it.
fn numbers(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(|at| ((at / 100) << 16) | (at % 100))
}

fn any_sizes() -> impl Strategy<Value = Sizes> {
    prop_oneof![
        (1..1_000_000_u32).prop_map(Sizes::Fixed),
        (1..1_000_000_u32, 1..1_000_000_u32).prop_map(|(least, more)| Sizes::Uniform(least, least + more)),
        (1..1_000_000_u32).prop_map(Sizes::Exponential),
        prop::collection::vec((1..1_000_000_u32, 1..u32::MAX), 1..8).prop_map(Sizes::Weighted),
    ]
}

fn share_of(sizes: &Sizes, length: u32, count: u64) -> f64 {
    numbers(count).filter(|number| sizes.of(*number) == length as usize).count() as f64 / count as f64
}

proptest! {
    #[test]
    fn lengths_are_within_bounds_and_reproducible(sizes in any_sizes(), number in any::<u64>()) {
        let length = sizes.of(number);
        prop_assert!(length >= 1 && length <= sizes.max_bytes());
        match &sizes {
            Sizes::Fixed(bytes) => prop_assert_eq!(length, *bytes as usize),
            Sizes::Uniform(least, most) => prop_assert!((*least as usize..=*most as usize).contains(&length)),
            Sizes::Exponential(mean) => prop_assert!(length <= 10 * *mean as usize),
            Sizes::Weighted(list) => prop_assert!(list.iter().any(|(bytes, _)| *bytes as usize == length)),
        }
        prop_assert_eq!(sizes.clone().of(number), length);
        prop_assert_eq!(sizes.of(number), length);
    }

    #[test]
    fn what_is_written_is_read(sizes in any_sizes()) {
        prop_assert_eq!(sizes.to_string().parse::<Sizes>(), Ok(sizes));
    }

    #[test]
    fn range_includes_both_ends(least in 1..100_000_u32, more in 1..60_u32) {
        let sizes = Sizes::Uniform(least, least + more);
        // Each length comes about eighty times.
        let lengths: Vec<usize> = numbers(80 * u64::from(more + 1)).map(|number| sizes.of(number)).collect();
        prop_assert_eq!(lengths.iter().min(), Some(&(least as usize)));
        prop_assert_eq!(lengths.iter().max(), Some(&((least + more) as usize)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn lengths_occur_by_their_weights(weights in prop::collection::vec(1..1000_u32, 1..6)) {
        let list: Vec<(u32, u32)> = weights.iter().zip(1..).map(|(&weight, length)| (length, weight)).collect();
        let sizes = Sizes::Weighted(list.clone());
        let all: u32 = weights.iter().sum();
        for (length, weight) in list {
            let (wanted, found) = (f64::from(weight) / f64::from(all), share_of(&sizes, length, 20_000));
            prop_assert!((wanted - found).abs() < 0.02, "{} of {}: {} and not {}", weight, all, found, wanted);
        }
    }

    #[test]
    fn exponential_distribution_has_the_given_mean(mean in 50..100_000_u32) {
        let sizes = Sizes::Exponential(mean);
        let sum: usize = numbers(20_000).map(|number| sizes.of(number)).sum();
        let found = sum as f64 / 20_000.0 / f64::from(mean);
        prop_assert!((0.95..1.05).contains(&found), "{}", found);
        // Half of them are shorter than ln 2 of it.
        let short = numbers(20_000).filter(|number| (sizes.of(*number) as f64) < f64::from(mean) * 2_f64.ln()).count();
        prop_assert!((9_500..10_500).contains(&short), "{}", short);
    }
}

#[test]
fn longest_lengths_are_accepted() {
    for text in ["1073741824", "1-1073741824", "exp:1073741824", "1073741824:4294967295,1:4294967295"] {
        let sizes: Sizes = text.parse().expect(text);
        assert_eq!(sizes.max_bytes(), 1 << 30, "{text}");
        assert!(numbers(1000).all(|number| (1..=1 << 30).contains(&sizes.of(number))), "{text}");
    }
}
