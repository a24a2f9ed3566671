//! A class whose type is not known any more, and how much of it is exposed.

use std::time::Duration;

use durable_runtime::__private::{Argument, MethodDescription, MethodInfo, RawStub, Refusal};
use durable_runtime::remote::{self, CallFrame, Outcome};
use durable_runtime::{BoxFuture, CallError, DurableObject, Error, ErrorKind, Namespace};
use durable_runtime::{Request, Response, Result};

use crate::target::Address;

/// What of a class can be reached. Exposing the same class again adds to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expose {
    /// Its `fetch` handler.
    Fetch,
    /// The methods with these names.
    Methods(&'static [&'static str]),
    /// All its methods, and `fetch` if it has that. Methods that the class gets later too.
    All,
}

/// A class and what of it is exposed.
pub(crate) struct Exposed {
    pub(crate) class: Box<dyn AnyClass>,
    pub(crate) fetch: bool,
    /// In the order of the source.
    pub(crate) methods: Vec<&'static MethodDescription>,
}

impl Exposed {
    /// A class of which nothing is exposed yet.
    pub(crate) fn new<T: DurableObject>(namespace: Namespace<T>) -> Self {
        Exposed { class: Box::new(namespace), fetch: false, methods: Vec::new() }
    }

    /// Exposes more.
    pub(crate) fn add(&mut self, expose: Expose) -> Result<()> {
        let class = self.class.name();
        let all = self.class.methods();
        match expose {
            Expose::Fetch if !self.class.has_fetch() => {
                let message = format!("class `{class}` has no `fetch` handler to expose");
                return Err(Error::new(ErrorKind::Invalid, message));
            }
            Expose::Fetch => self.fetch = true,
            Expose::All => {
                self.fetch = self.class.has_fetch();
                self.methods = all.iter().collect();
            }
            Expose::Methods(names) => {
                let there = |name: &str| all.iter().any(|method| method.info.name == name);
                if let Some(unknown) = names.iter().find(|name| !there(name)) {
                    let message = format!("class `{class}` has no method `{unknown}` to expose");
                    return Err(Error::new(ErrorKind::Invalid, message));
                }
                let had = |method: &MethodDescription| self.method(method.info.name).is_some();
                let wanted = |method: &MethodDescription| names.contains(&method.info.name);
                self.methods = all.iter().filter(|method| had(method) || wanted(method)).collect();
            }
        }
        Ok(())
    }

    /// An exposed method.
    pub(crate) fn method(&self, name: &str) -> Option<&'static MethodDescription> {
        self.methods.iter().copied().find(|method| method.info.name == name)
    }
}

/// The outcome of a call by JSON.
pub(crate) type Answer = Result<Vec<u8>, CallError<Refusal>>;

/// A class whose type is not known. `Err` says why there can be no object at an address.
pub(crate) trait AnyClass: Send + Sync {
    fn name(&self) -> &'static str;
    fn methods(&self) -> &'static [MethodDescription];
    fn has_fetch(&self) -> bool;
    fn check_registered(&self) -> Result<()>;
    /// Calls a method with all its arguments, in order.
    fn call(
        &self,
        object: &Address,
        method: MethodInfo,
        arguments: Vec<Argument>,
        timeout: Duration,
    ) -> Result<BoxFuture<Answer>>;
    fn fetch(
        &self,
        object: &Address,
        request: Request,
    ) -> Result<BoxFuture<Result<Response, CallError>>>;
    /// Makes a call that has arrived from another program, in the first poll. Waits for `limit` at most.
    fn arrive(
        &self,
        method: &'static MethodDescription,
        call: CallFrame,
        limit: Duration,
    ) -> Result<BoxFuture<Outcome>>;
}

impl<T: DurableObject> AnyClass for Namespace<T> {
    fn name(&self) -> &'static str {
        T::CLASS
    }

    fn methods(&self) -> &'static [MethodDescription] {
        T::METHODS
    }

    fn has_fetch(&self) -> bool {
        T::HANDLERS.fetch.is_some()
    }

    fn check_registered(&self) -> Result<()> {
        Namespace::check_registered(self)
    }

    fn call(
        &self,
        object: &Address,
        method: MethodInfo,
        arguments: Vec<Argument>,
        timeout: Duration,
    ) -> Result<BoxFuture<Answer>> {
        Ok(Box::pin(stub(self, object)?.call_json(method, arguments).timeout(timeout)))
    }

    fn fetch(
        &self,
        object: &Address,
        request: Request,
    ) -> Result<BoxFuture<Result<Response, CallError>>> {
        Ok(Box::pin(stub(self, object)?.fetch(request)))
    }

    fn arrive(
        &self,
        method: &'static MethodDescription,
        call: CallFrame,
        limit: Duration,
    ) -> Result<BoxFuture<Outcome>> {
        remote::arrive(self, method, call, limit)
    }
}

fn stub<T: DurableObject>(namespace: &Namespace<T>, object: &Address) -> Result<RawStub<T>> {
    let id = match object {
        Address::Name(name) => namespace.id_from_name(name)?,
        Address::Id(id) => namespace.id_from_string(id)?,
    };
    Ok(namespace.raw_stub(&id))
}
