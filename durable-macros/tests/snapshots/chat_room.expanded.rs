#[allow(unreachable_pub, clippy::unused_self)]
impl ChatRoom {
    fn new(ctx: &Context<Self>) -> Result<Self> {
        ChatRoom::load(ctx)
    }
    fn create_posts(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch(schema::POSTS)
    }
    fn nothing(db: &mut Migration<'_>) -> Result<()> {}
    /// Posts `text` and gives its number.
    #[must_use]
    pub fn post(
        &mut self,
        ctx: &Context<Self>,
        author: &Author,
        text: &str,
    ) -> Result<u64, PostError> {
        self.posts += 1;
        ctx.wait_until(notify(ctx.handle(), text.to_owned()));
        Ok(self.posts)
    }
    #[cfg(feature = "search")]
    #[deprecated = "use the index"]
    pub(crate) fn find(&self, words: &[String], r#type: Option<Kind>) -> Vec<Post> {
        self.search(words, r#type)
    }
    pub fn members(&self) -> Vec<Self> {
        Vec::new()
    }
    async fn fetch(this: Handle<Self>, request: Request) -> Result<Response> {
        this.turn(|room, ctx| room.page(ctx)).await
    }
    fn websocket_message(
        &mut self,
        ctx: &Context<Self>,
        socket: WebSocket,
        message: Message,
    ) -> Result<()> {
        ctx.broadcast(&message)
    }
    fn page(&self, ctx: &Context) -> Result<Response> {
        render(self)
    }
}
///Calls one `ChatRoom`. Cheap to clone, and free to be sent to other threads.
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::restriction,
    dead_code,
    deprecated,
    private_interfaces,
    unreachable_pub,
    unused_qualifications,
    unnameable_test_items
)]
#[derive(::core::clone::Clone, ::core::fmt::Debug)]
pub struct ChatRoomStub {
    raw: ::durable::__private::RawStub<ChatRoom>,
}
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::restriction,
    dead_code,
    deprecated,
    private_interfaces,
    unreachable_pub,
    unused_qualifications,
    unnameable_test_items
)]
#[automatically_derived]
impl ChatRoomStub {
    /// The object's id.
    pub fn id(&self) -> &::durable::__private::ObjectId<ChatRoom> {
        self.raw.id()
    }
    /// The object's name, if the stub was made from one.
    pub fn name(&self) -> ::core::option::Option<&::core::primitive::str> {
        self.raw.name()
    }
    /// Sends the object an HTTP request, in process.
    pub fn fetch(
        &self,
        request: ::durable::__private::Request,
    ) -> ::durable::__private::Fetch {
        self.raw.fetch(request)
    }
    /// Posts `text` and gives its number.
    #[must_use]
    pub fn post(
        &self,
        author: &Author,
        text: &str,
    ) -> ::durable::__private::Call<
        ChatRoom,
        <Result<u64, PostError> as ::durable::__private::Fallible>::Ok,
        <Result<u64, PostError> as ::durable::__private::Fallible>::Err,
    > {
        self.raw
            .call::<
                (
                    <Author as ::durable::__private::RpcBorrow>::Owned,
                    <str as ::durable::__private::RpcBorrow>::Owned,
                ),
                <Result<u64, PostError> as ::durable::__private::Fallible>::Ok,
                <Result<u64, PostError> as ::durable::__private::Fallible>::Err,
            >(
                ::durable::__private::Method {
                    info: ::durable::__private::MethodInfo {
                        name: "post",
                        access: ::durable::__private::Access::Write,
                    },
                    invoke: |object, ctx, (argument0, argument1)| <Result<
                        u64,
                        PostError,
                    > as ::durable::__private::Fallible>::into_result(
                        <ChatRoom>::post(
                            object,
                            ctx,
                            <Author as ::durable::__private::RpcBorrow>::lend(
                                &argument0,
                            ),
                            <str as ::durable::__private::RpcBorrow>::lend(&argument1),
                        ),
                    ),
                    encode: |(argument0, argument1), output| {
                        let write = <<Author as ::durable::__private::RpcBorrow>::Owned as ::durable::__private::RpcArg>::encode;
                        write(argument0, output)?;
                        let write = <<str as ::durable::__private::RpcBorrow>::Owned as ::durable::__private::RpcArg>::encode;
                        write(argument1, output)?;
                        ::core::result::Result::Ok(())
                    },
                    decode: |reply| ::durable::__private::WireReply::read(
                        reply,
                        <<Result<
                            u64,
                            PostError,
                        > as ::durable::__private::Fallible>::Ok as ::durable::__private::RpcReply>::decode,
                        <<Result<
                            u64,
                            PostError,
                        > as ::durable::__private::Fallible>::Err as ::durable::__private::RpcError>::decode,
                    ),
                },
                (
                    <Author as ::durable::__private::RpcBorrow>::copy(author),
                    <str as ::durable::__private::RpcBorrow>::copy(text),
                ),
            )
    }
    #[cfg(feature = "search")]
    #[deprecated = "use the index"]
    ///Calls `ChatRoom::find`.
    pub(crate) fn find(
        &self,
        words: &[String],
        r#type: Option<Kind>,
    ) -> ::durable::__private::Call<ChatRoom, Vec<Post>, ::core::convert::Infallible> {
        self.raw
            .call::<
                (<[String] as ::durable::__private::RpcBorrow>::Owned, Option<Kind>),
                Vec<Post>,
                ::core::convert::Infallible,
            >(
                ::durable::__private::Method {
                    info: ::durable::__private::MethodInfo {
                        name: "find",
                        access: ::durable::__private::Access::ReadOnly,
                    },
                    invoke: |object, ctx, (argument0, argument1)| ::core::result::Result::Ok(
                        <ChatRoom>::find(
                            object,
                            <[String] as ::durable::__private::RpcBorrow>::lend(
                                &argument0,
                            ),
                            argument1,
                        ),
                    ),
                    encode: |(argument0, argument1), output| {
                        let write = <<[String] as ::durable::__private::RpcBorrow>::Owned as ::durable::__private::RpcArg>::encode;
                        write(argument0, output)?;
                        let write = <Option<
                            Kind,
                        > as ::durable::__private::RpcArg>::encode;
                        write(argument1, output)?;
                        ::core::result::Result::Ok(())
                    },
                    decode: |reply| ::durable::__private::WireReply::read(
                        reply,
                        <Vec<Post> as ::durable::__private::RpcReply>::decode,
                        ::durable::__private::decode_never,
                    ),
                },
                (<[String] as ::durable::__private::RpcBorrow>::copy(words), r#type),
            )
    }
    ///Calls `ChatRoom::members`.
    pub fn members(
        &self,
    ) -> ::durable::__private::Call<
        ChatRoom,
        Vec<ChatRoom>,
        ::core::convert::Infallible,
    > {
        self.raw
            .call::<
                (),
                Vec<ChatRoom>,
                ::core::convert::Infallible,
            >(
                ::durable::__private::Method {
                    info: ::durable::__private::MethodInfo {
                        name: "members",
                        access: ::durable::__private::Access::ReadOnly,
                    },
                    invoke: |object, ctx, ()| ::core::result::Result::Ok(
                        <ChatRoom>::members(object),
                    ),
                    encode: |(), output| { ::core::result::Result::Ok(()) },
                    decode: |reply| ::durable::__private::WireReply::read(
                        reply,
                        <Vec<ChatRoom> as ::durable::__private::RpcReply>::decode,
                        ::durable::__private::decode_never,
                    ),
                },
                (),
            )
    }
}
#[automatically_derived]
impl ::durable::__private::ObjectStub<ChatRoom> for ChatRoomStub {
    fn raw_stub(&self) -> &dyn ::core::any::Any {
        &self.raw
    }
}
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::restriction,
    dead_code,
    deprecated,
    private_interfaces,
    unreachable_pub,
    unused_qualifications,
    unnameable_test_items
)]
#[automatically_derived]
impl ::durable::__private::DurableObject for ChatRoom {
    const CLASS: &'static ::core::primitive::str = "room";
    const FORMER_CLASSES: &'static [&'static ::core::primitive::str] = &["ChatRoom"];
    const METHODS: &'static [::durable::__private::MethodDescription] = &[
        ::durable::__private::MethodDescription {
            info: ::durable::__private::MethodInfo {
                name: "post",
                access: ::durable::__private::Access::Write,
            },
            docs: &[" Posts `text` and gives its number."],
            arguments: &[
                ::durable::__private::ArgumentDescription {
                    name: "author",
                    is_optional: false,
                    schema: ::durable::__private::schema_of!(
                        < Author as ::durable::__private::RpcBorrow > ::Owned
                    ),
                    trace: <<Author as ::durable::__private::RpcBorrow>::Owned as ::durable::__private::RpcArg>::trace,
                },
                ::durable::__private::ArgumentDescription {
                    name: "text",
                    is_optional: false,
                    schema: ::durable::__private::schema_of!(
                        < str as ::durable::__private::RpcBorrow > ::Owned
                    ),
                    trace: <<str as ::durable::__private::RpcBorrow>::Owned as ::durable::__private::RpcArg>::trace,
                },
            ],
            reply: ::durable::__private::schema_of!(
                < Result < u64, PostError > as ::durable::__private::Fallible > ::Ok
            ),
            error: ::durable::__private::schema_of!(
                < Result < u64, PostError > as ::durable::__private::Fallible > ::Err
            ),
            trace_reply: <<Result<
                u64,
                PostError,
            > as ::durable::__private::Fallible>::Ok as ::durable::__private::RpcReply>::trace,
            trace_error: <<Result<
                u64,
                PostError,
            > as ::durable::__private::Fallible>::Err as ::durable::__private::RpcError>::trace,
            shape_cell: || {
                static CELL: ::durable::__private::ShapeCell = ::durable::__private::ShapeCell::new();
                &CELL
            },
        },
        #[cfg(feature = "search")]
        ::durable::__private::MethodDescription {
            info: ::durable::__private::MethodInfo {
                name: "find",
                access: ::durable::__private::Access::ReadOnly,
            },
            docs: &[],
            arguments: &[
                ::durable::__private::ArgumentDescription {
                    name: "words",
                    is_optional: false,
                    schema: ::durable::__private::schema_of!(
                        < [String] as ::durable::__private::RpcBorrow > ::Owned
                    ),
                    trace: <<[String] as ::durable::__private::RpcBorrow>::Owned as ::durable::__private::RpcArg>::trace,
                },
                ::durable::__private::ArgumentDescription {
                    name: "type",
                    is_optional: true,
                    schema: ::durable::__private::schema_of!(Option < Kind >),
                    trace: <Option<Kind> as ::durable::__private::RpcArg>::trace,
                },
            ],
            reply: ::durable::__private::schema_of!(Vec < Post >),
            error: ::durable::__private::schema_of!(::core::convert::Infallible),
            trace_reply: <Vec<Post> as ::durable::__private::RpcReply>::trace,
            trace_error: ::durable::__private::trace_never,
            shape_cell: || {
                static CELL: ::durable::__private::ShapeCell = ::durable::__private::ShapeCell::new();
                &CELL
            },
        },
        ::durable::__private::MethodDescription {
            info: ::durable::__private::MethodInfo {
                name: "members",
                access: ::durable::__private::Access::ReadOnly,
            },
            docs: &[],
            arguments: &[],
            reply: ::durable::__private::schema_of!(Vec < ChatRoom >),
            error: ::durable::__private::schema_of!(::core::convert::Infallible),
            trace_reply: <Vec<ChatRoom> as ::durable::__private::RpcReply>::trace,
            trace_error: ::durable::__private::trace_never,
            shape_cell: || {
                static CELL: ::durable::__private::ShapeCell = ::durable::__private::ShapeCell::new();
                &CELL
            },
        },
    ];
    const MIGRATIONS: &'static [::durable::__private::MigrationInfo] = &[
        ::durable::__private::MigrationInfo {
            number: 1u32,
            name: "create_posts",
            checksum: 12361747781658338322u64,
            sql: &[schema::POSTS],
            apply: |db| {
                let output = <ChatRoom>::create_posts(db);
                output
            },
        },
        ::durable::__private::MigrationInfo {
            number: 2u32,
            name: "nothing",
            checksum: 14695981039346656037u64,
            sql: &[],
            apply: |db| {
                let output = <ChatRoom>::nothing(db);
                output
            },
        },
    ];
    const HANDLERS: ::durable::__private::Handlers<Self> = ::durable::__private::Handlers {
        fetch: ::core::option::Option::Some(
            ::durable::__private::Handler::Async(|this, (request,)| ::std::boxed::Box::pin(async move {
                let output = <ChatRoom>::fetch(this, request).await;
                let typed: ::durable::__private::Result<
                    ::durable::__private::Response,
                    ::durable::__private::Error,
                > = output;
                typed
            })),
        ),
        websocket_message: ::core::option::Option::Some(
            ::durable::__private::Handler::Sync(|object, ctx, (socket, message)| {
                let output = <ChatRoom>::websocket_message(object, ctx, socket, message);
                let typed: ::durable::__private::Result<
                    (),
                    ::durable::__private::Error,
                > = output;
                typed
            }),
        ),
        ..::durable::__private::Handlers::NONE
    };
    fn construct(
        ctx: &::durable::__private::Context<Self>,
    ) -> ::durable::__private::Result<Self, ::durable::__private::Error> {
        let object = <ChatRoom>::new(ctx);
        object
    }
    fn dispatch(
        &mut self,
        ctx: &::durable::__private::Context<Self>,
        method: &::core::primitive::str,
        input: &mut ::durable::__private::Decoder<'_>,
    ) -> ::core::result::Result<
        ::durable::__private::WireReply,
        ::durable::__private::WireError,
    > {
        match method {
            "post" => {
                let read = <<Author as ::durable::__private::RpcBorrow>::Owned as ::durable::__private::RpcArg>::decode;
                let argument0 = read(input)?;
                let read = <<str as ::durable::__private::RpcBorrow>::Owned as ::durable::__private::RpcArg>::decode;
                let argument1 = read(input)?;
                let output = ::durable::__private::Decoder::finish(input)?;
                let object = self;
                ::durable::__private::WireReply::write(
                    <Result<
                        u64,
                        PostError,
                    > as ::durable::__private::Fallible>::into_result(
                        <ChatRoom>::post(
                            object,
                            ctx,
                            <Author as ::durable::__private::RpcBorrow>::lend(
                                &argument0,
                            ),
                            <str as ::durable::__private::RpcBorrow>::lend(&argument1),
                        ),
                    ),
                    output,
                    <<Result<
                        u64,
                        PostError,
                    > as ::durable::__private::Fallible>::Ok as ::durable::__private::RpcReply>::encode,
                    <<Result<
                        u64,
                        PostError,
                    > as ::durable::__private::Fallible>::Err as ::durable::__private::RpcError>::encode,
                )
            }
            #[cfg(feature = "search")]
            "find" => {
                let read = <<[String] as ::durable::__private::RpcBorrow>::Owned as ::durable::__private::RpcArg>::decode;
                let argument0 = read(input)?;
                let read = <Option<Kind> as ::durable::__private::RpcArg>::decode;
                let argument1 = read(input)?;
                let output = ::durable::__private::Decoder::finish(input)?;
                let object = self;
                ::durable::__private::WireReply::write(
                    ::core::result::Result::Ok(
                        <ChatRoom>::find(
                            object,
                            <[String] as ::durable::__private::RpcBorrow>::lend(
                                &argument0,
                            ),
                            argument1,
                        ),
                    ),
                    output,
                    <Vec<Post> as ::durable::__private::RpcReply>::encode,
                    ::durable::__private::encode_never,
                )
            }
            "members" => {
                let output = ::durable::__private::Decoder::finish(input)?;
                let object = self;
                ::durable::__private::WireReply::write(
                    ::core::result::Result::Ok(<ChatRoom>::members(object)),
                    output,
                    <Vec<ChatRoom> as ::durable::__private::RpcReply>::encode,
                    ::durable::__private::encode_never,
                )
            }
            unknown => {
                ::core::result::Result::Err(
                    ::durable::__private::WireError::UnknownMethod(
                        ::core::convert::From::from(unknown),
                    ),
                )
            }
        }
    }
    type Stub = <ChatRoom as ::durable::__private::SendObject>::Only<ChatRoomStub>;
    fn stub(
        raw: ::durable::__private::RawStub<Self>,
    ) -> <ChatRoom as ::durable::__private::SendObject>::Only<ChatRoomStub> {
        ChatRoomStub { raw: raw }
    }
}
const _: () = {
    #[cfg(feature = "search")]
    const _: () = {
        #[allow(unused_imports)]
        use ::durable::__private::NoResult as _;
        ::core::assert!(
            ! ::durable::__private::ResultProbe:: < Vec < Post > > ::IS_RESULT,
            "`find` returns a `Result` under another name, which its stub cannot see\n  help: name the return type `Result<..>`, or end the alias in `Result`\n  rule: hidden-result"
        );
    };
    const _: () = {
        #[allow(unused_imports)]
        use ::durable::__private::NoResult as _;
        ::core::assert!(
            ! ::durable::__private::ResultProbe:: < Vec < ChatRoom > > ::IS_RESULT,
            "`members` returns a `Result` under another name, which its stub cannot see\n  help: name the return type `Result<..>`, or end the alias in `Result`\n  rule: hidden-result"
        );
    };
};
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::restriction,
    dead_code,
    deprecated,
    private_interfaces,
    unreachable_pub,
    unused_qualifications,
    unnameable_test_items
)]
#[automatically_derived]
impl ChatRoom {
    /**Runs all migrations of `ChatRoom` on an empty database, in memory.

# Errors
The first one that fails.*/
    pub fn check_migrations() -> ::durable::__private::Result<
        (),
        ::durable::__private::Error,
    > {
        ::durable::__private::check_migrations::<Self>()
    }
}
#[cfg(test)]
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::restriction,
    dead_code,
    deprecated,
    private_interfaces,
    unreachable_pub,
    unused_qualifications,
    unnameable_test_items
)]
#[::core::prelude::v1::test]
fn chat_room_migrations_run() -> ::durable::__private::Result<
    (),
    ::durable::__private::Error,
> {
    <ChatRoom>::check_migrations()
}
