//! Starting with something wrong: one clear line that names the thing, the right exit code, nothing half-written.

use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tandem_tests::process::Guarded;
use tandem_tests::switch::{binary, free_base};
use tandem_tests::{eventually, http, process};

/// A node file for a cluster of one at `base`, with its directory.
fn node_file(dir: &Path, base: u16) -> PathBuf {
    let text = format!(
        r#"[node]
id = 1
access_name = "lone"
data_dir = "{dir}/data"

[sip]
udp = ["127.0.0.1:{udp}"]
tcp = ["127.0.0.1:{udp}"]

[cluster]
id = "lone"
listen = "127.0.0.1:{link}"
peers = [{{ id = 1, address = "127.0.0.1:{link}" }}]

[admin]
listen = "127.0.0.1:{admin}"
token_file = "{dir}/token"
"#,
        dir = dir.display(),
        udp = base + 160,
        link = base + 170,
        admin = base + 180,
    );
    let path = dir.join("node.toml");
    std::fs::write(dir.join("token"), "0123456789abcdef0123456789abcdef\n").expect("a token file");
    std::fs::write(&path, text).expect("a node file");
    path
}

/// Runs the binary to its end, at most 20 s; answers exit code and what it wrote to stderr.
#[track_caller]
fn run(args: &[&str]) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let errors = dir.path().join("errors");
    let mut child = Guarded(
        Command::new(binary())
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&errors).expect("a file"))
            .spawn()
            .expect("the binary is there"),
    );
    let began = Instant::now();
    let code = loop {
        if let Some(status) = child.0.try_wait().expect("it is our child") {
            break status.code();
        }
        if began.elapsed() > Duration::from_secs(20) {
            child.0.kill().expect("it runs");
            child.0.wait().expect("it is our child");
            panic!(
                "tandem {args:?} still runs: {}",
                std::fs::read_to_string(&errors).unwrap_or_default()
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    (code, std::fs::read_to_string(&errors).expect("text"))
}

/// The last line that the program wrote names all of `names`, and nothing like a panic went before it.
#[track_caller]
fn says(errors: &str, names: &[&str]) {
    let last = errors
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or_default();
    for name in names {
        assert!(
            last.contains(name),
            "the last line does not name `{name}`:\n{errors}"
        );
    }
    assert!(
        !errors.contains("panicked") && !errors.contains("RUST_BACKTRACE"),
        "{errors}"
    );
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the tests' paths are text")
}

#[test]
fn a_mistake_in_the_node_file_is_named_with_its_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = node_file(dir.path(), free_base());
    let good = std::fs::read_to_string(&path).expect("just written");
    let cases = [
        ("access_name", "acces_name", &["line 3", "acces_name"][..]),
        ("id = 1\naccess", "id = \"one\"\naccess", &["line 2"][..]),
        ("[admin]", "[admin", &["line 1"][..]),
    ];
    for (from, to, names) in cases {
        std::fs::write(&path, good.replacen(from, to, 1)).expect("a node file");
        for command in [
            &["serve", "--config", text(&path)][..],
            &["config", "check", text(&path)][..],
        ] {
            let (code, errors) = run(command);
            assert_eq!(code, Some(2), "{errors}");
            says(&errors, &[&["node.toml"], names].concat());
        }
        assert!(
            !dir.path().join("data").exists(),
            "a directory was made for a node that cannot start"
        );
    }
    std::fs::write(&path, &good).expect("a node file");
    let (code, errors) = run(&["config", "check", text(&path)]);
    assert_eq!(code, Some(0), "{errors}");
    let (code, errors) = run(&["config", "check", text(&dir.path().join("none.toml"))]);
    assert_eq!(code, Some(3), "{errors}");
    says(&errors, &["none.toml"]);
}

#[test]
fn an_unknown_command_or_flag_is_a_usage_error() {
    for args in [
        &["serv"][..],
        &["serve"],
        &["demo", "--nonsense"],
        &["cdr", "export", "-o", "parchment"],
    ] {
        let (code, errors) = run(args);
        assert_eq!(code, Some(2), "{args:?}: {errors}");
    }
}

#[test]
fn an_occupied_port_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let base = free_base();
    let path = node_file(dir.path(), base);
    type Hold = Box<dyn Fn() -> Box<dyn std::any::Any>>;
    let udp: Hold =
        Box::new(move || Box::new(UdpSocket::bind(("127.0.0.1", base + 160)).expect("free")));
    let tcp = |offset: u16| -> Hold {
        Box::new(move || Box::new(TcpListener::bind(("127.0.0.1", base + offset)).expect("free")))
    };
    for (hold, offset) in [
        (udp, 160),
        (tcp(160), 160),
        (tcp(170), 170),
        (tcp(180), 180),
    ] {
        let held = hold();
        let (code, errors) = run(&["serve", "--config", text(&path)]);
        assert_eq!(code, Some(1), "{errors}");
        says(&errors, &[&(base + offset).to_string()]);
        drop(held);
    }
}

#[test]
fn a_data_directory_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = node_file(dir.path(), free_base());
    // A file where the directory should be: that stops root as well.
    std::fs::write(dir.path().join("data"), "in the way").expect("a file");
    let (code, errors) = run(&["serve", "--config", text(&path)]);
    assert_eq!(code, Some(1), "{errors}");
    says(&errors, &[text(&dir.path().join("data"))]);
    assert_eq!(
        std::fs::read_to_string(dir.path().join("data")).expect("still there"),
        "in the way"
    );
}

/// A small file system of its own; `None` (and a loud line) where mounting is not permitted.
struct Mount(PathBuf);

impl Mount {
    fn tmpfs(at: &Path, options: &str) -> Option<Mount> {
        std::fs::create_dir_all(at).expect("a directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs", text(at)])
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Mount(at.to_owned()));
        }
        eprintln!(
            "NOT TESTED: a file system cannot be mounted here (not root?), so no full and no read-only disk"
        );
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.0.display());
        }
    }
}

#[test]
fn a_read_only_data_directory_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = node_file(dir.path(), free_base());
    let data = dir.path().join("data");
    let Some(mount) = Mount::tmpfs(&data, "ro,size=1m") else {
        return;
    };
    let (code, errors) = run(&["serve", "--config", text(&path)]);
    assert_eq!(code, Some(1), "{errors}");
    says(&errors, &[text(&data)]);
    drop(mount);
}

#[test]
fn a_full_disk_is_named_and_nothing_is_half_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let base = free_base();
    let path = node_file(dir.path(), base);
    let data = dir.path().join("data");
    let Some(mount) = Mount::tmpfs(&data, "size=256k") else {
        return;
    };
    std::fs::write(data.join("ballast"), vec![0; 240 * 1024]).expect("it fits");
    let (code, errors) = run(&["serve", "--config", text(&path)]);
    assert_eq!(code, Some(1), "{errors}");
    says(&errors, &[text(&data)]);
    drop(mount);
    // With room on the same path the node starts as if nothing had been.
    let mut child = Guarded(
        Command::new(binary())
            .args(["serve", "--config", text(&path)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary is there"),
    );
    let admin = std::net::SocketAddr::from(([127, 0, 0, 1], base + 180));
    eventually("a cluster of one is ready", Duration::from_secs(20), || {
        let response = http::request(admin, "GET", "/readyz?verbose", None, None)?;
        if response.status == 200 {
            Ok(())
        } else {
            Err(response.body)
        }
    });
    process::signal(child.id(), "TERM");
    assert!(
        process::gone(child.id(), Duration::from_secs(10)),
        "it does not stop in order"
    );
    assert_eq!(child.0.wait().expect("our child").code(), Some(0));
}

#[test]
fn an_unreachable_peer_is_named_and_the_node_is_not_ready() {
    let dir = tempfile::tempdir().expect("a directory");
    let base = free_base();
    let path = node_file(dir.path(), base);
    let peers = format!(
        "peers = [{{ id = 1, address = \"127.0.0.1:{}\" }}, {{ id = 2, address = \"127.0.0.1:{}\" }}, {{ id = 3, address = \"127.0.0.1:{}\" }}]",
        base + 170,
        base + 270,
        base + 370
    );
    let file = std::fs::read_to_string(&path).expect("just written");
    let file: String = file
        .lines()
        .map(|l| {
            if l.starts_with("peers") {
                format!("{peers}\n")
            } else {
                format!("{l}\n")
            }
        })
        .collect();
    std::fs::write(&path, file).expect("a node file");
    let log = dir.path().join("log");
    let output = std::fs::File::create(&log).expect("a file");
    let mut child = Guarded(
        Command::new(binary())
            .args(["serve", "--config", text(&path)])
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .expect("the binary is there"),
    );
    let peer = format!("127.0.0.1:{}", base + 270);
    eventually(
        "the peer is named in the log",
        Duration::from_secs(20),
        || {
            let text = std::fs::read_to_string(&log).map_err(|e| e.to_string())?;
            let node_log = std::fs::read_to_string(dir.path().join("data/log")).unwrap_or_default();
            let mut lines = text.lines().chain(node_log.lines());
            // A line for people, not the list of addresses that it was started with.
            if lines.any(|line| line.contains("WARN") && line.contains(&peer)) {
                Ok(())
            } else {
                Err(text)
            }
        },
    );
    let admin = std::net::SocketAddr::from(([127, 0, 0, 1], base + 180));
    eventually(
        "it answers all the same, and says what it lacks",
        Duration::from_secs(10),
        || {
            let ready = http::request(admin, "GET", "/readyz?verbose", None, None)?;
            if ready.status == 503 && ready.body.contains("quorum") {
                Ok(())
            } else {
                Err(ready.body)
            }
        },
    );
    process::signal(child.id(), "TERM");
    if !process::gone(child.id(), Duration::from_secs(10)) {
        process::signal(child.id(), "KILL");
        panic!("a node without a quorum does not stop");
    }
    child.0.wait().expect("our child");
}

#[test]
fn a_client_without_a_server_or_a_token_says_so() {
    let nowhere = format!("http://127.0.0.1:{}", free_base());
    let (code, errors) = run(&["--server", &nowhere, "--token", "t", "cluster", "status"]);
    assert_eq!(code, Some(6), "{errors}");
    says(&errors, &[&nowhere["http://".len()..]]);
}
