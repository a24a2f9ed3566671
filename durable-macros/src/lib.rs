//! The `#[durable_object]` attribute.
//!
//! One data path: `input` reads the impl block into a plain model, `rules` checks the model and
//! reports every broken rule, `expand` writes the stub and the class descriptor for what is sound.
//!
//! Invariants:
//! - The impl block is printed back as it was written (less `#[migration]`), whatever else happens,
//!   so that editors and rustc keep seeing the user's own code.
//! - Only `rules` judges; `expand` cannot fail; `input` fails only on what it cannot read at all.
//! - Method bodies stay raw tokens: a half-typed body is rustc's error alone.
//! - Nothing here knows the runtime beyond the paths under `durable::__private`.

mod checksum;
mod diagnostics;
mod expand;
mod handlers;
mod input;
mod rules;
#[cfg(test)]
mod tests;

use diagnostics::Diagnostics;
use input::Input;
use proc_macro::TokenStream;

/// Makes a durable object of the type whose inherent `impl` block it stands on.
///
/// ```ignore
/// use durable::prelude::*;
///
/// #[derive(Default)]
/// pub struct Counter;
///
/// #[durable_object]
/// impl Counter {
///     #[migration(1)]
///     fn create_hits(db: &mut Migration<'_>) -> Result<()> {
///         db.execute_batch("CREATE TABLE hits (total INTEGER NOT NULL); INSERT INTO hits VALUES (0)")
///     }
///
///     /// Adds `by` and returns the new total.
///     pub fn increment(&mut self, ctx: &Context, by: i64) -> Result<i64> {
///         ctx.sql().query_one("UPDATE hits SET total = total + ? RETURNING total", [by])
///     }
/// }
/// ```
///
/// What may stand in the block:
///
/// | item | form |
/// |---|---|
/// | constructor | `fn new(ctx: &Context<Self>) -> Result<Self>` or `-> Self`; left out if the type is `Default` |
/// | migration | `#[migration(1)] fn name(db: &mut Migration<'_>) -> Result<()>` |
/// | business method | `pub fn name(&mut self, ctx: &Context, …) -> T`; `&self` if it only reads; `ctx` may be left out |
/// | handler | private `fetch`, `alarm`, `websocket_message`, `websocket_close`, `websocket_error`: `fn (&mut self, ctx: &Context<Self>, …)` or `async fn (this: Handle<Self>, …)` |
/// | helper | whatever is private |
///
/// It makes a stub (`CounterStub`, with one method for each business method), the class descriptor
/// that the runtime reads, and `Counter::check_migrations()` with a test that calls it.
///
/// Options: `name = "counter"` is the class name that is stored with the data (default: the type's
/// name), `renamed_from = "Hits"` a former one (may be repeated), `expires_after = "30d"`
/// how long an object is kept that nobody uses (in `s`, `m`, `h` or `d`; default: for ever), `crate = path` where the crate
/// `durable` is found if it was renamed.
///
/// Each error names its rule; the page `rules` of the crate `durable` explains them one by one.
#[proc_macro_attribute]
pub fn durable_object(options: TokenStream, item: TokenStream) -> TokenStream {
    expand_durable_object(options.into(), item.into()).into()
}

/// Marks a migration inside a `#[durable_object]` impl: `#[migration(1)]`.
///
/// `#[durable_object]` takes the attribute away before it is looked up, so it is expanded on its
/// own only where it has no meaning, and says so.
#[proc_macro_attribute]
pub fn migration(_options: TokenStream, item: TokenStream) -> TokenStream {
    let mut diagnostics = Diagnostics::default();
    rules::check_migration_outside(&mut diagnostics);
    let mut output = proc_macro2::TokenStream::from(item);
    output.extend(diagnostics.into_tokens());
    output.into()
}

/// The whole macro over `proc_macro2`, so that tests can call it outside a compiler.
fn expand_durable_object(
    options: proc_macro2::TokenStream,
    item: proc_macro2::TokenStream,
) -> proc_macro2::TokenStream {
    let mut diagnostics = Diagnostics::default();
    let block = input::without_migration_attributes(item.clone());
    let mut output = block.clone();
    match input::parse(options, item) {
        Ok(Input::Object(object)) => {
            // `pub` means "in the stub" here, also where the object itself is private.
            output = quote::quote!(#[allow(unreachable_pub, clippy::unused_self)] #block);
            if let Some(sound) = rules::check(&object, &mut diagnostics) {
                output.extend(expand::expand(&sound));
            }
        }
        Ok(Input::Other(keyword)) => rules::check_not_an_impl(&keyword, &mut diagnostics),
        Err(error) => diagnostics.unreadable(error),
    }
    output.extend(diagnostics.into_tokens());
    output
}
