//! Rules on the block as a whole.

use quote::ToTokens;
use syn::{PathArguments, Type};

use super::Report;
use crate::input::{Object, options, types};

/// `impl Display for Room`
pub(super) fn check_trait_impl(object: &Object, report: &mut Report<'_>) {
    if let Some(of_trait) = &object.of_trait {
        let name = object.shown_name();
        report.at(
            of_trait,
            "`#[durable_object]` goes on an inherent impl, not on the impl of a trait",
            &format!(
                "put it on `impl {name} {{ .. }}`; the impl of the trait can stay as it is, but stubs do not reach its methods"
            ),
        );
    }
}

/// `impl<T> Room<T>`, `impl Room<u8>`
pub(super) fn check_generic_object(object: &Object, report: &mut Report<'_>) {
    let arguments = types::last_segment(&object.self_type)
        .map(|segment| &segment.arguments)
        .filter(|arguments| !matches!(arguments, PathArguments::None));
    let tokens: &dyn ToTokens = match (object.generics.params.first(), arguments) {
        (Some(_), _) => &object.generics.params,
        (None, Some(arguments)) => arguments,
        (None, None) => return,
    };
    report.at(
        tokens,
        "a durable object cannot be generic",
        "its class name is stored with its data, so it must name one type: give each use a struct of its own",
    );
}

/// `impl &Room`, `impl [u8]`, `impl dyn Room`
pub(super) fn check_self_type(object: &Object, report: &mut Report<'_>) {
    let is_path = matches!(&object.self_type, Type::Path(path) if path.qself.is_none());
    if !is_path && object.of_trait.is_none() {
        report.at(
            &object.self_type,
            "a durable object is a named struct or enum of this crate",
            "write `impl Name { .. }` with the name of the type",
        );
    }
}

/// `#[durable_object(colour = "red")]`
pub(super) fn check_options(object: &Object, report: &mut Report<'_>) {
    for problem in &object.options.problems {
        report.at(
            &problem.tokens,
            &problem.what,
            "the options are `name = \"..\"`, `renamed_from = \"..\"` (may be repeated), `expires_after = \"30d\"` and `crate = path`",
        );
    }
}

/// `#[durable_object(expires_after = "soon")]`
pub(super) fn check_expiry(object: &Object, report: &mut Report<'_>) {
    let Some(time) = &object.options.expires_after else { return };
    if options::seconds(&time.value()).is_none() {
        report.at(
            time,
            "`expires_after` is a whole number and a unit",
            "the units are `s`, `m`, `h` and `d`: write `expires_after = \"30d\"` for thirty days, at most `100000d`",
        );
    }
}

/// `impl Room { make_methods!(); }`
pub(super) fn check_macros(object: &Object, report: &mut Report<'_>) {
    for path in &object.macros {
        report.at(
            path,
            "a macro cannot define methods of a durable object: it is expanded too late to be seen here",
            "write the methods out, or move the macro to another `impl` block, where stubs do not reach what it defines",
        );
    }
}
