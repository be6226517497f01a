//! `holdfast-server key`

use anyhow::bail;
use serde_json::json;

use super::{changed, open, print, row, table, text};
use crate::auth::check_name;
use crate::cli::Key;
use crate::clock::{DAY, now};
use crate::secret::{self, Kind};
use crate::store::keys::{self, NewKey};

pub(super) fn key(command: Key) -> anyhow::Result<()> {
    match command {
        Key::Create {
            note,
            tags,
            uses,
            days,
            show,
        } => {
            for tag in &tags {
                check_name(tag)?;
            }
            let secret = secret::new(Kind::InstallationKey)?;
            let key = NewKey {
                note,
                tags,
                uses,
                expires: Some(now() + days * DAY),
            };
            let id = changed(&show.data, "key.create", |connection| {
                let id = keys::create(connection, &secret::hash(&secret), &key, now())?;
                Ok((id, format!("{id}: {}", key.note)))
            })?;
            // Alone on its line, for scripts.
            if show.json {
                print(&json!({"id": id, "key": secret}))
            } else {
                text(&format!("{secret}\n"))
            }
        }
        Key::List(show) => {
            let keys = keys::list(&open(&show.data)?, now())?;
            if show.json {
                return print(&json!({"keys": keys}));
            }
            let mut rows = vec![row([
                "ID", "USABLE", "USED", "LEFT", "EXPIRES", "TAGS", "NOTE",
            ])];
            for key in keys {
                let left = key
                    .uses_left
                    .map_or("any".to_owned(), |left| left.to_string());
                rows.push(vec![
                    key.id.to_string(),
                    if key.usable { "yes" } else { "no" }.to_owned(),
                    key.used.to_string(),
                    left,
                    key.expires.unwrap_or_else(|| "never".to_owned()),
                    key.tags.join(","),
                    key.note,
                ]);
            }
            table(&rows)
        }
        Key::Revoke { id, data } => changed(&data, "key.revoke", |connection| {
            if !keys::revoke(connection, id)? {
                bail!(
                    "there is no key {id}; `holdfast-server key list` shows those that are there"
                );
            }
            Ok(((), id.to_string()))
        }),
    }
}
