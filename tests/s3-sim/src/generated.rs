//! Buckets of millions of keys that hold no bytes and no entries: key `i` is a function.
//!
//! Promises: a key is found by binary search; sizes, ETags and checksums follow from the key
//! without the prefix, so that two generated buckets of one pattern are equal, also if one
//! of them has its keys below a prefix.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::content::Content;
use crate::etag::ETag;
use crate::random;
use crate::time::date_of;

/// The keys of a generated bucket.
#[derive(Clone)]
pub struct GeneratedKeys {
    key_at: Arc<dyn Fn(u64) -> String + Send + Sync>,
    count: u64,
    size: u64,
    prefix: String,
    last_modified: SystemTime,
}

impl GeneratedKeys {
    /// `count` objects of `size` bytes each. `key_at` is called with 0 up to `count` - 1 and
    /// must answer keys that ascend in the order of their UTF-8 bytes.
    pub fn new(count: u64, size: u64, key_at: impl Fn(u64) -> String + Send + Sync + 'static) -> Self {
        Self {
            key_at: Arc::new(key_at),
            count,
            size,
            prefix: String::new(),
            last_modified: UNIX_EPOCH + Duration::from_secs(1_704_067_200),
        }
    }

    /// `count` objects of `size` bytes each, with keys of a named pattern.
    #[must_use]
    pub fn pattern(pattern: Pattern, count: u64, size: u64) -> Self {
        Self::new(count, size, move |index| pattern.key(index, count))
    }

    /// Puts `prefix` before each key.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets the moment all of the objects were last modified (2024-01-01 otherwise).
    #[must_use]
    pub fn with_last_modified(mut self, last_modified: SystemTime) -> Self {
        self.last_modified = crate::time::whole_seconds(last_modified);
        self
    }

    /// How many keys there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn last_modified(&self) -> SystemTime {
        self.last_modified
    }

    /// Key number `index`, with the prefix.
    #[must_use]
    pub fn key(&self, index: u64) -> String {
        let key = (self.key_at)(index);
        if self.prefix.is_empty() { key } else { format!("{}{key}", self.prefix) }
    }

    /// True if `key` is one of them.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        let index = self.partition(|probe| probe < key);
        index < self.count && self.key(index) == key
    }

    /// The first index whose key is within `start`.
    pub(crate) fn first_within(&self, start: Bound<&str>) -> u64 {
        match start {
            Bound::Unbounded => 0,
            Bound::Included(start) => self.partition(|probe| probe < start),
            Bound::Excluded(start) => self.partition(|probe| probe <= start),
        }
    }

    fn partition(&self, before: impl Fn(&str) -> bool) -> u64 {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if before(&self.key(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// What the object at `key` holds.
    pub(crate) fn content(&self, key: &str) -> Content {
        let unprefixed = key.strip_prefix(&self.prefix).unwrap_or(key);
        Content::virtual_bytes(random::hash(unprefixed), self.size)
    }

    pub(crate) fn etag(&self, key: &str) -> ETag {
        ETag::single(self.content(key).md5())
    }
}

impl fmt::Debug for GeneratedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GeneratedKeys({} below {:?})", self.count, self.prefix)
    }
}

/// How the keys of a generated bucket look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// `files/000000123`
    Sequential,
    /// `0123456789abcdef.bin`, spread evenly over all hex digits.
    Hex,
    /// `logs/2024/05/17/123456-000000123.json`, 9 of 10 in one year.
    Dates,
    /// Nine digits behind two hundred characters that all keys share.
    LongPrefix,
    /// Folders and names in Latin, Cyrillic, Chinese letters and emoji.
    NonAscii,
}

impl Pattern {
    /// All of them, with their names.
    pub const ALL: [(&str, Pattern); 5] = [
        ("sequential", Pattern::Sequential),
        ("hex", Pattern::Hex),
        ("dates", Pattern::Dates),
        ("long-prefix", Pattern::LongPrefix),
        ("non-ascii", Pattern::NonAscii),
    ];

    /// The pattern called `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find_map(|(own, pattern)| (own == name).then_some(pattern))
    }

    /// Key `index` of `count`; ascends with `index` in the order of UTF-8 bytes.
    #[must_use]
    pub fn key(self, index: u64, count: u64) -> String {
        match self {
            Self::Sequential => format!("files/{index:09}"),
            Self::Hex => format!("{:016x}.bin", u64::MAX / count.max(1) * index),
            Self::Dates => dated_key(index, count),
            Self::LongPrefix => format!("archive/{}{index:09}", "deeply/nested/folder/".repeat(10)),
            Self::NonAscii => {
                const FOLDERS: [&str; 6] = ["a b", "über", "ключ", "中文", "日本", "😀"];
                let folder = scale(index, FOLDERS.len() as u64, count) as usize;
                format!("{}/名前-{index:09}", FOLDERS[folder])
            }
        }
    }
}

/// `index` of `count` brought down to 0 up to `to` - 1, without overflow.
fn scale(index: u64, to: u64, count: u64) -> u64 {
    (u128::from(index) * u128::from(to) / u128::from(count.max(1))) as u64
}

fn dated_key(index: u64, count: u64) -> String {
    const DAY_2016: u64 = 16_801;
    const DAY_2024: u64 = 19_723;
    const DAY_2025: u64 = 20_089;
    const DAY_2026: u64 = 20_454;
    // A twentieth in eight early years, nine tenths in 2024, the rest in 2025.
    let (early, late) = (count / 20, count - count / 20);
    let second = match index.cmp(&early) {
        Ordering::Less => DAY_2016 * 86_400 + scale(index, (DAY_2024 - DAY_2016) * 86_400, early),
        _ if index < late => {
            DAY_2024 * 86_400 + scale(index - early, (DAY_2025 - DAY_2024) * 86_400, late - early)
        }
        _ => DAY_2025 * 86_400 + scale(index - late, (DAY_2026 - DAY_2025) * 86_400, count - late),
    };
    let (year, month, day) = date_of(second / 86_400);
    let of_day = second % 86_400;
    format!(
        "logs/{year}/{month:02}/{day:02}/{:02}{:02}{:02}-{index:09}.json",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_ascend_in_every_pattern() {
        for (name, pattern) in Pattern::ALL {
            for count in [1, 7, 1000] {
                let keys: Vec<_> = (0..count).map(|i| pattern.key(i, count)).collect();
                assert!(keys.is_sorted_by(|a, b| a < b), "{name}: {keys:?}");
            }
        }
    }

    #[test]
    fn nine_of_ten_dated_keys_are_of_one_year() {
        let of_2024 = (0..1000).filter(|i| Pattern::Dates.key(*i, 1000).starts_with("logs/2024/")).count();
        assert_eq!(of_2024, 900);
    }

    #[test]
    fn a_key_is_found_with_its_prefix_only() {
        let keys = GeneratedKeys::pattern(Pattern::Sequential, 100, 1).with_prefix("db/");
        assert!(keys.contains("db/files/000000099"));
        assert!(!keys.contains("db/files/000000100"));
        assert!(!keys.contains("files/000000099"));
        let plain = GeneratedKeys::pattern(Pattern::Sequential, 100, 1);
        assert_eq!(keys.etag("db/files/000000005"), plain.etag("files/000000005"));
    }
}
