use super::*;
use crate::fake::{Fake, FakeTypes};
use crate::switch::Switch;

fn mistakes(text: &str) -> Vec<String> {
    let found = check(text, &FakeTypes).mistakes;
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn the_sample_is_right_and_follows_the_ports() {
    for base_port in [15_000, 25_000] {
        let text = sample(base_port);
        assert_eq!(mistakes(&text), Vec::<String>::new());
        assert!(is_seed(&text));
        for port in [60, 50, 80].map(|offset| base_port + offset) {
            assert!(text.contains(&port.to_string()), "{port}");
        }
    }
    let seed = parse(&sample(15_000)).expect("right");
    let count = |table| seed.rows.iter().filter(|row| row.table() == table).count();
    assert_eq!(
        (
            count(Table::XNumbers),
            count(Table::ANumbers),
            count(Table::RoutingGateways)
        ),
        (100, 200, 2)
    );
}

#[tokio::test]
async fn applying_again_changes_nothing_and_a_change_is_one_row() {
    let fake = Fake::new().await;
    let seed = parse(&sample(15_000)).expect("right");
    let first = apply(&*fake, "test", &seed).await;
    assert_eq!(
        first,
        Report {
            made: 311,
            ..Report::default()
        }
    );
    let before = fake.state().hash();
    let again = apply(&*fake, "test", &seed).await;
    assert_eq!(
        (again, fake.state().hash()),
        (
            Report {
                equal: 311,
                ..Report::default()
            },
            before
        )
    );
    let seed = parse(&sample(15_000).replace("unbind_delay_secs = 5", "unbind_delay_secs = 0"))
        .expect("right");
    let third = apply(&*fake, "test", &seed).await;
    assert_eq!(
        third,
        Report {
            changed: 1,
            equal: 310,
            ..Report::default()
        }
    );
}

#[tokio::test]
async fn while_a_reference_is_wrong_nothing_is_changed() {
    let fake = Fake::new().await;
    let before = fake.state().hash();
    let seed = parse(
        "[[a_groups]]\nname = 'g'\n[[a_numbers]]\ngroup = 'h'\nnumber = '1'\n\
         [[a_numbers]]\ngroup = 'g'\nnumbers = ['2', '3']\n",
    )
    .expect("readable");
    let report = apply(&*fake, "test", &seed).await;
    let failed = vec!["A number `h/1`: `group`: no A group `h`".to_owned()];
    assert_eq!(
        (report, fake.state().hash()),
        (
            Report {
                failed,
                ..Report::default()
            },
            before
        )
    );
}

#[tokio::test]
async fn a_row_that_the_cluster_refuses_does_not_stop_the_others() {
    let fake = Fake::new().await;
    let seed = parse(
        "[[a_groups]]\nname = 'g'\n[[a_numbers]]\ngroup = 'g'\nnumbers = ['2', 'two', '3']\n",
    )
    .expect("readable");
    let report = apply(&*fake, "test", &seed).await;
    assert_eq!((report.made, report.failed.len()), (3, 1), "{report:?}");
    assert!(
        report.failed[0].starts_with("A number `g/two`: `number`: "),
        "{report:?}"
    );
}

#[test]
fn every_mistake_is_named_with_its_line() {
    let text = "\
[[interfaces]]
name = 'hz'
type = 'huawei'
colour = 'red'

[[x_numbers]]
interface = 'hz-1'
numbers = '1700..170'

[[x_numbers]]
interface = 'hz-1'
number = '17000000000'
line_limit = 'many'

[[a_groups]]
memo = 'without a name'

[[accounts]]
account = 'c1'
money = 0.5

[[colours]]
name = 'red'

[a_numbers]
number = '1'
";
    assert_eq!(
        mistakes(text),
        [
            "4:1: unknown field `colour`",
            "8:1: `numbers`: `1700..170` needs two numbers of as many digits",
            "13:14: `line_limit`: invalid type: string \"many\", expected u32",
            "15:1: missing field `name`",
            "20:9: `money`: invalid type: floating point `0.5`, expected an amount as a decimal string such as \"0.10\"",
            "22:3: unknown key `colours`",
            "25:2: `a_numbers` is a list, written [[a_numbers]]",
        ]
    );
}

#[test]
fn references_and_repetitions_are_checked_within_the_file() {
    let text = "\
[[a_groups]]
name = 'ga'

[[a_numbers]]
group = 'gb'
number = '1'

[[a_numbers]]
group = 'ga'
numbers = ['2', '2']

[[routing_gateways]]
name = 'r'
prefixes = ['']
remote_ip = '10.0.0.1'
axb_enabled = true
a_group = 'ga'
# the file has no interfaces, so this one is taken to be there
interface = 'hz-1'
timeout = 5
";
    assert_eq!(mistakes(text).len(), 3, "{:?}", mistakes(text));
    let said = mistakes(text).join("\n");
    for part in [
        "5:1: `group`: no A group `gb`",
        "8:",
        "A number `ga/2` is given twice",
        "20:1: unknown field `timeout`",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn what_is_no_toml_is_named_by_place() {
    let said = mistakes("[[a_groups]]\nname = 'ga\n");
    assert!(
        said.first().is_some_and(|first| first.starts_with("2:")),
        "{said:?}"
    );
    assert!(!is_seed("[sip]\nlisten = '127.0.0.1:5060'\n"));
}

#[test]
fn what_is_doubtful_in_a_file_is_named_with_its_line_once() {
    let text = "\
[[interfaces]]
name = 'hz'
type = 'huawei'
params = { expiration = 600 }

[[interfaces]]
name = 'alone'
type = 'lone'

[[x_numbers]]
interface = 'hz'
numbers = '17000000000..17000000999'
allow_other_callers = false

[[x_numbers]]
interface = 'alone'
number = '17100000000'
line_limit = 2

[[x_numbers]]
interface = 'hz'
numbers = ['17200000000', '17200000001']
callers = ['@300']

[[ax_bindings]]
interface = 'alone'
a_number = '02100000000'
x_number = '17200000000'

[[ax_bindings]]
interface = 'alone'
a_number = '02100000000'
x_number = '17100000000'
";
    let found = check(text, &FakeTypes);
    assert_eq!(found.mistakes, []);
    let lines: Vec<String> = found.warnings.iter().map(ToString::to_string).collect();
    let heads = [
        "4:1: `params.expiration` \"600\" is below 7200",
        "13:1: `callers` is empty",
        "18:1: `line_limit` is 2",
        "23:1: `callers` names no region",
        "28:1: `x_number` is not in the X numbers of the interface",
    ];
    assert_eq!(lines.len(), heads.len(), "{lines:?}");
    for (line, head) in lines.iter().zip(heads) {
        assert!(line.starts_with(head), "{head}: {line}");
    }
}

#[test]
fn an_interface_of_a_file_that_cannot_work_is_a_mistake() {
    let text = "[[interfaces]]\nname = 'hz'\ntype = 'huawei'\nparams = { app_sekret = 'hush' }\n";
    assert_eq!(
        mistakes(text),
        ["4:1: `params.app_sekret`: is no parameter of huawei"]
    );
}
