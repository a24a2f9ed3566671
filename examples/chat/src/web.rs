//! The server: the page, and what of the objects the page needs.

use axum::Router;
use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use durable::http::{Expose, router};
use durable::prelude::*;

use crate::room::Room;

/// The page may load what this server has, and talk to this server: what members write can make it do nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

const INDEX: &str = include_str!("../page/index.html");

/// What the page consists of beside its HTML: path, type and text.
const PARTS: [(&str, &str, &str); 5] = [
    ("/page/style.css", CSS, include_str!("../page/style.css")),
    ("/page/main.js", JS, include_str!("../page/main.js")),
    ("/page/connection.js", JS, include_str!("../page/connection.js")),
    ("/page/outbox.js", JS, include_str!("../page/outbox.js")),
    ("/page/view.js", JS, include_str!("../page/view.js")),
];

/// Everything that the server answers.
pub fn app(runtime: &Runtime) -> Result<Router> {
    let objects = router(runtime)
        .expose::<Room>(Expose::Fetch)
        .expose::<Room>(Expose::Methods(&["history"]))
        // Limiters are the rooms' own business.
        .build()?;
    Ok(page().nest("/objects", objects))
}

fn page() -> Router {
    let index = || async { ([(CONTENT_TYPE, HTML)], INDEX) };
    let page = Router::new().route("/", get(index)).route("/room/{name}", get(index));
    let with_part = |page: Router, (path, kind, text)| {
        page.route(path, get(move || async move { ([(CONTENT_TYPE, kind)], text) }))
    };
    PARTS.into_iter().fold(page, with_part).layer(from_fn(guard))
}

/// Tells the browser what the page may do.
async fn guard(request: Request, next: Next) -> Response {
    let headers: [(HeaderName, HeaderValue); 4] = [
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        // Names of rooms are nobody else's business.
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        // The next start may bring another page.
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, next.run(request).await).into_response()
}
