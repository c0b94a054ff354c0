//! Questions: platforms that store nothing and ask us for each call.
//!
//! A definition with `bind = "local"` has no operations. Our own state is the table of its
//! bindings, and `[questions.NAME]` says how the platform asks who is to be called: how it proves
//! that it is the sender, where the caller and X stand, how soon it must be answered, and the
//! answer's form for a callee, for no callee and for a proof that is missing. In goes a request as
//! it came; out come its numbers in our notation ([`Plan::question`]), and with what the switch
//! found, the answer ([`Plan::answer`]).
//!
//! This part knows no binding and keeps nothing.

mod load;

#[cfg(test)]
mod tests;

use super::callback::{CallbackError, CallbackRequest, Reply};
use super::callback::{Door, Given, Heard, Pointer, Received};
use super::compile::{CALLEE, Known};
use super::program::{Eval, Program, Values, unbuildable};
use super::read::stored;
use super::value::{Kind, Node, Value};
use super::{NOWHERE, Plan};
use crate::exchange::{Attempt, Method};
use crate::outcome::Failure;

pub(super) use load::{Wanted, nothing_is_sent, questions};

/// Largest body of a question that is read, in bytes. The known ones have some 200.
pub const QUESTION_BODY_MAX: usize = 16_384;
/// Longest number in any notation, name of a call, keyed digits, in bytes.
const TEXT_MAX: usize = 256;
/// A platform that says nothing is answered within so many milliseconds.
const WITHIN_MS: u64 = 3_000;

/// One question that a platform asks.
#[derive(Debug)]
pub struct Question {
    /// The last word of its address.
    pub name: String,
    /// What it is, for people who enter its address at the platform.
    pub help: String,
    /// How it is sent.
    pub method: Method,
    door: Door,
    /// How long the platform waits, in milliseconds.
    within: Option<Node>,
    a: Vec<Pointer>,
    x: Vec<Pointer>,
    call_id: Vec<Pointer>,
    digits: Vec<Pointer>,
    connect: Form,
    refuse: Form,
    refuse_proof: Reply,
}

/// An answer with holes.
#[derive(Debug)]
struct Form {
    status: u16,
    content_type: String,
    program: Program,
}

/// What a platform asks: who is called when `a` calls `x`? Numbers in our notation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The caller. What is no number, as of an anonymous one, is kept as it is.
    pub a: String,
    /// The platform's number that was called.
    pub x: String,
    /// The platform's name of the call.
    pub call_id: Option<String>,
    /// What the caller has keyed.
    pub digits: Option<String>,
    /// How long the platform waits for the answer, in milliseconds.
    pub within_ms: u64,
}

/// The callee of a question. A number in our notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Callee<'a> {
    /// Who is to be called; sees X.
    pub b: &'a str,
    /// Our id of the binding.
    pub own_id: &'a str,
    /// How long the call may last, in seconds; `None`: no limit of ours.
    pub limit_s: Option<u32>,
}

/// What only an answer's expressions may speak of.
pub(super) fn roots<'a>(found: bool) -> impl Iterator<Item = &'a str> {
    let always = ["a", "x", "call_id", "digits", "nonce"].into_iter();
    let known = ["b", "own_id", "limit_s"].into_iter();
    always.chain(known.filter(move |_| found))
}

/// The value of a name that only an answer has, and what is known of it.
pub(super) fn given(names: &[String], found: bool) -> Option<(Node, Known)> {
    let [name] = names else {
        return None;
    };
    let text = || Known::of(Kind::Text);
    Some(match name.as_str() {
        "a" => (Node::A, Known::of(Kind::Number)),
        "x" => (Node::X, Known::of(Kind::Number)),
        "b" if found => (Node::B, Known::of(Kind::Number).reading(CALLEE)),
        "own_id" if found => (Node::OwnId, text()),
        "call_id" => (Node::Given(Given::CallId), text().optional()),
        "digits" => (Node::Given(Given::Digits), text().optional()),
        "limit_s" if found => {
            let known = Known::of(Kind::Integer).optional();
            (Node::Given(Given::LimitS), known)
        }
        _ => return None,
    })
}

impl Plan {
    /// Whether the platform asks us for each call, and is never asked anything.
    pub fn asks(&self) -> bool {
        self.definition.policy.asks
    }

    /// The questions that its definition knows.
    pub fn questions(&self) -> &'static [Question] {
        &self.definition.questions
    }

    fn question_named(&self, name: &str) -> Option<&'static Question> {
        self.questions()
            .iter()
            .find(|question| question.name == name)
    }

    /// The literal answer to a question without proof.
    pub(super) fn refuse_proof(&self, name: &str) -> Option<&'static Reply> {
        self.question_named(name)
            .map(|question| &question.refuse_proof)
    }

    /// Whether this is the name of a question, and not of a call-back.
    pub fn has_question(&self, name: &str) -> bool {
        self.question_named(name).is_some()
    }

    /// Reads a question: its proof first, then its numbers.
    ///
    /// # Errors
    /// Every way in which it cannot be taken; [`Plan::refuse_question`] is the answer then.
    pub fn question(
        &self,
        name: &str,
        request: &CallbackRequest<'_>,
    ) -> Result<Asked, CallbackError> {
        let question = self
            .question_named(name)
            .ok_or_else(|| self.unknown_callback(name))?;
        let malformed = |why: String| CallbackError::Malformed {
            name: question.name.clone(),
            why,
        };
        let text = question.door.text(request)?;
        let received = Received::new(request, text, question.door.body);
        question.door.prove(&received, &self.params)?;
        let record = received.record().map_err(malformed)?;
        let text = |places: &[Pointer]| {
            let found = places.iter().find_map(|place| place.text(record));
            let fits = |text: &str| text.len() <= TEXT_MAX && !text.chars().any(char::is_control);
            match found {
                Some(text) if !fits(&text) => Err(malformed("a text in it is none".to_owned())),
                found => Ok(found.map(std::borrow::Cow::into_owned)),
            }
        };
        let number = |places: &[Pointer], what: &str| {
            let missing = || malformed(format!("it does not say {what}"));
            text(places)?
                .map(|number| stored(number.trim()))
                .ok_or_else(missing)
        };
        let within = question.within.as_ref().and_then(|within| {
            let (values, attempt) = (Values::default(), at(request.now_ms, ""));
            let program = &question.door.program;
            let eval = Eval::new(program, &self.params, &NOWHERE, &values, &attempt);
            match eval.value(within) {
                Ok(Value::Integer(ms)) => u64::try_from(ms).ok(),
                _ => None,
            }
        });
        Ok(Asked {
            a: number(&question.a, "who calls")?,
            x: number(&question.x, "which number is called")?,
            call_id: text(&question.call_id)?,
            digits: text(&question.digits)?,
            within_ms: within.unwrap_or(WITHIN_MS),
        })
    }

    /// The answer to a question that [`Plan::question`] has read: whom to call, or nobody. `nonce`
    /// is used where the answer's form has one.
    ///
    /// # Errors
    /// When the definition's form cannot say this, as for a number that is none.
    pub fn answer(
        &self,
        name: &str,
        request: &CallbackRequest<'_>,
        asked: &Asked,
        callee: Option<Callee<'_>>,
        nonce: &str,
    ) -> Result<Reply, Failure> {
        let Some(question) = self.question_named(name) else {
            return Err(unbuildable("question", "there is no such question"));
        };
        let form = match callee {
            Some(_) => &question.connect,
            None => &question.refuse,
        };
        let values = Values {
            a: &asked.a,
            x: &asked.x,
            b: callee.map_or("", |callee| callee.b),
            own_id: callee.map_or("", |callee| callee.own_id),
            ..Values::default()
        };
        let heard = Heard {
            call_id: asked.call_id.as_deref(),
            digits: asked.digits.as_deref(),
            limit_s: callee.and_then(|callee| callee.limit_s),
        };
        // It was read before, so it can be read.
        let text = question.door.text(request).unwrap_or_default();
        let received = Received::new(request, text, question.door.body).hearing(heard);
        let attempt = at(request.now_ms, nonce);
        let eval = Eval::new(&form.program, &self.params, &NOWHERE, &values, &attempt);
        let body = eval.receiving(&received).body()?;
        Ok(Reply {
            status: form.status,
            content_type: form.content_type.clone(),
            body,
        })
    }

    /// The literal answer to a question that cannot be taken.
    pub fn refuse_question(&self, name: &str, error: &CallbackError) -> Reply {
        let Some(question) = self.question_named(name) else {
            return Reply::plain(404);
        };
        let refused = |status| Reply {
            status,
            ..question.refuse_proof.clone()
        };
        match error {
            CallbackError::Unknown { .. } => Reply::plain(404),
            CallbackError::Method { .. } => refused(405),
            CallbackError::TooLarge { .. } => refused(413),
            CallbackError::Malformed { .. } => refused(400),
            CallbackError::Unconfigured { .. }
            | CallbackError::Unproved { .. }
            | CallbackError::Stale { .. } => question.refuse_proof.clone(),
        }
    }
}

fn at(now_ms: u64, nonce: &str) -> Attempt {
    Attempt {
        now_ms,
        nonce: nonce.to_owned(),
    }
}
