use ring::signature::{ED25519, UnparsedPublicKey};

use super::*;
use crate::store::test::{both, empty};
use crate::store::value::params;

const POLICY: &str = r#"{"apiVersion":"holdfast/v1","kind":"Policy","name":"shadow",
 "rules":[{"id":"r","on":["file.open"],"when":"file.path == '/etc/shadow'","action":"deny"}]}"#;

fn draft(file: &str, text: &str) -> Draft {
    Draft {
        file: file.into(),
        text: text.into(),
    }
}

fn signer() -> Signer {
    Signer::new(&[7; 32]).unwrap()
}

fn with_bundles(count: usize) -> Connection {
    let connection = empty();
    for number in 0..count {
        let name = format!("b{number}");
        create(
            &connection,
            &signer(),
            &name,
            &[draft("a.json", POLICY)],
            "ada",
            0,
        )
        .unwrap();
    }
    connection
}

fn payload(connection: &Connection, version: i64) -> Bundle {
    let stored = bundles::one(connection, version).unwrap().unwrap();
    UnparsedPublicKey::new(&ED25519, signer().public_key())
        .verify(&stored.payload, &stored.signature)
        .unwrap();
    serde_json::from_slice(&stored.payload).unwrap()
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let wrong = POLICY.replace("file.path", "file.pth");
    let Err(Wrong::Policies(problems)) = check(&[draft("a.json", &wrong)]) else {
        panic!("the policy is wrong");
    };
    assert_eq!((problems[0].file.as_str(), problems[0].line), ("a.json", 2));
    assert_eq!(problems[0].nearest.as_deref(), Some("file.path"));
    let twice = [draft("a.json", POLICY), draft("b.json", POLICY)];
    assert!(matches!(check(&twice), Err(Wrong::Policies(_))));
}

#[test]
fn files_have_plain_names() {
    for name in [
        "../a.json",
        "a.txt",
        ".json",
        ".a.json",
        "a b.json",
        "/a.json",
    ] {
        assert!(
            matches!(check(&[draft(name, POLICY)]), Err(Wrong::Shape(_))),
            "{name}"
        );
    }
    assert!(matches!(check(&[]), Err(Wrong::Shape(_))));
    assert!(check(&[draft("a.json", POLICY)]).is_ok());
}

#[test]
fn a_bundle_is_signed_with_its_version_and_its_documents_as_written() {
    both(|| {
        let connection = with_bundles(2);
        let bundle = payload(&connection, 2);
        assert_eq!(
            (bundle.version, bundle.rollback, bundle.name.as_str()),
            (2, false, "b1")
        );
        assert_eq!(bundle.policies[0].document.get(), POLICY);
    });
}

#[test]
fn going_back_is_a_new_version_of_old_content() {
    both(|| {
        let connection = with_bundles(2);
        let assign = |tag, version| assign(&connection, &signer(), tag, version, "ada", 0).unwrap();
        assert_eq!(assign("", 2), Some(2));
        assert_eq!(assign("", 1), Some(3));
        let bundle = payload(&connection, 3);
        assert_eq!(
            (bundle.version, bundle.rollback, bundle.name.as_str()),
            (3, true, "b0")
        );
        assert_eq!(assign("", 9), None);
        assert_eq!(bundles::list(&connection, 9).unwrap()[0].origin, Some(1));
    });
}

#[test]
fn no_sensor_is_to_go_back_when_a_tag_is_no_longer_assigned() {
    both(|| {
        let connection = with_bundles(2);
        let assign = |tag, version| assign(&connection, &signer(), tag, version, "ada", 0).unwrap();
        assign("", 1);
        assign("web", 2);
        assert!(unassign(&connection, &signer(), "web", "ada", 0).unwrap());
        assert!(!unassign(&connection, &signer(), "web", "ada", 0).unwrap());
        assert_eq!(
            bundles::assignments(&connection).unwrap(),
            [(String::new(), 3)]
        );
        assert!(payload(&connection, 3).rollback);
    });
}

#[test]
fn nor_when_its_tags_change() {
    both(|| {
        let connection = with_bundles(2);
        let assign = |tag, version| assign(&connection, &signer(), tag, version, "ada", 0).unwrap();
        assign("web", 1);
        assign("", 2);
        let enrolled = "INSERT INTO sensor VALUES (1, 's', 'h', 'n', '', '', '', ?1, 0, NULL, 0, 0, NULL, NULL, NULL, 0, NULL)";
        connection.execute(enrolled, params![[0_u8]]).unwrap();
        let before = bundles::of_sensor(&connection, 1).unwrap();
        assert_eq!(before, Some(2));
        crate::store::sensors::tag(&connection, "s", &["web".into()]).unwrap();
        settle(&connection, &signer(), 1, before, "ada", 0).unwrap();
        assert_eq!(bundles::of_sensor(&connection, 1).unwrap(), Some(3));
        assert_eq!(payload(&connection, 3).name, "b0");
    });
}
