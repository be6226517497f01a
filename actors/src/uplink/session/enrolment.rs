//! Who the sensor is to its server, and how it becomes that.

use std::io;

use holdfast_wire::uplink::{Enrol, Enrolled, Secret};

use super::super::Settings;
use super::super::client::Ask;
use super::super::identity::Identity;
use super::{Session, Trouble};

/// Bytes of a file with a key.
const MAX_KEY: u64 = 4096;

impl Session {
    /// Who the sensor already is, to this server or the one before.
    pub(super) async fn known(&self) -> io::Result<Option<Identity>> {
        let directory = self.settings().directory.clone();
        let known = tokio::task::spawn_blocking(move || Identity::load(&directory))
            .await
            .map_err(io::Error::other)?;
        match known {
            Ok(known) => Ok(known),
            Err(error) => {
                tracing::warn!("enrolling again: {error}");
                Ok(None)
            }
        }
    }

    /// Whether it is to this server.
    pub(super) fn is_here(&self, identity: &Identity) -> bool {
        identity.server == self.settings().server.url().to_string()
    }

    /// Becomes one of the server's sensors. `previous`: who it was so far; a server that has another address now knows it by its token.
    pub(super) async fn enrol(&mut self, previous: Option<Identity>) -> Result<(), Trouble> {
        let host = &self.shared.settings.host.event;
        let enrol = Enrol {
            installation_key: self.key().await?,
            host_id: host.id.clone(),
            host_name: host.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            kernel: host.os.kernel.clone(),
            previous_token: previous.as_ref().map(|it| it.token.clone()),
        };
        let body = serde_json::to_vec(&enrol).map_err(io::Error::other)?;
        let enrolled: Enrolled = self
            .client()?
            .json(&Ask::json("/enrol", None, body))
            .await
            .map_err(Trouble::Enrol)?;
        let pinned = previous
            .filter(|it| self.is_here(it))
            .map(|it| it.bundle_key);
        if pinned.is_some_and(|pinned| pinned != enrolled.bundle_key) {
            return Err(Trouble::OtherKey);
        }
        let identity = Identity {
            server: self.settings().server.url().to_string(),
            sensor_id: enrolled.sensor_id,
            token: enrolled.token,
            bundle_key: enrolled.bundle_key,
        };
        self.keep(identity).await?;
        let id = self.identity.as_ref().map(|it| it.sensor_id.as_str());
        tracing::info!(sensor = id, "enrolled at {}", self.settings().server.url());
        Ok(())
    }

    /// From now on the sensor is this one.
    pub(super) fn be(&mut self, identity: Identity) {
        let id = identity.sensor_id.clone();
        self.uplink.stand(|standing| standing.sensor_id = Some(id));
        self.identity = Some(identity);
    }

    /// The same, and after the next start, too.
    pub(super) async fn keep(&mut self, identity: Identity) -> io::Result<()> {
        let directory = self.settings().directory.clone();
        let kept = identity.clone();
        tokio::task::spawn_blocking(move || kept.keep(&directory))
            .await
            .map_err(io::Error::other)??;
        self.be(identity);
        Ok(())
    }

    /// What permits to enrol.
    async fn key(&self) -> Result<Secret, Trouble> {
        let Settings { key, key_file, .. } = self.settings();
        if let Some(key) = key {
            return Ok(key.clone());
        }
        let Some(path) = key_file.clone() else {
            return Err(Trouble::NoKey);
        };
        let read = move || {
            use std::io::Read as _;

            let mut text = String::new();
            let file = std::fs::File::open(&path)?;
            file.take(MAX_KEY).read_to_string(&mut text)?;
            Ok(Secret::new(text.trim().to_owned()))
        };
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(io::Error::other)
            .and_then(|key| key)
            .map_err(Trouble::Key)
    }
}
