//! Header names: those the switch looks at, with their compact forms; every other one is
//! [`Name::Other`] and keeps its bytes in the message.

use std::fmt;

macro_rules! names {
    ($($variant:ident, $full:literal, $lower:literal $(, $compact:literal)?;)*) => {
        /// A header name. Names are compared without regard to case, and a compact form is the
        /// same name (RFC 3261 section 7.3.3 and the IANA registry).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Name {
            $(#[doc = concat!("`", $full, "`.")] $variant,)*
            /// A name that is not in this list.
            Other,
        }

        impl Name {
            /// Every name known, for tests and tables.
            pub const ALL: &'static [Name] = &[$(Name::$variant,)*];

            /// The name in its usual spelling; empty for [`Name::Other`].
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Name::$variant => $full,)*
                    Name::Other => "",
                }
            }

            fn of_lower(lower: &[u8]) -> Self {
                match lower {
                    $($lower $(| $compact)? => Name::$variant,)*
                    _ => Name::Other,
                }
            }
        }
    };
}

names! {
    Accept, "Accept", b"accept";
    AcceptContact, "Accept-Contact", b"accept-contact", b"a";
    AcceptEncoding, "Accept-Encoding", b"accept-encoding";
    AcceptLanguage, "Accept-Language", b"accept-language";
    AlertInfo, "Alert-Info", b"alert-info";
    Allow, "Allow", b"allow";
    AllowEvents, "Allow-Events", b"allow-events", b"u";
    AuthenticationInfo, "Authentication-Info", b"authentication-info";
    Authorization, "Authorization", b"authorization";
    CallId, "Call-ID", b"call-id", b"i";
    CallInfo, "Call-Info", b"call-info";
    Contact, "Contact", b"contact", b"m";
    ContentDisposition, "Content-Disposition", b"content-disposition";
    ContentEncoding, "Content-Encoding", b"content-encoding", b"e";
    ContentLanguage, "Content-Language", b"content-language";
    ContentLength, "Content-Length", b"content-length", b"l";
    ContentType, "Content-Type", b"content-type", b"c";
    CSeq, "CSeq", b"cseq";
    Date, "Date", b"date";
    Diversion, "Diversion", b"diversion";
    ErrorInfo, "Error-Info", b"error-info";
    Event, "Event", b"event", b"o";
    Expires, "Expires", b"expires";
    From, "From", b"from", b"f";
    HistoryInfo, "History-Info", b"history-info";
    Identity, "Identity", b"identity", b"y";
    IdentityInfo, "Identity-Info", b"identity-info", b"n";
    InReplyTo, "In-Reply-To", b"in-reply-to";
    MaxForwards, "Max-Forwards", b"max-forwards";
    MimeVersion, "MIME-Version", b"mime-version";
    MinExpires, "Min-Expires", b"min-expires";
    MinSe, "Min-SE", b"min-se";
    Organization, "Organization", b"organization";
    PAssertedIdentity, "P-Asserted-Identity", b"p-asserted-identity";
    PPreferredIdentity, "P-Preferred-Identity", b"p-preferred-identity";
    Path, "Path", b"path";
    Priority, "Priority", b"priority";
    Privacy, "Privacy", b"privacy";
    ProxyAuthenticate, "Proxy-Authenticate", b"proxy-authenticate";
    ProxyAuthorization, "Proxy-Authorization", b"proxy-authorization";
    ProxyRequire, "Proxy-Require", b"proxy-require";
    RAck, "RAck", b"rack";
    Reason, "Reason", b"reason";
    RecordRoute, "Record-Route", b"record-route";
    ReferTo, "Refer-To", b"refer-to", b"r";
    ReferredBy, "Referred-By", b"referred-by", b"b";
    RejectContact, "Reject-Contact", b"reject-contact", b"j";
    RemotePartyId, "Remote-Party-ID", b"remote-party-id";
    Replaces, "Replaces", b"replaces";
    RequestDisposition, "Request-Disposition", b"request-disposition", b"d";
    Require, "Require", b"require";
    RetryAfter, "Retry-After", b"retry-after";
    Route, "Route", b"route";
    RSeq, "RSeq", b"rseq";
    Server, "Server", b"server";
    ServiceRoute, "Service-Route", b"service-route";
    SessionExpires, "Session-Expires", b"session-expires", b"x";
    Subject, "Subject", b"subject", b"s";
    SubscriptionState, "Subscription-State", b"subscription-state";
    Supported, "Supported", b"supported", b"k";
    Timestamp, "Timestamp", b"timestamp";
    To, "To", b"to", b"t";
    Unsupported, "Unsupported", b"unsupported";
    UserAgent, "User-Agent", b"user-agent";
    Via, "Via", b"via", b"v";
    Warning, "Warning", b"warning";
    WwwAuthenticate, "WWW-Authenticate", b"www-authenticate";
}

/// No known name is longer than this.
const LONGEST: usize = 24;

impl Name {
    /// Reads a header name, in full or compact form.
    #[must_use]
    pub fn read(name: &[u8]) -> Self {
        let mut lower = [0; LONGEST];
        let Some(lower) = lower.get_mut(..name.len()) else {
            return Self::Other;
        };
        for (to, from) in lower.iter_mut().zip(name) {
            *to = from.to_ascii_lowercase();
        }
        Self::of_lower(lower)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back_in_any_case() {
        for &name in Name::ALL {
            let text = name.as_str();
            assert!(text.len() <= LONGEST);
            assert_eq!(Name::read(text.as_bytes()), name);
            assert_eq!(Name::read(text.to_uppercase().as_bytes()), name);
            assert_eq!(Name::read(text.to_lowercase().as_bytes()), name);
        }
    }

    #[test]
    fn compact_forms_are_the_same_names() {
        let table = [
            ("v", Name::Via),
            ("F", Name::From),
            ("t", Name::To),
            ("i", Name::CallId),
            ("m", Name::Contact),
            ("L", Name::ContentLength),
            ("c", Name::ContentType),
            ("e", Name::ContentEncoding),
            ("k", Name::Supported),
            ("s", Name::Subject),
            ("x", Name::SessionExpires),
            ("r", Name::ReferTo),
            ("b", Name::ReferredBy),
            ("o", Name::Event),
            ("u", Name::AllowEvents),
        ];
        for (compact, name) in table {
            assert_eq!(Name::read(compact.as_bytes()), name);
        }
        assert_eq!(Name::read(b"z"), Name::Other);
        assert_eq!(Name::read(&[b'v'; 300]), Name::Other);
    }
}
