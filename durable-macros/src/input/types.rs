//! Looking at types.
//!
//! Types that come through `macro_rules!` are wrapped in invisible groups; every function here
//! looks through them, so no caller ever meets one at the outermost level.

use syn::{
    AngleBracketedGenericArguments, GenericArgument, Lifetime, PathArguments, PathSegment,
    ReturnType, Type, TypeReference,
};

/// The type without invisible groups and parentheses round it.
pub(crate) fn ungroup(type_: Type) -> Type {
    match type_ {
        Type::Group(group) => ungroup(*group.elem),
        Type::Paren(paren) => ungroup(*paren.elem),
        other => other,
    }
}

/// [`ungroup`] for a borrowed type.
pub(crate) fn inner(type_: &Type) -> &Type {
    match type_ {
        Type::Group(group) => inner(&group.elem),
        Type::Paren(paren) => inner(&paren.elem),
        other => other,
    }
}

/// The reference that the type is at its outermost level.
pub(crate) fn as_reference(type_: &Type) -> Option<&TypeReference> {
    match inner(type_) {
        Type::Reference(reference) => Some(reference),
        _ => None,
    }
}

/// The type behind an outermost `&` or `&mut`.
pub(crate) fn behind_reference(type_: &Type) -> &Type {
    as_reference(type_).map_or(type_, |reference| &reference.elem)
}

/// `Result<T>` in `durable::Result<T>`.
pub(crate) fn last_segment(type_: &Type) -> Option<&PathSegment> {
    match inner(type_) {
        Type::Path(path) if path.qself.is_none() => path.path.segments.last(),
        _ => None,
    }
}

/// Whether the last name of the type's path is `name`.
pub(crate) fn is_named(type_: &Type, name: &str) -> bool {
    last_segment(type_).is_some_and(|segment| segment.ident == name)
}

/// Whether the type is `&Context`, `&Context<Self>`, `&durable::Context`, with or without `mut`.
pub(crate) fn is_context(type_: &Type) -> bool {
    as_reference(type_).is_some_and(|reference| is_named(&reference.elem, "Context"))
}

/// Whether a type is to be split as a `Result`: its last name says so.
pub(crate) fn is_result(type_: &Type) -> bool {
    last_segment(type_).is_some_and(|segment| segment.ident.to_string().ends_with("Result"))
}

/// The type after `->`.
pub(crate) fn returned(output: &ReturnType) -> Option<&Type> {
    match output {
        ReturnType::Default => None,
        ReturnType::Type(_, type_) => Some(type_),
    }
}

/// The type arguments of the last name: `T` and `E` in `Result<T, E>`.
pub(crate) fn arguments(type_: &Type) -> Vec<&Type> {
    let Some(PathArguments::AngleBracketed(arguments)) =
        last_segment(type_).map(|segment| &segment.arguments)
    else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for argument in &arguments.args {
        if let GenericArgument::Type(type_) = argument {
            found.push(type_);
        }
    }
    found
}

/// A place in a type that rules look at.
pub(crate) enum Place<'a> {
    Type(&'a Type),
    Lifetime(&'a Lifetime),
}

/// Shows `visit` the type and all types and lifetimes in it, from the outside in. A place for which
/// `visit` gives true is settled: what is inside it is not shown.
pub(crate) fn walk<'a>(type_: &'a Type, visit: &mut dyn FnMut(Place<'a>) -> bool) {
    let type_ = inner(type_);
    if visit(Place::Type(type_)) {
        return;
    }
    match type_ {
        Type::Array(array) => walk(&array.elem, visit),
        Type::Slice(slice) => walk(&slice.elem, visit),
        Type::Reference(reference) => walk(&reference.elem, visit),
        Type::Tuple(tuple) => tuple.elems.iter().for_each(|elem| walk(elem, visit)),
        Type::Path(path) => {
            for segment in &path.path.segments {
                if let PathArguments::AngleBracketed(arguments) = &segment.arguments {
                    walk_arguments(arguments, visit);
                }
            }
        }
        _ => {}
    }
}

fn walk_arguments<'a>(
    arguments: &'a AngleBracketedGenericArguments,
    visit: &mut dyn FnMut(Place<'a>) -> bool,
) {
    for argument in &arguments.args {
        match argument {
            GenericArgument::Type(type_) => walk(type_, visit),
            GenericArgument::AssocType(binding) => walk(&binding.ty, visit),
            GenericArgument::Lifetime(lifetime) => {
                visit(Place::Lifetime(lifetime));
            }
            _ => {}
        }
    }
}

/// Whether the lifetime is `'static`.
pub(crate) fn is_static(lifetime: &Lifetime) -> bool {
    lifetime.ident == "static"
}
