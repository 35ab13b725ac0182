//! How many reactors hold how many connections: a plan always fits, and what is named instead of one always works.

use proptest::prelude::*;
use steadfast::server::{Plan, PlanError, PlanRequest};

/// Descriptors of a table that a plan keeps for other things than connections, listeners and wake-ups.
const RESERVE: usize = 64;

fn wanted() -> impl Strategy<Value = PlanRequest> {
    let connections = prop_oneof![Just(None), (1_usize..200).prop_map(Some), (1_usize..2_000_000).prop_map(Some)];
    let reactors =
        prop_oneof![3 => Just(None), 1 => (1_usize..=64).prop_map(Some), 1 => (1_usize..=4096).prop_map(Some)];
    let table = prop_oneof![0_usize..300, 64_usize..70_000, Just(1 << 30)];
    (connections, reactors, 1_usize..=128, table, 0_usize..=100, any::<bool>()).prop_map(
        |(max_connections, reactors, cores, table, listeners, hashed)| PlanRequest {
            max_connections,
            reactors,
            cores,
            table,
            listeners,
            hashed,
        },
    )
}

/// A million under a hard limit of 20,000, on two cores.
fn million() -> PlanRequest {
    PlanRequest {
        max_connections: Some(1_000_000),
        reactors: None,
        cores: 2,
        table: 20_000,
        listeners: 1,
        hashed: true,
    }
}

/// Descriptors that the fullest table holds when the plan is full, all that is not a connection included.
fn fullest_table(plan: &Plan, wanted: &PlanRequest) -> usize {
    if plan.own_tables {
        // Every wake-up was made before the tables parted, so each has all of them.
        RESERVE + wanted.listeners + plan.reactors + plan.per_reactor
    } else {
        // Listeners, epoll, its waker and a mailbox for each reactor.
        RESERVE + plan.reactors * (wanted.listeners + 3) + plan.max_connections
    }
}

fn assert_fits(plan: &Plan, wanted: &PlanRequest) {
    assert!(plan.reactors >= 1 && plan.per_reactor >= 1, "{plan:?}");
    assert!(plan.reactors * plan.per_reactor >= plan.max_connections, "room for all: {plan:?}");
    assert!(plan.per_reactor <= plan.max_connections, "{plan:?}");
    assert!(fullest_table(plan, wanted) <= wanted.table, "{plan:?} in a table of {}", wanted.table);
    if plan.own_tables && wanted.hashed && plan.reactors > 1 {
        // Hashing deals unevenly: six standard deviations of room over the mean.
        let mean = plan.max_connections as f64 / plan.reactors as f64;
        assert!(plan.per_reactor as f64 >= (mean + 6.0 * mean.sqrt()).min(plan.max_connections as f64), "{plan:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_is_exact_and_fits_its_tables(wanted in wanted()) {
        if let Ok(plan) = Plan::new(wanted) {
            assert_fits(&plan, &wanted);
            if let Some(asked) = wanted.max_connections {
                prop_assert_eq!(plan.max_connections, asked);
            }
            if let Some(asked) = wanted.reactors {
                prop_assert_eq!(plan.reactors, asked);
            }
        }
    }

    #[test]
    fn where_there_is_no_plan_the_number_named_makes_one(wanted in wanted()) {
        match Plan::new(wanted) {
            Ok(_) => {}
            Err(PlanError::TooFewReactors { needed }) => {
                prop_assert!(wanted.reactors.is_some(), "who asks for no number cannot ask for a wrong one");
                let plan = Plan::new(PlanRequest { reactors: Some(needed), ..wanted });
                prop_assert!(plan.is_ok(), "{} reactors: {:?}", needed, plan);
            }
            Err(PlanError::TableTooSmall { needed }) => {
                prop_assert!(needed > wanted.table, "{} is no more than {}", needed, wanted.table);
                let plan = Plan::new(PlanRequest { table: needed, ..wanted });
                prop_assert!(plan.is_ok(), "a table of {}: {:?}", needed, plan);
                let less = Plan::new(PlanRequest { table: needed - 1, ..wanted });
                prop_assert!(less.is_err(), "one less than {} would do: {:?}", needed, less);
            }
        }
    }

    #[test]
    fn a_larger_table_is_never_worse(wanted in wanted(), more in 1_usize..10_000) {
        if let Ok(plan) = Plan::new(wanted) {
            let larger = Plan::new(PlanRequest { table: wanted.table + more, ..wanted });
            let larger = larger.unwrap_or_else(|impossible| panic!("{impossible:?}"));
            // Where no number is asked for, one table may now be shared, and is worth half of what there was.
            prop_assert!(larger.max_connections >= plan.max_connections / 2);
            prop_assert!(larger.reactors <= plan.reactors.max(wanted.cores));
        }
    }

    #[test]
    fn what_fits_one_table_shares_it_over_all_cores(cores in 1_usize..64, connections in 1_usize..10_000) {
        let wanted = PlanRequest { max_connections: Some(connections), cores, ..million() };
        let plan = Plan::new(wanted).expect("there is room");
        let shared = Plan { reactors: cores, own_tables: false, per_reactor: connections, max_connections: connections };
        prop_assert_eq!(plan, shared);
    }
}

#[test]
fn a_million_under_twenty_thousand_takes_tables_of_their_own() {
    let plan = Plan::new(million()).expect("a plan");
    assert!(plan.own_tables && plan.max_connections == 1_000_000, "{plan:?}");
    assert_fits(&plan, &million());
    // No more tables than it takes.
    let fewer = Plan::new(PlanRequest { reactors: Some(plan.reactors - 1), ..million() });
    assert_eq!(fewer, Err(PlanError::TooFewReactors { needed: plan.reactors }));
    // Even the emptiest reactor of a full sum has a few per cent to spare, and so has the fullest.
    assert!(plan.per_reactor as f64 * plan.reactors as f64 >= 1.03 * 1_000_000.0, "{plan:?}");
}

#[test]
fn a_million_under_a_limit_that_allows_it_takes_one_table() {
    let plan = Plan::new(PlanRequest { table: 1 << 20, ..million() }).expect("a plan");
    assert_eq!((plan.own_tables, plan.reactors), (false, 2));
}

#[test]
fn plan_without_a_number_fills_one_table() {
    let plan = Plan::new(PlanRequest { max_connections: None, ..million() }).expect("a plan");
    assert_eq!((plan.own_tables, plan.reactors), (false, 2));
    assert!((19_900..20_000).contains(&plan.max_connections), "{plan:?}");
}

#[test]
fn connections_dealt_out_evenly_need_no_spread() {
    let dealt = Plan::new(PlanRequest { hashed: false, listeners: 0, ..million() }).expect("a plan");
    let hashed = Plan::new(PlanRequest { listeners: 0, ..million() }).expect("a plan");
    assert!(dealt.reactors < hashed.reactors, "{dealt:?} {hashed:?}");
    assert_eq!(dealt.reactors, 1_000_000_usize.div_ceil(20_000 - RESERVE - dealt.reactors));
}
