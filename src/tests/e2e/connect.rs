//! `steadfast connect`: lines out, messages in, and how it ends.

use crate::connect_peer::{Door, connect, echo_of, piped, plain};
use crate::host::{BINARY as PROGRAM, Ended, Local, quick};
use crate::wire::{BINARY, CLOSE, Frame, PING, PONG, TEXT, close_body};
use socket2::SockRef;
use std::io::{BufRead, BufReader, Write, pipe};
use std::process::{Command, Stdio};
use std::time::Duration;
use steadfast::proto::extension::Compression;
use steadfast::proto::upgrade::Policy;
use steadfast::server::Config;

const NORMAL_END: &str = "closed by us with 1000 (normal), and the peer answered with 1000 (normal)";

/// Ended well: it said just `out`, and that both sides closed with 1000.
fn assert_well(ended: &Ended, out: &[&str]) {
    assert_eq!((ended.code(), &ended.out[..]), (0, &out.iter().map(ToString::to_string).collect::<Vec<_>>()[..]));
    assert_eq!(ended.err.last().map(String::as_str), Some(NORMAL_END), "{ended:?}");
}

fn assert_last_error_has(ended: &Ended, words: &[&str]) {
    let last = ended.err.last().unwrap_or_else(|| panic!("it says nothing: {ended:?}"));
    for word in words {
        assert!(last.contains(word), "no {word:?} in {ended:?}");
    }
}

#[test]
fn piped_lines_are_answered() {
    let local = Local::start(quick());
    let url = echo_of(local.address);
    let ended = piped(&url, &[], b"hi\n");
    assert_well(&ended, &["text: hi"]);
    assert_eq!(ended.err, [&format!("connected to {url} at {}", local.address), NORMAL_END]);
    assert_well(&piped(&url, &[], b""), &[]);
}

#[test]
fn line_is_a_message_with_any_line_end() {
    let local = Local::start(quick());
    let ended = piped(&echo_of(local.address), &[], "a\n\nb\r\n \u{e4}\t\nlast".as_bytes());
    assert_well(&ended, &["text: a", "text: ", "text: b", "text:  \u{e4}\\t", "text: last"]);
}

#[test]
fn lines_can_be_sent_as_binary() {
    let local = Local::start(quick());
    let long = [&[0xab; 65][..], b"\n"].concat();
    let input = [b"\x00\xff\x1b\r\n\nx\n", &long[..]].concat();
    let ended = piped(&echo_of(local.address), &["--binary"], &input);
    let shown = format!("binary (65 bytes): {}... and 1 more", "ab ".repeat(64));
    assert_well(&ended, &["binary (4 bytes): 00 ff 1b 0d", "binary (0 bytes)", "binary (1 byte): 78", &shown]);
}

#[test]
fn long_line_is_one_message() {
    let local = Local::start(quick());
    let line = "0123456789abcdef".repeat(1 << 16);
    let ended = piped(&echo_of(local.address), &[], line.as_bytes());
    assert_well(&ended, &[&format!("text: {line}")]);
}

/// More than all buffers hold: an end that waited for the other to read first would wait for ever.
#[test]
fn sending_and_receiving_do_not_block_each_other() {
    let local = Local::start(quick());
    let line = "x".repeat(100_000);
    let ended = piped(&echo_of(local.address), &[], format!("{line}\n").repeat(300).as_bytes());
    assert_eq!((ended.code(), ended.out.len(), &ended.err[1][..]), (0, 300, NORMAL_END));
    assert!(ended.out.iter().all(|shown| shown[6..] == line), "each comes back whole");
}

#[test]
fn line_with_invalid_utf8_is_not_sent() {
    let local = Local::start(quick());
    let ended = piped(&echo_of(local.address), &[], b"a\nb\xff\nc\n");
    assert_eq!((ended.code(), &ended.out[..]), (1, &["text: a".to_owned(), "text: c".to_owned()][..]), "{ended:?}");
    let said = ended.err.iter().find(|line| line.starts_with("steadfast: line 2 is not sent"));
    assert!(said.is_some_and(|line| line.contains("byte 2") && line.contains("--binary")), "{ended:?}");
}

#[test]
fn request_carries_the_given_flags() {
    let door = Door::open();
    let arguments = ["--subprotocol", "v2.chat", "--subprotocol", "chat", "--origin", "https://example.org"];
    let headers = ["--header", "X-One: a b", "--header", "Cookie:c=d"];
    let (running, input) = connect(&door.url, &[&arguments[..], &headers].concat());
    let mut peer = door.upgraded("Sec-WebSocket-Protocol: chat\r\n");
    assert!(peer.request.starts_with("GET /echo HTTP/1.1\r\n"), "{}", peer.request);
    for (name, value) in [
        ("Sec-WebSocket-Protocol", Some("v2.chat, chat")),
        ("Origin", Some("https://example.org")),
        ("X-One", Some("a b")),
        ("Cookie", Some("c=d")),
        ("Sec-WebSocket-Version", Some("13")),
        ("Sec-WebSocket-Extensions", None),
    ] {
        assert_eq!(peer.field(name), value, "{name}: {}", peer.request);
    }
    peer.send(CLOSE, &close_body(1000, b""));
    let ended = running.ended();
    assert_eq!((ended.code(), &ended.err[1][..]), (0, "subprotocol: chat"), "{ended:?}");
    drop(input);
}

#[test]
fn unsupported_subprotocol_is_not_negotiated() {
    let upgrade = Policy { subprotocols: vec!["chat".into()], ..Policy::default() };
    let local = Local::start(Config { upgrade, ..quick() });
    let url = echo_of(local.address);
    let ended = piped(&url, &["--subprotocol", "mqtt", "--subprotocol", "chat"], b"hi");
    assert_well(&ended, &["text: hi"]);
    assert_eq!(ended.err[1], "subprotocol: chat");
    let ended = piped(&url, &["--subprotocol", "mqtt"], b"hi");
    assert_well(&ended, &["text: hi"]);
    assert_eq!(ended.err[1], "subprotocol: none of those that were offered");
}

#[test]
fn negotiated_compression_is_printed() {
    let compression = Some(Compression { context_takeover: true, ..Compression::default() });
    let local = Local::start(Config { upgrade: Policy { compression, ..Policy::default() }, ..quick() });
    let lines: Vec<String> = (0..50).map(|number| format!("{number} {}", "as before, ".repeat(100))).collect();
    let shown: Vec<String> = lines.iter().map(|line| format!("text: {line}")).collect();
    let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
    for (arguments, takeover) in
        [(&["--compression"][..], "without"), (&["--compression", "--compression-takeover"], "with")]
    {
        let ended = piped(&echo_of(local.address), arguments, lines.join("\n").as_bytes());
        assert_well(&ended, &shown);
        let said = &ended.err[1];
        assert!(said.starts_with("compression: permessage-deflate: own window 12 bits"), "{said}");
        assert_eq!(said.matches(&format!("{takeover} takeover")).count(), 2, "{said}");
    }
    let plain = Local::start(quick());
    let ended = piped(&echo_of(plain.address), &["--compression"], b"hi");
    assert_well(&ended, &["text: hi"]);
    assert_eq!(ended.err[1], "compression: none, the server declined it");
}

#[test]
fn sent_messages_are_compressed() {
    let door = Door::open();
    let (running, mut input) = connect(&door.url, &["--compression"]);
    let answer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    let mut peer = door.upgraded(&format!("Sec-WebSocket-Extensions: {answer}\r\n"));
    writeln!(input, "{}", "x".repeat(10_000)).expect("it reads its input");
    let Frame { first, payload } = peer.frame();
    assert_eq!(first, TEXT | 0x40, "RSV1 marks a compressed message");
    assert!(payload.len() < 200, "{} bytes", payload.len());
    peer.wire.send(&plain(TEXT | 0x40, &payload));
    peer.send(CLOSE, &close_body(1000, b""));
    let ended = running.ended();
    assert_eq!(ended.out[0], format!("text: {}", "x".repeat(10_000)));
}

#[test]
fn time_is_sent_at_the_interval() {
    let local = Local::start(quick());
    // Its input has ended from the start: it stays for what comes by itself.
    let (mut running, input) = connect(&echo_of(local.address), &["--every", "0.05"]);
    drop(input);
    for _ in 0..3 {
        let line = running.next_line().expect("a message");
        let time = line.strip_prefix("text: ").and_then(|time| httpdate::parse_http_date(time).ok());
        assert!(time.is_some(), "{line:?}");
    }
    running.signal("INT");
    let ended = running.ended();
    assert_eq!((ended.code(), ended.err.last().map(String::as_str)), (0, Some(NORMAL_END)), "{ended:?}");
}

#[test]
fn pings_are_sent_and_their_pongs_timed() {
    let door = Door::open();
    let (mut running, input) = connect(&door.url, &["--ping=0.1"]);
    let mut peer = door.upgraded("");
    let Frame { first: PING, payload: first_ping } = peer.frame() else { panic!("no ping") };
    let Frame { first: PING, payload } = peer.frame() else { panic!("no second ping") };
    assert_ne!(first_ping, payload);
    // An answer to the last ping is enough; an unsolicited pong is shown as it is.
    peer.send(PONG, &payload);
    let line = running.next_line().expect("a pong");
    let time = line.strip_prefix("pong (").and_then(|rest| rest.strip_suffix(" ms)")?.parse::<f64>().ok());
    assert!(time.is_some_and(|time_ms| time_ms >= 0.0), "{line:?}");
    peer.send(PONG, &first_ping);
    let unasked = format!("pong: {}", String::from_utf8(first_ping).expect("a payload of text"));
    assert_eq!(running.next_line(), Some(unasked));
    peer.send(PING, b"are you \x07 there");
    assert_eq!(running.next_line().as_deref(), Some("ping: are you \\u{7} there"));
    while peer.frame() != (Frame { first: PONG, payload: b"are you \x07 there".to_vec() }) {}
    peer.send(CLOSE, b"");
    assert_eq!(running.ended().code(), 0);
    drop(input);
}

#[test]
fn ping_interval_defaults_to_one_second() {
    let local = Local::start(quick());
    let (mut running, input) = connect(&echo_of(local.address), &["--ping"]);
    let line = running.next_line().expect("a pong");
    assert!(line.starts_with("pong ("), "{line}");
    drop(input);
    assert_eq!(running.ended().code(), 0);
}

#[test]
fn sigint_and_sigterm_close_with_1000() {
    for signal in ["INT", "TERM"] {
        let door = Door::open();
        let (mut running, input) = connect(&door.url, &[]);
        let mut peer = door.upgraded("");
        running.error_line("connected to ");
        running.signal(signal);
        let close = peer.frame();
        assert_eq!((close.first, &close.payload[..]), (CLOSE, &close_body(1000, b"")[..]));
        peer.send(CLOSE, &close_body(1000, b"bye"));
        let ended = running.ended();
        assert_eq!((ended.code(), ended.out.len()), (0, 0), "SIG{signal}: {ended:?}");
        assert_eq!(ended.err, [format!("{NORMAL_END}: bye")]);
        drop(input);
    }
}

#[test]
fn second_signal_ends_the_program_at_once() {
    let door = Door::open();
    let (mut running, input) = connect(&door.url, &[]);
    let _peer = door.upgraded("");
    running.error_line("connected to ");
    // Two that the kernel does not take for one. The process is stopped meanwhile, so that it gets both at the same time.
    let pid = running.pid().to_string();
    let sent =
        Command::new("sh").args(["-c", "for s in STOP INT TERM CONT; do kill -s $s \"$0\"; done", &pid]).status();
    assert!(sent.expect("a shell").success());
    assert_eq!(running.ended().code(), 130);
    drop(input);
}

#[test]
fn signal_before_the_connection_is_open_ends_the_program_at_once() {
    let door = Door::open();
    let (running, input) = connect(&door.url, &[]);
    let _peer = door.asked();
    running.signal("INT");
    assert_eq!(running.ended().code(), 130);
    drop(input);
}

#[test]
fn unanswered_close_ends_with_an_error() {
    let door = Door::open();
    let (mut running, input) = connect(&door.url, &[]);
    let mut peer = door.upgraded("");
    running.error_line("connected to ");
    running.signal("INT");
    assert_eq!(peer.frame().close_code(), 1000);
    let ended = running.ended();
    assert_eq!(ended.code(), 1, "{ended:?}");
    assert_last_error_has(&ended, &["closed by us with 1000", "did not answer within 1 s", "1006"]);
    drop(input);
}

#[test]
fn unanswered_last_ping_ends_with_an_error() {
    let door = Door::open();
    let (mut running, mut input) = connect(&door.url, &[]);
    let mut peer = door.upgraded("");
    writeln!(input, "hi").expect("it reads its input");
    drop(input);
    assert_eq!(peer.frame(), Frame { first: TEXT, payload: b"hi".to_vec() });
    assert_eq!(peer.frame().first, PING);
    peer.send(TEXT, b"an answer");
    assert_eq!(running.next_line().as_deref(), Some("text: an answer"));
    assert_eq!(peer.frame().close_code(), 1000);
    peer.send(CLOSE, &close_body(1000, b""));
    let ended = running.ended();
    assert_eq!(ended.code(), 1, "whether all was answered is not known: {ended:?}");
    let said = ended.err.iter().any(|line| line.starts_with("steadfast: the peer has not answered the ping"));
    assert!(said, "{ended:?}");
}

/// What comes between the last line and its pong is an answer, however late.
#[test]
fn replies_to_piped_lines_are_awaited() {
    let door = Door::open();
    let (mut running, mut input) = connect(&door.url, &["--binary"]);
    let mut peer = door.upgraded("");
    write!(input, "one\ntwo").expect("it reads its input");
    drop(input);
    assert_eq!(peer.frame(), Frame { first: BINARY, payload: b"one".to_vec() });
    assert_eq!(peer.frame(), Frame { first: BINARY, payload: b"two".to_vec() });
    let ping = peer.frame();
    assert_eq!(ping.first, PING);
    for answer in ["a", "b", "c"] {
        peer.send(TEXT, answer.as_bytes());
        assert_eq!(running.next_line(), Some(format!("text: {answer}")));
    }
    peer.send(PONG, &ping.payload);
    assert_eq!(peer.frame().close_code(), 1000);
    peer.send(CLOSE, &close_body(1000, b""));
    assert_well(&running.ended(), &[]);
}

/// Many a server sends its pong while it still works at what came before.
#[test]
fn replies_after_the_pong_are_awaited() {
    let door = Door::open();
    let (mut running, mut input) = connect(&door.url, &[]);
    let mut peer = door.upgraded("");
    write!(input, "one\ntwo").expect("it reads its input");
    drop(input);
    assert_eq!([peer.frame().first, peer.frame().first], [TEXT, TEXT]);
    let ping = peer.frame();
    peer.send(PONG, &ping.payload);
    for answer in ["a", "b"] {
        peer.send(TEXT, answer.as_bytes());
        assert_eq!(running.next_line(), Some(format!("text: {answer}")));
    }
    assert_eq!(peer.frame().close_code(), 1000);
    peer.send(CLOSE, &close_body(1000, b""));
    assert_well(&running.ended(), &[]);
}

#[test]
fn server_without_replies_is_not_an_error() {
    let door = Door::open();
    let (running, mut input) = connect(&door.url, &[]);
    let mut peer = door.upgraded("");
    write!(input, "one").expect("it reads its input");
    drop(input);
    assert_eq!(peer.frame().first, TEXT);
    let ping = peer.frame();
    peer.send(PONG, &ping.payload);
    assert_eq!(peer.frame().close_code(), 1000);
    peer.send(CLOSE, &close_body(1000, b""));
    assert_well(&running.ended(), &[]);
}

#[test]
fn close_of_the_peer_is_answered_and_printed() {
    let cases: [(&[u8], i32, &str, &str); 6] = [
        (&close_body(1000, b""), 0, "close (1000)", "closed by the peer with 1000 (normal)"),
        (&close_body(1001, b"bye"), 0, "close (1001): bye", "closed by the peer with 1001 (going away): bye"),
        (b"", 0, "close (1005)", "closed by the peer with 1005 (no code)"),
        (&close_body(1011, b""), 1, "close (1011)", "closed by the peer with 1011 (internal error)"),
        (
            &close_body(4000, b"\x1b[2J"),
            1,
            "close (4000): \\u{1b}[2J",
            "closed by the peer with 4000 (private use): \\u{1b}[2J",
        ),
        // A code that may not be sent breaks the protocol.
        (&close_body(1006, b""), 1, "", "closed by us with 1002 (protocol error): close code may not be sent"),
    ];
    for (body, code, shown, said) in cases {
        let door = Door::open();
        let (running, input) = connect(&door.url, &[]);
        let mut peer = door.upgraded("");
        peer.send(CLOSE, body);
        let quoted = body.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
        assert_eq!(peer.frame().close_code(), if quoted == 1006 { 1002 } else { quoted });
        drop(peer);
        let ended = running.ended();
        assert_eq!((ended.code(), ended.out.join("\n").as_str()), (code, shown), "{ended:?}");
        assert_eq!(ended.err.last().map(String::as_str), Some(said));
        drop(input);
    }
}

#[test]
fn vanished_peer_ends_with_1006() {
    for reset in [false, true] {
        let door = Door::open();
        let (mut running, input) = connect(&door.url, &[]);
        let peer = door.upgraded("");
        running.error_line("connected to ");
        if reset {
            SockRef::from(&peer.wire.socket).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
        }
        drop(peer);
        let ended = running.ended();
        assert_eq!((ended.code(), ended.out.len()), (1, 0), "{ended:?}");
        assert_last_error_has(&ended, &["ended by the peer with 1006", "no Close", if reset { "reset" } else { "" }]);
        drop(input);
    }
}

#[test]
fn oversize_message_closes_with_1009() {
    let local = Local::start(quick());
    let ended = piped(&echo_of(local.address), &["--max-message-bytes", "5"], b"12345\n123456\n");
    assert_eq!((ended.code(), &ended.out[..]), (1, &["text: 12345".to_owned()][..]));
    assert_last_error_has(&ended, &["closed by us with 1009", "message is too big"]);
}

#[test]
fn oversize_line_is_closed_by_the_server() {
    let local = Local::start(quick());
    let ended = piped(&echo_of(local.address), &[], "x".repeat((1 << 20) + 1).as_bytes());
    assert_eq!((ended.code(), ended.out.len()), (1, 1), "{ended:?}");
    assert_last_error_has(&ended, &["closed by the peer with 1009"]);
}

#[test]
fn control_characters_of_the_server_are_escaped() {
    let door = Door::open();
    let (mut running, input) = connect(&door.url, &[]);
    let mut peer = door.upgraded("");
    for (text, shown) in [
        ("\u{1b}[31mred\u{1b}[0m", "\\u{1b}[31mred\\u{1b}[0m"),
        ("two\r\nlines\tof \u{7f}text", "two\\r\\nlines\\tof \\u{7f}text"),
        ("\u{9b}2J\u{85}\u{2028}", "\\u{9b}2J\\u{85}\\u{2028}"),
        ("a\u{202e}b\u{2066}c", "a\\u{202e}b\\u{2066}c"),
        ("{\"json\": \"\\n\"} \u{1f600} \u{e4}", "{\"json\": \"\\n\"} \u{1f600} \u{e4}"),
    ] {
        peer.send(TEXT, text.as_bytes());
        assert_eq!(running.next_line(), Some(format!("text: {shown}")));
    }
    peer.send(PING, b"\xff\x1b");
    assert_eq!(running.next_line().as_deref(), Some("ping: ff 1b"));
    peer.send(CLOSE, b"");
    assert_eq!(running.ended().code(), 0);
    drop(input);
}

#[test]
fn closed_stdout_ends_the_program_quietly() {
    let door = Door::open();
    let (stdin, input) = pipe().expect("a pipe");
    let (output, stdout) = pipe().expect("a pipe");
    let mut child = Command::new(PROGRAM)
        .args(["connect", &door.url])
        .stdin(stdin)
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut peer = door.upgraded("");
    peer.send(TEXT, b"one");
    let mut output = BufReader::new(output);
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    assert_eq!(line, "text: one\n");
    drop(output);
    peer.send(TEXT, b"two");
    assert_eq!(peer.frame().close_code(), 1000);
    peer.send(CLOSE, &close_body(1000, b""));
    let mut errors = BufReader::new(child.stderr.take().expect("its stderr")).lines();
    assert!(errors.next().is_some_and(|line| line.is_ok_and(|line| line.starts_with("connected to"))));
    assert!(errors.next().is_none(), "and nothing else");
    assert!(child.wait().expect("its status").success());
    drop(input);
}
