//! The client over TLS: the platform's certificate is verified unless the interface says otherwise.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tandem_vendors::{Bind, BindOutcome, Class, Client, Interface, Vendor};

/// A server that binds everything, with a certificate for `localhost` that signs itself.
fn platform() -> (SocketAddr, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = ServerConnection::new(config.clone()).unwrap();
            let mut tls = StreamOwned::new(connection, stream);
            // A client that does not trust us leaves during the handshake.
            if tls.read(&mut [0; 4096]).is_ok() {
                let body = "{\"resultcode\":\"0\",\"subscriptionId\":\"s\"}";
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                let _ = tls.write_all(format!("{head}{body}").as_bytes());
                let _ = tls.flush();
            }
        }
    });
    (address, cert.pem())
}

async fn bind(change: impl FnOnce(&mut Interface)) -> BindOutcome {
    let (address, _) = platform();
    bind_at(address, change).await
}

async fn bind_at(address: SocketAddr, change: impl FnOnce(&mut Interface)) -> BindOutcome {
    let url = format!("https://localhost:{}", address.port());
    let mut interface = Interface::new(1, "tls", Vendor::huawei(), &url)
        .with("app_key", "k")
        .with("app_secret", "s");
    change(&mut interface);
    let numbers = Bind {
        a: "02100000000".into(),
        x: "17000000000".into(),
        b: "13900000001".into(),
        own_id: "1".into(),
    };
    Client::new(&interface).unwrap().bind(&numbers).await
}

fn class(outcome: &BindOutcome) -> Option<Class> {
    match outcome {
        BindOutcome::Bound { .. } => None,
        BindOutcome::Failed(failure) => Some(failure.class),
    }
}

#[tokio::test]
async fn a_certificate_is_trusted_when_the_interface_brings_its_root() {
    let (address, pem) = platform();
    let outcome = bind_at(address, |i| i.ca_pem = Some(pem)).await;
    assert_eq!(class(&outcome), None, "{outcome:?}");
}

#[tokio::test]
async fn another_root_is_not_enough_and_nothing_was_sent() {
    let (_, other) = platform();
    let outcome = bind(|i| i.ca_pem = Some(other)).await;
    assert_eq!(class(&outcome), Some(Class::NotSent), "{outcome:?}");
}

#[tokio::test]
async fn verification_can_be_switched_off_for_a_laboratory() {
    let outcome = bind(|i| {
        i.tls_verify = false;
        i.ca_pem = Some(platform().1);
    })
    .await;
    assert_eq!(class(&outcome), None, "{outcome:?}");
}
