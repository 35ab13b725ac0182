//! What clients do with a server under the hostile kernel, and what they must see.

use crate::host::{Report, Serve, flood, scratch};
use crate::peer::{BINARY, CLOSE, Failed, Outcome, Peer, Writer, ensure, frame};
use crate::plan::{Dice, Plan};
use std::fs;
use std::sync::Barrier;
use std::thread;
use steadfast::client::{Client, Config, Heard};
use steadfast::proto::close::CloseCode;
use steadfast::proto::extension::Compression;
use steadfast::proto::session::MessageKind;

/// Connections of those clients that look at every byte.
pub(crate) const PEERS: u64 = 6;

/// What a connection came to: its port, and how it ended.
pub(crate) type Ended = (u16, Outcome);

/// Runs `work` for each of `count` clients, in threads of their own.
pub(crate) fn each(count: u64, work: impl Fn(u64) -> Ended + Sync) -> Vec<Ended> {
    thread::scope(|scope| {
        let clients: Vec<_> = (0..count)
            .map(|which| {
                scope.spawn({
                    let work = &work;
                    move || work(which)
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("a client")).collect()
    })
}

/// Everything went right but for connections that the library ended.
pub(crate) fn judge(serve: &Serve, ended: Vec<Ended>) -> Outcome {
    let fatal = serve.report.fatal();
    for (port, outcome) in ended {
        match outcome {
            Err(Failed::Ended(_)) if fatal.contains(&port) => {}
            Err(Failed::Ended(why)) => {
                return Err(Failed::Wrong(format!("LOST, and not by the library: port {port}: {why}")));
            }
            Err(wrong) => return Err(wrong),
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Work on a connection that is open, or was never.
fn with(peer: Outcome<Peer>, work: impl FnOnce(Peer) -> Outcome) -> Ended {
    match peer {
        Ok(peer) => (peer.port, work(peer)),
        Err(failed) => (0, Err(failed)),
    }
}

/// Connects, and works on the connection whatever becomes of it.
pub(crate) fn connected(serve: &Serve, work: impl FnOnce(Peer) -> Outcome) -> Ended {
    with(Peer::connect(serve.address), work)
}

/// Sends all of `pieces` while `read` reads.
pub(crate) fn while_sending(writer: Writer, pieces: &[Vec<u8>], read: impl FnOnce() -> Outcome) -> Outcome {
    thread::scope(|scope| {
        let mut writer = writer;
        let sender = scope.spawn(move || pieces.iter().try_for_each(|piece| writer.send(piece)));
        let read = read();
        let sent = sender.join().expect("a sender");
        // What the reader saw says more.
        read.and(sent)
    })
}

/// Both sides under the library; the flood checks every reply.
pub(crate) fn echo(plan: &Plan) -> Outcome<Report> {
    let serve = Serve::start(plan, &[])?;
    let flooded = flood(plan, &serve, "/echo", &["--connections", "24", "--messages", "4", "--payload", "1-9000"])?;
    flooded.judge(&serve)?;
    serve.finish()
}

/// Many messages under way at a time, in frames and fragments of all lengths, cut anywhere.
pub(crate) fn pipelined(plan: &Plan) -> Outcome<Report> {
    let serve = Serve::start(plan, &[])?;
    let ended = each(PEERS, |which| {
        connected(&serve, |mut peer| {
            let mut dice = plan.dice(which);
            peer.upgrade("/echo")?;
            let messages: Vec<Vec<u8>> = (0..40)
                .map(|_| {
                    let count = dice.length(40_000);
                    dice.bytes(count)
                })
                .collect();
            let stream: Vec<u8> = messages.iter().flat_map(|message| fragments(&mut dice, message)).collect();
            let pieces = cut(&mut dice, stream);
            while_sending(peer.writer(), &pieces, || {
                for (at, message) in messages.iter().enumerate() {
                    let (first, payload) = peer.frame()?;
                    ensure(first == BINARY && payload == *message, || {
                        format!("message {at}: {first:#x} and {} bytes for {}", payload.len(), message.len())
                    })?;
                }
                Ok(())
            })?;
            peer.close()
        })
    });
    judge(&serve, ended)?;
    serve.finish()
}

/// A message in one to four frames.
fn fragments(dice: &mut Dice, message: &[u8]) -> Vec<u8> {
    let (mut rest, mut stream) = (message, Vec::new());
    let mut opcode = BINARY & 0x0f;
    for _ in 0..dice.below(4) {
        let (part, more) = rest.split_at(dice.below(rest.len() + 1));
        stream.extend(frame(opcode, part));
        (rest, opcode) = (more, 0);
    }
    stream.extend(frame(0x80 | opcode, rest));
    stream
}

/// A stream in pieces of all lengths.
fn cut(dice: &mut Dice, stream: Vec<u8>) -> Vec<Vec<u8>> {
    let (mut rest, mut pieces) = (&stream[..], Vec::new());
    while !rest.is_empty() {
        let (piece, more) = rest.split_at((1 + dice.length(60_000)).min(rest.len()));
        pieces.push(piece.to_vec());
        rest = more;
    }
    pieces
}

/// Windows that are kept and that are not, and messages that compress and that do not.
pub(crate) fn compression(plan: &Plan) -> Outcome<Report> {
    let takeover: &[&str] = if plan.takes_over { &["--compression-takeover"] } else { &[] };
    let common = [&["--compression", "--compression-min-bytes", "0"], takeover].concat();
    let serve = Serve::start(plan, &common)?;
    let arguments = [&["--connections", "12", "--messages", "3", "--payload", "1-9000"], &common[..]].concat();
    flood(plan, &serve, "/echo", &arguments)?.judge(&serve)?;
    let before = serve.report.fatal().len();
    let url = format!("ws://{}/echo", serve.address);
    let settings = Compression { context_takeover: plan.takes_over, min_message_bytes: 0, ..Compression::default() };
    let ended = each(PEERS, |which| {
        let config =
            Config { compression: Some(settings), connect_timeout_s: 60, ..Config::to(url.parse().expect("a URL")) };
        let client = Client::connect(&config).map_err(|error| Failed::Ended(error.to_string()));
        (0, client.and_then(|client| compressed(client, plan.dice(which))))
    });
    let is_lost = |ended: &&Ended| matches!(ended.1, Err(Failed::Ended(_)));
    let lost = ended.iter().filter(is_lost).count();
    for (_, outcome) in ended {
        match outcome {
            Err(Failed::Ended(why)) => {
                let fatal = serve.report.fatal().len() - before;
                ensure(lost <= fatal, || format!("LOST: {lost}, {fatal} of them by the library: {why}"))?;
            }
            outcome => outcome?,
        }
    }
    serve.finish()
}

fn compressed(mut client: Client, mut dice: Dice) -> Outcome {
    let messages: Vec<Vec<u8>> = (0..20)
        .map(|_| {
            let count = dice.length(30_000);
            dice.bytes(count)
        })
        .collect();
    for message in &messages {
        client.send(MessageKind::Binary, message);
    }
    for (at, message) in messages.iter().enumerate() {
        match client.receive(crate::peer::PATIENCE) {
            Some(Heard::Message(_, payload)) => {
                ensure(payload == *message, || format!("message {at} differs, {} bytes", message.len()))?;
            }
            Some(Heard::Ended(ending)) => return Err(Failed::Ended(format!("{ending:?}"))),
            heard => return Err(Failed::Wrong(format!("HUNG or wrong: {heard:?} for message {at}"))),
        }
    }
    client.close(CloseCode::NORMAL, "");
    match client.receive(crate::peer::PATIENCE) {
        Some(Heard::Ended(_)) => Ok(()),
        heard => Err(Failed::Wrong(format!("HUNG or wrong: {heard:?} for the end"))),
    }
}

/// Pages, files of all lengths and content both ways, several requests under way at a time.
pub(crate) fn bodies(plan: &Plan) -> Outcome<Report> {
    let folder = scratch("folder");
    fs::create_dir(&folder).expect("a folder");
    let mut dice = plan.dice(99);
    let files: Vec<Vec<u8>> = [0, 1, 4_000, 65_536, 65_537, 400_000].iter().map(|&count| dice.bytes(count)).collect();
    for (at, file) in files.iter().enumerate() {
        fs::write(folder.join(format!("{at}.bin")), file).expect("a file");
    }
    let outcome = bodies_of(plan, folder.to_str().expect("text"), &files);
    let _ = fs::remove_dir_all(&folder);
    outcome
}

fn bodies_of(plan: &Plan, folder: &str, files: &[Vec<u8>]) -> Outcome<Report> {
    let serve = Serve::start(plan, &["--static", folder, "--socket-send-buffer-bytes", "16384"])?;
    let ended = each(PEERS, |which| {
        connected(&serve, |mut peer| {
            let mut dice = plan.dice(which);
            let mut expected: Vec<(bool, Vec<u8>)> = Vec::new();
            let mut stream = Vec::new();
            for _ in 0..16 {
                let (is_head, content) = (dice.below(8) == 0, dice.length(100_000));
                let content = dice.bytes(content);
                if is_head || dice.below(2) == 0 {
                    let at = dice.below(files.len());
                    let method = if is_head { "HEAD" } else { "GET" };
                    stream.extend(format!("{method} /{at}.bin HTTP/1.1\r\nHost: a\r\n\r\n").bytes());
                    expected.push((is_head, files[at].clone()));
                } else {
                    stream.extend(post(&mut dice, &content));
                    expected.push((false, content));
                }
            }
            let pieces = cut(&mut dice, stream);
            while_sending(peer.writer(), &pieces, || {
                for (at, (is_head, content)) in expected.iter().enumerate() {
                    let response = peer.response()?;
                    let fits = response.status == 200 && response.length == content.len();
                    ensure(fits, || format!("response {at}: {response:?} for {} bytes", content.len()))?;
                    let body = peer.read(if *is_head { 0 } else { content.len() })?;
                    ensure(*is_head || body == *content, || format!("response {at} differs, {} bytes", body.len()))?;
                }
                Ok(())
            })
        })
    });
    judge(&serve, ended)?;
    serve.finish()
}

/// A request with content, sized or in chunks.
fn post(dice: &mut Dice, content: &[u8]) -> Vec<u8> {
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\n";
    if dice.below(2) == 0 {
        return [format!("{head}Content-Length: {}\r\n\r\n", content.len()).as_bytes(), content].concat();
    }
    let mut stream = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for chunk in content.chunks(1 + dice.length(50_000)) {
        stream.extend(format!("{:x}\r\n", chunk.len()).bytes());
        stream.extend(chunk);
        stream.extend(b"\r\n");
    }
    stream.extend(b"0\r\n\r\n");
    stream
}

/// Connections are dropped and opened again, both sides under the library; then the server goes, with connections open.
pub(crate) fn storm_and_drain(plan: &Plan) -> Outcome<Report> {
    let serve = Serve::start(plan, &["--drain-s", "1", "--drain-hard-s", "600"])?;
    let phases = ["ramp", "reply messages=2", "storm share=0.5", "check", "storm share=1", "check"];
    let phases: Vec<&str> = phases.iter().flat_map(|phase| ["--phase", phase]).collect();
    let flooded = flood(plan, &serve, "/echo", &[&["--connections", "24"], &phases[..]].concat())?;
    flooded.judge(&serve)?;
    let open = Barrier::new(PEERS as usize + 1);
    let ended = thread::scope(|scope| {
        let clients = scope.spawn(|| {
            each(PEERS, |_| {
                connected(&serve, |mut peer| {
                    let upgraded = peer.upgrade("/echo");
                    open.wait();
                    upgraded?;
                    let (first, payload) = peer.frame()?;
                    let is_going = first == CLOSE && payload.starts_with(&1001_u16.to_be_bytes());
                    ensure(is_going, || format!("{first:#x} {payload:?} for a Close with 1001"))?;
                    peer.send(&frame(CLOSE, &1001_u16.to_be_bytes()))?;
                    peer.assert_end()
                })
            })
        });
        open.wait();
        serve.signal(if plan.seed.is_multiple_of(2) { "TERM" } else { "QUIT" });
        clients.join().expect("clients")
    });
    judge(&serve, ended)?;
    serve.stopped()
}
