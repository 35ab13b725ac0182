//! A client's session: however its bytes are cut, the same comes of them, and of frames what the plain reader says.
//!
//! An input is a byte for where the session is met, and then as `sessions::drive` has it.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
include!("../root.rs");

use crate::feed::Start;
use crate::script::Script;
use crate::sessions::{Entry, drive};
use steadfast::proto::frame::Role;

pub(crate) fn check(data: &[u8]) {
    let mut script = Script::new(data);
    let entry = match script.byte() % 5 {
        0 => Entry::at(Start::HttpClient),
        1 => Entry::at(Start::Open(Role::Client)),
        2 => Entry::accepted(),
        3 => Entry::at(Start::Closing(Role::Client)),
        _ => Entry::at(Start::Handshake),
    };
    drive(&entry, script);
}
