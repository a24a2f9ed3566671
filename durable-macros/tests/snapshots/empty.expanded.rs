#[allow(unreachable_pub, clippy::unused_self)]
impl Empty {}
///Calls one `Empty`. Cheap to clone, and free to be sent to other threads.
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
pub struct EmptyStub {
    raw: ::durable::__private::RawStub<Empty>,
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
impl EmptyStub {
    /// The object's id.
    pub fn id(&self) -> &::durable::__private::ObjectId<Empty> {
        self.raw.id()
    }
    /// The object's name, if the stub was made from one.
    pub fn name(&self) -> ::core::option::Option<&::core::primitive::str> {
        self.raw.name()
    }
}
#[automatically_derived]
impl ::durable::__private::ObjectStub<Empty> for EmptyStub {
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
impl ::durable::__private::DurableObject for Empty {
    const CLASS: &'static ::core::primitive::str = "Empty";
    const FORMER_CLASSES: &'static [&'static ::core::primitive::str] = &[];
    const METHODS: &'static [::durable::__private::MethodDescription] = &[];
    const MIGRATIONS: &'static [::durable::__private::MigrationInfo] = &[];
    const HANDLERS: ::durable::__private::Handlers<Self> = ::durable::__private::Handlers {
        ..::durable::__private::Handlers::NONE
    };
    fn construct(
        ctx: &::durable::__private::Context<Self>,
    ) -> ::durable::__private::Result<Self, ::durable::__private::Error> {
        let construct = <Empty as ::durable::__private::ConstructDefault>::construct_default;
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
            unknown => {
                ::core::result::Result::Err(
                    ::durable::__private::WireError::UnknownMethod(
                        ::core::convert::From::from(unknown),
                    ),
                )
            }
        }
    }
    type Stub = <Empty as ::durable::__private::SendObject>::Only<EmptyStub>;
    fn stub(
        raw: ::durable::__private::RawStub<Self>,
    ) -> <Empty as ::durable::__private::SendObject>::Only<EmptyStub> {
        EmptyStub { raw: raw }
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
impl Empty {
    /**Runs all migrations of `Empty` on an empty database, in memory.

# Errors
The first one that fails.*/
    pub fn check_migrations() -> ::durable::__private::Result<
        (),
        ::durable::__private::Error,
    > {
        ::durable::__private::check_migrations::<Self>()
    }
}
