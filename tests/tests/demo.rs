//! The README's first command.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tandem_tests::process::Guarded;
use tandem_tests::{process, switch};

/// Runs `tandem demo --exit` and answers its exit code and output.
fn demo(args: &[&str]) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("output");
    let file = std::fs::File::create(&path).expect("a file for the output");
    let mut child = Guarded(
        Command::new(switch::binary())
            .arg("demo")
            .args(args)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stderr(file.try_clone().expect("a second handle"))
            .stdout(file)
            .spawn()
            .expect("the binary is there"),
    );
    let began = Instant::now();
    let code = loop {
        if let Some(status) = child.0.try_wait().expect("it is our child") {
            break status.code();
        }
        if began.elapsed() > Duration::from_secs(90) {
            for pid in process::descendants(child.id()) {
                process::signal(pid, "KILL");
            }
            child.0.kill().expect("it still runs");
            panic!(
                "the demo does not end:\n{}",
                std::fs::read_to_string(&path).unwrap_or_default()
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    (
        code,
        std::fs::read_to_string(&path).expect("its output is text"),
    )
}

#[test]
fn twenty_calls_go_through_and_the_first_is_told_step_by_step() {
    let (code, output) = demo(&["--exit"]);
    assert_eq!(code, Some(0), "{output}");
    let x_seen = output.matches("170000000").count();
    assert!(
        x_seen >= 20,
        "20 calls show their X, {x_seen} do:\n{output}"
    );
    for word in ["INVITE", "bind", "180", "200", "BYE", "unbind", "profit"] {
        assert!(
            output.to_lowercase().contains(&word.to_lowercase()),
            "the demo never says {word}:\n{output}"
        );
    }
}

#[test]
fn it_places_as_many_calls_as_asked_and_leaves_no_process() {
    let before = count_of_tandem();
    let (code, output) = demo(&["--exit", "--calls", "3"]);
    assert_eq!(code, Some(0), "{output}");
    let began = Instant::now();
    while count_of_tandem() > before && began.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(
        count_of_tandem(),
        before,
        "processes of the demo are still there"
    );
}

/// Processes that run the binary under test.
fn count_of_tandem() -> usize {
    let binary = switch::binary().canonicalize().expect("it exists");
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| std::fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == binary))
        .count()
}
