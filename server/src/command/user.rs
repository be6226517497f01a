//! `holdfast-server user`

use anyhow::bail;
use serde_json::json;

use super::{changed, open, password_of, print, row, table, text};
use crate::auth::{check_name, hash_password};
use crate::cli::{Password, User};
use crate::clock::now;
use crate::secret::{self, Kind};
use crate::store::accounts::{self, Changed};

pub(super) fn user(command: User) -> anyhow::Result<()> {
    match command {
        User::Add {
            name,
            role,
            password,
            data,
        } => {
            check_name(&name)?;
            let (password, random) = chosen(&password)?;
            let hash = hash_password(&password)?;
            changed(&data, "user.add", |connection| {
                if !accounts::add_user(connection, &name, &hash, role, now())? {
                    bail!("there is a user {name}");
                }
                Ok(((), format!("{name}, {}", role.name())))
            })?;
            tell(&password, random)
        }
        User::List(show) => {
            let users = accounts::users(&open(&show.data)?)?;
            if show.json {
                return print(&json!({"users": users}));
            }
            let mut rows = vec![row(["NAME", "ROLE", "CREATED"])];
            for user in users {
                rows.push(vec![user.name, user.role.name().to_owned(), user.created]);
            }
            table(&rows)
        }
        User::Password {
            name,
            password,
            data,
        } => {
            let (password, random) = chosen(&password)?;
            let hash = hash_password(&password)?;
            changed(&data, "user.password", |connection| {
                if !accounts::set_password(connection, &name, &hash)? {
                    bail!("there is no user {name}");
                }
                Ok(((), name))
            })?;
            tell(&password, random)
        }
        User::Role { name, role, data } => changed(&data, "user.role", |connection| {
            was_changed(accounts::set_role(connection, &name, role)?, &name)?;
            Ok(((), format!("{name}, {}", role.name())))
        }),
        User::Remove { name, data } => changed(&data, "user.remove", |connection| {
            was_changed(accounts::remove_user(connection, &name)?, &name)?;
            Ok(((), name))
        }),
    }
}

/// Fails where the user `name` was not changed.
fn was_changed(changed: Changed, name: &str) -> anyhow::Result<()> {
    match changed {
        Changed::Yes => Ok(()),
        Changed::Unknown => bail!("there is no user {name}"),
        Changed::LastAdmin => {
            bail!("{name} is the last admin, without whom nobody could add users")
        }
    }
}

/// A password, and whether it is a random one, which is told.
fn chosen(password: &Password) -> anyhow::Result<(String, bool)> {
    match &password.password_file {
        Some(file) => Ok((password_of(file)?, false)),
        None => Ok((random_password()?, true)),
    }
}

/// A password that nobody has to think of.
pub(super) fn random_password() -> anyhow::Result<String> {
    let secret = secret::new(Kind::Session)?;
    // 20 characters of base64 are 120 bits; what stands before them is for machines.
    Ok(secret.chars().skip(4).take(20).collect())
}

fn tell(password: &str, random: bool) -> anyhow::Result<()> {
    if random {
        text(&format!("{password}\n"))
    } else {
        Ok(())
    }
}
