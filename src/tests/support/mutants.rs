//! Changes to a JSON document: any member becomes another value, goes, or is there twice.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

#[derive(Clone, Debug)]
pub(crate) enum Change {
    Replace(Index, Value),
    Remove(Index),
    Double(Index),
    /// Puts one member in the place of another.
    Copy(Index, Index),
}

/// Values that a reader may trip over.
fn values() -> impl Strategy<Value = Value> {
    let numbers = [0.0, -1.0, 0.5, 1e-300, 1e11, 1e300, -1e300, f64::MAX, f64::MIN_POSITIVE];
    prop_oneof![
        proptest::sample::select(numbers.map(|number| json!(number)).to_vec()),
        prop_oneof![Just(0), Just(1), Just(u64::MAX), Just(1 << 63), any::<u64>()].prop_map(|number| json!(number)),
        proptest::sample::select(
            ["", "ramp, hold", "\u{1b}[2J", "1/1", "0/0", "9/9", "lost == 0", "ramp.connect.p99 < 5ms", "<script>"]
                .map(|text| json!(text))
                .to_vec()
        ),
        ".{0,40}".prop_map(|text| json!(text)),
        Just(json!(null)),
        Just(json!([])),
        Just(json!({})),
        Just(json!(true)),
    ]
}

pub(crate) fn changes() -> impl Strategy<Value = Vec<Change>> {
    let place = any::<Index>;
    let change = prop_oneof![
        4 => (place(), values()).prop_map(|(at, value)| Change::Replace(at, value)),
        1 => place().prop_map(Change::Remove),
        2 => place().prop_map(Change::Double),
        2 => (place(), place()).prop_map(|(from, to)| Change::Copy(from, to)),
    ];
    proptest::collection::vec(change, 1..6)
}

impl Change {
    pub(crate) fn apply(&self, document: &mut Value) {
        match self {
            Self::Replace(at, value) => replace(document, *at, value.clone()),
            Self::Copy(from, to) => {
                let value = document.pointer(&chosen(document, *from)).cloned().unwrap_or_default();
                replace(document, *to, value);
            }
            Self::Remove(at) | Self::Double(at) => {
                let path = chosen(document, *at);
                let Some((parent, last)) = path.rsplit_once('/') else { return };
                let is_double = matches!(self, Self::Double(_));
                match document.pointer_mut(parent) {
                    Some(Value::Array(list)) => {
                        let at = last.parse().unwrap_or(0);
                        if is_double { list.insert(at, list[at].clone()) } else { drop(list.remove(at)) }
                    }
                    Some(Value::Object(members)) if !is_double => drop(members.remove(last)),
                    _ => {}
                }
            }
        }
    }
}

fn replace(document: &mut Value, at: Index, value: Value) {
    let path = chosen(document, at);
    if let Some(member) = document.pointer_mut(&path) {
        *member = value;
    }
}

/// The pointer of one of all members, the document itself apart.
fn chosen(document: &Value, at: Index) -> String {
    let mut all = Vec::new();
    pointers(document, "", &mut all);
    let at = at.index(all.len());
    all.swap_remove(at)
}

fn pointers(value: &Value, path: &str, all: &mut Vec<String>) {
    all.push(path.to_owned());
    match value {
        Value::Array(list) => list.iter().enumerate().for_each(|(at, one)| pointers(one, &format!("{path}/{at}"), all)),
        Value::Object(members) => {
            members.iter().for_each(|(name, one)| {
                // As JSON pointers have it.
                let name = name.replace('~', "~0").replace('/', "~1");
                pointers(one, &format!("{path}/{name}"), all);
            });
        }
        _ => {}
    }
}
