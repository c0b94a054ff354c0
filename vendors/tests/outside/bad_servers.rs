//! The client against servers that answer nonsense, too much, too slowly or not at all. Each ends
//! in bounded time and memory with an honest class.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tandem_vendors::{
    AxBind, Bind, BindOutcome, Class, Client, Failure, Handle, Interface, QueryOutcome,
    SetCalleeOutcome, UnbindOutcome, Vendor,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Serves every connection with `talk`, after its first bytes have come.
async fn server<F, R>(talk: F) -> SocketAddr
where
    F: Fn(TcpStream) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let talk = Arc::new(talk);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let talk = talk.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                if stream.read(&mut request).await.is_ok() {
                    talk(stream).await;
                }
            });
        }
    });
    address
}

/// A server that says one thing and closes.
async fn saying(answer: impl Into<Vec<u8>>) -> SocketAddr {
    let answer = Arc::new(answer.into());
    server(move |mut stream| {
        let answer = answer.clone();
        async move {
            let _ = stream.write_all(&answer).await;
        }
    })
    .await
}

fn json(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn interface(address: SocketAddr) -> Interface {
    let mut interface = Interface::new(1, "bad", Vendor::huawei(), &format!("http://{address}"))
        .with("app_key", "k")
        .with("app_secret", "s");
    interface.timeout_ms = 400;
    interface.connect_timeout_ms = 200;
    interface
}

fn client(address: SocketAddr) -> Client {
    Client::new(&interface(address)).unwrap()
}

fn numbers() -> Bind {
    Bind {
        a: "02100000000".into(),
        x: "17000000000".into(),
        b: "13900000001".into(),
        own_id: "1".into(),
    }
}

async fn failure(client: &Client) -> Failure {
    let started = Instant::now();
    let outcome = client.bind(&numbers()).await;
    assert!(started.elapsed() < Duration::from_secs(3));
    match outcome {
        BindOutcome::Failed(failure) => failure,
        other => panic!("bound: {other:?}"),
    }
}

#[tokio::test]
async fn answers_that_cannot_be_read_leave_the_outcome_unknown() {
    for (answer, code) in [
        ("garbage\r\n\r\n".to_owned(), "reset"),
        ("\0\u{1}\u{2}".to_owned(), "reset"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_owned(),
            "reset",
        ),
        (String::new(), "reset"),
        (json("200 OK", ""), "unreadable"),
        (json("200 OK", "<html>welcome</html>"), "unreadable"),
        (json("200 OK", "[]"), "unreadable"),
        (json("200 OK", "{\"resultcode\":null}"), "unreadable"),
        (json("200 OK", "{\"resultcode\":{\"a\":1}}"), "unreadable"),
        (json("200 OK", "{\"resultcode\":\"0\"}"), "unreadable"),
        (
            json("200 OK", "{\"resultcode\":\"0\",\"subscriptionId\":\"\"}"),
            "unreadable",
        ),
        (json("200 OK", &"[".repeat(60_000)), "unreadable"),
        (
            json(
                "201 Created",
                "{\"resultcode\":\"0\",\"subscriptionId\":\"s\"}",
            ),
            "http 201",
        ),
        (json("500 Internal Server Error", "oops"), "http 500"),
        (json("502 Bad Gateway", "<html>"), "http 502"),
        (json("503 Service Unavailable", ""), "http 503"),
        (json("408 Request Timeout", ""), "http 408"),
        (json("500 Error", "{\"resultcode\":\"7777\"}"), "7777"),
    ] {
        let failure = failure(&client(saying(answer.clone()).await)).await;
        assert_eq!(
            (failure.class, failure.code.as_str()),
            (Class::Unknown, code),
            "{answer:.80}"
        );
    }
}

#[tokio::test]
async fn statuses_without_a_code_are_classed_by_themselves() {
    for (status, class) in [
        ("400 Bad Request", Class::Permanent),
        ("401 Unauthorized", Class::Config),
        ("403 Forbidden", Class::Config),
        ("404 Not Found", Class::Config),
        ("405 Method Not Allowed", Class::Config),
        ("413 Too Large", Class::Permanent),
        ("429 Too Many Requests", Class::Throttled),
    ] {
        let failure = failure(&client(saying(json(status, "no")).await)).await;
        assert_eq!(failure.class, class, "{status}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = saying(json(
        "200 OK",
        "{\"resultcode\":\"0\",\"subscriptionId\":\"s\"}",
    ))
    .await;
    let answer =
        format!("HTTP/1.1 302 Found\r\nLocation: http://{elsewhere}/\r\nContent-Length: 0\r\n\r\n");
    let failure = failure(&client(saying(answer).await)).await;
    assert_eq!(
        (failure.class, failure.code.as_str()),
        (Class::Config, "http 302")
    );
}

#[tokio::test]
async fn codes_and_ids_may_be_numbers() {
    let answer = json(
        "200 OK",
        "{\"resultcode\":0,\"subscriptionId\":12345678901234567890}",
    );
    let client = client(saying(answer).await);
    let BindOutcome::Bound { handle, x, raw } = client.bind(&numbers()).await else {
        panic!("not bound");
    };
    assert_eq!(handle["subscriptionId"], "12345678901234567890");
    assert_eq!(x, "17000000000");
    assert!(raw.starts_with("{\"resultcode\":0"));
}

#[tokio::test]
async fn the_x_of_the_answer_counts() {
    let answer = json(
        "200 OK",
        "{\"resultcode\":\"0\",\"subscriptionId\":\"s\",\"relationNum\":\"+8617000000077\"}",
    );
    let client = client(saying(answer).await);
    let BindOutcome::Bound { x, .. } = client.bind(&numbers()).await else {
        panic!("not bound");
    };
    assert_eq!(x, "17000000077");
}

#[tokio::test]
async fn a_huge_answer_is_left_when_the_bound_is_reached() {
    let declared = saying(json("200 OK", &"x".repeat(100_000))).await;
    let failure_of_declared = failure(&client(declared)).await;
    assert_eq!(failure_of_declared.code, "too_large");

    // Without a length: the server counts how much it could write before it was cut off.
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    let endless = server(move |mut stream| {
        let count = count.clone();
        async move {
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            let _ = stream.write_all(head).await;
            let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096));
            while stream.write_all(chunk.as_bytes()).await.is_ok() {
                count.fetch_add(4096, Ordering::Relaxed);
            }
        }
    })
    .await;
    let failure = failure(&client(endless)).await;
    assert_eq!(
        (failure.class, failure.code.as_str()),
        (Class::Unknown, "too_large")
    );
    tokio::time::sleep(Duration::from_millis(100)).await;
    // What the kernel buffered comes on top of the bound.
    assert!(written.load(Ordering::Relaxed) < 16 * 1024 * 1024);
}

#[tokio::test]
async fn endless_headers_are_left_too() {
    let address = server(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        let line = format!("X-Filler: {}\r\n", "x".repeat(1000));
        while stream.write_all(line.as_bytes()).await.is_ok() {}
    })
    .await;
    assert_eq!(failure(&client(address)).await.class, Class::Unknown);
}

#[tokio::test]
async fn an_answer_that_drips_or_never_comes_ends_at_the_time_out() {
    let silent = server(|mut stream| async move {
        let mut sink = [0; 64];
        while stream.read(&mut sink).await.is_ok_and(|n| n > 0) {}
    })
    .await;
    let dripping = server(|mut stream| async move {
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
            .await;
        while stream.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    for address in [silent, dripping] {
        let started = Instant::now();
        let failure = failure(&client(address)).await;
        assert_eq!(
            (failure.class, failure.code.as_str()),
            (Class::Unknown, "timeout")
        );
        assert!(started.elapsed() >= Duration::from_millis(390));
    }
}

#[tokio::test]
async fn a_connect_that_does_not_come_about_was_surely_not_sent() {
    // Full backlogs and unroutable nets differ by machine; a name that cannot exist does not.
    let mut interface = interface("127.0.0.1:1".parse().unwrap());
    let refused = failure(&Client::new(&interface).unwrap()).await;
    assert_eq!(
        (refused.class, refused.code.as_str()),
        (Class::NotSent, "connect")
    );
    interface.base_url = "http://no-such-host.invalid".into();
    let unresolved = failure(&Client::new(&interface).unwrap()).await;
    assert_eq!(
        (unresolved.class, unresolved.code.as_str()),
        (Class::NotSent, "connect")
    );
    assert!(!unresolved.text.contains("callerNum"));
}

#[tokio::test]
async fn a_connection_closed_between_requests_is_replaced() {
    // Keep-alive is promised, but the server closes after each answer.
    let body = "{\"resultcode\":\"0\",\"subscriptionId\":\"s\"}";
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let client = client(saying(answer).await);
    for _ in 0..5 {
        assert!(matches!(
            client.bind(&numbers()).await,
            BindOutcome::Bound { .. }
        ));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn requests_beyond_the_bound_are_refused_and_dropped_ones_give_their_place_back() {
    let silent = server(|mut stream| async move {
        let mut sink = [0; 64];
        while stream.read(&mut sink).await.is_ok_and(|n| n > 0) {}
    })
    .await;
    let mut interface = interface(silent);
    interface.in_flight_max = 2;
    let client = Client::new(&interface).unwrap();
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.bind(&numbers()).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let third = failure(&client).await;
    assert_eq!(
        (third.class, third.code.as_str()),
        (Class::Throttled, "in_flight")
    );
    for task in waiting {
        task.abort();
        let _ = task.await;
    }
    assert_eq!(failure(&client).await.code, "timeout");
}

#[tokio::test]
async fn queries_and_unbinds_fail_as_honestly() {
    let handle = Handle::from([("subscriptionId".into(), "s".into())]);
    for (answer, class) in [
        (json("200 OK", "no"), Class::Unknown),
        (
            json("500 E", "{\"resultcode\":\"1010001\"}"),
            Class::Unknown,
        ),
        (
            json("403 F", "{\"resultcode\":\"1010010\"}"),
            Class::Throttled,
        ),
    ] {
        let client = client(saying(answer).await);
        let UnbindOutcome::Failed(failure) = client.unbind(&handle, &numbers()).await else {
            panic!("released");
        };
        assert_eq!(failure.class, class);
        let QueryOutcome::Failed(failure) = client.query(&numbers()).await else {
            panic!("found");
        };
        assert_eq!(failure.class, class);
    }
    let no_list = client(saying(json("200 OK", "{\"resultcode\":\"0\",\"totalCount\":0}")).await);
    assert_eq!(no_list.query(&numbers()).await, QueryOutcome::None);
    let bad_list = "{\"resultcode\":\"0\",\"relationNumList\":[{\"relationNum\":\"1\"}]}";
    let bad_list = client(saying(json("200 OK", bad_list)).await);
    assert!(matches!(
        bad_list.query(&numbers()).await,
        QueryOutcome::Failed(_)
    ));
}

fn relation() -> AxBind {
    AxBind {
        a: "02100000000".into(),
        x: "17000000000".into(),
        own_id: "1".into(),
    }
}

#[tokio::test]
async fn operations_of_ax_fail_as_honestly() {
    let handle = Handle::new();
    for (answer, class) in [
        (json("200 OK", "no"), Class::Unknown),
        (json("200 OK", "{\"resultcode\":\"7\"}"), Class::Permanent),
        (
            json("500 E", "{\"resultcode\":\"1010001\"}"),
            Class::Unknown,
        ),
        (
            json("403 F", "{\"resultcode\":\"1010010\"}"),
            Class::Throttled,
        ),
        (json("403 F", "{\"resultcode\":\"1010040\"}"), Class::Config),
    ] {
        let client = client(saying(answer.clone()).await);
        let SetCalleeOutcome::Failed(failure) =
            client.set_callee(&handle, &relation(), "139").await
        else {
            panic!("set");
        };
        assert_eq!(failure.class, class, "{answer}");
        let BindOutcome::Failed(failure) = client.ax_bind(&relation()).await else {
            panic!("bound");
        };
        assert_eq!(failure.class, class);
        let UnbindOutcome::Failed(failure) = client.ax_unbind(&handle, &relation()).await else {
            panic!("released");
        };
        assert_eq!(failure.class, class);
        let QueryOutcome::Failed(failure) = client.ax_query(&relation()).await else {
            panic!("found");
        };
        assert_eq!(failure.class, class);
    }
}

#[tokio::test]
async fn a_relation_that_exists_but_is_not_found_stays_an_honest_failure() {
    let exists = json(
        "403 F",
        "{\"resultcode\":\"1016002\",\"resultdesc\":\"exists\"}",
    );
    let BindOutcome::Failed(failure) = client(saying(exists).await).ax_bind(&relation()).await
    else {
        panic!("bound");
    };
    assert_eq!(
        (failure.class, failure.code.as_str()),
        (Class::AlreadyBound, "1016002")
    );
    // The look-up failed, and both reasons are told.
    assert!(failure.text.starts_with("exists; query: "), "{failure}");
}

#[tokio::test]
async fn lists_that_never_end_or_lie_about_their_length_are_left() {
    let rows = |from: usize, count: usize| {
        let rows: Vec<_> = (from..from + count)
            .map(|n| format!("{{\"subscriptionId\":\"{n}\"}}"))
            .collect();
        rows.join(",")
    };
    for (total, count, class, code) in [
        ("\"totalCount\":5001,", 100, Class::Permanent, "too_many"),
        // The same page again and again.
        ("\"totalCount\":300,", 100, Class::Unknown, "unreadable"),
        ("", 100, Class::Unknown, "unreadable"),
        ("", 2_000, Class::Unknown, "unreadable"),
    ] {
        let list = rows(0, count);
        let body = format!("{{\"resultcode\":\"0\",{total}\"relationNumList\":[{list}]}}");
        let client = client(saying(json("200 OK", &body)).await);
        let QueryOutcome::Failed(failure) = client.held_on("17000000000").await else {
            panic!("found");
        };
        assert_eq!((failure.class, failure.code.as_str()), (class, code));
    }
    // Ever new rows, without a total.
    let served = Arc::new(AtomicUsize::new(0));
    let address = server(move |mut stream| {
        let list = rows(served.fetch_add(100, Ordering::Relaxed), 100);
        async move {
            let body = format!("{{\"resultcode\":\"0\",\"relationNumList\":[{list}]}}");
            let _ = stream.write_all(json("200 OK", &body).as_bytes()).await;
        }
    })
    .await;
    let QueryOutcome::Failed(failure) = client(address).held_on("17000000000").await else {
        panic!("found");
    };
    assert_eq!(failure.code, "too_many");
}
