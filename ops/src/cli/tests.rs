//! Commands as typed, against a running API.

use super::*;
use crate::api::{Access, Api, Config, Token};
use crate::fake::Fake;
use crate::seed;
use crate::switch::Switch;
use clap::{CommandFactory, Parser};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;

#[derive(Debug, Parser)]
#[command(name = "tandem")]
struct Line {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: ClientCommand,
}

struct World {
    fake: Arc<Fake>,
    api: Api,
}

impl World {
    async fn new() -> World {
        let fake = Fake::new().await;
        let sample = seed::parse(&seed::sample(15_000)).expect("the sample is right");
        assert_eq!(
            seed::apply(&*fake, "test", &sample).await.failed,
            Vec::<String>::new()
        );
        let config = Config {
            listen: "127.0.0.1:0".parse().expect("an address"),
            tokens: vec![Token::new("root", Access::Admin, "secret-1")],
            workers: 1,
            public_url: None,
        };
        let metrics = crate::metrics::install().expect("a recorder");
        let api = crate::api::start(config, fake.clone(), metrics).expect("a free port");
        World { fake, api }
    }

    /// What a command prints and how it ends.
    async fn run(&self, line: &str) -> (String, Result<Exit, CliError>) {
        let server = format!("http://{}", self.api.address());
        let words = ["tandem", "--server", &server, "--token", "secret-1"];
        run(words
            .into_iter()
            .map(str::to_owned)
            .chain(line.split(' ').map(str::to_owned)))
        .await
    }

    async fn prints(&self, line: &str) -> String {
        let (text, done) = self.run(line).await;
        assert_eq!(done, Ok(Exit::Ok), "{line}");
        text
    }

    async fn fails(&self, line: &str) -> (Exit, String) {
        match self.run(line).await {
            (_, Err(error)) => (error.exit, error.text),
            (text, Ok(exit)) => (exit, text),
        }
    }
}

async fn run(words: impl IntoIterator<Item = String>) -> (String, Result<Exit, CliError>) {
    let Line { globals, command } = Line::try_parse_from(words).expect("a command");
    let mut out = Vec::new();
    let client = Client::new(&globals).expect("a client");
    let mut printer = Printer::new(&mut out, globals.output, &globals.columns);
    let mut done = verbs::carry_out(&command, &client, &mut printer).await;
    if done.is_ok() {
        done = printer.finish().and(done);
    }
    drop(printer);
    (String::from_utf8(out).expect("text"), done)
}

#[test]
fn the_command_line_holds_together() {
    Line::command().debug_assert();
}

#[test]
fn commands_of_the_outside_are_read() {
    for line in [
        "cluster status",
        "cluster drain dev-1",
        "cluster add --id 4 --address 10.0.0.4:5070 --replaces dev-2",
        "cluster remove dev-2 --force",
        "cluster move dev-2 --address 10.0.0.5:5070",
        "cluster transfer-leader",
        "device list -o json",
        "device sync dev-2",
        "device sync dev-2 --check",
        "device set dev-2 log_level=debug calls_max=",
        "device label dev-2 room-b",
        "interface list type=huawei",
        "interface types",
        "interface types huawei -o json",
        "binding list x=170 interface=hz --sort -created_at --watch",
        "x add interface=hz number=170",
        "a-group remove ga gb",
        "a set ga/021 line_limit=2 --version 3",
        "mapping-gateway show customer",
        "routing-gateway list --watch",
        "account pay c1 -0.5 --memo correction",
        "rate list group=landing --limit 10",
        "binding force-unbind 1 2 3",
        "binding reconcile --interface hz --apply",
        "route test --from customer --caller 139 --callee 138 --seed 7",
        "ax list state=bound",
        "ax add interface=hz a_number=021 x_number=170",
        "ax bind 021/170 --wait-secs 3",
        "ax force-unbind 1 2",
        "call hangup 4294967297",
        "cdr export --since 2025-11-21 --until 2025-11-22 -o csv",
        "axb-cdr query --x 17000000000 --newest-first",
        "report axb --since 2025-11-01 --until 2025-12-01 --period month",
        "audit list actor=root",
        "seed apply sample.toml",
        "status dev-3",
        "x import numbers.xlsx --interface hz --dry-run --update --progress",
        "a import - --format csv --group ga --progress never",
        "x export number=170* --file numbers.xlsx --labels",
        "a export -o xlsx",
        "region import phone.dat --replace",
        "region import areas.txt --format csv --dry-run",
        "region lookup 13800000000",
        "region list area_code=571 --limit 3",
        "region export -o csv",
        "plan --calls-per-second 10 --answer-time 8 --talk-time 60 --unbind-delay null,0 --unbind-delay 5",
    ] {
        let words = std::iter::once("tandem").chain(line.split(' '));
        assert!(Line::try_parse_from(words).is_ok(), "{line}");
    }
}

#[tokio::test]
async fn ax_relations_are_bound_and_released_from_the_line() {
    let world = World::new().await;
    let added = "ax add interface=huawei-sim a_number=02100000000 x_number=17000000000";
    world.prints(added).await;
    let list = world.prints("ax list -o jsonl").await;
    assert!(list.contains(r#""state":"unbound""#), "{list}");

    // Nobody asks a platform here, so the wish stands and the command says so.
    let (exit, _) = world
        .fails("ax bind 02100000000/17000000000 --wait-secs 0")
        .await;
    assert_eq!(exit, Exit::Error);
    let row = world
        .prints("ax show 02100000000/17000000000 -o json")
        .await;
    assert!(row.contains(r#""state": "binding""#), "{row}");

    let (exit, text) = world.fails("ax remove 02100000000/17000000000").await;
    assert_eq!(exit, Exit::Refused, "{text}");
    world
        .prints("ax force-unbind 02100000000/17000000000")
        .await;
    world.prints("ax remove 02100000000/17000000000").await;
    let (exit, text) = world.fails("ax bind 02100000000/17000000000").await;
    assert_eq!(
        (exit, &*text),
        (Exit::NotFound, "no AX binding `02100000000/17000000000`")
    );
    let audit = world.prints("audit list -o jsonl").await;
    assert!(audit.contains(r#""action":"force_unbind""#), "{audit}");
}

#[tokio::test]
async fn a_call_is_explained_without_being_made() {
    let world = World::new().await;
    let told = world
        .prints("route test --from customer --caller 13900000001 --callee 13800000001 --seed 7")
        .await;
    for line in [
        "from      customer",
        "caller    13900000001",
        "rate      0.1 per 60 s (group customers, prefix ``)",
        "  A       group ga: 200 of 200 with a free line",
        "interface huawei-sim, mode none: 100 in all; may be taken: 100 other; left out: none",
        "  landing account landing, 0.03 per 60 s (group landing, prefix `170`)",
        "result    goes out over `platform` with A 021",
    ] {
        assert!(told.contains(line), "no `{line}` in\n{told}");
    }
    let json = world
        .prints("route test --from customer --caller 1 --callee 900 -o json")
        .await;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["account"]["available"], "1000000");
    assert!(world.fake.state().calls().next().is_none());

    world
        .prints("mapping-gateway set customer lock_type=3")
        .await;
    let (told, exit) = world
        .run("route test --from customer --caller 1 --callee 2")
        .await;
    assert_eq!(exit, Ok(Exit::Refused), "{told}");
    assert!(told.contains("REFUSED, gateway_locked"), "{told}");
    let (exit, _) = world
        .fails("route test --from nobody --caller 1 --callee 2")
        .await;
    assert_eq!(exit, Exit::NotFound);
}

#[tokio::test]
async fn a_platform_is_compared_with_the_state() {
    let world = World::new().await;
    let (shown, exit) = world.run("binding reconcile -o csv").await;
    assert_eq!(
        exit,
        Ok(Exit::Error),
        "differences that stay are no success"
    );
    assert!(
        shown.contains("huawei-sim,platform,binding,,02100000007,17000000001,13800000000,shown"),
        "{shown}"
    );
    let cleared = world
        .prints("binding reconcile --interface huawei-sim --apply -o csv")
        .await;
    assert!(cleared.contains(",cleared,"), "{cleared}");
    let (exit, text) = world.fails("binding reconcile --interface none").await;
    assert_eq!((exit, &*text), (Exit::NotFound, "no interface `none`"));
}

#[tokio::test]
async fn rows_are_edited_from_the_line() {
    let world = World::new().await;
    world.prints("a-group add name=gb memo=second").await;
    world
        .prints("a add group=gb number=0219 line_limit=2")
        .await;
    assert_eq!(
        world
            .prints("a list group=gb --columns number,line_limit,concurrency")
            .await,
        "NUMBER  LINE_LIMIT  CONCURRENCY\n0219    2           0\n"
    );
    world.prints("a set gb/0219 line_limit=3").await;
    let shown: Value =
        serde_json::from_str(&world.prints("a show gb/0219 -o json").await).expect("JSON");
    assert_eq!(
        (&shown["line_limit"], &shown["version"]),
        (&Value::from(3), &Value::from(2))
    );
    let stale = world.fails("a set gb/0219 line_limit=4 --version 1").await;
    let said = "A number `gb/0219` has been changed, its version is 2 now";
    assert_eq!(stale, (Exit::Refused, said.to_owned()));
    assert_eq!(
        world
            .prints("x list -o csv --columns number")
            .await
            .lines()
            .count(),
        101
    );
    assert_eq!(
        world
            .prints("x list -o jsonl --limit 7")
            .await
            .lines()
            .count(),
        7
    );
    assert_eq!(
        world
            .prints("account list type=settlement -o csv --columns account,money")
            .await,
        "account,money\nlanding,1000000\naxb,1000000\n"
    );
    let paid: Value =
        serde_json::from_str(&world.prints("account pay c1 -0.5 -o jsonl").await).expect("JSON");
    assert_eq!(paid["balance"], "999999.5");
    world
        .prints("rate add group=customers prefix=00 fee=1.5 period=60")
        .await;
    assert!(
        world
            .prints("rate show customers/")
            .await
            .contains("any callee")
    );
}

#[tokio::test]
async fn exit_codes_tell_what_happened() {
    let world = World::new().await;
    for (line, exit, said) in [
        ("interface show hz-9", Exit::NotFound, "no interface `hz-9`"),
        (
            "interface remove huawei-sim",
            Exit::Refused,
            "interface `huawei-sim` is used by",
        ),
        (
            "x add interface=hz-9 number=1",
            Exit::Refused,
            "`interface`: no interface `hz-9`",
        ),
        (
            "x add colour=red",
            Exit::Usage,
            "X number has no field `colour`",
        ),
        (
            "x list colour=red",
            Exit::Usage,
            "no field `colour` to filter by",
        ),
        (
            "cdr export -o table",
            Exit::Usage,
            "an export is jsonl or csv",
        ),
        ("seed apply /nowhere.toml", Exit::Usage, "`/nowhere.toml`: "),
        (
            "device info dev-2",
            Exit::Unavailable,
            "device `dev-2` does not answer",
        ),
        (
            "cluster transfer-leader dev-2",
            Exit::Refused,
            "device `dev-1`: raft node 2 is behind",
        ),
        ("binding unbind 77", Exit::NotFound, "no binding `77`"),
        (
            "cluster add --id 3 --address 10.0.0.3:5070",
            Exit::Refused,
            "node 3 was a member once",
        ),
        (
            "cluster add --id 5 --address 10.0.0.5:5070 --wait-secs 0",
            Exit::Partly,
            "node 5 has caught up with 20 of 700 entries",
        ),
        ("cluster remove 7", Exit::NotFound, "no member 7"),
        ("cluster remove dev-2", Exit::Refused, "no quorum without"),
    ] {
        let (got, text) = world.fails(line).await;
        assert_eq!(
            (got, text.starts_with(said)),
            (exit, true),
            "{line}: {text}"
        );
    }
    let added = world
        .prints("cluster add --id 4 --address 10.0.0.4:5070")
        .await;
    assert!(added.contains("voter"), "{added}");
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("state.backup");
    let line = format!("backup {}", file.display());
    let told = world.prints(&line).await;
    assert!(told.contains("fake"), "{told}");
    let bytes = std::fs::read(&file).expect("is there");
    assert!(tandem_cluster::backup::check(&bytes[..]).is_ok());
    world.prints("a-group add name=gb").await;
    assert_eq!(
        world.fails("a-group remove gb gc").await,
        (Exit::Partly, "no A group `gc`".to_owned())
    );
    assert_eq!(world.run("cluster snapshot").await.1, Ok(Exit::Partly));
    world.fake.no_quorum.store(true, Ordering::Relaxed);
    assert_eq!(
        world.fails("a-group add name=gd").await.0,
        Exit::Unavailable
    );
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_does_not_answer() {
    let world = World::new().await;
    let dead = std::net::TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("its address");
    let words = |servers: String, token: &str| {
        [
            "tandem", "--server", &servers, "--token", token, "status", "-o", "jsonl",
        ]
        .map(str::to_owned)
    };
    let both = format!("{dead},{}", world.api.address());
    let (text, done) = run(words(both, "secret-1")).await;
    assert_eq!(
        (done, text.contains("\"name\":\"dev-1\"")),
        (Ok(Exit::Ok), true),
        "{text}"
    );
    let (_, done) = run(words(dead.to_string(), "secret-1")).await;
    let error = done.expect_err("nobody answers");
    assert_eq!(
        (error.exit, error.text.contains(&dead.to_string())),
        (Exit::Unavailable, true),
        "{}",
        error.text
    );
    let (_, done) = run(words(world.api.address().to_string(), "wrong")).await;
    assert_eq!(
        done,
        Err(CliError::new(
            Exit::Unauthorised,
            "the token is not known here"
        ))
    );
}

#[tokio::test]
async fn what_runs_is_shown_and_exported() {
    let world = World::new().await;
    let call = world.fake.call(1, "13812341234");
    world.fake.records(1_500).await;
    let calls = world.prints("call list").await;
    assert!(
        calls.contains("13812341234") && calls.contains(&call.to_string()),
        "{calls}"
    );
    assert!(
        world
            .prints("binding list -o csv")
            .await
            .contains("huawei-sim")
    );
    world.prints(&format!("call hangup {call}")).await;
    assert_eq!(world.fake.hung_up.lock().expect("free").len(), 1);
    assert_eq!(world.prints("axb-cdr export").await.lines().count(), 1_500);
    assert_eq!(
        world.prints("cdr export -o csv").await.lines().count(),
        1_501
    );
    assert_eq!(
        world
            .prints("cdr query --limit 1200 -o jsonl")
            .await
            .lines()
            .count(),
        1_200
    );
    let cluster = world.prints("cluster status").await;
    assert!(
        cluster.starts_with("leader dev-1, term 4, level 1\nNAME"),
        "{cluster}"
    );
    assert!(
        world
            .prints("device sync dev-1")
            .await
            .contains("a-numbers")
    );
    assert!(
        world
            .prints("audit list action=add --limit 1")
            .await
            .contains("fee-rates/customers/")
    );
}

#[tokio::test]
async fn a_seed_file_with_mistakes_is_not_sent() {
    let world = World::new().await;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("seed.toml");
    std::fs::write(&path, "[[a_groups]]\nname = 'gz'\ncolour = 1\n").expect("written");
    let before = world.fake.state().hash();
    let (exit, text) = world.fails(&format!("seed apply {}", path.display())).await;
    assert_eq!(
        (exit, text),
        (
            Exit::Usage,
            format!("{}:3:1: unknown field `colour`", path.display())
        )
    );
    assert_eq!(world.fake.state().hash(), before);
    std::fs::write(&path, "[[a_groups]]\nname = 'gz'\n").expect("written");
    let shown = world
        .prints(&format!("seed apply {} -o jsonl", path.display()))
        .await;
    assert_eq!(
        shown,
        "{\"changed\":0,\"equal\":0,\"failed\":[],\"made\":1}\n"
    );
}

#[tokio::test]
async fn files_of_numbers_go_in_and_out() {
    let world = World::new().await;
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let written = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).expect("written");
        path(name)
    };
    let wrong = written(
        "wrong.csv",
        "电话号码,线路上限\n180,1\nx,1\n181,none\n17000000000,1\n",
    );
    let before = world.fake.state().hash();
    let (exit, text) = world
        .fails(&format!("x import {wrong} --interface huawei-sim"))
        .await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((exit, lines.len()), (Exit::Error, 4), "{text}");
    assert_eq!(
        lines[1],
        format!("{wrong}:4: `line_limit`: `none` is not a whole number")
    );
    assert_eq!(lines[3], "3 of 4 rows are wrong; nothing was applied");
    let good = written("good.csv", "number,line_limit\n180,3\n181,4\n");
    let dry = world
        .prints(&format!(
            "x import {good} --interface huawei-sim --dry-run -o jsonl"
        ))
        .await;
    assert_eq!(
        dry,
        "{\"changed\":0,\"dry_run\":true,\"equal\":0,\"failed\":null,\"made\":2}\n"
    );
    assert_eq!(world.fake.state().hash(), before);
    let done = world
        .prints(&format!("x import {good} --interface huawei-sim"))
        .await;
    assert!(
        done.starts_with("made     2\nchanged  0\nequal    0\n"),
        "{done}"
    );
    assert_eq!(
        world
            .prints("x export number=18* --columns number")
            .await
            .lines()
            .count(),
        3
    );
    for name in ["all.xlsx", "all.csv"] {
        let file = path(name);
        world
            .prints(&format!("x export --file {file} --labels"))
            .await;
        let again = world
            .prints(&format!(
                "x import {file} --update -o csv --columns equal,changed"
            ))
            .await;
        assert_eq!(again, "equal,changed\n102,0\n", "{name}");
    }
    let a = written("a.txt", "number;group\n0219;ga\n");
    let made = world
        .prints(&format!("a import {a} -o csv --columns made"))
        .await;
    assert_eq!(made, "made\n1\n");
    for (line, exit, said) in [
        (
            format!("x import {}", path("none.csv")),
            Exit::Usage,
            "No such file".to_owned(),
        ),
        (
            format!("x import {}", written("numbers", "number\n1\n")),
            Exit::Usage,
            "say its form with --format".into(),
        ),
        (
            format!("x import {good} --format xlsx"),
            Exit::Error,
            "the workbook cannot be read".into(),
        ),
        (
            format!("x import {good} --interface hz-9"),
            Exit::Error,
            "`interface`: no interface `hz-9`".into(),
        ),
        (
            "x list -o xlsx".to_owned(),
            Exit::Usage,
            "only exports of numbers and regions are workbooks".into(),
        ),
        (
            "x export -o json".to_owned(),
            Exit::Usage,
            "an export of rows is csv or xlsx".into(),
        ),
    ] {
        let (got, text) = world.fails(&line).await;
        assert_eq!((got, text.contains(&said)), (exit, true), "{line}: {text}");
    }
}

#[tokio::test]
async fn regions_are_loaded_from_the_line() {
    let world = World::new().await;
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("areas.csv");
    std::fs::write(
        &file,
        "mobile_prefix,area_code,area_name\n1380571,0571,杭州\n",
    )
    .expect("written");
    let made = world
        .prints(&format!(
            "region import {} -o csv --columns made,failed",
            file.display()
        ))
        .await;
    assert_eq!(made, "made,failed\n1,\n");
    assert_eq!(
        world.prints("region lookup 13805711234 -o csv").await,
        "number,area_code,area_name,source\n13805711234,571,杭州,mobile\n"
    );
    assert_eq!(
        world.prints("region list").await,
        "MOBILE_PREFIX  AREA_CODE  AREA_NAME\n1380571        571        杭州\n"
    );
    assert_eq!(
        world.prints("region export").await,
        "mobile_prefix,area_code,area_name\n1380571,0571,杭州\n"
    );
    assert_eq!(
        world.fails("region lookup 13900000000").await.0,
        Exit::NotFound
    );
}

#[tokio::test]
async fn types_are_shown_with_their_parameters_and_addresses() {
    let world = World::new().await;
    assert_eq!(
        world
            .prints("interface types -o csv --columns id,name,policy.conflict")
            .await,
        "id,name,policy.conflict\n1,huawei,x_callee\n2,lone,x_exclusive\n"
    );
    let shown = world.prints("interface types lone").await;
    for part in [
        "lone (type 2): Platform 2\n",
        "AX yes, AX outgoing yes, reconcile yes, conflict x_exclusive, pair rest 2000 ms\n",
        "urls.base = https://lone.invalid\nurls.bind = /bind (POST)\n\n",
        "0 to 7776000, warns below 7200",
        "aksk | wsse",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let whole: Value =
        serde_json::from_str(&world.prints("interface types 1 -o json").await).expect("JSON");
    assert_eq!(whole["params"][1]["secret"], true);
    assert_eq!(
        world.fails("interface types none").await,
        (Exit::NotFound, "no interface type `none`".to_owned())
    );
}

#[tokio::test]
async fn what_is_doubtful_about_a_row_is_said_beside_it() {
    let world = World::new().await;
    let line = "x add interface=huawei-sim number=17100000000 allow_other_callers=no -o json";
    let shown: Value = serde_json::from_str(&world.prints(line).await).expect("JSON");
    let said = warnings(&shown);
    assert!(
        matches!(&*said, [one] if one.ends_with("can be used by nobody")),
        "{said:?}"
    );
    let short = world
        .prints("interface set huawei-sim params.expiration=60 -o json")
        .await;
    let shown: Value = serde_json::from_str(&short).expect("JSON");
    assert_eq!(warnings(&shown).len(), 1, "{shown}");
    let (exit, text) = world
        .fails("interface set huawei-sim params.expirration=60")
        .await;
    assert_eq!(
        (exit, &*text),
        (
            Exit::Refused,
            "`params.expirration`: is no parameter of huawei"
        )
    );
    // Texts from elsewhere do not steer the terminal.
    let evil = serde_json::json!({"warnings": ["\u{1b}[2Jred"]});
    assert_eq!(warnings(&evil), ["\u{b7}[2Jred"]);
    assert_eq!(warnings(&Value::Null), [""; 0]);
}

#[tokio::test]
async fn bindings_are_listed_in_order_and_watched() {
    let world = World::new().await;
    for (call, b) in [(1, "13800000002"), (2, "13800000001")] {
        world.fake.call(call, b);
    }
    assert_eq!(
        world
            .prints(
                "binding list interface=huawei-sim state=binding --sort b -o csv --columns b_number"
            )
            .await,
        "b_number\n13800000001\n13800000002\n"
    );
    let watched = |line: &str| {
        let server = format!("http://{}", world.api.address());
        let words = [
            "tandem", "--server", &server, "--token", "secret-1", "--watch",
        ];
        let words = words.into_iter().chain(line.split(' ')).map(str::to_owned);
        Line::try_parse_from(words).expect("a command")
    };
    let Line { globals, command } = watched("binding list --sort -x");
    let watching = watch(&command, &globals);
    let ended = tokio::time::timeout(Duration::from_millis(500), watching).await;
    assert!(ended.is_err(), "it goes on: {ended:?}");
    let Line { globals, command } = watched("binding unbind 1");
    let refused = watch(&command, &globals)
        .await
        .expect_err("it changes things");
    assert_eq!(refused.exit, Exit::Usage);
}

#[tokio::test]
async fn what_platforms_told_is_listed_exported_and_compared() {
    let world = World::new().await;
    let event = |number: u64| {
        let event = tandem_billing::PlatformEvent {
            interface_name: "huawei-sim".into(),
            kind: tandem_billing::EventKind::Bill,
            started_at: Some(tandem_billing::Time::from_ms(crate::fake::NOW)),
            duration_ms: Some(number * 1_000),
            callback: "bills".into(),
            key: number.to_string(),
            ..Default::default()
        };
        let entry = tandem_billing::codec::Entry::Event(Box::new(event));
        (number, entry)
    };
    let rows: Vec<_> = (1..=3).map(event).collect();
    let store = world.fake.store();
    store.append_entries(&rows).await.expect("stored");
    let table = world.prints("platform-event list --matched false").await;
    assert_eq!(table.lines().count(), 4, "{table}");
    let export = world.prints("platform-event export --kind bill").await;
    assert_eq!(export.lines().count(), 3, "{export}");
    assert!(export.starts_with("{\""), "{export}");
    let csv = world.prints("platform-event export -o csv").await;
    assert!(csv.starts_with("received_at,interface_name,kind,"), "{csv}");
    let (exit, _) = world.fails("platform-event export -o table").await;
    assert_eq!(exit, Exit::Usage);
    let range = "--since 2025-11-21 --until 2025-11-23";
    let report = world
        .prints(&format!("report platform-bills {range} -o csv"))
        .await;
    assert_eq!(report.lines().count(), 4, "{report}");
    assert!(
        report
            .lines()
            .skip(1)
            .all(|line| line.starts_with("only_theirs,")),
        "{report}"
    );
    let totals = world
        .prints(&format!("report platform-bills {range} --totals -o jsonl"))
        .await;
    let totals: Value = serde_json::from_str(&totals).expect("JSON");
    assert_eq!(
        (&totals["bills"], &totals["platform_secs"]),
        (&3.into(), &6.into())
    );
}
