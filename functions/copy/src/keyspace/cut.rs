//! Where to cut what is left of a run into pieces for others.

use super::{KeyRange, Keyspace};
use crate::alphabet::Ruler;

impl Keyspace {
    /// Keys within `ranges`, in order, at which to cut them into at most `most` pieces: an
    /// earlier run's boundaries, and guesses between. What is in a piece, nobody knows: it may
    /// be nothing.
    pub(crate) fn cuts(&self, ranges: &[KeyRange], most: usize) -> Vec<String> {
        let mut room = most.saturating_sub(ranges.len());
        let mut parts = Vec::with_capacity(ranges.len());
        let mut cuts = Vec::new();
        for range in ranges {
            let mut rest = range.clone();
            for key in self.known.iter().filter(|key| range.has_inside(key)).take(room) {
                parts.push(KeyRange {
                    after: std::mem::replace(&mut rest.after, key.clone()),
                    up_to: Some(key.clone()),
                });
                cuts.push(key.clone());
                room -= 1;
            }
            parts.push(rest);
        }
        let each = most / parts.len().max(1);
        cuts.extend(parts.iter().flat_map(|part| self.guesses(part, each)));
        cuts.sort_unstable();
        cuts
    }

    /// Keys that cut a range into so many, or fewer, parts of equal width.
    fn guesses(&self, range: &KeyRange, parts: usize) -> Vec<String> {
        let (after, up_to) = (range.after.as_str(), range.up_to.as_deref());
        let ruler = Ruler::new(&self.alphabet, after, up_to.unwrap_or_default());
        let (from, to) = (ruler.place(after), up_to.map_or(1.0, |up_to| ruler.place(up_to)));
        #[expect(clippy::cast_precision_loss, reason = "a few dozen parts")]
        let key = |part: usize| {
            let width = (to - from) / parts as f64;
            ruler.key(from + width * part as f64, width / 4.0)
        };
        let mut cuts: Vec<_> = if to > from { (1..parts).map(key).collect() } else { Vec::new() };
        cuts.retain(|key| range.has_inside(key) && key.len() <= self.longest);
        cuts.dedup();
        cuts
    }
}

impl KeyRange {
    /// Whether a cut at this key leaves something on both sides.
    fn has_inside(&self, key: &str) -> bool {
        *key > *self.after && self.up_to.as_deref().is_none_or(|up_to| key < up_to)
    }
}
