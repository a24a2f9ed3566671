//! Who may ask a program, and how.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use durable::admin::{SOCKET_NAME, Token};
use durable::prelude::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::bed::{Bed, fill};

/// Sends what a client would send; the status and the body of the answer.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> (u16, String) {
    // The server may answer and end the connection before it has read everything.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap_or_else(|| panic!("{answer:?}")).parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

fn request(path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let headers = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    let headers = headers.collect::<Vec<_>>().concat();
    format!(
        "POST {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

const JSON: (&str, &str) = ("content-type", "application/json");

async fn over_tcp(bed: &Bed) -> (Runtime, SocketAddr, Token) {
    let runtime = bed.program().await;
    fill(&runtime).await.unwrap();
    let token = Token::load_or_create(bed.folder().join("token")).unwrap();
    let serve = durable::admin::serve(&runtime).tcp("127.0.0.1:0".parse().unwrap(), token.clone());
    let address = serve.start().await.unwrap().address().unwrap();
    (runtime, address, token)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tcp_the_token_and_the_host_decide() {
    let bed = Bed::new();
    let (_runtime, address, token) = over_tcp(&bed).await;
    let (host, bearer) = (address.to_string(), format!("Bearer {}", token.text()));
    let local = format!("localhost:{}", address.port());
    let wrong = format!("Bearer {}", "0".repeat(64));
    for (status, headers) in [
        (200, vec![("host", host.as_str()), ("authorization", &bearer), JSON]),
        (200, vec![("host", &local), ("authorization", &bearer), JSON]),
        (401, vec![("host", &host), JSON]),
        (401, vec![("host", &host), ("authorization", &wrong), JSON]),
        (401, vec![("host", &host), ("authorization", &token.text()), JSON]),
        (421, vec![("host", "evil.example"), ("authorization", &bearer), JSON]),
        (421, vec![("authorization", &bearer), JSON]),
        (421, vec![("host", &host), ("host", "evil.example"), ("authorization", &bearer), JSON]),
        (421, vec![("host", "localhost:1"), ("authorization", &bearer), JSON]),
        (415, vec![("host", &host), ("authorization", &bearer)]),
        (415, vec![("host", &host), ("authorization", &bearer), ("content-type", "text/plain")]),
    ] {
        let stream = TcpStream::connect(address).await.unwrap();
        let (answered, body) = exchange(stream, &request("/v1/classes", &headers, "{}")).await;
        assert_eq!(answered, status, "{headers:?}: {body}");
        assert!(answered == 200 || !body.contains("Room"), "{body}");
        assert!(!body.to_lowercase().contains("access-control"), "{body}");
    }
    for (status, server) in [(200, host.as_str()), (421, "evil.example")] {
        let headers = [("host", host.as_str()), ("authorization", &bearer), JSON];
        let request = request(&format!("http://{server}/v1/classes"), &headers, "{}");
        let stream = TcpStream::connect(address).await.unwrap();
        assert_eq!(exchange(stream, &request).await.0, status, "{server}");
    }
    // Not even which operations there are is told.
    let stream = TcpStream::connect(address).await.unwrap();
    let (status, _) =
        exchange(stream, &format!("GET /v1 HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"))
            .await;
    assert_eq!(status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_asks_over_tcp_with_the_token_of_a_file() {
    let bed = Bed::new();
    let (runtime, address, _) = over_tcp(&bed).await;
    let url = format!("http://{address}");
    let place = ["--url", &url, "--token-file", "token"];
    let shown = bed.done(&[&place[..], &["show", "Room/lobby"]].concat()).await;
    assert!(shown.starts_with("Room/lobby\n"), "{shown}");
    std::fs::write(bed.folder().join("other"), "0".repeat(64)).unwrap();
    let refused = bed.run(&["--url", &url, "--token-file", "other", "classes"]).await;
    assert!(refused.code == 1 && refused.err.contains("token"), "{refused:?}");
    assert_eq!(bed.run(&["--url", &url, "classes"]).await.code, 2, "it needs a token");
    std::fs::write(bed.folder().join("other"), "two\nlines").unwrap();
    let refused = bed.run(&["--url", &url, "--token-file", "other", "classes"]).await;
    assert!(refused.code == 2 && refused.err.contains("other holds no token"), "{refused:?}");
    assert_eq!(
        bed.run(&["--url", "https://localhost", "--token-file", "token", "classes"]).await.code,
        2
    );
    runtime.shutdown().await.unwrap();
    let gone = bed.run(&[&place[..], &["classes"]].concat()).await;
    assert!(gone.code == 1 && gone.err.contains("cannot ask"), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_socket_is_its_owners_and_speaks_plainly() {
    let bed = Bed::new();
    let runtime = bed.served().await;
    fill(&runtime).await.unwrap();
    let path = bed.data().join(SOCKET_NAME);
    let mode = std::fs::symlink_metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let path = &path;
    let ask = |text: String| async move {
        exchange(UnixStream::connect(path).await.unwrap(), &text).await
    };
    let host = ("host", "localhost");
    let (status, index) =
        ask("GET /v1 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".into()).await;
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    assert_eq!((status, &index["version"]), (200, &1.into()));
    for (status, kind, path, body) in [
        (404, "NotFound", "/v1/no-such-thing", "{}"),
        (404, "NotFound", "/v1/show", r#"{"object": "Room/attic", "limit": 1}"#),
        (400, "Invalid", "/v1/show", "{}"),
        (400, "Invalid", "/v1/show", "not json"),
        (405, "Invalid", "/v1", "{}"),
        (
            400,
            "ReadOnly",
            "/v1/sql",
            r#"{"object": "Room/lobby", "query": "DELETE FROM posts", "rows": 1}"#,
        ),
    ] {
        let (answered, text) = ask(request(path, &[host, JSON], body)).await;
        let error: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((answered, &error["kind"]), (status, &kind.into()), "{path}: {text}");
        assert!(!error["message"].as_str().unwrap().is_empty());
    }
    let long = format!(r#"{{"object": "{}"}}"#, "x".repeat(2 << 20));
    let (status, text) = ask(request("/v1/show", &[host, JSON], &long)).await;
    let error: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &error["kind"]), (413, &"Limit".into()), "{text}");
    let file = ("content-type", "application/vnd.sqlite3");
    let (status, text) = ask(request("/v1/import", &[host, file], "")).await;
    let error: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &error["kind"]), (400, &"Invalid".into()), "{text}");
    let error = durable::admin::serve(&runtime).start().await.unwrap_err();
    assert_eq!(error.kind(), durable::ErrorKind::Locked, "one is enough");
    runtime.shutdown().await.unwrap();
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_a_killed_program_has_left_is_no_hindrance() {
    let bed = Bed::new();
    let runtime = bed.served().await;
    fill(&runtime).await.unwrap();
    runtime.shutdown().await.unwrap();
    drop(std::os::unix::net::UnixListener::bind(bed.data().join(SOCKET_NAME)).unwrap());
    bed.done(&["classes"]).await;
    let runtime = bed.served().await;
    assert_eq!(bed.json(&["classes"]).await[1]["is_registered"], true, "the program has answered");
    drop(runtime);
}
