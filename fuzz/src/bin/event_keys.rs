//! Events as they come to the Team Server within frames: any bytes are an event with what it is found by, which is what its
//! JSON says, or a reason why they are none.
#![no_main]

use holdfast_wire::keys::Keys;
use serde_json::Value;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let keys = match Keys::of(bytes) {
        Ok(keys) => keys,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    // Nested deeper than this takes, it was not looked into.
    let Ok(event) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    let text = |path: &str| event.pointer(path).and_then(Value::as_str);
    assert_eq!(Some(keys.action.as_str()), text("/event/action"));
    assert_eq!(keys.alert, text("/event/kind") == Some("alert"));
    assert_eq!(
        keys.severity,
        event.pointer("/event/severity").and_then(Value::as_i64)
    );
    for (key, path) in [
        (&keys.rule, "/rule/id"),
        (&keys.ruleset, "/rule/ruleset"),
        (&keys.process, "/process/name"),
        (&keys.executable, "/process/executable"),
        (&keys.container, "/container/id"),
        (&keys.container_name, "/container/name"),
    ] {
        assert_eq!(key.as_deref(), text(path), "{path}");
    }
    assert!(keys.time >= 0);
    assert!(keys.parent.is_none() || keys.entity.is_some());
});
