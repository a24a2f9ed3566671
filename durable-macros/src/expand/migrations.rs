//! The list of migrations, and the check that runs them all.

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};
use quote::{format_ident, quote};
use syn::spanned::Spanned;

use super::types::without_self;
use super::{Class, quiet};
use crate::checksum;
use crate::input::types::behind_reference;
use crate::input::{Function, MigrationNumber, Role};

/// `&[MigrationInfo { .. }, ..]`
pub(super) fn expand_list(class: &Class<'_>) -> TokenStream {
    let migrations = class.sound.with_role(|role| role == Role::Migration);
    let infos = migrations.map(|migration| expand_info(class, migration));
    quote!(&[#(#infos),*])
}

fn expand_info(class: &Class<'_>, migration: &Function) -> TokenStream {
    let Class { private, self_type, .. } = class;
    let number = match migration.migration.as_ref().map(|pin| &pin.number) {
        Some(MigrationNumber::Literal(number, _)) => *number,
        _ => 0,
    };
    let (name, function) = (migration.name(), &migration.signature.ident);
    let checksum = checksum::of_body(&migration.body);
    let sql = named_sql(&migration.body);
    let sql = sql.iter().map(|sql| without_self(sql, self_type));
    let name_span = function.span();
    let input = migration.inputs().next();
    let db_span = input.map_or(name_span, |input| behind_reference(&input.ty).span());
    let db = Ident::new("db", db_span);
    let output = Ident::new("output", migration.returned().map_or(name_span, Spanned::span));
    quote! {
        #private::MigrationInfo {
            number: #number,
            name: #name,
            checksum: #checksum,
            sql: &[#(#sql),*],
            apply: |#db| {
                let #output = <#self_type>::#function(#db);
                #output
            },
        }
    }
}

/// `Room::check_migrations()`, and a test that calls it if there is something to check.
pub(super) fn expand_check(class: &Class<'_>) -> TokenStream {
    let Class { private, self_type, configuration, .. } = class;
    if class.sound.object.functions.iter().any(|function| function.name() == "check_migrations") {
        // Reported as a reserved name; rustc need not report it as a duplicate.
        return TokenStream::new();
    }
    let quiet = quiet();
    let name = class.name();
    let docs = format!(
        "Runs all migrations of `{name}` on an empty database, in memory.\n\n# Errors\nThe first one that fails."
    );
    let test = class.sound.with_role(|role| role == Role::Migration).next().map(|_| {
        let test = format_ident!("{}_migrations_run", snake_case(&name));
        quote! {
            #configuration
            #[cfg(test)]
            #quiet
            #[::core::prelude::v1::test]
            fn #test() -> #private::Result<(), #private::Error> {
                <#self_type>::check_migrations()
            }
        }
    });
    quote! {
        #configuration
        #quiet
        #[automatically_derived]
        impl #self_type {
            #[doc = #docs]
            pub fn check_migrations() -> #private::Result<(), #private::Error> {
                #private::check_migrations::<Self>()
            }
        }

        #test
    }
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.trim_start_matches("r#").chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// The SQL that a body gives to `execute_batch` without containing it: constants, and what
/// `include_str!` or `concat!` make. The tokens say nothing about it, so the runtime adds the text
/// itself to the checksum.
fn named_sql(body: &TokenStream) -> Vec<TokenStream> {
    let mut found = Vec::new();
    collect_sql(body, &mut found);
    let mut local = Vec::new();
    collect_local_constants(body, &mut local);
    found.retain(|sql| !matches!(single_name(sql), Some(name) if local.contains(&name)));
    found
}

fn collect_sql(stream: &TokenStream, found: &mut Vec<TokenStream>) {
    let mut after_call = false;
    for token in stream.clone() {
        if let TokenTree::Group(group) = &token {
            let is_arguments = after_call && group.delimiter() == Delimiter::Parenthesis;
            if is_arguments && is_named_sql(group) {
                found.push(group.stream());
            } else {
                collect_sql(&group.stream(), found);
            }
        }
        after_call = matches!(&token, TokenTree::Ident(ident) if ident == "execute_batch");
    }
}

/// `(SCHEMA)`, `(schema::VERSION_2)`, `(include_str!("2.sql"))`, `(concat!(..))`
fn is_named_sql(arguments: &Group) -> bool {
    let mut last = None;
    for token in arguments.stream() {
        match token {
            TokenTree::Ident(ident) => last = Some(ident.to_string()),
            TokenTree::Punct(colon) if colon.as_char() == ':' => {}
            TokenTree::Punct(bang) if bang.as_char() == '!' => {
                return last.is_some_and(|name| name == "include_str" || name == "concat");
            }
            _ => return false,
        }
    }
    last.is_some_and(|name| is_screaming(&name))
}

fn is_screaming(name: &str) -> bool {
    name.chars().all(|letter| letter.is_uppercase() || letter.is_numeric() || letter == '_')
}

fn single_name(tokens: &TokenStream) -> Option<Ident> {
    let mut tokens = tokens.clone().into_iter();
    match (tokens.next(), tokens.next()) {
        (Some(TokenTree::Ident(ident)), None) => Some(ident),
        _ => None,
    }
}

/// Names of constants that the body declares: outside it they mean nothing, and their SQL is in the
/// tokens already.
fn collect_local_constants(stream: &TokenStream, found: &mut Vec<Ident>) {
    let mut after_keyword = false;
    for token in stream.clone() {
        match &token {
            TokenTree::Group(group) => collect_local_constants(&group.stream(), found),
            TokenTree::Ident(ident) if after_keyword => found.push(ident.clone()),
            _ => {}
        }
        after_keyword =
            matches!(&token, TokenTree::Ident(word) if word == "const" || word == "static");
    }
}
