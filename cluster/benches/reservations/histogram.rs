//! Latencies in buckets one percent wide.

use std::collections::BTreeMap;
use std::time::Duration;

/// Buckets to a factor of e.
const RESOLUTION: f64 = 100.0;

/// How often each latency was seen.
#[derive(Default)]
pub struct Histogram(BTreeMap<u32, u64>);

impl Histogram {
    pub fn add(&mut self, time: Duration) {
        let bucket = (time.as_nanos().max(1) as f64).ln() * RESOLUTION;
        *self.0.entry(bucket as u32).or_default() += 1;
    }

    pub fn join(&mut self, other: Histogram) {
        for (bucket, count) in other.0 {
            *self.0.entry(bucket).or_default() += count;
        }
    }

    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }

    pub fn quantile(&self, q: f64) -> Duration {
        let mut left = (self.count() as f64 * q) as u64;
        for (bucket, count) in &self.0 {
            if left < *count {
                let ns = ((f64::from(*bucket) + 0.5) / RESOLUTION).exp();
                return Duration::from_nanos(ns as u64);
            }
            left -= count;
        }
        Duration::ZERO
    }

    /// `bucket:count` with commas between.
    pub fn text(&self) -> String {
        let parts: Vec<String> = self
            .0
            .iter()
            .map(|(bucket, count)| format!("{bucket}:{count}"))
            .collect();
        parts.join(",")
    }

    pub fn read(text: &str) -> Histogram {
        let parts = text.split(',').filter(|part| !part.is_empty());
        let read = parts.map(|part| {
            let (bucket, count) = part.split_once(':').expect("two numbers");
            (
                bucket.parse().expect("number"),
                count.parse().expect("number"),
            )
        });
        Histogram(read.collect())
    }
}
