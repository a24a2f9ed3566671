//! What is exposed, put together into a router.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{Route, get};
use durable_runtime::{DurableObject, Error, MESSAGE_BYTES_MAX, Result, Runtime};
use tower::{Layer, Service};

use crate::class::{Expose, Exposed};
#[cfg(feature = "openapi")]
use crate::described::Described;
use crate::gateway::{Gateway, answer};
use crate::origin::Origins;
use crate::remote::{Entrance, connect};
use crate::target::Target;

/// How long a request may take by default, until its response begins.
pub const TIMEOUT: Duration = Duration::from_mins(1);

/// Begins a router that exposes objects of `runtime`: none, until [`ObjectRouter::expose`] is called.
pub fn router(runtime: &Runtime) -> ObjectRouter {
    ObjectRouter {
        gateway: Gateway {
            runtime: runtime.clone(),
            classes: Vec::new(),
            body_bytes_max: MESSAGE_BYTES_MAX,
            timeout: TIMEOUT,
            origins: Origins::default(),
        },
        routes: axum::Router::new().fallback(answer),
        has_layers: false,
        problem: None,
        #[cfg(feature = "openapi")]
        serves_openapi: false,
    }
}

/// A router under construction; [`router`] begins one and [`build`](ObjectRouter::build) ends it.
#[must_use = "it is no router before `build`"]
pub struct ObjectRouter {
    pub(crate) gateway: Gateway,
    /// The way from a known target to its answer, with the user's layers round it.
    routes: axum::Router<Arc<Gateway>>,
    /// Whether there are any.
    has_layers: bool,
    /// The first thing that is wrong, told by [`ObjectRouter::build`].
    problem: Option<Error>,
    #[cfg(feature = "openapi")]
    serves_openapi: bool,
}

impl ObjectRouter {
    /// Lets requests reach objects of class `T`, as far as `expose` says. May be called several times for one class.
    pub fn expose<T: DurableObject>(mut self, expose: Expose) -> Self {
        let namespace = self.gateway.runtime.namespace::<T>();
        let mut exposed = Exposed::new(namespace);
        let classes = &mut self.gateway.classes;
        let known = classes.iter().position(|known| known.class.name() == T::CLASS);
        if let Some(known) = known {
            exposed = classes.swap_remove(known);
        }
        let added = exposed.class.check_registered().and_then(|()| exposed.add(expose));
        classes.push(exposed);
        self.problem = self.problem.or(added.err());
        self
    }

    /// Puts a tower layer round all that is exposed so far and later. This is where it is decided who may call what: the
    /// requests that it sees have a [`Target`] among their extensions. The layer that is added last sees a request first.
    ///
    /// It has to hold for what there is not as well: whether a class is exposed or an object exists is found out after it.
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Error: Into<Infallible> + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        self.routes = self.routes.layer(layer);
        self.has_layers = true;
        self
    }

    /// The largest request body, in bytes; one that is larger gets status 413. Default: 32 MiB. A sync `fetch` handler never
    /// gets more than [`BODY_BYTES_MAX`](durable_runtime::BODY_BYTES_MAX), an async one gets a stream that breaks at the limit.
    pub fn body_limit(mut self, bytes_max: usize) -> Self {
        self.gateway.body_bytes_max = bytes_max;
        self
    }

    /// How long a call may take, and a `fetch` until its response begins; after that the status is 504. A call that
    /// has not begun then never will; a handler that has begun goes on. The body of a response may take as long as it likes.
    /// Default: [`TIMEOUT`], 60 seconds; `Duration::MAX` is none. By the runtime's clock.
    pub fn timeout(mut self, after: Duration) -> Self {
        self.gateway.timeout = after;
        self
    }

    /// Lets pages of these origins make calls too, such as `https://app.example`, and not only those of the host
    /// that serves the router. The headers that browsers want beside that (CORS) are a layer's to set.
    pub fn allow_origins(mut self, origins: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let origins = origins.into_iter().map(Into::into).collect();
        self.gateway.origins = Origins::Also(origins);
        self
    }

    /// Lets pages of every origin make calls. Only for objects that anybody may use.
    pub fn allow_any_origin(mut self) -> Self {
        self.gateway.origins = Origins::Any;
        self
    }

    /// The OpenAPI 3.1 document of the methods that are exposed so far. A type that has `schemars::JsonSchema` is described,
    /// any other allows everything.
    #[cfg(feature = "openapi")]
    pub fn openapi(&self) -> serde_json::Value {
        crate::openapi::document(&Described::new(&self.gateway.classes))
    }

    /// The text of a TypeScript module with a client class for each class that is exposed so far. A type that has
    /// `schemars::JsonSchema` is typed, any other is `unknown`. Integers become `number`, which is exact up to 2^53.
    #[cfg(feature = "openapi")]
    pub fn typescript(&self) -> String {
        crate::typescript::client(&Described::new(&self.gateway.classes))
    }

    /// Serves the OpenAPI document of what is exposed at `/openapi.json`, to everybody: no layer stands before it.
    #[cfg(feature = "openapi")]
    pub fn serve_openapi(mut self) -> Self {
        self.serves_openapi = true;
        self
    }

    /// The finished router, to be served or nested into another one.
    ///
    /// # Errors
    /// When a class that is exposed is not registered, or does not have what is exposed of it.
    pub fn build(self) -> Result<axum::Router> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let router = axum::Router::new();
        #[cfg(feature = "openapi")]
        let router = if self.serves_openapi {
            router.route("/openapi.json", crate::openapi::route(&self.gateway.classes))
        } else {
            router
        };
        let gateway = Arc::new(self.gateway);
        let objects = self.routes.with_state(Arc::clone(&gateway));
        let layered = self.has_layers.then(|| objects.clone());
        let entrance = Entrance { gateway, layered };
        let router = router.route("/rpc", get(connect).with_state(entrance));
        Ok(router.fallback_service(objects.layer(from_fn(locate))))
    }
}

/// Finds out what a request is about, before the user's layers see it.
async fn locate(mut request: Request, next: Next) -> Response {
    match Target::parse(request.uri().path()) {
        Ok(target) => {
            request.extensions_mut().insert(target);
            next.run(request).await
        }
        Err(failure) => failure.into_response(),
    }
}

impl fmt::Debug for ObjectRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classes = self.gateway.classes.iter().map(|exposed| exposed.class.name());
        f.debug_list().entries(classes).finish()
    }
}
