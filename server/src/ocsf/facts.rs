//! What version 1.8.0 of the schema says of the attributes that are used here, and whether an event keeps to it.

use serde_json::Value;

/// Attributes of all classes. `!` is for those that have to be there, `[…]` for lists, `int(…)` for the values that there are.
const ALL: &str = "action:text action_id:int(0,1,2,3,4,99) activity_name:text actor:actor category_name:text category_uid:int! class_name:text class_uid:int! cloud:cloud device:device disposition:text disposition_id:int is_alert:bool message:text metadata:metadata! policy:policy severity:text severity_id:int(0,1,2,3,4,5,6,99)! status:text status_detail:text status_id:int(0,1,2,99) time:int! type_name:text type_uid:int! unmapped:any attacks:[attack]";

/// By the number of a class: its own attributes, and those of which there has to be one.
const CLASSES: [(i64, &str, &str); 10] = [
    (0, "activity_id:int(0,99)!", ""),
    (
        1001,
        "activity_id:int(0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,99)! actor:actor! device:device! file:file! file_result:file",
        "",
    ),
    (
        1002,
        "activity_id:int(0,1,2,99)! actor:actor! device:device! driver:kernel_driver!",
        "",
    ),
    (
        1003,
        "activity_id:int(0,1,2,3,4,99)! actor:actor! device:device! kernel:kernel!",
        "",
    ),
    (
        1004,
        "activity_id:int(0,1,2,3,4,5,6,7,8,9,99)! actor:actor! base_address:text device:device! process:process! size:int",
        "",
    ),
    (
        1007,
        "activity_id:int(0,1,2,3,4,5,99)! actor:actor! device:device! exit_code:int process:process!",
        "",
    ),
    (
        2004,
        "activity_id:int(0,1,2,3,99)! evidences:[evidences] finding_info:finding_info! status_id:int(0,1,2,3,4,5,6,99)",
        "",
    ),
    (
        4001,
        "activity_id:int(0,1,2,3,4,5,6,7,99)! connection_info:network_connection_info dst_endpoint:network_endpoint src_endpoint:network_endpoint",
        "dst_endpoint src_endpoint",
    ),
    (
        4003,
        "activity_id:int(0,1,2,6,99)! answers:[dns_answer] connection_info:network_connection_info dst_endpoint:network_endpoint query:dns_query rcode:text rcode_id:int src_endpoint:network_endpoint",
        "dst_endpoint src_endpoint",
    ),
    (
        6002,
        "activity_id:int(0,1,2,3,4,5,6,7,8,99)! app:product!",
        "",
    ),
];

/// The same of objects.
const OBJECTS: [(&str, &str, &str); 29] = [
    ("account", "uid:text", "uid"),
    ("actor", "process:process user:user", "process user"),
    (
        "analytic",
        "name:text type:text type_id:int(0,1,2,3,4,5,6,7,8,9,10,11,99)! uid:text",
        "name uid",
    ),
    (
        "attack",
        "sub_technique:sub_technique technique:technique",
        "technique sub_technique",
    ),
    (
        "cloud",
        "account:account provider:text! region:text zone:text",
        "",
    ),
    (
        "container",
        "image:image labels:[text] name:text orchestrator:text pod_uuid:text runtime:text uid:text",
        "uid name",
    ),
    (
        "device",
        "hostname:text instance_uid:text model:text name:text os:os type:text type_id:int! uid:text",
        "uid hostname instance_uid name",
    ),
    ("dns_answer", "rdata:text! ttl:int type:text", ""),
    (
        "dns_query",
        "class:text hostname:text! opcode:text opcode_id:int(0,1,2,3,4,5,6,99) packet_uid:int type:text",
        "",
    ),
    ("environment_variable", "name:text! value:text!", ""),
    (
        "evidences",
        "actor:actor connection_info:network_connection_info data:any dst_endpoint:network_endpoint file:file process:process query:dns_query src_endpoint:network_endpoint",
        "actor connection_info data dst_endpoint file process query src_endpoint",
    ),
    (
        "file",
        "name:text! owner:user path:text type_id:int(0,1,2,3,4,5,6,7,8,99)!",
        "",
    ),
    (
        "finding_info",
        "analytic:analytic attacks:[attack] created_time:int desc:text title:text types:[text] uid:text!",
        "",
    ),
    ("group", "uid:text", "uid"),
    ("image", "name:text tag:text uid:text!", ""),
    (
        "kernel",
        "name:text! path:text type:text type_id:int(0,1,2,99)!",
        "",
    ),
    ("kernel_driver", "file:file!", ""),
    ("logger", "name:text uid:text", "name uid"),
    (
        "metadata",
        "event_code:text logged_time:int loggers:[logger] original_time:text product:product! profiles:[text] sequence:int uid:text version:text!",
        "",
    ),
    (
        "network_connection_info",
        "direction:text direction_id:int(0,1,2,3,4,99)! protocol_name:text protocol_ver_id:int(0,4,6,99)",
        "",
    ),
    (
        "network_endpoint",
        "hostname:text ip:text name:text port:int",
        "ip name hostname",
    ),
    (
        "os",
        "kernel_release:text name:text! type:text type_id:int(0,99,100,101,200,201,300,301,302,400,401,402)! version:text",
        "",
    ),
    ("policy", "name:text", "name"),
    (
        "process",
        "ancestry:[process_entity] auid:int cmd_line:text container:container created_time:int environment_variables:[environment_variable] euid:int file:file group:group name:text parent_process:process pid:int session:session tid:int uid:text user:user working_directory:text",
        "pid uid",
    ),
    (
        "process_entity",
        "cmd_line:text created_time:int name:text path:text pid:int uid:text",
        "cmd_line name path pid uid",
    ),
    ("product", "name:text uid:text vendor_name:text", "name uid"),
    ("session", "terminal:text", ""),
    ("technique", "uid:text", "uid"),
    ("user", "name:text uid:text", "name uid"),
];

/// Holds an event to what is above.
pub(super) fn check(event: &Value) {
    let uid = event["class_uid"].as_i64().unwrap();
    let class = CLASSES.iter().find(|(known, ..)| *known == uid);
    let (_, own, one_of) = class.unwrap_or_else(|| panic!("class {uid}"));
    check_object("event", event, &format!("{own} {ALL}"), one_of);
    assert_eq!(event["category_uid"], uid / 1000);
    assert_eq!(
        event["type_uid"],
        uid * 100 + event["activity_id"].as_i64().unwrap()
    );
    assert_eq!(event["metadata"]["version"], "1.8.0");
}

fn check_object(place: &str, object: &Value, attributes: &str, one_of: &str) {
    let object = object
        .as_object()
        .unwrap_or_else(|| panic!("{place}: {object}"));
    let known = |name: &str| {
        // A class's own comes before that of all.
        let mut pairs = attributes
            .split_whitespace()
            .map(|pair| pair.split_once(':').unwrap());
        pairs
            .find(|(known, _)| *known == name)
            .map(|(_, kind)| kind)
    };
    for (name, value) in object {
        let place = format!("{place}.{name}");
        let kind = known(name).unwrap_or_else(|| panic!("{place} is no attribute"));
        check_value(&place, value, kind.trim_end_matches('!'));
    }
    for pair in attributes.split_whitespace() {
        let (name, kind) = pair.split_once(':').unwrap();
        assert!(
            !kind.ends_with('!') || object.contains_key(name),
            "{place} lacks {name}"
        );
    }
    let mut names = one_of.split_whitespace();
    assert!(
        one_of.is_empty() || names.any(|name| object.contains_key(name)),
        "{place} has none of {one_of}"
    );
}

fn check_value(place: &str, value: &Value, kind: &str) {
    if let Some(kind) = kind
        .strip_prefix('[')
        .and_then(|kind| kind.strip_suffix(']'))
    {
        let list = value
            .as_array()
            .unwrap_or_else(|| panic!("{place}: {value}"));
        list.iter()
            .for_each(|value| check_value(place, value, kind));
        return;
    }
    let fits = match kind {
        "any" => true,
        "bool" => value.is_boolean(),
        "text" => value.is_string(),
        "int" => value.is_i64() || value.is_u64(),
        _ if kind.starts_with("int(") => {
            let values = kind.trim_start_matches("int(").trim_end_matches(')');
            values
                .split(',')
                .any(|known| value.as_i64() == known.parse().ok())
        }
        _ => {
            let kind = if kind == "sub_technique" {
                "technique"
            } else {
                kind
            };
            let object = OBJECTS.iter().find(|(name, ..)| *name == kind);
            let (_, attributes, one_of) = object.unwrap_or_else(|| panic!("{place}: {kind}"));
            check_object(place, value, attributes, one_of);
            true
        }
    };
    assert!(fits, "{place}: {value} is no {kind}");
}
