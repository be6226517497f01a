//! For the fuzz targets: what is understood of an answer, without the engine that gave it.

use bollard::models::{ContainerInspectResponse, EventMessage, ImageInspect};
use containerd_client::services::v1::Container;
use k8s_cri::v1::{ContainerEventResponse, ContainerStatusResponse, PodSandboxStatusResponse};
use prost::Message as _;

use super::{containerd, cri, docker};
use crate::runtime::table::Details;

/// What is known of a container by an answer, whose first byte says which of the answers that engines give it is.
#[must_use]
pub fn details(answer: &[u8]) -> Option<Details> {
    let (which, answer) = answer.split_first()?;
    match which % 6 {
        0 => {
            let inspected: ContainerInspectResponse = serde_json::from_slice(answer).ok()?;
            docker::convert::details(inspected, "docker")
        }
        1 => {
            let event: EventMessage = serde_json::from_slice(answer).ok()?;
            let actor = event.actor?;
            let attributes = actor.attributes.clone().unwrap_or_default();
            let _ = docker::convert::exit_code(&attributes);
            let happened = docker::image::Happened::read(event.action.as_deref(), actor)?;
            let _ = (happened.key().len(), happened.is_gone());
            let inspected: Option<ImageInspect> = serde_json::from_slice(answer).ok();
            let _ = happened.image(inspected);
            None
        }
        2 => cri::convert::container(ContainerStatusResponse::decode(answer).ok()?, "cri", None),
        3 => cri::convert::sandbox(PodSandboxStatusResponse::decode(answer).ok()?, "cri", None),
        4 => {
            let event = ContainerEventResponse::decode(answer).ok()?;
            let sandbox = event.pod_sandbox_status?;
            let _ = cri::convert::pod(sandbox.metadata, sandbox.labels);
            None
        }
        _ => containerd::convert::details(Container::decode(answer).ok()?),
    }
}
