//! Waiting for a fact instead of sleeping.

use std::time::{Duration, Instant};

/// Asks again every 20 ms until the answer is there; after `limit` panics with what was last said to be missing.
#[track_caller]
pub fn eventually<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(missing) if began.elapsed() > limit => {
                panic!("{what}: not within {limit:?}: {missing}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Seconds since 1970, for comparison with the times of SIPp and the simulator, which run on the same clock.
pub fn epoch_secs() -> f64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("the clock stands after 1970")
        .as_secs_f64()
}
