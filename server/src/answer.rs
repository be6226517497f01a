//! Answers that are no success: a status and `{"error": "…"}`.

use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use holdfast_wire::uplink::Refusal;

use crate::auth::Unfit;
use crate::secret::NoRandomness;
use crate::store::StoreError;

/// Seconds after which to ask again where the store is busy.
const BUSY: u64 = 2;
/// The same where its database does not answer.
const AWAY: u64 = 5;

/// Why a request is refused.
#[derive(Debug)]
pub(crate) struct Refused {
    status: StatusCode,
    error: String,
    retry_after: Option<u64>,
}

impl Refused {
    pub(crate) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self {
            status,
            error: error.into(),
            retry_after: None,
        }
    }

    /// 400: the request is wrong.
    pub(crate) fn bad(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// 401: it is not known who asks.
    pub(crate) fn unknown(error: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, error)
    }

    /// 403: they may not.
    pub(crate) fn forbidden(error: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, error)
    }

    /// 404: there is none.
    pub(crate) fn not_found(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error)
    }

    /// 409: it does not go together with what there is.
    pub(crate) fn conflict(error: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, error)
    }

    /// 429: too often.
    pub(crate) fn too_often(wait: Duration) -> Self {
        let seconds = wait.as_secs() + 1;
        let error = format!("too many requests: try again in {seconds} seconds");
        Self {
            retry_after: Some(seconds),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, error)
        }
    }

    /// 503: later.
    pub(crate) fn busy() -> Self {
        let busy = Self::new(StatusCode::SERVICE_UNAVAILABLE, "the server is busy");
        Self {
            retry_after: Some(BUSY),
            ..busy
        }
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy => Self::busy(),
            StoreError::TooSlow => Self::bad(error.to_string()),
            // Said in the log once, and not for each request.
            StoreError::Away(_) => Self {
                retry_after: Some(AWAY),
                ..Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the database is away; see the log",
                )
            },
            _ => {
                // What a database says is for the administrator, not for whoever asked.
                tracing::error!("{error}");
                let failed = Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the store failed; see the log",
                );
                Self {
                    retry_after: Some(BUSY),
                    ..failed
                }
            }
        }
    }
}

impl From<NoRandomness> for Refused {
    fn from(error: NoRandomness) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl From<Unfit> for Refused {
    fn from(error: Unfit) -> Self {
        Self::bad(error.to_string())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = Json(Refusal { error: self.error });
        match self.retry_after {
            Some(seconds) => {
                (self.status, [(RETRY_AFTER, seconds.to_string())], body).into_response()
            }
            None => (self.status, body).into_response(),
        }
    }
}
