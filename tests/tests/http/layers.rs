//! Who may call what is a layer's to decide.

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use durable::Body;
use durable::http::{Action, Address, Expose, Target, router};
use durable::prelude::{Context, Result, Runtime, durable_object};
use durable_tests::{Bed, Form};
use http::StatusCode;

use crate::bed::{ask, get};

#[derive(Default)]
struct Diary;

#[durable_object]
impl Diary {
    pub fn read(&self, ctx: &Context) -> Result<String> {
        Ok(ctx.kv().get("text")?.unwrap_or_default())
    }

    pub fn write(&mut self, ctx: &Context, text: String) -> Result<()> {
        ctx.kv().put("text", &text)
    }

    fn fetch(&mut self, _: &Context<Self>, request: durable::Request) -> Result<durable::Response> {
        // What the layer found out travels with the request.
        let user = request.extensions().get::<User>().map_or("nobody", |user| &user.0);
        Ok(durable::Response::new(Body::from(user.to_owned())))
    }
}

#[derive(Clone)]
struct User(String);

/// Everybody reads and writes their own diary, by its name.
async fn only_the_owner(target: Target, mut request: Request, next: Next) -> Response {
    let user = request.headers().get("x-user").and_then(|user| user.to_str().ok());
    let Some(user) = user.map(str::to_owned) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let is_owner = matches!(target.object(), Address::Name(name) if *name == user);
    let may =
        target.class() == "Diary" && (is_owner || *target.action() == Action::Call("read".into()));
    if !may {
        return StatusCode::FORBIDDEN.into_response();
    }
    request.extensions_mut().insert(User(user));
    next.run(request).await
}

async fn start(bed: &Bed) -> Runtime {
    bed.builder().register::<Diary>().start().await.unwrap()
}

fn request(verb: &str, path: &str, user: Option<&str>) -> http::Request<&'static str> {
    let mut request = http::Request::builder().method(verb).uri(path);
    if let Some(user) = user {
        request = request.header("x-user", user);
    }
    let body = if verb == "POST" { r#"{"text": "dear diary"}"# } else { "" };
    request.header("content-type", "application/json").body(body).unwrap()
}

#[tokio::test]
async fn a_layer_decides_who_may_call_what() {
    let bed = Bed::new(Form::Moved);
    let runtime = start(&bed).await;
    let guarded = router(&runtime).expose::<Diary>(Expose::All).layer(from_fn(only_the_owner));
    let app = axum::Router::new().nest("/api/objects", guarded.build().unwrap());
    let id = runtime.get::<Diary>("ann").id().to_string();
    for (verb, path, user, status) in [
        ("POST", "Diary/name/ann/write", None, 401),
        ("POST", "Diary/name/ann/write", Some("bob"), 403),
        ("POST", "Diary/name/ann%2F/write", Some("ann"), 403),
        ("POST", &format!("Diary/id/{id}/write"), Some("bob"), 403),
        ("GET", "Diary/name/ann/fetch", Some("bob"), 403),
        // The guard does not know what there is, and is asked all the same.
        ("GET", "Bank/name/ann/read", Some("ann"), 403),
        ("GET", "Bank/name/ann/read", None, 401),
        ("POST", "Diary/name/ann/burn", Some("ann"), 404),
        ("GET", "Diary/name/ann/read", Some("bob"), 200),
        ("POST", "Diary/name/ann/write", Some("ann"), 200),
    ] {
        let answer = ask(&app, request(verb, &format!("/api/objects/{path}"), user)).await;
        assert_eq!(answer.status, status, "{verb} {path} {user:?}: {answer:?}");
    }
    assert_eq!(runtime.get::<Diary>("ann").read().await.unwrap(), "dear diary");
    let answer = ask(&app, request("GET", "/api/objects/Diary/name/ann/fetch", Some("ann"))).await;
    assert_eq!(answer.text(), "ann");
    // Without a target there is nothing to decide about.
    assert_eq!(get(&app, "/api/objects/nowhere").await.status, 404);
}

#[tokio::test]
async fn layers_may_have_state_and_the_last_one_sees_a_request_first() {
    async fn mark(State(mark): State<&'static str>, request: Request, next: Next) -> Response {
        let mut response = next.run(request).await;
        response.headers_mut().append("x-mark", http::HeaderValue::from_static(mark));
        response
    }
    let bed = Bed::new(Form::Moved);
    let runtime = start(&bed).await;
    let app = router(&runtime)
        .layer(from_fn_with_state("inner", mark))
        .expose::<Diary>(Expose::All)
        .layer(from_fn_with_state("outer", mark))
        .build()
        .unwrap();
    let answer = get(&app, "/Diary/name/a/read").await;
    let marks: Vec<_> = answer.headers.get_all("x-mark").iter().collect();
    assert_eq!(marks, ["inner", "outer"]);
}

#[tokio::test]
async fn the_router_is_one_among_others() {
    let bed = Bed::new(Form::Moved);
    let runtime = start(&bed).await;
    let objects = router(&runtime).expose::<Diary>(Expose::All).build().unwrap();
    let app = axum::Router::new()
        .route("/health", axum::routing::get(|| async { "well" }))
        .nest("/objects", objects)
        .fallback(|| async { (StatusCode::NOT_FOUND, "the user's own") });
    assert_eq!(get(&app, "/health").await.text(), "well");
    assert_eq!(get(&app, "/objects/Diary/name/a/read").await.text(), "\"\"");
    assert_eq!(get(&app, "/objects/x").await.failure(), (404, "not_found".into()));
    assert_eq!(get(&app, "/x").await.text(), "the user's own");
}
