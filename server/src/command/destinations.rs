//! What `holdfast-server run --forward-…` asks for.

use std::sync::Arc;
use std::time::Duration;

use super::password_of;
use crate::bundle::Signer;
use crate::cli::Forward;
use crate::forward::{Destination, Nats, Otlp, Place, S3, Status, Syslog, Webhook};
use crate::secret;

/// Where events are to be forwarded to.
pub(super) fn destinations(
    arguments: &Forward,
    signer: &Signer,
) -> anyhow::Result<Vec<(Destination, Arc<Status>)>> {
    let (ca, schema) = (arguments.ca.as_deref(), arguments.schema);
    let mut destinations = Vec::new();
    if let (Some(url), Some(file)) = (&arguments.webhook, &arguments.webhook_secret) {
        let webhook = Webhook::new(
            url,
            &password_of(file)?,
            file,
            ca,
            schema,
            &server_name(signer),
        )?;
        destinations.push(Destination::Webhook(Box::new(webhook)));
    }
    if let Some(url) = &arguments.syslog {
        destinations.push(Destination::Syslog(Syslog::new(url, ca, schema)?));
    }
    if let Some(url) = &arguments.otlp {
        let file = arguments.otlp_headers.as_deref();
        let text = file.map(password_of).transpose()?;
        let otlp = Otlp::new(url, file.zip(text.as_deref()), ca, schema)?;
        destinations.push(Destination::Otlp(Box::new(otlp)));
    }
    if let Some(url) = &arguments.nats {
        let file = arguments.nats_credentials.as_deref();
        let text = file.map(password_of).transpose()?;
        let credentials = file.zip(text.as_deref());
        let nats = Nats::new(url, credentials, ca, schema, &server_name(signer))?;
        destinations.push(Destination::Nats(Box::new(nats)));
    }
    if let Some(url) = &arguments.s3 {
        let place = Place {
            url,
            region: &arguments.s3_region,
            credentials: arguments.s3_credentials.clone(),
            // What waits for a file to grow is not to be what no longer fits.
            events: usize::try_from(arguments.queue / 2).unwrap_or(usize::MAX),
            bytes: usize::from(arguments.s3_mib) << 20,
            patience: Duration::from_secs(arguments.s3_seconds),
        };
        let s3 = S3::new(place, ca, schema, &server_name(signer))?;
        destinations.push(Destination::S3(Box::new(s3)));
    }
    let with_status = destinations.into_iter().map(|destination| {
        let status = Status::new(destination.name(), arguments.queue);
        (destination, Arc::new(status))
    });
    Ok(with_status.collect())
}

/// What this server is called in messages: by the key that sensors know it by.
fn server_name(signer: &Signer) -> String {
    secret::hex(&signer.public_key()[..4])
}
