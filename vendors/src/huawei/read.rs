//! Reading the platform's answers. Strings and integers compare equal when their text is equal,
//! since both occur in the wild. Success is HTTP 200 and `resultcode` 0, never one of them alone.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::{DESCRIPTION, SUBSCRIPTION_ID};
use crate::description::{Auth, Verdict};
use crate::exchange::Response;
use crate::numbers::from_e164;
use crate::outcome::{
    AxBind, Bind, BindOutcome, Class, Failure, Handle, Held, Page, QueryOutcome, SetCalleeOutcome,
    UnbindOutcome, bounded,
};

/// Longest id that is taken as one.
const ID_MAX: usize = 256;

/// An answer that is not success, judged.
struct Refusal {
    failure: Failure,
    gone: bool,
}

/// Reads the answer to a bind; `asked` names the X that an answer without one speaks of. The second
/// value says what the answer tells about our credentials.
pub fn read_bind(response: &Response, asked: &Bind) -> (BindOutcome, Auth) {
    bound(response, "relationNum", &asked.x)
}

/// Reads the answer to giving X to A; otherwise as [`read_bind`].
pub fn read_ax_bind(response: &Response, asked: &AxBind) -> (BindOutcome, Auth) {
    bound(response, "privateNum", &asked.x)
}

fn bound(response: &Response, x_field: &str, asked_x: &str) -> (BindOutcome, Auth) {
    let body = match success(response) {
        Ok(body) => body,
        Err((refusal, auth)) => return (BindOutcome::Failed(refusal.failure), auth),
    };
    let id = text(&body, SUBSCRIPTION_ID).filter(|id| is_id(id));
    let Some(id) = id else {
        // It says bound but not under which id: only a query can find it again.
        let failure = unreadable(response, "success without a subscriptionId");
        return (BindOutcome::Failed(failure), Auth::Fine);
    };
    let x = text(&body, x_field)
        .filter(|x| !x.is_empty() && x.len() <= 32)
        .map_or_else(|| from_e164(asked_x), |x| from_e164(&x));
    let outcome = BindOutcome::Bound {
        handle: handle(&id),
        x,
        raw: bounded(String::from_utf8_lossy(&response.body).into_owned()),
    };
    (outcome, Auth::Fine)
}

/// Reads the answer to an unbind of either kind.
pub fn read_unbind(response: &Response) -> (UnbindOutcome, Auth) {
    match success(response) {
        Ok(_) => (UnbindOutcome::Released, Auth::Fine),
        Err((refusal, auth)) if refusal.gone => (UnbindOutcome::AlreadyGone, auth),
        Err((refusal, auth)) => (UnbindOutcome::Failed(refusal.failure), auth),
    }
}

/// Reads the answer to naming a callee.
pub fn read_set_callee(response: &Response) -> (SetCalleeOutcome, Auth) {
    match success(response) {
        Ok(_) => (SetCalleeOutcome::Set, Auth::Fine),
        Err((refusal, auth)) => (SetCalleeOutcome::Failed(refusal.failure), auth),
    }
}

/// Reads the answer to a query. Records without an id are left out; a record that names no number
/// of a kind gets the one that was asked for.
pub fn read_query(response: &Response, asked: &Bind) -> (QueryOutcome, Auth) {
    let (page, auth) = read_page(response, asked);
    let outcome = match page {
        Err(failure) => QueryOutcome::Failed(failure),
        Ok(page) if page.rows == 0 => QueryOutcome::None,
        Ok(page) if page.held.is_empty() => {
            QueryOutcome::Failed(unreadable(response, "no record has a subscriptionId"))
        }
        Ok(page) => QueryOutcome::Found(page.held),
    };
    (outcome, auth)
}

/// Reads one page of the answer to a query for all of X. "No such record" is an empty page.
pub fn read_page(response: &Response, asked: &Bind) -> (Result<Page, Failure>, Auth) {
    let read = records(response, "relationNumList", |record, handle| Held {
        handle,
        a: number(record, "callerNum", &asked.a),
        x: number(record, "relationNum", &asked.x),
        b: number(record, "calleeNum", &asked.b),
    });
    match read {
        Ok(page) => (Ok(page), Auth::Fine),
        Err((refusal, auth)) if refusal.gone => (Ok(Page::empty()), auth),
        Err((refusal, auth)) => (Err(refusal.failure), auth),
    }
}

/// Reads the answer to a query for X or for A. Relations of other numbers than those asked for are
/// none: that X is given to somebody else says the next bind.
pub fn read_ax_query(response: &Response, asked: &AxBind) -> (QueryOutcome, Auth) {
    let read = records(response, "privateNumList", |record, handle| Held {
        handle,
        a: number(record, "origNum", &asked.a),
        x: number(record, "privateNum", &asked.x),
        b: String::new(),
    });
    let page = match read {
        Ok(page) => page,
        Err((refusal, auth)) if refusal.gone => return (QueryOutcome::None, auth),
        Err((refusal, auth)) => return (QueryOutcome::Failed(refusal.failure), auth),
    };
    if page.rows > 0 && page.held.is_empty() {
        let failure = unreadable(response, "no record has a subscriptionId");
        return (QueryOutcome::Failed(failure), Auth::Fine);
    }
    let wanted = |asked: &str, told: &str| asked.is_empty() || from_e164(asked) == told;
    let mut held = page.held;
    held.retain(|held| wanted(&asked.a, &held.a) && wanted(&asked.x, &held.x));
    let outcome = if held.is_empty() {
        QueryOutcome::None
    } else {
        QueryOutcome::Found(held)
    };
    (outcome, Auth::Fine)
}

/// The records of a list, each with its handle; those without an id are left out.
fn records(
    response: &Response,
    list: &str,
    mut held: impl FnMut(&Value, Handle) -> Held,
) -> Result<Page, (Refusal, Auth)> {
    let body = success(response)?;
    let records = match body.get(list) {
        Some(Value::Array(records)) => records.as_slice(),
        None | Some(Value::Null) => &[],
        Some(_) => {
            let failure = unreadable(response, &format!("{list} is no list"));
            let gone = false;
            return Err((Refusal { failure, gone }, Auth::Fine));
        }
    };
    let with_id = records.iter().filter_map(|record| {
        let id = text(record, SUBSCRIPTION_ID).filter(|id| is_id(id))?;
        Some(held(record, handle(&id)))
    });
    Ok(Page {
        held: with_id.collect(),
        rows: records.len(),
        total: text(&body, "totalCount").and_then(|total| total.parse().ok()),
    })
}

/// A record's number in our notation, or the one that was asked for.
fn number(record: &Value, field: &str, asked: &str) -> String {
    match text(record, field) {
        Some(number) => from_e164(&number),
        None => from_e164(asked),
    }
}

fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= ID_MAX
}

/// The body of a success, or the judged refusal.
fn success(response: &Response) -> Result<Value, (Refusal, Auth)> {
    let body: Option<Value> = serde_json::from_slice(&response.body).ok();
    let code = body.as_ref().and_then(|b| text(b, "resultcode"));
    let refuse = |failure, verdict: Verdict| {
        let gone = verdict.gone;
        Err((Refusal { failure, gone }, verdict.auth))
    };
    match (response.status, code) {
        (200, Some(code)) if code == DESCRIPTION.success => {
            Ok(body.expect("a code was read from it"))
        }
        (200..=299, None) => Err((
            Refusal {
                failure: unreadable(response, "answer without resultcode"),
                gone: false,
            },
            Auth::Fine,
        )),
        (status, None) => {
            let verdict = DESCRIPTION.verdict(status, None);
            let words = String::from_utf8_lossy(&response.body).into_owned();
            let mut failure = Failure::new(verdict.class, format!("http {status}"), words);
            failure.wait_ms = verdict.wait_ms;
            refuse(failure, verdict)
        }
        (status, Some(code)) if code == DESCRIPTION.success => {
            // Success in the body under another status contradicts itself.
            let failure = Failure::new(Class::Unknown, format!("http {status}"), "resultcode 0");
            let verdict = Verdict {
                class: Class::Unknown,
                wait_ms: None,
                auth: Auth::Fine,
                gone: false,
            };
            refuse(failure, verdict)
        }
        (status, Some(code)) => {
            let verdict = DESCRIPTION.verdict(status, Some(&code));
            let words = body.as_ref().and_then(|b| text(b, "resultdesc"));
            let words = words.map(Cow::into_owned).unwrap_or_default();
            let code: String = code.chars().take(64).collect();
            let mut failure = Failure::new(verdict.class, code, words);
            failure.wait_ms = verdict.wait_ms;
            refuse(failure, verdict)
        }
    }
}

fn unreadable(response: &Response, what: &str) -> Failure {
    let start = String::from_utf8_lossy(&response.body[..response.body.len().min(200)]);
    let text = format!("{what}: http {} {start}", response.status);
    Failure::new(Class::Unknown, "unreadable", text)
}

/// A field as text, whether it was sent as text or as a whole number.
fn text<'a>(value: &'a Value, field: &str) -> Option<Cow<'a, str>> {
    match value.get(field)? {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

fn handle(id: &str) -> Handle {
    BTreeMap::from([(SUBSCRIPTION_ID.to_owned(), id.to_owned())])
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::damage::damaged;

    fn asked() -> Bind {
        Bind {
            a: "02100000000".into(),
            x: "17000000000".into(),
            b: "13900000001".into(),
            own_id: String::new(),
        }
    }

    fn response(status: u16, body: &[u8]) -> Response {
        Response {
            status,
            body: Bytes::copy_from_slice(body),
        }
    }

    #[test]
    fn damaged_answers_are_read_without_panic_and_bounded() {
        let bound: &[u8] = b"{\"resultcode\":\"0\",\"resultdesc\":\"Success\",\"subscriptionId\":\"s-1\",\"relationNum\":\"+8617000000000\"}";
        let list: &[u8] = b"{\"resultcode\":0,\"totalCount\":\"1\",\"relationNumList\":[{\"subscriptionId\":1,\"callerNum\":\"+862100000000\"}]}";
        let refusal: &[u8] = b"{\"resultcode\":\"1012007\",\"resultdesc\":\"gone\"}";
        let relations: &[u8] = b"{\"resultcode\":\"0\",\"privateNumList\":[{\"subscriptionId\":\"s\",\"origNum\":\"+862100000000\",\"privateNum\":\"+8617000000000\"}]}";
        damaged(&[bound, list, refusal, relations], 20_000, |body| {
            for status in [200, 403, 500] {
                let response = response(status, body);
                if let (BindOutcome::Bound { handle, raw, x }, _) = read_bind(&response, &asked()) {
                    assert_eq!(status, 200);
                    assert!(!handle[SUBSCRIPTION_ID].is_empty());
                    assert!(raw.len() <= crate::outcome::RAW_MAX && !x.is_empty());
                }
                let _ = read_unbind(&response);
                let relation = AxBind {
                    a: String::new(),
                    x: asked().x,
                    own_id: String::new(),
                };
                let _ = read_ax_bind(&response, &relation);
                let _ = read_set_callee(&response);
                let _ = read_page(&response, &asked());
                if let (QueryOutcome::Found(held), _) = read_ax_query(&response, &relation) {
                    assert!(!held.is_empty());
                }
                if let (QueryOutcome::Found(held), _) = read_query(&response, &asked()) {
                    assert!(!held.is_empty());
                }
            }
        });
    }

    #[test]
    fn gone_is_success_for_unbind_and_none_for_query_but_no_bind() {
        for code in ["1012007", "1016001"] {
            let body = format!("{{\"resultcode\":\"{code}\"}}");
            let response = response(404, body.as_bytes());
            assert_eq!(read_unbind(&response).0, UnbindOutcome::AlreadyGone);
            assert_eq!(read_query(&response, &asked()).0, QueryOutcome::None);
            let BindOutcome::Failed(failure) = read_bind(&response, &asked()).0 else {
                panic!("bound");
            };
            assert_eq!(failure.class, Class::NotFound);
        }
    }

    #[test]
    fn pages_tell_how_many_rows_there_are() {
        let row = r#"{"subscriptionId":"s","callerNum":"+862100000000"}"#;
        for (body, held, rows, total) in [
            ("{\"resultcode\":\"1012007\"}".to_owned(), 0, 0, None),
            ("{\"resultcode\":\"0\"}".to_owned(), 0, 0, None),
            (
                format!(
                    "{{\"resultcode\":\"0\",\"totalCount\":7,\"relationNumList\":[{row},{{}}]}}"
                ),
                1,
                2,
                Some(7),
            ),
            (
                format!(
                    "{{\"resultcode\":\"0\",\"totalCount\":\"7\",\"relationNumList\":[{row}]}}"
                ),
                1,
                1,
                Some(7),
            ),
            (
                format!("{{\"resultcode\":\"0\",\"totalCount\":-1,\"relationNumList\":[{row}]}}"),
                1,
                1,
                None,
            ),
        ] {
            let page = read_page(&response(200, body.as_bytes()), &asked())
                .0
                .unwrap();
            assert_eq!(
                (page.held.len(), page.rows, page.total),
                (held, rows, total),
                "{body}"
            );
        }
    }

    #[test]
    fn relations_of_other_numbers_are_not_what_was_asked_for() {
        let body = b"{\"resultcode\":\"0\",\"privateNumList\":[{\"subscriptionId\":\"s\",\"origNum\":\"+862100000000\",\"privateNum\":\"+8617000000000\"}]}";
        for (a, x, found) in [
            ("02100000000", "17000000000", true),
            ("+862100000000", "", true),
            ("", "17000000000", true),
            ("02100000001", "17000000000", false),
            ("02100000000", "17000000001", false),
        ] {
            let asked = AxBind {
                a: a.into(),
                x: x.into(),
                own_id: String::new(),
            };
            let (outcome, _) = read_ax_query(&response(200, body), &asked);
            match outcome {
                QueryOutcome::Found(held) => {
                    assert!(found, "{a} {x}");
                    assert_eq!(held[0].a, "02100000000");
                    assert_eq!(
                        (held[0].x.as_str(), held[0].b.as_str()),
                        ("17000000000", "")
                    );
                }
                other => assert!(!found && other == QueryOutcome::None, "{a} {x}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_status_other_than_200_is_never_success() {
        for status in [201, 204, 302, 403, 500] {
            let body = b"{\"resultcode\":\"0\",\"subscriptionId\":\"s\"}";
            let UnbindOutcome::Failed(failure) = read_unbind(&response(status, body)).0 else {
                panic!("released at {status}");
            };
            assert_eq!(failure.class, Class::Unknown);
        }
    }
}
