//! Values as they cross the border of a database: integers, texts, bytes, or nothing. Booleans are 0 and 1.

use super::connection::{DatabaseError, Result};

/// A value for a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Param<'a> {
    Null,
    Integer(i64),
    Text(&'a str),
    Blob(&'a [u8]),
}

/// What may be a value for a statement.
pub(crate) trait AsParam {
    /// As the statement gets it.
    fn param(&self) -> Param<'_>;
}

/// The values for a statement's `?1`, `?2`, …
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$($crate::store::value::AsParam::param(&$value)),*] as &[$crate::store::value::Param<'_>]
    };
}
pub(crate) use params;

impl AsParam for i64 {
    fn param(&self) -> Param<'_> {
        Param::Integer(*self)
    }
}

impl AsParam for u8 {
    fn param(&self) -> Param<'_> {
        Param::Integer(i64::from(*self))
    }
}

impl AsParam for bool {
    fn param(&self) -> Param<'_> {
        Param::Integer(i64::from(*self))
    }
}

impl AsParam for str {
    fn param(&self) -> Param<'_> {
        Param::Text(self)
    }
}

impl AsParam for String {
    fn param(&self) -> Param<'_> {
        Param::Text(self)
    }
}

impl AsParam for [u8] {
    fn param(&self) -> Param<'_> {
        Param::Blob(self)
    }
}

impl<const N: usize> AsParam for [u8; N] {
    fn param(&self) -> Param<'_> {
        Param::Blob(self)
    }
}

impl AsParam for Vec<u8> {
    fn param(&self) -> Param<'_> {
        Param::Blob(self)
    }
}

impl<T: AsParam> AsParam for Option<T> {
    fn param(&self) -> Param<'_> {
        self.as_ref().map_or(Param::Null, AsParam::param)
    }
}

impl<T: AsParam + ?Sized> AsParam for &T {
    fn param(&self) -> Param<'_> {
        (**self).param()
    }
}

/// A value that a database gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column<'a> {
    Null,
    Integer(i64),
    Text(&'a str),
    Blob(&'a [u8]),
}

/// A value of a database, whatever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Any {
    Null,
    Integer(i64),
    Text(String),
    Blob(Vec<u8>),
}

impl AsParam for Any {
    fn param(&self) -> Param<'_> {
        match self {
            Self::Null => Param::Null,
            Self::Integer(number) => Param::Integer(*number),
            Self::Text(text) => Param::Text(text),
            Self::Blob(bytes) => Param::Blob(bytes),
        }
    }
}

impl FromColumn for Any {
    fn of(column: Column<'_>) -> Option<Self> {
        Some(match column {
            Column::Null => Self::Null,
            Column::Integer(number) => Self::Integer(number),
            Column::Text(text) => Self::Text(text.to_owned()),
            Column::Blob(bytes) => Self::Blob(bytes.to_owned()),
        })
    }
}

/// What a value of a database may become.
pub(crate) trait FromColumn: Sized {
    /// `None`: it is of another type.
    fn of(column: Column<'_>) -> Option<Self>;
}

impl FromColumn for i64 {
    fn of(column: Column<'_>) -> Option<Self> {
        match column {
            Column::Integer(number) => Some(number),
            _ => None,
        }
    }
}

impl FromColumn for bool {
    fn of(column: Column<'_>) -> Option<Self> {
        i64::of(column).map(|number| number != 0)
    }
}

impl FromColumn for String {
    fn of(column: Column<'_>) -> Option<Self> {
        match column {
            Column::Text(text) => Some(text.to_owned()),
            _ => None,
        }
    }
}

impl FromColumn for Vec<u8> {
    fn of(column: Column<'_>) -> Option<Self> {
        match column {
            Column::Blob(bytes) => Some(bytes.to_owned()),
            _ => None,
        }
    }
}

impl<const N: usize> FromColumn for [u8; N] {
    fn of(column: Column<'_>) -> Option<Self> {
        match column {
            Column::Blob(bytes) => bytes.try_into().ok(),
            _ => None,
        }
    }
}

impl<T: FromColumn> FromColumn for Option<T> {
    fn of(column: Column<'_>) -> Option<Self> {
        match column {
            Column::Null => Some(None),
            column => T::of(column).map(Some),
        }
    }
}

/// A row that a statement gave.
pub(crate) enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a postgres::Row),
}

impl Row<'_> {
    /// Its value number `index`, from 0.
    ///
    /// # Errors
    /// [`DatabaseError::Value`] where it is of another type.
    pub(crate) fn get<T: FromColumn>(&self, index: usize) -> Result<T> {
        let column = match self {
            Self::Sqlite(row) => super::sqlite::column(row.get_ref(index)?)?,
            Self::Postgres(row) => row.try_get(index)?,
        };
        T::of(column)
            .ok_or_else(|| DatabaseError::Value(format!("column {index} is of another type")))
    }
}
