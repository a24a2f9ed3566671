//! One function of the impl block.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{
    Attribute, FnArg, LitInt, LitStr, Meta, Pat, PatType, Receiver, Signature, Token, Type,
    Visibility,
};

use super::types;
use crate::handlers::HandlerForm;

/// A function with its role.
pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) migration: Option<MigrationPin>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    pub(crate) body: TokenStream,
    pub(crate) role: Role,
}

/// What a function is to the runtime.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Role {
    /// `fn new`
    Constructor,
    /// It has `#[migration]`.
    Migration,
    /// It has the name of a handler.
    Handler(&'static HandlerForm),
    /// It is visible: stubs call it.
    Method,
    /// The user's own.
    Helper,
}

/// `#[migration(1, checksum = "..")]`
pub(crate) struct MigrationPin {
    pub(crate) number: MigrationNumber,
    pub(crate) checksum: Option<LitStr>,
}

/// The number of a migration.
pub(crate) enum MigrationNumber {
    /// A number with the literal it was written as.
    Literal(u32, LitInt),
    /// Something else stands there (or nothing).
    Unreadable(TokenStream),
}

impl Function {
    pub(crate) fn new(
        mut attributes: Vec<Attribute>,
        visibility: Visibility,
        signature: Signature,
        body: TokenStream,
    ) -> Function {
        let migration = take_migration(&mut attributes);
        let role = role_of(migration.is_some(), &visibility, &signature);
        Function { attributes, migration, visibility, signature, body, role }
    }

    /// The name without `r#`.
    pub(crate) fn name(&self) -> String {
        self.signature.ident.unraw().to_string()
    }

    /// What the function is, as messages call it.
    pub(crate) fn title(&self) -> String {
        let kind = match self.role {
            Role::Constructor => "constructor",
            Role::Migration => "migration",
            Role::Handler(_) => "handler",
            Role::Method => "business method",
            Role::Helper => "helper",
        };
        format!("{kind} `{}`", self.name())
    }

    pub(crate) fn is_async(&self) -> bool {
        self.signature.asyncness.is_some()
    }

    /// Whether other modules may call it. `pub(self)` is private.
    pub(crate) fn is_visible(&self) -> bool {
        is_visible(&self.visibility)
    }

    pub(crate) fn receiver(&self) -> Option<&Receiver> {
        self.signature.receiver()
    }

    /// What it takes besides `self`.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = &PatType> {
        self.signature.inputs.iter().filter_map(|input| match input {
            FnArg::Typed(typed) => Some(typed),
            FnArg::Receiver(_) => None,
        })
    }

    /// The context, if it is the first argument.
    pub(crate) fn context(&self) -> Option<&PatType> {
        self.inputs().next().filter(|input| types::is_context(&input.ty))
    }

    /// What callers give: everything but `self` and the context.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &PatType> {
        self.inputs().skip(usize::from(self.context().is_some()))
    }

    pub(crate) fn returned(&self) -> Option<&Type> {
        types::returned(&self.signature.output)
    }

    /// Whether two functions of this name may be meant for different builds.
    pub(crate) fn has_configuration(&self) -> bool {
        self.attributes.iter().any(|attribute| {
            attribute.path().is_ident("cfg") || attribute.path().is_ident("cfg_attr")
        })
    }
}

/// The name of an argument, unless it is a pattern.
pub(crate) fn argument_name(argument: &PatType) -> Option<&syn::Ident> {
    match &*argument.pat {
        Pat::Ident(name) if name.by_ref.is_none() && name.subpat.is_none() => Some(&name.ident),
        _ => None,
    }
}

fn role_of(is_migration: bool, visibility: &Visibility, signature: &Signature) -> Role {
    let name = signature.ident.unraw().to_string();
    if is_migration {
        return Role::Migration;
    }
    match HandlerForm::named(&name) {
        Some(form) => Role::Handler(form),
        None if name == "new" => Role::Constructor,
        None if is_visible(visibility) => Role::Method,
        None => Role::Helper,
    }
}

fn is_visible(visibility: &Visibility) -> bool {
    match visibility {
        Visibility::Public(_) => true,
        Visibility::Restricted(restricted) => !restricted.path.is_ident("self"),
        Visibility::Inherited => false,
    }
}

/// Takes `#[migration]` out of the attributes.
fn take_migration(attributes: &mut Vec<Attribute>) -> Option<MigrationPin> {
    let is_migration = |attribute: &Attribute| {
        attribute.path().segments.last().is_some_and(|segment| segment.ident == "migration")
    };
    let place = attributes.iter().position(is_migration)?;
    let attribute = attributes.remove(place);
    let path = attribute.path().to_token_stream();
    let pin = match &attribute.meta {
        Meta::List(list) => parse_pin.parse2(list.tokens.clone()).ok(),
        _ => None,
    };
    let unreadable = match attribute.meta {
        Meta::List(list) if !list.tokens.is_empty() => list.tokens,
        _ => path,
    };
    let (number, checksum) = pin.unwrap_or((MigrationNumber::Unreadable(unreadable), None));
    Some(MigrationPin { number, checksum })
}

fn parse_pin(input: ParseStream<'_>) -> syn::Result<(MigrationNumber, Option<LitStr>)> {
    let literal: LitInt = input.parse()?;
    let number = MigrationNumber::Literal(literal.base10_parse()?, literal);
    if input.is_empty() {
        return Ok((number, None));
    }
    input.parse::<Token![,]>()?;
    if input.is_empty() {
        return Ok((number, None));
    }
    let key: syn::Ident = input.parse()?;
    if key != "checksum" {
        return Err(syn::Error::new(key.span(), "not an option of `#[migration]`"));
    }
    input.parse::<Token![=]>()?;
    let checksum = input.parse()?;
    input.parse::<Option<Token![,]>>()?;
    Ok((number, Some(checksum)))
}
