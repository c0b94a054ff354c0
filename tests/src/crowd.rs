//! A crowd of customers whose calls are held while nodes come and go, and what its far ends and the records say of each
//! call in the end. The customers are those of `customer_stays.xml`: they try the next node when one is silent or refuses.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Sipp;
use crate::checks::Load;
use crate::platform::{Life, plain};
use crate::records::Record;
use crate::sipp::{Finished, Line, Running, numbers};

/// What clocks, datagrams and a copy of BYE every half second may add between the switch and its far ends.
pub const APART_SECS: f64 = 1.0;

/// Customers and their phone, at work.
#[derive(Debug)]
pub struct Crowd {
    dir: PathBuf,
    ip: Ipv4Addr,
    phone: Running,
    customers: Vec<(Vec<u8>, Running)>,
    /// Numbers used so far.
    used: u64,
}

/// Calls that begin at one node.
#[derive(Clone, Debug)]
pub struct Share {
    /// The port that they come from.
    pub port: u16,
    /// The nodes in the order in which they are tried, with where they take calls.
    pub nodes: Vec<(u8, SocketAddr)>,
    /// So many calls.
    pub calls: usize,
    /// So many a second.
    pub rate: u32,
    /// Each is held so long, and up to 3 s longer.
    pub hold_secs: u32,
}

impl Crowd {
    /// A phone at `ip`:`port`, and nobody who calls it yet.
    #[track_caller]
    pub fn gather(dir: &Path, ip: Ipv4Addr, port: u16) -> Crowd {
        let phone = Sipp::phone("phone_stays", port)
            .from_ip(ip)
            .patience(600_000)
            .steady()
            .start(dir);
        Crowd {
            dir: dir.to_owned(),
            ip,
            phone,
            customers: Vec::new(),
            used: 0,
        }
    }

    /// More customers.
    pub fn join(&mut self, share: &Share) {
        let from = self.used;
        self.used += share.calls as u64;
        let numbers = numbers(15_900_000_000 + from, 13_800_000_000 + from, share.calls);
        let (order, sip): (Vec<u8>, Vec<SocketAddr>) = share.nodes.iter().copied().unzip();
        // The second, the third, and the first again.
        let next = sip.iter().cycle().skip(1).take(3);
        let fields: String = next
            .map(|at| format!(";{};{}", at.ip(), at.port()))
            .collect();
        let customer = Sipp::customer("customer_stays", share.port, sip[0], numbers)
            .from_ip(self.ip)
            .fields(format!("{fields};{}", share.hold_secs))
            .rate(share.rate, 1_000)
            .steady()
            .start(&self.dir);
        self.customers.push((order, customer));
    }

    /// How often the customers have logged this.
    pub fn count(&self, verb: &str) -> usize {
        let lines = |(_, running): &(_, Running)| running.lines(verb).len();
        self.customers.iter().map(lines).sum()
    }

    /// Waits until every call is over, and tells what became of each.
    #[track_caller]
    pub fn disperse(self, limit: Duration) -> Vec<Call> {
        let mut calls = BTreeMap::new();
        for (order, customer) in self.customers {
            let customer = customer.finish(limit);
            // Each came at a moment when its call waited for nothing; whether one was missed is seen by what was logged.
            println!(
                "node {}: its customers heard between two steps: {:?}",
                order[0],
                customer.dropped()
            );
            from_customer(&mut calls, &order, &customer);
        }
        // A copy of the last BYE may still be on its way.
        std::thread::sleep(Duration::from_secs(1));
        let phone = self.phone.stop();
        println!("the phone heard between two steps: {:?}", phone.dropped());
        from_phone(&mut calls, &phone);
        calls.into_values().collect()
    }
}

/// A call as the phone saw it; seconds since 1970.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ring {
    /// When it answered.
    pub answered: Option<f64>,
    /// When it heard that its answer had come through.
    pub acked: Option<f64>,
    /// When it heard BYE.
    pub ended: Option<f64>,
    /// When it gave up an answer that nobody acknowledged.
    pub lost: Option<f64>,
}

/// A call as its far ends saw it; seconds since 1970.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// Its number without a leading 0.
    pub callee: String,
    order: Vec<u8>,
    /// The customer's first INVITE.
    pub sent: f64,
    /// When it went on to the next node, and the status that it had been refused with or 0.
    pub nexts: Vec<(f64, u16)>,
    /// When it heard the answer.
    pub answered: Option<f64>,
    /// How often it was told of another node.
    pub moved: usize,
    /// When it hung up, and when that was answered with what.
    pub leaves: Option<f64>,
    /// See `leaves`.
    pub ended: Option<(f64, u16)>,
    /// Requests within a dialog whose answer it had not heard.
    pub strange: usize,
    /// Requests that met its BYE.
    pub crossed: usize,
    /// Answers, copies of them too, of nodes that it had left for another one.
    pub twice: usize,
    /// What must not be: the switch hung up, every node refused, BYE was not answered.
    pub faults: Vec<&'static str>,
    /// What the phone saw of it, by its own count of calls: several when several nodes tried.
    pub rings: BTreeMap<String, Ring>,
}

const FAULTS: [(&str, &str); 3] = [
    ("DROPPED", "dropped by the switch"),
    ("GIVENUP", "refused or ignored by every node"),
    ("UNHEARD", "BYE without an answer"),
];

fn from_customer(calls: &mut BTreeMap<String, Call>, order: &[u8], customer: &Finished) {
    for line in customer.lines("SENT") {
        let call = Call {
            callee: plain(line.callee()),
            order: order.to_vec(),
            sent: line.at,
            ..Call::default()
        };
        calls.insert(call.callee.clone(), call);
    }
    let mut each = |verb: &str, note: &dyn Fn(&mut Call, &Line)| {
        for line in customer.lines(verb) {
            let call = calls.get_mut(&plain(line.callee()));
            note(call.expect("it was sent before"), &line);
        }
    };
    let status = |line: &Line| line.words[2].parse().expect("the scenario logs a status");
    each("NEXT", &|call, line| {
        call.nexts.push((line.at, status(line)));
    });
    each("ANSWERED", &|call, line| call.answered = Some(line.at));
    each("MOVED", &|call, _| call.moved += 1);
    each("LEAVES", &|call, line| {
        call.leaves.get_or_insert(line.at);
    });
    each("ENDED", &|call, line| {
        call.ended = Some((line.at, status(line)));
    });
    each("STRANGE", &|call, _| call.strange += 1);
    each("CROSSED", &|call, _| call.crossed += 1);
    each("TWICE", &|call, _| call.twice += 1);
    for (verb, fault) in FAULTS {
        each(verb, &|call, line| match call.leaves {
            // Crossed its own BYE, and is an answer to it.
            Some(left) if verb == "DROPPED" && line.at >= left => {
                call.crossed += 1;
                call.ended.get_or_insert((line.at, 481));
            }
            _ => call.faults.push(fault),
        });
    }
}

fn from_phone(calls: &mut BTreeMap<String, Call>, phone: &Finished) {
    let mut each = |verb: &str, note: &dyn Fn(&mut Ring, f64)| {
        for line in phone.lines(verb) {
            // Probes ring it too.
            if let Some(call) = calls.get_mut(&plain(line.callee())) {
                let ring = call.rings.entry(line.words[2].clone()).or_default();
                note(ring, line.at);
            }
        }
    };
    each("INVITE", &|_, _| {});
    each("ANSWER", &|ring, at| ring.answered = Some(at));
    each("ACKED", &|ring, at| ring.acked = Some(at));
    // The first of several copies.
    each("HUNGUP", &|ring, at| {
        ring.ended.get_or_insert(at);
    });
    each("LOST", &|ring, at| ring.lost = Some(at));
}

impl Call {
    /// The node that was tried first.
    pub fn first_node(&self) -> u8 {
        self.order[0]
    }

    /// How long the customer waited for the answer.
    pub fn waited(&self) -> Option<f64> {
        self.answered.map(|answered| answered - self.sent)
    }

    /// Both talk at this moment.
    pub fn talks_at(&self, moment: f64) -> bool {
        let over = self.leaves.unwrap_or(f64::INFINITY);
        self.answered
            .is_some_and(|answered| answered <= moment && moment < over)
    }

    /// The node that had its INVITE at this moment; `None` when it was not in set-up.
    pub fn set_up_at(&self, moment: f64) -> Option<u8> {
        let over = self.answered.unwrap_or(f64::INFINITY);
        if moment < self.sent || moment >= over {
            return None;
        }
        let tries = self.nexts.iter().filter(|(at, _)| *at <= moment).count();
        Some(self.order[tries % self.order.len()])
    }
}

/// How new calls fared in a stretch of time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Served {
    /// Calls that began in it.
    pub placed: usize,
    /// Those that were answered in the end.
    pub answered: usize,
    /// Those that were answered by the node that they tried first.
    pub at_once: usize,
    /// The longest that one waited for its answer, in seconds.
    pub longest: f64,
}

impl Served {
    /// Of calls sent between two moments to these nodes first.
    pub fn between(calls: &[Call], from: f64, until: f64, nodes: &[u8]) -> Served {
        let mut served = Served::default();
        for call in calls {
            if call.sent < from || call.sent >= until || !nodes.contains(&call.first_node()) {
                continue;
            }
            served.placed += 1;
            if let Some(waited) = call.waited() {
                served.answered += 1;
                served.at_once += usize::from(call.nexts.is_empty());
                served.longest = served.longest.max(waited);
            }
        }
        served
    }
}

/// What the checks of a crowd found, for the table.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Calls that were answered, as their customers saw it.
    pub answered: usize,
    /// Customers told of another node.
    pub moved: usize,
    /// BYEs that waited more than a second, towards a node that was dead.
    pub late_byes: usize,
    /// The longest that a BYE waited.
    pub longest_bye: f64,
    /// Calls whose customer hung up while another node took them over, and had to tell it so.
    pub crossed: usize,
    /// Answers that the switch knows and the customer never heard: its node died in between.
    pub unheard_answers: usize,
    /// Attempts that ended without an answer.
    pub attempts: usize,
    /// Calls that two nodes answered; the second answer was hung up at once.
    pub twice: usize,
    /// Answers of the phone that nobody acknowledged.
    pub unacknowledged: usize,
    /// The largest difference between a record's talk and a far end's.
    pub apart: f64,
    /// The longest that a phone with such a talk waited for ACK: an answer is acknowledged once it is replicated.
    pub longest_ack: f64,
}

/// No answered call was lost: each ended when its customer hung up, each BYE was answered, its phone heard of it, and it
/// has one record, which says how long both talked. A customer who hung up towards a dead node, and says so to the node
/// that took its call over, pays until its node was last heard: at most `unseen_secs` before.
#[track_caller]
pub fn none_lost(calls: &[Call], load: &Load, unseen_secs: f64) -> Findings {
    let mut faults = Vec::new();
    let mut found = Findings::default();
    let mut by_callee: BTreeMap<String, Vec<&Record>> = BTreeMap::new();
    for cdr in load.cdrs.values() {
        let callee = plain(cdr.text("callee"));
        by_callee.entry(callee).or_default().push(cdr);
    }
    for call in calls {
        for fault in &call.faults {
            faults.push(format!("{fault}: {call:?}"));
        }
        let open = |ring: &&Ring| ring.answered.is_some() && ring.ended.or(ring.lost).is_none();
        if call.rings.values().any(|ring| open(&ring)) {
            faults.push(format!("its phone was left alone: {call:?}"));
        }
        let lost = call.rings.values().filter(|ring| ring.lost.is_some());
        found.unacknowledged += lost.count();
        found.twice += usize::from(call.twice > 0);
        let none = Vec::new();
        let rows = by_callee.get(&call.callee).unwrap_or(&none);
        let (talks, tries): (Vec<&Record>, Vec<&Record>) = rows
            .iter()
            .partition(|cdr| cdr.time("answered_at").is_some());
        found.attempts += tries.len();
        let Some(answered) = call.answered else {
            found.unheard_answers += talks.len();
            continue;
        };
        found.answered += 1;
        found.moved += usize::from(call.moved > 0);
        let (Some(leaves), Some((ended, status))) = (call.leaves, call.ended) else {
            faults.push(format!("lost: {call:?}"));
            continue;
        };
        // Its own record is the one that tells of its talk; a second answer of another node was hung up at once.
        let off = |began: f64, end: f64| (began - answered).abs() + (end - leaves).abs();
        let own = talks.iter().copied().min_by(|a, b| {
            let off = |cdr: &Record| off(secs(cdr, "answered_at"), secs(cdr, "ended_at"));
            off(a).total_cmp(&off(b))
        });
        let Some(own) = own else {
            faults.push(format!("no record of its talk: {call:?} {rows:?}"));
            continue;
        };
        found.unheard_answers += talks.len() - 1;
        let waited = ended - leaves;
        found.longest_bye = found.longest_bye.max(waited);
        let (began, end) = (secs(own, "answered_at"), secs(own, "ended_at"));
        let talk = end - began;
        let crossed = status == 481 || call.crossed > 0;
        // Its end is known by the answer to BYE, which a dead node's address may hold up. Of a call that was taken over
        // meanwhile the new owner learns only that it has gone, and ends it when its node was last heard.
        let (least, most) = match crossed {
            true => (leaves - unseen_secs, ended),
            false => (leaves, ended),
        };
        found.crossed += usize::from(crossed);
        found.late_byes += usize::from(waited > APART_SECS);
        let ring = call
            .rings
            .values()
            .filter_map(|ring| Some((ring.answered?, ring.acked, ring.ended.or(ring.lost)?)))
            .min_by(|a, b| {
                let off =
                    |ring: &(f64, Option<f64>, f64)| (ring.0 - began).abs() + (ring.2 - end).abs();
                off(a).total_cmp(&off(b))
            });
        let picked_up = ring.map(|(picked_up, ..)| picked_up);
        // Between the two lies the wait for the replication of the answer, while a leader is elected.
        let earliest = picked_up.map_or(answered, |at| at.min(answered));
        let off = (least - answered - talk).max(talk - (most - earliest));
        if off > APART_SECS {
            faults.push(format!(
                "{talk:.3} s in the record, {off:.3} s off: {call:?} {own:?}"
            ));
        } else if !crossed {
            found.apart = found.apart.max(off);
        }
        match ring {
            // By then it had been talking to nobody for some time, which the customer does not pay.
            Some(_) if crossed => {}
            Some((picked_up, acked, hung_up)) => {
                // Its talk begins when ACK says that it is heard. The switch may have noted the answer before that, but
                // not before there was one.
                let heard = acked.unwrap_or(picked_up);
                found.longest_ack = found.longest_ack.max(heard - picked_up);
                let off = (hung_up - heard - talk).max(talk - (hung_up - picked_up));
                if off > APART_SECS {
                    faults.push(format!(
                        "{talk:.3} s in the record, {off:.3} s off the phone's: {call:?} {own:?}"
                    ));
                } else {
                    found.apart = found.apart.max(off);
                }
            }
            None => faults.push(format!("its phone never answered: {call:?}")),
        }
        let reason = own.text("end_reason");
        if reason != "normal" && !crossed {
            faults.push(format!("ended by {reason}: {call:?} {own:?}"));
        }
    }
    // The machine that sees it may keep but a part of what is printed.
    let brief = |fault: &String| fault.chars().take(700).collect::<String>();
    let shown: Vec<String> = faults.iter().take(3).map(brief).collect();
    assert!(
        faults.is_empty(),
        "{} faults in {} calls, such as\n{}",
        faults.len(),
        calls.len(),
        shown.join("\n")
    );
    found
}

fn secs(cdr: &Record, field: &str) -> f64 {
    let ms = cdr.time(field);
    ms.unwrap_or_else(|| panic!("no `{field}` in {}", cdr.0)) as f64 / 1_000.0
}

/// Each binding that the platform ever had belongs to one attempt of one call and is gone, and each answered call had
/// one of its own.
#[track_caller]
pub fn each_bound_once(load: &Load, lives: &[Life]) {
    let numbers = |axb: &Record| ["a_number", "x_number", "b_number"].map(|f| plain(axb.text(f)));
    let mut free: BTreeMap<[String; 3], usize> = BTreeMap::new();
    for life in lives {
        assert!(life.unbound.is_some(), "never unbound: {life:?}");
        let key = [life.a.clone(), life.x.clone(), life.b.clone()];
        *free.entry(key).or_default() += 1;
    }
    let answered = |flow_no: &String| load.cdrs[flow_no].time("answered_at").is_some();
    let (talks, tries): (Vec<_>, Vec<_>) = load.axb.iter().partition(|(id, _)| answered(id));
    for (_, axb) in talks {
        let count = free.get_mut(&numbers(axb)).filter(|count| **count > 0);
        *count.unwrap_or_else(|| panic!("no binding of its own for {}", axb.0)) -= 1;
    }
    // An attempt may have died before it was bound.
    for (_, axb) in tries {
        if let Some(count) = free.get_mut(&numbers(axb)) {
            *count = count.saturating_sub(1);
        }
    }
    free.retain(|_, count| *count > 0);
    assert!(free.is_empty(), "bindings that belong to no call: {free:?}");
}
