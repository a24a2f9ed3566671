//! Syntax to plain model.
//!
//! Guarantee: whatever Rust's grammar allows in an impl block is read, right or wrong; judging is
//! left to `rules`. Bodies are kept as raw tokens and never parsed, constants and types are skipped.
//! An error here means that the block itself cannot be read.

mod function;
pub(crate) mod options;
mod tokens;
pub(crate) mod types;

pub(crate) use function::{Function, MigrationNumber, MigrationPin, Role, argument_name};
pub(crate) use options::Options;
pub(crate) use tokens::{split_at_commas, text_of, without_migration_attributes};

use proc_macro2::{Group, Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{Parse, ParseStream, Parser};
use syn::{Attribute, Generics, Path, Token, Type};

/// What the attribute stands on.
pub(crate) enum Input {
    /// An impl block of any kind.
    Object(Box<Object>),
    /// Something else; the keyword that says what.
    Other(TokenStream),
}

/// An impl block with the attribute's options.
pub(crate) struct Object {
    pub(crate) options: Options,
    /// `#[cfg(..)]` that stand below `#[durable_object]`.
    pub(crate) configuration: Vec<Attribute>,
    pub(crate) generics: Generics,
    pub(crate) of_trait: Option<Path>,
    pub(crate) self_type: Type,
    pub(crate) functions: Vec<Function>,
    /// Macro invocations among the items: the paths.
    pub(crate) macros: Vec<Path>,
}

impl Object {
    /// The type's last name: `Room` in `impl rooms::Room`.
    pub(crate) fn name(&self) -> Option<&Ident> {
        types::last_segment(&self.self_type).map(|segment| &segment.ident)
    }

    /// The name as messages show it.
    pub(crate) fn shown_name(&self) -> String {
        self.name().map_or_else(|| "Name".to_owned(), ToString::to_string)
    }

    /// The functions of one role, in source order.
    pub(crate) fn of_role(&self, role: Role) -> impl Iterator<Item = &Function> {
        self.functions.iter().filter(move |function| function.role == role)
    }
}

/// Reads the attribute's options and the item below it.
///
/// # Errors
/// When the item is an impl block that cannot be read.
pub(crate) fn parse(options: TokenStream, item: TokenStream) -> syn::Result<Input> {
    let parse_impl = |input: ParseStream<'_>| parse_impl(input, Options::parse(options));
    match other_keyword(&item) {
        Some(keyword) => Ok(Input::Other(keyword)),
        None => Ok(Input::Object(Box::new(parse_impl.parse2(item)?))),
    }
}

/// The first token that is no attribute, visibility or qualifier, unless it is `impl`.
fn other_keyword(item: &TokenStream) -> Option<TokenStream> {
    const QUALIFIERS: [&str; 6] = ["pub", "unsafe", "default", "async", "const", "extern"];
    for token in item.clone() {
        match &token {
            TokenTree::Punct(_) | TokenTree::Group(_) | TokenTree::Literal(_) => {}
            TokenTree::Ident(ident) if ident == "impl" => return None,
            TokenTree::Ident(ident) if QUALIFIERS.iter().any(|word| ident == word) => {}
            TokenTree::Ident(_) => return Some(token.into_token_stream()),
        }
    }
    Some(item.clone())
}

fn parse_impl(input: ParseStream<'_>, options: Options) -> syn::Result<Object> {
    let configuration = configuration_of(input.call(Attribute::parse_outer)?);
    input.parse::<Option<Token![default]>>()?;
    input.parse::<Option<Token![unsafe]>>()?;
    input.parse::<Token![impl]>()?;
    let mut generics =
        if input.peek(Token![<]) { input.parse::<Generics>()? } else { Generics::default() };
    input.parse::<Option<Token![!]>>()?;
    let (of_trait, self_type) = parse_trait_and_type(input)?;
    generics.where_clause = input.parse()?;
    let content;
    syn::braced!(content in input);
    content.call(Attribute::parse_inner)?;
    let (mut functions, mut macros) = (Vec::new(), Vec::new());
    while !content.is_empty() {
        match content.parse()? {
            Item::Function(function) => functions.push(*function),
            Item::Macro(path) => macros.push(path),
            Item::Skipped => {}
        }
    }
    Ok(Object { options, configuration, generics, of_trait, self_type, functions, macros })
}

fn configuration_of(attributes: Vec<Attribute>) -> Vec<Attribute> {
    attributes.into_iter().filter(|attribute| attribute.path().is_ident("cfg")).collect()
}

fn parse_trait_and_type(input: ParseStream<'_>) -> syn::Result<(Option<Path>, Type)> {
    let first: Type = input.parse()?;
    if !input.peek(Token![for]) {
        return Ok((None, types::ungroup(first)));
    }
    input.parse::<Token![for]>()?;
    let of_trait = match types::ungroup(first) {
        Type::Path(path) => path.path,
        other => return Err(syn::Error::new_spanned(other, "expected a trait")),
    };
    Ok((Some(of_trait), types::ungroup(input.parse()?)))
}

/// An item of the block.
enum Item {
    Function(Box<Function>),
    Macro(Path),
    Skipped,
}

impl Parse for Item {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        input.parse::<Option<Token![default]>>()?;
        if is_function(input) {
            let signature = input.parse()?;
            let function = Function::new(attributes, visibility, signature, parse_body(input)?);
            return Ok(Item::Function(Box::new(function)));
        }
        match input.fork().call(Path::parse_mod_style) {
            Ok(path) if is_invocation(input) => {
                skip_item(input)?;
                Ok(Item::Macro(path))
            }
            _ => {
                skip_item(input)?;
                Ok(Item::Skipped)
            }
        }
    }
}

/// Whether `fn` follows after nothing but qualifiers.
fn is_function(input: ParseStream<'_>) -> bool {
    let ahead = input.fork();
    while !ahead.peek(Token![fn]) {
        let is_qualifier = ahead.peek(Token![const])
            || ahead.peek(Token![async])
            || ahead.peek(Token![unsafe])
            || ahead.peek(Token![extern])
            || ahead.peek(syn::LitStr);
        if !is_qualifier || ahead.parse::<TokenTree>().is_err() {
            return false;
        }
    }
    true
}

fn is_invocation(input: ParseStream<'_>) -> bool {
    let ahead = input.fork();
    ahead.call(Path::parse_mod_style).is_ok() && ahead.peek(Token![!])
}

/// The body without its braces; nothing if a `;` stands there, which rustc reports.
fn parse_body(input: ParseStream<'_>) -> syn::Result<TokenStream> {
    if input.peek(Token![;]) {
        input.parse::<Token![;]>()?;
        return Ok(TokenStream::new());
    }
    Ok(input.parse::<Group>()?.stream())
}

/// Constants and types end with `;`, macro invocations with `;` or with braces.
fn skip_item(input: ParseStream<'_>) -> syn::Result<()> {
    let mut after_bang = false;
    while !input.is_empty() {
        let token: TokenTree = input.parse()?;
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == ';' => break,
            TokenTree::Group(group) if after_bang && is_braced(group) => {
                input.parse::<Option<Token![;]>>()?;
                break;
            }
            _ => {}
        }
        after_bang = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '!');
    }
    Ok(())
}

fn is_braced(group: &Group) -> bool {
    group.delimiter() == proc_macro2::Delimiter::Brace
}
