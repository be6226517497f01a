//! Faults to order, in tests and in builds for them.

use std::time::Duration;

use ractor::ActorProcessingErr;

/// How long an actor hangs: longer than the sensor waits for anything that has to be quick.
const HANG: Duration = Duration::from_secs(1);

/// How much an actor leaks: bytes.
const LEAK: usize = 32 << 20;

/// What an actor that was ordered to panic panics with.
pub(crate) const PANIC: &str = "a panic was ordered";

/// How an actor is to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It panics.
    Panic,
    /// Its handler gives an error.
    Error,
    /// It does nothing for a second, and goes on.
    Hang,
    /// It waits for something that never comes.
    Stall,
    /// It keeps 32 MiB for ever.
    Leak,
}

impl Fault {
    /// The fault of this name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "panic" => Some(Self::Panic),
            "error" => Some(Self::Error),
            "hang" => Some(Self::Hang),
            "stall" => Some(Self::Stall),
            "leak" => Some(Self::Leak),
            _ => None,
        }
    }

    /// Fails in this way.
    pub(crate) async fn strike(self) -> Result<(), ActorProcessingErr> {
        match self {
            Self::Panic => panic!("{PANIC}"),
            Self::Error => Err("an error was ordered".into()),
            Self::Hang => {
                tokio::time::sleep(HANG).await;
                Ok(())
            }
            Self::Stall => std::future::pending().await,
            Self::Leak => {
                // Written, so that it is there.
                std::mem::forget(vec![1_u8; LEAK]);
                Ok(())
            }
        }
    }
}
