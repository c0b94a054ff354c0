//! A value of every command and reply, each field set to something of its own.

use std::collections::BTreeMap;
use tandem_cluster::command::*;
use tandem_cluster::entity::*;
use tandem_cluster::frozen::Fixtures;
use tandem_cluster::level::Level;

const CALL: CallId = CallId(7 << 32 | 300);
const AT: Millis = 1_763_762_400_000;

fn map(name: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(name.to_owned(), value.to_owned())])
}

/// Every word of the small enums, in their order.
pub fn words(fixtures: &mut Fixtures) {
    use Table::*;
    let tables = vec![
        Interfaces,
        XNumbers,
        AGroups,
        ANumbers,
        MappingGateways,
        RoutingGateways,
        Accounts,
        FeeRates,
        AxBindings,
    ];
    fixtures.value(1, "Table", tables);
    let sources = vec![
        CallerSource::From,
        CallerSource::PAssertedIdentity,
        CallerSource::RemotePartyId,
        CallerSource::PPreferredIdentity,
        CallerSource::Display,
    ];
    fixtures.value(1, "CallerSource", sources);
    let sources = vec![
        CalleeSource::RequestUri,
        CalleeSource::To,
        CalleeSource::Diversion,
    ];
    fixtures.value(1, "CalleeSource", sources);
    let selects = vec![XSelect::None, XSelect::Restrict, XSelect::Prefer];
    fixtures.value(1, "XSelect", selects);
    let styles = vec![PrefixStyle::Terminate, PrefixStyle::Continue];
    fixtures.value(1, "PrefixStyle", styles);
    fixtures.value(1, "Transport", vec![Transport::Udp, Transport::Tcp]);
    let kinds = vec![
        AccountKind::Normal,
        AccountKind::Card,
        AccountKind::Settlement,
    ];
    fixtures.value(1, "AccountKind", kinds);
    let versions = vec![HttpVersion::Auto, HttpVersion::One, HttpVersion::Two];
    fixtures.value(1, "HttpVersion", versions);
    let conflicts = vec![Conflict::Pair, Conflict::XCallee, Conflict::XExclusive];
    fixtures.value(1, "Conflict", conflicts);
    let by = vec![EndedBy::Caller, EndedBy::Callee, EndedBy::Server];
    fixtures.value(1, "EndedBy", by);
    let deeds = vec![AxDeed::Bind, AxDeed::Unbind, AxDeed::ForceUnbind];
    fixtures.value(1, "AxDeed", deeds);
    let deeds = vec![
        MemberDeed::Add,
        MemberDeed::Vote,
        MemberDeed::Remove,
        MemberDeed::Move,
    ];
    fixtures.value(1, "MemberDeed", deeds);
    let failures = vec![
        Failure::NumberRefused { code: "1".into() },
        Failure::PlatformRefused { code: "2".into() },
        Failure::BindUnknown { code: "3".into() },
        Failure::Gateway { status: 503 },
    ];
    fixtures.value(1, "Failure", failures);
    let results = vec![
        AxResult::Bound {
            handle: map("id", "s1"),
            expires_at: Some(AT),
            raw: "{}".into(),
        },
        AxResult::Unbound { missing: true },
        AxResult::Failed {
            error: "no".into(),
            unknown: true,
        },
    ];
    fixtures.value(1, "AxResult", results);
}

fn entities() -> Vec<Entity> {
    let prefixes = || PrefixList {
        allow: true,
        prefixes: vec!["138".into()],
    };
    vec![
        Entity::Interface(Interface {
            name: "hz-1".into(),
            kind: "huawei".into(),
            params: map("app_secret", "s3cret"),
            urls: map("base", "https://platform.example"),
            unbind_delay_secs: Some(5),
            hold_missing: true,
            timeout_ms: 5_000,
            tls_verify: false,
            ca_pem: Some("pem".into()),
            pair_rest_ms: 2_000,
            rate_per_s: Some(300),
            connect_timeout_ms: 1_000,
            proxy: Some("http://proxy:3128".into()),
            http_version: HttpVersion::Two,
            type_rules: TypeRules {
                conflict: Conflict::XExclusive,
                ax: true,
                set_callee: true,
            },
        }),
        Entity::XNumber(XNumber {
            interface: 1,
            number: "17000000001".into(),
            line_limit: 20,
            callers: vec!["@0571".into()],
            allow_other_callers: true,
            param: "p".into(),
            disabled: true,
        }),
        Entity::AGroup(AGroup { name: "ga".into() }),
        Entity::ANumber(ANumber {
            group: 1,
            number: "02100000001".into(),
            line_limit: 30,
        }),
        Entity::MappingGateway(MappingGateway {
            name: "customer".into(),
            lock_type: 3,
            capacity: 1_000,
            remote_ips: vec!["127.0.0.0/8".into()],
            account: 1,
            caller_rules: "a".into(),
            callee_rules: "b".into(),
            caller_source: CallerSource::Display,
            callee_source: CalleeSource::Diversion,
            caller_prefixes: prefixes(),
            callee_prefixes: PrefixList::default(),
            routing_gateways: vec![1, 2],
            max_duration_secs: Some(3_600),
            x_select_mode: XSelect::Prefer,
            allow_axb: true,
            allow_ax: false,
        }),
        Entity::RoutingGateway(RoutingGateway {
            name: "platform".into(),
            lock_type: 3,
            prefixes: vec![String::new(), "9".into()],
            prefix_style: PrefixStyle::Continue,
            address: "[2001:db8::1]:5060".parse().expect("an address"),
            transport: Transport::Tcp,
            capacity: 1_000,
            priority: 10,
            caller_rules: "c".into(),
            callee_rules: "d".into(),
            clearing_account: Some(2),
            switch_on: vec![480, 503],
            response_timeout_ms: 5_000,
            send_identity: true,
            axb: Some(AxbRoute {
                a_group: 1,
                interface: 2,
                callee_rules: "e".into(),
                account: Some(3),
                rate_on_submitted: true,
            }),
        }),
        Entity::Account(Account {
            account: "c1".into(),
            name: "One Ltd".into(),
            money: -1_000_000,
            limit_money: 5_000_000,
            fee_rate_group: "g".into(),
            kind: AccountKind::Settlement,
            lock_type: 3,
            valid_until: Some(AT),
            check_balance: true,
        }),
        Entity::FeeRate(FeeRate {
            group: "g".into(),
            prefix: "1".into(),
            area_code: "571".into(),
            area_name: "杭州".into(),
            level: 4,
            fee: 100_000,
            period: 60,
            locked: true,
            sections: vec![Section {
                fee: 50_000,
                secs: 6,
            }],
        }),
        Entity::AxBinding(AxBinding {
            interface: 1,
            x_number: "17000000001".into(),
            a_number: "02100000001".into(),
            params: map("areaCode", "571"),
            expires_at: Some(AT),
        }),
    ]
}

fn claim() -> Claim {
    Claim {
        access_name: "hz-1".into(),
        node: 300,
        boot: u64::MAX,
        address: "10.0.0.1:80".into(),
        version: "0.1.0".into(),
        lease_ms: 3_000,
    }
}

/// Every command, with the level that it came with.
pub fn commands() -> Vec<(Level, Command)> {
    let puts = entities().into_iter().map(|entity| {
        Command::Put(Put {
            request: 77,
            actor: "ada".into(),
            id: Some(5),
            version: Some(300),
            memo: "m".into(),
            entity,
        })
    });
    let first = [
        Command::Reserve(Reserve {
            call: CALL,
            gateway: 1,
            caller_access: "C".into(),
            caller: "N".into(),
            callee_access: "88138".into(),
            callee: "138".into(),
            started_at: AT,
            remote: "127.0.0.1:5060".parse().expect("an address"),
            sip_call_id: "a@b".into(),
        }),
        Command::Next(Next {
            call: CALL,
            epoch: 7,
            attempt: 2,
            failure: Failure::Gateway { status: 503 },
        }),
        Command::Bound(Bound {
            binding: 300,
            epoch: 7,
            handle: map("id", "fe12"),
            x: "17000000001".into(),
            expires_at: Some(AT),
            raw: "{}".into(),
        }),
        Command::Answered(Answered {
            call: CALL,
            epoch: 7,
            answered_at: AT,
            pdd_ms: 900,
            dialogs: vec![1, 2, 3],
            codec: "PCMA".into(),
        }),
        Command::Renew(Renew {
            call: CALL,
            epoch: 7,
            upto_secs: 60,
        }),
        Command::Unbound(Unbound {
            binding: 300,
            epoch: 7,
            missing: true,
        }),
        Command::UnbindFailed(UnbindFailed {
            binding: 300,
            epoch: 7,
            error: "timeout".into(),
        }),
        Command::End(End {
            call: CALL,
            epoch: 7,
            ended_at: AT + 61_000,
            answered_at: Some(AT),
            pdd_ms: Some(900),
            codec: "PCMA".into(),
            reason: EndReason {
                key: "normal".into(),
                sip: Some(200),
                q850: Some(16),
            },
            by: EndedBy::Callee,
        }),
        Command::Claim(claim()),
        Command::KeepAlive { epoch: 7 },
        Command::Resign { epoch: 7 },
        Command::NodeDown { epoch: 7 },
        Command::Remove(Remove {
            request: 78,
            actor: "ada".into(),
            table: Table::XNumbers,
            id: 5,
            version: Some(3),
        }),
        Command::Pay(Payment {
            request: 79,
            actor: "ada".into(),
            account: 1,
            amount: -5_000_000,
            memo: "m".into(),
        }),
        Command::Stored {
            node: 300,
            upto: 70_000,
        },
        Command::AskUnbind {
            binding: 300,
            actor: "ada".into(),
        },
        Command::ForceUnbind {
            binding: 300,
            actor: "ada".into(),
        },
        Command::Device {
            access_name: "hz-1".into(),
            label: Some("east".into()),
            settings: Some(map("calls_max", "100")),
            draining: Some(true),
            actor: "ada".into(),
        },
        Command::InterfaceError {
            interface: 1,
            text: "timeout".into(),
        },
        Command::PutMany(PutMany {
            request: 80,
            actor: "ada".into(),
            rows: vec![PutRow {
                id: None,
                version: None,
                memo: "m".into(),
                entity: Entity::AGroup(AGroup { name: "gb".into() }),
            }],
        }),
        Command::Regions(region(9, true)),
        Command::AskAx(AskAx {
            ax: 1,
            deed: AxDeed::Unbind,
            owner: 7,
            actor: "ada".into(),
        }),
        Command::AxOutcome(AxOutcome {
            ax: 1,
            epoch: 7,
            asked: 2,
            result: AxResult::Unbound { missing: true },
        }),
        Command::AxAccepted {
            call: CALL,
            epoch: 7,
            attempt: 2,
        },
        Command::Borrow(Borrow {
            epoch: 7,
            interface: 1,
            a: Some("02100000001".into()),
            x: Some("17000000001".into()),
            b: Some("138".into()),
            actor: "ada".into(),
        }),
        Command::PlatformEvents {
            events: vec![vec![128, 1], vec![]],
        },
        Command::NoteMember {
            node: 4,
            deed: MemberDeed::Vote,
            detail: "replaces 2".into(),
            actor: "ada".into(),
        },
        Command::Keep(Keep {
            call: CALL,
            epoch: 7,
            dialogs: vec![4, 5],
        }),
        Command::Mark { id: u64::MAX },
        Command::HoldLevel {
            hold: true,
            actor: "ada".into(),
        },
    ];
    let second = [
        Command::Raise(Raise {
            level: 2,
            members: vec![(1, 2), (300, 3)],
        }),
        Command::ClaimAt(ClaimAt {
            claim: claim(),
            level: 2,
        }),
    ];
    let first = first.into_iter().chain(puts).map(|command| (1, command));
    let all: Vec<_> = first.chain(second.map(|command| (2, command))).collect();
    for (_, command) in &all {
        known(command);
    }
    all
}

/// Does not compile when there is a new command: give it a sample above, of a level that was not released yet, and its
/// level in [`Command::needs`].
fn known(command: &Command) {
    use Command::*;
    match command {
        Reserve(_)
        | Next(_)
        | Bound(_)
        | Answered(_)
        | Renew(_)
        | Unbound(_)
        | UnbindFailed(_)
        | End(_)
        | Claim(_)
        | KeepAlive { .. }
        | Resign { .. }
        | NodeDown { .. }
        | Put(_)
        | Remove(_)
        | Pay(_)
        | Stored { .. }
        | AskUnbind { .. }
        | ForceUnbind { .. }
        | Device { .. }
        | InterfaceError { .. }
        | PutMany(_)
        | Regions(_)
        | AskAx(_)
        | AxOutcome(_)
        | AxAccepted { .. }
        | Borrow(_)
        | PlatformEvents { .. }
        | NoteMember { .. }
        | Keep(_)
        | Mark { .. }
        | HoldLevel { .. }
        | Raise(_)
        | ClaimAt(_) => {}
    }
}

fn region(import: u64, last: bool) -> RegionEdit {
    RegionEdit {
        request: 81 + import,
        actor: "ada".into(),
        import,
        part: 0,
        last,
        replace: true,
        rows: vec![RegionRow {
            mobile_prefix: 1_380_013,
            area_code: "0571".into(),
            area_name: "杭州".into(),
        }],
    }
}

/// Every reply and refusal, with the level that it came with.
pub fn replies() -> Vec<(Level, Reply)> {
    let lease = Lease {
        binding: 300,
        interface: 1,
        a: "A".into(),
        x: "X".into(),
        b_submitted: "+86B".into(),
    };
    let credit = Credit {
        upto_secs: 60,
        last: true,
    };
    let attempt = Attempt {
        number: 2,
        gateway: 1,
        gateway_name: "platform".into(),
        address: "10.1.0.1:5060".parse().expect("an address"),
        transport: Transport::Tcp,
        caller_out: "A".into(),
        callee_out: "X".into(),
        send_identity: true,
        response_timeout_ms: 5_000,
        lease: Some(lease.clone()),
        ax: None,
        max_duration_secs: Some(3_600),
        credit: Some(credit),
    };
    let over = Attempt {
        lease: None,
        ax: Some(AxLease {
            ax: 1,
            interface: 2,
            a: "A".into(),
            x: "X".into(),
            b_submitted: "+86B".into(),
            handle: map("id", "s1"),
            set_callee: true,
            turn: true,
        }),
        ..attempt.clone()
    };
    let first = [
        Reply::Done,
        Reply::Reserved(Box::new(attempt)),
        Reply::Reserved(Box::new(over)),
        Reply::Answered {
            unbind_at: Some(AT),
        },
        Reply::Renewed(credit),
        Reply::Claimed { epoch: 7 },
        Reply::Row { id: 5, version: 3 },
        Reply::Balance(-5_000_000),
        Reply::Rows(vec![1, 300]),
        Reply::Lent(lease),
    ];
    use Refusal::*;
    let refusals = [
        StaleEpoch,
        UnknownCall,
        GatewayLocked,
        GatewayCapacity,
        CallerForbidden,
        CalleeForbidden,
        AccountLocked,
        AccountExpired,
        RateNotFound,
        BalanceInsufficient,
        NoRoute,
        RouteCapacity,
        AxbNotAllowed,
        NoAxbNumber,
        AxbBindFailed,
        PassOn { status: 486 },
        ClaimHeld {
            address: "10.0.0.1:80".into(),
            left_ms: 3_000,
        },
        Invalid {
            field: "number".into(),
            text: "is missing".into(),
        },
        VersionConflict { version: 3 },
        NotFound,
        InUse { by: "ga".into() },
        XNotOurs,
        OutboxFull,
    ];
    let second = [LevelHeld, LevelTooLow { active: 2 }];
    let refused = |level| move |refusal| (level, Reply::Refused(refusal));
    let first = first.into_iter().map(|reply| (1, reply));
    let all: Vec<_> = first
        .chain(refusals.map(refused(1)))
        .chain(second.map(refused(2)))
        .collect();
    for (_, reply) in &all {
        known_reply(reply);
    }
    all
}

/// As [`known`].
fn known_reply(reply: &Reply) {
    use Refusal::*;
    use Reply::*;
    match reply {
        Done
        | Reserved(_)
        | Answered { .. }
        | Renewed(_)
        | Claimed { .. }
        | Row { .. }
        | Balance(_)
        | Rows(_)
        | Lent(_) => {}
        Refused(refusal) => match refusal {
            StaleEpoch
            | UnknownCall
            | GatewayLocked
            | GatewayCapacity
            | CallerForbidden
            | CalleeForbidden
            | AccountLocked
            | AccountExpired
            | RateNotFound
            | BalanceInsufficient
            | NoRoute
            | RouteCapacity
            | AxbNotAllowed
            | NoAxbNumber
            | AxbBindFailed
            | PassOn { .. }
            | ClaimHeld { .. }
            | Invalid { .. }
            | VersionConflict { .. }
            | NotFound
            | InUse { .. }
            | XNotOurs
            | OutboxFull
            | LevelHeld
            | LevelTooLow { .. } => {}
        },
    }
}

/// What fills the parts of a state that calls do not.
pub fn for_the_state(interface: Id, account: Id, ax: Id, epoch: Epoch) -> Vec<Command> {
    let mut commands = vec![
        Command::Regions(region(9, true)),
        Command::Regions(region(10, false)),
        Command::InterfaceError {
            interface,
            text: "timeout".into(),
        },
        Command::Pay(Payment {
            request: 90,
            actor: "ada".into(),
            account,
            amount: 5_000_000,
            memo: "m".into(),
        }),
        Command::AskAx(AskAx {
            ax,
            deed: AxDeed::Unbind,
            owner: epoch,
            actor: "ada".into(),
        }),
        Command::AxOutcome(AxOutcome {
            ax,
            epoch,
            asked: 2,
            result: AxResult::Failed {
                error: "no".into(),
                unknown: true,
            },
        }),
        Command::Stored { node: 1, upto: 1 },
    ];
    let wanted = |command: &Command| {
        use Command::*;
        matches!(command, PutMany(_) | NoteMember { .. } | Claim(_))
    };
    let more = self::commands().into_iter().map(|(_, command)| command);
    commands.extend(more.filter(wanted));
    commands.push(Command::PlatformEvents {
        events: vec![vec![128, 1]],
    });
    commands.push(Command::Device {
        access_name: "hz-1".into(),
        label: Some("east".into()),
        settings: Some(map("calls_max", "100")),
        draining: Some(true),
        actor: "ada".into(),
    });
    commands
}
