//! Random buckets over a tiny alphabet, random faults and changes between runs, compared
//! with a plain map: the destination is what it was before, overlaid with the source.

use std::collections::BTreeMap;
use std::time::Duration;

use bucket_copy::{RESERVED_PREFIX, Status};
use proptest::prelude::*;
use s3_sim::{Fault, FaultKind, Object, Op};

use crate::fixture::{CUSTOMER, Fixture, MIB, VENDOR, bytes, visible};

/// An object to put: a seed for its bytes, and the sizes of its parts (none: in one piece).
#[derive(Clone, Debug)]
struct Thing {
    seed: u64,
    parts: Vec<u64>,
}

impl Thing {
    fn object(&self) -> Object {
        let object = if self.parts.is_empty() {
            Object::new(bytes(self.seed, 1 + self.seed % 3))
        } else {
            Object::new(bytes(self.seed, self.parts.iter().sum())).with_parts(self.parts.clone())
        };
        object.with_metadata("seed", self.seed.to_string())
    }
}

/// One multi-byte letter, and those that sort around the slash.
fn key() -> impl Strategy<Value = String> {
    "[a/\\-é]{1,3}"
}

fn thing() -> impl Strategy<Value = Thing> {
    let parts = prop_oneof![
        4 => Just(vec![]),
        1 => prop::collection::vec(5 * MIB..7 * MIB, 1..4),
        1 => (2..4usize).prop_map(|count| vec![5 * MIB; count]),
    ];
    (0..50u64, parts).prop_map(|(seed, parts)| Thing { seed, parts })
}

/// What happens at the vendor's between two runs: an object written, or deleted.
type Change = (String, Option<Thing>);

fn changes() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec((key(), prop::option::weighted(0.8, thing())), 0..12)
}

fn faults() -> impl Strategy<Value = Vec<(FaultKind, f64)>> {
    let kind = prop::sample::select(vec![
        FaultKind::InternalError,
        FaultKind::SlowDown,
        FaultKind::ErrorWithin200,
        FaultKind::CutBefore,
        FaultKind::CutAfter,
        FaultKind::CutBody,
    ]);
    prop::collection::vec((kind, 0.01..0.08), 0..3)
}

fn apply(fixture: &Fixture, bucket: &str, prefix: &str, changes: &[Change]) {
    for (key, change) in changes {
        let key = format!("{prefix}{key}");
        match change {
            Some(thing) => drop(fixture.sim.state().put(bucket, &key, thing.object())),
            None => fixture.sim.state().delete(bucket, &key),
        }
    }
}

fn contents(fixture: &Fixture, bucket: &str) -> BTreeMap<String, String> {
    let state = fixture.sim.state();
    let object = |key: &String| state.object(bucket, key).expect("a key that is listed");
    let keys = state.keys(bucket).into_iter().filter(|key| !key.starts_with(RESERVED_PREFIX));
    keys.map(|key| (key.clone(), format!("{:?}", visible(&object(&key))))).collect()
}

/// What the vendor does before a run, and how often the run's requests go wrong.
type Round = (Vec<Change>, Vec<(FaultKind, f64)>);

async fn check(before: Vec<Change>, rounds: Vec<Round>) {
    let mut fixture = Fixture::new().await;
    fixture.patience = Duration::from_secs(5);
    apply(&fixture, CUSTOMER, "filesystem/", &before);
    for (changes, faults) in rounds {
        apply(&fixture, VENDOR, "", &changes);
        let mut model = contents(&fixture, CUSTOMER);
        for (key, object) in contents(&fixture, VENDOR) {
            model.insert(format!("filesystem/{key}"), object);
        }
        for (kind, rate) in faults {
            fixture.sim.add_fault(Fault::rate(Op::Any, kind, rate));
        }
        let report = fixture.run().await;
        assert_eq!(report.status, Status::Complete, "{report:#?}");
        assert_eq!(contents(&fixture, CUSTOMER), model);
        fixture.assert_at_rest().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_destination_is_what_it_was_overlaid_with_the_source(
        before in changes(),
        rounds in prop::collection::vec((changes(), faults()), 1..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(check(before, rounds));
    }
}
