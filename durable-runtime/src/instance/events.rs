//! What the runtime tells `tracing` of objects, with the same fields everywhere: `class`, `id`, `name`, and `reason`
//! where there is one.

/// An event of one object: `event!(level, identity, fields.., "text")`.
macro_rules! event {
    ($level:ident, $identity:expr, $($rest:tt)+) => {{
        let identity: &$crate::id::Identity = &$identity;
        let name = identity.name.get().map(|name| &**name);
        ::tracing::$level!(class = %identity.class, id = %identity.id, name, $($rest)+);
    }};
}

pub(crate) use event;
