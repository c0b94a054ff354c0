//! A request ready to be sent and a response as it came: the border between the pure building and
//! reading of a vendor and the one client that sends.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

/// The methods platforms use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
}

impl Method {
    /// The method as it stands in the request line.
    pub fn word(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
        }
    }
}

/// What is asked of a platform; names a metric label and chooses the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Join A, X and B.
    Bind,
    /// Release one binding.
    Unbind,
    /// Ask what is bound for X, A and B.
    Query,
    /// Give X to A for good.
    AxBind,
    /// Take X from A again.
    AxUnbind,
    /// Name the callee of the next call from A to X.
    SetCallee,
    /// Ask to whom X is given, or what A was given.
    AxQuery,
    /// Ask for all bindings on X, page by page.
    XQuery,
    /// Change a binding that stands, mostly its lifetime.
    Modify,
    /// Take a named callee back.
    ClearCallee,
    /// Ask for the numbers of one record that a query named by its id alone.
    QueryDetail,
}

impl Op {
    /// The word for metrics and logs.
    pub fn word(self) -> &'static str {
        match self {
            Op::Bind => "bind",
            Op::Unbind => "unbind",
            Op::Query => "query",
            Op::AxBind => "ax_bind",
            Op::AxUnbind => "ax_unbind",
            Op::SetCallee => "set_callee",
            Op::AxQuery => "ax_query",
            Op::XQuery => "x_query",
            Op::Modify => "modify",
            Op::ClearCallee => "clear_callee",
            Op::QueryDetail => "query_detail",
        }
    }

    /// The key in `Interface::urls` that replaces this operation's address. A query for all of X
    /// goes where every query goes.
    pub fn url_key(self) -> &'static str {
        match self {
            Op::XQuery => Op::Query.word(),
            op => op.word(),
        }
    }
}

/// One signed request; signed for one attempt only, since its nonce and time are in the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The whole URL with its query, already percent-encoded.
    pub url: String,
    /// Headers in the order they are sent, without Host and Content-Length.
    pub headers: Vec<(Arc<str>, String)>,
    /// The body byte for byte, empty when there is none.
    pub body: String,
}

/// What came back, already bounded by the sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Those headers that the vendor's definition reads, names in lower case.
    pub headers: Vec<(Arc<str>, String)>,
    /// The whole body.
    pub body: Bytes,
}

impl Response {
    /// A header's value; the name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| **known == *name);
        found.map(|(_, value)| value.as_str())
    }
}

/// What changes with each attempt and must not be read inside the pure part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The clock, Unix milliseconds.
    pub now_ms: u64,
    /// A fresh nonce of upper-case hexadecimal digits, never used before with these credentials.
    pub nonce: String,
}

/// Percent-encodes everything but the unreserved characters of RFC 3986 §2.3, so `+` is `%2B`.
pub fn percent(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plus_and_everything_reserved_is_percent_encoded() {
        assert_eq!(percent("+86 170&x=/é~"), "%2B86%20170%26x%3D%2F%C3%A9~");
    }
}
