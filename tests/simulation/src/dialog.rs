//! One leg as its far end has it: the dialog, and the requests of the switch that are answered within it.

use std::net::SocketAddr;

use crate::message::{Message, finish, host_of, uri_of};

/// Pauses between repeats of what has not been answered (RFC 3261 §17.1.2.2, §13.3.1.4), milliseconds.
pub fn pause(repeat: u32) -> u64 {
    500_u64.saturating_mul(1 << repeat.min(3))
}

/// A repeat is given up after so long.
pub const GIVE_UP_MS: u64 = 32_000;

/// A dialog.
#[derive(Clone, Debug)]
pub struct Dialog {
    /// Our own address.
    pub at: SocketAddr,
    pub call_id: String,
    /// From of what we send, tag included.
    pub local: String,
    pub tag: String,
    /// To of what we send.
    pub remote: String,
    /// Where the other side wants to be reached.
    pub target: String,
    pub routes: Vec<String>,
    pub cseq: u32,
    /// The highest number heard of the other side.
    pub heard: u32,
    /// Makes branches.
    pub branches: u32,
    /// Our description.
    pub sdp: String,
    pub takes_update: bool,
}

impl Dialog {
    /// Contact and what we can do.
    pub fn contact(&self) -> String {
        let update = if self.takes_update { ", UPDATE" } else { "" };
        format!(
            "Contact: <sip:p@{}>\r\nAllow: INVITE, ACK, BYE, CANCEL, OPTIONS{update}\r\n",
            self.at
        )
    }

    /// The next branch of ours.
    pub fn branch(&mut self) -> String {
        self.branches += 1;
        format!("z9hG4bK{}-{}-{}", self.tag, self.cseq, self.branches)
    }

    /// A request within the dialog and where it goes.
    pub fn request(&mut self, method: &str, cseq: u32) -> (SocketAddr, String) {
        let branch = self.branch();
        let mut text = format!(
            "{method} {} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch={branch};rport\r\nMax-Forwards: 70\r\n",
            self.target, self.at
        );
        for route in &self.routes {
            text.push_str(&format!("Route: {route}\r\n"));
        }
        text.push_str(&format!(
            "From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n",
            self.local, self.remote, self.call_id
        ));
        let first = self.routes.first().map(|route| uri_of(route));
        let to = host_of(first.unwrap_or(&self.target)).unwrap_or(self.at);
        (to, finish(text, ""))
    }

    /// Notes the other side of a dialog that a response has made or changed.
    pub fn answered(&mut self, response: &Message) {
        self.remote = response.get("to").to_owned();
        self.routes = response.all("record-route").map(str::to_owned).collect();
        self.routes.reverse();
        self.retarget(response);
    }

    /// The other side is reached somewhere else from now on.
    pub fn retarget(&mut self, message: &Message) {
        let contact = message.get("contact");
        if !contact.is_empty() {
            self.target = uri_of(contact).to_owned();
        }
    }

    /// Whether a request of the other side comes for the first time and in order.
    pub fn is_next(&mut self, request: &Message) -> bool {
        let next = request.cseq() > self.heard;
        self.heard = self.heard.max(request.cseq());
        next
    }
}
