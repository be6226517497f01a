//! Logs by OTLP, to receivers that answer whatever there is.

use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, SeverityNumber};
use prost::Message as _;
use serde_json::{Value, json};

use super::receiver::{Act, Receiver, Request};
use super::{begun, both, ids, send, status, until};

fn logs(request: &Request) -> Vec<ResourceLogs> {
    let request = ExportLogsServiceRequest::decode(request.body.as_slice()).unwrap();
    request.resource_logs
}

fn records(receiver: &Receiver) -> Vec<LogRecord> {
    let all = receiver
        .accepted()
        .iter()
        .flat_map(logs)
        .collect::<Vec<_>>();
    let scopes = all.into_iter().flat_map(|logs| logs.scope_logs);
    scopes.flat_map(|scope| scope.log_records).collect()
}

fn attribute(attributes: &[KeyValue], name: &str) -> Value {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|found| found.value.clone()?.value) {
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::IntValue(number)) => json!(number),
        other => panic!("{name}: {other:?}"),
    }
}

fn uids(records: &[LogRecord]) -> Vec<Value> {
    let uid = |record: &LogRecord| attribute(&record.attributes, "log.record.uid");
    records.iter().map(uid).collect()
}

#[test]
fn otlp_gets_each_alert_in_order_whatever_the_receiver_does() {
    both(|data| {
        // More than is read of an answer.
        let endless = Act::Say(503, "Retry-After: 1", vec![b'x'; 1 << 20]);
        let script = [Act::Drop, Act::Answer(401), Act::Hang, endless];
        let receiver = Receiver::start(&script, Act::Answer(200), "");
        let file = data.with_extension("headers");
        std::fs::write(&file, "Authorization: Bearer hunter2\n").unwrap();
        let arguments = [
            "--forward-otlp",
            &receiver.url("/otlp/"),
            "--forward-otlp-header-file",
            file.to_str().unwrap(),
            "--forward-schema",
            "ocsf",
        ];
        let (server, sensor, token) = begun(data, &arguments);
        send(&server, &sensor, 1..=150);
        until("the receiver fails", || {
            let reason = &status(&server, &token)["failing"]["reason"];
            reason == "the receiver answers 401 Unauthorized"
        });
        until("it is known", || status(&server, &token)["sent"] == 150);
        let found = records(&receiver);
        let expected: Vec<Value> = ids(1..=150).into_iter().map(Value::from).collect();
        assert_eq!(uids(&found), expected);
        assert!(!server.log().contains("hunter2"));
        for request in receiver.requests() {
            assert_eq!(
                (request.method.as_str(), request.path.as_str()),
                ("POST", "/otlp/v1/logs")
            );
            assert_eq!(request.header("content-type"), "application/x-protobuf");
            assert_eq!(request.header("authorization"), "Bearer hunter2");
        }

        let resource = logs(&receiver.accepted()[0])[0].resource.clone().unwrap();
        let of_resource = |name| attribute(&resource.attributes, name);
        assert_eq!(of_resource("service.name"), "holdfast");
        assert_eq!(of_resource("host.name"), "h.example");
        assert_eq!(of_resource("service.instance.id"), sensor.id.as_str());
        let record = &found[1];
        assert_eq!(record.severity_number(), SeverityNumber::Error);
        assert_eq!(
            (record.severity_text.as_str(), record.event_name.as_str()),
            ("high", "file.open")
        );
        let of_record = |name| attribute(&record.attributes, name);
        assert_eq!(of_record("process.pid"), 7);
        assert_eq!(of_record("process.executable.path"), "/usr/bin/cat");
        assert_eq!(of_record("security_rule.name"), "shadow-read");
        let Some(Any::KvlistValue(body)) = record.body.clone().unwrap().value else {
            panic!("{record:?}");
        };
        assert_eq!(attribute(&body.values, "class_uid"), 2004);
    });
}

#[test]
fn what_a_receiver_of_otlp_refuses_is_counted_and_not_sent_again() {
    both(|data| {
        let partial = ExportLogsServiceResponse {
            partial_success: Some(ExportLogsPartialSuccess {
                rejected_log_records: 2,
                error_message: "too old".to_owned(),
            }),
        };
        let script = [Act::Say(200, "", partial.encode_to_vec())];
        let receiver = Receiver::start(&script, Act::Answer(200), "e-13");
        let url = receiver.url("");
        let (server, sensor, token) = begun(data, &["--forward-otlp", &url]);
        send(&server, &sensor, 1..=5);
        until("a part arrived", || status(&server, &token)["sent"] == 3);
        assert_eq!(status(&server, &token)["lost"]["refused"], 2);
        assert!(server.log().contains("too old"));
        send(&server, &sensor, 11..=15);
        until("the others arrived", || {
            status(&server, &token)["sent"] == 7
        });
        assert_eq!(
            status(&server, &token)["lost"],
            json!({"full": 0, "refused": 3, "deleted": 0})
        );
        assert_eq!(records(&receiver).len(), 9);
    });
}
