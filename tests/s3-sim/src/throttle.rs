//! A limit of writes a second: a token bucket with a small burst.

use std::sync::Mutex;
use std::time::Instant;

use crate::sync::Locked;

/// How long a full bucket lasts: bursts above a tenth of a second's writes are refused.
const BURST_SECONDS: f64 = 0.1;

#[derive(Debug)]
pub(crate) struct Throttle {
    per_second: f64,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Option<Instant>,
}

impl Throttle {
    pub(crate) fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second);
        Self { per_second, bucket: Mutex::new(Bucket { tokens: burst(per_second), filled: None }) }
    }

    /// True if a write that arrives `now` is within the limit.
    pub(crate) fn admit(&self, now: Instant) -> bool {
        let mut bucket = self.bucket.locked();
        if let Some(filled) = bucket.filled {
            let passed = now.saturating_duration_since(filled).as_secs_f64();
            bucket.tokens = (bucket.tokens + passed * self.per_second).min(burst(self.per_second));
        }
        // Arrivals of two threads may come here out of order; time does not run backwards.
        bucket.filled = Some(bucket.filled.map_or(now, |filled| filled.max(now)));
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}

fn burst(per_second: f64) -> f64 {
    (per_second * BURST_SECONDS).max(1.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn admits_the_rate_and_a_tenth_of_a_second_more() {
        let throttle = Throttle::new(100);
        let start = Instant::now();
        let admitted = (0..2000).filter(|i| throttle.admit(start + Duration::from_millis(*i))).count();
        assert!((205..=211).contains(&admitted), "{admitted}");
    }
}
