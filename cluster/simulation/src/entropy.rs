//! The process's randomness, drawn from a seed: `entropy.c` stands in for the C library's `getrandom`.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Where `entropy.c` looks for its seed when the process begins.
pub(crate) const VARIABLE: &str = "TANDEM_SIMULATION_SEED";

/// Sees to it that the process's randomness follows from `seed`. Where it does not, the program begins anew as a process
/// where it does: first thing in `main`.
///
/// # Errors
/// The program cannot be started again.
pub fn fix(seed: u64) -> std::io::Result<()> {
    let seed = seed.to_string();
    if std::env::var(VARIABLE).is_ok_and(|fixed| fixed == seed) {
        return Ok(());
    }
    let mut again = Command::new(std::env::current_exe()?);
    Err(again
        .args(std::env::args_os().skip(1))
        .env(VARIABLE, seed)
        .exec())
}

/// SplitMix64's output function.
pub(crate) fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
