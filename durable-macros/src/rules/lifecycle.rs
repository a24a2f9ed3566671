//! Rules on the constructor.

use quote::{ToTokens, quote};

use super::{Report, method};
use crate::input::{Function, Object, Role, types};

/// `async fn new(ctx: &Context<Self>) -> Self`
pub(super) fn check_async_new(_: &Object, function: &Function, report: &mut Report<'_>) {
    if function.role == Role::Constructor && function.is_async() {
        report.at(
            &method::async_keywords(function),
            "the constructor `new` must be synchronous",
            "remove `async`: `new` runs each time the object wakes, before any call;\nwhat must wait for the network goes into a handler or into `ctx.wait_until(async move { .. })`",
        );
    }
}

/// `fn new(name: String) -> Self`, `fn new(&self)`, `fn new(ctx: &Context<Self>)`
pub(super) fn check_new_signature(object: &Object, function: &Function, report: &mut Report<'_>) {
    if function.role != Role::Constructor {
        return;
    }
    let mut inputs = function.inputs();
    let extra = match (function.context(), inputs.next()) {
        (Some(_), _) => inputs.next(),
        (None, first) => first,
    };
    let name = object.shown_name();
    let tokens = if let Some(receiver) = function.receiver() {
        receiver.to_token_stream()
    } else if let Some(extra) = extra {
        extra.to_token_stream()
    } else if let Some(generic) = function.signature.generics.params.first() {
        generic.to_token_stream()
    } else if function.context().is_none() || !gives_object(function, &name) {
        let ident = &function.signature.ident;
        function
            .returned()
            .filter(|_| function.context().is_some())
            .map_or(quote!(#ident), |type_| quote!(#type_))
    } else {
        return;
    };
    report.at(
        &tokens,
        "the constructor `new` takes the object's context and nothing else, and gives the object",
        &format!(
            "write `fn new(ctx: &Context<Self>) -> Self` or `fn new(ctx: &Context<Self>) -> Result<Self>`;\nwhat a caller of `{name}` knows goes into a method such as `pub fn init(&mut self, ..)`"
        ),
    );
}

/// `Self`, the type's name, or something called `Result`: more is left to rustc.
fn gives_object(function: &Function, name: &str) -> bool {
    function.returned().is_some_and(|type_| {
        types::is_result(type_) || types::is_named(type_, "Self") || types::is_named(type_, name)
    })
}
