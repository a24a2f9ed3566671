//! Shims from the runtime's idea of a handler to the user's.
//!
//! A shim compiles only if the handler's types are right. The values pass through names that stand at
//! the spans of the user's types, so rustc's `mismatched types` points there.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::PatType;
use syn::spanned::Spanned;

use super::{Class, internal};
use crate::handlers::HandlerForm;
use crate::input::{Function, Role};

/// `Handlers { .. }`
pub(super) fn expand(class: &Class<'_>) -> TokenStream {
    let private = &class.private;
    let fields = class.sound.functions.iter().filter_map(|function| match function.role {
        Role::Handler(form) => {
            let field = internal(form.name);
            let shim = expand_shim(class, function, form);
            Some(quote!(#field: ::core::option::Option::Some(#shim),))
        }
        _ => None,
    });
    quote!(#private::Handlers { #(#fields)* ..#private::Handlers::NONE })
}

fn expand_shim(class: &Class<'_>, handler: &Function, form: &HandlerForm) -> TokenStream {
    let Class { private, self_type, .. } = class;
    let name = &handler.signature.ident;
    let [object, ctx, this, typed] = ["object", "ctx", "this", "typed"].map(internal);
    let owned = arguments_at_types(handler, form);
    let span = handler.returned().map_or_else(|| name.span(), Spanned::span);
    let output = Ident::new("output", span);
    let wanted = match form.output {
        "()" => quote!(()),
        output => {
            let output = internal(output);
            quote!(#private::#output)
        }
    };
    // Without the type written out, the mistake in an async handler would be the box's.
    let result = quote! {
        let #typed: #private::Result<#wanted, #private::Error> = #output;
        #typed
    };
    if handler.is_async() {
        quote! {
            #private::Handler::Async(|#this, (#(#owned,)*)| ::std::boxed::Box::pin(async move {
                let #output = <#self_type>::#name(#this, #(#owned),*).await;
                #result
            }))
        }
    } else {
        quote! {
            #private::Handler::Sync(|#object, #ctx, (#(#owned,)*)| {
                let #output = <#self_type>::#name(#object, #ctx, #(#owned),*);
                #result
            })
        }
    }
}

/// Names for the arguments after the object, each at the type that the user wrote for it. The first
/// input is the handle or the context.
fn arguments_at_types(handler: &Function, form: &HandlerForm) -> Vec<Ident> {
    let at_type = |(input, (name, _)): (&PatType, &(&str, &str))| Ident::new(name, input.ty.span());
    handler.inputs().skip(1).zip(form.arguments).map(at_type).collect()
}
