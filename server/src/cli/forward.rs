//! `holdfast-server run --forward-…`

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::forward::Schema;

/// Where events are forwarded to.
#[derive(Debug, Args)]
#[command(next_help_heading = "Forwarding")]
pub(crate) struct Forward {
    /// Receiver of signed POST requests (Standard Webhooks)
    #[arg(
        long = "forward-webhook",
        env = "HOLDFAST_SERVER_FORWARD_WEBHOOK",
        value_name = "URL",
        requires = "webhook_secret"
    )]
    pub(crate) webhook: Option<String>,
    /// File with the secret that signs them: whsec_ and base64 of 24 to 64 bytes
    #[arg(
        long = "forward-webhook-secret-file",
        env = "HOLDFAST_SERVER_FORWARD_WEBHOOK_SECRET_FILE",
        value_name = "FILE",
        requires = "webhook"
    )]
    pub(crate) webhook_secret: Option<PathBuf>,
    /// Receiver of syslog (RFC 5424): tcp://HOST[:514] or tls://HOST[:6514]
    #[arg(
        long = "forward-syslog",
        env = "HOLDFAST_SERVER_FORWARD_SYSLOG",
        value_name = "URL"
    )]
    pub(crate) syslog: Option<String>,
    /// Receiver of logs by OTLP/HTTP: its base, below which is v1/logs
    #[arg(
        long = "forward-otlp",
        env = "HOLDFAST_SERVER_FORWARD_OTLP",
        value_name = "URL"
    )]
    pub(crate) otlp: Option<String>,
    /// File with headers for it, as Authorization: a line Name: value for each
    #[arg(
        long = "forward-otlp-header-file",
        env = "HOLDFAST_SERVER_FORWARD_OTLP_HEADER_FILE",
        value_name = "FILE",
        requires = "otlp"
    )]
    pub(crate) otlp_headers: Option<PathBuf>,
    /// Subject of a stream of NATS JetStream: nats://HOST[:4222]/SUBJECT or tls://…
    #[arg(
        long = "forward-nats",
        env = "HOLDFAST_SERVER_FORWARD_NATS",
        value_name = "URL"
    )]
    pub(crate) nats: Option<String>,
    /// File with credentials for it, as nsc makes them: a JWT and a seed
    #[arg(
        long = "forward-nats-creds",
        env = "HOLDFAST_SERVER_FORWARD_NATS_CREDS",
        value_name = "FILE",
        requires = "nats"
    )]
    pub(crate) nats_credentials: Option<PathBuf>,
    /// Bucket of a store that speaks S3, for files of Parquet: https://HOST/BUCKET[/PREFIX]
    #[arg(
        long = "forward-s3",
        env = "HOLDFAST_SERVER_FORWARD_S3",
        value_name = "URL"
    )]
    pub(crate) s3: Option<String>,
    /// File with its keys, as AWS has them; AWS_ACCESS_KEY_ID and the like if not given
    #[arg(
        long = "forward-s3-credentials-file",
        env = "HOLDFAST_SERVER_FORWARD_S3_CREDENTIALS_FILE",
        value_name = "FILE",
        requires = "s3"
    )]
    pub(crate) s3_credentials: Option<PathBuf>,
    /// Its region
    #[arg(
        long = "forward-s3-region",
        env = "AWS_REGION",
        value_name = "NAME",
        default_value = "us-east-1"
    )]
    pub(crate) s3_region: String,
    /// How long an event waits for its file to grow
    #[arg(long = "forward-s3-seconds", env = "HOLDFAST_SERVER_FORWARD_S3_SECONDS", value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) s3_seconds: u64,
    /// MiB of events at which a file is written
    #[arg(long = "forward-s3-mib", env = "HOLDFAST_SERVER_FORWARD_S3_MIB", value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) s3_mib: u16,
    /// Certificates (PEM) to know receivers by; whom the system trusts if not given
    #[arg(
        long = "forward-ca",
        env = "HOLDFAST_SERVER_FORWARD_CA",
        value_name = "FILE"
    )]
    pub(crate) ca: Option<PathBuf>,
    /// What is forwarded
    #[arg(long = "forward-events", env = "HOLDFAST_SERVER_FORWARD_EVENTS", value_enum, default_value_t = Forwarded::Alerts)]
    pub(crate) events: Forwarded,
    /// By which names their fields go
    #[arg(long = "forward-schema", env = "HOLDFAST_SERVER_FORWARD_SCHEMA", value_enum, default_value_t = Schema::Ecs)]
    pub(crate) schema: Schema,
    /// Most events that may wait for a receiver; the oldest beyond that are not forwarded, and counted
    #[arg(long = "forward-queue", env = "HOLDFAST_SERVER_FORWARD_QUEUE", value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(i64).range(1..=10_000_000))]
    pub(crate) queue: i64,
}

/// Which events are forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Forwarded {
    /// What rules found.
    Alerts,
    /// All that sensors send.
    All,
}
