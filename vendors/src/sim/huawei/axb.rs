//! AXB mode: bindings of A, X and B. One X carries many, but a number appears once per X.

use serde_json::{Value, json};

use super::fields::{Fields, Refused, e164, missing, pair, query_pairs};
use super::{DURATION_MAX_S, Huawei, success};
use crate::sim::table::{Conflict, Row};
use crate::sim::vendor::{Answer, Call, Entry};

impl Huawei {
    pub(super) fn bind(
        &mut self,
        call: &Call,
        now_ms: u64,
        other_x: Option<&str>,
    ) -> Result<Answer, Refused> {
        let fields = Fields::read(call, BIND_FIELDS)?;
        let a = fields
            .number("callerNum")?
            .ok_or_else(|| missing("callerNum"))?;
        let b = callee(&fields)?.ok_or_else(|| missing("calleeNum"))?;
        let area = fields.text("areaCode", 32)?;
        let x = fields.number("relationNum")?;
        let duration_s = fields.whole("duration", DURATION_MAX_S)?.unwrap_or(0);
        let direction = fields.whole("callDirection", 2)?.unwrap_or(0);
        fields.common()?;
        let mut row = Row {
            a,
            b,
            direction: u8::try_from(direction).unwrap_or(0),
            max_duration_min: fields.whole("maxDuration", 1440)?.unwrap_or(0),
            user_data: fields.text("userData", 256)?.unwrap_or_default(),
            recorded: fields.text("recordFlag", 5)?.as_deref() == Some("true"),
            since_ms: now_ms,
            expires_ms: (duration_s > 0).then(|| now_ms + duration_s * 1000),
            ..Row::default()
        };
        row.x = match (x, area) {
            (Some(x), _) => x,
            (None, Some(_)) => {
                let taken = |x: &str, user| self.table.find(x, user).is_some();
                self.free_x(|x| !taken(x, &row.a) && !taken(x, &row.b))?
            }
            (None, None) => return Err(missing("relationNum or areaCode")),
        };
        unlike(&row)?;
        self.own("relationNum", &row.x)?;
        if let Some(other) = other_x {
            row.x = other.to_owned();
            unlike(&row)?;
        }
        let id = self
            .table
            .insert(row.clone())
            .map_err(|conflict| refused_by_table(&conflict))?;
        let body = json!({
            "resultcode": "0",
            "resultdesc": "Success",
            "subscriptionId": id,
            "relationNum": row.x,
            "callDirection": row.direction,
            "duration": duration_s,
            "maxDuration": row.max_duration_min,
        });
        let entry = Entry::of("bind", &id, &row, true);
        Ok(success(&body, vec![entry]))
    }

    pub(super) fn unbind(&mut self, call: &Call) -> Result<Answer, Refused> {
        let query = query_pairs(call.query, &["subscriptionId", "relationNum"])?;
        let ids: Vec<String> = if let Some(id) = pair(&query, "subscriptionId") {
            if id.is_empty() || id.len() > 64 {
                return Err(Refused::field("subscriptionId", "must have 1 to 64 bytes"));
            }
            vec![id.to_owned()]
        } else if let Some(x) = pair(&query, "relationNum") {
            let x = e164("relationNum", x)?;
            let on_x = self.table.on_x(&x);
            on_x.into_iter().map(|(id, _)| id.to_owned()).collect()
        } else {
            return Err(missing("subscriptionId or relationNum"));
        };
        let entries: Vec<Entry> = ids
            .iter()
            .filter_map(|id| Some(Entry::of("unbind", id, &self.table.remove(id)?, true)))
            .collect();
        if entries.is_empty() {
            return Err(gone());
        }
        let body = json!({"resultcode": "0", "resultdesc": "Success"});
        Ok(success(&body, entries))
    }

    pub(super) fn modify(&mut self, call: &Call, now_ms: u64) -> Result<Answer, Refused> {
        let fields = Fields::read(call, MODIFY_FIELDS)?;
        let id = fields
            .text("subscriptionId", 64)?
            .filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| missing("subscriptionId"))?;
        fields.common()?;
        let mut row = self.table.get(&id).cloned().ok_or_else(gone)?;
        if let Some(a) = fields.number("callerNum")? {
            row.a = a;
        }
        if let Some(b) = callee(&fields)? {
            row.b = b;
        }
        if let Some(direction) = fields.whole("callDirection", 2)? {
            row.direction = u8::try_from(direction).unwrap_or(0);
        }
        if let Some(minutes) = fields.whole("maxDuration", 1440)? {
            row.max_duration_min = minutes;
        }
        // The lifetime starts again at the change.
        if let Some(duration_s) = fields.whole("duration", DURATION_MAX_S)? {
            row.expires_ms = (duration_s > 0).then(|| now_ms + duration_s * 1000);
        }
        unlike(&row)?;
        let entry = Entry::of("modify", &id, &row, true);
        self.table
            .replace(&id, row)
            .map_err(|conflict| refused_by_table(&conflict))?;
        let body = json!({"resultcode": "0", "resultdesc": "Success"});
        Ok(success(&body, vec![entry]))
    }

    pub(super) fn query(&mut self, call: &Call) -> Result<Answer, Refused> {
        let known = [
            "subscriptionId",
            "relationNum",
            "callerNum",
            "calleeNum",
            "pageIndex",
            "pageSize",
        ];
        let query = query_pairs(call.query, &known)?;
        let page = |name, least: usize, most: usize, default: usize| match pair(&query, name) {
            None => Ok(default),
            Some(text) => match text.parse() {
                Ok(number) if (least..=most).contains(&number) => Ok(number),
                _ => Err(Refused::field(name, &format!("is not {least} to {most}"))),
            },
        };
        let page_index = page("pageIndex", 1, 1_000_000, 1)?;
        let page_size = page("pageSize", 10, 100, 50)?;
        let mut found: Vec<(String, Row)> = Vec::new();
        if let Some(id) = pair(&query, "subscriptionId") {
            found.extend(self.table.get(id).map(|row| (id.to_owned(), row.clone())));
        } else if let Some(x) = pair(&query, "relationNum") {
            let x = e164("relationNum", x)?;
            let number = |name| pair(&query, name).map(|n| e164(name, n)).transpose();
            let (a, b) = (number("callerNum")?, number("calleeNum")?);
            let narrowed = self.table.on_x(&x).into_iter().filter(|(_, row)| {
                a.as_ref().is_none_or(|a| *a == row.a) && b.as_ref().is_none_or(|b| *b == row.b)
            });
            found.extend(narrowed.map(|(id, row)| (id.to_owned(), row.clone())));
        } else {
            return Err(missing("subscriptionId or relationNum"));
        }
        if found.is_empty() {
            return Err(gone());
        }
        let list: Vec<Value> = found
            .iter()
            .skip((page_index - 1) * page_size)
            .take(page_size)
            .map(|(id, row)| {
                json!({
                    "subscriptionId": id,
                    "relationNum": row.x,
                    "callerNum": row.a,
                    "calleeNum": row.b,
                    "callDirection": row.direction,
                    "maxDuration": row.max_duration_min,
                    "userData": row.user_data,
                })
            })
            .collect();
        let body = json!({
            "resultcode": "0",
            "resultdesc": "Success",
            "totalCount": found.len(),
            "relationNumList": list,
        });
        let (id, row) = &found[0];
        let entry = Entry::of("query", id, row, false);
        Ok(success(&body, vec![entry]))
    }
}

const BIND_FIELDS: &[&str] = &[
    "callerNum",
    "calleeNum",
    "relationNum",
    "areaCode",
    "areaMatchMode",
    "callDirection",
    "duration",
    "recordFlag",
    "recordHintTone",
    "maxDuration",
    "lastMinVoice",
    "privateSms",
    "preVoice",
    "userData",
];

const MODIFY_FIELDS: &[&str] = &[
    "subscriptionId",
    "callerNum",
    "calleeNum",
    "callDirection",
    "duration",
    "maxDuration",
    "lastMinVoice",
    "privateSms",
    "recordFlag",
    "preVoice",
];

/// B, where there is one: the vendor takes neither 400 nor 95 numbers into a binding.
fn callee(fields: &Fields) -> Result<Option<String>, Refused> {
    let number = fields.number("calleeNum")?;
    let national = number.as_deref().and_then(|n| n.strip_prefix("+86"));
    let service =
        |n: &str| (n.len() == 10 && n.starts_with("400")) || (n.len() <= 8 && n.starts_with("95"));
    if national.is_some_and(service) {
        let text = "must not be a 400 or 95 number";
        return Err(Refused::field("calleeNum", text));
    }
    Ok(number)
}

fn unlike(row: &Row) -> Result<(), Refused> {
    if row.a == row.b || row.a == row.x || row.b == row.x {
        return Err(Refused::field(
            "callerNum, calleeNum, relationNum",
            "must differ",
        ));
    }
    Ok(())
}

fn gone() -> Refused {
    Refused("1012007", "binding does not exist".into())
}

fn refused_by_table(conflict: &Conflict) -> Refused {
    match conflict {
        Conflict::Full => Refused("1012008", "number resources are exhausted".into()),
        _ => {
            let text = "relationNum has a binding with callerNum or calleeNum already";
            Refused("1012010", text.into())
        }
    }
}
