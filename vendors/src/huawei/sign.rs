//! The request signature: two headers over nonce and time. Neither method nor path nor body is
//! covered, so each attempt needs its own nonce.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};

use crate::exchange::Attempt;
use crate::timestamp::iso_utc;

/// The generation of the headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `AKSK` with `X-AKSK`, the current one.
    Aksk,
    /// `WSSE` with `X-WSSE`, the older one.
    Wsse,
}

impl Scheme {
    /// Of the parameter's word; AKSK when absent.
    pub fn of(word: Option<&str>) -> Scheme {
        match word {
            Some("WSSE") => Scheme::Wsse,
            _ => Scheme::Aksk,
        }
    }
}

/// How the password digest is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// Base64 of HMAC-SHA256 over nonce and time, keyed with the secret.
    HmacSha256,
    /// Base64 of SHA-256 over nonce, time and secret.
    Sha256,
}

impl Digest {
    /// Of the parameter's word; absent, the one that belongs to the scheme.
    pub fn of(word: Option<&str>, scheme: Scheme) -> Digest {
        match (word, scheme) {
            (Some("sha256"), _) => Digest::Sha256,
            (Some(_), _) => Digest::HmacSha256,
            (None, Scheme::Aksk) => Digest::HmacSha256,
            (None, Scheme::Wsse) => Digest::Sha256,
        }
    }
}

/// Credentials with the recipe they are used in.
#[derive(Clone)]
pub struct Signer {
    key: String,
    secret: String,
    scheme: Scheme,
    digest: Digest,
}

impl Signer {
    /// A signer for one application of the platform.
    pub fn new(key: String, secret: String, scheme: Scheme, digest: Digest) -> Signer {
        Signer {
            key,
            secret,
            scheme,
            digest,
        }
    }

    /// The two headers of one attempt.
    pub fn headers(&self, attempt: &Attempt) -> [(&'static str, String); 2] {
        let created = iso_utc(attempt.now_ms / 1000);
        let digest = STANDARD.encode(self.digest(&attempt.nonce, &created));
        let (scheme, name) = match self.scheme {
            Scheme::Aksk => ("AKSK", "X-AKSK"),
            Scheme::Wsse => ("WSSE", "X-WSSE"),
        };
        [
            (
                "Authorization",
                format!("{scheme} realm=\"SDP\",profile=\"UsernameToken\",type=\"Appkey\""),
            ),
            (
                name,
                format!(
                    "UsernameToken Username=\"{}\",PasswordDigest=\"{digest}\",Nonce=\"{}\",Created=\"{created}\"",
                    self.key, attempt.nonce
                ),
            ),
        ]
    }

    fn digest(&self, nonce: &str, created: &str) -> [u8; 32] {
        match self.digest {
            Digest::HmacSha256 => {
                let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes())
                    .expect("hmac takes a key of any length");
                mac.update(nonce.as_bytes());
                mac.update(created.as_bytes());
                mac.finalize().into_bytes().into()
            }
            Digest::Sha256 => {
                let mut hash = Sha256::new();
                hash.update(nonce.as_bytes());
                hash.update(created.as_bytes());
                hash.update(self.secret.as_bytes());
                hash.finalize().into()
            }
        }
    }
}
