//! Damaged input for tests: the same for the same seed.

/// Calls `with` on `rounds` damaged forms of the samples: bytes changed, cut, doubled and inserted,
/// pieces of one sample put into another.
pub(crate) fn damaged(samples: &[&[u8]], rounds: u64, mut with: impl FnMut(&[u8])) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |most: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(most.max(1)).unwrap()).unwrap()
    };
    // Bytes that mean something to somebody.
    let special = b"\r\n <>\";:,@=%+&{}[]\\\0\xff\xc3\xa9-0;";
    for _ in 0..rounds {
        let mut bytes = samples[below(samples.len())].to_vec();
        for _ in 0..=below(8) {
            let at = below(bytes.len());
            match below(6) {
                0 if !bytes.is_empty() => bytes[at] = special[below(special.len())],
                1 => bytes.truncate(at),
                2 if !bytes.is_empty() => {
                    bytes.remove(at);
                }
                3 => bytes.insert(at, special[below(special.len())]),
                4 => {
                    let end = (at + below(40)).min(bytes.len());
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
                _ => {
                    let other = samples[below(samples.len())];
                    let start = below(other.len());
                    let end = (start + below(60)).min(other.len());
                    bytes.splice(at..at, other[start..end].iter().copied());
                }
            }
        }
        with(&bytes);
    }
}
