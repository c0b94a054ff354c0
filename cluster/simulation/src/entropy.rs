//! The process's randomness, drawn from a seed.
//!
//! The standard library, and every library that asks the system for randomness as it does, calls the C library's
//! `getrandom` through a symbol that a program may define itself. This module defines it. Until [`fix`] is called it
//! hands the call on to the system.
//!
//! What is drawn depends on the order of the calls, so a process that wants the same thing twice asks from one thread.

use std::sync::atomic::{AtomicU64, Ordering};

/// 0: not fixed.
static STATE: AtomicU64 = AtomicU64::new(0);

/// From here on the process's randomness follows from `seed`. First thing in `main`: hash maps keep what they drew.
pub fn fix(seed: u64) {
    STATE.store(mix(seed) | 1, Ordering::SeqCst);
}

/// SplitMix64's output function.
pub(crate) fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The C library's function of this name, for the whole process.
///
/// # Safety
/// `buf` must be valid for writes of `len` bytes, as the C library demands of its callers.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(
    buf: *mut libc::c_void,
    len: libc::size_t,
    flags: libc::c_uint,
) -> libc::ssize_t {
    if STATE.load(Ordering::SeqCst) == 0 {
        // SAFETY: the arguments are handed on as they came.
        return unsafe { libc::syscall(libc::SYS_getrandom, buf, len, flags) } as libc::ssize_t;
    }
    // SAFETY: the caller vouches for `len` bytes behind `buf`; they need not be initialised to be written to.
    let bytes = unsafe {
        std::ptr::write_bytes(buf.cast::<u8>(), 0, len);
        std::slice::from_raw_parts_mut(buf.cast::<u8>(), len)
    };
    for chunk in bytes.chunks_mut(8) {
        // An even step keeps the state odd, so it never becomes 0 and every value comes once.
        let state = STATE.fetch_add(2, Ordering::SeqCst);
        chunk.copy_from_slice(&mix(state).to_le_bytes()[..chunk.len()]);
    }
    len as libc::ssize_t
}
