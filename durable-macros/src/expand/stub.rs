//! The stub: what callers hold.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};

use super::methods::{Method, of_trait};
use super::{Class, attributes, internal, quiet};

/// `pub struct RoomStub` with its methods.
pub(super) fn expand(class: &Class<'_>, methods: &[Method<'_>]) -> TokenStream {
    let Class { private, self_type, stub, configuration, .. } = class;
    let quiet = quiet();
    let docs = format!(
        "Calls one `{}`. Cheap to clone, and free to be sent to other threads.",
        class.name()
    );
    let calls = methods.iter().map(|method| expand_method(class, method));
    let common = expand_common(class);
    quote! {
        #configuration
        #[doc = #docs]
        #quiet
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        pub struct #stub {
            raw: #private::RawStub<#self_type>,
        }

        #configuration
        #quiet
        #[automatically_derived]
        impl #stub {
            #common
            #(#calls)*
        }

        #configuration
        #[automatically_derived]
        impl #private::ObjectStub<#self_type> for #stub {
            fn raw_stub(&self) -> &dyn ::core::any::Any {
                &self.raw
            }
        }
    }
}

/// The methods that every stub has.
fn expand_common(class: &Class<'_>) -> TokenStream {
    let Class { private, self_type, .. } = class;
    let fetch = class.has_fetch.then(|| {
        quote! {
            /// Sends the object an HTTP request, in process.
            pub fn fetch(&self, request: #private::Request) -> #private::Fetch {
                self.raw.fetch(request)
            }
        }
    });
    quote! {
        /// The object's id.
        pub fn id(&self) -> &#private::ObjectId<#self_type> {
            self.raw.id()
        }

        /// The object's name, if the stub was made from one.
        pub fn name(&self) -> ::core::option::Option<&::core::primitive::str> {
            self.raw.name()
        }

        #fetch
    }
}

fn expand_method(class: &Class<'_>, method: &Method<'_>) -> TokenStream {
    let (self_type, private) = (class.self_type, &method.private);
    let function = method.function;
    let (attributes, visibility) = (attributes::for_stub(function), &function.visibility);
    let name = &function.signature.ident;
    let docs = (!attributes::has_docs(function)).then(|| {
        let docs = format!("Calls `{}::{}`.", class.name(), method.name);
        quote!(#[doc = #docs])
    });
    let shown = method.arguments.iter().map(|argument| &argument.shown);
    let types = method.arguments.iter().map(|argument| &argument.type_);
    let taken = method.arguments.iter().map(|argument| argument.taken(private));
    let (ok, error) = (&method.reply.ok, &method.reply.error);
    let owned = method.arguments.iter().map(|argument| &argument.owned_type);
    let owned = quote_spanned!(method.arguments_place()=> (#(#owned,)*));
    let returned = quote_spanned!(method.place()=> #private::Call<#self_type, #ok, #error>);
    let description = expand_description(method);
    quote! {
        #attributes
        #docs
        #visibility fn #name(&self, #(#shown: #types),*) -> #returned {
            self.raw.call::<#owned, #ok, #error>(#description, (#(#taken,)*))
        }
    }
}

/// `Method { info, invoke, encode, decode }`
fn expand_description(method: &Method<'_>) -> TokenStream {
    let private = &method.private;
    let info = method.info();
    let [object, ctx, output, reply, write] =
        ["object", "ctx", "output", "reply", "write"].map(internal);
    let owned: Vec<_> = method.arguments.iter().map(|argument| &argument.owned).collect();
    let call = method.call(&object, &ctx);
    let encode = method.arguments.iter().map(|argument| {
        let owned = &argument.owned;
        let encode = of_trait(&argument.owned_type, ["RpcArg", "encode"], private);
        quote! {
            let #write = #encode;
            #write(#owned, #output)?;
        }
    });
    let [read_ok, read_error] = method.reply_functions("decode");
    quote_spanned! {method.place()=>
        #private::Method {
            info: #info,
            invoke: |#object, #ctx, (#(#owned,)*)| #call,
            encode: |(#(#owned,)*), #output| {
                #(#encode)*
                ::core::result::Result::Ok(())
            },
            decode: |#reply| #private::WireReply::read(#reply, #read_ok, #read_error),
        }
    }
}
