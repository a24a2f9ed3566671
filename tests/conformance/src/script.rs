//! What a driver sends to an object, and what comes back: the bodies of the requests.

use std::collections::BTreeSet;
use std::sync::Arc;

use durable::Body;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::case::Op;
use crate::differences::Rule;

/// Operations for an object.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Script {
    /// What is the same for the whole case.
    pub settings: Arc<Settings>,
    /// What to do, as the case writes it.
    pub ops: Vec<Json>,
}

/// How a case is run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// The name of the case, the first half of each object's name.
    pub case: String,
    /// The differences in which the interpreter behaves like the reference this time.
    pub emulated: BTreeSet<Rule>,
}

impl Settings {
    /// The full name of an object of the case.
    pub(crate) fn object_name(&self, alias: &str) -> String {
        format!("{}#{alias}", self.case)
    }
}

impl Script {
    /// Operations for one call.
    pub(crate) fn new(settings: &Arc<Settings>, ops: &[Op]) -> Script {
        let ops = ops.iter().map(|op| op.json.clone()).collect();
        Script { settings: settings.clone(), ops }
    }

    /// The request that carries it.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub(crate) fn request(&self) -> durable::Result<durable::Request> {
        let body = serde_json::to_vec(self).map_err(durable::Error::other)?;
        Ok(durable::Request::new(Body::from(body)))
    }
}

/// What one call did.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Reply {
    /// The result of each operation, up to the one that ended the call.
    pub results: Vec<Json>,
    /// The error with which the call ended.
    pub threw: Option<Json>,
    /// The differences that came into play.
    pub met: BTreeSet<Rule>,
}

impl Reply {
    /// As the recordings show it.
    pub(crate) fn record(self) -> Json {
        match self.threw {
            None => json!({ "results": self.results }),
            Some(threw) => json!({ "results": self.results, "threw": threw }),
        }
    }

    /// A call that failed before anything was done.
    pub(crate) fn failed(threw: Json) -> Reply {
        Reply { threw: Some(threw), ..Reply::default() }
    }

    /// Reads a response.
    ///
    /// # Errors
    /// When the body is no reply.
    pub(crate) async fn read(response: durable::Response) -> durable::Result<Reply> {
        let status = response.status();
        if !status.is_success() {
            return Err(durable::Error::other(format_args!("the object answered {status}")));
        }
        let body = response.into_body().collect_up_to(durable::BODY_BYTES_MAX).await?;
        serde_json::from_slice(&body).map_err(durable::Error::other)
    }
}
