//! What befalls machines, one thing after another, under a load of held calls: cut off, cut off one way, stopped, a full
//! disk, all dead at once. No answered call is lost by any of it, and new ones go on wherever there is a majority.

use std::time::Duration;
use tandem_tests::apart::Apart;
use tandem_tests::checks::{Load, balances, balances_fell, nothing_left};
use tandem_tests::crowd::{self, Call, Crowd, Served, Share};
use tandem_tests::rerate::Tariff;
use tandem_tests::switch::NODES;
use tandem_tests::wait::epoch_secs;
use tandem_tests::{Operated, eventually, process};

/// Calls a second at each node.
const RATE: u32 = 4;
/// Seconds of load: as long as everything that happens.
const SECS: u32 = 160;
const HOLD_SECS: u32 = 30;
/// How long most of it lasts, and how long the cluster is left alone afterwards.
const SPELL: Duration = Duration::from_secs(10);
const REST: Duration = Duration::from_secs(5);
/// Longer than a dead claim and an election take, on a busy machine too: whoever can take calls does so by then.
const NOTICED_SECS: f64 = 6.0;
/// Longest from a node's last renewal until another one has its calls: all of them are away at once in the end.
const UNSEEN_SECS: f64 = 20.0;
const X_LIMIT: usize = 40;
/// Whose disk is small.
const SMALL: u8 = 3;

/// Something that befell nodes; seconds since 1970.
#[derive(Debug)]
struct Spell {
    what: String,
    ill: Vec<u8>,
    from: f64,
    until: f64,
}

/// A cluster, and what has befallen it so far.
struct Chaos {
    switch: Apart,
    began: f64,
    spells: Vec<Spell>,
}

fn others(node: u8) -> impl Iterator<Item = u8> {
    (1..=NODES).filter(move |other| *other != node)
}

impl Chaos {
    /// The node that leads. Asked when all are well.
    #[track_caller]
    fn leader(&self) -> u8 {
        eventually("a leader", Duration::from_secs(10), || {
            let cluster = self.switch.api(1).get("cluster");
            let name = cluster["leader"].as_str();
            let id = name.and_then(|name| name.strip_prefix('n')?.parse().ok());
            id.ok_or_else(|| cluster.to_string())
        })
    }

    /// Makes the nodes `ill`, well again after a time, and waits until all of them serve.
    #[track_caller]
    fn befalls(
        &mut self,
        what: String,
        ill: Vec<u8>,
        lasts: Duration,
        begin: impl FnOnce(&mut Apart),
        end: impl FnOnce(&mut Apart),
    ) {
        begin(&mut self.switch);
        let from = epoch_secs();
        println!("{:5.1} s: {what}", from - self.began);
        std::thread::sleep(lasts);
        let until = epoch_secs();
        end(&mut self.switch);
        for node in 1..=NODES {
            self.switch.wait_ready(node);
        }
        println!("{:5.1} s: all are ready", epoch_secs() - self.began);
        self.spells.push(Spell {
            what,
            ill,
            from,
            until,
        });
        std::thread::sleep(REST);
    }

    /// Nobody hears what goes along these links.
    #[track_caller]
    fn cut(&mut self, what: String, node: u8, links: &[(u8, u8)]) {
        let cut = |switch: &mut Apart| {
            for (from, to) in links {
                switch.cut(*from, *to);
            }
        };
        let mend = |switch: &mut Apart| {
            for (from, to) in links {
                switch.mend(*from, *to);
            }
        };
        self.befalls(what, vec![node], SPELL, cut, mend);
    }
}

impl Spell {
    /// Calls that were held when it began.
    fn carried(&self, calls: &[Call]) -> usize {
        calls.iter().filter(|call| call.talks_at(self.from)).count()
    }

    /// How new calls fared at the nodes that were ill, at the others until that was noticed, and after that.
    fn served(&self, calls: &[Call]) -> [Served; 3] {
        let sound: Vec<u8> = (1..=NODES)
            .filter(|node| !self.ill.contains(node))
            .collect();
        let noticed = self.from + NOTICED_SECS;
        [
            Served::between(calls, self.from, self.until, &self.ill),
            Served::between(calls, self.from, noticed, &sound),
            Served::between(calls, noticed, self.until, &sound),
        ]
    }

    fn tell(&self, calls: &[Call]) {
        println!("{}: {} calls were held", self.what, self.carried(calls));
        let names = ["nodes that are ill", "the others at first", "and later"];
        for (name, served) in names.into_iter().zip(self.served(calls)) {
            println!(
                "  {name:>20}: {:3} calls, {:3} answered, {:3} by the node tried first, after {:4.1} s at most",
                served.placed, served.answered, served.at_once, served.longest
            );
        }
    }
}

#[test]
fn whatever_befalls_the_nodes_no_answered_call_is_lost() {
    let switch = Apart::with_platform(SMALL);
    let tariff = Tariff::read(&switch.api(1));
    let before = balances(&switch.api(1));
    let mut crowd = Crowd::gather(switch.dir(), switch.own(), switch.phone_port());
    for first in 0..NODES {
        let order = (0..NODES).map(|n| (first + n) % NODES + 1);
        crowd.join(&Share {
            port: 20_001 + u16::from(first),
            nodes: order.map(|node| (node, switch.sip(node))).collect(),
            calls: (RATE * SECS) as usize,
            rate: RATE,
            hold_secs: HOLD_SECS,
        });
    }
    let mut chaos = Chaos {
        switch,
        began: epoch_secs(),
        spells: Vec::new(),
    };
    std::thread::sleep(SPELL);

    let node = chaos.leader();
    let links: Vec<(u8, u8)> = others(node)
        .flat_map(|other| [(node, other), (other, node)])
        .collect();
    let what = format!("node {node}, which leads, is cut off from the others");
    chaos.cut(what, node, &links);

    let node = chaos.leader();
    let links: Vec<(u8, u8)> = others(node).map(|other| (node, other)).collect();
    let what = format!("node {node}, which leads, hears the others and is not heard");
    chaos.cut(what, node, &links);

    let node = chaos.leader() % NODES + 1;
    let links: Vec<(u8, u8)> = others(node).map(|other| (other, node)).collect();
    let what = format!("node {node}, which follows, is heard and hears nothing");
    chaos.cut(what, node, &links);

    let node = chaos.leader();
    let pid = chaos.switch.pid(node);
    chaos.befalls(
        format!("node {node}, which leads, stands still"),
        vec![node],
        Duration::from_secs(30),
        |_| assert!(process::signal(pid, "STOP"), "node {node} ran"),
        |_| assert!(process::signal(pid, "CONT"), "node {node} was there"),
    );

    chaos.befalls(
        format!("the disk of node {SMALL} is full"),
        vec![SMALL],
        SPELL,
        |switch| {
            switch.fill_disk();
            // Its log has made some room in advance, for as long as that lasts.
            switch.wait_unready(SMALL, "disk is full", Duration::from_secs(60));
        },
        |switch| switch.free_disk(),
    );

    chaos.befalls(
        "all nodes die".to_owned(),
        (1..=NODES).collect(),
        Duration::ZERO,
        |switch| (1..=NODES).for_each(|node| switch.kill(node)),
        |switch| (1..=NODES).for_each(|node| switch.start_again(node)),
    );
    println!("{:5.1} s: the rest", epoch_secs() - chaos.began);

    let Chaos { switch, spells, .. } = chaos;
    let calls = crowd.disperse(Duration::from_secs(180));
    for spell in &spells {
        spell.tell(&calls);
    }
    nothing_left(&switch, Duration::from_secs(30));
    let load = Load::export(&switch);
    let found = crowd::none_lost(&calls, &load, UNSEEN_SECS);
    println!("{found:#?}");
    let log = switch.platform_log();
    log.never_doubled(X_LIMIT);
    crowd::each_bound_once(&load, &log.lives());
    load.prices_hold(&tariff);
    balances_fell(&switch, &before, &load);
    for spell in &spells {
        assert!(spell.carried(&calls) > 0, "{}: nobody talked", spell.what);
        let [_, _, late] = spell.served(&calls);
        assert_eq!(late.at_once, late.placed, "{}: {late:?}", spell.what);
    }
    let unanswered = calls.iter().filter(|call| call.answered.is_none()).count();
    assert_eq!(unanswered, 0, "customers that no node served");
}
