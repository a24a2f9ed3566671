//! A business method, prepared once for the stub and for the dispatcher.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{PatType, ReceiverKind, Type};

use super::types::without_self;
use super::{Class, all_at, attributes, internal};
use crate::input::{Function, argument_name, types};

/// One method with the types and names that generated code uses for it.
pub(super) struct Method<'a> {
    pub(super) function: &'a Function,
    /// The name that calls carry.
    pub(super) name: String,
    pub(super) configuration: TokenStream,
    pub(super) arguments: Vec<Argument>,
    pub(super) reply: Reply,
    /// `::durable::__private`, at the method's place.
    pub(super) private: TokenStream,
    self_type: &'a Type,
}

/// One argument.
pub(super) struct Argument {
    /// The user's name for it.
    pub(super) shown: Ident,
    /// Our name for the owned value.
    pub(super) owned: Ident,
    /// The type as the method takes it.
    pub(super) type_: TokenStream,
    /// The type that the call owns.
    pub(super) owned_type: TokenStream,
    /// Whether the type is written as an `Option`.
    is_optional: bool,
    /// The type behind the reference, if the method takes one.
    borrowed: Option<TokenStream>,
}

/// What comes back.
pub(super) struct Reply {
    /// The return type as written; `()` if there is none.
    pub(super) type_: TokenStream,
    pub(super) ok: TokenStream,
    pub(super) error: TokenStream,
    is_result: bool,
}

impl<'a> Method<'a> {
    pub(super) fn new(class: &Class<'a>, function: &'a Function) -> Self {
        let arguments = function
            .arguments()
            .enumerate()
            .map(|(place, argument)| Argument::new(class, place, argument))
            .collect();
        Method {
            function,
            name: function.name(),
            configuration: attributes::configuration(function),
            arguments,
            reply: Reply::new(class, function),
            private: all_at(class.private.clone(), place_of(function)),
            self_type: class.self_type,
        }
    }

    /// `MethodInfo { .. }`
    pub(super) fn info(&self) -> TokenStream {
        let (private, name) = (&self.private, &self.name);
        let access = if self.is_writing() { quote!(Write) } else { quote!(ReadOnly) };
        quote!(#private::MethodInfo { name: #name, access: #private::Access::#access })
    }

    /// `MethodDescription { .. }`
    pub(super) fn description(&self) -> TokenStream {
        let Method { private, reply, .. } = self;
        let (info, docs) = (self.info(), attributes::docs(self.function));
        let arguments = self.arguments.iter().map(|argument| {
            let Argument { shown, owned_type, is_optional, .. } = argument;
            let name = shown.unraw().to_string();
            let trace = of_trait(owned_type, ["RpcArg", "trace"], private);
            quote! {
                #private::ArgumentDescription {
                    name: #name,
                    is_optional: #is_optional,
                    schema: #private::schema_of!(#owned_type),
                    trace: #trace,
                }
            }
        });
        let (ok, error) = (&reply.ok, &reply.error);
        let [trace_reply, trace_error] = self.reply_functions("trace");
        quote! {
            #private::MethodDescription {
                info: #info,
                docs: &[#(#docs),*],
                arguments: &[#(#arguments),*],
                reply: #private::schema_of!(#ok),
                error: #private::schema_of!(#error),
                trace_reply: #trace_reply,
                trace_error: #trace_error,
                shape_cell: || {
                    static CELL: #private::ShapeCell = #private::ShapeCell::new();
                    &CELL
                },
            }
        }
    }

    /// The call of the user's method as a `Result`, with `object` and `ctx` in scope and the owned arguments.
    pub(super) fn call(&self, object: &Ident, ctx: &Ident) -> TokenStream {
        let Method { private, self_type, .. } = self;
        let method = &self.function.signature.ident;
        let ctx = self.function.context().map(|_| quote!(#ctx,));
        let arguments = self.arguments.iter().map(|argument| argument.given(private));
        let call = quote!(<#self_type>::#method(#object, #ctx #(#arguments),*));
        if self.reply.is_result {
            let into_result = of_trait(&self.reply.type_, ["Fallible", "into_result"], private);
            quote_spanned!(self.place()=> #into_result(#call))
        } else {
            quote!(::core::result::Result::Ok(#call))
        }
    }

    /// Where the method's generated code stands: rustc reports there what is wrong with the reply.
    pub(super) fn place(&self) -> Span {
        place_of(self.function)
    }

    /// Where the tuple of arguments stands: at the argument, if it is the only one.
    pub(super) fn arguments_place(&self) -> Span {
        match self.arguments.as_slice() {
            [argument] => argument.type_.span(),
            _ => self.function.signature.ident.span(),
        }
    }

    /// The functions that write value and error of the reply (`encode`), read them (`decode`) or find out
    /// what they look like (`trace`).
    pub(super) fn reply_functions(&self, verb: &str) -> [TokenStream; 2] {
        let Method { private, reply, .. } = self;
        let ok = of_trait(&reply.ok, ["RpcReply", verb], private);
        let error = if reply.is_result {
            of_trait(&reply.error, ["RpcError", verb], private)
        } else {
            let never = internal(&format!("{verb}_never"));
            quote!(#private::#never)
        };
        [ok, error]
    }

    /// Fails to compile, in our words, if the return type is a `Result` under another name.
    pub(super) fn result_probe(&self) -> TokenStream {
        let Method { private, configuration, name, .. } = self;
        let Some(returned) = self.function.returned().filter(|_| !self.reply.is_result) else {
            return TokenStream::new();
        };
        let type_ = &self.reply.type_;
        let text = format!(
            "`{name}` returns a `Result` under another name, which its stub cannot see\n  help: name the return type `Result<..>`, or end the alias in `Result`\n  rule: hidden-result"
        );
        let probe = quote!(#private::ResultProbe::<#type_>::IS_RESULT);
        let assertion = all_at(quote!(::core::assert!(!#probe, #text);), returned.span());
        quote! {
            #configuration
            const _: () = {
                #[allow(unused_imports)]
                use #private::NoResult as _;
                #assertion
            };
        }
    }

    fn is_writing(&self) -> bool {
        self.function.receiver().is_some_and(|receiver| match &receiver.kind {
            ReceiverKind::Reference(_, _, mutability) => mutability.is_some(),
            ReceiverKind::Typed(_, type_) => {
                types::as_reference(type_).is_some_and(|reference| reference.mutability.is_some())
            }
            _ => false,
        })
    }
}

fn place_of(function: &Function) -> Span {
    let name = &function.signature.ident;
    function.returned().map_or_else(|| name.span(), Spanned::span)
}

impl Argument {
    fn new(class: &Class<'_>, place: usize, argument: &PatType) -> Self {
        let private = &class.private;
        let type_ = without_self(&argument.ty, class.self_type);
        let borrowed = types::as_reference(&argument.ty)
            .map(|reference| without_self(&reference.elem, class.self_type));
        let owned_type = match &borrowed {
            Some(borrowed) => of_trait(borrowed, ["RpcBorrow", "Owned"], private),
            None => type_.clone(),
        };
        Argument {
            // Patterns break a rule and never come here; the name is only for the type checker's peace.
            shown: argument_name(argument)
                .cloned()
                .unwrap_or_else(|| format_ident!("argument{place}")),
            owned: internal(&format!("argument{place}")),
            is_optional: types::is_named(&argument.ty, "Option"),
            type_,
            owned_type,
            borrowed,
        }
    }

    /// The owned value as the method takes it.
    fn given(&self, private: &TokenStream) -> TokenStream {
        let owned = &self.owned;
        match &self.borrowed {
            Some(borrowed) => {
                let lend = of_trait(borrowed, ["RpcBorrow", "lend"], private);
                quote_spanned!(borrowed.span()=> #lend(&#owned))
            }
            None => owned.to_token_stream(),
        }
    }

    /// The value that the caller gave, as the call owns it.
    pub(super) fn taken(&self, private: &TokenStream) -> TokenStream {
        let shown = &self.shown;
        match &self.borrowed {
            Some(borrowed) => {
                let copy = of_trait(borrowed, ["RpcBorrow", "copy"], private);
                quote_spanned!(borrowed.span()=> #copy(#shown))
            }
            None => shown.to_token_stream(),
        }
    }
}

impl Reply {
    fn new(class: &Class<'_>, function: &Function) -> Self {
        let private = &class.private;
        let Some(returned) = function.returned() else {
            return Reply {
                type_: quote!(()),
                ok: quote!(()),
                error: quote!(::core::convert::Infallible),
                is_result: false,
            };
        };
        let type_ = without_self(returned, class.self_type);
        if !types::is_result(returned) {
            let error = quote!(::core::convert::Infallible);
            return Reply { ok: type_.clone(), error, type_, is_result: false };
        }
        // `Result<T, E>` spells both types out: errors about them belong there.
        let arguments = types::arguments(returned);
        let span_of =
            |place: usize| arguments.get(place).map_or_else(|| returned.span(), Spanned::span);
        let (ok_span, error_span) = (span_of(0), span_of(1));
        Reply {
            ok: of_trait_at(ok_span, &type_, ["Fallible", "Ok"], private),
            error: of_trait_at(error_span, &type_, ["Fallible", "Err"], private),
            type_: type_.clone(),
            is_result: true,
        }
    }
}

/// `<Type as ..::Trait>::item`, with every token of ours at the type: what the type lacks is
/// reported there. Bind it to a name before calling it: in a call, some compilers report the lack at
/// the arguments.
pub(super) fn of_trait(type_: &TokenStream, path: [&str; 2], private: &TokenStream) -> TokenStream {
    of_trait_at(type_.span(), type_, path, private)
}

fn of_trait_at(
    place: Span,
    type_: &TokenStream,
    [name, item]: [&str; 2],
    private: &TokenStream,
) -> TokenStream {
    let (name, item) = (internal(name), internal(item));
    let open = all_at(quote!(<), place);
    let rest = all_at(quote!(as #private::#name>::#item), place);
    quote!(#open #type_ #rest)
}
