//! How requests travel: HTTP/1.1 and 2, over TLS and through proxies, dated by the platform's clock,
//! and what is remembered of them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tandem_vendors::{Bind, BindOutcome, Class, Client, HttpVersion, Interface, Vendor};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

const BOUND: &str = r#"{"resultcode":"0","subscriptionId":"s"}"#;
/// The platform's refusal of a proof, here for its date.
const MISDATED: &str =
    r#"{"resultcode":"1023016","resultdesc":"Created is too far from our clock"}"#;

/// What a server saw.
#[derive(Default)]
struct Saw {
    connections: AtomicUsize,
    /// Request line and headers of each request.
    heads: Mutex<Vec<String>>,
    versions: Mutex<BTreeSet<&'static str>>,
}

impl Saw {
    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A request's head, and its body read away; `None` at the end of the connection.
async fn head<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> Option<String> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is = name.eq_ignore_ascii_case("content-length");
        is.then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    Some(head)
}

/// Serves HTTP/1.1 on one connection: each request's head to the answer's headers and body.
async fn serve_one<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    saw: &Saw,
    answer: impl Fn(&str) -> (String, &'static str),
) {
    saw.connections.fetch_add(1, Ordering::SeqCst);
    let mut stream = BufReader::new(stream);
    while let Some(head) = head(&mut stream).await {
        let (headers, body) = answer(&head);
        saw.heads.lock().unwrap().push(head);
        saw.versions.lock().unwrap().insert("1.1");
        let answer = format!(
            "HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Serves HTTP/2 on one connection.
async fn serve_two<S: AsyncRead + AsyncWrite + Unpin>(stream: S, saw: &Saw) {
    saw.connections.fetch_add(1, Ordering::SeqCst);
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let head = format!("{} {}\r\n", request.method(), request.uri());
        saw.heads.lock().unwrap().push(head);
        saw.versions.lock().unwrap().insert("2");
        let answer = h2_response();
        if let Ok(mut body) = respond.send_response(answer, false) {
            let _ = body.send_data(Bytes::from_static(BOUND.as_bytes()), true);
        }
    }
}

fn h2_response() -> ::http::Response<()> {
    ::http::Response::builder().status(200).body(()).unwrap()
}

/// A plain server of HTTP/1.1 that binds whatever it is asked, with these headers.
async fn plain(headers: impl Fn() -> String + Clone + Send + 'static) -> (SocketAddr, Arc<Saw>) {
    answering(move |_| (headers(), BOUND)).await
}

/// A plain server of HTTP/1.1.
async fn answering(
    answer: impl Fn(&str) -> (String, &'static str) + Clone + Send + 'static,
) -> (SocketAddr, Arc<Saw>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let saw = Arc::new(Saw::default());
    let told = Arc::clone(&saw);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (told, answer) = (Arc::clone(&told), answer.clone());
            tokio::spawn(async move { serve_one(stream, &told, answer).await });
        }
    });
    (address, saw)
}

/// A server over TLS that speaks what ALPN settles on; with its certificate.
async fn secure(alpn: &[&str]) -> (SocketAddr, String, Arc<Saw>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|word| word.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let saw = Arc::new(Saw::default());
    let told = Arc::clone(&saw);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (told, acceptor) = (Arc::clone(&told), acceptor.clone());
            tokio::spawn(async move {
                let Ok(tls) = acceptor.accept(stream).await else {
                    return;
                };
                match tls.get_ref().1.alpn_protocol() {
                    Some(b"h2") => serve_two(tls, &told).await,
                    _ => serve_one(tls, &told, |_| (String::new(), BOUND)).await,
                }
            });
        }
    });
    (address, cert.pem(), saw)
}

/// A forward proxy that wants this password: CONNECT and plain requests alike.
async fn proxy(password: &'static str) -> (SocketAddr, Arc<Saw>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let saw = Arc::new(Saw::default());
    let told = Arc::clone(&saw);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let told = Arc::clone(&told);
            tokio::spawn(async move { forward(stream, password, &told).await });
        }
    });
    (address, saw)
}

async fn forward(stream: TcpStream, password: &str, saw: &Saw) -> Option<()> {
    use base64::Engine as _;
    saw.connections.fetch_add(1, Ordering::SeqCst);
    let mut stream = BufReader::new(stream);
    let wanted = base64::engine::general_purpose::STANDARD.encode(format!("us er:{password}"));
    while let Some(head) = head(&mut stream).await {
        saw.heads.lock().unwrap().push(head.clone());
        let given = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("proxy-authorization")
                .then(|| value.trim_start_matches("Basic ").to_owned())
        });
        if given.as_deref() != Some(&wanted) {
            let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\n\
                 Proxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(refusal.as_bytes()).await.ok()?;
            continue;
        }
        let mut words = head.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        if method == "CONNECT" {
            let port = target.rsplit(':').next()?;
            let mut far = TcpStream::connect(format!("127.0.0.1:{port}")).await.ok()?;
            let made = "HTTP/1.1 200 Connection established\r\n\r\n";
            stream.write_all(made.as_bytes()).await.ok()?;
            tokio::io::copy_bidirectional(&mut stream, &mut far)
                .await
                .ok()?;
            return None;
        }
        // A plain request names the whole URL; the answer is this proxy's own.
        assert!(target.starts_with("http://"), "{target}");
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{BOUND}",
            BOUND.len()
        );
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
    None
}

fn interface(url: &str) -> Interface {
    Interface::new(1, "session", Vendor::huawei(), url)
        .with("app_key", "key")
        .with("app_secret", "hush-hush-4711")
}

fn numbers() -> Bind {
    Bind {
        a: "02100000000".into(),
        x: "17000000000".into(),
        b: "13900000001".into(),
        own_id: "1".into(),
    }
}

#[track_caller]
fn bound(outcome: &BindOutcome) {
    assert!(matches!(outcome, BindOutcome::Bound { .. }), "{outcome:?}");
}

fn class(outcome: BindOutcome) -> Option<(Class, String)> {
    match outcome {
        BindOutcome::Bound { .. } => None,
        BindOutcome::Failed(failure) => Some((failure.class, failure.to_string())),
    }
}

#[tokio::test]
async fn the_version_of_http_is_settled_as_the_interface_says() {
    use HttpVersion::{Auto, One, Two};
    // What the platform offers, what the interface wants, what is spoken; `None`: nothing.
    for (offered, wanted, spoken) in [
        (&["h2", "http/1.1"][..], Auto, Some("2")),
        (&["http/1.1"], Auto, Some("1.1")),
        (&[], Auto, Some("1.1")),
        (&["h2", "http/1.1"], One, Some("1.1")),
        (&["h2"], Two, Some("2")),
        (&["http/1.1"], Two, None),
    ] {
        let (address, pem, saw) = secure(offered).await;
        let mut interface = interface(&format!("https://localhost:{}", address.port()));
        interface.ca_pem = Some(pem);
        interface.http_version = wanted;
        let client = Client::new(&interface).unwrap();
        let outcome = client.bind(&numbers()).await;
        let seen = saw.versions.lock().unwrap().iter().next().copied();
        assert_eq!(seen, spoken, "{offered:?} {wanted:?}: {outcome:?}");
        match spoken {
            Some(_) => bound(&outcome),
            None => assert_eq!(class(outcome).map(|(class, _)| class), Some(Class::NotSent)),
        }
    }
}

#[tokio::test]
async fn a_hundred_requests_at_once_share_one_connection_of_http_2() {
    let (address, pem, saw) = secure(&["h2"]).await;
    let mut interface = interface(&format!("https://localhost:{}", address.port()));
    interface.ca_pem = Some(pem);
    let client = Client::new(&interface).unwrap();
    // The first one makes the connection.
    bound(&client.bind(&numbers()).await);
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.bind(&numbers()).await })
        })
        .collect();
    for task in tasks {
        bound(&task.await.unwrap());
    }
    assert_eq!(saw.connections(), 1);
    assert_eq!(saw.heads().len(), 101);
    let link = client.exchanges(false)[0].link.clone().unwrap();
    assert_eq!(link.http, "HTTP/2.0");
    assert_eq!(link.tls.as_deref(), Some("TLS 1.3"));
    assert_eq!(link.certificate_sha256.map(|hex| hex.len()), Some(64));
}

#[tokio::test]
async fn http_2_without_tls_is_spoken_where_it_is_known_to_be_understood() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let saw = Arc::new(Saw::default());
    let told = Arc::clone(&saw);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let told = Arc::clone(&told);
            tokio::spawn(async move { serve_two(stream, &told).await });
        }
    });
    let mut interface = interface(&format!("http://{address}"));
    interface.http_version = HttpVersion::Two;
    let client = Client::new(&interface).unwrap();
    for _ in 0..5 {
        bound(&client.bind(&numbers()).await);
    }
    assert_eq!((saw.connections(), saw.heads().len()), (1, 5));
}

#[tokio::test]
async fn a_dead_connection_of_http_2_is_given_up_and_the_next_request_makes_another() {
    // The first connection is answered once and then silent for ever; later ones serve.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let saw = Arc::new(Saw::default());
    let told = Arc::clone(&saw);
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let first = Arc::clone(&told);
        tokio::spawn(async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            if let Some(Ok((_, mut respond))) = connection.accept().await {
                let mut body = respond.send_response(h2_response(), false).unwrap();
                let _ = body.send_data(Bytes::from_static(BOUND.as_bytes()), true);
                // Writes the answer out, then never looks again.
                let _ = tokio::time::timeout(Duration::from_millis(100), connection.accept()).await;
                first.connections.fetch_add(1, Ordering::SeqCst);
                std::future::pending::<()>().await;
            }
        });
        while let Ok((stream, _)) = listener.accept().await {
            let told = Arc::clone(&told);
            tokio::spawn(async move { serve_two(stream, &told).await });
        }
    });
    let mut interface = interface(&format!("http://{address}"));
    interface.http_version = HttpVersion::Two;
    interface.timeout_ms = 1_000;
    interface.connect_timeout_ms = 500;
    interface.idle_ms = 60_000;
    let client = Client::new(&interface).unwrap();
    bound(&client.bind(&numbers()).await);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let lost = class(client.bind(&numbers()).await);
    assert_eq!(lost.map(|(class, _)| class), Some(Class::Unknown));
    bound(&client.bind(&numbers()).await);
    assert_eq!(saw.connections(), 2);
}

#[tokio::test]
async fn https_is_tunnelled_through_a_proxy_and_plain_http_is_handed_to_it() {
    let (platform, pem, saw) = secure(&["h2", "http/1.1"]).await;
    let (proxy, passed) = proxy("p@ss:word").await;
    let address = format!("http://us%20er:p%40ss%3Aword@{proxy}");

    let mut tls = interface(&format!("https://localhost:{}", platform.port()));
    tls.ca_pem = Some(pem);
    tls.proxy = Some(address.clone());
    let client = Client::new(&tls).unwrap();
    for _ in 0..3 {
        bound(&client.bind(&numbers()).await);
    }
    assert_eq!(saw.heads().len(), 3);
    let heads = passed.heads();
    assert_eq!(heads.len(), 1, "one tunnel for all: {heads:?}");
    assert!(heads[0].starts_with("CONNECT localhost:"), "{heads:?}");

    // Nobody listens at this address; the proxy answers for it.
    let mut plain = interface("http://platform.example:81");
    plain.proxy = Some(address);
    bound(&Client::new(&plain).unwrap().bind(&numbers()).await);
    let heads = passed.heads();
    assert!(
        heads[1].starts_with("POST http://platform.example:81/rest/"),
        "{heads:?}"
    );
}

#[tokio::test]
async fn a_proxy_that_is_down_or_refuses_us_is_named_without_its_password() {
    let (proxy, _) = proxy("right").await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = gone.local_addr().unwrap();
    drop(gone);
    for (url, through, expected) in [
        ("http://platform.example", proxy, Class::Config),
        ("https://platform.example", proxy, Class::NotSent),
        ("http://platform.example", dead, Class::NotSent),
        ("https://platform.example", dead, Class::NotSent),
    ] {
        let mut interface = interface(url);
        interface.tls_verify = false;
        interface.ca_pem = Some(secure(&[]).await.1);
        interface.proxy = Some(format!("http://us%20er:wrong-one@{through}"));
        let client = Client::new(&interface).unwrap();
        let (class, text) = class(client.bind(&numbers()).await).expect("it fails");
        assert_eq!(class, expected, "{url}: {text}");
        assert!(!text.contains("wrong-one"), "{text}");
        if expected == Class::NotSent {
            assert!(
                text.contains(&format!("through proxy http://…@{through}")),
                "{text}"
            );
        }
        let shown = serde_json::to_string(&*client.exchanges(false)[0]).unwrap();
        assert!(!shown.contains("wrong-one"), "{shown}");
    }
}

/// The time of signing of a request, in seconds since 1970.
fn created_of(head: &str) -> i64 {
    let at = head.split("Created=\"").nth(1).unwrap();
    let at = at.split('"').next().unwrap();
    let date: Vec<i64> = at
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect();
    // Days since 1970 of a date in the Gregorian calendar.
    let (y, m) = if date[1] > 2 {
        (date[0], date[1] - 3)
    } else {
        (date[0] - 1, date[1] + 9)
    };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + date[2] - 719_469;
    days * 86_400 + date[3] * 3_600 + date[4] * 60 + date[5]
}

/// The times of signing of all requests.
fn created(saw: &Saw) -> Vec<i64> {
    saw.heads().iter().map(|head| created_of(head)).collect()
}

fn now_s() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

#[tokio::test]
async fn requests_are_dated_by_the_clock_that_the_platform_shows() {
    // How far the platform is off, and by how much its second request is dated otherwise.
    for (off_s, applied) in [(0_i64, false), (150, true), (-7_200, true)] {
        let (address, saw) = plain(move || dated(off_s)).await;
        let client = Client::new(&interface(&format!("http://{address}"))).unwrap();
        for _ in 0..2 {
            bound(&client.bind(&numbers()).await);
        }
        let now = now_s();
        let created = created(&saw);
        assert!((created[0] - now).abs() <= 2, "{created:?} {now}");
        let expected = if applied { now + off_s } else { now };
        assert!(
            (created[1] - expected).abs() <= 2,
            "{off_s}: {created:?} {now}"
        );
        let offset_s = client.health().clock_offset_ms / 1_000;
        assert!((offset_s - off_s).abs() <= 1, "{offset_s}");
    }
}

/// A `Date` so many seconds from now.
fn dated(off_s: i64) -> String {
    let shift = Duration::from_secs(off_s.unsigned_abs());
    let now = SystemTime::now();
    let at = if off_s < 0 { now - shift } else { now + shift };
    format!("Date: {}\r\n", httpdate::fmt_http_date(at))
}

#[tokio::test]
async fn what_is_refused_for_its_date_is_sent_again_with_the_platforms() {
    // The platform takes what is dated within a minute of its own clock, which is off, and jumps.
    let off_s = Arc::new(AtomicI64::new(-1_800));
    let clock = Arc::clone(&off_s);
    let (address, saw) = answering(move |head| {
        let off_s = clock.load(Ordering::SeqCst);
        let apart = created_of(head).abs_diff(now_s() + off_s);
        (dated(off_s), if apart > 60 { MISDATED } else { BOUND })
    })
    .await;
    let client = Client::new(&interface(&format!("http://{address}"))).unwrap();
    // The first answer of all is believed at once, one that contradicts it when the next says the same.
    for (jumps_to, requests) in [(-1_800, 2), (-1_800, 3), (3_600, 6), (3_600, 7), (0, 10)] {
        off_s.store(jumps_to, Ordering::SeqCst);
        bound(&client.bind(&numbers()).await);
        assert_eq!(saw.heads().len(), requests, "at {jumps_to}");
        assert!(!client.breaker_open(), "at {jumps_to}");
    }
}

#[tokio::test]
async fn credentials_that_are_refused_whatever_the_date_are_sent_twice_at_most() {
    for (off_s, requests) in [(0, 1), (1_800, 2)] {
        let (address, saw) = answering(move |_| (dated(off_s), MISDATED)).await;
        let client = Client::new(&interface(&format!("http://{address}"))).unwrap();
        let (failure, text) = class(client.bind(&numbers()).await).expect("it fails");
        assert_eq!(failure, Class::Config, "{text}");
        assert_eq!(saw.heads().len(), requests, "off by {off_s} s");
        assert!(client.breaker_open(), "off by {off_s} s");
    }
}

#[tokio::test]
async fn an_answer_from_a_cache_tells_nothing_about_the_clock() {
    let old = || {
        let at = SystemTime::now() - Duration::from_secs(900);
        format!("Date: {}\r\nAge: 900\r\n", httpdate::fmt_http_date(at))
    };
    let (address, _) = plain(old).await;
    let client = Client::new(&interface(&format!("http://{address}"))).unwrap();
    for _ in 0..3 {
        bound(&client.bind(&numbers()).await);
    }
    assert_eq!(client.health().clock_offset_ms, 0);
}

#[tokio::test]
async fn the_last_exchanges_are_kept_without_secrets_and_numbers() {
    let (address, _) = plain(|| "Set-Cookie: session=hush\r\n".to_owned()).await;
    let first = Client::new(&interface(&format!("http://{address}"))).unwrap();
    bound(&first.bind(&numbers()).await);
    // An edit makes another client; what was written stays.
    let client = first.renewed(&interface("http://127.0.0.1:9")).unwrap();
    let lost = client.bind(&numbers()).await;
    assert_eq!(class(lost).map(|(class, _)| class), Some(Class::NotSent));
    let kept = client.exchanges(false);
    assert_eq!(kept.len(), 2);
    let (good, bad) = (&kept[0], &kept[1]);
    assert_eq!((good.outcome, good.code.as_str()), ("bound", ""));
    assert_eq!((bad.outcome, bad.code.as_str()), ("not_sent", "connect"));
    assert!(bad.answer.is_none() && bad.sent);
    let request = &good.request;
    assert!(
        request.line.starts_with("POST http://127.0.0.1:"),
        "{}",
        request.line
    );
    assert!(
        request.body.contains(r#""calleeNum":"+861********01""#),
        "{}",
        request.body
    );
    let header = |name: &str| {
        let found = request.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    };
    assert_eq!(header("X-AKSK"), Some("***"));
    assert_eq!(
        header("Content-Type"),
        Some("application/json;charset=UTF-8")
    );
    let answer = good.answer.as_ref().unwrap();
    assert_eq!((answer.line.as_str(), answer.body.as_str()), ("200", BOUND));
    let cookie = answer.headers.iter().find(|(name, _)| name == "set-cookie");
    assert_eq!(cookie.map(|(_, value)| value.as_str()), Some("***"));
    for exchange in kept {
        let shown = serde_json::to_string(&*exchange).unwrap();
        for hidden in ["hush", "4711", "13900000001", "8613900000001"] {
            assert!(!shown.contains(hidden), "{hidden}: {shown}");
        }
    }
}

#[tokio::test]
async fn a_tapped_client_hears_of_every_exchange_and_of_what_was_not_sent() {
    let (address, _) = plain(String::new).await;
    let mut interface = interface(&format!("http://{address}"));
    interface.rate_per_s = Some(1);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&heard);
    let client = Client::new(&interface).unwrap();
    let tapped = client.tapped(Arc::new(move |exchange| {
        told.lock().unwrap().push((exchange.outcome, exchange.sent));
    }));
    bound(&tapped.bind(&numbers()).await);
    let _ = tapped.bind(&numbers()).await;
    let _ = client.bind(&numbers()).await;
    let heard = heard.lock().unwrap().clone();
    assert_eq!(heard, [("bound", true), ("throttled", false)]);
    assert_eq!(
        client.exchanges(false).len(),
        1,
        "our own limits are no exchanges"
    );
}
