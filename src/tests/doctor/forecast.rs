//! What follows from a host's figures: how many connections fit, and which wall comes first.

use crate::made_up::{MIB, MadeUp};
use proptest::prelude::*;
use steadfast::doctor::groups::MemoryGroup;
use steadfast::doctor::host::Conntrack;
use steadfast::doctor::{Capacity, Costs, Diagnosis, Fix, Host, LIMITS, Limit, Query, Role, Row, Verdict, examine};
use steadfast::server::{Plan, PlanRequest};

/// A host that holds millions.
fn large() -> Host {
    let mut host = MadeUp::host().read();
    host.memory.available_bytes = 1 << 40;
    host.max_user_watches = Some(1 << 40);
    host
}

fn query(role: Role) -> Query {
    Query::new(1_000_000, role)
}

fn examined(host: &Host) -> Diagnosis {
    examine(&query(Role::Both), host, &Costs::default())
}

fn row(diagnosis: &Diagnosis, limit: Limit) -> &Row {
    diagnosis.rows.iter().find(|row| row.limit == limit).expect("a row for each limit")
}

fn capacity(connections: u64, limit: Limit) -> Capacity {
    Capacity { connections, limit: Some(limit) }
}

#[test]
fn rows_are_in_the_order_of_the_limits() {
    let limits: Vec<Limit> = examined(&large()).rows.iter().map(|row| row.limit).collect();
    assert_eq!(limits, LIMITS);
}

#[test]
fn file_max_binds_only_without_privilege() {
    let host = Host { file_max: Some(500_000), files: 2000, ..large() };
    let forecast = examined(&host).forecast;
    // A descriptor for each end, and an epoll instance, a wake-up and a listener or none for each of two reactors.
    assert_eq!(forecast.server, capacity(498_000 - 2 * 3, Limit::FileMax));
    assert_eq!(forecast.client, capacity(498_000 - 2 * 2, Limit::FileMax));
    assert_eq!(forecast.both, capacity((498_000 - 2 * 3 - 2 * 2) / 2, Limit::FileMax));
    let exempt = examined(&Host { is_admin: true, ..host });
    assert_eq!(row(&exempt, Limit::FileMax).verdict, Verdict::DoesNotBind);
    assert!(exempt.fits);
}

#[test]
fn epoll_watches_of_the_user_are_subtracted() {
    let host = Host { max_user_watches: Some(100_000), watches: 20_000, ..large() };
    let diagnosis = examined(&host);
    assert_eq!(diagnosis.forecast.server, capacity(80_000 - 2 * 2, Limit::EpollWatches));
    assert_eq!(diagnosis.forecast.client, capacity(80_000 - 2, Limit::EpollWatches));
    assert_eq!(diagnosis.forecast.both, capacity((80_000 - 6) / 2, Limit::EpollWatches));
    let row = row(&diagnosis, Limit::EpollWatches);
    let Some(Fix::Sysctl { name, value, was }) = &row.fix else { panic!("{row:?}") };
    assert_eq!((*name, was.as_str()), ("fs.epoll.max_user_watches", "100000"));
    // With the proposed value it is enough.
    let mended = Host { max_user_watches: value.parse().ok(), ..host };
    assert!(examined(&mended).fits, "{value}");
}

#[test]
fn ports_are_counted_for_each_source_address() {
    let both = Query { sources: Some(3), destinations: 2, ..query(Role::Both) };
    let diagnosis = examine(&both, &large(), &Costs::default());
    assert_eq!(diagnosis.forecast.both, capacity(3 * 2 * 28_232, Limit::Ports));
    assert_eq!(diagnosis.forecast.client, capacity(3 * 2 * 28_232, Limit::Ports));
    // A server uses up none.
    assert!(diagnosis.forecast.server.connections >= 1_000_000);
    // The widest range is not enough for a million from six pairs of addresses, so more sources are request.
    let request = Fix::Flag { command: "flood", flag: "--source", value: 18 };
    assert_eq!(row(&diagnosis, Limit::Ports).fix, Some(request));
    let less = Query { connections: 300_000, ..both };
    let diagnosis = examine(&less, &large(), &Costs::default());
    let Some(Fix::Sysctl { name, value, .. }) = &row(&diagnosis, Limit::Ports).fix else { panic!("{diagnosis:?}") };
    assert_eq!((*name, value.as_str()), ("net.ipv4.ip_local_port_range", "1024 65535"));
    // On loopback there are sources enough.
    assert_eq!(row(&examined(&large()), Limit::Ports).verdict, Verdict::Holds);
    assert_eq!(row(&examined(&large()), Limit::Ports).facts["sources"], 71);
}

#[test]
fn max_connections_of_the_server_is_a_limit() {
    let limited = Query { max_connections: Some(5000), ..query(Role::Both) };
    let diagnosis = examine(&limited, &large(), &Costs::default());
    assert_eq!((diagnosis.forecast.server, diagnosis.forecast.both), {
        let five_thousand = capacity(5000, Limit::MaxConnections);
        (five_thousand, five_thousand)
    });
    assert!(diagnosis.forecast.client.connections >= 1_000_000 && !diagnosis.fits);
    let request = Fix::Flag { command: "serve", flag: "--max-connections", value: 1_000_000 };
    assert_eq!(row(&diagnosis, Limit::MaxConnections).fix, Some(request));
}

#[test]
fn server_beyond_its_descriptor_tables_does_not_fit() {
    let host = Host { nofile: (200, 200), ..large() };
    let limited = Query { max_connections: Some(5000), ..Query::new(100, Role::Both) };
    let diagnosis = examine(&limited, &host, &Costs::default());
    assert_eq!((diagnosis.forecast.server, diagnosis.forecast.both), {
        let none = capacity(0, Limit::Nofile);
        (none, none)
    });
    assert!(!diagnosis.fits && diagnosis.forecast.client.connections > 1000);
}

#[test]
fn each_tracked_connection_needs_one_entry() {
    let host = Host { conntrack: Some(Conntrack { max: 262_144, count: 144 }), ..large() };
    assert_eq!(row(&examined(&host), Limit::Conntrack).verdict, Verdict::DoesNotBind);
    let tracked = Costs { is_tracked: true, ..Costs::default() };
    let diagnosis = examine(&query(Role::Both), &host, &tracked);
    // Both ends of a loopback connection are one entry.
    for role in [Role::Server, Role::Client, Role::Both] {
        assert_eq!(diagnosis.forecast.of(role), capacity(262_000, Limit::Conntrack), "{role}");
    }
}

#[test]
fn memory_of_host_and_group_limit_connections() {
    let mut host = large();
    host.memory.available_bytes = 8000 * MIB;
    let costs = Costs::default();
    let of_host = examined(&host).forecast;
    assert_eq!(of_host.both.limit, Some(Limit::HostMemory));
    let pair = 2.0 * costs.kernel_bytes_per_socket + 51.0 + 68.0;
    let roughly = 8000.0 * MIB as f64 / pair;
    assert!((of_host.both.connections as f64 / roughly - 1.0).abs() < 0.01, "{of_host:?}, about {roughly}");
    assert!(of_host.server.connections > 19 * of_host.both.connections / 10);

    let file = "/sys/fs/cgroup/memory.max".into();
    host.memory_groups =
        vec![MemoryGroup { file, limit_bytes: 2048 * MIB, used_bytes: 100 * MIB, cached_bytes: 52 * MIB }];
    let in_group = examined(&host);
    assert_eq!(in_group.forecast.both.limit, Some(Limit::GroupMemory));
    let pair = costs.server.charged_bytes_per_socket + costs.client.charged_bytes_per_socket + 51.0 + 68.0;
    let roughly = 2000.0 * MIB as f64 / pair;
    assert!((in_group.forecast.both.connections as f64 / roughly - 1.0).abs() < 0.02, "{in_group:?}");
    let Some(Fix::Group { file, value }) = &row(&in_group, Limit::GroupMemory).fix else { panic!("{in_group:?}") };
    assert_eq!(file, "/sys/fs/cgroup/memory.max");
    host.memory_groups[0].limit_bytes = *value;
    assert!(examined(&host).forecast.both.limit != Some(Limit::GroupMemory) || examined(&host).fits);
}

#[test]
fn table_fills_up_with_the_eventfds_of_all_reactors() {
    let host = Host { nofile: (200, 200), ..large() };
    let diagnosis = examined(&host);
    for (role, hashed, listeners) in [(Role::Server, true, 1), (Role::Client, false, 0)] {
        let Capacity { connections, limit } = diagnosis.forecast.of(role);
        assert_eq!(limit, Some(Limit::Nofile), "{role}");
        let request = |more: u64| PlanRequest {
            max_connections: Some((connections + more) as usize),
            reactors: None,
            cores: 2,
            table: 200,
            listeners,
            hashed,
        };
        assert!(Plan::new(request(0)).is_ok() && Plan::new(request(1)).is_err(), "{role}: {connections}");
    }
    assert_eq!(diagnosis.forecast.both, diagnosis.forecast.server);
    let row = row(&diagnosis, Limit::Nofile);
    let Some(Fix::Ulimit { option: "-n", value, needs_privilege: true, .. }) = row.fix else { panic!("{row:?}") };
    assert!(examined(&Host { nofile: (value, value), ..host.clone() }).fits);
    assert!(!examined(&Host { nofile: (value - 1, value - 1), ..host }).fits);
}

#[test]
fn without_unshare_there_is_one_descriptor_table() {
    let host = Host { own_tables: false, nofile: (20_000, 20_000), ..large() };
    let diagnosis = examined(&host);
    // Reserve, and for each of two reactors epoll, its waker, a wake-up, and a listener.
    assert_eq!(diagnosis.forecast.server, capacity(20_000 - 64 - 2 * 4, Limit::Nofile));
    let Some(Fix::Ulimit { value, .. }) = row(&diagnosis, Limit::Nofile).fix else { panic!("{diagnosis:?}") };
    assert_eq!(value, 1_000_000 + 64 + 2 * 4);
    let mended = Host { nofile: (value, value), nr_open: Some(value), ..host };
    assert!(examined(&mended).fits);
}

#[test]
fn given_reactors_hold_what_their_tables_hold() {
    let host = Host { nofile: (1000, 1000), ..large() };
    let one = Query { reactors: Some(1), ..Query::new(10_000, Role::Server) };
    let diagnosis = examine(&one, &host, &Costs::default());
    assert_eq!(diagnosis.forecast.server, capacity(1000 - 64 - 2, Limit::Nofile));
    // More of them would do, or one larger table.
    let short = row(&diagnosis, Limit::Nofile);
    let Some(Fix::Flag { command: "serve", flag: "--reactors", value }) = short.fix else { panic!("{short:?}") };
    let fits = |reactors: u64, table: u64| {
        let host = Host { nofile: (table, table), nr_open: Some(1 << 30), ..host.clone() };
        examine(&Query { reactors: Some(reactors as usize), ..one.clone() }, &host, &Costs::default()).fits
    };
    assert!(fits(value, 1000) && !fits(value - 1, 1000), "{value}");
    let table = short.need.expect("a number");
    assert!(fits(1, table) && !fits(1, table - 1), "{table}");
}

#[test]
fn pids_limit_of_a_group_limits_threads() {
    let mut host = Host { nofile: (1000, 1000), ..large() };
    let made_up = MadeUp::host();
    made_up.file("proc/self/cgroup", "0::/one\n");
    made_up.file("sys/fs/cgroup/one/pids.max", "20\n");
    made_up.file("sys/fs/cgroup/one/pids.current", "5\n");
    host.pids_groups = made_up.read().pids_groups;
    let diagnosis = examine(&query(Role::Server), &host, &Costs::default());
    let Capacity { connections, limit } = diagnosis.forecast.server;
    assert_eq!(limit, Some(Limit::Threads));
    let plan = |connections: u64| {
        let request = PlanRequest {
            max_connections: Some(connections as usize),
            reactors: None,
            cores: 2,
            table: 1000,
            listeners: 1,
            hashed: true,
        };
        Plan::new(request).expect("a plan").reactors
    };
    // 15 are left; the main thread and that of the signals are no reactors.
    assert_eq!((plan(connections), plan(connections + 1)), (13, 14));
}

#[test]
fn soft_limits_do_not_reduce_the_forecast() {
    let host = Host {
        max_orphans: Some(1),
        max_tw_buckets: Some(1),
        tcp_mem_bytes: Some([0; 3]),
        somaxconn: Some(1),
        ..large()
    };
    let diagnosis = examined(&host);
    assert!(diagnosis.fits);
    for limit in [Limit::Backlog, Limit::Orphans, Limit::TimeWait] {
        assert_eq!(row(&diagnosis, limit).verdict, Verdict::Slows, "{limit:?}");
        assert!(matches!(row(&diagnosis, limit).fix, Some(Fix::Sysctl { .. })), "{limit:?}");
    }
    assert_eq!(row(&diagnosis, Limit::TcpMem).verdict, Verdict::DoesNotBind);
}

#[test]
fn server_and_client_have_different_limits() {
    let of = |role| examine(&query(role), &large(), &Costs::default());
    let verdicts = |role, limits: [Limit; 3]| limits.map(|limit| row(&of(role), limit).verdict);
    let limits = [Limit::Ports, Limit::Backlog, Limit::MaxConnections];
    use Verdict::{DoesNotBind, Holds};
    assert_eq!(verdicts(Role::Server, limits), [DoesNotBind, Holds, DoesNotBind]);
    assert_eq!(verdicts(Role::Client, limits), [Holds, DoesNotBind, DoesNotBind]);
    assert_eq!(verdicts(Role::Both, limits), [Holds, Holds, DoesNotBind]);
}

fn hosts() -> impl Strategy<Value = Host> {
    let limit = || 100_u64..3_000_000;
    (limit(), limit(), limit(), 1_u64..60_000, 100_u64..40_000, any::<bool>()).prop_map(
        |(watches, files, table, ports, mib, own_tables)| {
            let mut host = Host {
                max_user_watches: Some(watches),
                file_max: Some(files),
                files: 10,
                nofile: (table, table),
                nr_open: Some(1 << 20),
                ports,
                own_tables,
                ..large()
            };
            host.memory.available_bytes = mib * MIB;
            host
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn forecast_number_fits_and_one_more_does_not(host in hosts(), sources in prop::option::of(1_u64..40)) {
        for role in [Role::Server, Role::Client, Role::Both] {
            let query = Query { sources, ..query(role) };
            let Capacity { connections, limit } = examine(&query, &host, &Costs::default()).forecast.of(role);
            let at = |connections| examine(&Query { connections, ..query.clone() }, &host, &Costs::default());
            prop_assert!(connections == 0 || at(connections).fits, "{role}: {connections}");
            let beyond = at(connections + 1);
            prop_assert!(!beyond.fits);
            let limit = limit.expect("every host has one");
            let row = beyond.rows.iter().find(|row| row.limit == limit).expect("its row");
            prop_assert_eq!(row.verdict, Verdict::Short);
            prop_assert_eq!(row.max_connections, Some(connections));
            // No other limit is lower.
            let before = beyond.rows.iter().filter(|row| row.max_connections.is_some_and(|most| most < connections));
            prop_assert_eq!(before.count(), 0);
        }
    }
}
