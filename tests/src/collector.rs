//! Collects what the runtime tells `tracing`, for tests to look at.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

/// No test waits for so long unless it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

pub type Fields = BTreeMap<&'static str, String>;

/// An event, and the spans that it happened in: places in [`Collected::spans`], the outermost first.
#[derive(Clone, Debug)]
pub struct Told {
    pub level: Level,
    pub target: &'static str,
    pub text: String,
    pub fields: Fields,
    pub inside: Vec<usize>,
}

#[derive(Clone, Debug)]
pub struct Shown {
    pub level: Level,
    pub target: &'static str,
    pub name: &'static str,
    pub fields: Fields,
    pub parent: Option<usize>,
    pub is_closed: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Collected {
    pub events: Vec<Told>,
    pub spans: Vec<Shown>,
}

impl Collected {
    /// The events about the object with this name.
    pub fn about<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Told> {
        self.events
            .iter()
            .filter(move |event| event.fields.get("name").is_some_and(|it| it == name))
    }

    /// The spans of the object with this name.
    pub fn spans_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (usize, &'a Shown)> {
        let spans = self.spans.iter().enumerate();
        spans.filter(move |(_, span)| span.fields.get("name").is_some_and(|it| it == name))
    }
}

/// Whatever all tests of the process have caused.
#[derive(Debug, Default)]
pub struct Collector {
    collected: Mutex<Collected>,
    changed: Condvar,
}

impl Collector {
    /// The one of this process, which is its subscriber.
    pub fn install() -> &'static Arc<Collector> {
        static COLLECTOR: OnceLock<Arc<Collector>> = OnceLock::new();
        COLLECTOR.get_or_init(|| {
            let collector = Arc::<Collector>::default();
            let layer = CollectorLayer(Arc::clone(&collector));
            tracing::subscriber::set_global_default(Registry::default().with(layer)).unwrap();
            collector
        })
    }

    pub fn collected(&self) -> Collected {
        self.collected.lock().unwrap().clone()
    }

    /// Waits until something was collected that gives an answer.
    pub fn wait_for<R>(&self, mut look: impl FnMut(&Collected) -> Option<R>) -> R {
        let mut collected = self.collected.lock().unwrap();
        loop {
            if let Some(answer) = look(&collected) {
                return answer;
            }
            let (guard, wait) = self.changed.wait_timeout(collected, PATIENCE).unwrap();
            assert!(!wait.timed_out(), "nobody told of it: {:#?}", guard.events);
            collected = guard;
        }
    }

    fn change<R>(&self, change: impl FnOnce(&mut Collected) -> R) -> R {
        let result = change(&mut self.collected.lock().unwrap());
        self.changed.notify_all();
        result
    }
}

struct CollectorLayer(Arc<Collector>);

/// Where a span stands in the collection: the registry uses its own numbers again.
struct Place(usize);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for CollectorLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let parent =
            span.parent().and_then(|parent| parent.extensions().get::<Place>().map(|it| it.0));
        let mut fields = Reader::default();
        attributes.record(&mut fields);
        let metadata = attributes.metadata();
        let shown = Shown {
            level: *metadata.level(),
            target: metadata.target(),
            name: metadata.name(),
            fields: fields.0,
            parent,
            is_closed: false,
        };
        let place = self.0.change(|collected| {
            collected.spans.push(shown);
            collected.spans.len() - 1
        });
        span.extensions_mut().insert(Place(place));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut fields = Reader::default();
        values.record(&mut fields);
        let place = context.span(id).unwrap().extensions().get::<Place>().unwrap().0;
        self.0.change(|collected| collected.spans[place].fields.append(&mut fields.0));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let place = context.span(&id).unwrap().extensions().get::<Place>().unwrap().0;
        self.0.change(|collected| collected.spans[place].is_closed = true);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Reader::default();
        event.record(&mut fields);
        let scope = context.event_scope(event).into_iter().flat_map(|scope| scope.from_root());
        let inside = scope.filter_map(|span| span.extensions().get::<Place>().map(|it| it.0));
        let told = Told {
            level: *event.metadata().level(),
            target: event.metadata().target(),
            text: fields.0.remove("message").unwrap_or_default(),
            fields: fields.0,
            inside: inside.collect(),
        };
        self.0.change(|collected| collected.events.push(told));
    }
}

#[derive(Default)]
struct Reader(Fields);

impl Visit for Reader {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}
