//! Two shards with a wire between them that loses, repeats and overtakes. Whatever is commanded and whenever, each
//! leg ends exactly once and nothing is left.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Copy)]
struct Faults {
    /// Of 100 messages.
    lost: u32,
    doubled: u32,
    /// Longest delay; what is sent later may come earlier.
    delay_ms: u64,
}

/// What happens to a leg, oldest first.
#[derive(Debug, Default)]
struct Life {
    infos: Vec<u64>,
    ended: u32,
    after_end: u32,
    answered: bool,
}

struct World {
    ends: [Endpoint; 2],
    lives: [BTreeMap<LegId, Life>; 2],
    wire: BTreeMap<(Millis, u64), (usize, Flow, Bytes)>,
    /// What obliging nodes will command.
    chores: BTreeMap<(Millis, u64), (usize, LegId, Command)>,
    obliging: bool,
    faults: Faults,
    stream: bool,
    dice: u64,
    sequence: u64,
    now: Millis,
}

const PLACES: [&str; 2] = ["10.0.0.1:5060", "10.0.0.2:5060"];

impl World {
    fn new(seed: u64, faults: Faults, stream: bool) -> Self {
        Self {
            ends: [
                Endpoint::new(Config::default(), seed),
                Endpoint::new(Config::default(), !seed),
            ],
            lives: Default::default(),
            wire: BTreeMap::new(),
            chores: BTreeMap::new(),
            obliging: false,
            faults,
            stream,
            dice: seed | 1,
            sequence: 0,
            now: 0,
        }
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice % sides.max(1)
    }

    fn way(&self, from: usize) -> Flow {
        let (local, remote) = (address(PLACES[from]), address(PLACES[1 - from]));
        match self.stream {
            false => Flow::udp(local, remote),
            true => Flow {
                connection: Some(ConnectionId(1)),
                ..Flow::tcp(local, remote)
            },
        }
    }

    /// What a node does that means well.
    fn natural(&mut self, event: &LegEvent) -> Option<Command> {
        let body = sdp();
        Some(match event {
            LegEvent::Invited(_) if self.roll(2) == 0 => Command::Progress { status: 183, body },
            LegEvent::Invited(_) | LegEvent::Progress { .. } => Command::Answer { body },
            LegEvent::Answered { .. } | LegEvent::Reanswered { .. } => Command::Ack { body },
            LegEvent::Reoffered { .. } => Command::AcceptReoffer { body },
            LegEvent::Info { id, .. } => Command::AnswerInfo {
                id: *id,
                status: 200,
            },
            _ => return None,
        })
    }

    fn drain(&mut self, side: usize) {
        while let Some(output) = self.ends[side].poll_output() {
            match output {
                Output::Event { leg, event } => {
                    if let Some(command) = self.natural(&event).filter(|_| self.obliging) {
                        self.sequence += 1;
                        let at = self.now + self.roll(700);
                        let chore = (side, leg, command);
                        self.chores.insert((at, self.sequence), chore);
                    }
                    let life = self.lives[side].entry(leg).or_default();
                    life.after_end += u32::from(life.ended > 0);
                    match event {
                        LegEvent::Info { id, .. } => life.infos.push(id),
                        LegEvent::Answered { .. } => life.answered = true,
                        LegEvent::Ended(_) => life.ended += 1,
                        _ => {}
                    }
                }
                Output::Send { flow, bytes, .. } => {
                    assert_eq!(
                        flow.remote,
                        address(PLACES[1 - side]),
                        "nobody else is there"
                    );
                    let copies = match self.roll(100) as u32 {
                        _ if self.stream => 1,
                        roll if roll < self.faults.lost => 0,
                        roll if roll < self.faults.lost + self.faults.doubled => 2,
                        _ => 1,
                    };
                    for _ in 0..copies {
                        let delay = if self.stream {
                            1
                        } else {
                            1 + self.roll(self.faults.delay_ms)
                        };
                        self.sequence += 1;
                        let way = self.way(1 - side);
                        self.wire.insert(
                            (self.now + delay, self.sequence),
                            (1 - side, way, bytes.clone()),
                        );
                    }
                }
            }
        }
    }

    fn run_to(&mut self, end: Millis) {
        loop {
            let timers = (0..2)
                .filter_map(|side| self.ends[side].next_deadline())
                .min();
            let arrival = self.wire.first_key_value().map(|((at, _), _)| *at);
            let chore = self.chores.first_key_value().map(|((at, _), _)| *at);
            let Some(at) = [timers, arrival, chore]
                .into_iter()
                .flatten()
                .min()
                .filter(|at| *at <= end)
            else {
                break;
            };
            self.now = self.now.max(at);
            while let Some(entry) = self
                .wire
                .first_entry()
                .filter(|entry| entry.key().0 <= self.now)
            {
                let (side, flow, bytes) = entry.remove();
                let message = Message::parse(bytes, Framing::Stream).expect("shards speak SIP");
                let stray = self.ends[side].receive(message, flow, self.now);
                assert!(stray.is_none(), "no tag of theirs has a token");
                self.drain(side);
            }
            while let Some(entry) = self
                .chores
                .first_entry()
                .filter(|entry| entry.key().0 <= self.now)
            {
                let (side, leg, command) = entry.remove();
                // Whatever happened meanwhile, a command that does not fit is refused.
                let _ = self.ends[side].command(leg, command, self.now);
                self.drain(side);
            }
            for side in 0..2 {
                self.ends[side].advance(self.now);
                self.drain(side);
            }
        }
        self.now = end;
    }

    fn act(&mut self, side: usize, action: u8, pick: usize) {
        let body = if pick.is_multiple_of(3) { None } else { sdp() };
        if action == 0 {
            let dial = Dial {
                flow: self.way(side),
                ringing_limit_ms: 20_000,
                body,
                ..call()
            };
            let leg = self.ends[side].dial(dial, self.now);
            self.lives[side].entry(leg).or_default();
            return self.drain(side);
        }
        let legs: Vec<LegId> = self.lives[side].keys().copied().collect();
        let Some(&leg) = legs.get(pick % legs.len().max(1)) else {
            return;
        };
        let info = self.lives[side][&leg].infos.last().copied();
        let command = match action {
            1 => Command::Progress {
                status: 180 + (pick % 4) as u16,
                body,
            },
            2 | 3 => Command::Answer { body },
            4 => Command::Refuse {
                status: 486,
                reason: None,
                retry_after_s: None,
                cause: None,
            },
            5 => Command::HangUp {
                cause: Some(Cause::q850(16)),
            },
            6 => Command::Reoffer {
                via: Offer::Invite,
                body,
            },
            7 => Command::Reoffer {
                via: Offer::Update,
                body,
            },
            8 | 9 => Command::AcceptReoffer { body },
            10 => Command::RefuseReoffer { status: 488 },
            11 | 12 => Command::Ack { body },
            13 => Command::Info {
                content_type: Bytes::from_static(b"a/b"),
                bytes: Bytes::from_static(b"c"),
            },
            _ => Command::AnswerInfo {
                id: info.unwrap_or(1),
                status: 200,
            },
        };
        // Not every command fits; refused ones change nothing.
        let _ = self.ends[side].command(leg, command, self.now);
        self.drain(side);
    }

    fn finish(&mut self) {
        for side in 0..2 {
            let legs: Vec<LegId> = self.lives[side].keys().copied().collect();
            for leg in legs {
                let _ = self.ends[side].command(leg, Command::HangUp { cause: None }, self.now);
                self.drain(side);
            }
        }
        self.run_to(self.now + 1_000_000);
        for side in 0..2 {
            for (leg, life) in &self.lives[side] {
                assert_eq!(
                    (life.ended, life.after_end),
                    (1, 0),
                    "side {side}, {leg:?}: {life:?}"
                );
            }
            assert_eq!(self.ends[side].counts(), Counts::default(), "side {side}");
            assert!(self.ends[side].dialogs.is_empty() && self.ends[side].merged.is_empty());
            assert!(self.ends[side].clients.is_empty() && self.ends[side].servers.is_empty());
        }
        assert!(self.wire.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_leg_ends_once_and_nothing_is_left(
        seed in any::<u64>(),
        lost in 0u32..40,
        doubled in 0u32..40,
        delay_ms in 1u64..3_000,
        stream in prop::bool::weighted(0.2),
        obliging in any::<bool>(),
        actions in prop::collection::vec((0u64..4_000, 0usize..2, 0u8..15, any::<u16>()), 1..60),
    ) {
        let mut world = World::new(seed, Faults { lost, doubled, delay_ms }, stream);
        world.obliging = obliging;
        world.act(0, 0, 1);
        for (pause, side, action, pick) in actions {
            world.run_to(world.now + pause);
            world.act(side, action, usize::from(pick));
        }
        world.finish();
    }

    #[test]
    fn a_broken_connection_ends_what_waits_for_it(
        seed in any::<u64>(),
        actions in prop::collection::vec((0u64..300, 0usize..2, 0u8..15, any::<u16>()), 1..60),
        breaks in prop::collection::vec(0usize..60, 1..4),
    ) {
        let mut world = World::new(seed, Faults { lost: 0, doubled: 0, delay_ms: 1 }, true);
        world.act(0, 0, 1);
        for (step, (pause, side, action, pick)) in actions.into_iter().enumerate() {
            world.run_to(world.now + pause);
            world.act(side, action, usize::from(pick));
            if breaks.contains(&step) {
                world.wire.clear();
                for side in 0..2 {
                    let way = world.way(side);
                    let now = world.now;
                    world.ends[side].transport_failed(&way, now);
                    world.drain(side);
                }
            }
        }
        world.finish();
    }
}

#[test]
fn a_whole_call_crosses_a_bad_wire() {
    let mut answered = 0;
    for seed in 1..200 {
        let mut world = World::new(
            seed * 77,
            Faults {
                lost: 20,
                doubled: 20,
                delay_ms: 200,
            },
            false,
        );
        world.act(0, 0, 1);
        world.run_to(3_000);
        let Some(&callee) = world.lives[1].keys().next() else {
            continue;
        };
        world.ends[1]
            .command(callee, Command::Answer { body: sdp() }, world.now)
            .expect("it rings");
        world.obliging = true;
        world.drain(1);
        world.run_to(40_000);
        let alive = world.lives[1][&callee].ended == 0
            && world.lives[0].values().all(|life| life.ended == 0);
        answered += u32::from(alive && world.lives[0].values().all(|life| life.answered));
        world.finish();
    }
    assert!(answered > 190, "only {answered} of 199 calls came up");
}
