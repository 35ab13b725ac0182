//! What an idle connection costs.

use super::Slots;
use crate::proto::session::Session;

/// The state that a flood keeps for each connection has this size and alignment.
type Twenty = [u32; 5];

#[test]
fn an_idle_connection_is_one_cache_line() {
    let bytes = Slots::<()>::record_bytes();
    assert!(bytes <= 64, "{bytes} bytes");
}

#[test]
fn a_connection_of_the_flood_is_no_more_than_its_state_larger() {
    let (plain, flood) = (Slots::<()>::record_bytes(), Slots::<Twenty>::record_bytes());
    assert!(flood <= plain + size_of::<Twenty>().next_multiple_of(8), "{plain} and {flood} bytes");
    assert!(flood <= 128, "{flood} bytes");
}

#[test]
fn a_session_at_rest_keeps_nothing_beside_itself() {
    let session = Session::server();
    assert_eq!((session.partial_bytes(), session.has_partial(), session.has_event()), (0, false, false));
    assert!(size_of::<Session>() <= 16, "{} bytes", size_of::<Session>());
}
