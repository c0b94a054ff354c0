//! Call-backs: what a platform tells its customer of calls, events while one lives and the bill
//! after it.
//!
//! ```text
//! sip/proxy.rs ─steps─▶ newsroom.rs ─notices─▶ mailbox.rs ─▶ driver.rs ─HTTP─▶ customer
//!                       story.rs, vendors/      (when)        (a thread)
//! ```
//! A vendor is a [`Herald`]: what it pushes at which step of a call, how it proves that it is the
//! sender, which literal answer it takes for success and after which times it tries again. All of
//! it is written from the vendors' papers and shares nothing with the definitions that read it.
//!
//! A push goes to `callback_url` of the vendor's configuration, `/events` or `/bills` behind it,
//! and behind that the `callback_secret` where a vendor proves itself by nothing but the address
//! that it was given.
//!
//! | vendor | events | bill | proof | answer that counts | again after |
//! |---|---|---|---|---|---|
//! | `huawei` | all | yes, with recording | WSSE | 200, no body | 1, 4, 9, 106, 203, 300 min |
//! | `aliyun` | answered | yes | address | 200, `code` 0 | 1, 5, 15 min (open) |
//! | `itniotech` | none | yes, with cost and recording | address (open) | 200 (open) | 1, 5, 15 min (open) |
//! | `tencent` | none | yes, with recording | address (open) | 200 (open) | 1, 5, 15 min (open) |
//! | `volcengine` | all | yes | address (recipe not public) | 2xx | bills: 10, 30 s, 1, 2, 3 min, 2, 2 h; events: never |
//! | `vcc` | all | yes, with recording | sign in the body | 200 (open) | 1, 5, 15 min (open) |
//! | `twilio` | all | none | X-Twilio-Signature | 2xx | never (open) |
//! | `plivo` | the end | none | X-Plivo-Signature-V3 | 2xx (open) | 1, 2, 4 min (open) |
//!
//! "Open" is what the papers leave open and what is done here. A minute of the last column lasts
//! `callback_minute_ms`. Each try is signed anew.

mod driver;
mod mailbox;
mod newsroom;
mod story;
mod vendors;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::common::pairs::encoded;
use super::{Credentials, SimError};

pub(super) use driver::{Driver, Post};
pub(super) use newsroom::{Newsroom, Teller, Vendors};
pub use story::{Fate, Story};

/// What became of a vendor's pushes since the start; also in the body of `GET /_sim/callbacks`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Callbacks {
    /// Pushes made, duplicates included: the sum of `acknowledged`, `given_up` and those that wait.
    pub made: u64,
    /// Tries, whatever came of them.
    pub sent: u64,
    /// Pushes that met the literal answer.
    pub acknowledged: u64,
    /// Tries that met another answer or none.
    pub refused: u64,
    /// Pushes that are not tried any more, or never were because too many waited.
    pub given_up: u64,
}

/// How one vendor tells of calls.
#[derive(Debug)]
pub struct Herald {
    /// Its word.
    pub word: &'static str,
    /// What is pushed of a step of a call.
    pub tell: fn(&Story, Told, &Account) -> Vec<Notice>,
    /// A notice as it is sent.
    pub prove: fn(&Notice, &Account, &Stamp) -> Request,
    /// Which answer counts.
    pub success: Success,
    /// Seconds between the tries of an event, and of a bill.
    pub again_s: [&'static [u64]; 2],
}

/// All heralds.
pub static HERALDS: [&Herald; 8] = [
    &vendors::aliyun::HERALD,
    &vendors::huawei::HERALD,
    &vendors::itniotech::HERALD,
    &vendors::plivo::HERALD,
    &vendors::tencent::HERALD,
    &vendors::twilio::HERALD,
    &vendors::vcc::HERALD,
    &vendors::volcengine::HERALD,
];

/// A step of a call that may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It came in and goes on.
    Started,
    /// The phone rings.
    Ringing,
    /// It is answered.
    Answered,
    /// It is over.
    Ended,
    /// It is over, and this is what it costs.
    Bill,
}

impl Told {
    /// The word for the log.
    pub fn word(self) -> &'static str {
        match self {
            Told::Started => "started",
            Told::Ringing => "ringing",
            Told::Answered => "answered",
            Told::Ended => "ended",
            Told::Bill => "bill",
        }
    }
}

/// One push before it is proved.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// What it tells.
    pub told: Told,
    /// What it says.
    pub content: Content,
}

/// The fields of a push.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// As JSON.
    Json(Value),
    /// As a form.
    Form(Vec<(&'static str, String)>),
}

impl Notice {
    /// JSON.
    pub fn json(told: Told, value: Value) -> Notice {
        let content = Content::Json(value);
        Notice { told, content }
    }

    /// The last word of its address.
    pub fn place(&self) -> &'static str {
        match self.told {
            Told::Bill => "bills",
            _ => "events",
        }
    }

    /// Its fields as they are sent, and their `Content-Type`.
    pub fn body(&self) -> (String, &'static str) {
        match &self.content {
            Content::Json(value) => (value.to_string(), "application/json;charset=UTF-8"),
            Content::Form(pairs) => {
                let pairs = pairs
                    .iter()
                    .map(|(n, v)| format!("{}={}", encoded(n), encoded(v)));
                let body = pairs.collect::<Vec<_>>().join("&");
                (body, "application/x-www-form-urlencoded")
            }
        }
    }
}

/// Who is told, and by which credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// The application's key.
    pub key: String,
    /// Its secret.
    pub secret: String,
    /// The end of the address where nothing else proves the sender; may be empty.
    pub token: String,
    /// The address before `/events` and `/bills`.
    pub url: String,
    /// What a minute between tries lasts, in milliseconds.
    pub minute_ms: u64,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("key", &self.key)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Account {
    /// The customer of an application, if he wants to be told.
    pub fn of(credentials: &Credentials) -> Option<Account> {
        let url = credentials.callback_url.trim_end_matches('/');
        (!url.is_empty()).then(|| Account {
            key: credentials.app_key.clone(),
            secret: credentials.app_secret.clone(),
            token: credentials.callback_secret.clone(),
            url: url.to_owned(),
            minute_ms: credentials.callback_minute_ms.clamp(1, 60_000),
        })
    }

    /// Where a notice goes.
    pub fn address(&self, notice: &Notice) -> String {
        format!("{}/{}", self.url, notice.place())
    }
}

/// The moment of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Unix milliseconds.
    pub now_ms: u64,
    /// 20 digits, another one for each try.
    pub nonce: String,
}

/// A `POST` as it goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The whole address.
    pub url: String,
    /// Headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
}

impl Request {
    /// A notice at an address without any proof in it.
    pub fn of(notice: &Notice, url: String) -> Request {
        let (body, content_type) = notice.body();
        Request {
            url,
            headers: vec![("Content-Type", content_type.to_owned())],
            body,
        }
    }
}

/// Proof by the end of the address, for those who sign nothing that is known.
fn by_address(notice: &Notice, account: &Account, _: &Stamp) -> Request {
    let mut url = account.address(notice);
    if !account.token.is_empty() {
        url = format!("{url}/{}", encoded(&account.token));
    }
    Request::of(notice, url)
}

/// The answer by which a platform knows that it was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Success {
    /// 200 and nothing else.
    Empty,
    /// 200 and JSON with the integer 0 as `code`.
    CodeZero,
    /// 200, whatever it says.
    Status200,
    /// Any 2xx.
    Status2xx,
}

impl Success {
    /// Whether an answer is it.
    pub fn is(self, status: u16, body: &[u8]) -> bool {
        match self {
            Success::Empty => status == 200 && body.is_empty(),
            Success::CodeZero => {
                let said: Option<Value> = serde_json::from_slice(body).ok();
                status == 200 && said.is_some_and(|said| said["code"] == 0)
            }
            Success::Status200 => status == 200,
            Success::Status2xx => (200..300).contains(&status),
        }
    }
}

/// A vendor's herald and the customer it speaks to, with what came of it.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) teller: Teller,
    pub(super) counts: Callbacks,
}

impl Desk {
    /// That of a vendor whose configuration names an address.
    ///
    /// # Errors
    /// When the vendor pushes nothing, or there is no such address.
    pub(super) fn open(
        word: &'static str,
        credentials: &Credentials,
    ) -> Result<Option<Desk>, SimError> {
        let Some(account) = Account::of(credentials) else {
            return Ok(None);
        };
        let herald = HERALDS.into_iter().find(|herald| herald.word == word);
        let herald = herald.ok_or(SimError::NoCallbacks(word))?;
        let host = account.url.strip_prefix("http://");
        if host.is_none_or(str::is_empty) {
            let (vendor, url) = (word, account.url);
            return Err(SimError::CallbackUrl { vendor, url });
        }
        Ok(Some(Desk {
            teller: Teller {
                herald,
                account: Arc::new(account),
            },
            counts: Callbacks::default(),
        }))
    }
}
