//! A connection to PostgreSQL: statements as they are written, translated and prepared once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;

use bytes::{BufMut as _, BytesMut};
use postgres::fallible_iterator::FallibleIterator as _;
use postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use postgres::{Client, Row, Statement};

use crate::store::connection::{DatabaseError, Result};
use crate::store::value::{Column, Param};

/// Prepared statements that a connection keeps; a search has some hundred forms.
const MAX_PREPARED: usize = 256;
/// Key of the lock under which all is written but what sensors send. In PostgreSQL locks of two numbers are others than
/// those of one, which stand for events' numbers.
const EXCLUSIVE: &str = "SELECT pg_advisory_xact_lock(1, 1)";

/// A statement for values of these types.
type Prepared = (Vec<Type>, Statement);

/// A connection, which one thread uses at a time.
pub(crate) struct Session {
    client: RefCell<Client>,
    prepared: RefCell<HashMap<String, Vec<Prepared>>>,
}

impl Session {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client: RefCell::new(client),
            prepared: RefCell::default(),
        }
    }

    /// Whether it is known that nothing more comes of it.
    pub(super) fn is_closed(&self) -> bool {
        self.client.borrow().is_closed()
    }

    pub(crate) fn execute(&self, statement: &str, params: &[Param<'_>]) -> Result<usize> {
        let prepared = self.prepare(statement, params)?;
        let changed = self
            .client
            .borrow_mut()
            .execute(&prepared, &borrowed(params))?;
        Ok(changed as usize)
    }

    pub(crate) fn query(&self, statement: &str, params: &[Param<'_>]) -> Result<Vec<Row>> {
        let prepared = self.prepare(statement, params)?;
        Ok(self
            .client
            .borrow_mut()
            .query(&prepared, &borrowed(params))?)
    }

    /// Shows `read` each row as it comes, until that is false.
    pub(crate) fn each(
        &self,
        statement: &str,
        params: &[Param<'_>],
        mut read: impl FnMut(&Row) -> Result<bool>,
    ) -> Result<()> {
        let prepared = self.prepare(statement, params)?;
        let mut client = self.client.borrow_mut();
        let mut rows = client.query_raw(&prepared, borrowed(params))?;
        while let Some(row) = rows.next()? {
            if !read(&row)? {
                break;
            }
        }
        Ok(())
    }

    pub(crate) fn batch(&self, statements: &str) -> Result<()> {
        Ok(self.client.borrow_mut().batch_execute(statements)?)
    }

    /// Begins a transaction during which no other of these is going on, whichever server's.
    pub(crate) fn begin_exclusively(&self) -> Result<()> {
        self.batch(&format!("BEGIN; {EXCLUSIVE}"))
    }

    /// Puts rows into `table (columns)`, whose types are `types`.
    pub(super) fn copy<'a, const N: usize>(
        &self,
        into: &str,
        types: &[Type; N],
        rows: impl IntoIterator<Item = [Param<'a>; N]>,
    ) -> Result<()> {
        let statement = self.prepare(&format!("COPY {into} FROM STDIN BINARY"), &[])?;
        let mut client = self.client.borrow_mut();
        let writer = client.copy_in(&statement)?;
        let mut writer = postgres::binary_copy::BinaryCopyInWriter::new(writer, types);
        for row in rows {
            writer.write(&borrowed(&row))?;
        }
        writer.finish()?;
        Ok(())
    }

    fn prepare(&self, statement: &str, params: &[Param<'_>]) -> Result<Statement> {
        let types = params.iter().map(kind);
        let mut prepared = self.prepared.borrow_mut();
        if let Some(known) = prepared.get(statement)
            && let Some((_, found)) = known
                .iter()
                .find(|(known, _)| known.iter().cloned().eq(types.clone()))
        {
            return Ok(found.clone());
        }
        if prepared.len() >= MAX_PREPARED {
            prepared.clear();
        }
        let types: Vec<_> = types.collect();
        let made = self
            .client
            .borrow_mut()
            .prepare_typed(&translated(statement), &types)?;
        let of_text = prepared.entry(statement.to_owned()).or_default();
        of_text.push((types, made.clone()));
        Ok(made)
    }
}

fn borrowed<'a>(params: &'a [Param<'_>]) -> Vec<&'a (dyn ToSql + Sync)> {
    params.iter().map(|param| param as _).collect()
}

/// Said for each value, since PostgreSQL would take a number beside `1` for one of four bytes. What is absent is of the type
/// of its place.
fn kind(param: &Param<'_>) -> Type {
    match param {
        Param::Null => Type::UNKNOWN,
        Param::Integer(_) => Type::INT8,
        Param::Text(_) => Type::TEXT,
        Param::Blob(_) => Type::BYTEA,
    }
}

/// A statement as PostgreSQL has it. No text that stands in a statement has a question mark.
fn translated(statement: &str) -> String {
    let mut out = String::with_capacity(statement.len() + 16);
    let mut rest = statement;
    let mut number = 0;
    while let Some(at) = rest.find('?') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            number += 1;
            out.push_str(&format!("${number}"));
        } else {
            out.push('$');
            out.push_str(&rest[..digits]);
            rest = &rest[digits..];
        }
    }
    out.push_str(rest);
    // With the columns' collation, "C", it is SQLite's LIKE: letters of ASCII alone have two cases.
    out.replace(" LIKE ", " ILIKE ")
}

impl ToSql for Param<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn Error + Sync + Send>> {
        match *self {
            Self::Null => return Ok(IsNull::Yes),
            Self::Integer(number) if *kind == Type::INT2 => out.put_i16(number.try_into()?),
            Self::Integer(number) => out.put_i64(number),
            // PostgreSQL has no text with this in it, and no host, process or file does.
            Self::Text(text) if text.contains('\0') => {
                out.put_slice(text.replace('\0', "\u{fffd}").as_bytes());
            }
            Self::Text(text) => out.put_slice(text.as_bytes()),
            Self::Blob(bytes) => out.put_slice(bytes),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Column<'a> {
    fn from_sql(
        kind: &Type,
        raw: &'a [u8],
    ) -> std::result::Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(match *kind {
            Type::INT8 => Self::Integer(i64::from_sql(kind, raw)?),
            Type::INT4 => Self::Integer(i32::from_sql(kind, raw)?.into()),
            Type::INT2 => Self::Integer(i16::from_sql(kind, raw)?.into()),
            Type::BOOL => Self::Integer(bool::from_sql(kind, raw)?.into()),
            Type::BYTEA => Self::Blob(raw),
            Type::TEXT => Self::Text(std::str::from_utf8(raw)?),
            _ => return Err(format!("{kind} is no type of the store").into()),
        })
    }

    fn from_sql_null(_: &Type) -> std::result::Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl DatabaseError {
    /// PostgreSQL's code for what is wrong, if it said one.
    pub(in crate::store) fn code(&self) -> Option<&str> {
        match self {
            Self::Postgres(error) => error.code().map(postgres::error::SqlState::code),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_has_the_other_marks() {
        assert_eq!(
            translated("a = ?2 AND b LIKE ? ESCAPE '\\' LIMIT ?"),
            "a = $2 AND b ILIKE $1 ESCAPE '\\' LIMIT $2"
        );
        assert_eq!(translated("x > ?12)"), "x > $12)");
    }
}
