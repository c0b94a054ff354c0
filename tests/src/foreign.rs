//! Another user of the platform's account: binds and unbinds directly at the simulator, signing its own requests.
//!
//! Also a reading of the vendor's page that shares no line with the switch's.

use crate::http;
use crate::platform::Platform;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

const KEY: &str = "sample-app-key";
const SECRET: &str = "sample-app-secret";
const PATH: &str = "/huawei/rest/caas/relationnumber/partners/v1.0";

impl Platform {
    /// Binds (A,X,B) behind the switch's back and answers the platform's id.
    #[track_caller]
    pub fn bind_directly(&self, a: &str, x: &str, b: &str) -> String {
        let body = json!({
            "callerNum": e164(a), "relationNum": e164(x), "calleeNum": e164(b),
        });
        let answer = self.signed("POST", PATH, Some(&body.to_string()));
        let id = answer["subscriptionId"].as_str();
        id.unwrap_or_else(|| panic!("bound directly: {answer}"))
            .to_owned()
    }

    /// Takes a binding away behind the switch's back.
    #[track_caller]
    pub fn unbind_directly(&self, id: &str) {
        let answer = self.signed("DELETE", &format!("{PATH}?subscriptionId={id}"), None);
        assert_eq!(answer["resultcode"], "0", "unbound directly: {answer}");
    }

    /// Takes every binding away behind the switch's back.
    #[track_caller]
    pub fn forget_bindings(&self) {
        for row in self.table().iter().filter(|row| row["mode"] != "ax") {
            self.unbind_directly(row["bind_id"].as_str().expect("every row has an id"));
        }
    }

    fn signed(&self, method: &str, path: &str, body: Option<&str>) -> Value {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("the clock stands after 1970");
        let nonce = format!(
            "{:016x}{:016x}",
            now.as_nanos() as u64,
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let created = utc(now.as_secs());
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())
            .expect("hmac takes a key of any length");
        mac.update(format!("{nonce}{created}").as_bytes());
        let digest = STANDARD.encode(mac.finalize().into_bytes());
        let token = format!(
            r#"UsernameToken Username="{KEY}",PasswordDigest="{digest}",Nonce="{nonce}",Created="{created}""#
        );
        let scheme = r#"AKSK realm="SDP",profile="UsernameToken",type="Appkey""#;
        let headers = [("Authorization", scheme), ("X-AKSK", token.as_str())];
        let response =
            http::send(self.at, method, path, &headers, body).unwrap_or_else(|e| panic!("{e}"));
        serde_json::from_str(&response.body)
            .unwrap_or_else(|e| panic!("{method} {path}: {e}: {response:?}"))
    }
}

/// A number as the platform wants it.
fn e164(number: &str) -> String {
    format!("+86{}", number.trim_start_matches('0'))
}

/// `yyyy-MM-ddTHH:mm:ssZ`.
fn utc(secs: u64) -> String {
    let (mut days, of_day) = (secs / 86_400, secs % 86_400);
    let leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [
        31,
        28 + u64::from(leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!(
        "{year:04}-{month:02}-{:02}T{:02}:{:02}:{:02}Z",
        days + 1,
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_platform_reads_them() {
        for (secs, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_795_299_889, "2026-11-21T22:24:49Z"),
        ] {
            assert_eq!(utc(secs), text);
        }
    }
}
