//! Rules on what kind of function a business method is.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{GenericParam, Receiver, ReceiverKind};

use super::Report;
use crate::input::{Function, Object, Role, types};

/// `async fn`, without what may stand between.
pub(super) fn async_keywords(function: &Function) -> TokenStream {
    let (asyncness, fn_token) = (&function.signature.asyncness, &function.signature.fn_token);
    quote!(#asyncness #fn_token)
}

/// `pub async fn post(&mut self)`
pub(super) fn check_async(_: &Object, function: &Function, report: &mut Report<'_>) {
    if function.role == Role::Method && function.is_async() {
        let name = function.name();
        report.at(
            &async_keywords(function),
            &format!("business method `{name}` must be synchronous"),
            &format!(
                "remove `async`: storage is synchronous, and nothing else can run on this object until `{name}` returns\n(to wait for the network, return first and use `ctx.wait_until(..)`, or do it in `fetch` or `alarm`)"
            ),
        );
    }
}

/// `pub unsafe fn`, `pub extern "C" fn`, `pub const fn`
pub(super) fn check_plain(_: &Object, function: &Function, report: &mut Report<'_>) {
    let signature = &function.signature;
    let qualifiers = [
        signature.constness.as_ref().map(|token| (token.to_token_stream(), "const")),
        signature.abi.as_ref().map(|token| (token.to_token_stream(), "extern")),
        Some((signature.safety.to_token_stream(), "unsafe"))
            .filter(|(tokens, _)| !tokens.is_empty()),
    ];
    if function.role == Role::Helper {
        return;
    }
    for (tokens, word) in qualifiers.into_iter().flatten() {
        report.at(
            &tokens,
            &format!("{} must be a plain `fn`", function.title()),
            &format!("remove `{word}`: the runtime calls it as an ordinary function"),
        );
    }
}

/// `pub fn version() -> u8`
pub(super) fn check_no_self(_: &Object, function: &Function, report: &mut Report<'_>) {
    if function.role == Role::Method && function.receiver().is_none() {
        let name = function.name();
        report.at(
            &function.signature.ident,
            &format!("`{name}` has no `self`, so there is no object to call it on"),
            "take `&self` to read or `&mut self` to write, or remove the visibility to keep it out of the stub",
        );
    }
}

/// `pub fn close(self)`, `pub fn close(self: Box<Self>)`
pub(super) fn check_self_by_value(_: &Object, function: &Function, report: &mut Report<'_>) {
    let Some(receiver) = function.receiver().filter(|_| function.role == Role::Method) else {
        return;
    };
    if !is_borrowed(receiver) {
        report.at(
            receiver,
            &format!(
                "`{}` would consume the object, which belongs to the runtime",
                function.name()
            ),
            "take `&self` to read or `&mut self` to write",
        );
    }
}

/// `&self`, `&mut self`, `self: &mut Self`
pub(super) fn is_borrowed(receiver: &Receiver) -> bool {
    match &receiver.kind {
        ReceiverKind::Reference(..) => true,
        ReceiverKind::Typed(_, type_) => types::as_reference(type_)
            .is_some_and(|reference| types::is_named(&reference.elem, "Self")),
        _ => false,
    }
}

/// `pub fn put<T: Serialize>(&mut self, value: T)`, `pub fn put<'a>(&mut self, value: &'a str)`
pub(super) fn check_generics(_: &Object, function: &Function, report: &mut Report<'_>) {
    let generics = &function.signature.generics;
    let Some(first) = generics.params.first().filter(|_| function.role == Role::Method) else {
        return;
    };
    let name = function.name();
    let type_like =
        generics.params.iter().find(|param| !matches!(param, GenericParam::Lifetime(_)));
    match type_like {
        Some(param) => report.at(
            param,
            &format!("`{name}` is reachable from a stub, so it cannot be generic"),
            "a call carries values of known types: take an enum of what may come, or remove the visibility to keep it out of the stub",
        ),
        None => report.at(
            first,
            &format!("`{name}` is reachable from a stub, so it cannot name lifetimes"),
            "leave the lifetime out: `&str`, `&[T]` and `&T` are enough, since the call owns a copy",
        ),
    }
}

/// Methods that every stub has, and the function that is generated for the object itself.
const STUB_METHODS: [&str; 3] = ["id", "name", "clone"];
const OBJECT_FUNCTIONS: [&str; 1] = ["check_migrations"];

/// `pub fn id(&self)`, `fn check_migrations()`
pub(super) fn check_reserved_name(object: &Object, function: &Function, report: &mut Report<'_>) {
    let name = function.name();
    if OBJECT_FUNCTIONS.contains(&name.as_str()) {
        let message = format!("`#[durable_object]` makes a function `{name}` of its own");
        report.at(&function.signature.ident, &message, "give yours another name");
    }
    if function.role == Role::Method && STUB_METHODS.contains(&name.as_str()) {
        let type_name = object.shown_name();
        report.at(
            &function.signature.ident,
            &format!("`{name}` is a method of every stub, so `{type_name}Stub` cannot have another one"),
            &format!(
                "give it another name, such as `{}_{name}`, or remove the visibility to keep it out of the stub",
                type_name.to_lowercase()
            ),
        );
    }
}
