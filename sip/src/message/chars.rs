//! Character classes of RFC 3261 section 25.1 and the small scanning steps made of them.

const fn table(extra: &[u8]) -> [bool; 256] {
    let mut set = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        set[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < extra.len() {
        set[extra[at] as usize] = true;
        at += 1;
    }
    set
}

const TOKEN: [bool; 256] = table(b"-.!%*_+`'~");
/// Letters of a host name. The underscore is not legal, but is met in the field.
const HOST: [bool; 256] = table(b"-._");

/// Whether `bytes` is a token: at least one of its letters and no other.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| TOKEN[b as usize])
}

/// Whether `bytes` can be a host name or an IPv4 address.
pub fn is_host_name(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| HOST[b as usize])
}

/// Linear white space. A CR or LF inside a header's value is always part of a fold, for the
/// scanner refuses any other.
pub const fn is_lws(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

pub fn trim_start(bytes: &[u8]) -> &[u8] {
    let skip = bytes.iter().take_while(|&&b| is_lws(b)).count();
    &bytes[skip..]
}

pub fn trim(bytes: &[u8]) -> &[u8] {
    let bytes = trim_start(bytes);
    let drop = bytes.iter().rev().take_while(|&&b| is_lws(b)).count();
    &bytes[..bytes.len() - drop]
}

/// Length of the quoted string that `bytes` starts with, both quotes included; `None` when it is
/// not closed or `bytes` does not start with a quote.
pub fn quoted_len(bytes: &[u8]) -> Option<usize> {
    if bytes.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        // The escaped octet, whatever it is.
        at += 2;
    }
}

/// Where `separator` first stands outside quoted strings and `<…>`; `None` when nowhere. An open
/// quote or bracket runs to the end.
pub fn find_outside(bytes: &[u8], separator: u8) -> Option<usize> {
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte == separator {
            return Some(at);
        }
        at += match byte {
            b'"' => quoted_len(&bytes[at..])?,
            b'<' => memchr::memchr(b'>', &bytes[at..])? + 1,
            _ => 1,
        };
    }
    None
}

/// A number of decimal digits and nothing else; `None` also when it does not fit.
pub fn number<N: TryFrom<u64>>(digits: &[u8]) -> Option<N> {
    if digits.is_empty() {
        return None;
    }
    let mut value = 0u64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value
            .checked_mul(10)?
            .checked_add(u64::from(digit - b'0'))?;
    }
    N::try_from(value).ok()
}
