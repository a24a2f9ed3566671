//! Model to code: the stub, the class descriptor, the check of migrations.
//!
//! It judges nothing and cannot fail: what arrives here is sound.
//!
//! Invariants of the generated code:
//! - Every path is absolute (`::core::..`, `#krate::__private::..`), so it compiles under
//!   `#![no_implicit_prelude]` and with the crate renamed.
//! - Names of its own have the span [`Span::mixed_site`], so they never meet the user's.
//! - A type of the user's is named at its own span, and only in `<Type as Trait>::..`: what it lacks
//!   is reported there, once, in the words of the trait.

mod attributes;
mod class;
mod handlers;
mod methods;
mod migrations;
mod stub;
mod types;

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{format_ident, quote};
use syn::Type;

use crate::input::{Function, Role};
use crate::rules::Sound;
use methods::Method;

/// Everything that is generated for an impl block. The block itself is printed by the caller.
pub(crate) fn expand(sound: &Sound<'_>) -> TokenStream {
    let class = Class::new(sound);
    let methods: Vec<Method<'_>> = sound
        .with_role(|role| role == Role::Method)
        .map(|method| Method::new(&class, method))
        .collect();
    let stub = stub::expand(&class, &methods);
    let descriptor = class::expand(&class, &methods);
    let migrations = migrations::expand_check(&class);
    quote!(#stub #descriptor #migrations)
}

/// What every part of the generated code needs to know.
pub(crate) struct Class<'a> {
    sound: &'a Sound<'a>,
    /// `::durable::__private`
    private: TokenStream,
    /// The type as the user wrote it.
    self_type: &'a Type,
    stub: Ident,
    /// `#[cfg(..)]` of the impl block: on every generated item.
    configuration: TokenStream,
    has_fetch: bool,
}

impl<'a> Class<'a> {
    fn new(sound: &'a Sound<'a>) -> Self {
        let krate = sound.object.options.crate_path();
        let configuration = &sound.object.configuration;
        let is_fetch = |function: &Function| matches!(function.role, Role::Handler(form) if form.name == "fetch");
        Class {
            sound,
            private: quote!(#krate::__private),
            self_type: &sound.object.self_type,
            stub: format_ident!("{}Stub", sound.name, span = sound.name.span()),
            configuration: quote!(#(#configuration)*),
            has_fetch: sound.functions.iter().copied().any(is_fetch),
        }
    }

    /// The name of the type, for docs.
    fn name(&self) -> String {
        self.sound.name.to_string()
    }
}

/// Lints that judge people, not generated code. On every generated item.
fn quiet() -> TokenStream {
    quote! {
        #[allow(
            clippy::all, clippy::pedantic, clippy::nursery, clippy::restriction,
            dead_code, deprecated, private_interfaces, unreachable_pub, unused_qualifications,
            unnameable_test_items
        )]
    }
}

/// A name of our own that no name of the user's can meet.
fn internal(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// Code of ours that stands at a place of the user's, so that rustc reports there what does not fit.
/// All tokens have to: where the first and the last one of a path stand in different places, rustc
/// falls back to the attribute.
fn all_at(tokens: TokenStream, place: Span) -> TokenStream {
    let there = |token| match token {
        TokenTree::Group(group) => {
            let mut moved = Group::new(group.delimiter(), all_at(group.stream(), place));
            moved.set_span(place);
            TokenTree::from(moved)
        }
        mut other => {
            other.set_span(place);
            other
        }
    };
    tokens.into_iter().map(there).collect()
}
