//! AX mode: X is given to one A, and the callee of A's calls to X is named for a while.
//!
//! What the documentation leaves open is decided so: a callee without `duration` ends after a
//! minute, one may be asked for up to a day, a call does not use it up, and an A with five X is
//! refused with 1012008.

use serde_json::json;

use super::fields::{Fields, Refused, e164, missing, pair, query_pairs};
use super::{Huawei, success};
use crate::numbers::from_e164;
use crate::sim::relations::{Callee, Conflict, Relation};
use crate::sim::vendor::{Answer, Call, Entry};

const CALLEE_S: u64 = 60;
const CALLEE_MAX_S: u64 = 86_400;

impl Entry {
    fn of_relation(op: &'static str, id: &str, relation: &Relation, applied: bool) -> Entry {
        Entry {
            op,
            a: from_e164(&relation.a),
            x: from_e164(&relation.x),
            b: String::new(),
            bind_id: id.to_owned(),
            applied,
        }
    }
}

impl Huawei {
    pub(super) fn ax_bind(
        &mut self,
        call: &Call,
        now_ms: u64,
        other_x: Option<&str>,
    ) -> Result<Answer, Refused> {
        let fields = Fields::read(call, BIND_FIELDS)?;
        let a = fields
            .number("origNum")?
            .ok_or_else(|| missing("origNum"))?;
        let area = fields.text("areaCode", 32)?;
        fields.choice("privateNumType", &["mobile-virtual"])?;
        let display = fields.choice("calleeNumDisplay", &["0", "1"])?;
        let direction = fields.whole("callDirection", 2)?.unwrap_or(0);
        fields.common()?;
        let mut x = match (fields.number("privateNum")?, area) {
            (Some(x), _) => x,
            (None, Some(_)) => self.free_x(|x| x != a && self.relations.of_x(x).is_none())?,
            (None, None) => return Err(missing("privateNum or areaCode")),
        };
        self.own("privateNum", &x)?;
        if let Some(other) = other_x {
            other.clone_into(&mut x);
        }
        if a == x {
            return Err(Refused::field("origNum, privateNum", "must differ"));
        }
        let relation = Relation {
            a,
            x,
            caller_shown: display.as_deref() == Some("1"),
            direction: u8::try_from(direction).unwrap_or(0),
            max_duration_min: fields.whole("maxDuration", 1440)?.unwrap_or(0),
            user_data: fields.text("userData", 256)?.unwrap_or_default(),
            recorded: fields.text("recordFlag", 5)?.as_deref() == Some("true"),
            since_ms: now_ms,
            callee: None,
        };
        let id = self
            .relations
            .insert(relation.clone())
            .map_err(refused_by_table)?;
        let body = json!({
            "resultcode": "0",
            "resultdesc": "Success",
            "origNum": relation.a,
            "privateNum": relation.x,
            "subscriptionId": id,
        });
        let entry = Entry::of_relation("ax_bind", &id, &relation, true);
        Ok(success(&body, vec![entry]))
    }

    pub(super) fn ax_unbind(&mut self, call: &Call) -> Result<Answer, Refused> {
        let query = query_pairs(call.query, &["subscriptionId", "origNum", "privateNum"])?;
        let id = if let Some(id) = pair(&query, "subscriptionId") {
            Some(id.to_owned())
        } else {
            let number = |name| e164(name, pair(&query, name).ok_or_else(|| missing(name))?);
            let (a, x) = (number("origNum")?, number("privateNum")?);
            let found = self.relations.of_x(&x);
            found
                .filter(|(_, relation)| relation.a == a)
                .map(|(id, _)| id.to_owned())
        };
        let id = id.ok_or_else(gone)?;
        let relation = self.relations.remove(&id).ok_or_else(gone)?;
        let body = json!({"resultcode": "0", "resultdesc": "Success"});
        let entry = Entry::of_relation("ax_unbind", &id, &relation, true);
        Ok(success(&body, vec![entry]))
    }

    pub(super) fn set_callee(&mut self, call: &Call, now_ms: u64) -> Result<Answer, Refused> {
        let fields = Fields::read(call, CALLEE_FIELDS)?;
        // A is accepted and ignored.
        fields.text("origNum", 32)?;
        let b = fields
            .number("calleeNum")?
            .ok_or_else(|| missing("calleeNum"))?;
        let lasts_s = match fields.whole("duration", CALLEE_MAX_S)? {
            None | Some(0) => CALLEE_S,
            Some(seconds) => seconds,
        };
        fields.text("userData", 256)?;
        let id = match (
            fields.text("subscriptionId", 64)?,
            fields.number("privateNum")?,
        ) {
            (Some(id), _) => id,
            (None, Some(x)) => {
                let (id, _) = self.relations.of_x(&x).ok_or_else(gone)?;
                id.to_owned()
            }
            (None, None) => return Err(missing("subscriptionId or privateNum")),
        };
        let relation = self.relations.get(&id).ok_or_else(gone)?;
        if b == relation.a || b == relation.x {
            return Err(Refused::field("calleeNum", "is A or X itself"));
        }
        let callee = Callee {
            b,
            until_ms: now_ms + lasts_s * 1000,
        };
        let b = from_e164(&callee.b);
        let relation = self.relations.name(&id, callee).ok_or_else(gone)?;
        let mut entry = Entry::of_relation("set_callee", &id, relation, true);
        entry.b = b;
        let body = json!({"resultcode": "0", "resultdesc": "Success"});
        Ok(success(&body, vec![entry]))
    }

    pub(super) fn ax_query(&mut self, call: &Call) -> Result<Answer, Refused> {
        let query = query_pairs(call.query, &["subscriptionId", "origNum", "privateNum"])?;
        let number = |name| pair(&query, name).map(|n| e164(name, n)).transpose();
        let (a, x) = (number("origNum")?, number("privateNum")?);
        let mut found: Vec<(&str, &Relation)> = Vec::new();
        if let Some(id) = pair(&query, "subscriptionId") {
            found.extend(self.relations.get(id).map(|relation| (id, relation)));
        } else if let Some(x) = &x {
            found.extend(self.relations.of_x(x));
        } else if let Some(a) = &a {
            found.extend(self.relations.of_a(a));
        } else {
            return Err(missing("subscriptionId, origNum or privateNum"));
        }
        if let Some(a) = &a {
            found.retain(|(_, relation)| relation.a == *a);
        }
        let (id, first) = found.first().ok_or_else(gone)?;
        let entry = Entry::of_relation("query", id, first, false);
        let list: Vec<_> = found
            .iter()
            .map(|(id, relation)| {
                json!({
                    "subscriptionId": id,
                    "origNum": relation.a,
                    "privateNum": relation.x,
                    "privateNumType": "mobile-virtual",
                    "calleeNumDisplay": if relation.caller_shown { "1" } else { "0" },
                    "callDirection": relation.direction,
                    "maxDuration": relation.max_duration_min,
                    "userData": relation.user_data,
                })
            })
            .collect();
        let body = json!({
            "resultcode": "0",
            "resultdesc": "Success",
            "privateNumList": list,
        });
        Ok(success(&body, vec![entry]))
    }
}

const BIND_FIELDS: &[&str] = &[
    "origNum",
    "privateNum",
    "privateNumType",
    "areaCode",
    "calleeNumDisplay",
    "callDirection",
    "recordFlag",
    "recordHintTone",
    "privateSms",
    "maxDuration",
    "lastMinVoice",
    "preVoice",
    "userData",
];

const CALLEE_FIELDS: &[&str] = &[
    "subscriptionId",
    "origNum",
    "privateNum",
    "calleeNum",
    "duration",
    "userData",
];

fn gone() -> Refused {
    Refused("1016001", "record does not exist".into())
}

fn refused_by_table(conflict: Conflict) -> Refused {
    let (code, text) = match conflict {
        Conflict::Exists => ("1016002", "this record exists already"),
        Conflict::OtherA => ("1011005", "privateNum is allocated to another origNum"),
        Conflict::Full => ("1012008", "origNum has the most privateNum already"),
    };
    Refused(code, text.into())
}
