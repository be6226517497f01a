//! The report on who enforces what, as it is taken away.

use serde_json::json;

use super::harness::{Sensor, Server, both, printed};
use super::{POLICY, heartbeat};

/// What is read of CSV by RFC 4180, section 2, all of whose cells are quoted: lines that end with CRLF, of cells between commas.
fn read(text: &str) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut cells = Vec::new();
        loop {
            rest = rest.strip_prefix('"').unwrap();
            let mut cell = String::new();
            loop {
                let (before, after) = rest.split_once('"').unwrap();
                cell.push_str(before);
                match after.strip_prefix('"') {
                    Some(more) => {
                        cell.push('"');
                        rest = more;
                    }
                    None => {
                        rest = after;
                        break;
                    }
                }
            }
            cells.push(cell);
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => break,
            }
        }
        rest = rest.strip_prefix("\r\n").unwrap();
        lines.push(cells);
    }
    lines
}

#[test]
fn the_table_has_each_rule_on_each_host_whatever_these_are_called() {
    both(|data| {
        let server = Server::start(data);
        let key = printed(data, &["key", "create", "--tag", "web"]);
        let token = printed(data, &["token", "create", "t", "--role", "admin"]);
        let drafts = json!({"name": "b", "policies": [{"file": "a.json", "text": POLICY}]});
        let made = server.send("POST", "/api/v1/bundles", &token, &drafts);
        assert_eq!(made.status, 200, "{made:?}");
        let assigned = json!({"target": "all", "version": 1});
        let assigned = server.send("PUT", "/api/v1/assignments", &token, &assigned);
        assert_eq!(assigned.status, 200, "{assigned:?}");
        let names = [
            "plain",
            "a \"quoted\", one",
            "two\r\nlines",
            "=cmd|' /C calc'!A0",
            "日本",
        ];
        for (number, name) in names.iter().enumerate() {
            let host = json!({"installation_key": key, "host_id": format!("h{number}"), "host_name": name,
                "version": "0.1.0", "architecture": "x86_64", "kernel": "6.1.0"});
            let enrolled =
                server.request("POST", "/uplink/v1/enrol", &[], host.to_string().as_bytes());
            let sensor = Sensor::of(&enrolled);
            let beat = heartbeat(Some(1));
            let answer = server.send("POST", "/uplink/v1/heartbeat", &sensor.token, &beat);
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        let answer = server.get("/api/v1/compliance.csv", &token);
        assert_eq!(
            answer.header("content-type"),
            Some("text/csv; charset=utf-8")
        );
        let lines = read(std::str::from_utf8(&answer.body).unwrap());
        let report = server.get("/api/v1/compliance", &token).json();
        let rules = report["controls"].as_array().unwrap().len();
        assert!(
            rules > 0 && lines.len() == 1 + rules * names.len(),
            "{lines:?}"
        );
        let titles = &lines[0];
        assert!(
            lines.iter().all(|line| line.len() == titles.len()),
            "{lines:?}"
        );
        let cells = |title: &str| {
            let at = titles.iter().position(|it| it == title).unwrap();
            let mut cells: Vec<_> = lines[1..].iter().map(|line| line[at].as_str()).collect();
            cells.dedup();
            cells.sort_unstable();
            cells
        };
        // What a spreadsheet would take for a formula is guarded, and nothing else is changed.
        let guarded = format!("'{}", names[3]);
        let mut expected = names.map(|name| {
            if name.starts_with('=') {
                &guarded
            } else {
                name
            }
        });
        expected.sort_unstable();
        assert_eq!(cells("host"), expected);
        // The policy does not say that it enforces.
        assert_eq!(cells("standing"), ["observed"]);
        assert_eq!(report["controls"][0]["hosts"]["observed"], names.len());
    });
}
