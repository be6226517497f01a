//! What browsers are held to.

use holdfast_wire::event::unix_nanoseconds;
use serde_json::{Value, json};

use super::harness::{Answer, PASSWORD, Server, both, printed};

fn started(place: &tempfile::TempDir) -> (std::path::PathBuf, Server) {
    let data = place.path().join("data");
    let server = Server::start(&data);
    (data, server)
}

#[test]
fn every_answer_has_the_headers() {
    let place = tempfile::tempdir().unwrap();
    let (_, server) = started(&place);
    for path in [
        "/",
        "/assets/main.js",
        "/api/v1/me",
        "/nothing",
        "/uplink/v1/bundle/1",
        "/healthz",
    ] {
        let answer = server.request("GET", path, &[], b"");
        for (name, value) in [
            (
                "content-security-policy",
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                 connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            ),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}: {name}");
        }
    }
}

#[test]
fn every_refusal_says_why_in_the_same_form() {
    both(|data| {
        let server = Server::start(data);
        let token = printed(data, &["token", "create", "t", "--role", "admin"]);
        let long = vec![b' '; 300 << 10];
        let bearer = format!("Bearer {token}");
        let json = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
        ];
        let refused = [
            (404, server.request("GET", "/nothing", &[], b"")),
            (405, server.request("DELETE", "/api/v1/me", &json, b"")),
            (400, server.get("/api/v1/alerts/x", &token)),
            (400, server.get("/api/v1/alerts?sevrity=3", &token)),
            (400, server.request("POST", "/api/v1/keys", &json, b"{")),
            (
                400,
                server.request("POST", "/api/v1/keys", &json, br#"{"day": 1}"#),
            ),
            (413, server.request("POST", "/api/v1/keys", &json, &long)),
            (413, server.request("POST", "/uplink/v1/enrol", &[], &long)),
            (400, server.request("POST", "/uplink/v1/enrol", &[], b"{}")),
        ];
        for (status, answer) in refused {
            assert_eq!(answer.status, status, "{answer:?}");
            assert!(answer.json()["error"].is_string(), "{answer:?}");
        }
    });
}

#[test]
fn a_key_ends_after_a_week_unless_it_is_said_that_it_does_not() {
    both(|data| {
        let server = Server::start(data);
        let token = printed(data, &["token", "create", "t", "--role", "admin"]);
        for body in [json!({}), json!({"days": null}), json!({"days": 2})] {
            let made = server.send("POST", "/api/v1/keys", &token, &body);
            assert_eq!(made.status, 200, "{made:?}");
        }
        let listed = server.get("/api/v1/keys", &token).json();
        let mut keys: Vec<&Value> = listed["keys"].as_array().unwrap().iter().collect();
        keys.sort_by_key(|key| key["id"].as_i64());
        let days = |key: &Value| -> Option<u64> {
            const HOUR: u64 = 3_600_000_000_000;
            let at = |name: &str| unix_nanoseconds(key[name].as_str()?);
            // It is noted a moment later when it was made.
            Some((at("expires")? + HOUR - at("created")?) / (24 * HOUR))
        };
        let days: Vec<_> = keys.into_iter().map(days).collect();
        assert_eq!(days, [Some(7), None, Some(2)]);
    });
}

/// A policy without `unsafe-inline` would leave such parts out.
#[test]
fn the_page_has_nothing_inline_and_nothing_from_elsewhere() {
    let place = tempfile::tempdir().unwrap();
    let (_, server) = started(&place);
    let page = String::from_utf8(server.request("GET", "/", &[], b"").body).unwrap();
    for inline in [
        "<style",
        "style=",
        "onclick",
        "javascript:",
        "http://",
        "https://",
        "//cdn",
    ] {
        assert!(!page.contains(inline), "{inline}");
    }
    let mut assets: Vec<String> = page
        .split(['"'])
        .filter(|part| part.starts_with("/assets/"))
        .map(str::to_owned)
        .collect();
    let mut next = 0;
    while let Some(asset) = assets.get(next).cloned() {
        next += 1;
        let answer = server.request("GET", &asset, &[], b"");
        assert_eq!(answer.status, 200, "{asset}");
        let text = String::from_utf8(answer.body).unwrap();
        for forbidden in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            ".style.",
        ] {
            assert!(!text.contains(forbidden), "{asset}: {forbidden}");
        }
        for import in text.split("from './").skip(1) {
            let import = format!("/assets/{}", import.split('\'').next().unwrap());
            if !assets.contains(&import) {
                assets.push(import);
            }
        }
    }
    assert_eq!(assets.len(), 13, "{assets:?}");
}

#[test]
fn guessing_a_password_is_limited() {
    let place = tempfile::tempdir().unwrap();
    let (data, server) = started(&place);
    printed(&data, &["user", "add", "ada"]);
    for _ in 0..10 {
        let answer = server.login("ada", "a wrong password");
        assert_eq!(
            (answer.status, answer.json()["error"].as_str()),
            (401, Some("the name or the password is wrong"))
        );
    }
    let answer = server.login("ada", "a wrong password");
    assert_eq!(answer.status, 429);
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=61).contains(&wait), "{wait}");
    // Others can log in, until this address has tried too much.
    assert_eq!(server.login("admin", PASSWORD).status, 200);
    let tries = (0..40).map(|number| server.login(&format!("nobody-{number}"), "x").status);
    assert!(tries.into_iter().any(|status| status == 429));
    assert_eq!(server.login("admin", PASSWORD).status, 429);
}

/// An attempt to log in that comes by a proxy.
fn login_from(server: &Server, address: &str, password: &str) -> Answer {
    let body = json!({"name": "admin", "password": password}).to_string();
    // What stands before the proxy's own word is the client's.
    let forwarded = format!("198.51.100.7, {address}");
    let headers = [
        ("Content-Type", "application/json"),
        ("X-Forwarded-For", forwarded.as_str()),
    ];
    server.request("POST", "/api/v1/login", &headers, body.as_bytes())
}

#[test]
fn behind_a_proxy_who_guesses_a_password_does_not_keep_its_user_out() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let server = Server::start_with(&data, &["--behind-tls-proxy"]);
    for _ in 0..10 {
        let answer = login_from(&server, "192.0.2.1", "a wrong password");
        assert_eq!(answer.status, 401);
    }
    assert_eq!(login_from(&server, "192.0.2.1", PASSWORD).status, 429);
    let answer = login_from(&server, "192.0.2.2", PASSWORD);
    assert_eq!(answer.status, 200);
    assert!(answer.header("strict-transport-security").is_some());
    assert!(cookie(&answer).starts_with("holdfast_session="));
    let set = answer.header("set-cookie").unwrap();
    assert!(set.ends_with("; Secure"), "{set}");

    let token = printed(&data, &["token", "create", "t", "--role", "admin"]);
    let audit = server.get("/api/v1/audit", &token).json();
    let count = |action: &str, address: &str| {
        let lines = audit["lines"].as_array().unwrap().iter();
        let met = lines.filter(|line| line["action"] == action && line["address"] == address);
        met.filter(|line| line["actor"] == "admin").count()
    };
    assert_eq!(count("login.failed", "192.0.2.1"), 10);
    assert_eq!(count("login", "192.0.2.2"), 1);
    assert!(server.hang_up());

    // Without a proxy anybody may say anything.
    let server = Server::start(&data);
    for _ in 0..10 {
        login_from(&server, "192.0.2.1", "a wrong password");
    }
    let answer = login_from(&server, "192.0.2.2", PASSWORD);
    assert_eq!(answer.status, 429);
    assert!(answer.header("strict-transport-security").is_none());
}

fn cookie(answer: &Answer) -> String {
    let set = answer.header("set-cookie").unwrap();
    assert!(set.contains("; HttpOnly; SameSite=Strict"), "{set}");
    set.split(';').next().unwrap().to_owned()
}

#[test]
fn a_session_is_of_this_site_and_ends() {
    both(|data| {
        let server = Server::start(data);
        let cookie = cookie(&server.login("admin", PASSWORD));
        let own = format!("http://{}", server.address);
        let make = |origin: Option<&str>| {
            let mut headers = vec![
                ("Cookie", cookie.as_str()),
                ("Content-Type", "application/json"),
            ];
            headers.extend(origin.map(|origin| ("Origin", origin)));
            server
                .request("POST", "/api/v1/keys", &headers, b"{}")
                .status
        };
        assert_eq!(make(Some(&own)), 200);
        assert_eq!(make(None), 403);
        assert_eq!(make(Some("http://evil.example")), 403);
        assert_eq!(make(Some("null")), 403);
        let form = [
            ("Cookie", cookie.as_str()),
            ("Origin", &own),
            ("Content-Type", "text/plain"),
        ];
        assert_eq!(
            server.request("POST", "/api/v1/keys", &form, b"{}").status,
            415
        );
        let me = || server.request("GET", "/api/v1/me", &[("Cookie", &cookie)], b"");
        assert_eq!(me().json(), json!({"name": "admin", "role": "admin"}));
        let out = [("Cookie", cookie.as_str()), ("Origin", own.as_str())];
        assert_eq!(
            server.request("POST", "/api/v1/logout", &out, b"").status,
            200
        );
        assert_eq!(me().status, 401);
    });
}

#[test]
fn a_role_may_do_what_it_may_and_no_more() {
    both(|data| {
        let server = Server::start(data);
        let tokens = ["read-only", "analyst", "admin"]
            .map(|role| printed(data, &["token", "create", role, "--role", role]));
        let policy = json!({"apiVersion": "holdfast/v1", "kind": "Policy", "name": "p",
        "rules": [{"id": "r", "on": ["file.open"], "when": "true", "action": "alert"}]});
        let drafts =
            json!({"name": "b", "policies": [{"file": "a.json", "text": policy.to_string()}]});
        let user = json!({"name": "ada", "password": "a good password", "role": "admin"});
        // What each of them gets, the weakest first.
        let routes: [(&str, &str, Value, [u16; 3]); 13] = [
            ("GET", "/api/v1/overview", json!({}), [200; 3]),
            ("GET", "/api/v1/sensors", json!({}), [200; 3]),
            ("GET", "/api/v1/alerts", json!({}), [200; 3]),
            ("GET", "/api/v1/events?text=%25", json!({}), [200; 3]),
            ("GET", "/api/v1/bundles", json!({}), [200; 3]),
            (
                "POST",
                "/api/v1/policies/check",
                drafts.clone(),
                [403, 200, 200],
            ),
            ("POST", "/api/v1/bundles", drafts, [403, 200, 200]),
            (
                "PUT",
                "/api/v1/assignments",
                json!({"target": "all", "version": 1}),
                [403, 403, 200],
            ),
            ("GET", "/api/v1/keys", json!({}), [403, 403, 200]),
            ("POST", "/api/v1/keys", json!({}), [403, 403, 200]),
            ("GET", "/api/v1/users", json!({}), [403, 403, 200]),
            ("POST", "/api/v1/users", user, [403, 403, 200]),
            ("GET", "/api/v1/audit", json!({}), [403, 403, 200]),
        ];
        for (method, path, body, expected) in routes {
            let got = tokens
                .each_ref()
                .map(|token| server.send(method, path, token, &body).status);
            assert_eq!(got, expected, "{method} {path}");
            assert_eq!(
                server.request(method, path, &[], b"").status,
                401,
                "{method} {path}"
            );
        }
        let audit = server.get("/api/v1/audit", &tokens[2]).json();
        let lines: Vec<_> = audit["lines"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| {
                (
                    line["actor"].as_str().unwrap(),
                    line["action"].as_str().unwrap(),
                )
            })
            .collect();
        for line in [
            ("token:admin", "bundle.assign"),
            ("token:analyst", "bundle.create"),
            ("token:admin", "key.create"),
            ("command line", "token.create"),
        ] {
            assert!(lines.contains(&line), "{line:?} in {lines:?}");
        }
        // A token that was taken away is none.
        let id = audit["lines"].as_array().unwrap().len();
        assert!(id > 0);
        printed(data, &["token", "revoke", "3"]);
        assert_eq!(server.get("/api/v1/me", &tokens[2]).status, 401);
        assert_eq!(server.get("/api/v1/me", &tokens[1]).status, 200);
    });
}
