//! Calls by JSON: what is reached, what is refused, and what the caller is told.

use durable::http::{Expose, router};
use durable::prelude::*;
use durable::{Error, ErrorKind};
use durable_tests::{Bed, matrix};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::bed::{all, ask, get, json_request, post};

/// An error that holds one of the runtime's.
#[derive(Debug, Serialize, Deserialize)]
enum AccountError {
    Insufficient { missing: u64 },
    Storage(Error),
}

impl From<Error> for AccountError {
    fn from(error: Error) -> Self {
        AccountError::Storage(error)
    }
}

#[derive(Default)]
struct Account;

#[durable_object]
impl Account {
    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE balance (amount INTEGER CHECK (amount < 1000)); INSERT INTO balance VALUES (0)")
    }

    pub fn deposit(
        &mut self,
        ctx: &Context,
        amount: i64,
        note: Option<String>,
    ) -> Result<i64, AccountError> {
        let _ = note;
        if amount < 0 {
            return Err(AccountError::Insufficient { missing: amount.unsigned_abs() });
        }
        let sql = "UPDATE balance SET amount = amount + ? RETURNING amount";
        Ok(ctx.sql().query_one(sql, [amount])?)
    }

    pub fn balance(&self, ctx: &Context) -> Result<i64> {
        ctx.sql().query_one("SELECT amount FROM balance", [])
    }

    pub fn broken(&self, ctx: &Context) -> Result<i64> {
        ctx.sql().query_one("SELECT secret FROM vault", [])
    }

    pub fn closed(&self) -> Result<i64> {
        Err(Error::other("the bank is closed"))
    }

    pub fn greet(&self, name: &str, times: u8, r#type: Option<String>) -> String {
        format!("{}{type:?}", format!("hi {name} ").repeat(times.into()))
    }

    pub fn reset(&mut self, ctx: &Context) -> Result<()> {
        ctx.sql().execute("UPDATE balance SET amount = 0", []).map(|_| ())
    }

    /// Its reply has no form in JSON: keys of maps have to be text.
    pub fn odd(&mut self, ctx: &Context) -> Result<std::collections::HashMap<Vec<u8>, u8>> {
        ctx.sql().execute("UPDATE balance SET amount = 99", [])?;
        Ok([(vec![1], 1)].into())
    }
}

async fn start(bed: &Bed) -> Runtime {
    bed.builder().register::<Account>().start().await.unwrap()
}

matrix! {
    async fn a_call_takes_named_arguments_and_gives_json(bed) {
        let runtime = start(&bed).await;
        let app = all::<Account>(&runtime).build().unwrap();
        let answer = post(&app, "/Account/name/a/deposit", r#"{"note": "x", "amount": 5}"#).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "5"), "{answer:?}");
        assert_eq!(answer.headers["content-type"], "application/json");
        // An `Option` may be left out.
        assert_eq!(post(&app, "/Account/name/a/deposit", r#"{"amount": 5}"#).await.text(), "10");
        assert_eq!(runtime.get::<Account>("a").balance().await.unwrap(), 10);
        // The same object by its id.
        let id = runtime.get::<Account>("a").id().to_string();
        assert_eq!(get(&app, &format!("/Account/id/{id}/balance")).await.text(), "10");
        assert_eq!(get(&app, &format!("/Account/id/{}/balance", id.to_uppercase())).await.text(), "10");
    }

    async fn a_method_without_arguments_needs_no_body(bed) {
        let runtime = start(&bed).await;
        let app = all::<Account>(&runtime).build().unwrap();
        let bare = http::Request::post("/Account/name/a/reset").body("").unwrap();
        let answer = ask(&app, bare).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "null"));
        assert_eq!(post(&app, "/Account/name/a/reset", "").await.text(), "null");
        assert_eq!(post(&app, "/Account/name/a/reset", "{}").await.text(), "null");
        assert_eq!(post(&app, "/Account/name/a/balance", "{}").await.text(), "0");
    }

    async fn read_only_methods_are_called_by_get(bed) {
        let runtime = start(&bed).await;
        let app = all::<Account>(&runtime).build().unwrap();
        let answer = get(&app, "/Account/name/a/balance").await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "0"));
        assert_eq!(answer.headers["cache-control"], "no-store");
        let text = |query: &str| format!("/Account/name/a/greet?{query}");
        for (query, greeting) in [
            ("name=bob&times=2", "hi bob hi bob None"),
            ("name=b%20%C3%BC+b&times=1&type=x", "hi b ü b Some(\"x\")"),
            // What is JSON of the type is read as JSON: quotes, and null for an `Option`.
            ("name=%22bob%22&times=1&type=null", "hi bob None"),
            // What is JSON of another type is text, if text will do.
            ("name=5&times=1&type=5", "hi 5 Some(\"5\")"),
            ("name=null&times=1&type=%5B1%5D", "hi null Some(\"[1]\")"),
            ("name=&times=1&type=", "hi  Some(\"\")"),
        ] {
            assert_eq!(get(&app, &text(query)).await.json(), greeting, "{query}");
        }
        assert_eq!(
            get(&app, &text("name=a&times=x")).await.message(),
            "argument `times` cannot be read as `u8`: invalid type: string \"x\", expected u8"
        );
        let message = get(&app, &text("name=a&times=256")).await.message();
        assert!(message.starts_with("argument `times` cannot be read as `u8`: invalid value: integer `256`"), "{message}");
        // What may write is not for `GET`.
        let answer = get(&app, "/Account/name/a/deposit?amount=1").await;
        assert_eq!(answer.failure(), (405, "verb".into()));
        assert_eq!(answer.headers["allow"], "POST");
        let put = http::Request::put("/Account/name/a/balance").body("").unwrap();
        let answer = ask(&app, put).await;
        assert_eq!(answer.failure(), (405, "verb".into()));
        assert_eq!(answer.headers["allow"], "GET, HEAD, POST");
    }

    async fn arguments_that_do_not_fit_are_named_and_nothing_runs(bed) {
        let runtime = start(&bed).await;
        let app = all::<Account>(&runtime).build().unwrap();
        for (arguments, message) in [
            (r#"{"amount": "5"}"#, "argument `amount` cannot be read as `i64`: invalid type: string \"5\", expected i64"),
            (r#"{"amount": 5.5}"#, "argument `amount` cannot be read as `i64`: invalid type: floating point `5.5`, expected i64"),
            (r#"{"amount": null}"#, "argument `amount` cannot be read as `i64`: invalid type: null, expected i64"),
            (r#"{"amount": 9223372036854775808}"#, "argument `amount` cannot be read as `i64`: invalid value: integer"),
            (r#"{"amount": 5, "note": 6}"#, "argument `note` cannot be read as `Option<String>`: invalid type: integer `6`"),
            ("{}", "argument `amount` is missing, of type `i64`"),
            ("", "argument `amount` is missing, of type `i64`"),
            (r#"{"amount": 5, "amuont": 5}"#, "`deposit` has no argument `amuont`; it takes `amount`, `note`"),
            (r#"{"amount": 5, "amount": 6}"#, "argument `amount` is given twice"),
            ("[5]", "the body is no JSON object of the arguments"),
        ] {
            let answer = post(&app, "/Account/name/a/deposit", arguments).await;
            assert_eq!(answer.failure(), (400, "arguments".into()), "{arguments}");
            assert!(answer.message().starts_with(message), "{arguments}: {}", answer.message());
        }
        assert_eq!(runtime.get::<Account>("a").balance().await.unwrap(), 0);
        // Too deep for any type that looks into it.
        let deep = format!(r#"{{"amount": {}}}"#, "[".repeat(100_000) + &"]".repeat(100_000));
        assert_eq!(post(&app, "/Account/name/a/deposit", &deep).await.status, 400);
    }

    async fn nothing_is_reachable_that_was_not_exposed(bed) {
        let runtime = start(&bed).await;
        let nothing = router(&runtime).build().unwrap();
        let some = router(&runtime)
            .expose::<Account>(Expose::Methods(&["balance"]))
            .expose::<Account>(Expose::Methods(&["reset"]))
            .build()
            .unwrap();
        assert_eq!(get(&some, "/Account/name/a/balance").await.text(), "0");
        assert_eq!(post(&some, "/Account/name/a/reset", "").await.text(), "null");
        for (app, path) in [
            (&nothing, "/Account/name/a/balance"),
            (&some, "/Account/name/a/deposit"),
            (&some, "/Account/name/a/nonsense"),
            (&some, "/Account/name/a/fetch"),
            (&some, "/Account/name/a/create"),
            (&some, "/Account/name/a"),
            (&some, "/Bank/name/a/balance"),
            (&some, "/account/name/a/balance"),
            (&some, "/openapi.json"),
            (&some, "/"),
        ] {
            let answer = post(app, path, r#"{"amount": 1}"#).await;
            assert_eq!(answer.failure(), (404, "not_found".into()), "{path}");
            // Nobody learns which part there is not.
            assert_eq!(answer.message(), "nothing is exposed under this path", "{path}");
        }
    }

    async fn what_cannot_be_exposed_is_told_when_the_router_is_built(bed) {
        #[derive(Default)]
        struct Other;
        #[durable_object]
        impl Other {
            pub fn ping(&self) {}
        }
        let runtime = start(&bed).await;
        let problem = |built: Result<axum::Router>| {
            let error = built.unwrap_err();
            (error.kind(), error.message().to_owned())
        };
        let router = || router(&runtime);
        let (kind, message) = problem(router().expose::<Account>(Expose::Methods(&["balance", "blance"])).build());
        assert_eq!((kind, &*message), (ErrorKind::Invalid, "class `Account` has no method `blance` to expose"));
        let (kind, message) = problem(router().expose::<Account>(Expose::Fetch).build());
        assert_eq!((kind, &*message), (ErrorKind::Invalid, "class `Account` has no `fetch` handler to expose"));
        let (kind, message) = problem(router().expose::<Other>(Expose::All).expose::<Account>(Expose::All).build());
        assert_eq!(kind, ErrorKind::NotFound);
        assert!(message.contains("`.register::<Other>()`"), "{message}");
    }

    async fn a_call_needs_the_media_type_of_json(bed) {
        let runtime = start(&bed).await;
        let app = all::<Account>(&runtime).build().unwrap();
        let call = |media_type: Option<&str>, body: &'static str| {
            let mut request = http::Request::post("/Account/name/a/deposit");
            if let Some(media_type) = media_type {
                request = request.header("content-type", media_type);
            }
            let request = request.body(body).unwrap();
            let app = app.clone();
            async move { ask(&app, request).await }
        };
        let body = r#"{"amount": 1}"#;
        assert_eq!(call(Some("application/json; charset=utf-8"), body).await.text(), "1");
        // What a form on a page of anybody's can send without being asked for leave.
        for simple in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("multipart/form-data; boundary=x")] {
            assert_eq!(call(simple, body).await.failure(), (415, "media_type".into()), "{simple:?}");
        }
        assert_eq!(call(Some("text/plain"), "").await.failure(), (415, "media_type".into()));
        assert_eq!(runtime.get::<Account>("a").balance().await.unwrap(), 1);
    }

    async fn pages_of_other_origins_may_not_call(bed) {
        let runtime = start(&bed).await;
        let app = all::<Account>(&runtime).build().unwrap();
        let listed = all::<Account>(&runtime).allow_origins(["https://app.example"]).build().unwrap();
        let request = |verb: &str, path: &str, origin: &str| {
            let request = http::Request::builder().method(verb).uri(format!("/Account/name/a/{path}"));
            let request = request.header("host", "a.example").header("origin", origin);
            request.header("content-type", "application/json").body(r#"{"amount": 1}"#).unwrap()
        };
        assert_eq!(ask(&app, request("POST", "deposit", "https://a.example")).await.status, 200);
        for foreign in ["https://b.example", "https://app.example", "null"] {
            let answer = ask(&app, request("POST", "deposit", foreign)).await;
            assert_eq!(answer.failure(), (403, "origin".into()), "{foreign}");
            let answer = ask(&app, request("GET", "balance", foreign)).await;
            assert_eq!(answer.failure(), (403, "origin".into()), "{foreign}");
        }
        assert_eq!(ask(&listed, request("POST", "deposit", "https://app.example")).await.status, 200);
        assert_eq!(ask(&listed, request("POST", "deposit", "https://b.example")).await.status, 403);
        let open = all::<Account>(&runtime).allow_any_origin().build().unwrap();
        assert_eq!(ask(&open, request("GET", "balance", "https://b.example")).await.text(), "2");
    }

    async fn a_body_over_the_limit_is_refused(bed) {
        let runtime = start(&bed).await;
        let app = all::<Account>(&runtime).body_limit(40).build().unwrap();
        let body = |blanks: usize| format!(r#"{{"amount": 1{}}}"#, " ".repeat(blanks));
        assert_eq!(post(&app, "/Account/name/a/deposit", &body(27)).await.text(), "1");
        let answer = post(&app, "/Account/name/a/deposit", &body(28)).await;
        assert_eq!(answer.failure(), (413, "too_large".into()));
        // Also when nobody says how large it is.
        let stream = http_body_util::BodyStream::new(http_body_util::Full::<bytes::Bytes>::from(body(28)));
        let stream = durable::Body::new(http_body_util::StreamBody::new(stream));
        let request = json_request("/Account/name/a/deposit", "").map(|_| stream);
        assert_eq!(ask(&app, request).await.failure(), (413, "too_large".into()));
        assert_eq!(runtime.get::<Account>("a").balance().await.unwrap(), 1);
    }

    async fn errors_of_methods_are_theirs_and_tell_nothing_of_storage(bed) {
        let runtime = start(&bed).await;
        let app = all::<Account>(&runtime).build().unwrap();
        let answer = post(&app, "/Account/name/a/deposit", r#"{"amount": -7}"#).await;
        assert_eq!(answer.failure(), (422, "application".into()));
        let error = json!({
            "kind": "application",
            "message": "the method returned an error",
            "retryable": false,
            "value": {"Insufficient": {"missing": 7}},
        });
        assert_eq!(answer.json(), json!({ "error": error }));
        let answer = get(&app, "/Account/name/a/closed").await;
        assert_eq!(answer.failure(), (422, "application".into()));
        let value = json!({"kind": "Other", "message": "the bank is closed", "constraint": null});
        assert_eq!(answer.json()["error"]["value"], value);
        // Ours are withheld, however deep they are in the user's.
        let answer = get(&app, "/Account/name/a/broken").await;
        assert_eq!(answer.failure(), (422, "application".into()));
        assert_eq!(answer.json()["error"]["value"]["kind"], "Sql");
        assert!(!answer.text().contains("secret") && !answer.text().contains("vault"), "{answer:?}");
        let answer = post(&app, "/Account/name/a/deposit", r#"{"amount": 5000}"#).await;
        assert_eq!(answer.json()["error"]["value"]["Storage"]["kind"], "Constraint");
        assert!(!answer.text().contains("amount"), "{answer:?}");
        // In this process they are whole.
        let error = runtime.get::<Account>("a").broken().await.unwrap_err();
        assert!(error.to_string().contains("vault"), "{error}");
    }

    async fn a_reply_that_json_cannot_hold_undoes_the_turn(bed) {
        let runtime = start(&bed).await;
        let app = all::<Account>(&runtime).build().unwrap();
        assert_eq!(post(&app, "/Account/name/a/odd", "").await.failure(), (500, "reply".into()));
        assert_eq!(runtime.get::<Account>("a").balance().await.unwrap(), 0);
    }

    async fn a_read_makes_no_object(bed) {
        let runtime = start(&bed).await;
        let app = all::<Account>(&runtime).build().unwrap();
        let namespace = runtime.namespace::<Account>();
        let id = namespace.id_from_name("new").unwrap();
        assert_eq!(get(&app, "/Account/name/new/balance").await.text(), "0");
        assert_eq!(get(&app, "/Account/name/new/broken").await.status, 422);
        assert_eq!(post(&app, "/Account/name/new/deposit", "{}").await.status, 400);
        assert!(!namespace.exists(&id).unwrap());
        assert_eq!(post(&app, "/Account/name/new/deposit", r#"{"amount": 1}"#).await.text(), "1");
        assert!(namespace.exists(&id).unwrap());
    }
}
