//! What cannot be done as asked: one line that names the flag, the value, and what would be right.

use crate::host::{Scratch, run, text};

fn assert_refused(arguments: &[&str], words: &[&str]) {
    // Nobody listens there; a flood that began would end with 1.
    let ended = run("", &[&["flood", "ws://127.0.0.1:1/", "--connections", "10"], arguments].concat());
    assert_eq!((ended.code(), ended.out.len(), ended.err.len()), (2, 0, 1), "{arguments:?}: {ended:?}");
    for word in words {
        assert!(ended.err[0].contains(word), "{arguments:?}: no {word:?} in {ended:?}");
    }
}

#[test]
fn invalid_flags_are_refused() {
    let cases: [(&[&str], &[&str]); 25] = [
        (&["--shard", "0/2"], &["--shard", "'0/2'", "1/4"]),
        (&["--shard", "3/2"], &["--shard", "'3/2'", "1/4"]),
        (&["--shard", "1"], &["--shard", "'1'", "1/4"]),
        (&["--shard", "1/100001"], &["--shard", "1/100001", "1/4"]),
        (&["--shard", "1/20"], &["--connections 10", "--shard 1/20", "one for each"]),
        (&["--shard", "1/2", "--source", "127.0.0.1"], &["--shard 1/2", "--source"]),
        (&["--start-at", "0"], &["--start-at", "'0'", "long ago"]),
        (&["--start-at", "soon"], &["--start-at", "'soon'", "since 1970", "T12:00:00Z"]),
        (&["--payload", "0"], &["--payload", "'0'", "20-2000", "exp:MEAN", "64:90"]),
        (&["--payload", "9-5"], &["--payload", "9-5", "go up"]),
        (&["--payload", "5-5"], &["--payload", "5-5", "go up"]),
        (&["--payload", "exp:0"], &["--payload", "exp:0", "exp:MEAN"]),
        (&["--payload", "64:0"], &["--payload", "64:0", "weight"]),
        (&["--payload", "64:1,9"], &["--payload", "\"9\"", "weight"]),
        (&["--payload", "1073741825"], &["--payload", "1073741825", "1073741824"]),
        (&["--header", "X"], &["--header", "\"X\"", "no colon"]),
        (&["--header", "Host: a"], &["--header", "Host", "itself"]),
        (&["--header", "X: a\r\nY: b"], &["--header", "control character"]),
        (&["--origin", "example.org"], &["--origin", "example.org", "https://example.org"]),
        (&["--origin", "null", "--header", "Origin: null"], &["--origin", "twice"]),
        (&["--subprotocol", "a b"], &["--subprotocol", "\"a b\"", "token"]),
        (&["--subprotocol", "a", "--subprotocol", "a"], &["--subprotocol", "\"a\"", "twice"]),
        (&["--phase", "ramp", "--hold", "1"], &["--phase", "--hold"]),
        (&["--scenario", "x", "--phase", "ramp"], &["--scenario", "--phase"]),
        (&["--compression-takeover"], &["--compression"]),
    ];
    for (arguments, words) in cases {
        assert_refused(arguments, words);
    }
}

#[test]
fn invalid_phases_are_refused() {
    let cases: [(&[&str], &[&str]); 14] = [
        (&["jump"], &["jump", "ramp", "drain"]),
        (&["hold"], &["hold", "for_s", "hold for_s=30"]),
        (&["hold for_s=-1"], &["hold for_s=-1", "0 to"]),
        (&["hold for_s=x"], &["hold for_s=x", "expected"]),
        (&["ramp conections=5"], &["conections", "connections"]),
        (&["ramp per_s=5 over_s=2"], &["per_s", "over_s"]),
        (&["ramp steps=5"], &["steps", "over_s"]),
        (&["rate for_s=1"], &["per_s", "total_per_s"]),
        (&["reply messages=70000"], &["messages", "70000"]),
        (&["storm share=1.5"], &["share", "1.5", "0 to 1"]),
        (&["hold for_s=1"], &["ramp", "first"]),
        (&["ramp", "drain", "hold for_s=1"], &["drain", "follow"]),
        (&["ramp connections=4"], &["6 of 10", "connections="]),
        (&["ramp connections=11"], &["more than the 10", "asked for"]),
    ];
    for (phases, words) in cases {
        let arguments: Vec<&str> = phases.iter().flat_map(|phase| ["--phase", phase]).collect();
        assert_refused(&arguments, &[&["--phase"], words].concat());
    }
}

#[test]
fn invalid_scenario_files_are_refused() {
    let scratch = Scratch::new();
    let file = scratch.file("scenario.toml");
    let name = text(&file).to_owned();
    assert_refused(&["--scenario", &name], &["--scenario", &name, "No such file"]);
    for (scenario, words) in [
        ("", &["phase"][..]),
        ("phase = 3", &["line 1"]),
        ("[[phase]]\ndo = 'ramp'\n\n[[fase]]\n", &["line 4", "fase", "phase"]),
        ("[[phase]]\ndo = 'ramp'\n[[phase]]\ndo = 'reply'\nmessages = 70000\n", &["line 3", "messages", "70000"]),
        ("[[phase]]\ndo = 'ramp'\n[[phase]]\ndo = 'storm'\nshare = 2\n", &["line 3", "storm", "share", "0 to 1"]),
        ("[[phase]]\ndo = 'ramp\n", &["line 2"]),
        ("[[phase]]\ndo = 'hold'\nfor_s = 1\n", &["first", "ramp"]),
    ] {
        std::fs::write(&file, scenario).expect("a file");
        assert_refused(&["--scenario", &name], &[&["--scenario", &name], words].concat());
    }
}

#[test]
fn receive_is_refused_for_servers_that_do_not_push() {
    for url in ["http://127.0.0.1:1/", "tcp://127.0.0.1:1"] {
        for phase in ["receive for_s=1", "slow for_s=1 share=0.5"] {
            let ended = run("", &["flood", url, "--phase", "ramp", "--phase", phase]);
            assert_eq!((ended.code(), ended.err.len()), (2, 1), "{ended:?}");
            assert!(ended.err[0].contains("ws://"), "{ended:?}");
        }
    }
}
