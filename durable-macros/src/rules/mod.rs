//! Every rule, in one table.
//!
//! Guarantee: all broken rules of a block are reported at once, in source order within each group,
//! each at the smallest span that shows the mistake, and each by exactly one entry of [`RULES`].
//! Every entry has a program `tests/compile_fail/<rule>.rs` and a section in `docs/rules.md`; a test
//! holds the three together.
//!
//! A function whose signature breaks a rule is kept out of what is generated, its siblings stay:
//! so one mistake gives one error. A mistake in a body keeps nothing out, since stubs never look there.

mod body;
mod handler;
mod lifecycle;
mod method;
mod migration;
mod object;
mod scan;
mod signature;

use proc_macro2::TokenStream;
use quote::ToTokens;

use crate::diagnostics::Diagnostics;
use crate::input::{Function, Object, Role};

/// A rule: its name, and who checks it.
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    check: Check,
}

/// Who checks a rule.
enum Check {
    /// On what the attribute stands: before there is a model to check.
    Entry,
    /// The block as a whole. Nothing is generated if it is broken.
    Block(fn(&Object, &mut Report<'_>)),
    /// The block, by what its items are to each other.
    Items(fn(&Object, &mut Report<'_>)),
    /// Each function, by its signature.
    Function(fn(&Object, &Function, &mut Report<'_>)),
    /// Each body that runs inside a turn.
    Body(scan::Kind, body::Text),
    /// rustc, by the bounds and the texts of the traits in `durable_runtime`, or in its own words.
    Compiler,
}

/// All rules, in the order of `docs/rules.md`.
pub(crate) const RULES: &[Rule] = &[
    // The impl block.
    rule("not-an-impl", Check::Entry),
    rule("trait-impl", Check::Block(object::check_trait_impl)),
    rule("generic-object", Check::Block(object::check_generic_object)),
    rule("self-type", Check::Block(object::check_self_type)),
    rule("unknown-option", Check::Items(object::check_options)),
    rule("expires-after", Check::Items(object::check_expiry)),
    rule("macro-item", Check::Items(object::check_macros)),
    rule("two-impls", Check::Compiler),
    rule("not-an-object", Check::Compiler),
    rule("object-not-send", Check::Compiler),
    // The constructor.
    rule("missing-new", Check::Compiler),
    rule("async-new", Check::Function(lifecycle::check_async_new)),
    rule("new-signature", Check::Function(lifecycle::check_new_signature)),
    // Business methods.
    rule("async-method", Check::Function(method::check_async)),
    rule("plain-fn", Check::Function(method::check_plain)),
    rule("no-self", Check::Function(method::check_no_self)),
    rule("self-by-value", Check::Function(method::check_self_by_value)),
    rule("generic-method", Check::Function(method::check_generics)),
    rule("reserved-name", Check::Function(method::check_reserved_name)),
    rule("duplicate-method", Check::Compiler),
    rule("pattern-argument", Check::Function(signature::check_patterns)),
    rule("mut-argument", Check::Function(signature::check_mut_arguments)),
    rule("nested-reference", Check::Function(signature::check_nested_references)),
    rule("opaque-argument", Check::Function(signature::check_opaque_arguments)),
    rule("pointer-argument", Check::Function(signature::check_pointers)),
    rule("arg-not-serializable", Check::Compiler),
    rule("arg-not-clone", Check::Compiler),
    rule("arg-not-send", Check::Compiler),
    rule("borrowed-return", Check::Function(signature::check_borrowed_return)),
    rule("opaque-return", Check::Function(signature::check_opaque_return)),
    rule("return-not-serializable", Check::Compiler),
    rule("error-not-serializable", Check::Compiler),
    rule("hidden-result", Check::Compiler),
    rule("self-in-signature", Check::Function(signature::check_self)),
    // Bodies of turns.
    rule("await", Check::Body(scan::Kind::Await, body::AWAIT)),
    rule("await-in-macro", Check::Body(scan::Kind::AwaitInMacro, body::AWAIT_IN_MACRO)),
    rule("async-block", Check::Body(scan::Kind::AsyncBlock, body::ASYNC_BLOCK)),
    rule("spawn", Check::Body(scan::Kind::Spawn, body::SPAWN)),
    rule("thread", Check::Body(scan::Kind::Thread, body::THREAD)),
    rule("sleep", Check::Body(scan::Kind::Sleep, body::SLEEP)),
    rule("block-on", Check::Body(scan::Kind::BlockOn, body::BLOCK_ON)),
    rule("static-state", Check::Body(scan::Kind::StaticState, body::STATIC_STATE)),
    // Handlers.
    rule("handler-visibility", Check::Function(handler::check_visibility)),
    rule("handler-signature", Check::Function(handler::check_signature)),
    rule("misspelt-handler", Check::Function(handler::check_misspelt)),
    // Migrations.
    rule("migration-number", Check::Function(migration::check_number)),
    rule("migration-zero", Check::Function(migration::check_zero)),
    rule("migration-duplicate", Check::Items(migration::check_duplicate)),
    rule("migration-gap", Check::Items(migration::check_gap)),
    rule("migration-order", Check::Items(migration::check_order)),
    rule("migration-async", Check::Function(migration::check_async)),
    rule("migration-public", Check::Function(migration::check_public)),
    rule("migration-self", Check::Function(migration::check_self)),
    rule("migration-signature", Check::Function(migration::check_signature)),
    rule("migration-wrong-type", Check::Compiler),
    rule("migration-cfg", Check::Function(migration::check_configuration)),
    rule("migration-edited", Check::Function(migration::check_edited)),
    rule("migration-outside", Check::Entry),
];

const fn rule(name: &'static str, check: Check) -> Rule {
    Rule { name, check }
}

/// Where a check reports: it knows which rule it speaks for.
pub(crate) struct Report<'a> {
    rule: &'static str,
    diagnostics: &'a mut Diagnostics,
}

impl Report<'_> {
    /// The rule is broken at `tokens`.
    pub(crate) fn at(&mut self, tokens: &dyn ToTokens, message: &str, help: &str) {
        self.diagnostics.report(self.rule, tokens, message, help);
    }
}

/// What may be generated: the functions whose signatures break no rule.
pub(crate) struct Sound<'a> {
    pub(crate) object: &'a Object,
    /// The type's name.
    pub(crate) name: &'a syn::Ident,
    pub(crate) functions: Vec<&'a Function>,
}

impl<'a> Sound<'a> {
    /// The sound functions of one kind, in source order.
    pub(crate) fn with_role(
        &self,
        is_wanted: fn(Role) -> bool,
    ) -> impl Iterator<Item = &'a Function> {
        self.functions.iter().copied().filter(move |function| is_wanted(function.role))
    }
}

/// Checks every rule. Gives nothing if no class can be made of the block.
pub(crate) fn check<'a>(object: &'a Object, diagnostics: &mut Diagnostics) -> Option<Sound<'a>> {
    let before = diagnostics.count();
    for rule in RULES {
        if let Check::Block(check) = rule.check {
            check(object, &mut rule.report(diagnostics));
        }
    }
    let name = object.name().filter(|_| diagnostics.count() == before)?;
    for rule in RULES {
        if let Check::Items(check) = rule.check {
            check(object, &mut rule.report(diagnostics));
        }
    }
    let mut functions: Vec<&Function> = Vec::new();
    for function in &object.functions {
        let is_sound = check_signature(object, function, diagnostics);
        check_body(function, diagnostics);
        // rustc reports the second of two equal names; a second stub method would only repeat that.
        let is_repeated = !function.has_configuration()
            && functions
                .iter()
                .any(|other| !other.has_configuration() && other.name() == function.name());
        if is_sound && !is_repeated {
            functions.push(function);
        }
    }
    Some(Sound { object, name, functions })
}

/// Whether the function may take part in what is generated.
fn check_signature(object: &Object, function: &Function, diagnostics: &mut Diagnostics) -> bool {
    let before = diagnostics.count();
    for rule in RULES {
        if let Check::Function(check) = rule.check {
            check(object, function, &mut rule.report(diagnostics));
        }
    }
    diagnostics.count() == before
}

/// Async functions are handlers and helpers that run between turns, or have been reported already.
fn check_body(function: &Function, diagnostics: &mut Diagnostics) {
    if function.is_async() {
        return;
    }
    for finding in scan::scan(&function.body) {
        for rule in RULES {
            if let Check::Body(kind, text) = rule.check
                && kind == finding.kind
            {
                let (message, help) = text.of(function, &finding);
                rule.report(diagnostics).at(&finding.tokens, &message, &help);
            }
        }
    }
}

impl Rule {
    fn report<'a>(&self, diagnostics: &'a mut Diagnostics) -> Report<'a> {
        Report { rule: self.name, diagnostics }
    }
}

/// `#[durable_object]` on something that is no impl block.
pub(crate) fn check_not_an_impl(keyword: &TokenStream, diagnostics: &mut Diagnostics) {
    let help = "leave this item as it is and write `#[durable_object] impl Name { .. }` below it";
    let message = "`#[durable_object]` goes on the `impl` block that holds the object's methods";
    diagnostics.report("not-an-impl", keyword, message, help);
}

/// `#[migration]` that no `#[durable_object]` took away. It points at the attribute itself.
pub(crate) fn check_migration_outside(diagnostics: &mut Diagnostics) {
    let attribute = proc_macro2::Ident::new("migration", proc_macro2::Span::call_site());
    let message = "`#[migration]` works only inside a `#[durable_object]` impl block";
    let help =
        "move the function into the block, or put `#[durable_object]` on the block it stands in";
    diagnostics.report("migration-outside", &attribute, message, help);
}
