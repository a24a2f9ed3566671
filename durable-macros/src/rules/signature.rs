//! Rules on what a business method takes and gives.

use quote::{ToTokens, quote};
use syn::{Lifetime, Pat, PatType, Type};

use super::Report;
use crate::input::types::{self, Place, behind_reference};
use crate::input::{Function, Object, Role, argument_name, text_of};

/// The arguments that callers give. Empty for all but business methods.
fn arguments(function: &Function) -> impl Iterator<Item = &PatType> {
    function.arguments().filter(|_| function.role == Role::Method)
}

/// The type as text.
fn text(tokens: &dyn ToTokens) -> String {
    text_of(&tokens.to_token_stream())
}

/// `String` for `&str`, `Vec<T>` for `&[T]`, `T` for `&T`.
fn owned_form(type_: &Type) -> String {
    match types::inner(type_) {
        Type::Reference(reference) => owned_form(&reference.elem),
        Type::Slice(slice) => format!("Vec<{}>", owned_form(&slice.elem)),
        path if types::is_named(path, "str") => "String".to_owned(),
        path if types::is_named(path, "Path") => "PathBuf".to_owned(),
        other => text(other),
    }
}

/// `pub fn put(&mut self, (key, value): (String, u8))`
pub(super) fn check_patterns(_: &Object, function: &Function, report: &mut Report<'_>) {
    for argument in arguments(function).filter(|argument| argument_name(argument).is_none()) {
        let help = match &*argument.pat {
            Pat::Wild(_) => "give it a name; one that starts with `_` may stay unused",
            _ => "give it a name and take it apart in the body: `let (a, b) = pair;`",
        };
        let message =
            format!("an argument of `{}` needs a name, because the stub shows it", function.name());
        report.at(&argument.pat, &message, help);
    }
}

/// `pub fn fill(&mut self, into: &mut Vec<u8>)`
pub(super) fn check_mut_arguments(_: &Object, function: &Function, report: &mut Report<'_>) {
    let inputs = function.inputs().filter(|_| function.role == Role::Method);
    for (argument, reference) in inputs
        .filter_map(|argument| types::as_reference(&argument.ty).map(|found| (argument, found)))
    {
        let Some(mutability) = &reference.mutability else { continue };
        let ampersand = &reference.and_token;
        let (message, help) = if types::is_context(&argument.ty) {
            let message =
                format!("the context of `{}` is borrowed, not borrowed mutably", function.name());
            (
                message,
                "write `ctx: &Context`; it can do everything through a shared reference".to_owned(),
            )
        } else {
            let owned = owned_form(&reference.elem);
            let message = format!(
                "`{}` cannot change an argument in place: the caller may be on another machine",
                function.name()
            );
            (message, format!("take `{owned}` and return the new value"))
        };
        report.at(&quote!(#ampersand #mutability), &message, &help);
    }
}

/// `Option<&str>`, `&[&str]`, `Cow<'_, str>`, `&'static str`
pub(super) fn check_nested_references(_: &Object, function: &Function, report: &mut Report<'_>) {
    let name = function.name();
    for argument in arguments(function) {
        let outermost = types::as_reference(&argument.ty);
        if let Some(lifetime) = outermost.and_then(|reference| reference.lifetime.as_ref())
            && types::is_static(lifetime)
        {
            let message = format!(
                "an argument of `{name}` cannot be borrowed for ever: the call owns a copy of it"
            );
            report.at(lifetime, &message, "leave the lifetime out");
        }
        types::walk(behind_reference(&argument.ty), &mut |place| match place {
            Place::Type(nested @ Type::Reference(_)) => {
                let message = format!(
                    "only the outermost type of an argument of `{name}` may be a reference"
                );
                report.at(nested, &message, &format!("write `{}` here", owned_form(nested)));
                true
            }
            Place::Lifetime(lifetime) if !types::is_static(lifetime) => {
                report_borrowing(&name, lifetime, report);
                true
            }
            _ => false,
        });
    }
}

fn report_borrowing(name: &str, lifetime: &Lifetime, report: &mut Report<'_>) {
    let message =
        format!("an argument of `{name}` cannot borrow from its caller inside another type");
    report.at(lifetime, &message, "use an owned type, or `'static` where the type allows it");
}

/// `impl Into<String>`, `Box<dyn Fn()>`
pub(super) fn check_opaque_arguments(_: &Object, function: &Function, report: &mut Report<'_>) {
    for argument in arguments(function) {
        each_opaque(behind_reference(&argument.ty), &mut |type_| {
            let shown = text(type_);
            let message = format!(
                "an argument of `{}` must have one known type, and `{shown}` can be many",
                function.name()
            );
            let help = if shown.contains("Fn") {
                "send data, not code: an enum of what may be asked for"
            } else {
                "take the type itself, such as `String` for `impl Into<String>`, or an enum of what may come"
            };
            report.at(type_, &message, help);
        });
    }
}

/// `-> impl Iterator<Item = u8>`, `-> Box<dyn Error>`
pub(super) fn check_opaque_return(_: &Object, function: &Function, report: &mut Report<'_>) {
    for type_ in returned(function) {
        each_opaque(type_, &mut |opaque| {
            let message = format!(
                "`{}` must return one known type, and `{}` can be many",
                function.name(),
                text(opaque)
            );
            report.at(
                opaque,
                &message,
                "collect an iterator into a `Vec`; name an error type of your own; a stream belongs on a WebSocket",
            );
        });
    }
}

fn each_opaque(type_: &Type, found: &mut dyn FnMut(&Type)) {
    types::walk(type_, &mut |place| match place {
        Place::Type(opaque @ (Type::ImplTrait(_) | Type::TraitObject(_))) => {
            found(opaque);
            true
        }
        _ => false,
    });
}

/// `*const u8`, `fn(u8) -> u8`
pub(super) fn check_pointers(_: &Object, function: &Function, report: &mut Report<'_>) {
    for argument in arguments(function) {
        types::walk(behind_reference(&argument.ty), &mut |place| match place {
            Place::Type(pointer @ (Type::Ptr(_) | Type::FnPtr(_))) => {
                let message = format!(
                    "an argument of `{}` cannot be `{}`: a pointer means nothing outside the caller's process",
                    function.name(),
                    text(pointer)
                );
                report.at(
                    pointer,
                    &message,
                    "send the data itself, or an enum of what may be asked for",
                );
                true
            }
            _ => false,
        });
    }
}

/// `-> &str`, `-> Option<&Row>`, `-> Ref<'_, Row>`
pub(super) fn check_borrowed_return(_: &Object, function: &Function, report: &mut Report<'_>) {
    let message =
        format!("`{}` cannot return a reference: its reply leaves the object", function.name());
    for type_ in returned(function) {
        types::walk(type_, &mut |place| match place {
            Place::Type(reference @ Type::Reference(_)) => {
                report.at(reference, &message, &format!("return `{}`", owned_form(reference)));
                true
            }
            Place::Lifetime(lifetime) if !types::is_static(lifetime) => {
                report.at(lifetime, &message, "return an owned type");
                true
            }
            _ => false,
        });
    }
}

/// `-> Self::Item`, `item: Self::Item`
pub(super) fn check_self(object: &Object, function: &Function, report: &mut Report<'_>) {
    let inputs = arguments(function).map(|argument| &*argument.ty);
    for type_ in inputs.chain(returned(function)) {
        types::walk(type_, &mut |place| match place {
            Place::Type(projection @ Type::Path(path)) if starts_with_self(path) => {
                let message = format!(
                    "`{}` cannot stand in the signature of a business method: the stub is another type",
                    text(projection)
                );
                let help = format!(
                    "write the type it stands for, or `<{} as Trait>::..`",
                    object.shown_name()
                );
                report.at(projection, &message, &help);
                true
            }
            _ => false,
        });
    }
}

fn starts_with_self(path: &syn::TypePath) -> bool {
    let segments = &path.path.segments;
    path.qself.is_none()
        && segments.len() > 1
        && segments.first().is_some_and(|segment| segment.ident == "Self")
}

/// The return type of a business method.
fn returned(function: &Function) -> impl Iterator<Item = &Type> {
    function.returned().into_iter().filter(|_| function.role == Role::Method)
}
