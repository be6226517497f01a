//! Events as a table of [Parquet](https://parquet.apache.org/docs/file-format/): the columns that they are looked for by, and
//! each event whole.

use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;
use serde_json::Value;

use crate::clock::NANOSECONDS;
use crate::forward::Schema;
use crate::store::events::Found;

/// The columns. Times are of microseconds, since many readers know none of nanoseconds.
const COLUMNS: &str = "message event {
    required int64 id;
    required int64 time (TIMESTAMP(MICROS,true));
    required int64 received (TIMESTAMP(MICROS,true));
    required byte_array sensor_id (STRING);
    required byte_array host_name (STRING);
    optional byte_array action (STRING);
    optional int32 severity;
    optional byte_array rule_id (STRING);
    optional byte_array container_id (STRING);
    optional byte_array container_name (STRING);
    optional byte_array process_name (STRING);
    optional int64 process_pid;
    optional byte_array user_name (STRING);
    required byte_array event (JSON);
}";
/// Where an event has what is in the columns that are texts and may be missing, in their order around the severity and the pid.
const ACTION: &str = "/event/action";
const TEXTS: [&str; 4] = [
    "/rule/id",
    "/container/id",
    "/container/name",
    "/process/name",
];
const USER: &str = "/process/user/name";
/// Who made the file.
const MAKER: &str = concat!("holdfast-server version ", env!("CARGO_PKG_VERSION"));

/// The file of a batch, with each event by `schema`: the same for the same events.
///
/// # Errors
/// None that is known of; it is the library's to say.
pub(super) fn file(batch: &[Found], schema: Schema) -> Result<Vec<u8>> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by(MAKER.to_owned())
        // No two of them are alike.
        .set_column_dictionary_enabled(ColumnPath::from("id"), false)
        .set_column_dictionary_enabled(ColumnPath::from("event"), false)
        .build();
    let columns = Arc::new(parse_message_type(COLUMNS)?);
    let mut writer = SerializedFileWriter::new(Vec::new(), columns, Arc::new(properties))?;
    let mut rows = writer.next_row_group()?;
    // Whatever it is told by, it is looked for by what was stored.
    let events: Vec<_> = batch.iter().map(Found::event).collect();
    numbers(&mut rows, batch.iter().map(|found| found.id))?;
    let microseconds = |nanoseconds: i64| nanoseconds.div_euclid(1000);
    numbers(
        &mut rows,
        batch.iter().map(|found| microseconds(found.time)),
    )?;
    let received = |found: &Found| microseconds(found.received.saturating_mul(NANOSECONDS));
    numbers(&mut rows, batch.iter().map(received))?;
    texts(
        &mut rows,
        batch.iter().map(|found| found.sensor_id.as_bytes().into()),
    )?;
    texts(
        &mut rows,
        batch.iter().map(|found| found.host_name.as_bytes().into()),
    )?;
    texts_at(&mut rows, &events, ACTION)?;
    let severity = |event: &Value| i32::try_from(event.pointer("/event/severity")?.as_i64()?).ok();
    optional::<Int32Type>(&mut rows, events.iter().map(severity))?;
    for place in TEXTS {
        texts_at(&mut rows, &events, place)?;
    }
    let pid = |event: &Value| event.pointer("/process/pid")?.as_i64();
    optional::<Int64Type>(&mut rows, events.iter().map(pid))?;
    texts_at(&mut rows, &events, USER)?;
    let whole = |found| ByteArray::from(schema.text(found).into_owned().into_bytes());
    texts(&mut rows, batch.iter().map(whole))?;
    rows.close()?;
    writer.into_inner()
}

type Rows<'a> = SerializedRowGroupWriter<'a, Vec<u8>>;

fn numbers(rows: &mut Rows<'_>, values: impl Iterator<Item = i64>) -> Result<()> {
    column::<Int64Type>(rows, &values.collect::<Vec<_>>(), None)
}

fn texts(rows: &mut Rows<'_>, values: impl Iterator<Item = ByteArray>) -> Result<()> {
    column::<ByteArrayType>(rows, &values.collect::<Vec<_>>(), None)
}

fn texts_at(rows: &mut Rows<'_>, events: &[Value], place: &str) -> Result<()> {
    let text = |event: &Value| Some(event.pointer(place)?.as_str()?.as_bytes().into());
    optional::<ByteArrayType>(rows, events.iter().map(text))
}

/// A column in which some are missing.
fn optional<T: DataType>(
    rows: &mut Rows<'_>,
    values: impl Iterator<Item = Option<T::T>>,
) -> Result<()> {
    let all: Vec<_> = values.collect();
    let levels: Vec<_> = all.iter().map(|value| i16::from(value.is_some())).collect();
    let known: Vec<_> = all.into_iter().flatten().collect();
    column::<T>(rows, &known, Some(&levels))
}

fn column<T: DataType>(rows: &mut Rows<'_>, values: &[T::T], levels: Option<&[i16]>) -> Result<()> {
    let next = rows.next_column()?;
    let mut next = next.ok_or_else(|| ParquetError::General("a column too many".to_owned()))?;
    next.typed::<T>().write_batch(values, levels, None)?;
    next.close()
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::RowAccessor as _;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_has_each_event_with_its_columns_and_is_the_same_again() {
        let body = json!({"event": {"action": "file.open", "severity": 3}, "process": {"pid": 7, "name": "cat"}}).to_string();
        let found = |id: i64, body: &str| Found {
            id,
            time: 1_795_374_000_123_456_789,
            received: 1_795_374_000_200,
            sensor_id: "s".into(),
            host_name: "web".into(),
            body: body.into(),
        };
        let batch = [
            found(1, &body),
            found(2, r#"{"event": 7, "process": {"pid": "x"}}"#),
        ];
        let bytes = file(&batch, Schema::Ecs).unwrap();
        assert_eq!(bytes, file(&batch, Schema::Ecs).unwrap());
        let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
        let rows: Vec<_> = reader
            .get_row_iter(None)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].get_long(0).unwrap(), 1);
        assert_eq!(
            rows[0].get_timestamp_micros(1).unwrap(),
            1_795_374_000_123_456
        );
        assert_eq!(
            rows[0].get_timestamp_micros(2).unwrap(),
            1_795_374_000_200_000
        );
        assert_eq!(rows[0].get_string(4).unwrap(), "web");
        assert_eq!(rows[0].get_string(5).unwrap(), "file.open");
        assert_eq!(
            (rows[0].get_int(6).unwrap(), rows[0].get_long(11).unwrap()),
            (3, 7)
        );
        assert_eq!(rows[0].get_string(10).unwrap(), "cat");
        assert_eq!(rows[0].get_string(13).unwrap(), &body);
        assert!(rows[1].get_string(5).is_err() && rows[1].get_long(11).is_err());
    }
}
