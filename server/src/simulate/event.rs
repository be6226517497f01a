//! Events of a simulated sensor: of the size and in the form of those of a real one.

use holdfast_wire::frame::Priority;
use jiff::Timestamp;

/// One event of so many is an alert: many more than a fleet has whose policies are good.
pub(super) const ALERT_EVERY: u64 = 100;

/// Who has the events.
pub(super) struct Host {
    pub(super) id: String,
    pub(super) name: String,
}

/// The JSON of the event of this sequence.
pub(super) fn event(host: &Host, priority: Priority, sequence: u64) -> String {
    let (kind, line, severity) = match priority {
        Priority::Alert => ("alert", "a", 3),
        Priority::Event => ("event", "e", 0),
    };
    let which = match priority {
        Priority::Alert => Which::Open,
        Priority::Event if sequence.is_multiple_of(4) => Which::Connect,
        Priority::Event => Which::Exec,
    };
    let (action, category, kinds, about) = match which {
        Which::Open => (
            "file.open",
            "file",
            r#""access","denied""#,
            r#""file":{"path":"/etc/shadow","inode":"1311041","device":"8:1","mode":"0640"},"rule":{"id":"shadow-read","name":"shadow-read","ruleset":"credential-access"},"threat":{"technique":{"id":["T1003.008"]}},"#.to_owned(),
        ),
        Which::Connect => (
            "network.connect",
            "network",
            r#""connection","start""#,
            format!(
                r#""source":{{"ip":"10.1.{0}.{1}","port":{2}}},"destination":{{"ip":"10.2.0.7","port":5432}},"network":{{"transport":"tcp","type":"ipv4"}},"#,
                sequence / 256 % 256,
                sequence % 256,
                32_768 + sequence % 28_000
            ),
        ),
        Which::Exec => ("process.exec", "process", r#""start""#, String::new()),
    };
    let pid = 1000 + sequence % 60_000;
    format!(
        concat!(
            r#"{{"@timestamp":"{time}","event":{{"id":"{host_id}-{line}-{sequence}","kind":"{kind}","action":"{action}","#,
            r#""category":["{category}"],"outcome":"success","type":[{kinds}],"sequence":{sequence},"severity":{severity}}},"#,
            r#""host":{{"id":"{host_id}","name":"{host_name}","os":{{"type":"linux","name":"Debian GNU/Linux","version":"12","family":"debian","platform":"debian","kernel":"6.1.0-28-amd64"}}}},"#,
            r#""process":{{"entity_id":"{host_id}-{pid}-{sequence}","pid":{pid},"executable":"/usr/bin/curl","name":"curl","#,
            r#""args":["curl","--silent","--max-time","5","http://10.2.0.7:8080/health?n={sequence}"],"working_directory":"/srv/app","start":"{time}","#,
            r#""user":{{"id":"1000","name":"app"}},"group":{{"id":"1000"}},"#,
            r#""parent":{{"entity_id":"{host_id}-900","pid":900,"executable":"/usr/bin/bash"}},"#,
            r#""ancestors":[{{"entity_id":"{host_id}-800","pid":800,"executable":"/usr/bin/containerd-shim-runc-v2"}},{{"entity_id":"{host_id}-1","pid":1,"executable":"/usr/lib/systemd/systemd"}}]}},"#,
            r#"{about}"container":{{"id":"4f0c5e6d7a8b9c0d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5a6b7c8d9e0f1a2b3c4d","name":"app-{shard}","runtime":"docker","image":{{"name":"registry.example.org/app","tag":"1.4.2"}},"privileged":false}},"#,
            r#""holdfast":{{"tier":"lsm","action":"{verdict}","outcome":"allowed","exec_id":{sequence},"mode":"observe","namespaces":{{"mnt":4026532561,"pid":4026532564,"net":4026532566}}}}}}"#
        ),
        time = Timestamp::now(),
        host_id = host.id,
        host_name = host.name,
        line = line,
        sequence = sequence,
        kind = kind,
        action = action,
        category = category,
        kinds = kinds,
        severity = severity,
        pid = pid,
        about = about,
        shard = sequence % 8,
        verdict = if severity > 0 { "alert" } else { "allow" },
    )
}

enum Which {
    Exec,
    Connect,
    Open,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_events_of_their_priority_and_all_different() {
        let host = Host {
            id: "h".into(),
            name: "web-1".into(),
        };
        for priority in Priority::ALL {
            for sequence in 1..=4 {
                let text = event(&host, priority, sequence);
                let event: serde_json::Value = serde_json::from_str(&text).unwrap();
                let (kind, line) = match priority {
                    Priority::Alert => ("alert", "a"),
                    Priority::Event => ("event", "e"),
                };
                assert_eq!(event["event"]["kind"], kind);
                assert_eq!(event["event"]["id"], format!("h-{line}-{sequence}"));
                assert!((900..2500).contains(&text.len()), "{}", text.len());
            }
        }
    }
}
