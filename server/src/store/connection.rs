//! A connection to either database, with what statements need: so there is one text of each statement.
//!
//! The texts are what SQLite and PostgreSQL have in common, and what [`super::postgres::session`] translates: `?1` and `?`
//! for values, and `LIKE`, which regards ASCII letters of either case as the same.

use super::postgres::session::Session;
use super::value::{Param, Row};

/// What a database said against a statement.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatabaseError {
    /// SQLite's own words.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL's, or what is wrong with the connection to it.
    #[error("{}", super::postgres::said(.0))]
    Postgres(#[from] postgres::Error),
    /// A value is not what it should be.
    #[error("{0}")]
    Value(String),
    /// A row that must be there is not.
    #[error("there is no such row")]
    NoRow,
}

/// What came of a statement.
pub(crate) type Result<T> = std::result::Result<T, DatabaseError>;

/// A connection, which one thread uses at a time.
pub(crate) enum Connection {
    Sqlite(rusqlite::Connection),
    Postgres(Box<Session>),
}

impl Connection {
    /// Does a statement; how many rows it changed.
    pub(crate) fn execute(&self, statement: &str, params: &[Param<'_>]) -> Result<usize> {
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(statement)?;
                Ok(statement.execute(rusqlite::params_from_iter(params))?)
            }
            Self::Postgres(session) => session.execute(statement, params),
        }
    }

    /// What `read` makes of each row.
    pub(crate) fn query<T>(
        &self,
        statement: &str,
        params: &[Param<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(statement)?;
                let mut rows = statement.query(rusqlite::params_from_iter(params))?;
                let mut all = Vec::new();
                while let Some(row) = rows.next()? {
                    all.push(read(&Row::Sqlite(row))?);
                }
                Ok(all)
            }
            Self::Postgres(session) => {
                let rows = session.query(statement, params)?;
                rows.iter().map(|row| read(&Row::Postgres(row))).collect()
            }
        }
    }

    /// What `read` makes of each row, until it makes nothing of one: rows behind that are not kept in memory.
    pub(crate) fn query_while<T>(
        &self,
        statement: &str,
        params: &[Param<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<Option<T>>,
    ) -> Result<Vec<T>> {
        let mut all = Vec::new();
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(statement)?;
                let mut rows = statement.query(rusqlite::params_from_iter(params))?;
                while let Some(row) = rows.next()?
                    && let Some(value) = read(&Row::Sqlite(row))?
                {
                    all.push(value);
                }
            }
            Self::Postgres(session) => session.each(statement, params, |row| {
                let value = read(&Row::Postgres(row))?;
                let goes_on = value.is_some();
                all.extend(value);
                Ok(goes_on)
            })?,
        }
        Ok(all)
    }

    /// What `read` makes of the first row, if there is one.
    pub(crate) fn query_optional<T>(
        &self,
        statement: &str,
        params: &[Param<'_>],
        read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        Ok(self.query(statement, params, read)?.into_iter().next())
    }

    /// What `read` makes of the row that there must be.
    ///
    /// # Errors
    /// [`DatabaseError::NoRow`]
    pub(crate) fn query_one<T>(
        &self,
        statement: &str,
        params: &[Param<'_>],
        read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<T> {
        self.query_optional(statement, params, read)?
            .ok_or(DatabaseError::NoRow)
    }

    /// Does statements without values, which may be several.
    pub(crate) fn batch(&self, statements: &str) -> Result<()> {
        match self {
            Self::Sqlite(connection) => Ok(connection.execute_batch(statements)?),
            Self::Postgres(session) => session.batch(statements),
        }
    }

    /// Does `work` in a transaction during which nobody else writes, but for what sensors send.
    ///
    /// # Errors
    /// What `work` failed with, in which case nothing of it is stored; what the database says.
    pub(crate) fn exclusively<T, E: From<DatabaseError>>(
        &self,
        work: impl FnOnce(&Self) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        match self {
            Self::Sqlite(_) => self.batch("BEGIN IMMEDIATE")?,
            Self::Postgres(session) => session.begin_exclusively()?,
        }
        let done = work(self);
        match done {
            Ok(value) => {
                self.batch("COMMIT")?;
                Ok(value)
            }
            Err(error) => {
                // What went wrong first is what is to be told.
                let _ = self.batch("ROLLBACK");
                Err(error)
            }
        }
    }
}
