//! Every handler in both forms, and helpers whose names are near.

use durable::prelude::*;
use durable::{AlarmInfo, Close, Message, SocketError, WebSocket};

#[derive(Default)]
pub struct Turns;

#[durable_object]
impl Turns {
    fn fetch(&mut self, _ctx: &Context<Self>, _request: Request) -> Result<Response> {
        Err(durable::Error::other("closed"))
    }

    fn alarm(&mut self, _ctx: &Context<Self>, _alarm: AlarmInfo) -> Result<()> {
        Ok(())
    }

    fn websocket_message(&mut self, _: &Context<Self>, _: WebSocket, _: Message) -> Result<()> {
        Ok(())
    }

    fn websocket_close(&mut self, _: &Context<Self>, _: WebSocket, _: Close) -> Result<()> {
        Ok(())
    }

    fn websocket_error(&mut self, _: &Context, _: WebSocket, _: SocketError) -> Result<()> {
        Ok(())
    }

    // Near the names of handlers, but the handlers are there, or it takes nothing of theirs.
    fn on_alarm(&self) {}
    fn alarms(&self) {}
}

#[derive(Default)]
pub struct Waits;

#[durable_object]
impl Waits {
    async fn fetch(this: Handle<Self>, _request: Request) -> Result<Response> {
        this.turn(|_, _| -> Result<_> { Err(durable::Error::other("closed")) }).await
    }

    async fn alarm(_this: Handle<Self>, _alarm: AlarmInfo) -> durable::Result<()> {
        Ok(())
    }

    async fn websocket_message(_: Handle<Self>, _: WebSocket, _: Message) -> Result<()> {
        Ok(())
    }

    async fn websocket_close(_: Handle<Self>, _: WebSocket, _: Close) -> Result<()> {
        Ok(())
    }

    async fn websocket_error(_: Handle<Self>, _: WebSocket, _: SocketError) -> Result<()> {
        Ok(())
    }

    fn alarms(&self) {}
}

fn callers(turns: &TurnsStub, request: Request) -> durable::Fetch {
    turns.fetch(request)
}
