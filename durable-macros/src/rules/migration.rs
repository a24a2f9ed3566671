//! Rules on migrations.

use quote::ToTokens;
use syn::LitInt;

use super::{Report, method};
use crate::checksum;
use crate::input::{Function, MigrationNumber, MigrationPin, Object, Role, types};

/// What every migration looks like.
const FORM: &str = "fn name(db: &mut Migration<'_>) -> Result<()>";

/// A migration with a number from 1 upwards.
struct Numbered<'a> {
    number: u32,
    literal: &'a LitInt,
    name: String,
}

fn numbered(object: &Object) -> Vec<Numbered<'_>> {
    object
        .functions
        .iter()
        .filter_map(|function| match &function.migration.as_ref()?.number {
            MigrationNumber::Literal(number @ 1.., literal) => {
                Some(Numbered { number: *number, literal, name: function.name() })
            }
            _ => None,
        })
        .collect()
}

/// The number that a new migration would have.
fn next_free(migrations: &[Numbered<'_>]) -> u32 {
    let mut free = 1;
    while migrations.iter().any(|migration| migration.number == free) {
        free += 1;
    }
    free
}

fn pin(function: &Function) -> Option<&MigrationPin> {
    function.migration.as_ref()
}

/// `#[migration]`, `#[migration("one")]`, `#[migration(VERSION)]`
pub(super) fn check_number(object: &Object, function: &Function, report: &mut Report<'_>) {
    if let Some(MigrationPin { number: MigrationNumber::Unreadable(tokens), .. }) = pin(function) {
        let next = next_free(&numbered(object));
        report.at(
            tokens,
            &format!("{} needs a number", function.title()),
            &format!("write `#[migration({next})]`, or `#[migration({next}, checksum = \"..\")]` to pin it; the number is a literal, so that it can be checked here"),
        );
    }
}

/// `#[migration(0)]`
pub(super) fn check_zero(object: &Object, function: &Function, report: &mut Report<'_>) {
    if let Some(MigrationPin { number: MigrationNumber::Literal(0, literal), .. }) = pin(function) {
        let next = next_free(&numbered(object));
        report.at(
            literal,
            "the numbers of migrations start at 1",
            &format!("write `#[migration({next})]`: version 0 is the empty database"),
        );
    }
}

/// `#[migration(1)]` twice
pub(super) fn check_duplicate(object: &Object, report: &mut Report<'_>) {
    let migrations = numbered(object);
    for (place, migration) in migrations.iter().enumerate() {
        let same = |other: &&Numbered<'_>| other.number == migration.number;
        if let Some(first) = migrations[..place].iter().find(same) {
            report.at(
                migration.literal,
                &format!("migration {} is defined twice", migration.number),
                &format!(
                    "`{}` already has this number; the next free one is {}",
                    first.name,
                    next_free(&migrations)
                ),
            );
        }
    }
}

/// `#[migration(1)]`, then `#[migration(3)]`
pub(super) fn check_gap(object: &Object, report: &mut Report<'_>) {
    let mut migrations = numbered(object);
    migrations.sort_by_key(|migration| migration.number);
    let mut previous = 0;
    for migration in migrations {
        if migration.number > previous + 1 {
            let message = match previous {
                0 => format!("migration {} is the first one", migration.number),
                _ => format!("migration {} follows migration {previous}", migration.number),
            };
            let help = format!("number it {}: versions are counted without gaps", previous + 1);
            report.at(migration.literal, &message, &help);
        }
        previous = migration.number;
    }
}

/// `#[migration(2)]`, then `#[migration(1)]`
pub(super) fn check_order(object: &Object, report: &mut Report<'_>) {
    let mut highest: Option<&Numbered<'_>> = None;
    let migrations = numbered(object);
    for migration in &migrations {
        match highest {
            Some(above) if above.number > migration.number => report.at(
                migration.literal,
                &format!("migration {} stands below migration {}", migration.number, above.number),
                &format!(
                    "move `{}` above `{}`: they are read in the order they run in",
                    migration.name, above.name
                ),
            ),
            _ => highest = Some(migration),
        }
    }
}

/// `async fn create(db: &mut Migration<'_>) -> Result<()>`
pub(super) fn check_async(_: &Object, function: &Function, report: &mut Report<'_>) {
    if function.role == Role::Migration && function.is_async() {
        report.at(
            &method::async_keywords(function),
            &format!("{} must be synchronous", function.title()),
            "remove `async`: it runs inside one transaction, before the object exists",
        );
    }
}

/// `pub fn create(db: &mut Migration<'_>) -> Result<()>`
pub(super) fn check_public(_: &Object, function: &Function, report: &mut Report<'_>) {
    if function.role == Role::Migration && function.is_visible() {
        report.at(
            &function.visibility,
            &format!("{} must be private", function.title()),
            "remove the visibility: only the runtime runs migrations",
        );
    }
}

/// `fn create(&mut self, db: &mut Migration<'_>) -> Result<()>`
pub(super) fn check_self(_: &Object, function: &Function, report: &mut Report<'_>) {
    let receiver = function.receiver().filter(|_| function.role == Role::Migration);
    if let Some(receiver) = receiver {
        report.at(
            receiver,
            &format!("{} cannot take `self`: there is no object yet", function.title()),
            &format!("write `{}`", form_of(function)),
        );
    }
}

/// `fn create() -> Result<()>`, `fn create(db: &mut Migration<'_>)`, `fn create(db: Migration<'_>) -> Result<()>`
pub(super) fn check_signature(_: &Object, function: &Function, report: &mut Report<'_>) {
    if function.role != Role::Migration || function.receiver().is_some() {
        return;
    }
    let mut inputs = function.inputs();
    let (first, second) = (inputs.next(), inputs.next());
    let is_mutable =
        |type_| types::as_reference(type_).is_some_and(|reference| reference.mutability.is_some());
    let params = &function.signature.generics.params;
    let is_generic = params.iter().any(|param| !matches!(param, syn::GenericParam::Lifetime(_)));
    let tokens: &dyn ToTokens = match (first, second) {
        (None, _) => &function.signature.ident,
        (_, Some(second)) => second,
        (Some(first), None) if !is_mutable(&first.ty) => &first.ty,
        _ if is_generic => params,
        _ if function.returned().is_none() => &function.signature.ident,
        _ => return,
    };
    report.at(
        tokens,
        &format!(
            "{} takes the database and nothing else, and gives a `Result<()>`",
            function.title()
        ),
        &format!("write `{}`", form_of(function)),
    );
}

fn form_of(function: &Function) -> String {
    FORM.replace("name", &function.name())
}

/// `#[cfg(feature = "extra")] #[migration(2)]`
pub(super) fn check_configuration(_: &Object, function: &Function, report: &mut Report<'_>) {
    for attribute in function.attributes.iter().filter(|_| function.role == Role::Migration) {
        if attribute.path().is_ident("cfg") {
            report.at(
                attribute,
                &format!(
                    "{} cannot depend on `#[cfg]`: databases would differ between builds",
                    function.title()
                ),
                "remove the `#[cfg]`; put the condition round the code that uses the tables",
            );
        }
    }
}

/// `#[migration(1, checksum = "5fb8..")]` on a body that gives another checksum
pub(super) fn check_edited(object: &Object, function: &Function, report: &mut Report<'_>) {
    let Some(MigrationPin { checksum: Some(pinned), number, .. }) = pin(function) else { return };
    let actual = checksum::in_hex(checksum::of_body(&function.body));
    if pinned.value().eq_ignore_ascii_case(&actual) {
        return;
    }
    let shown = match number {
        MigrationNumber::Literal(number, _) => number.to_string(),
        MigrationNumber::Unreadable(_) => String::new(),
    };
    report.at(
        pinned,
        &format!("migration {shown} was changed after it was pinned"),
        &format!(
            "undo the change and put it into a new `#[migration({})]`: objects that ran this one never run it again;\nif it never ran anywhere, pin it anew with `checksum = \"{actual}\"`",
            next_free(&numbered(object))
        ),
    );
}
