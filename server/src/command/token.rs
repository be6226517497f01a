//! `holdfast-server token`

use anyhow::bail;
use serde_json::json;

use super::{changed, open, print, row, table, text};
use crate::auth::check_name;
use crate::cli::Token;
use crate::clock::{DAY, now};
use crate::secret::{self, Kind};
use crate::store::accounts;

pub(super) fn token(command: Token) -> anyhow::Result<()> {
    match command {
        Token::Create {
            name,
            role,
            days,
            show,
        } => {
            check_name(&name)?;
            let secret = secret::new(Kind::Api)?;
            let hash = secret::hash(&secret);
            let expires = days.map(|days| now() + days * DAY);
            let id = changed(&show.data, "token.create", |connection| {
                let id = accounts::add_token(connection, &name, &hash, role, expires, now())?;
                Ok((id, format!("{id}: {name}, {}", role.name())))
            })?;
            if show.json {
                print(&json!({"id": id, "token": secret}))
            } else {
                text(&format!("{secret}\n"))
            }
        }
        Token::List(show) => {
            let tokens = accounts::tokens(&open(&show.data)?)?;
            if show.json {
                return print(&json!({"tokens": tokens}));
            }
            let mut rows = vec![row(["ID", "NAME", "ROLE", "CREATED", "EXPIRES"])];
            for token in tokens {
                let expires = token.expires.unwrap_or_else(|| "never".to_owned());
                let role = token.role.name().to_owned();
                rows.push(vec![
                    token.id.to_string(),
                    token.name,
                    role,
                    token.created,
                    expires,
                ]);
            }
            table(&rows)
        }
        Token::Revoke { id, data } => changed(&data, "token.revoke", |connection| {
            if !accounts::revoke_token(connection, id)? {
                bail!(
                    "there is no token {id}; `holdfast-server token list` shows those that are there"
                );
            }
            Ok(((), id.to_string()))
        }),
    }
}
