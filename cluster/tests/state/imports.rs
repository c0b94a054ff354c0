//! Rows by the thousand, and the table of regions.

use crate::world::*;
use tandem_cluster::command::*;
use tandem_cluster::entity::*;
use tandem_cluster::state::Deed;

fn made(entity: Entity) -> PutRow {
    PutRow {
        id: None,
        version: None,
        memo: String::new(),
        entity,
    }
}

fn changed(id: Id, version: u32, entity: Entity) -> PutRow {
    PutRow {
        id: Some(id),
        version: Some(version),
        ..made(entity)
    }
}

fn put(w: &mut World, request: u64, rows: Vec<PutRow>) -> Reply {
    w.apply(Command::PutMany(PutMany {
        request,
        actor: "importer".into(),
        rows,
    }))
}

#[test]
fn many_rows_are_put_as_one_deed() {
    let (mut w, rows) = World::usual(1, 1);
    let audit = w.state.audit().len();
    let numbers = |from: u32| {
        (from..from + 2_000)
            .map(|n| made(x_number(rows.interface, &format!("171{n:08}"))))
            .collect::<Vec<_>>()
    };
    let reply = put(&mut w, 900, numbers(0));
    let Reply::Rows(ids) = &reply else {
        panic!("{reply:?}")
    };
    assert_eq!(ids.len(), 2_000);
    assert_eq!(
        w.state.find(Table::XNumbers, "17100001999"),
        ids.last().copied()
    );
    assert_eq!(w.state.x_pool(rows.interface), (2_001, 2_001));
    assert_eq!(
        w.effects,
        [Effect::EditedMany {
            table: Table::XNumbers,
            rows: 2_000
        }]
    );
    let line = w.state.audit().next_back().expect("a line");
    assert_eq!(
        (&*line.actor, &line.deed),
        (
            "importer",
            &Deed::PutMany {
                table: Table::XNumbers,
                rows: 2_000
            }
        )
    );
    assert_eq!(w.state.audit().len(), audit + 1);
    assert_eq!(
        put(&mut w, 900, numbers(0)),
        reply,
        "a repeat gets the first reply"
    );
    assert_eq!(w.state.x_numbers().len(), 2_001);
}

#[test]
fn one_bad_row_refuses_all_and_is_named() {
    let (mut w, rows) = World::usual(1, 2);
    let x = |number: &str| x_number(rows.interface, number);
    let good = || made(x("1711"));
    let bad_limit = || {
        let Entity::XNumber(x) = x("1712") else {
            unreachable!()
        };
        made(Entity::XNumber(XNumber { line_limit: 0, ..x }))
    };
    let (one, two) = (w.x("17000000"), w.x("17000001"));
    let before = w.state.hash();
    for (n, (many, field)) in [
        (vec![], "rows"),
        (vec![good(); 2_001], "rows"),
        (
            vec![good(), bad_limit(), made(x("abc"))],
            "rows[1].line_limit",
        ),
        (
            vec![good(), made(Entity::AGroup(AGroup { name: "g".into() }))],
            "rows[1].entity",
        ),
        // Names: there already, twice in the command, taken from a row that keeps it.
        (vec![good(), made(x("17000000"))], "rows[1].number"),
        (vec![good(), made(x("1712")), good()], "rows[2].number"),
        (vec![changed(one, 1, x("17000001"))], "rows[0].number"),
        (vec![changed(one, 1, x("1711")), good()], "rows[1].number"),
        (
            vec![changed(one, 1, x("1711")), changed(one, 1, x("1712"))],
            "rows[1].id",
        ),
        (vec![good(), changed(99, 1, x("1712"))], "rows[1].id"),
        (vec![good(), changed(one, 2, x("1712"))], "rows[1].version"),
    ]
    .into_iter()
    .enumerate()
    {
        match put(&mut w, 1_000 + n as u64, many) {
            Reply::Refused(Refusal::Invalid { field: found, .. }) => assert_eq!(found, field),
            other => panic!("{field}: {other:?}"),
        }
        assert!(w.effects.is_empty());
        assert_eq!(w.state.x_numbers().len(), 2);
    }
    assert_ne!(w.state.hash(), before, "the refusals are remembered");
    // A name that a row gives up may be taken by a later one.
    let reply = put(
        &mut w,
        2_000,
        vec![
            changed(one, 1, x("1711")),
            changed(two, 1, x("17000000")),
            made(x("17000001")),
        ],
    );
    assert!(matches!(reply, Reply::Rows(_)), "{reply:?}");
    assert_eq!(w.state.find(Table::XNumbers, "17000000"), Some(two));
    assert_eq!(w.state.find(Table::XNumbers, "1711"), Some(one));
    // A number in use keeps its name.
    let (_, attempt) = w.reserved(rows.mapping, "1", "138");
    let held = w.x(&attempt.lease.expect("AXB").x);
    match put(
        &mut w,
        2_001,
        vec![PutRow {
            version: None,
            ..changed(held, 0, x("1799"))
        }],
    ) {
        Reply::Refused(Refusal::Invalid { field, text }) => {
            assert_eq!(field, "rows[0].id");
            assert!(text.contains("binding"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn accounts_put_in_bulk_open_with_their_money() {
    let mut w = World::empty();
    let Reply::Rows(ids) = put(
        &mut w,
        900,
        vec![made(account("c8", "g")), made(account("c9", "g"))],
    ) else {
        panic!("refused")
    };
    for id in ids {
        let opening = w.state.account(id).expect("row").entity.money;
        assert_eq!(w.state.account_balance(id), (opening, 0));
    }
    assert_eq!(w.state.payments().len(), 2);
}

fn part(import: u64, part: u32, last: bool, rows: &[(u32, &str, &str)]) -> RegionEdit {
    RegionEdit {
        request: import * 100 + u64::from(part),
        actor: "importer".into(),
        import,
        part,
        last,
        replace: true,
        rows: rows
            .iter()
            .map(|(mobile_prefix, code, name)| RegionRow {
                mobile_prefix: *mobile_prefix,
                area_code: (*code).into(),
                area_name: (*name).into(),
            })
            .collect(),
    }
}

fn refused_field(reply: Reply) -> String {
    match reply {
        Reply::Refused(Refusal::Invalid { field, .. }) => field,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_region_table_comes_in_parts_and_in_force_at_once() {
    let mut w = World::empty();
    let load = |w: &mut World, edit: &RegionEdit| w.apply(Command::Regions(edit.clone()));
    let first = part(1, 0, false, &[(1_381_234, "0571", "浙江杭州")]);
    assert_eq!(load(&mut w, &first), Reply::Done);
    assert_eq!(
        w.state.area_of("13812345678"),
        None,
        "not before the last part"
    );
    let progress = w.state.region_import().expect("under way");
    assert_eq!((progress.import, progress.parts, progress.rows), (1, 1, 1));
    assert_eq!(
        load(&mut w, &first),
        Reply::Done,
        "a repeat changes nothing"
    );
    assert_eq!(w.state.region_import().expect("under way").parts, 1);
    // A part that is not next, a part of another import, a changed mind, a bad row: refused, and the import stands.
    assert_eq!(refused_field(load(&mut w, &part(1, 2, true, &[]))), "part");
    assert_eq!(
        refused_field(load(&mut w, &part(9, 1, true, &[]))),
        "import"
    );
    let turned = RegionEdit {
        replace: false,
        request: 77,
        ..part(1, 1, true, &[])
    };
    assert_eq!(refused_field(load(&mut w, &turned)), "replace");
    let bad = RegionEdit {
        request: 78,
        ..part(1, 1, true, &[(1, "571", "x")])
    };
    assert_eq!(refused_field(load(&mut w, &bad)), "rows[0].mobile_prefix");
    let many = RegionEdit {
        request: 79,
        ..part(
            1,
            1,
            true,
            &vec![(1_300_000, "571", "x"); REGION_ROWS_MAX + 1],
        )
    };
    assert_eq!(refused_field(load(&mut w, &many)), "rows");
    let last = part(1, 1, true, &[(1_391_234, "10", "北京")]);
    assert_eq!(load(&mut w, &last), Reply::Done);
    assert_eq!(w.state.region_import(), None);
    assert_eq!(w.state.area_of("13812345678"), Some("571"));
    assert_eq!(w.state.area_of("013912345678"), Some("10"));
    assert_eq!(w.state.regions().len(), 2);
    assert_eq!(w.state.regions().loaded_at(), Some(w.now));
    let line = w.state.audit().next_back().expect("a line");
    assert_eq!(
        line.deed,
        Deed::Regions {
            rows: 2,
            replaced: true
        }
    );
    // An import that never ends is dropped by the next; what is in force stays until that one's end.
    load(&mut w, &part(2, 0, false, &[(1_500_000, "21", "上海")]));
    assert_eq!(
        load(&mut w, &part(3, 0, false, &[(1_600_000, "22", "天津")])),
        Reply::Done
    );
    assert_eq!(
        refused_field(load(&mut w, &part(2, 1, true, &[]))),
        "import"
    );
    let bytes = tandem_cluster::codec::encode(&w.state).expect("encodes");
    let read: tandem_cluster::state::State =
        tandem_cluster::codec::decode(&bytes).expect("decodes");
    assert!(read == w.state, "an unfinished import is part of the state");
    assert_eq!(load(&mut w, &part(3, 1, true, &[])), Reply::Done);
    let prefixes: Vec<u32> = w
        .state
        .regions()
        .from(0)
        .map(|row| row.mobile_prefix)
        .collect();
    assert_eq!(prefixes, [1_600_000]);
}

#[test]
fn an_x_for_a_region_serves_its_callers_fixed_and_mobile() {
    let (mut w, rows) = World::usual(9, 0);
    w.change_mapping(rows.mapping, |g| g.x_select_mode = XSelect::Restrict);
    w.apply(Command::Regions(part(
        1,
        0,
        true,
        &[(1_381_234, "571", "浙江杭州"), (1_391_234, "10", "北京")],
    )));
    let x = |number: &str, callers: &[&str]| {
        let Entity::XNumber(x) = x_number(rows.interface, number) else {
            unreachable!()
        };
        Entity::XNumber(XNumber {
            callers: callers.iter().map(|c| c.to_string()).collect(),
            line_limit: 50,
            ..x
        })
    };
    // With and without the leading 0; one X for several regions; better ranks before the region.
    w.put(x("1701", &["@0571"]));
    w.put(x("1702", &["@10", "@021"]));
    w.put(x("1703", &["0571999*"]));
    for (n, (caller, expected)) in [
        ("057188886666", Some("1701")),
        ("13812345678", Some("1701")),
        ("+8613812345678", Some("1701")),
        ("8657188886666", Some("1701")),
        ("01088886666", Some("1702")),
        ("013912345678", Some("1702")),
        ("02188886666", Some("1702")),
        ("05719998888", Some("1703")),
        ("075588886666", None),
        ("13712345678", None),
    ]
    .into_iter()
    .enumerate()
    {
        let callee = format!("139{n:08}");
        match expected {
            Some(x) => {
                let (_, attempt) = w.reserved(rows.mapping, caller, &callee);
                assert_eq!(attempt.lease.expect("AXB").x, x, "{caller}");
            }
            None => assert_eq!(
                w.refused(rows.mapping, caller, &callee),
                Refusal::NoAxbNumber,
                "{caller}"
            ),
        }
    }
    assert_eq!(
        refused_field(w.try_put(None, x("1704", &["@00571"]))),
        "callers"
    );
}
