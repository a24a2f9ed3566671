//! The forms of a constructor, and two objects in one module.

use durable::prelude::*;

pub struct Plain(u8);

#[durable_object]
impl Plain {
    pub fn new(_ctx: &Context) -> Self {
        Plain(1)
    }
}

pub struct Fallible(u8);

#[durable_object]
impl Fallible {
    pub(crate) fn new(ctx: &Context<Self>) -> Result<Self> {
        let _ = ctx.id();
        Ok(Fallible(1))
    }

    // Not a method of the stub.
    fn helper(&self) -> u8 {
        self.0
    }
}

pub struct Named(u8);

#[durable_object]
impl Named {
    const FIRST: u8 = 1;

    fn new(_ctx: &durable::Context<Self>) -> durable::Result<Named, durable::Error> {
        Ok(Named(Self::FIRST))
    }
}
