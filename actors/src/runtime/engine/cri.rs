//! CRI v1, by which the kubelet has an engine run pods: their sandboxes and containers, what they are called, and what their
//! labels are. Their events where the engine serves them, and else what is there, every few moments.

use std::collections::HashMap;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use containerd_client::tonic::transport::Channel;
use containerd_client::tonic::{Code, Response, Status};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use k8s_cri::v1::{
    ContainerEventResponse, ContainerEventType, ContainerState, ContainerStatusRequest,
    GetEventsRequest, ListContainersRequest, ListPodSandboxRequest, PodSandboxState,
    PodSandboxStatusRequest, VersionRequest,
};
use tokio::time::{Instant, sleep_until};

use super::grpc::{connect, found, in_time};
use super::{Engine, PING};
use crate::runtime::table::{Details, Pod};

pub(super) mod convert;

/// How often an engine that serves no events is asked which containers there are.
const POLL: Duration = Duration::from_secs(2);
/// The longest answer, as the kubelet takes it.
const MAX_MESSAGE: usize = 16 << 20;

type Client = RuntimeServiceClient<Channel>;

/// Something that runs, or has: a container, or a sandbox, by which the other containers of its pod are there.
#[derive(Clone, Debug)]
struct Listed {
    id: String,
    is_sandbox: bool,
    runs: bool,
    pod: Option<Pod>,
}

/// Takes in what there is, and then what changes, until the engine goes away.
pub(super) async fn watch(engine: &Engine) -> Result<(), Status> {
    let path = &engine.socket.path;
    let mut client = client(path).await?;
    let mut source = client.clone();
    // An engine may answer that only with the first of them.
    let subscribed = async move { source.get_container_events(GetEventsRequest {}).await };
    let events = stream::once(subscribed).map_ok(Response::into_inner);
    let mut events = pin!(events.try_flatten());
    let mut are_served = true;
    let mut known = HashMap::new();
    let mut watched = None;
    let mut next = Instant::now();
    loop {
        tokio::select! {
            event = events.next(), if are_served => match event {
                Some(Ok(event)) => happened(engine, &mut client, event).await?,
                Some(Err(status)) if status.code() == Code::Unimplemented => are_served = false,
                Some(Err(status)) => return Err(status),
                None => return Ok(()),
            },
            () = sleep_until(next) => {
                // What one connection may say is bounded.
                let looked = look(engine, &mut self::client(path).await?, &mut known).await;
                match looked {
                    // An engine that does not serve it: another is asked by its own API.
                    Err(status) if status.code() == Code::Unimplemented => return Ok(()),
                    looked => looked?,
                }
                let is_first = watched.is_none();
                watched.get_or_insert_with(|| engine.began());
                // Soon again after the first: events may have been asked for only by then.
                next = Instant::now() + if are_served && !is_first { PING } else { POLL };
            }
        }
    }
}

/// Something happened to a container or a sandbox.
async fn happened(
    engine: &Engine,
    client: &mut Client,
    event: ContainerEventResponse,
) -> Result<(), Status> {
    let kind = event.container_event_type();
    let id = event.container_id;
    let sandbox = event.pod_sandbox_status;
    match kind {
        ContainerEventType::ContainerCreatedEvent | ContainerEventType::ContainerStartedEvent => {
            let listed = Listed {
                is_sandbox: sandbox.as_ref().is_some_and(|sandbox| sandbox.id == id),
                runs: true,
                pod: sandbox.and_then(|it| convert::pod(it.metadata, it.labels)),
                id,
            };
            let is_start = kind == ContainerEventType::ContainerStartedEvent;
            match ask(engine.socket.runtime, client, &listed).await? {
                Some(details) => engine.tell(details, is_start),
                // Gone by the time that it is asked for.
                None if is_start => engine.start(&listed.id),
                None => {}
            }
        }
        ContainerEventType::ContainerStoppedEvent | ContainerEventType::ContainerDeletedEvent => {
            let mut statuses = event.containers_statuses.into_iter();
            let status = statuses.find(|status| status.id == id);
            let code = status.filter(|status| status.finished_at != 0);
            engine.end(&id, code.map(|status| status.exit_code));
        }
    }
    Ok(())
}

/// Looks what there is now; what was `known` before, with whether it ran, is told of no more.
async fn look(
    engine: &Engine,
    client: &mut Client,
    known: &mut HashMap<String, bool>,
) -> Result<(), Status> {
    let is_first = known.is_empty();
    let before = engine.running();
    let all = list(client).await?;
    for listed in &all {
        let is_known = known.get(&listed.id) == Some(&listed.runs);
        // Of those that had ended before anybody looked nothing will be seen any more.
        if is_known || is_first && !listed.runs {
            continue;
        }
        if let Some(details) = ask(engine.socket.runtime, client, listed).await? {
            engine.tell(details, false);
        }
    }
    let now: HashMap<String, bool> = all.into_iter().map(|it| (it.id, it.runs)).collect();
    for id in before {
        if now.get(&id) != Some(&true) {
            let code = exit_code(client, &id).await?;
            engine.end(&id, code);
        }
    }
    *known = now;
    Ok(())
}

/// All sandboxes and containers, whether they run or not.
async fn list(client: &mut Client) -> Result<Vec<Listed>, Status> {
    let request = ListPodSandboxRequest::default();
    let sandboxes = in_time(client.list_pod_sandbox(request)).await?;
    let mut all = Vec::new();
    let mut pods = HashMap::new();
    for sandbox in sandboxes.into_inner().items {
        let runs = sandbox.state() == PodSandboxState::SandboxReady;
        let pod = convert::pod(sandbox.metadata, sandbox.labels);
        pods.insert(sandbox.id.clone(), pod.clone());
        all.push(Listed {
            id: sandbox.id,
            is_sandbox: true,
            runs,
            pod,
        });
    }
    let request = ListContainersRequest::default();
    let containers = in_time(client.list_containers(request)).await?;
    let containers = containers.into_inner().containers.into_iter();
    all.extend(containers.map(|container| Listed {
        is_sandbox: false,
        runs: container.state() == ContainerState::ContainerRunning,
        pod: pods.get(&container.pod_sandbox_id).cloned().flatten(),
        id: container.id,
    }));
    Ok(all)
}

/// What the engine knows of it; `None` when it is gone.
async fn ask(
    runtime: &'static str,
    client: &mut Client,
    listed: &Listed,
) -> Result<Option<Details>, Status> {
    let pod = listed.pod.clone();
    let details = if listed.is_sandbox {
        let request = PodSandboxStatusRequest {
            pod_sandbox_id: listed.id.clone(),
            verbose: true,
        };
        let answer = found(in_time(client.pod_sandbox_status(request)).await)?;
        answer.and_then(|answer| convert::sandbox(answer, runtime, pod))
    } else {
        let request = ContainerStatusRequest {
            container_id: listed.id.clone(),
            verbose: true,
        };
        let answer = found(in_time(client.container_status(request)).await)?;
        answer.and_then(|answer| convert::container(answer, runtime, pod))
    };
    Ok(details.map(|details| Details {
        pid: details.pid.filter(|_| listed.runs),
        ..details
    }))
}

/// What a container has ended with, if it is still there.
async fn exit_code(client: &mut Client, id: &str) -> Result<Option<i32>, Status> {
    let request = ContainerStatusRequest {
        container_id: id.to_owned(),
        verbose: false,
    };
    let answer = found(in_time(client.container_status(request)).await)?;
    let status = answer.and_then(|answer| answer.status);
    let ended = status.filter(|status| status.finished_at != 0);
    Ok(ended.map(|status| status.exit_code))
}

async fn client(path: &Path) -> Result<Client, Status> {
    let client = Client::new(connect(path).await?);
    Ok(client.max_decoding_message_size(MAX_MESSAGE))
}

/// The version of the engine that answers.
pub(super) async fn version(path: &Path) -> Result<String, Status> {
    let request = VersionRequest::default();
    let answer = in_time(client(path).await?.version(request)).await?;
    Ok(answer.into_inner().runtime_version)
}

/// What runs, asked for once.
pub(super) async fn running(path: &Path, runtime: &'static str) -> Result<Vec<Details>, Status> {
    let mut client = client(path).await?;
    let mut all = Vec::new();
    let listed = match list(&mut client).await {
        Err(status) if status.code() == Code::Unimplemented => Vec::new(),
        listed => listed?,
    };
    for listed in listed {
        if listed.runs {
            all.extend(ask(runtime, &mut client, &listed).await?);
        }
    }
    Ok(all)
}
