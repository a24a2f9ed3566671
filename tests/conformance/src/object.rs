//! The durable objects that interpret the operations of calls, alarms, messages and constructors.
//!
//! All handlers are async, since the reference's functions await whatever they like: [`run`] makes turns
//! of what they do.

mod sockets;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use durable::prelude::*;
use durable::{BODY_BYTES_MAX, Body, Cursor, Error};
use serde_json::{Value as Json, json};

use crate::errors;
use crate::run::{Frame, Way, run};
use crate::turn::{self, Turn};
use crate::value::Value;
use crate::world::{Progress, World, millis};

/// A class whose objects interpret operations.
pub(crate) trait Interpreter: DurableObject {
    fn memory(&mut self) -> &mut Memory;
}

/// An object of a case.
#[derive(Debug)]
pub(crate) struct Replayer {
    memory: Memory,
}

/// What an instance holds in its fields.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) instance: u64,
    pub(crate) value: Value,
    pub(crate) cursors: HashMap<String, Cursor>,
    pub(crate) size: Option<u64>,
    /// Which of the cursors give what a write returned.
    pub(crate) writing: HashSet<String>,
    /// The clients' ends of sockets that the object has opened to itself.
    pub(crate) local_sockets: Vec<Response>,
}

#[durable_object(name = "replayer")]
impl Replayer {
    fn new(ctx: &Context<Self>) -> Result<Self> {
        Ok(Replayer { memory: Memory::construct(ctx)? })
    }

    async fn fetch(this: Handle<Self>, request: Request) -> Result<Response> {
        let number = request.uri().path().strip_prefix("/sockets/");
        match number.and_then(|number| number.parse().ok()) {
            Some(number) => sockets::accept(this, request, number).await,
            None => answer(this, request).await,
        }
    }

    async fn websocket_message(
        this: Handle<Self>,
        socket: WebSocket,
        message: Message,
    ) -> Result<()> {
        sockets::hear(this, socket, message).await
    }

    async fn websocket_close(this: Handle<Self>, socket: WebSocket, close: Close) -> Result<()> {
        this.turn(move |object, ctx| sockets::end(object, ctx, &socket, &close)).await
    }

    async fn alarm(this: Handle<Self>, info: AlarmInfo) -> Result<()> {
        let world = Arc::clone(this.env::<Arc<World>>()?);
        let id = this.id().to_string();
        let (progress, time) = (Progress::default(), millis(info.scheduled_time));
        let begin = {
            let (world, id, progress) = (Arc::clone(&world), id.clone(), progress.clone());
            move |object: &mut Replayer, ctx: &Context<Replayer>| -> Result<_> {
                let instance = object.memory.instance;
                Ok(world.alarm_runs(&id, instance, ctx.now(), &info, &progress))
            }
        };
        let ops = this.turn(begin).await?;
        let frame = Frame::new(Way::Open(this), &world, &progress);
        run(Frame { alarm: Some(time), ..frame }, ops).await;
        match progress.threw() {
            None => Ok(()),
            Some(threw) => {
                world.alarm_failed(&id);
                Err(errors::to_throw(&threw))
            }
        }
    }
}

impl Interpreter for Replayer {
    fn memory(&mut self) -> &mut Memory {
        &mut self.memory
    }
}

/// A second class, whose ids are not those of the first, and which has no alarm.
#[derive(Debug)]
pub(crate) struct NoAlarm {
    memory: Memory,
}

#[durable_object(name = "no-alarm")]
impl NoAlarm {
    fn new(ctx: &Context<Self>) -> Result<Self> {
        Ok(NoAlarm { memory: Memory::construct(ctx)? })
    }

    async fn fetch(this: Handle<Self>, request: Request) -> Result<Response> {
        answer(this, request).await
    }
}

impl Interpreter for NoAlarm {
    fn memory(&mut self) -> &mut Memory {
        &mut self.memory
    }
}

impl Memory {
    /// What a constructor does: by itself, or behind a closed gate.
    fn construct<T: Interpreter>(ctx: &Context<T>) -> Result<Memory> {
        let world = Arc::clone(ctx.env::<Arc<World>>()?);
        let id = ctx.id().to_string();
        let (instance, script) = world.construct(&id);
        turn::sockets::keep_auto_response(ctx, &world)?;
        let mut memory = Memory {
            instance,
            value: Value::undefined(),
            cursors: HashMap::new(),
            size: None,
            writing: HashSet::new(),
            local_sockets: Vec::new(),
        };
        let Some(script) = script else { return Ok(memory) };
        let progress = Progress::default();
        world.log(&id, json!({ "ev": "ctor", "inst": instance }), Some(&progress));
        if let Some(message) = script.fails_with {
            return Err(Error::other(message));
        }
        if script.sync {
            let turn = Turn::new(&mut memory, ctx, &world, None);
            turn.run_all(&script.ops, &progress, true)?;
            return Ok(memory);
        }
        ctx.block_concurrency_while(move |gate| async move {
            let frame = Frame::new(Way::Gate(gate), &world, &progress);
            Frame { is_fatal: true, ..frame }.run_to_success(script.ops).await
        });
        Ok(memory)
    }
}

/// Runs the operations of a call. A `throw` is a part of the answer, so that what was done before is kept or undone
/// by turns alone.
async fn answer<T: Interpreter>(this: Handle<T>, request: Request) -> Result<Response> {
    let body = request.into_body().collect_up_to(BODY_BYTES_MAX).await?;
    let world = Arc::clone(this.env::<Arc<World>>()?);
    let number = std::str::from_utf8(&body).ok().and_then(|number| number.parse().ok());
    let asked = number.and_then(|number| world.asked(number));
    let asked = asked.ok_or_else(|| Error::other("nobody has asked this"))?;
    run(Frame::new(Way::Open(this), &world, &asked.progress), asked.ops).await;
    Ok(Response::new(Body::empty()))
}

/// An object's id as its `id` operation shows it.
pub(crate) fn describe_id<T: DurableObject>(ctx: &Context<T>) -> Json {
    let (id, namespace) = (ctx.id(), ctx.namespace::<T>());
    let text = id.to_string();
    let named = id.name().map(|name| namespace.id_from_name(name).is_ok_and(|other| other == id));
    let parsed = namespace.id_from_string(&text).is_ok_and(|other| other == id);
    json!({
        "len": text.len(),
        "hex": text.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "name": id.name().map_or_else(|| Value::undefined().record(), Json::from),
        "equalsFromName": named,
        "equalsFromString": parsed,
    })
}
