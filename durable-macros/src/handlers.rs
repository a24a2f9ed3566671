//! The table of handlers: the only place that knows their names and what they take.
//!
//! Classification, the checks of signatures, the texts of errors and the generated shims all read it.

/// One handler that the runtime may call.
#[derive(Debug, PartialEq)]
pub(crate) struct HandlerForm {
    /// The function's name, also the field's name in the class descriptor.
    pub(crate) name: &'static str,
    /// What it takes after the object: name and type.
    pub(crate) arguments: &'static [(&'static str, &'static str)],
    /// What it gives in a `Result`.
    pub(crate) output: &'static str,
}

/// All handlers, in the order of the class descriptor.
pub(crate) const HANDLERS: [HandlerForm; 5] = [
    HandlerForm { name: "fetch", arguments: &[("request", "Request")], output: "Response" },
    HandlerForm { name: "alarm", arguments: &[("alarm", "AlarmInfo")], output: "()" },
    HandlerForm {
        name: "websocket_message",
        arguments: &[("socket", "WebSocket"), ("message", "Message")],
        output: "()",
    },
    HandlerForm {
        name: "websocket_close",
        arguments: &[("socket", "WebSocket"), ("close", "Close")],
        output: "()",
    },
    HandlerForm {
        name: "websocket_error",
        arguments: &[("socket", "WebSocket"), ("error", "SocketError")],
        output: "()",
    },
];

impl HandlerForm {
    /// The handler of this name.
    pub(crate) fn named(name: &str) -> Option<&'static HandlerForm> {
        HANDLERS.iter().find(|form| form.name == name)
    }

    /// The signature of the form that is one turn.
    pub(crate) fn sync_signature(&self) -> String {
        self.signature("fn", "&mut self, ctx: &Context<Self>")
    }

    /// The signature of the form that makes turns.
    pub(crate) fn async_signature(&self) -> String {
        self.signature("async fn", "this: Handle<Self>")
    }

    fn signature(&self, keywords: &str, object: &str) -> String {
        let HandlerForm { name, arguments, output } = self;
        let mut inputs = object.to_owned();
        for (name, type_) in *arguments {
            inputs.extend([", ", name, ": ", type_]);
        }
        format!("{keywords} {name}({inputs}) -> Result<{output}>")
    }
}
