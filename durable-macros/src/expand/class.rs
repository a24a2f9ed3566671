//! `impl DurableObject`: the class, described to the runtime.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;

use super::methods::{Method, of_trait};
use super::{Class, all_at, handlers, internal, migrations, quiet};
use crate::input::{Role, options, types};

/// The descriptor and the probes that belong to it.
pub(super) fn expand(class: &Class<'_>, methods: &[Method<'_>]) -> TokenStream {
    let Class { private, self_type, stub, configuration, .. } = class;
    let quiet = quiet();
    let options = &class.sound.object.options;
    let name = options.name.as_ref().map_or_else(|| class.name(), syn::LitStr::value);
    let former = &options.renamed_from;
    let expiry = options.expires_after.as_ref().and_then(|time| options::seconds(&time.value()));
    let expiry = expiry.map(|seconds| {
        quote! {
            const EXPIRES_AFTER: ::core::option::Option<::core::time::Duration> =
                ::core::option::Option::Some(::core::time::Duration::from_secs(#seconds));
        }
    });
    let descriptions = methods.iter().map(|method| {
        let (configuration, description) = (&method.configuration, method.description());
        quote!(#configuration #description)
    });
    let migrations = migrations::expand_list(class);
    let handlers = handlers::expand(class);
    let construct = expand_construct(class);
    let dispatch = expand_dispatch(class, methods);
    let probes = methods.iter().map(Method::result_probe);
    // Through the trait, so that a class that is not `Send` gives its one error and not another one
    // about its stub.
    let private_there = all_at(private.clone(), self_type.span());
    let only = of_trait(&quote!(#self_type), ["SendObject", "Only"], private);
    let stub_type = quote_spanned!(self_type.span()=> #only<#stub>);
    let raw = internal("raw");
    let typed_stub = quote_spanned! {self_type.span()=>
        type Stub = #stub_type;

        fn stub(#raw: #private_there::RawStub<Self>) -> #stub_type {
            #stub { raw: #raw }
        }
    };
    quote! {
        #configuration
        #quiet
        #[automatically_derived]
        impl #private::DurableObject for #self_type {
            const CLASS: &'static ::core::primitive::str = #name;
            const FORMER_CLASSES: &'static [&'static ::core::primitive::str] = &[#(#former),*];
            #expiry
            const METHODS: &'static [#private::MethodDescription] = &[#(#descriptions),*];
            const MIGRATIONS: &'static [#private::MigrationInfo] = #migrations;
            const HANDLERS: #private::Handlers<Self> = #handlers;

            #construct
            #dispatch

            #typed_stub
        }

        #configuration
        const _: () = {
            #(#probes)*
        };
    }
}

fn expand_construct(class: &Class<'_>) -> TokenStream {
    let Class { private, self_type, .. } = class;
    let ctx = internal("ctx");
    let sound = class.sound.with_role(|role| role == Role::Constructor).next();
    let written = class.sound.object.of_role(Role::Constructor).next();
    let body = match (sound, written) {
        (Some(new), _) => {
            let name = &new.signature.ident;
            let span = new.returned().map_or_else(|| name.span(), Spanned::span);
            let object = Ident::new("object", span);
            let gives_result = new.returned().is_some_and(types::is_result);
            let value = if gives_result {
                quote!(#object)
            } else {
                quote!(::core::result::Result::Ok(#object))
            };
            quote!(let #object = <#self_type>::#name(#ctx); #value)
        }
        // It is there and breaks a rule, so nothing more needs to be said about it.
        (None, Some(_)) => quote!(loop {}),
        (None, None) => {
            let construct = internal("construct");
            let path = ["ConstructDefault", "construct_default"];
            let construct_default = of_trait(&quote!(#self_type), path, private);
            quote! {
                let #construct = #construct_default;
                ::core::result::Result::Ok(#construct())
            }
        }
    };
    quote! {
        fn construct(#ctx: &#private::Context<Self>) -> #private::Result<Self, #private::Error> {
            #body
        }
    }
}

fn expand_dispatch(class: &Class<'_>, methods: &[Method<'_>]) -> TokenStream {
    let private = &class.private;
    let [ctx, method, input, unknown] = ["ctx", "method", "input", "unknown"].map(internal);
    let arms = methods.iter().map(expand_arm);
    quote! {
        fn dispatch(
            &mut self,
            #ctx: &#private::Context<Self>,
            #method: &::core::primitive::str,
            #input: &mut #private::Decoder<'_>,
        ) -> ::core::result::Result<#private::WireReply, #private::WireError> {
            match #method {
                #(#arms)*
                #unknown => ::core::result::Result::Err(#private::WireError::UnknownMethod(
                    ::core::convert::From::from(#unknown),
                )),
            }
        }
    }
}

/// `"post" => { .. }`
fn expand_arm(method: &Method<'_>) -> TokenStream {
    let private = &method.private;
    let [object, ctx, input, read, output] =
        ["object", "ctx", "input", "read", "output"].map(internal);
    let (name, configuration) = (&method.name, &method.configuration);
    let decode = method.arguments.iter().map(|argument| {
        let owned = &argument.owned;
        let decode = of_trait(&argument.owned_type, ["RpcArg", "decode"], private);
        quote! {
            let #read = #decode;
            let #owned = #read(#input)?;
        }
    });
    let call = method.call(&object, &ctx);
    let [write_ok, write_error] = method.reply_functions("encode");
    quote_spanned! {method.place()=>
        #configuration
        #name => {
            #(#decode)*
            let #output = #private::Decoder::finish(#input)?;
            let #object = self;
            #private::WireReply::write(#call, #output, #write_ok, #write_error)
        }
    }
}
