//! Calls that can panic, in what is shipped. A panic ends every connection of the process, so nothing that a peer, a file, an
//! argument, the environment or a clock can influence may reach one.
//!
//! Each that remains is in [`KNOWN`], with the reason why it cannot fire. Slices by computed bounds are not searched for: there
//! are too many, and most are of the form `at..at + taken`; `src/tests/fuzz` is what holds those of `proto`.

use super::{Source, assert_none, sources, words};
use std::collections::BTreeSet;

/// One that cannot fire: the file, a part of its line, and why.
type Known = (&'static str, &'static str, &'static str);

const KNOWN: &[Known] = &[
    ("cli/connect/mod", "Duration::from_secs_f64(value)", "the guard of this arm has it within a day"),
    ("cli/connect/conversation", "Instant::now() + every", "an interval of the command line is a day at most"),
    ("cli/connect/conversation", "Instant::now() + CLOSE_WAIT", "a constant of a second"),
    ("cli/doctor/table", "/ unit * unit", "a power of ten"),
    ("cli/flood/mod", "UNIX_EPOCH + Duration::from_secs_f64", "the filter above has it within 1e11 seconds"),
    ("cli/flood/mod", "format_rfc3339_seconds", "only for a time that has a date of four digits"),
    ("cli/flood/mod", "format_rfc3339_millis", "start_at takes no time before 1970 or after 9999"),
    ("cli/report/plot", "/ unit", "floats"),
    ("cli/report/plot", "/ every", "floats"),
    ("cli/report/plot", "number / 1e", "floats"),
    ("cli/report/words", "/ opened", "floats"),
    ("cli/serve", "Duration::from_secs_f64", "the filter above has it within a day"),
    ("client/mod", "Duration::from_secs(config.connect_timeout_s", "136 years after now, at most"),
    ("client/mod", "(addresses.len() - at)", "`at` is the place of one of them"),
    ("client/url", "split_at(at)", "`find` returned the place"),
    ("doctor/host", "chunks_exact(16)", "a constant"),
    ("doctor/measure", "(far_x - x)", "floats"),
    ("doctor/probe", "Instant::now() + COUNT_FOR", "a constant"),
    ("doctor/rows", "calm / ends", "a role has one end or two, and connections are one at least"),
    ("flood/coordinator", "u64::from(steps)", "a scenario with 0 steps is refused"),
    ("flood/coordinator", "u64::from(self.config.connections)", "a flood of no connections is refused"),
    ("flood/coordinator", "Instant::now() + SCHEDULE_AFTER", "a constant"),
    ("flood/coordinator", "1e6 / per_s", "floats"),
    (
        "flood/coordinator",
        "Duration::from_secs_f64(for_s)",
        "a scenario is refused whose phase is longer than its limit, or negative",
    ),
    ("flood/config", "count.max(1)", "one at least"),
    ("flood/worker_pool", "/ workers as u64", "a plan has one reactor at least"),
    (
        "flood/driver/rate",
        "u128::from(senders) * u128::from(self.workers)",
        "called for a schedule that has senders; and there is a worker, this one",
    ),
    (
        "flood/driver/rate",
        "params.start + Duration::from_micros",
        "less than the length of the phase, which is limited",
    ),
    ("flood/driver/rate", "message % senders", "the schedule returns above where there is none"),
    (
        "flood/driver/receive",
        "Duration::from_secs_f64(message_bytes",
        "a message of at most 2^40 bytes, by one byte a second at least",
    ),
    ("flood/driver/receive", "Instant::now() + takes", "2^40 seconds at most"),
    ("flood/driver/for_each_open", "(index + 1) % places", "the loop does not run where there is no place"),
    (
        "flood/latency",
        "expect(\"constant bounds\")",
        "the bounds are constants, or were checked when a report was read",
    ),
    ("flood/latency", "expect(\"it was written by this, or checked\")", "it was written by this, or checked"),
    ("flood/latency", "unreachable!(\"it has just been unpacked\")", "the arm above assigns the other variant"),
    ("flood/mod", "/ active", "one at least"),
    ("flood/mod", "/ plan.reactors", "a plan has one reactor at least"),
    (
        "flood/payload",
        "copy_from_slice(&self.pattern[from",
        "both have the length of `made`, and the pattern has OFFSETS bytes more than the longest",
    ),
    ("flood/plan", "% ports.max(1)", "one at least"),
    ("flood/plan", "self.routes.len()", "a flood without a target is refused"),
    ("flood/plan", "% self.ports.len()", "a source with no port is refused"),
    ("flood/target", "split_at(at)", "`find` returned the place"),
    ("flood/verdict/mod", "text.split_at(at", "`find` returned the place"),
    ("flood/verdict/mod", "value.split_at(unit_at", "`find` returned the place, or it is the length"),
    (
        "net/send",
        "copy_from_slice(&header[..header_bytes])",
        "`start` is so many bytes before the payload, where the peer's longer header was",
    ),
    ("net/memory", "self.limit.reactors()", "one at least"),
    ("net/accounting", "assert_eq!(", "in debug builds only: what is counted is held against what there is"),
    ("net/deadlines", "min_bytes_per_s.max(1)", "one at least"),
    (
        "net/sys",
        "panic!(\"getrandom: {error}\")",
        "a server asks for random bytes before it starts, and ends with an error if there are none",
    ),
    ("proto/close", "const { assert!(may_be_sent(CODE)", "evaluated by the compiler"),
    ("proto/close", "copy_from_slice(&code.to_be_bytes())", "two bytes"),
    ("proto/close", "body[2..2 + reason.len()]", "the reason was cut to 123 bytes above"),
    ("proto/deflate", "self.last_bytes[4 - input.len()..]", "inputs of four bytes and more take the other arm"),
    ("proto/deflate", "made.len().min(left)", "not beyond its end"),
    ("proto/http_read", "message.split_at(head_bytes)", "the parser found the head within the message"),
    ("proto/frame", "header[2..4].copy_from_slice", "two bytes"),
    ("proto/frame", "header[2..].copy_from_slice", "eight bytes of ten"),
    ("proto/mask", "self.block[self.used..self.used + N]", "the block is filled anew where less than N bytes are left"),
    ("proto/partial", "copy_from_slice(&self.bytes[..before])", "the same length"),
    ("proto/partial", "copy_from_slice(&input[..added])", "the same length, and `added` is no more than either has"),
    ("proto/partial", "self.bytes[..together.len()]", "what is short of a header is shorter than the longest"),
    ("proto/partial", "unreachable!(\"it was just replaced\")", "it was just replaced"),
    ("proto/ring", "self.parsed <= self.written", "the two methods that move them take no more than there is"),
    ("proto/session", "self.expect(limits)", "a method of the session, which returns a value"),
    ("proto/utf8", "self.tail[..tail.len()]", "what is left of a character is three bytes at most"),
    ("proto/utf8", "open[..length]", "the same length"),
    ("server/admission", "self.began += Duration::from_secs", "not beyond now"),
    ("server/drain", "Duration::from_millis(TICK_MS)", "a constant"),
    ("server/topics", "% (u32::MAX - 1)", "a constant"),
    ("server/topics", "assert!(!topic.members.is_empty()", "in debug builds only"),
    ("server/topics", "assert_eq!(", "in debug builds only: what is linked and counted is held against what there is"),
    ("server/demo/mod", "expect(\"a number has no line break\")", "a number has no line break"),
    ("server/demo/push", "self.interval.as_nanos()", "a millisecond at least"),
    ("server/demo/push", "self.interval - Duration::from_nanos", "the remainder of a division by it"),
    ("proto/authority", "text.split_at(host_bytes)", "a count of its bytes, all ASCII"),
    ("proto/authority", "memchr::memmem::find(text, b\"://\")?", "`find` returned the place"),
    ("server/demo/page", "expect(\"fields without a line break\")", "constants"),
    ("flood/fetch", "Instant::now() + timeout", "seconds of a constant or a setting of 32 bits"),
    ("flood/interrupt", "Instant::now() + self.grace", "seconds of a setting of 32 bits"),
];

/// Macros that panic.
const MACROS: [&str; 7] = ["assert", "assert_eq", "assert_ne", "panic", "todo", "unimplemented", "unreachable"];

/// Calls that panic for some values, beside those of `unwrap`, which another test forbids.
const CALLS: [&str; 15] = [
    ".borrow()",
    ".borrow_mut()",
    ".chunks(",
    ".chunks_exact(",
    ".clone_from_slice(",
    ".copy_from_slice(",
    ".copy_within(",
    ".expect(",
    ".expect_err(",
    ".split_at(",
    ".split_at_mut(",
    ".unwrap_err()",
    "from_secs_f32",
    "from_secs_f64",
    "format_rfc3339",
];

/// What makes the sum of a time and a duration panic is a clock or a setting.
const TIMES: [&str; 7] = [
    "Instant::now() +",
    "+ Duration::",
    "- Duration::",
    "+= Duration::",
    "-= Duration::",
    "SystemTime::now() +",
    "SystemTime::now() -",
];

/// Whether an integer is divided by what may be zero. A literal or a constant is not, and no float panics.
fn divides(line: &str) -> bool {
    if ["f64", "f32", ".0", "{:"].iter().any(|float| line.contains(float)) {
        return false;
    }
    let divisors = [" / ", " % ", " /= ", " %= "].iter().flat_map(|operator| line.split(operator).skip(1));
    divisors.into_iter().any(|divisor| {
        let divisor = divisor.trim_start_matches('(');
        let name: String = divisor.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
        let is_constant = !name.is_empty() && !name.chars().any(char::is_lowercase);
        !is_constant
    })
}

/// What on a line of code can panic.
fn panicking(line: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    for name in MACROS {
        let called = |at: usize| line[at + name.len()..].starts_with('!');
        // What the compiler checks is checked.
        if words(line, name).any(called) && !line.trim_start().starts_with("const _") {
            found.push(name);
        }
    }
    // A call that returns an error instead is not listed.
    let calls = CALLS.iter().filter(|call| line.replace("try_from_secs", "").contains(**call));
    found.extend(calls.chain(TIMES.iter().filter(|time| line.contains(**time))));
    if divides(line) {
        found.push("a division");
    }
    found
}

/// What is not in `known`, and what of that is nowhere.
fn findings(sources: &[Source], known: &[Known]) -> Vec<String> {
    let (mut findings, mut used) = (Vec::new(), BTreeSet::new());
    for source in sources {
        let name = source.name();
        for (number, (line, text)) in source.shipped().lines().zip(source.text.lines()).enumerate() {
            let panicking = panicking(line);
            if panicking.is_empty() {
                continue;
            }
            let entry = known.iter().position(|(file, part, _)| *file == name && text.contains(part));
            match entry {
                Some(entry) => drop(used.insert(entry)),
                None => {
                    findings.push(format!("src/{name}.rs:{}: {}: {}", number + 1, panicking.join(", "), text.trim()))
                }
            }
        }
    }
    for (entry, (file, part, reason)) in known.iter().enumerate() {
        if !used.contains(&entry) {
            findings.push(format!("stale: src/{file}.rs has no such call any more: {part}"));
        }
        if reason.len() < 5 {
            findings.push(format!("src/{file}.rs: {part}: no reason"));
        }
    }
    findings
}

#[test]
fn what_can_panic_is_known_with_the_reason_why_it_cannot_fire() {
    let shipped: Vec<Source> = sources().into_iter().filter(Source::is_house).collect();
    assert_none(&findings(&shipped, KNOWN));
}

#[test]
fn this_test_finds_what_can_panic_and_what_is_stale() {
    for line in [
        "let a = b.expect(text);",
        "panic!();",
        "    unreachable!()",
        "assert_eq!(a, b);",
        "head.split_at(length)",
        "Duration::from_secs_f64(x)",
        "Instant::now() + wait",
        "a - Duration::from_secs(1)",
        "bytes / receivers",
        "a %= self.places",
        "(a) / (b)",
        "left / (addresses.len() - at) as u32",
    ] {
        assert!(!panicking(line).is_empty(), "{line}");
    }
    for line in [
        "self.expect(limits)",
        "debug_assert!(a)",
        "const _: () = assert!(size_of::<A>() < 5);",
        "line.split_at_checked(1)",
        "Duration::try_from_secs_f64(x)",
        "now.checked_add(wait)",
        "bytes / 2 % 10",
        "bytes / DELIVERY_BYTES",
        "a as f64 / b as f64",
        "panicked()",
    ] {
        let found = panicking(line);
        assert!(found.is_empty() || line.contains("self.expect"), "{line}: {found:?}");
    }
    let source = |text: &str| Source {
        path: super::root().join("src/net/a.rs"),
        text: text.to_owned(),
        code: super::blanked(text),
    };
    let text = "fn a() {\n    b.expect(\"why\"); // panic!\n}\n#[cfg(test)]\nmod tests { fn c() { panic!() } }\n";
    let reason = "it is always there";
    assert_eq!(findings(&[source(text)], &[("net/a", "b.expect(\"why\")", reason)]), [""; 0]);
    assert_eq!(findings(&[source(text)], &[]).len(), 1);
    assert_eq!(findings(&[source(text)], &[("net/b", "b.expect(\"why\")", reason)]).len(), 2);
    assert_eq!(findings(&[source(text)], &[("net/a", "b.expect", reason), ("net/a", "panic!", reason)]).len(), 1);
    assert_eq!(findings(&[source(text)], &[("net/a", "b.expect", "")]).len(), 1);
}
