//! SIP as people's phones speak it here: written and read by hand, so that it shares no code with the switch.

use std::net::SocketAddr;

/// A message, its header names in lower case.
#[derive(Clone, Debug)]
pub struct Message {
    /// Request line or status line.
    pub start: String,
    /// In their order.
    pub headers: Vec<(String, String)>,
    /// The description, or nothing.
    pub body: String,
}

impl Message {
    /// Reads what the switch or the platform sent; `None` for what is no message.
    pub fn read(bytes: &[u8]) -> Option<Message> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let start = lines.next()?.to_owned();
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        };
        let headers = lines.map(header).collect::<Option<Vec<_>>>()?;
        Some(Message {
            start,
            headers,
            body: body.to_owned(),
        })
    }

    /// The first value of a header.
    pub fn get<'m>(&'m self, name: &'m str) -> &'m str {
        self.all(name).next().unwrap_or_default()
    }

    /// All values of a header, in their order.
    pub fn all<'m>(&'m self, name: &'m str) -> impl Iterator<Item = &'m str> {
        let named = self.headers.iter().filter(move |(known, _)| known == name);
        named.map(|(_, value)| value.as_str())
    }

    /// The status of a response.
    pub fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// The method: of a request its own, of a response that of its CSeq.
    pub fn method(&self) -> &str {
        match self.status() {
            Some(_) => self.get("cseq").split(' ').nth(1).unwrap_or_default(),
            None => self.start.split(' ').next().unwrap_or_default(),
        }
    }

    /// The number in CSeq.
    pub fn cseq(&self) -> u32 {
        let number = self.get("cseq").split(' ').next().unwrap_or_default();
        number.parse().unwrap_or_default()
    }

    /// The request's target.
    pub fn uri(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// Whose call a description speaks of, as the caller wrote it.
    pub fn mark(&self) -> Option<&str> {
        self.body
            .lines()
            .find_map(|line| line.strip_prefix("a=x-sim:"))
    }

    /// An answer to this request.
    pub fn answer(&self, status: &str, tag: &str, extra: &str, body: &str) -> String {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for (name, value) in &self.headers {
            let line = match name.as_str() {
                "via" => format!("Via: {value}\r\n"),
                "record-route" if !extra.is_empty() => format!("Record-Route: {value}\r\n"),
                "from" => format!("From: {value}\r\n"),
                "to" if param(value, "tag").is_none() => format!("To: {value};tag={tag}\r\n"),
                "to" => format!("To: {value}\r\n"),
                "call-id" => format!("Call-ID: {value}\r\n"),
                "cseq" => format!("CSeq: {value}\r\n"),
                _ => continue,
            };
            text.push_str(&line);
        }
        text.push_str(extra);
        finish(text, body)
    }
}

/// Ends a message.
pub fn finish(mut head: String, body: &str) -> String {
    if !body.is_empty() {
        head.push_str("Content-Type: application/sdp\r\n");
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    head
}

/// A parameter of a header value.
pub fn param<'v>(value: &'v str, name: &str) -> Option<&'v str> {
    let params = value.rsplit_once('>').map_or(value, |(_, params)| params);
    let mut params = params.split(';').skip(1);
    params.find_map(|one| {
        let (known, value) = one.split_once('=')?;
        (known.trim() == name).then(|| value.trim())
    })
}

/// The address between angle brackets, or the value without parameters.
pub fn uri_of(value: &str) -> &str {
    match value.split_once('<') {
        Some((_, rest)) => rest.split('>').next().unwrap_or_default(),
        None => value.split(';').next().unwrap_or_default(),
    }
}

/// The user part of an address.
pub fn user_of(uri: &str) -> &str {
    let rest = uri.strip_prefix("sip:").unwrap_or(uri);
    rest.split_once('@').map_or("", |(user, _)| user)
}

/// Where an address leads.
pub fn host_of(uri: &str) -> Option<SocketAddr> {
    let rest = uri.strip_prefix("sip:").unwrap_or(uri);
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = host.split([';', '?']).next().unwrap_or_default();
    match host.contains(':') {
        true => host.parse().ok(),
        false => format!("{host}:5060").parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let text = "INVITE sip:b@10.0.0.1:5060;transport=udp SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z1;rport\r\n\
                    From: <sip:a@h>;tag=f\r\nTo: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 7 INVITE\r\n\r\na=x-sim:3-0\r\n";
        let message = Message::read(text.as_bytes()).expect("a message");
        assert_eq!((message.method(), message.cseq()), ("INVITE", 7));
        assert_eq!(message.mark(), Some("3-0"));
        assert_eq!(host_of(message.uri()), "10.0.0.1:5060".parse().ok());
        assert_eq!(user_of(uri_of(message.get("from"))), "a");
        let answer = message.answer("200 OK", "t", "Contact: <sip:b@p>\r\n", "v=0\r\n");
        let answer = Message::read(answer.as_bytes()).expect("an answer");
        assert_eq!((answer.status(), answer.method()), (Some(200), "INVITE"));
        assert_eq!(param(answer.get("to"), "tag"), Some("t"));
        assert_eq!(answer.get("content-length"), "5");
    }
}
