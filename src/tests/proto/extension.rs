//! permessage-deflate as it is negotiated, RFC 7692 sections 5 and 7.1, both roles.

use proptest::prelude::*;
use steadfast::proto::extension::{self, Compression, NegotiatedCompression};

const NAME: &str = "permessage-deflate";

fn bounds(context_takeover: bool, max_window_bits: u8) -> Compression {
    Compression { context_takeover, max_window_bits, ..Compression::default() }
}

/// Within these, everything can be agreed upon.
fn all() -> Compression {
    bounds(true, 15)
}

fn choose(fields: &[&str], ours: &Compression) -> Option<NegotiatedCompression> {
    extension::choose(fields.iter().map(|field| field.as_bytes()), ours)
}

fn confirm(fields: &[&str], ours: &Compression) -> Option<NegotiatedCompression> {
    extension::confirm(fields.iter().map(|field| field.as_bytes()), ours)
}

/// What a server within `ours` answers to one field.
#[track_caller]
fn answers(offer: &str, ours: &Compression, expected: &str) {
    assert_eq!(choose(&[offer], ours).map(|agreed| agreed.to_string()).as_deref(), Some(expected), "{offer:?}");
}

#[test]
fn the_examples_of_the_rfc_are_answered() {
    let ten = "permessage-deflate; client_max_window_bits; server_max_window_bits=10";
    let or_any = &format!("{ten}, permessage-deflate; client_max_window_bits");
    answers("permessage-deflate", &all(), NAME);
    for offer in [ten, or_any] {
        answers(offer, &all(), "permessage-deflate; server_max_window_bits=10; client_max_window_bits=15");
        answers(
            offer,
            &bounds(false, 15),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10",
        );
    }
    // What browsers offer is known word for word, and read like any other.
    for ours in [all(), bounds(false, 12), bounds(true, 9)] {
        let usual = choose(&["permessage-deflate; client_max_window_bits", "x"], &ours);
        assert_eq!(usual, choose(&["x, permessage-deflate ;client_max_window_bits"], &ours));
        assert_eq!(choose(&[NAME], &ours), choose(&["permessage-deflate, permessage-deflate; x"], &ours));
    }
    // Section 5.2: offers of other extensions, and with other parameters, may be present.
    answers("bar; baz=2, permessage-deflate", &all(), NAME);
    answers("foo, permessage-deflate; use_y, permessage-deflate", &all(), NAME);
}

#[test]
fn each_parameter_is_met() {
    for parameter in ["server_no_context_takeover", "client_no_context_takeover"] {
        answers(&format!("{NAME}; {parameter}"), &all(), &format!("{NAME}; {parameter}"));
    }
    let both = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    answers("permessage-deflate;client_no_context_takeover;server_no_context_takeover", &all(), both);
    for bits in 8..=15_u8 {
        for ours in 8..=15_u8 {
            let least = bits.min(ours);
            // A window that the server may choose is its own; it says so where it was asked for a bound.
            let server = choose(
                &[&format!("{NAME}; server_max_window_bits={bits}; client_max_window_bits")].map(String::as_str),
                &bounds(true, ours),
            )
            .unwrap();
            assert_eq!((server.own_window_bits(), server.peer_window_bits()), (least, ours));
            assert!(server.to_string().contains(&format!("server_max_window_bits={least}")), "{server}");
            // The client's own bound may be lowered, and not raised.
            let client = choose(&[&*format!("{NAME}; client_max_window_bits={bits}")], &bounds(true, ours)).unwrap();
            assert_eq!((client.own_window_bits(), client.peer_window_bits()), (ours, least));
            assert_eq!(client.to_string(), format!("{NAME}; client_max_window_bits={least}"));
        }
    }
}

/// RFC 7692 section 7.1.2.2: "If a received extension negotiation offer doesn't have the `client_max_window_bits`
/// extension parameter, the corresponding extension negotiation response to the offer MUST NOT include [it]".
#[test]
fn a_client_is_not_bound_to_what_it_did_not_offer() {
    for ours in 8..=14 {
        let server = choose(&[NAME], &bounds(true, ours)).unwrap();
        // Its window could not be held within the bound, so it is not kept.
        assert_eq!(server.to_string(), "permessage-deflate; client_no_context_takeover");
        assert_eq!((server.peer_takeover(), server.peer_window_bits()), (false, 15));
        assert_eq!((server.own_takeover(), server.own_window_bits()), (true, ours));
    }
    let kept = choose(&[NAME], &all()).unwrap();
    assert!(kept.peer_takeover() && kept.own_takeover());
    let none = choose(&["permessage-deflate; client_max_window_bits"], &bounds(false, 9)).unwrap();
    assert_eq!(none.to_string(), "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
    assert_eq!((none.peer_window_bits(), none.own_window_bits()), (15, 9));
}

/// Elements that are no offer which could be met.
const DECLINED: [&str; 40] = [
    "permessage-deflate; unknown",
    "permessage-deflate; unknown=1",
    "permessage-deflate; server_max_window_bits=10; unknown",
    "permessage-deflate;",
    "permessage-deflate; ; client_max_window_bits",
    "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
    "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
    "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
    "permessage-deflate; client_max_window_bits; client_max_window_bits",
    "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
    "permessage-deflate; client_max_window_bits=10; client_max_window_bits",
    "permessage-deflate; server_no_context_takeover=1",
    "permessage-deflate; server_no_context_takeover=true",
    "permessage-deflate; client_no_context_takeover=",
    "permessage-deflate; client_no_context_takeover=\"\"",
    "permessage-deflate; server_max_window_bits",
    "permessage-deflate; server_max_window_bits=",
    "permessage-deflate; server_max_window_bits=\"\"",
    "permessage-deflate; server_max_window_bits=7",
    "permessage-deflate; server_max_window_bits=16",
    "permessage-deflate; server_max_window_bits=08",
    "permessage-deflate; server_max_window_bits=0",
    "permessage-deflate; server_max_window_bits=100",
    "permessage-deflate; server_max_window_bits=1",
    "permessage-deflate; server_max_window_bits=-8",
    "permessage-deflate; server_max_window_bits=+8",
    "permessage-deflate; server_max_window_bits=0xa",
    "permessage-deflate; server_max_window_bits=1 0",
    "permessage-deflate; server_max_window_bits=\"10",
    "permessage-deflate; server_max_window_bits=10\"",
    "permessage-deflate; server_max_window_bits==10",
    "permessage-deflate; client_max_window_bits=",
    "permessage-deflate; client_max_window_bits=7",
    "permessage-deflate; client_max_window_bits=16",
    "permessage-deflate; client_max_window_bits=015",
    "permessage-deflate; client_max_window_bits=\"16\"",
    "permessage-deflates",
    "x-permessage-deflate",
    "permessage-deflate client_max_window_bits",
    "permessage-deflate=1",
];

/// RFC 7692 section 7.1: a server MUST decline an offer with a parameter that is unknown, wrong, or there twice.
#[test]
fn what_is_malformed_declines_its_own_offer_and_nothing_else() {
    for offer in DECLINED {
        assert_eq!(choose(&[offer], &all()), None, "{offer:?}");
        let (behind, before) = (format!("{offer}, {NAME}"), format!("{NAME}, {offer}"));
        // A quote that never ends takes all that follows in its field with it.
        let open_quote = offer.matches('"').count() % 2 == 1;
        assert_eq!(choose(&[&behind], &all()).is_some(), !open_quote, "{behind:?}");
        for fields in [&[offer, NAME][..], &[NAME, offer], &[&before]] {
            assert_eq!(choose(fields, &all()).map(|agreed| agreed.to_string()).as_deref(), Some(NAME), "{fields:?}");
        }
    }
    for nothing in ["", ",", " , ,, ", ";", "\"", "=", "foo, bar; permessage-deflate"] {
        assert_eq!(choose(&[nothing], &all()), None, "{nothing:?}");
        assert!(choose(&[nothing, NAME], &all()).is_some(), "{nothing:?}");
    }
    assert_eq!(choose(&[], &all()), None);
}

#[test]
fn the_first_offer_that_can_be_met_is_taken() {
    let (ten, nine) = ("permessage-deflate; server_max_window_bits=10", "permessage-deflate; server_max_window_bits=9");
    for fields in [
        &[&*format!("{ten}, {nine}")][..],
        &[ten, nine],
        &[&format!("permessage-deflate; x, {ten}"), nine],
        &["permessage-deflate; server_max_window_bits=7", ten, nine],
        &["foo, bar; a=\"b\"", &format!(",,{ten},"), nine],
    ] {
        assert_eq!(choose(fields, &all()).map(|agreed| agreed.to_string()).as_deref(), Some(ten), "{fields:?}");
    }
}

/// RFC 6455 section 9.1: a value may be in quotes, and white space may be around everything.
#[test]
fn quotes_and_white_space_are_read() {
    let ten = "permessage-deflate; server_max_window_bits=10";
    for offer in [
        "permessage-deflate; server_max_window_bits=\"10\"",
        "permessage-deflate;server_max_window_bits=10",
        "\t permessage-deflate \t;\tserver_max_window_bits \t=\t 10 \t",
        "foo; a=\"x, permessage-deflate; y\", permessage-deflate; server_max_window_bits=10",
        "foo; a=\"\\\", permessage-deflate, \\\\\", permessage-deflate; server_max_window_bits=\"10\"",
        "foo; a=\"permessage-deflate; server_max_window_bits=9\"; b, permessage-deflate; server_max_window_bits=10",
        "PerMessage-Deflate; server_max_window_bits=10",
    ] {
        answers(offer, &all(), ten);
    }
    // A name in quotes is not a name, and a list in quotes is not a list.
    for offer in
        ["\"permessage-deflate\"", "x=\", permessage-deflate, \"", "permessage-deflate; a=\"b, permessage-deflate"]
    {
        assert_eq!(choose(&[offer], &all()), None, "{offer:?}");
    }
}

#[test]
fn a_client_offers_what_it_would_take() {
    assert_eq!(
        extension::offer(&bounds(false, 12)),
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits"
    );
    assert_eq!(extension::offer(&all()), "permessage-deflate; client_max_window_bits");
    assert_eq!(
        extension::offer(&bounds(true, 10)),
        "permessage-deflate; server_max_window_bits=10; client_max_window_bits, \
         permessage-deflate; server_no_context_takeover; client_max_window_bits"
    );
}

#[test]
fn a_client_takes_an_answer_within_its_offer() {
    let found = |answer: &str, ours: &Compression| {
        let agreed = confirm(&[answer], ours).unwrap_or_else(|| panic!("{answer:?} is refused"));
        let own = (agreed.own_takeover(), agreed.own_window_bits());
        (own, (agreed.peer_takeover(), agreed.peer_window_bits()))
    };
    assert_eq!(found(NAME, &all()), ((true, 15), (true, 15)));
    assert_eq!(found("PERMESSAGE-deflate", &all()), ((true, 15), (true, 15)));
    assert_eq!(found("permessage-deflate; server_max_window_bits=9", &all()), ((true, 15), (true, 9)));
    assert_eq!(found("permessage-deflate; server_max_window_bits=\"9\"", &all()), ((true, 15), (true, 9)));
    assert_eq!(found("permessage-deflate;client_max_window_bits=8", &all()), ((true, 8), (true, 15)));
    assert_eq!(found("permessage-deflate; client_no_context_takeover", &all()), ((false, 15), (true, 15)));
    assert_eq!(found("permessage-deflate; server_no_context_takeover", &all()), ((true, 15), (false, 15)));
    assert_eq!(found(" , permessage-deflate, ,", &all()), ((true, 15), (true, 15)));
    // Its own bounds hold beside those of the answer.
    let small = bounds(true, 10);
    assert_eq!(found("permessage-deflate; server_max_window_bits=10", &small), ((true, 10), (true, 10)));
    assert_eq!(found("permessage-deflate; server_no_context_takeover", &small), ((true, 10), (false, 15)));
    let both = "permessage-deflate; server_max_window_bits=8; client_max_window_bits=12";
    assert_eq!(found(both, &small), ((true, 10), (true, 8)));
    let without = bounds(false, 12);
    assert_eq!(found("permessage-deflate; server_no_context_takeover", &without), ((false, 12), (false, 15)));
}

/// RFC 7692 section 7.1: a client MUST fail the connection over an answer that its offer does not allow.
#[test]
fn a_client_refuses_an_answer_beyond_its_offer() {
    for answer in DECLINED {
        assert_eq!(confirm(&[answer], &all()), None, "{answer:?}");
    }
    for answer in ["", ",", "foo", "foo, permessage-deflate", "permessage-deflate, foo", "x-webkit-deflate-frame"] {
        assert_eq!(confirm(&[answer], &all()), None, "{answer:?}");
    }
    // 7.1.2.2: in an answer, the parameter has a value.
    assert_eq!(confirm(&["permessage-deflate; client_max_window_bits"], &all()), None);
    // One is chosen, not two.
    assert_eq!(confirm(&["permessage-deflate, permessage-deflate"], &all()), None);
    for fields in [[NAME, NAME], [NAME, "foo"], ["foo", NAME]] {
        assert_eq!(confirm(&fields, &all()), None, "{fields:?}");
    }
    assert_eq!(confirm(&[], &all()), None);
    // 7.1.1.1: a client that offered server_no_context_takeover has it in the response.
    for answer in
        [NAME, "permessage-deflate; client_no_context_takeover", "permessage-deflate; server_max_window_bits=8"]
    {
        assert_eq!(confirm(&[answer], &bounds(false, 15)), None, "{answer:?}");
    }
    // 7.1.2.1: the server's window is the one that was asked for, or a smaller one.
    for answer in
        [NAME, "permessage-deflate; server_max_window_bits=11", "permessage-deflate; client_max_window_bits=10"]
    {
        assert_eq!(confirm(&[answer], &bounds(true, 10)), None, "{answer:?}");
    }
}

fn settings() -> impl Strategy<Value = Compression> {
    (any::<bool>(), 8..=15_u8).prop_map(|(context_takeover, max_window_bits)| bounds(context_takeover, max_window_bits))
}

/// A parameter as an offer may have it: name and value.
fn parameter() -> impl Strategy<Value = (&'static str, Option<u8>)> {
    let bits = 8..=15_u8;
    prop_oneof![
        Just(("server_no_context_takeover", None)),
        Just(("client_no_context_takeover", None)),
        bits.clone().prop_map(|bits| ("server_max_window_bits", Some(bits))),
        prop::option::of(bits).prop_map(|bits| ("client_max_window_bits", bits)),
    ]
}

/// One end's word against the other's, as far as it matters: how far back a window reaches that is not kept does not,
/// since a receiver has room for the largest.
fn fits(sender: (bool, u8), receiver: (bool, u8)) -> bool {
    sender.0 == receiver.0 && sender.1 <= receiver.1
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_ends_always_agree(client in settings(), server in settings()) {
        let offer = extension::offer(&client);
        let here = choose(&[&offer], &server);
        prop_assert!(here.is_some(), "{} is declined", offer);
        let here = here.unwrap();
        let answer = here.to_string();
        let there = confirm(&[&answer], &client);
        prop_assert!(there.is_some(), "{} to {}", answer, offer);
        let there = there.unwrap();
        let (server_own, client_own) =
            ((here.own_takeover(), here.own_window_bits()), (there.own_takeover(), there.own_window_bits()));
        prop_assert!(fits(server_own, (there.peer_takeover(), there.peer_window_bits())), "{:?}, {:?}", here, there);
        prop_assert!(fits(client_own, (here.peer_takeover(), here.peer_window_bits())), "{:?}, {:?}", here, there);
        // Neither end goes beyond its bounds: in what it compresses with, and in what it has to keep.
        for (agreed, ours) in [(here, server), (there, client)] {
            prop_assert!(agreed.own_window_bits() <= ours.max_window_bits);
            prop_assert!(!agreed.own_takeover() || ours.context_takeover);
            prop_assert!(!agreed.peer_takeover() || ours.context_takeover);
            prop_assert!(!agreed.peer_takeover() || agreed.peer_window_bits() <= ours.max_window_bits);
            prop_assert!(!agreed.came_compressed() && agreed.is_on());
        }
    }

    #[test]
    fn an_answer_has_what_its_offer_allows(
        offered in prop::collection::vec(parameter(), 0..5),
        server in settings(),
    ) {
        let written = |&(name, bits): &(&str, Option<u8>)| match bits {
            Some(bits) => format!("; {name}={bits}"),
            None => format!("; {name}"),
        };
        let offer = format!("{NAME}{}", offered.iter().map(written).collect::<String>());
        let of = |wanted: &str| offered.iter().find(|(name, _)| *name == wanted).map(|(_, bits)| *bits);
        let twice = (1..offered.len()).any(|at| offered[..at].iter().any(|(name, _)| *name == offered[at].0));
        let Some(agreed) = choose(&[&offer], &server) else {
            prop_assert!(twice, "{} is declined", offer);
            return Ok(());
        };
        prop_assert!(!twice, "{} is taken", offer);
        let answer = agreed.to_string();
        let said = |name: &str| {
            let at = answer.find(&format!("; {name}="))?;
            let digits = answer[at + name.len() + 3..].chars().take_while(char::is_ascii_digit);
            digits.collect::<String>().parse::<u8>().ok()
        };
        prop_assert!(of("server_no_context_takeover").is_none() || answer.contains("server_no_context_takeover"));
        prop_assert!(of("client_no_context_takeover").is_none() || answer.contains("client_no_context_takeover"));
        // 7.1.2.1: a bound on the server's window is accepted by one in the answer, the same or a smaller one.
        if let Some(Some(bits)) = of("server_max_window_bits") {
            prop_assert!(said("server_max_window_bits").is_some_and(|said| said <= bits), "{} to {}", answer, offer);
        }
        match (of("client_max_window_bits"), said("client_max_window_bits")) {
            (None, said) => prop_assert_eq!(said, None, "{} to {}", answer, offer),
            (Some(bits), Some(said)) => prop_assert!((8..=bits.unwrap_or(15)).contains(&said)),
            (Some(_), None) => prop_assert!(!agreed.peer_takeover(), "{} to {}", answer, offer),
        }
        // What cannot be bounded is not kept.
        prop_assert!(!agreed.peer_takeover() || agreed.peer_window_bits() <= server.max_window_bits);
        prop_assert!(agreed.own_window_bits() <= server.max_window_bits);
    }
}
