//! The vendors' own SDKs against the platform simulator: they bind, ask, unbind and unbind again, and are refused
//! with one bit of the secret changed. What a client of the vendor sends is thereby what the simulator takes, and what
//! the simulator answers is what a client of the vendor can read.

use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tandem_tests::process::Guarded;
use tandem_tests::switch::{binary, free_port};
use tandem_tests::{eventually, http};

const SECRET: &str = "dev-secret";
/// The lowest bit of its last letter turned.
const OTHER_SECRET: &str = "dev-secreu";

/// A simulator with one vendor, served without a prefix.
struct Platform {
    _process: Guarded,
    _dir: tempfile::TempDir,
    log: PathBuf,
    control: SocketAddr,
    door: u16,
}

impl Platform {
    fn of(vendor: &str, key: &str) -> Platform {
        let dir = tempfile::tempdir().expect("a folder");
        let [control, sip, door] = [(); 3].map(|()| free_port());
        let log = dir.path().join("log");
        let config = format!(
            "http = \"127.0.0.1:{control}\"\nsip = \"127.0.0.1:{sip}\"\ncallee_phone = \"127.0.0.1:9\"\n\
             log = {log:?}\n[vendors.{vendor}]\napp_key = \"{key}\"\napp_secret = \"{SECRET}\"\n\
             x_numbers = [\"17000000000\"]\nhttp = \"127.0.0.1:{door}\"\n"
        );
        let path = dir.path().join("config");
        std::fs::write(&path, config).expect("it can be written");
        let process = Command::new(binary())
            .args(["vendor-sim", "--config"])
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary is there");
        let process = Guarded(process);
        let control = ([127, 0, 0, 1], control).into();
        eventually("the simulator", Duration::from_secs(10), || {
            http::request(control, "GET", "/_sim/bindings", None, None).map(drop)
        });
        Platform {
            _process: process,
            _dir: dir,
            log,
            control,
            door,
        }
    }

    /// What a script says, line by line.
    #[track_caller]
    fn driven_by(&self, script: &str, arguments: &[&str]) -> Vec<Value> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sdks");
        let out = Command::new(python())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .arg(folder.join(script))
            .arg(format!("127.0.0.1:{}", self.door))
            .args(arguments)
            .output()
            .expect("python starts");
        let errors = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{script}: {errors}");
        let text = String::from_utf8(out.stdout).expect("it says text");
        let lines = text.lines().filter(|line| line.starts_with('{'));
        lines
            .map(|line| serde_json::from_str(line).expect("a line is JSON"))
            .collect()
    }

    /// `op code applied` of each line of the simulator's log.
    fn log(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.log).expect("it writes a log");
        text.lines()
            .map(|line| {
                let line: Value = serde_json::from_str(line).expect("a line is JSON");
                let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
                format!("{} {} {}", text("op"), text("code"), line["applied"])
            })
            .collect()
    }
}

/// The Python that has the SDKs: `tests/run` makes it.
fn python() -> PathBuf {
    let path = std::env::var_os("TANDEM_SDKS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/sdks/bin/python3"),
        PathBuf::from,
    );
    assert!(
        path.exists(),
        "no SDKs at {}: `tests/run` installs them",
        path.display()
    );
    path
}

/// One SDK's steps, each as `(step, code)`, with what must stand in the first.
struct Sdk<'a> {
    vendor: &'a str,
    script: &'a str,
    key: &'a str,
    /// Behind key and secret.
    more: &'a [&'a str],
    steps: &'a [(&'a str, &'a str)],
    /// Of the step named.
    says: (&'a str, Value),
    /// With another secret.
    refused: &'a str,
}

#[track_caller]
fn check(sdk: &Sdk) {
    let platform = Platform::of(sdk.vendor, sdk.key);
    let arguments = |secret| [&[sdk.key, secret], sdk.more].concat();
    let said = platform.driven_by(sdk.script, &arguments(OTHER_SECRET));
    let refused = json!([{"step": "bind", "code": sdk.refused}]);
    assert!(
        said.len() == 1 && said[0]["code"] == sdk.refused,
        "{}: {said:?} instead of {refused}",
        sdk.script
    );
    let log = platform.log();
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(
        log[0].starts_with("bind ") && log[0].ends_with(" false"),
        "{log:?}"
    );

    let said = platform.driven_by(sdk.script, &arguments(SECRET));
    let steps: Vec<_> = said
        .iter()
        .map(|line| {
            (
                line["step"].as_str().unwrap(),
                line["code"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(steps, sdk.steps, "{}: {said:?}", sdk.script);
    let (step, wanted) = &sdk.says;
    let line = said.iter().find(|line| line["step"] == *step).unwrap();
    for (name, value) in wanted.as_object().unwrap() {
        assert_eq!(&line[name], value, "{}: {line}", sdk.script);
    }
    let id = |step: &str| {
        said.iter()
            .find(|line| line["step"] == step)
            .map(|line| line["id"].clone())
    };
    if let Some(found) = id("find") {
        assert_eq!(id("bind"), Some(found), "{}", sdk.script);
    }
    let log = platform.log();
    let applied = |op: &str| {
        let lines = log
            .iter()
            .filter(|line| line.starts_with(op) && line.ends_with(" true"));
        lines.count()
    };
    assert_eq!((applied("bind "), applied("unbind ")), (1, 1), "{log:?}");
}

#[test]
fn alibabas_sdk_binds_and_unbinds_with_each_of_its_signatures() {
    for algorithm in ["ACS3-HMAC-SHA256", "ACS3-HMAC-SM3", "v2"] {
        check(&Sdk {
            vendor: "aliyun",
            script: "aliyun.py",
            key: "dev-key",
            more: &[algorithm],
            steps: &[
                ("bind", "OK"),
                ("find", "OK"),
                ("query", "OK"),
                ("unbind", "OK"),
                ("unbind again", "isv.SUBS_NOT_EXIST"),
            ],
            says: ("query", json!({"a": "02100000000", "b": "13900000001"})),
            refused: "SignatureDoesNotMatch",
        });
    }
}

#[test]
fn alibabas_older_sdk_binds_and_unbinds() {
    check(&Sdk {
        vendor: "aliyun",
        script: "aliyun_classic.py",
        key: "dev-key",
        more: &[],
        steps: &[
            ("bind", "OK"),
            ("find", "OK"),
            ("unbind", "OK"),
            ("unbind again", "isv.SUBS_NOT_EXIST"),
        ],
        says: ("bind", json!({"x": "17000000000"})),
        // The client sees that both sides signed the same text.
        refused: "InvalidAccessKeySecret",
    });
}

#[test]
fn tencents_sdk_unbinds_as_often_as_it_bound() {
    for method in ["TC3-HMAC-SHA256", "HmacSHA1", "HmacSHA256"] {
        check(&Sdk {
            vendor: "tencent",
            script: "tencent.py",
            key: "dev-key",
            more: &[method],
            steps: &[
                ("bind", "0"),
                ("bind again", "0"),
                ("unbind", "0"),
                ("unbind the other", "0"),
                ("unbind again", "103"),
            ],
            says: ("bind again", json!({"x": "008617000000000", "count": "2"})),
            refused: "AuthFailure.SignatureFailure",
        });
    }
}

#[test]
fn volcengines_sdk_reads_business_errors_under_http_200() {
    check(&Sdk {
        vendor: "volcengine",
        script: "volcengine_vms.py",
        key: "dev-key",
        more: &[],
        steps: &[
            ("bind", ""),
            ("query", ""),
            ("find", ""),
            ("unbind", ""),
            ("unbind again", "SubscriptionEmpty"),
        ],
        says: ("query", json!({"a": "02100000000", "b": "13900000001"})),
        refused: "UnauthenticatedRequest",
    });
}

#[test]
fn volcengines_sdk_binds_again_when_the_reply_is_cut_and_is_told_of_the_conflict() {
    let platform = Platform::of("volcengine", "dev-key");
    let fault = json!({"vendor": "volcengine", "drop_reply_rate": 1.0, "ops": ["bind"]});
    let fault = fault.to_string();
    let put = http::request(platform.control, "PUT", "/_sim/faults", None, Some(&fault));
    assert_eq!(put.expect("it answers").status, 204);
    let said = platform.driven_by("volcengine_vms.py", &["dev-key", SECRET]);
    assert_eq!(said, [json!({"step": "bind", "code": "no answer"})]);
    assert_eq!(
        platform.log(),
        ["bind  true", "bind ConflictWithExisting false"]
    );
}

#[test]
fn twilios_sdk_closes_and_deletes_its_session() {
    check(&Sdk {
        vendor: "twilio",
        script: "twilio_proxy.py",
        key: "AC00000000000000000000000000000001",
        more: &[],
        steps: &[
            ("bind", "open"),
            ("bind again", "80103"),
            ("find", "open"),
            ("query", ""),
            ("unbind", "closed"),
            ("delete", "True"),
            ("unbind again", "20404"),
        ],
        says: (
            "query",
            json!({"a": "+862100000000", "x": "+8617000000000", "b": "+8613900000001"}),
        ),
        refused: "20003",
    });
}

#[test]
fn plivos_sdk_is_given_an_x_and_deletes_its_session() {
    check(&Sdk {
        vendor: "plivo",
        script: "plivo_masking.py",
        key: "MA000000000000000001",
        more: &[],
        steps: &[
            ("bind", ""),
            ("find", ""),
            ("query", ""),
            ("unbind", ""),
            ("unbind again", "ResourceNotFoundError"),
        ],
        says: ("bind", json!({"x": "8617000000000"})),
        refused: "AuthenticationError",
    });
}
