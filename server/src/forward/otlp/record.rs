//! Events as log records: <https://opentelemetry.io/docs/specs/otel/logs/data-model/>. Names are those of the
//! [semantic conventions](https://opentelemetry.io/docs/specs/semconv/registry/attributes/), of which `security_rule`,
//! `process`, `file` and `dns` are not declared stable.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde_json::Value;

use crate::clock::NANOSECONDS;
use crate::forward::Schema;
use crate::store::events::Found;

/// Objects and lists within each other that are told as such; what is deeper is JSON. Each takes up to three of the
/// hundred messages that decoders of protobuf follow.
const DEPTH: usize = 24;

/// Attributes of a resource, and where an event has them.
const RESOURCE: [(&str, &str); 11] = [
    ("host.id", "/host/id"),
    ("host.name", "/host/name"),
    ("host.type", "/cloud/machine/type"),
    ("os.type", "/host/os/type"),
    ("os.name", "/host/os/name"),
    ("os.version", "/host/os/version"),
    ("os.description", "/host/os/full"),
    ("cloud.provider", "/cloud/provider"),
    ("cloud.region", "/cloud/region"),
    ("cloud.availability_zone", "/cloud/availability_zone"),
    ("cloud.account.id", "/cloud/account/id"),
];

/// Attributes of a record, likewise.
const RECORD: [(&str, &str); 32] = [
    ("log.record.uid", "/event/id"),
    ("process.pid", "/process/pid"),
    ("process.parent_pid", "/process/parent/pid"),
    ("process.executable.path", "/process/executable"),
    ("process.executable.name", "/process/name"),
    ("process.command_args", "/process/args"),
    ("process.working_directory", "/process/working_directory"),
    ("process.creation.time", "/process/start"),
    ("process.exit.code", "/process/exit_code"),
    ("process.real_user.id", "/process/user/id"),
    ("process.real_user.name", "/process/user/name"),
    ("process.user.id", "/process/user/effective/id"),
    ("file.path", "/file/path"),
    ("file.inode", "/file/inode"),
    ("file.mode", "/file/mode"),
    ("source.address", "/source/ip"),
    ("source.port", "/source/port"),
    ("destination.address", "/destination/ip"),
    ("destination.port", "/destination/port"),
    ("network.transport", "/network/transport"),
    ("network.type", "/network/type"),
    ("dns.question.name", "/dns/question/name"),
    ("container.id", "/container/id"),
    ("container.name", "/container/name"),
    ("container.runtime.name", "/container/runtime"),
    ("container.image.name", "/container/image/name"),
    ("container.image.tags", "/container/image/tag"),
    ("k8s.namespace.name", "/orchestrator/namespace"),
    ("k8s.pod.name", "/orchestrator/resource/name"),
    ("k8s.pod.uid", "/orchestrator/resource/id"),
    ("security_rule.name", "/rule/id"),
    ("security_rule.ruleset.name", "/rule/ruleset"),
];

/// The request for a batch: a resource for each run of events of one sensor, so that their order stays.
/// The body of each record is the event by `schema`.
pub(super) fn request(batch: &[Found], schema: Schema) -> ExportLogsServiceRequest {
    let of_one = batch.chunk_by(|one, other| one.sensor_id == other.sensor_id);
    ExportLogsServiceRequest {
        resource_logs: of_one.map(|of_one| logs(of_one, schema)).collect(),
    }
}

fn logs(of_one: &[Found], schema: Schema) -> ResourceLogs {
    let events: Vec<Value> = of_one.iter().map(Found::event).collect();
    let mut attributes = vec![text("service.name", "holdfast")];
    if let Some((found, event)) = of_one.first().zip(events.first()) {
        attributes.push(text("service.instance.id", &found.sensor_id));
        attributes.extend(at(event, &RESOURCE));
        // An event of a sensor's own may come without its host.
        if event.pointer("/host/name").is_none() {
            attributes.push(text("host.name", &found.host_name));
        }
    }
    let records = of_one.iter().zip(events);
    let records = records.map(|(found, event)| record(found, event, schema));
    ResourceLogs {
        resource: Some(Resource {
            attributes,
            ..Resource::default()
        }),
        scope_logs: vec![ScopeLogs {
            scope: Some(InstrumentationScope {
                name: "holdfast".to_owned(),
                ..InstrumentationScope::default()
            }),
            log_records: records.collect(),
            ..ScopeLogs::default()
        }],
        ..ResourceLogs::default()
    }
}

fn record(found: &Found, event: Value, schema: Schema) -> LogRecord {
    let (severity, severity_text) = severity(event["event"]["severity"].as_i64());
    let action = event["event"]["action"].as_str().unwrap_or_default();
    let attributes = at(&event, &RECORD).collect();
    let event_name = action.to_owned();
    let body = match schema {
        Schema::Ecs => event,
        Schema::Ocsf => schema.event(found),
    };
    LogRecord {
        time_unix_nano: u64::try_from(found.time).unwrap_or(0),
        observed_time_unix_nano: u64::try_from(found.received.saturating_mul(NANOSECONDS))
            .unwrap_or(0),
        severity_number: severity.into(),
        severity_text: severity_text.to_owned(),
        event_name,
        attributes,
        body: Some(any(body, DEPTH)),
        ..LogRecord::default()
    }
}

/// A rule's severity as appendix B of the data model has those of syslog, which are the same here as by syslog.
const fn severity(of_rule: Option<i64>) -> (SeverityNumber, &'static str) {
    match of_rule {
        Some(4) => (SeverityNumber::Error2, "critical"),
        Some(3) => (SeverityNumber::Error, "high"),
        Some(2) => (SeverityNumber::Warn, "medium"),
        Some(1) => (SeverityNumber::Info2, "low"),
        _ => (SeverityNumber::Info, ""),
    }
}

/// Those of `names` that `event` has.
fn at(event: &Value, names: &'static [(&str, &str)]) -> impl Iterator<Item = KeyValue> {
    names.iter().filter_map(|(name, place)| {
        let value = event.pointer(place)?.clone();
        Some(pair((*name).to_owned(), any(value, DEPTH)))
    })
}

fn text(name: &str, value: &str) -> KeyValue {
    let value = AnyValue {
        value: Some(Any::StringValue(value.to_owned())),
    };
    pair(name.to_owned(), value)
}

fn pair(key: String, value: AnyValue) -> KeyValue {
    KeyValue {
        key,
        value: Some(value),
        ..KeyValue::default()
    }
}

fn any(value: Value, depth: usize) -> AnyValue {
    let value = match value {
        Value::Null => None,
        Value::Bool(value) => Some(Any::BoolValue(value)),
        Value::Number(number) => Some(match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Any::IntValue(whole),
            (None, Some(fraction)) => Any::DoubleValue(fraction),
            (None, None) => Any::StringValue(number.to_string()),
        }),
        Value::String(text) => Some(Any::StringValue(text)),
        deep if depth == 0 => Some(Any::StringValue(deep.to_string())),
        Value::Array(list) => {
            let values = list.into_iter().map(|value| any(value, depth - 1));
            Some(Any::ArrayValue(ArrayValue {
                values: values.collect(),
            }))
        }
        Value::Object(map) => {
            let values = map
                .into_iter()
                .map(|(key, value)| pair(key, any(value, depth - 1)));
            Some(Any::KvlistValue(KeyValueList {
                values: values.collect(),
            }))
        }
    };
    AnyValue { value }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use serde_json::json;

    use super::*;

    fn found(sensor: &str, event: &Value) -> Found {
        Found {
            id: 1,
            time: 1_000_000_007,
            received: 2,
            sensor_id: sensor.into(),
            host_name: "h".into(),
            body: event.to_string(),
        }
    }

    #[test]
    fn each_run_of_a_sensor_is_a_resource_and_order_stays() {
        let event = json!({"host": {"name": "web"}, "event": {"action": "process.exec", "severity": 3}, "process": {"pid": 7}});
        let (one, other) = (found("s", &event), found("t", &json!({})));
        let batch = [one.clone(), one.clone(), other, one];
        let request = request(&batch, Schema::Ecs);
        let counts: Vec<_> = request
            .resource_logs
            .iter()
            .map(|logs| logs.scope_logs[0].log_records.len())
            .collect();
        assert_eq!(counts, [2, 1, 1]);
        let resource = request.resource_logs[1].resource.as_ref().unwrap();
        assert!(resource.attributes.contains(&text("host.name", "h")));
        let record = &request.resource_logs[0].scope_logs[0].log_records[0];
        assert_eq!(
            (record.time_unix_nano, record.observed_time_unix_nano),
            (1_000_000_007, 2_000_000)
        );
        assert_eq!(record.severity_number(), SeverityNumber::Error);
        assert_eq!(record.event_name, "process.exec");
        assert_eq!(record.attributes.len(), 1);
        assert_eq!(record.body, Some(any(event, DEPTH)));
    }

    #[test]
    fn what_is_deep_or_great_can_be_decoded() {
        let mut deep = json!(u64::MAX);
        for _ in 0..60 {
            deep = json!([{"a": deep}]);
        }
        let deep = found("s", &json!({"a": deep, "b": null, "c": -1.5}));
        let sent = request(&[deep], Schema::Ocsf);
        let bytes = sent.encode_to_vec();
        let read = ExportLogsServiceRequest::decode(bytes.as_slice()).unwrap();
        assert_eq!(read, sent);
    }
}
