//! `steadfast connect` as a child, and the server's side of the wire, scripted by a test and written from the RFCs.

use crate::host::{Ended, Running, steadfast};
use crate::wire::{Frame, PATIENCE, Wire};
use std::io::{PipeWriter, Write, pipe};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use steadfast::proto::upgrade::accept_key;

/// `steadfast connect` with an input that the test writes.
pub(crate) fn connect(url: &str, arguments: &[&str]) -> (Running, PipeWriter) {
    let (reader, writer) = pipe().expect("a pipe");
    let mut command = steadfast("", &[&["connect", url], arguments].concat());
    command.stdin(reader);
    (Running::spawn(command), writer)
}

/// The same, with all of its input, to its end.
pub(crate) fn piped(url: &str, arguments: &[&str], input: &[u8]) -> Ended {
    let (running, mut writer) = connect(url, arguments);
    writer.write_all(input).expect("it reads its input");
    drop(writer);
    running.ended()
}

pub(crate) fn echo_of(address: SocketAddr) -> String {
    format!("ws://{address}/echo")
}

/// A frame as a server sends it: not masked.
pub(crate) fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(short as u8),
        medium => {
            bytes.push(126);
            bytes.extend(u16::try_from(medium).expect("a payload of less than 64 KiB").to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
    bytes
}

/// A place to connect to, whose first connection can be waited for.
pub(crate) struct Door {
    pub(crate) url: String,
    came: Receiver<TcpStream>,
}

impl Door {
    pub(crate) fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let url = echo_of(listener.local_addr().expect("its address"));
        let (sender, came) = channel();
        thread::spawn(move || listener.accept().map(|(socket, _)| sender.send(socket)));
        Self { url, came }
    }

    /// The client that has connected, with its request.
    pub(crate) fn asked(&self) -> Peer {
        let socket = self.came.recv_timeout(PATIENCE).expect("a connection");
        let mut wire = Wire::over(socket);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(wire.read(1));
        }
        Peer { wire, request: String::from_utf8(head).expect("a head of text") }
    }

    /// The client, upgraded; `fields` are further lines of the answer.
    pub(crate) fn upgraded(&self, fields: &str) -> Peer {
        let mut peer = self.asked();
        let key = peer.field("Sec-WebSocket-Key").expect("a key").to_owned();
        let accept = String::from_utf8(accept_key(key.as_bytes()).to_vec()).expect("base64");
        peer.wire.send(
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n{fields}\r\n"
            )
            .as_bytes(),
        );
        peer
    }
}

/// A server's side of one connection.
pub(crate) struct Peer {
    pub(crate) wire: Wire,
    pub(crate) request: String,
}

impl Peer {
    /// The value of a field of the request.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let lines = self.request.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        lines.into_iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    pub(crate) fn send(&mut self, first: u8, payload: &[u8]) {
        self.wire.send(&plain(first, payload));
    }

    /// The next frame; a client's are masked.
    pub(crate) fn frame(&mut self) -> Frame {
        let [first, second] = self.wire.read(2)[..] else { unreachable!("two bytes were read") };
        assert_eq!(second & 0x80, 0x80, "a client must mask");
        let length = match second & 0x7f {
            126 => usize::from(u16::from_be_bytes(self.wire.read(2).try_into().expect("two bytes"))),
            127 => u64::from_be_bytes(self.wire.read(8).try_into().expect("eight bytes")) as usize,
            short => usize::from(short),
        };
        let mask = self.wire.read(4);
        let masked = self.wire.read(length);
        Frame { first, payload: masked.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect() }
    }
}
