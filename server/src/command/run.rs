//! `holdfast-server run`

use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinSet;

use super::destinations::destinations;
use super::user::random_password;
use super::{ACTOR, password_of, text};
use crate::app::{App, Limits};
use crate::auth::{Role, hash_password};
use crate::bundle::Signer;
use crate::cli::{Forwarded, Run};
use crate::clock::{DAY, now};
use crate::forward;
use crate::serve::{Files, Tls};
use crate::store::{Place, Store, StoreError, accounts, bundles, events};
use crate::{descriptors, news, retention, rollout, secret, serve, web};

/// Between two attempts to reach a database at the start.
const AWAY_PAUSE: Duration = Duration::from_secs(1);
/// Name of the user that the first start makes.
const ADMIN: &str = "admin";

pub(super) fn run(arguments: Run) -> anyhow::Result<()> {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(arguments.log.as_str())
        .with_ansi(std::io::stderr().is_terminal() && !plain)
        .with_target(false)
        .with_writer(std::io::stderr)
        .init();
    descriptors::raise_limit();
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    runtime.block_on(serve(arguments))
}

async fn serve(arguments: Run) -> anyhow::Result<()> {
    let tls = match (&arguments.tls_certificate, &arguments.tls_key) {
        (Some(certificate), Some(key)) => Some(Arc::new(Tls::new(Files {
            certificate: certificate.clone(),
            key: key.clone(),
            client_ca: arguments.tls_client_ca.clone(),
        })?)),
        _ => None,
    };
    let store = opened(&arguments.data.place()?).await?;
    let signer = signer(&store).await?;
    let destinations = destinations(&arguments.forward, &signer)?;
    let app = Arc::new(App {
        forwards: destinations
            .iter()
            .map(|(_, status)| status.clone())
            .collect(),
        signer,
        last_alert: watch::Sender::new(store.read(events::last_alert).await?),
        news: Notify::new(),
        secure: tls.is_some() || arguments.behind_tls_proxy,
        behind_proxy: arguments.behind_tls_proxy,
        certified_sensors: arguments.tls_client_ca.is_some(),
        token_age: arguments.token_days * DAY,
        max_size: arguments.max_size,
        removed: retention::Totals::default(),
        was_ready: Mutex::default(),
        limits: Limits::new(arguments.sensor_rate),
        store,
    });
    let listener = TcpListener::bind(arguments.listen).await;
    let listener = listener.with_context(|| format!("cannot listen at {}", arguments.listen))?;
    let (scheme, address) = (
        if tls.is_some() { "https" } else { "http" },
        listener.local_addr()?,
    );
    if !arguments.no_first_user {
        first_user(&app.store, arguments.admin_password_file.as_deref()).await?;
    }
    text(&format!("holdfast-server at {scheme}://{address}\n"))?;
    if !app.secure && !address.ip().is_loopback() {
        tracing::warn!(
            "passwords and tokens cross the network in the clear: use --tls-certificate and --tls-key, \
             or a proxy that does TLS"
        );
    }
    let (stop, stopping) = watch::channel(false);
    let mut cleaning = JoinSet::new();
    cleaning.spawn(retention::by_age(app.clone(), arguments.retain_days));
    if let Some(most) = arguments.max_size {
        cleaning.spawn(retention::by_size(app.clone(), most));
    }
    let rolling_out = tokio::spawn(rollout::watch(app.clone()));
    let telling = tokio::spawn(news::watch(app.clone()));
    let alerts_only = arguments.forward.events == Forwarded::Alerts;
    let mut forwarding = JoinSet::new();
    for (destination, status) in destinations {
        forwarding.spawn(forward::forward(
            app.clone(),
            destination,
            status,
            alerts_only,
        ));
    }
    let watching = tls.clone().map(|tls| tokio::spawn(tls.watch()));
    let of_address =
        (!arguments.behind_tls_proxy).then_some(arguments.connections_per_address.into());
    let router = web::router(app);
    let serving = tokio::spawn(serve::serve(listener, tls, of_address, router, stopping));
    // A write beyond RLIMIT_FSIZE is then an error as any other, and does not end the server: setrlimit(2).
    drop(signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?);
    let (mut terminate, mut interrupt, mut hangup) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        // Its terminal is gone.
        signal(SignalKind::hangup())?,
    );
    // Where a service manager waits for it.
    if let Err(error) = sd_notify::notify(&[NotifyState::Ready]) {
        tracing::warn!("the service manager cannot be told: {error}");
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hangup.recv() => {}
    }
    cleaning.shutdown().await;
    rolling_out.abort();
    telling.abort();
    if let Some(watching) = watching {
        watching.abort();
    }
    forwarding.shutdown().await;
    // It is looked at as long as it is served.
    let _ = stop.send(true);
    serving.await.context("serving failed")?;
    Ok(())
}

/// The store; a database that does not answer is waited for, as after a power failure, when it starts beside this server.
async fn opened(place: &Place) -> Result<Store, StoreError> {
    let mut told = false;
    loop {
        match Store::open(place).await {
            Err(StoreError::Away(why)) => {
                if !told {
                    tracing::error!("the database is away, and waited for: {why}");
                }
                told = true;
                tokio::time::sleep(AWAY_PAUSE).await;
            }
            opened => return opened,
        }
    }
}

/// The key that signs bundles, made at the first start.
async fn signer(store: &Store) -> anyhow::Result<Signer> {
    let new: [u8; 32] = secret::random()?;
    let seed = store
        .write(move |connection| bundles::seed(connection, &new))
        .await?;
    super::signer(&seed)
}

/// Makes the user `admin` where there is no user at all, and prints the password once.
async fn first_user(store: &Store, file: Option<&Path>) -> anyhow::Result<()> {
    if !store.read(accounts::users).await?.is_empty() {
        return Ok(());
    }
    let (password, random) = match file {
        Some(file) => (password_of(file)?, false),
        None => (random_password()?, true),
    };
    let hash = hash_password(&password)?;
    let made = store
        .write(move |connection| {
            // Another server may have been first.
            if !accounts::users(connection)?.is_empty() {
                return Ok(false);
            }
            accounts::add_user(connection, ADMIN, &hash, Role::Admin, now())?;
            accounts::audit(connection, ACTOR, "", "user.add", "admin, admin", now())?;
            Ok(true)
        })
        .await?;
    if made && random {
        text(&format!(
            "user {ADMIN}, password {password} (it is not shown again)\n"
        ))?;
    }
    Ok(())
}
