//! The one collector of errors.
//!
//! Guarantee: every error that was reported reaches the output, in the order of reporting, each at
//! the span of the tokens it was reported on. Stable compilers give macros no separate help lines,
//! so message, help and rule are lines of one text.

use proc_macro2::TokenStream;
use quote::ToTokens;

/// All errors of one expansion.
#[derive(Default)]
pub(crate) struct Diagnostics {
    errors: Vec<syn::Error>,
}

impl Diagnostics {
    /// Reports that `rule` is broken at `tokens`. Lines of `help` are aligned below each other.
    pub(crate) fn report(&mut self, rule: &str, tokens: &dyn ToTokens, message: &str, help: &str) {
        let help = help.replace('\n', "\n        ");
        let text = format!("{message}\n  help: {help}\n  rule: {rule}");
        self.errors.push(syn::Error::new_spanned(TokensOf(tokens), text));
    }

    /// Takes over the error of the parser: the impl block cannot be read.
    pub(crate) fn unreadable(&mut self, error: syn::Error) {
        self.errors.push(error);
    }

    /// How many errors there are so far.
    pub(crate) fn count(&self) -> usize {
        self.errors.len()
    }

    /// One `compile_error!` for each error.
    pub(crate) fn into_tokens(self) -> TokenStream {
        self.errors.iter().map(syn::Error::to_compile_error).collect()
    }
}

/// `new_spanned` wants a sized type.
struct TokensOf<'a>(&'a dyn ToTokens);

impl ToTokens for TokensOf<'_> {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.0.to_tokens(tokens);
    }
}
