//! What a call gives.

use durable::{Body, CallError, ErrorKind, Request};

use crate::bed::{Desk, Note, Refused, Server, kind};

#[tokio::test(flavor = "multi_thread")]
async fn values_and_errors_are_those_of_a_call_in_process() {
    let server = Server::start().await;
    let desk = server.desk("a").await;
    assert_eq!(desk.add(2).await, Ok(2));
    assert_eq!(desk.add(3).await, Ok(5));
    assert_eq!(desk.total().await, Ok(5));
    assert_eq!(desk.nothing().await, Ok(()));
    let note = Note { who: "é".into(), lines: vec![String::new(), "b".into()], stars: Some(3) };
    assert_eq!(desk.echo(note.clone(), 2).await, Ok(vec![note.clone(), note]));
    let refused = CallError::Application(Refused::TooMany { most: 7 });
    assert_eq!(desk.refuse(7).await, Err(refused));
    // What it wrote is undone.
    assert_eq!(desk.total().await, Ok(5));
    // The objects are those of the server.
    let here = server.runtime.namespace::<Desk>().get_by_name("a");
    assert_eq!(here.total().await, Ok(5));
    assert_eq!(desk.id(), here.id());
    assert_eq!(desk.name(), Some("a"));
    let by_id = server.client().await.namespace::<Desk>();
    let by_id = by_id.get(&by_id.id_from_string(&here.id().to_string()).unwrap());
    assert_eq!(by_id.total().await, Ok(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_told_the_kind_and_no_secrets() {
    let server = Server::start().await;
    let desk = server.desk("a").await;
    let error = desk.secret().await.unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
    assert_eq!(kind(error), ErrorKind::Sql);
    let CallError::Panicked { method, message } = desk.explode().await.unwrap_err() else {
        panic!("it panics");
    };
    assert_eq!(method, "explode");
    assert!(!message.contains("secret"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_exposed_is_not_there() {
    let server = Server::start().await;
    let desk = server.desk("a").await;
    assert!(matches!(desk.hidden().await, Err(CallError::NotFound(_))));
    // Nor is a name that no object can have.
    let client = server.client().await;
    let nameless = client.namespace::<Desk>().get_by_name("");
    assert!(matches!(nameless.total().await, Err(CallError::NotFound(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_creates_nothing() {
    let server = Server::start().await;
    let desk = server.desk("new").await;
    assert_eq!(desk.total().await, Ok(0));
    assert!(!server.runtime.namespace::<Desk>().exists(desk.id()).unwrap());
    assert_eq!(desk.add(1).await, Ok(1));
    assert!(server.runtime.namespace::<Desk>().exists(desk.id()).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_reach_the_fetch_handler() {
    let server = Server::start().await;
    let desk = server.desk("a/b").await;
    desk.add(4).await.unwrap();
    let request = |body: &str| {
        let request = http::Request::post("http://anything/x%20y?z=1");
        let request: Request = request.body(Body::from(body.to_owned())).unwrap();
        request
    };
    let response = desk.fetch(request(&"a".repeat(100_000))).await.unwrap();
    assert_eq!(response.status(), 200);
    let text = response.into_body().collect_up_to(1000).await.unwrap();
    assert_eq!(&text[..], b"POST /x%20y?z=1 100000 4");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_elsewhere_can_only_be_called() {
    let server = Server::start().await;
    let desk = server.desk("a").await;
    let error = desk.send_away().await.unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_values_go_through_and_too_large_ones_are_named() {
    let server = Server::start().await;
    let desk = server.desk("a").await;
    let note = Note { who: "a".repeat(8 << 20), ..Note::default() };
    assert_eq!(desk.echo(note.clone(), 2).await.unwrap().len(), 2);
    // The reply is too large, and then the arguments are.
    let error = desk.echo(note, 5).await.unwrap_err();
    assert!(matches!(&error, CallError::Incompatible { .. }), "{error}");
    let note = Note { who: "a".repeat(33 << 20), ..Note::default() };
    let error = desk.echo(note, 1).await.unwrap_err();
    let CallError::Incompatible { method: "echo", reason } = error else { panic!("{error}") };
    assert!(reason.contains("over the limit"), "{reason}");
    // The connection has taken no harm.
    assert_eq!(desk.total().await, Ok(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_waits_for_itself_by_way_of_a_server_is_told_so() {
    let server = Server::start().await;
    let desk = server.desk("a").await;
    desk.call_behind_a_gate("a".to_owned()).await.unwrap();
    assert_eq!(desk.outcome().await.unwrap().as_deref(), Some("deadlock"));
    desk.call_behind_a_gate("b".to_owned()).await.unwrap();
    assert_eq!(desk.outcome().await.unwrap().as_deref(), Some("total 0"));
}
