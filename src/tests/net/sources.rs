//! Which addresses are one source.

use super::SourcePrefixes;

fn is_same(prefixes: SourcePrefixes, one: &str, other: &str) -> bool {
    let source_of = |text: &str| prefixes.source_of(text.parse().expect("an address"));
    source_of(one) == source_of(other)
}

#[test]
fn an_ipv4_address_is_a_source_mapped_or_not() {
    let prefixes = SourcePrefixes::default();
    assert!(is_same(prefixes, "127.0.0.1", "::ffff:127.0.0.1"));
    assert!(is_same(prefixes, "10.1.2.3", "::ffff:a01:203"));
    for other in ["127.0.0.2", "::ffff:127.0.0.2", "::1", "::7f00:1", "::127.0.0.1"] {
        assert!(!is_same(prefixes, "127.0.0.1", other), "{other}");
    }
}

#[test]
fn addresses_of_an_ipv6_network_are_one_source() {
    let prefixes = SourcePrefixes::default();
    assert!(is_same(prefixes, "2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"));
    assert!(!is_same(prefixes, "2001:db8:1:2::1", "2001:db8:1:3::1"));
    assert!(!is_same(prefixes, "2001:db8:1:2::1", "2001:db8:0:2::1"));
}

#[test]
fn prefixes_of_any_length_are_taken() {
    let prefixes = SourcePrefixes { v4: 24, v6: 128 };
    assert!(is_same(prefixes, "10.1.2.3", "::ffff:10.1.2.255"));
    assert!(!is_same(prefixes, "10.1.2.3", "10.1.3.3"));
    assert!(!is_same(prefixes, "2001:db8::1", "2001:db8::2"));
    let coarse = SourcePrefixes { v4: 1, v6: 1 };
    assert!(is_same(coarse, "10.0.0.1", "127.0.0.1") && !is_same(coarse, "10.0.0.1", "128.0.0.1"));
    assert!(is_same(coarse, "::1", "7fff::1") && !is_same(coarse, "::1", "8000::1"));
    // Out of range, which a start refuses, and still no panic.
    for prefix in [0, 33, 129, u32::MAX] {
        let odd = SourcePrefixes { v4: prefix, v6: prefix };
        assert!(is_same(odd, "10.0.0.1", "10.0.0.1") && is_same(odd, "::1", "::1"));
    }
}
