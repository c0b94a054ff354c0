//! Names and values out of queries and forms.

/// Percent-encodes everything but letters, digits and `-_.~` (RFC 3986).
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Form decoding: `+` is a space, so a number must be sent with `%2B`.
pub fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

/// The decoded pairs of a query or form in their order; `None` when one is badly encoded.
pub fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let items = text.split('&').filter(|item| !item.is_empty());
    items
        .map(|item| {
            let (name, value) = item.split_once('=').unwrap_or((item, ""));
            Some((decoded(name)?, decoded(value)?))
        })
        .collect()
}

/// `name=value` of all pairs, encoded, in the order of names, joined by `&`.
pub fn canonical(pairs: &[(String, String)]) -> String {
    let mut encoded: Vec<_> = pairs
        .iter()
        .map(|(name, value)| (encoded(name), encoded(value)))
        .collect();
    encoded.sort();
    let items: Vec<_> = encoded.iter().map(|(n, v)| format!("{n}={v}")).collect();
    items.join("&")
}

/// The value of a name.
pub fn value<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = pairs.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_decoded_and_written_in_canonical_order() {
        let pairs = pairs("b=1+2&a=%E4%B8%8A%2B*&c").unwrap();
        assert_eq!(value(&pairs, "b"), Some("1 2"));
        assert_eq!(canonical(&pairs), "a=%E4%B8%8A%2B%2A&b=1%202&c=");
        assert_eq!(super::pairs("a=%4"), None);
        assert_eq!(super::pairs("a=%ff"), None);
    }
}
