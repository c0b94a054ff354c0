//! The numbers of a relayed call: which of them each side sees, and where they stand in a message.

use std::borrow::Cow;

use super::message::{Kind, Message, params, uri, user, with_user};
use crate::numbers::from_e164;

/// The numbers of one call, and its From and To as each side writes them.
#[derive(Debug)]
pub(super) struct Names {
    /// A and X as A's side wrote them, and the same in our notation.
    pub(super) a: [String; 2],
    pub(super) x: [String; 2],
    /// What B sees instead of A, in the same two notations: X, or A itself.
    pub(super) shown: [String; 2],
    /// Whether A must not learn who B is.
    pub(super) b_hidden: bool,
    /// From and To without parameters.
    pub(super) a_from: String,
    pub(super) a_to: String,
    pub(super) b_from: String,
    pub(super) b_to: String,
}

/// To whom a message goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Towards {
    A,
    B,
}

/// Puts numbers as the receiving side knows them.
pub(super) fn rewrite(message: &mut Message, names: &Names, towards: Towards, request: bool) {
    // In a request the sender is From, in a response the receiver is.
    let (from, to) = match (towards, request) {
        (Towards::B, true) => (&names.b_from, &names.b_to),
        (Towards::A, false) => (&names.a_from, &names.a_to),
        (Towards::A, true) => (&names.a_to, &names.a_from),
        (Towards::B, false) => (&names.b_to, &names.b_from),
    };
    for header in &mut message.headers {
        let prefix = match header.kind {
            Kind::From => from,
            Kind::To => to,
            _ => continue,
        };
        header.value = Cow::Owned(format!("{prefix}{}", params(&header.value)));
    }
    if towards == Towards::A {
        if names.b_hidden {
            hide_b(message, names);
        }
        return;
    }
    message
        .headers
        .retain(|header| header.kind != Kind::History);
    let shown = &names.shown[0];
    for header in &mut message.headers {
        match header.kind {
            Kind::Contact => {
                // A display name is the caller's too.
                let value = with_user(&header.value, shown);
                let address = format!("<{}>{}", uri(&value), params(&value));
                header.value = Cow::Owned(address);
            }
            Kind::Identity => header.value = Cow::Owned(names.b_from.clone()),
            Kind::Other => {
                if let Cow::Owned(hidden) = hide(&header.value, names) {
                    header.value = Cow::Owned(hidden);
                }
            }
            _ => {}
        }
    }
    if let Some(body) = hide_origin(&message.body, names) {
        message.body = Cow::Owned(body);
    }
}

/// What a caller must not learn of the one who has the X he called.
fn hide_b(message: &mut Message, names: &Names) {
    let x = &names.x[0];
    for header in &mut message.headers {
        if matches!(header.kind, Kind::Contact | Kind::Identity) {
            let value = with_user(&header.value, x);
            header.value = Cow::Owned(format!("<{}>{}", uri(&value), params(&value)));
        }
    }
}

/// Text in which A, in either notation, says what B is shown.
fn hide<'t>(text: &'t str, names: &Names) -> Cow<'t, str> {
    let mut text = Cow::Borrowed(text);
    for (a, shown) in names.a.iter().zip(&names.shown) {
        if a != shown && a.len() >= 3 && text.contains(a.as_str()) {
            text = Cow::Owned(text.replace(a.as_str(), shown));
        }
    }
    text
}

/// A body whose SDP origin and session name do not say A.
fn hide_origin(body: &[u8], names: &Names) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(body).ok()?;
    let mut changed = false;
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        if line.starts_with("o=") || line.starts_with("s=") {
            let hidden = hide(line, names);
            changed |= matches!(hidden, Cow::Owned(_));
            out.push_str(&hidden);
        } else {
            out.push_str(line);
        }
    }
    changed.then(|| out.into_bytes())
}

/// Whether an INVITE carries a number that is neither A nor X where the caller is spoken of.
pub(super) fn gives_away(message: &Message, names: &Names) -> bool {
    let foreign = |number: &str| {
        let digits = number.strip_prefix('+').unwrap_or(number);
        digits.len() >= 5
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !names.a.iter().chain(&names.x).any(|known| known == number)
            && from_e164(number) != names.a[1]
            && from_e164(number) != names.x[1]
    };
    let in_headers = message.headers.iter().any(|header| {
        matches!(header.kind, Kind::Contact | Kind::Identity | Kind::History)
            && user(uri(&header.value)).is_some_and(foreign)
    });
    let origin = std::str::from_utf8(&message.body).ok().and_then(|body| {
        let line = body.lines().find_map(|line| line.strip_prefix("o="))?;
        line.split(' ').next()
    });
    in_headers || origin.is_some_and(foreign)
}
