//! Compresses and inflates messages as permessage-deflate has it without context takeover, for `bench/deflate.sh`.
//!
//!     deflate direct MEM_LEVEL    with zlib-rs, called as Steadfast does
//!     deflate flate2              with the library that flate2 was built with
//!
//! It runs under callgrind, which counts what goes on in `counted_work` and writes a file each time that it returns. To
//! each of these belongs a line that is printed: the level, the bytes of a message, what was done, how many messages,
//! and how long they are compressed, all together.

use flate2::{FlushCompress, FlushDecompress};
use std::hint::black_box;
use zlib_rs::{DeflateConfig, DeflateFlush, InflateFlush};

/// RFC 7692, 7.2.1: what a sender cuts off the end of a message, and a receiver puts back.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

const LEVELS: [u8; 2] = [1, 6];

/// How long a message is, and how many there are of that: what one holds by chance must not decide.
const SIZES: [(usize, usize); 3] = [(256, 32), (1 << 10, 32), (16 << 10, 8)];

/// Both begin anew with each message, and return how long the result is.
trait Codec {
    fn compress(&mut self, message: &[u8], out: &mut [u8]) -> usize;
    fn inflate(&mut self, compressed: &[u8], out: &mut [u8]) -> usize;
}

/// zlib-rs itself.
struct Direct(zlib_rs::Deflate, zlib_rs::Inflate);

impl Codec for Direct {
    fn compress(&mut self, message: &[u8], out: &mut [u8]) -> usize {
        self.0.reset();
        self.0.compress(message, out, DeflateFlush::SyncFlush).expect("a stream that is set up");
        without_tail(out, self.0.total_out())
    }

    fn inflate(&mut self, compressed: &[u8], out: &mut [u8]) -> usize {
        self.1.reset(false);
        self.1.decompress(compressed, out, InflateFlush::SyncFlush).expect("what was compressed");
        let made = self.1.total_out() as usize;
        self.1.decompress(&TAIL, &mut out[made..], InflateFlush::SyncFlush).expect("its tail");
        self.1.total_out() as usize
    }
}

/// The library that flate2 was built with.
struct Flate2(flate2::Compress, flate2::Decompress);

impl Codec for Flate2 {
    fn compress(&mut self, message: &[u8], out: &mut [u8]) -> usize {
        self.0.reset();
        self.0.compress(message, out, FlushCompress::Sync).expect("a stream that is set up");
        without_tail(out, self.0.total_out())
    }

    fn inflate(&mut self, compressed: &[u8], out: &mut [u8]) -> usize {
        self.1.reset(false);
        self.1.decompress(compressed, out, FlushDecompress::Sync).expect("what was compressed");
        let made = self.1.total_out() as usize;
        self.1.decompress(&TAIL, &mut out[made..], FlushDecompress::Sync).expect("its tail");
        self.1.total_out() as usize
    }
}

/// There is room for more than a message takes, so that one call does all of it; else there would be no tail.
fn without_tail(out: &[u8], made: u64) -> usize {
    out[..made as usize].strip_suffix(&TAIL).expect("a message that ends with its tail").len()
}

/// xorshift: the same numbers everywhere, each below a limit.
fn below(state: &mut u64, limit: usize) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 16) as usize % limit
}

const WORDS: &str = "the of and to in is you that it for on are as with they at be this have from or one had by word \
    but not what all were we when your can said there use an each which she do how their if will up other about out \
    many then them these so some her would make like him into time has look two more write go see number no way could \
    people my than first been call who its now find long down day did get come made may part meeting server tomorrow \
    release pizza really thanks please review latency branch merge production database customer weekend holiday";

const NAMES: [&str; 8] = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"];

/// A message of a chat, as JSON; common words come more often.
fn chat(state: &mut u64) -> String {
    let words: Vec<&str> = WORDS.split_ascii_whitespace().collect();
    let mut pick = || words[below(state, words.len()).min(below(state, words.len()))];
    let text: Vec<&str> = (0..30).map(|_| pick()).collect();
    let (id, user, room) = (below(state, 1 << 48), below(state, NAMES.len()), below(state, 40));
    let (user_id, name, ts) = (1000 + user * 37, NAMES[user], 1_718_000_000_000 + below(state, 100_000_000_000));
    let head = format!(r#"{{"type":"message","id":"{id:012x}","room":"room-{room}","ts":{ts},"#);
    format!(r#"{head}"user":{{"id":{user_id},"name":"{name}"}},"text":"{}"}},"#, text.join(" "))
}

/// A message of exactly that many bytes: so much of a chat's history, cut off at the end.
fn message(state: &mut u64, bytes: usize) -> Vec<u8> {
    let mut message = b"[".to_vec();
    while message.len() < bytes {
        message.extend_from_slice(chat(state).as_bytes());
    }
    message.truncate(bytes);
    message
}

/// callgrind looks for its name. The call is not the last thing in it, so that it stays a call.
#[inline(never)]
fn counted_work(work: &mut dyn FnMut()) {
    work();
    black_box(());
}

/// Does it twice, since what is made at the first call only is not the price of a message.
fn count(work: &mut dyn FnMut()) {
    work();
    counted_work(work);
}

fn measure(codec: &mut dyn Codec, level: u8, bytes: usize, messages: usize) {
    let mut state = 0x9e37_79b9_7f4a_7c15;
    let plain: Vec<Vec<u8>> = (0..messages).map(|_| message(&mut state, bytes)).collect();
    let mut compressed = vec![(vec![0; bytes * 2], 0); messages];
    let mut inflated = vec![(vec![0; bytes + 64], 0); messages];
    count(&mut || {
        for (message, (out, length)) in plain.iter().zip(&mut compressed) {
            *length = codec.compress(message, out);
        }
    });
    count(&mut || {
        for ((compressed, length), (out, inflated)) in compressed.iter().zip(&mut inflated) {
            *inflated = codec.inflate(&compressed[..*length], out);
        }
    });
    for (message, (out, length)) in plain.iter().zip(&inflated) {
        assert!(out[..*length] == message[..], "level {level}, {bytes} bytes: what is inflated is another message");
    }
    let total: usize = compressed.iter().map(|(_, length)| length).sum();
    println!("{level} {bytes} compress {messages} {total}\n{level} {bytes} inflate {messages} {total}");
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let make = |level: u8| -> Box<dyn Codec> {
        match words[..] {
            ["direct", mem_level] => {
                let mem_level = mem_level.parse().expect("a number");
                let config =
                    DeflateConfig { level: level.into(), window_bits: -15, mem_level, ..DeflateConfig::default() };
                Box::new(Direct(zlib_rs::Deflate::new_with_config(config), zlib_rs::Inflate::new(false, 15)))
            }
            ["flate2"] => {
                let level = flate2::Compression::new(level.into());
                Box::new(Flate2(flate2::Compress::new(level, false), flate2::Decompress::new(false)))
            }
            _ => panic!("deflate direct MEM_LEVEL | deflate flate2"),
        }
    };
    for level in LEVELS {
        for (bytes, messages) in SIZES {
            measure(&mut *make(level), level, bytes, messages);
        }
    }
}
