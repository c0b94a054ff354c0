//! The page for people who write a definition says nothing that is not so.

use super::super::{Definition, FUNCTIONS};

const PAGE: &str = include_str!("../../../../ops/docs/vendors.md");

/// The first code below a heading.
fn example(heading: &str) -> &str {
    let (_, rest) = PAGE.split_once(&format!("## {heading}\n")).unwrap();
    let (_, rest) = rest.split_once("```toml\n").unwrap();
    rest.split_once("```").unwrap().0
}

#[test]
fn the_example_of_the_page_is_sound_and_its_call_backs_are() {
    let whole = format!("{}\n{}", example("A whole one"), example("Call-backs"));
    let definition = Definition::parse(&whole).unwrap();
    assert_eq!(definition.callbacks.len(), 2);
    let definition = match Definition::parse(example("A whole one")) {
        Ok(definition) => definition,
        Err(mistakes) => panic!("{mistakes:#?}"),
    };
    assert!(definition.policy.query && !definition.policy.ax);
}

#[test]
fn the_example_of_a_platform_that_asks_is_sound() {
    let definition = match Definition::parse(example("Platforms that ask us")) {
        Ok(definition) => definition,
        Err(mistakes) => panic!("{mistakes:#?}"),
    };
    assert!(definition.policy.asks && definition.questions.len() == 1);
}

#[test]
fn the_page_lists_every_function_in_its_own_words() {
    for function in FUNCTIONS {
        let args = match function.args {
            "" => String::new(),
            args => format!("({args})"),
        };
        let help = function.help.replace('|', "\\|");
        let row = format!(
            "| `{}{args}` | {} | {help} |",
            function.name, function.turns
        );
        assert!(PAGE.contains(&row), "{row}");
    }
}

#[test]
fn the_page_names_every_operation() {
    for (name, _) in super::super::load::OPS {
        assert!(PAGE.contains(&format!("`{name}`")), "{name}");
    }
}
