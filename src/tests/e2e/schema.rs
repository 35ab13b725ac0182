//! The JSON of a report: every member, and of which type it is. A member that changes or goes needs another `SCHEMA` in
//! `src/flood/report.rs`, and a line in `src/flood/README.md`; one that is new needs a default, so that older reports can
//! be read.

use crate::flood::flood;
use crate::host::Serve;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::TcpListener;

#[derive(Debug)]
enum Kind {
    Text,
    Number,
    Bool,
    /// Or null, where a figure cannot be had.
    Maybe(&'static Kind),
    List(&'static Kind),
    /// By names that are not given here: causes, measures.
    Map(&'static Kind),
    /// With these members, all of them and no others.
    Object(&'static [(&'static str, Kind)]),
    /// With the members of both.
    Both(&'static [(&'static str, Kind)], &'static [(&'static str, Kind)]),
}

use Kind::{Bool, Both, List, Map, Maybe, Number, Object, Text};

const LATENCY: &[(&str, Kind)] = &[
    ("samples", Number),
    ("mean_us", Maybe(&Number)),
    ("p50_us", Maybe(&Number)),
    ("p90_us", Maybe(&Number)),
    ("p95_us", Maybe(&Number)),
    ("p99_us", Maybe(&Number)),
    ("p99_9_us", Maybe(&Number)),
    ("max_us", Maybe(&Number)),
    // HdrHistogram V2, deflated, in base 64.
    ("histogram", Text),
];

const TIMING: Kind = Both(&[("seconds", Number), ("per_second", Number)], LATENCY);

const LATENCIES: Kind = Map(&Object(LATENCY));

const SCHEDULE: Kind = Object(&[("due", Number), ("sent", Number), ("answered", Number)]);

const STATES: Kind = Object(&[
    ("planned", Number),
    ("connecting", Number),
    ("upgrading", Number),
    ("open", Number),
    ("answered", Number),
    ("held", Number),
    ("closing", Number),
    ("closed", Number),
    ("lost", Number),
]);

const CONNECTIONS: Kind = Object(&[
    ("planned", Number),
    ("opened", Number),
    ("reopened", Number),
    ("answered", Number),
    ("held", Number),
    ("closed", Number),
    ("lost", Number),
]);

const MEMORY: Kind = Object(&[
    ("connections", Number),
    ("user_bytes_per_connection", Maybe(&Number)),
    ("kernel_bytes_per_connection", Maybe(&Number)),
]);

const CPU: Kind = Maybe(&Object(&[("user_s", Number), ("system_s", Number)]));

const PHASE: Kind = Object(&[
    ("name", Text),
    ("kind", Text),
    ("began_s", Number),
    ("seconds", Number),
    ("latencies", LATENCIES),
    ("schedule", SCHEDULE),
    ("missing", Number),
    ("states", STATES),
]);

const SECOND: Kind = Object(&[
    ("at_s", Number),
    ("phase", Text),
    ("states", STATES),
    ("opened", Number),
    ("replies", Number),
    ("received", Number),
    ("latencies", LATENCIES),
    ("client_user_bytes", Maybe(&Number)),
    ("server_user_bytes", Maybe(&Number)),
    ("slab_bytes", Maybe(&Number)),
    ("sockets", Maybe(&Number)),
]);

const AGREEMENT: Kind = Object(&[
    ("what", Text),
    ("at_least", Number),
    // Null where there is no bound.
    ("at_most", Maybe(&Number)),
    ("server", Number),
    ("agrees", Bool),
]);

const VERDICT: Kind = Object(&[("assertion", Text), ("figure", Maybe(&Number)), ("holds", Bool)]);

const REPORT: Kind = Object(&[
    ("schema", Text),
    ("program", Text),
    ("target", Text),
    ("shards", List(&Text)),
    ("started_at_s", Number),
    ("seconds", Number),
    ("connections", CONNECTIONS),
    ("states", STATES),
    ("lost_by_cause", Map(&Number)),
    ("connect", TIMING),
    ("reconnect", TIMING),
    ("reply", TIMING),
    ("hold", TIMING),
    ("alive", TIMING),
    ("response", TIMING),
    ("service", TIMING),
    ("lag", TIMING),
    ("age", TIMING),
    ("schedule", SCHEDULE),
    ("close_seconds", Number),
    ("sent", Number),
    ("replies", Number),
    ("received", Number),
    ("pings", Number),
    ("reply_check", Text),
    ("memory", Object(&[("server", MEMORY), ("client", MEMORY)])),
    ("cpu", Object(&[("server", CPU), ("client", CPU)])),
    ("workers", Number),
    ("phases", List(&PHASE)),
    ("timeline", List(&SECOND)),
    ("reconciliation", Maybe(&Object(&[("figures", List(&AGREEMENT)), ("agrees", Bool)]))),
    ("interrupted", Maybe(&Object(&[("closed", Number), ("reset", Number)]))),
    ("warnings", List(&Text)),
    ("assertions", List(&VERDICT)),
    ("ok", Bool),
]);

impl Kind {
    fn check(&self, value: &Value, path: &str) {
        let fits = match self {
            Text => value.is_string(),
            Number => value.is_number(),
            Bool => value.is_boolean(),
            Maybe(kind) => {
                if !value.is_null() {
                    kind.check(value, path);
                }
                true
            }
            List(kind) => value.as_array().is_some_and(|list| {
                list.iter().enumerate().for_each(|(at, value)| kind.check(value, &format!("{path}[{at}]")));
                true
            }),
            Map(kind) => value.as_object().is_some_and(|members| {
                members.iter().for_each(|(name, member)| kind.check(member, &format!("{path}.{name}")));
                true
            }),
            Object(members) => members_of(value, &[members], path),
            Both(some, more) => members_of(value, &[some, more], path),
        };
        assert!(fits, "{path} is {value}; expected {self:?}");
    }
}

fn members_of(value: &Value, kinds: &[&[(&str, Kind)]], path: &str) -> bool {
    let Some(members) = value.as_object() else { return false };
    let kinds = || kinds.iter().flat_map(|some| some.iter());
    let wanted: BTreeSet<&str> = kinds().map(|(name, _)| *name).collect();
    let found: BTreeSet<&str> = members.keys().map(String::as_str).collect();
    assert_eq!(found, wanted, "{path}");
    kinds().for_each(|(name, kind)| kind.check(&members[*name], &format!("{path}.{name}")));
    true
}

impl Kind {
    /// The names of all members, at any depth.
    fn names(&self) -> BTreeSet<&str> {
        let of = |members: &'static [(&'static str, Kind)]| {
            members.iter().flat_map(|(name, kind)| kind.names().into_iter().chain([*name]))
        };
        match *self {
            Text | Number | Bool => BTreeSet::new(),
            Maybe(kind) | List(kind) | Map(kind) => kind.names(),
            Object(members) => of(members).collect(),
            Both(some, more) => of(some).chain(of(more)).collect(),
        }
    }
}

#[test]
fn every_member_of_a_report_is_in_the_readme() {
    let readme = include_str!("../../flood/README.md");
    let section = readme.split("\n## JSON\n").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("the section");
    let words: BTreeSet<&str> = section.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
    let missing: Vec<&str> = REPORT.names().into_iter().filter(|name| !words.contains(name)).collect();
    assert!(missing.is_empty(), "src/flood/README.md lacks {missing:?}");
}

#[test]
fn report_has_the_documented_members() {
    let server = Serve::start(&[]);
    let url = format!("ws://{}/echo", server.address());
    let phases = [
        "ramp over_s=0.5",
        "reply messages=2",
        "rate per_s=5 for_s=1",
        "storm share=0.5",
        "hold for_s=1 trickle_per_s=100",
        "check",
    ];
    let phases: Vec<&str> = phases.iter().flat_map(|phase| ["--phase", phase]).collect();
    let more = ["--connections", "40", "--assert", "lost == 0", "--assert", "age.p99 < 1s"];
    let (_, report) = flood(&[&[url.as_str()], &phases[..], &more[..]].concat());
    REPORT.check(&report, "report");
    assert_eq!(report["schema"], "steadfast.flood/2");
    // What has to be there to be held to something.
    for list in ["phases", "timeline", "assertions"] {
        assert!(report[list].as_array().is_some_and(|list| list.len() > 1), "{list}: {report}");
    }
    for measure in ["connect", "reconnect", "reply", "hold", "alive", "response", "service", "lag"] {
        assert!(report[measure]["samples"].as_u64() > Some(0), "{measure}: {}", report[measure]);
    }
    assert!(report["reconciliation"]["figures"].as_array().is_some_and(|figures| !figures.is_empty()), "{report}");
    server.stop();
}

#[test]
fn empty_report_has_the_documented_members() {
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    let (_, report) = flood(&[&format!("tcp://{gone}"), "--connections", "3"]);
    REPORT.check(&report, "report");
    assert_eq!((&report["reconciliation"], &report["connect"]["p50_us"]), (&Value::Null, &Value::Null));
    assert_eq!(report["lost_by_cause"]["refused"], 3);
}
