//! The envelope of answers: a code and a text, and what is answered beside them or under a name.

use serde_json::{Map, Value};

use super::{Answer, Entry, Refused, served};

/// How a vendor wraps its answers.
#[derive(Clone, Copy, Debug)]
pub struct Envelope {
    /// Names of code and text.
    pub names: [&'static str; 2],
    /// The code of success.
    pub ok: &'static str,
    /// Whether codes are integers.
    pub whole: bool,
    /// The name of what is answered; empty: it stands beside the code.
    pub data: &'static str,
    /// The code that comes with HTTP 401; all others come with 200.
    pub unauthorized: &'static str,
}

impl Envelope {
    /// `code` and `message` with integers, what is answered in `data`.
    pub const PLAIN: Envelope = Envelope {
        names: ["code", "message"],
        ok: "0",
        whole: true,
        data: "data",
        unauthorized: "",
    };

    /// What is answered stands beside a code that is a text.
    pub const fn beside(names: [&'static str; 2], ok: &'static str) -> Envelope {
        Envelope {
            names,
            ok,
            whole: false,
            data: "",
            unauthorized: "",
        }
    }

    /// A served request's answer.
    pub fn ok(&self, said: Value, entry: Entry) -> Answer {
        let mut body = match said {
            Value::Object(map) if self.data.is_empty() => map,
            said => {
                let mut body = Map::new();
                if !self.data.is_empty() {
                    body.insert(self.data.to_owned(), said);
                }
                body
            }
        };
        self.write(&mut body, self.ok, "success");
        served(self.ok, &Value::Object(body), entry)
    }

    /// A refusal.
    pub fn refuse(&self, refused: &Refused) -> Answer {
        let mut body = Map::new();
        self.write(&mut body, &refused.code, &refused.text);
        let unauthorized = !self.unauthorized.is_empty() && refused.code == self.unauthorized;
        Answer {
            status: if unauthorized { 401 } else { 200 },
            body: Value::Object(body).to_string(),
            ..Answer::default()
        }
    }

    /// An integer where codes are some and this one is one.
    fn write(&self, body: &mut Map<String, Value>, code: &str, text: &str) {
        let [code_name, text_name] = self.names;
        let whole = code.parse::<i64>().ok().filter(|_| self.whole);
        let code = whole.map_or_else(|| Value::from(code), Value::from);
        body.insert(code_name.to_owned(), code);
        body.insert(text_name.to_owned(), text.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_are_wrapped_as_the_vendor_wraps_them() {
        let beside = Envelope {
            unauthorized: "401",
            ..Envelope::beside(["result", "text"], "000")
        };
        for (envelope, ok, refused, status) in [
            (
                Envelope::PLAIN,
                json!({"code": 0, "message": "success", "data": {"x": 1}}),
                json!({"code": 401, "message": "no"}),
                200,
            ),
            (
                beside,
                json!({"result": "000", "text": "success", "x": 1}),
                json!({"result": "401", "text": "no"}),
                401,
            ),
        ] {
            let read = |answer: &Answer| serde_json::from_str::<Value>(&answer.body).unwrap();
            let answer = envelope.ok(json!({"x": 1}), Entry::default());
            assert_eq!((read(&answer), answer.status), (ok, 200));
            let answer = envelope.refuse(&Refused::new("401", "no"));
            assert_eq!((read(&answer), answer.status), (refused, status));
        }
    }
}
