//! What the runtime tells `tracing`: one target, and of objects the same fields everywhere: `class`, `id`, `name`, and
//! `reason` where there is one.

/// An event of the runtime: `note!(level, fields.., "text")`.
macro_rules! note {
    ($level:ident, $($rest:tt)+) => {
        ::tracing::$level!(target: $crate::observe::TARGET, $($rest)+)
    };
}

/// An event of one object: `event!(level, identity, fields.., "text")`.
macro_rules! event {
    ($level:ident, $identity:expr, $($rest:tt)+) => {{
        let identity: &$crate::id::Identity = &$identity;
        let name = identity.name.get().map(|name| &**name);
        $crate::observe::events::note!(
            $level, class = %identity.class, id = %identity.id, name, $($rest)+
        );
    }};
}

pub(crate) use {event, note};
