//! What the sensor saw, from the spool to the server; and what of it was lost.

use std::io;

use bytes::Bytes;
use holdfast_wire::frame::{self, Compression, Entry, Frame, Priority};
use holdfast_wire::uplink::Acknowledgement;
use hyper::StatusCode;
use tokio::time::Instant;

use super::super::client::{Ask, ClientError};
use super::super::spool::name;
use super::{Session, Trouble};
use crate::clock;

/// What `status` calls it when the disk does not take events for the spool.
const SPOOL: &str = "uplink.spool";

impl Session {
    /// Has what was lost reported, and gives up what is too old.
    pub(super) async fn tell_losses(&self) -> io::Result<()> {
        let now = clock::wall() / 1_000_000_000;
        let (untold, trouble) = self
            .with_spool(move |spool| {
                spool.expire(now);
                spool.save()?;
                Ok((spool.untold(), spool.trouble().map(str::to_owned)))
            })
            .await?;
        match trouble {
            Some(reason) => self.shared.degraded.set(SPOOL, &reason),
            None => self.shared.degraded.clear(SPOOL),
        }
        if let Some(lost) = untold {
            let reason = format!("lost on the way to the server: {lost}");
            self.shared.degraded.tell("sensor.loss", reason);
        }
        Ok(())
    }

    /// Sends some of a priority.
    pub(super) async fn send(&mut self, priority: Priority) -> Result<(), Trouble> {
        let most = self.settings().batch_events.min(frame::MAX_ENTRIES);
        let most = self.narrowing[usize::from(priority.number())].most(most);
        let bytes = self.settings().batch_bytes;
        let batch = self.with_spool(move |spool| {
            let records = spool.batch(priority, most, bytes)?;
            let waiting = spool.totals().waiting[usize::from(priority.number())];
            Ok((spool.stream(), waiting, records))
        });
        let (stream, waiting, records) = batch.await?;
        // What a full batch leaves has waited as long as what is in it.
        if priority == Priority::Event && waiting <= records.len() as u64 {
            self.events_at = Instant::now();
        }
        let entries: Vec<_> = records
            .into_iter()
            .map(|(sequence, event)| Entry { sequence, event })
            .collect();
        let Some(last) = entries.last().map(|entry| entry.sequence) else {
            return Ok(());
        };
        let count = entries.len();
        let sensor_id = self.identity.as_ref().map(|it| it.sensor_id.clone());
        let frame = Frame {
            sensor_id: sensor_id.unwrap_or_default(),
            stream,
            priority,
            entries,
        };
        // Compressing takes long enough to be kept off the runtime's threads.
        let encoded = tokio::task::spawn_blocking(move || frame.encode(Compression::Zlib)).await;
        let body = match encoded.map_err(io::Error::other)? {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) => {
                return Ok(self
                    .refuse(priority, count, last, &error.to_string())
                    .await?);
            }
        };
        self.pace
            .sent(body.len() as u64, Instant::now() - self.began);
        let asked = self
            .ask::<Acknowledgement>(|token| Ask {
                kind: "application/octet-stream",
                body: body.clone(),
                ..Ask::json("/frames", Some(token), Vec::new())
            })
            .await;
        match asked {
            Ok(Acknowledgement { acknowledged }) => {
                self.with_spool(move |spool| spool.acknowledge(priority, acknowledged))
                    .await?;
                self.narrowing[usize::from(priority.number())].sent(acknowledged);
                if acknowledged < last {
                    let said = format!("it has up to {acknowledged}, of {last}");
                    return Err(ClientError::Answer(said).into());
                }
                Ok(())
            }
            Err(Trouble::Client(error)) if is_final(&error) => Ok(self
                .refuse(priority, count, last, &error.to_string())
                .await?),
            Err(trouble) => Err(trouble),
        }
    }

    /// What was sent will never be taken, as it is; a single event is given up.
    async fn refuse(
        &mut self,
        priority: Priority,
        count: usize,
        last: u64,
        why: &str,
    ) -> io::Result<()> {
        let priority_name = name(priority);
        if !self.narrowing[usize::from(priority.number())].refused(count, last) {
            tracing::warn!(
                priority = priority_name,
                "{count} events go by halves: {why}"
            );
            return Ok(());
        }
        tracing::error!(priority = priority_name, "an event is lost: {why}");
        self.with_spool(move |spool| spool.refuse(priority, last))
            .await
    }
}

/// Whether the server will never take what was sent. A proxy's refusal is none of the server's: it is tried again.
fn is_final(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::Refused {
            status: StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE,
            by_the_server: true,
            ..
        }
    )
}
