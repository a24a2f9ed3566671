//! Which of a method's attributes go where.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Attribute, Meta};

use crate::input::{Function, split_at_commas};

/// What a stub's method takes over from the object's.
const FOR_STUB: [&str; 4] = ["doc", "cfg", "deprecated", "must_use"];

/// Attributes of the stub's method.
pub(super) fn for_stub(function: &Function) -> TokenStream {
    function.attributes.iter().filter_map(stub_form).collect()
}

/// The conditions under which the method exists at all.
pub(super) fn configuration(function: &Function) -> TokenStream {
    let is_cfg = |attribute: &&Attribute| attribute.path().is_ident("cfg");
    let cfg = function.attributes.iter().filter(is_cfg);
    quote!(#(#cfg)*)
}

/// The lines of the method's docs, as far as they are written out.
pub(super) fn docs(function: &Function) -> Vec<&syn::Expr> {
    let is_doc = |attribute: &&Attribute| attribute.path().is_ident("doc");
    let docs = function.attributes.iter().filter(is_doc);
    docs.filter_map(|attribute| Some(&attribute.meta.require_name_value().ok()?.value)).collect()
}

/// Whether the method has docs of its own.
pub(super) fn has_docs(function: &Function) -> bool {
    function.attributes.iter().any(|attribute| attribute.path().is_ident("doc"))
}

fn stub_form(attribute: &Attribute) -> Option<TokenStream> {
    let path = attribute.path();
    if FOR_STUB.iter().any(|name| path.is_ident(name)) {
        return Some(attribute.to_token_stream());
    }
    match &attribute.meta {
        Meta::List(list) if path.is_ident("cfg_attr") => conditional_form(list.tokens.clone()),
        _ => None,
    }
}

/// `#[cfg_attr(docsrs, doc(..), inline)]` without what is not for the stub.
fn conditional_form(tokens: TokenStream) -> Option<TokenStream> {
    let mut parts = split_at_commas(tokens).into_iter();
    let condition = parts.next()?;
    let kept: Vec<_> = parts.filter(is_for_stub).collect();
    (!kept.is_empty()).then(|| quote!(#[cfg_attr(#condition, #(#kept),*)]))
}

fn is_for_stub(attribute: &TokenStream) -> bool {
    let first = attribute.clone().into_iter().next().map(|token| token.to_string());
    first.is_some_and(|first| FOR_STUB.contains(&first.as_str()))
}
