// The root of every target: each of them includes this file, so that it is a whole program for the fuzzer, and a module
// of the test in kept.rs otherwise. (It must then import from these modules, and not the modules themselves.)

#[path = "bodies.rs"]
#[allow(dead_code, reason = "not every target needs all of it")]
mod bodies;
#[path = "../proto/feed.rs"]
#[allow(dead_code, reason = "transcripts are for the tests beside it")]
mod feed;
#[path = "../support/inflate.rs"]
#[allow(dead_code, reason = "not every target needs all of it")]
mod inflate;
#[path = "naive.rs"]
#[allow(dead_code, reason = "not every target needs all of it")]
mod naive;
#[path = "script.rs"]
#[allow(dead_code, reason = "not every target needs all of it")]
mod script;
#[path = "sessions.rs"]
#[allow(dead_code, reason = "not every target needs all of it")]
mod sessions;
#[path = "../proto/wire.rs"]
#[allow(dead_code, reason = "transcripts are for the tests beside it")]
mod wire;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check(data));
