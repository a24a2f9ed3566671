//! The user's types in generated code.

use proc_macro2::{Group, TokenStream, TokenTree};
use quote::ToTokens;

/// `Self` means the stub there, so the object's type takes its place. Spans stay the user's.
pub(super) fn without_self(tokens: &dyn ToTokens, self_type: &dyn ToTokens) -> TokenStream {
    replace_self(tokens.to_token_stream(), &self_type.to_token_stream())
}

fn replace_self(tokens: TokenStream, self_type: &TokenStream) -> TokenStream {
    tokens
        .into_iter()
        .flat_map(|token| match token {
            TokenTree::Ident(ident) if ident == "Self" => at_span(self_type, ident.span()),
            TokenTree::Group(group) => {
                let mut replaced =
                    Group::new(group.delimiter(), replace_self(group.stream(), self_type));
                replaced.set_span(group.span());
                TokenTree::from(replaced).into()
            }
            other => other.into(),
        })
        .collect()
}

/// The tokens with names resolved where they were, but shown in messages at `span`.
fn at_span(tokens: &TokenStream, span: proc_macro2::Span) -> TokenStream {
    let shown = |mut token: TokenTree| {
        token.set_span(span.resolved_at(token.span()));
        token
    };
    tokens.clone().into_iter().map(shown).collect()
}
