//! Single calls that last until the test ends them, and calls that are only tried.

use crate::sipp::{Running, Sipp};
use crate::switch::Switch;
use crate::wait::eventually;
use std::net::Ipv4Addr;
use std::time::Duration;

/// How a tried call went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered (and hung up by the customer).
    Answered,
    /// It was refused with this status; the text of its Reason header, empty without one.
    Refused(u16, String),
}

impl Outcome {
    /// Asserts a refusal with this status and reason.
    #[track_caller]
    pub fn is(&self, status: u16, reason: &str) {
        match self {
            Outcome::Refused(seen, text) if *seen == status && text.contains(reason) => {}
            other => panic!("wanted {status} {reason}, not {other:?}"),
        }
    }

    /// Asserts an answer.
    #[track_caller]
    pub fn is_answered(&self) {
        assert_eq!(*self, Outcome::Answered);
    }
}

/// One call that talks until [`Talk::end`].
#[derive(Debug)]
pub struct Talk<'s> {
    switch: &'s Switch,
    customer: Running,
    callee: String,
}

impl<'s> Talk<'s> {
    /// Places a call through node `node` and waits until it is answered.
    #[track_caller]
    pub fn start(switch: &'s Switch, node: u8, caller: &str, callee: &str) -> Talk<'s> {
        Talk::from(switch, Ipv4Addr::LOCALHOST, node, caller, callee)
    }

    /// As [`Talk::start`], from another loopback address.
    #[track_caller]
    pub fn from(
        switch: &'s Switch,
        ip: Ipv4Addr,
        node: u8,
        caller: &str,
        callee: &str,
    ) -> Talk<'s> {
        let talk = Talk::ring(switch, ip, node, caller, callee);
        talk.answered();
        talk
    }

    /// Places a call and does not wait.
    #[track_caller]
    pub fn ring(
        switch: &'s Switch,
        ip: Ipv4Addr,
        node: u8,
        caller: &str,
        callee: &str,
    ) -> Talk<'s> {
        let numbers = vec![(caller.to_owned(), callee.to_owned())];
        let customer = Sipp::customer(
            "customer_hears_bye",
            switch.own_port(),
            switch.sip(node),
            numbers,
        )
        .from_ip(ip)
        .start(switch.dir());
        Talk {
            switch,
            customer,
            callee: callee.to_owned(),
        }
    }

    /// Waits for the answer.
    #[track_caller]
    pub fn answered(&self) {
        eventually(
            &format!("the call to {} is answered", self.callee),
            Duration::from_secs(10),
            || match self.customer.lines("ANSWERED").len() {
                1 => Ok(()),
                _ => Err("not yet".to_owned()),
            },
        );
    }

    /// The switch hangs up, as an operator asks it to, and the customer must see a well-formed end.
    #[track_caller]
    pub fn end(self) {
        let api = self.switch.api(1);
        let id = eventually("the call is listed", Duration::from_secs(5), || {
            let calls = api.list("calls");
            let call = calls
                .iter()
                .find(|call| call["callee_access"] == *self.callee);
            call.map(crate::api::id).ok_or_else(|| format!("{calls:?}"))
        });
        api.call("POST", &format!("calls/{id}/hangup"), None);
        self.customer.finish(Duration::from_secs(10)).all_good(1);
    }
}

/// Places one call through node `node` and hangs up as soon as it is answered.
#[track_caller]
pub fn try_call(switch: &Switch, node: u8, caller: &str, callee: &str) -> Outcome {
    try_from(switch, Ipv4Addr::LOCALHOST, node, caller, callee)
}

/// As [`try_call`], from another loopback address.
#[track_caller]
pub fn try_from(switch: &Switch, ip: Ipv4Addr, node: u8, caller: &str, callee: &str) -> Outcome {
    let numbers = vec![(caller.to_owned(), callee.to_owned())];
    let customer = Sipp::customer("customer_any", switch.own_port(), switch.sip(node), numbers)
        .from_ip(ip)
        .pause(50)
        .start(switch.dir())
        .finish(Duration::from_secs(20));
    assert_eq!(customer.failed(), 0, "{}", customer.errors());
    match customer.lines("REFUSED").first() {
        Some(line) => Outcome::Refused(
            line.words[2].parse().expect("the scenario logs a status"),
            line.words[3..].join(" "),
        ),
        None => {
            assert_eq!(customer.logged("ANSWERED"), 1, "{}", customer.errors());
            Outcome::Answered
        }
    }
}
