#[allow(unreachable_pub, clippy::unused_self)]
impl Counter {
    fn create_hits(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE hits (total INTEGER NOT NULL); INSERT INTO hits VALUES (0)",
        )
    }
    /// Adds `by` and returns the new total.
    pub fn increment(&mut self, ctx: &Context, by: i64) -> Result<i64> {
        ctx.sql().query_one("UPDATE hits SET total = total + ? RETURNING total", [by])
    }
    /// The total so far.
    pub fn total(&self, ctx: &Context) -> Result<i64> {
        ctx.sql().query_one("SELECT total FROM hits", [])
    }
}
///Calls one `Counter`. Cheap to clone, and free to be sent to other threads.
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
pub struct CounterStub {
    raw: ::durable::__private::RawStub<Counter>,
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
impl CounterStub {
    /// The object's id.
    pub fn id(&self) -> &::durable::__private::ObjectId<Counter> {
        self.raw.id()
    }
    /// The object's name, if the stub was made from one.
    pub fn name(&self) -> ::core::option::Option<&::core::primitive::str> {
        self.raw.name()
    }
    /// Adds `by` and returns the new total.
    pub fn increment(
        &self,
        by: i64,
    ) -> ::durable::__private::Call<
        Counter,
        <Result<i64> as ::durable::__private::Fallible>::Ok,
        <Result<i64> as ::durable::__private::Fallible>::Err,
    > {
        self.raw
            .call::<
                (i64,),
                <Result<i64> as ::durable::__private::Fallible>::Ok,
                <Result<i64> as ::durable::__private::Fallible>::Err,
            >(
                ::durable::__private::Method {
                    info: ::durable::__private::MethodInfo {
                        name: "increment",
                        access: ::durable::__private::Access::Write,
                    },
                    invoke: |object, ctx, (argument0,)| <Result<
                        i64,
                    > as ::durable::__private::Fallible>::into_result(
                        <Counter>::increment(object, ctx, argument0),
                    ),
                    encode: |(argument0,), output| {
                        let write = <i64 as ::durable::__private::RpcArg>::encode;
                        write(argument0, output)?;
                        ::core::result::Result::Ok(())
                    },
                    decode: |reply| ::durable::__private::WireReply::read(
                        reply,
                        <<Result<
                            i64,
                        > as ::durable::__private::Fallible>::Ok as ::durable::__private::RpcReply>::decode,
                        <<Result<
                            i64,
                        > as ::durable::__private::Fallible>::Err as ::durable::__private::RpcError>::decode,
                    ),
                },
                (by,),
            )
    }
    /// The total so far.
    pub fn total(
        &self,
    ) -> ::durable::__private::Call<
        Counter,
        <Result<i64> as ::durable::__private::Fallible>::Ok,
        <Result<i64> as ::durable::__private::Fallible>::Err,
    > {
        self.raw
            .call::<
                (),
                <Result<i64> as ::durable::__private::Fallible>::Ok,
                <Result<i64> as ::durable::__private::Fallible>::Err,
            >(
                ::durable::__private::Method {
                    info: ::durable::__private::MethodInfo {
                        name: "total",
                        access: ::durable::__private::Access::ReadOnly,
                    },
                    invoke: |object, ctx, ()| <Result<
                        i64,
                    > as ::durable::__private::Fallible>::into_result(
                        <Counter>::total(object, ctx),
                    ),
                    encode: |(), output| { ::core::result::Result::Ok(()) },
                    decode: |reply| ::durable::__private::WireReply::read(
                        reply,
                        <<Result<
                            i64,
                        > as ::durable::__private::Fallible>::Ok as ::durable::__private::RpcReply>::decode,
                        <<Result<
                            i64,
                        > as ::durable::__private::Fallible>::Err as ::durable::__private::RpcError>::decode,
                    ),
                },
                (),
            )
    }
}
#[automatically_derived]
impl ::durable::__private::ObjectStub<Counter> for CounterStub {
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
impl ::durable::__private::DurableObject for Counter {
    const CLASS: &'static ::core::primitive::str = "Counter";
    const FORMER_CLASSES: &'static [&'static ::core::primitive::str] = &[];
    const METHODS: &'static [::durable::__private::MethodDescription] = &[
        ::durable::__private::MethodDescription {
            info: ::durable::__private::MethodInfo {
                name: "increment",
                access: ::durable::__private::Access::Write,
            },
            docs: &[" Adds `by` and returns the new total."],
            arguments: &[
                ::durable::__private::ArgumentDescription {
                    name: "by",
                    is_optional: false,
                    schema: ::durable::__private::schema_of!(i64),
                    trace: <i64 as ::durable::__private::RpcArg>::trace,
                },
            ],
            reply: ::durable::__private::schema_of!(
                < Result < i64 > as ::durable::__private::Fallible > ::Ok
            ),
            error: ::durable::__private::schema_of!(
                < Result < i64 > as ::durable::__private::Fallible > ::Err
            ),
            trace_reply: <<Result<
                i64,
            > as ::durable::__private::Fallible>::Ok as ::durable::__private::RpcReply>::trace,
            trace_error: <<Result<
                i64,
            > as ::durable::__private::Fallible>::Err as ::durable::__private::RpcError>::trace,
            shape_cell: || {
                static CELL: ::durable::__private::ShapeCell = ::durable::__private::ShapeCell::new();
                &CELL
            },
        },
        ::durable::__private::MethodDescription {
            info: ::durable::__private::MethodInfo {
                name: "total",
                access: ::durable::__private::Access::ReadOnly,
            },
            docs: &[" The total so far."],
            arguments: &[],
            reply: ::durable::__private::schema_of!(
                < Result < i64 > as ::durable::__private::Fallible > ::Ok
            ),
            error: ::durable::__private::schema_of!(
                < Result < i64 > as ::durable::__private::Fallible > ::Err
            ),
            trace_reply: <<Result<
                i64,
            > as ::durable::__private::Fallible>::Ok as ::durable::__private::RpcReply>::trace,
            trace_error: <<Result<
                i64,
            > as ::durable::__private::Fallible>::Err as ::durable::__private::RpcError>::trace,
            shape_cell: || {
                static CELL: ::durable::__private::ShapeCell = ::durable::__private::ShapeCell::new();
                &CELL
            },
        },
    ];
    const MIGRATIONS: &'static [::durable::__private::MigrationInfo] = &[
        ::durable::__private::MigrationInfo {
            number: 1u32,
            name: "create_hits",
            checksum: 9391311329223313734u64,
            sql: &[],
            apply: |db| {
                let output = <Counter>::create_hits(db);
                output
            },
        },
    ];
    const HANDLERS: ::durable::__private::Handlers<Self> = ::durable::__private::Handlers {
        ..::durable::__private::Handlers::NONE
    };
    fn construct(
        ctx: &::durable::__private::Context<Self>,
    ) -> ::durable::__private::Result<Self, ::durable::__private::Error> {
        let construct = <Counter as ::durable::__private::ConstructDefault>::construct_default;
        ::core::result::Result::Ok(construct())
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
            "increment" => {
                let read = <i64 as ::durable::__private::RpcArg>::decode;
                let argument0 = read(input)?;
                let output = ::durable::__private::Decoder::finish(input)?;
                let object = self;
                ::durable::__private::WireReply::write(
                    <Result<
                        i64,
                    > as ::durable::__private::Fallible>::into_result(
                        <Counter>::increment(object, ctx, argument0),
                    ),
                    output,
                    <<Result<
                        i64,
                    > as ::durable::__private::Fallible>::Ok as ::durable::__private::RpcReply>::encode,
                    <<Result<
                        i64,
                    > as ::durable::__private::Fallible>::Err as ::durable::__private::RpcError>::encode,
                )
            }
            "total" => {
                let output = ::durable::__private::Decoder::finish(input)?;
                let object = self;
                ::durable::__private::WireReply::write(
                    <Result<
                        i64,
                    > as ::durable::__private::Fallible>::into_result(
                        <Counter>::total(object, ctx),
                    ),
                    output,
                    <<Result<
                        i64,
                    > as ::durable::__private::Fallible>::Ok as ::durable::__private::RpcReply>::encode,
                    <<Result<
                        i64,
                    > as ::durable::__private::Fallible>::Err as ::durable::__private::RpcError>::encode,
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
    type Stub = <Counter as ::durable::__private::SendObject>::Only<CounterStub>;
    fn stub(
        raw: ::durable::__private::RawStub<Self>,
    ) -> <Counter as ::durable::__private::SendObject>::Only<CounterStub> {
        CounterStub { raw: raw }
    }
}
const _: () = {};
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
impl Counter {
    /**Runs all migrations of `Counter` on an empty database, in memory.

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
fn counter_migrations_run() -> ::durable::__private::Result<
    (),
    ::durable::__private::Error,
> {
    <Counter>::check_migrations()
}
