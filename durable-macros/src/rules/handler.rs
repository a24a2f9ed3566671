//! Rules on handlers.

use quote::ToTokens;
use syn::Type;

use super::{Report, method};
use crate::handlers::{HANDLERS, HandlerForm};
use crate::input::{Function, Object, Role, types};

/// `pub fn alarm(..)`
pub(super) fn check_visibility(_: &Object, function: &Function, report: &mut Report<'_>) {
    if let Role::Handler(form) = function.role
        && function.is_visible()
    {
        report.at(
            &function.visibility,
            &format!("the runtime calls the handler `{}`; nobody else can", form.name),
            "remove the visibility, or give a method for callers another name",
        );
    }
}

/// `fn alarm(&mut self)`, `async fn fetch(&self, request: Request) -> Result<Response>`
pub(super) fn check_signature(_: &Object, function: &Function, report: &mut Report<'_>) {
    let Role::Handler(form) = function.role else { return };
    let ident = &function.signature.ident;
    let problem: Option<(&dyn ToTokens, String)> = match function.receiver() {
        Some(receiver) if function.is_async() => Some((
            receiver,
            format!("an async `{}` cannot hold the object while it waits", form.name),
        )),
        Some(receiver) if !method::is_borrowed(receiver) => Some((
            receiver,
            format!("`{}` would consume the object, which belongs to the runtime", form.name),
        )),
        None if !has_handle(function) => {
            let what = if function.is_async() { "`this: Handle<Self>`" } else { "`&mut self`" };
            Some((ident, format!("the handler `{}` must take {what} first", form.name)))
        }
        None if !function.is_async() => Some((
            &function.signature.fn_token,
            format!("`{}` takes a handle, so it must be async", form.name),
        )),
        Some(_) if function.context().is_none() => {
            Some((ident, format!("the handler `{}` must take the context after `self`", form.name)))
        }
        _ => problem_after_object(function, form),
    };
    if let Some((tokens, message)) = problem {
        report.at(tokens, &message, &both_forms(form));
    }
}

/// What may be wrong in the part that both forms share.
fn problem_after_object<'a>(
    function: &'a Function,
    form: &HandlerForm,
) -> Option<(&'a dyn ToTokens, String)> {
    let found = function.inputs().count() - 1;
    let wanted = form.arguments.len();
    let ident = &function.signature.ident;
    if found != wanted {
        let object = if function.is_async() { "the handle" } else { "the context" };
        let plural = if wanted == 1 { "" } else { "s" };
        let message = format!(
            "`{}` takes {wanted} argument{plural} after {object}, found {found}",
            form.name
        );
        return Some((ident, message));
    }
    if let Some(param) = function.signature.generics.params.first() {
        return Some((param, format!("the handler `{}` cannot be generic", form.name)));
    }
    function.returned().is_none().then(|| {
        (
            ident as &dyn ToTokens,
            format!("the handler `{}` must return `Result<{}>`", form.name, form.output),
        )
    })
}

fn both_forms(form: &HandlerForm) -> String {
    format!("write `{}`\nor    `{}`", form.async_signature(), form.sync_signature())
}

/// Whether the first argument is a `Handle`.
fn has_handle(function: &Function) -> bool {
    function.inputs().next().is_some_and(|input| types::is_named(&input.ty, "Handle"))
}

/// `fn on_alarm(..)`, `async fn webSocketMessage(..)`
pub(super) fn check_misspelt(object: &Object, function: &Function, report: &mut Report<'_>) {
    if function.role != Role::Helper {
        return;
    }
    let name = function.name();
    let meant = HANDLERS.iter().find(|form| {
        let is_near = is_alias(&name, form) || is_typo(&name, form) && looks_like(function, form);
        is_near && !object.functions.iter().any(|other| other.name() == form.name)
    });
    if let Some(form) = meant {
        report.at(
            &function.signature.ident,
            &format!(
                "`{name}` is no handler, so the runtime never calls it: did you mean `{}`?",
                form.name
            ),
            &both_forms(form),
        );
    }
}

/// The same words in another dress: `on_alarm`, `handle_fetch`, `web_socket_close`, `webSocketError`.
fn is_alias(name: &str, form: &HandlerForm) -> bool {
    let plain = |text: &str| text.replace('_', "").to_lowercase();
    let (name, wanted) = (plain(name), plain(form.name));
    let short = wanted.strip_prefix("websocket").filter(|short| *short != "error");
    ["on", "handle", ""].iter().any(|prefix| {
        let Some(rest) = name.strip_prefix(prefix) else { return false };
        rest == wanted
            || rest == format!("{wanted}handler")
            || short.is_some_and(|short| rest == format!("ws{short}"))
    })
}

/// A slip of the fingers. In short names only one, because they are near to many words.
fn is_typo(name: &str, form: &HandlerForm) -> bool {
    let slips = if form.name.len() > 6 { 3 } else { 2 };
    distance(name, form.name) < slips
}

/// Whether it takes what the handler takes: a helper `alarms(&self)` is nobody's mistake.
fn looks_like(function: &Function, form: &HandlerForm) -> bool {
    let is_wanted =
        |type_: &Type| form.arguments.iter().any(|(_, wanted)| types::is_named(type_, wanted));
    has_handle(function) || function.inputs().any(|input| is_wanted(&input.ty))
}

/// The edit distance of Levenshtein, one row at a time.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (line, left_char) in left.chars().enumerate() {
        let mut diagonal = line;
        row[0] = line + 1;
        for (column, right_char) in right.chars().enumerate() {
            let replaced = diagonal + usize::from(left_char != right_char);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_and_typos() {
        let near = |name: &str| {
            let form = HANDLERS.iter().find(|form| is_alias(name, form) || is_typo(name, form));
            form.map(|form| form.name)
        };
        assert_eq!(near("on_alarm"), Some("alarm"));
        assert_eq!(near("handle_fetch"), Some("fetch"));
        assert_eq!(near("alarm_handler"), Some("alarm"));
        assert_eq!(near("web_socket_message"), Some("websocket_message"));
        assert_eq!(near("webSocketClose"), Some("websocket_close"));
        assert_eq!(near("on_ws_message"), Some("websocket_message"));
        assert_eq!(near("websocket_mesage"), Some("websocket_message"));
        assert_eq!(near("alram"), None);
        assert_eq!(near("feth"), Some("fetch"));
        assert_eq!(near("batch"), None);
        assert_eq!(near("on_error"), None);
    }
}
