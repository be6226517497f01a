//! Lines of the log as JSON objects, with the names that Elastic's logging specification gives them.

use std::fmt::{self, Debug};

use holdfast_wire::event::rfc3339;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The version of ECS whose names these are.
const ECS_VERSION: &str = "8.17.0";

/// One object a line: when, how serious, who, what, and in `labels` what else is said.
#[derive(Debug)]
pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let mut said = Said::default();
        event.record(&mut said);
        let mut line = Map::new();
        let mut put = |key: &str, value: Value| line.insert(key.to_owned(), value);
        put("@timestamp", now().into());
        let level = metadata.level().as_str().to_ascii_lowercase();
        put("log.level", level.into());
        put("log.logger", metadata.target().into());
        put("message", said.message.into());
        put("ecs.version", ECS_VERSION.into());
        if !said.labels.is_empty() {
            put("labels", said.labels.into());
        }
        writeln!(writer, "{}", Value::Object(line))
    }
}

fn now() -> String {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
    // A clock before 1970 is set wrong, and its time as good as any.
    rfc3339(since.unwrap_or_default().as_nanos() as u64).to_string()
}

/// What an event says: its message, and other fields as texts, numbers and truths.
#[derive(Debug, Default)]
struct Said {
    message: String,
    labels: Map<String, Value>,
}

impl Said {
    fn put(&mut self, field: &Field, value: Value) {
        self.labels.insert(field.name().to_owned(), value);
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.put(field, text.into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;
    use tracing_subscriber::layer::SubscriberExt as _;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_an_object() {
        let kept = Kept::default();
        let written = kept.clone();
        let lines = tracing_subscriber::fmt::layer()
            .event_format(Json)
            .with_writer(move || written.clone());
        let subscriber = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(what = "sink.file", count = 7, error = ?Some(1), "degraded \"much\"");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert!(text.ends_with("}\n"), "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "degraded \"much\"");
        assert_eq!(line["log.level"], "warn");
        assert_eq!(
            line["labels"],
            serde_json::json!({"what": "sink.file", "count": 7, "error": "Some(1)"})
        );
        assert!(line["@timestamp"].as_str().unwrap().ends_with('Z'));
    }
}
