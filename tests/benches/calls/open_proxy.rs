//! A yardstick: Kamailio, an open proxy, carrying the same calls between the same SIPp customer and phone.
//! Debian's package `kamailio` has it; unpacking it is enough, no daemon is wanted. Its program must be on the `PATH`.
//!
//! Its script is the least that carries a call: stateful relaying with a recorded route. It keeps no dialog, asks
//! nobody, counts no line, bills nothing, writes no record, and nobody takes over when it dies.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tandem_tests::process::{self, Guarded};
use tandem_tests::wire::Wire;
use tandem_tests::{eventually, switch};

/// A running Kamailio that sends every call to one phone.
pub struct OpenProxy {
    main: Guarded,
    port: u16,
}

impl OpenProxy {
    /// What it calls itself, if it is there.
    pub fn version() -> Option<String> {
        let out = Command::new(program()?).arg("-v").output().ok()?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let word = text
            .split_whitespace()
            .skip_while(|word| *word != "kamailio");
        Some(format!("Kamailio {}", word.clone().nth(1)?))
    }

    /// Starts it with two workers, one a core, and waits until it answers.
    pub fn start(dir: &Path, phone: u16) -> OpenProxy {
        let program = program().expect("its version was asked for");
        let modules = modules(&program).expect("its modules lie beside it");
        let port = switch::free_port();
        let config = dir.join("kamailio.cfg");
        std::fs::write(&config, script(port, phone, &modules)).expect("folder of the bench");
        let log = File::create(dir.join("kamailio.log")).expect("folder of the bench");
        let main = Command::new(program)
            .args(["-DD", "-E", "-m", "512", "-M", "32", "-f"])
            .arg(&config)
            .args(["-Y", "."])
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("it was asked for its version");
        let proxy = OpenProxy {
            main: Guarded(main),
            port,
        };
        eventually("Kamailio answers", Duration::from_secs(10), || {
            let wire = Wire::udp(proxy.address());
            wire.send(wire.request("OPTIONS", "sip:proxy", 70, "").as_bytes());
            let answer = wire.receive(Duration::from_millis(200));
            answer.map(drop).ok_or_else(|| "no answer yet".to_owned())
        });
        proxy
    }

    pub fn address(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Processor time of all its processes, in milliseconds.
    pub fn cpu_ms(&self) -> f64 {
        let all = process::descendants(self.main.id());
        let used: Duration = all
            .into_iter()
            .chain([self.main.id()])
            .map(process::cpu)
            .sum();
        used.as_secs_f64() * 1000.0
    }
}

impl Drop for OpenProxy {
    fn drop(&mut self) {
        process::signal(self.main.id(), "TERM");
        let began = Instant::now();
        while process::alive(self.main.id()) && began.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
            // Reaped by the guard; until then it only must have ended its children.
            if process::descendants(self.main.id()).is_empty() {
                break;
            }
        }
    }
}

fn program() -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths)
        .map(|dir| dir.join("kamailio"))
        .find(|path| path.is_file())
}

/// `PREFIX/lib/<triplet>/kamailio/modules` of `PREFIX/sbin/kamailio`.
fn modules(program: &Path) -> Option<PathBuf> {
    let lib = program.parent()?.parent()?.join("lib");
    std::fs::read_dir(lib)
        .ok()?
        .flatten()
        .map(|entry| entry.path().join("kamailio/modules"))
        .find(|path| path.is_dir())
}

fn script(port: u16, phone: u16, modules: &Path) -> String {
    let modules = modules.display();
    format!(
        r#"#!KAMAILIO
debug=0
log_stderror=yes
children=2
disable_tcp=yes
listen=udp:127.0.0.1:{port}
mpath="{modules}/"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
request_route {{
  if (!mf_process_maxfwd_header("70")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
  if (is_method("OPTIONS")) {{ sl_send_reply("200", "OK"); exit; }}
  if (has_totag()) {{
    if (loose_route() || t_check_trans()) t_relay();
    exit;
  }}
  if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
  if (!is_method("INVITE")) {{ sl_send_reply("405", "Method Not Allowed"); exit; }}
  if (t_check_trans()) exit;
  record_route();
  $du = "sip:127.0.0.1:{phone}";
  t_relay();
}}
"#
    )
}
