//! containerd's own API: its containers and images in all namespaces, those of Kubernetes among them, and when
//! they come and go. Those of Docker are left to Docker, which knows more of them.

use std::collections::HashMap;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use containerd_client::events::{
    ContainerCreate, ContainerDelete, ContainerUpdate, TaskExit, TaskStart,
};
use containerd_client::services::v1::containers_client::ContainersClient;
use containerd_client::services::v1::events_client::EventsClient;
use containerd_client::services::v1::namespaces_client::NamespacesClient;
use containerd_client::services::v1::tasks_client::TasksClient;
use containerd_client::services::v1::version_client::VersionClient;
use containerd_client::services::v1::{
    GetContainerRequest, GetRequest, ListContainersRequest, ListNamespacesRequest,
    ListTasksRequest, SubscribeRequest,
};
use containerd_client::tonic::metadata::MetadataValue;
use containerd_client::tonic::transport::Channel;
use containerd_client::tonic::{Request, Response, Status};
use containerd_client::types::Envelope;
use containerd_client::types::v1::{Process, Status as TaskStatus};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use prost::Message as _;

use super::Engine;
use super::grpc::{connect, found, in_time};
use crate::runtime::table::Details;

pub(super) mod convert;
mod images;

use images::Images;

/// What is told of as it happens.
const FILTERS: [&str; 4] = [
    r#"topic~="^/containers/""#,
    r#"topic~="^/images/""#,
    r#"topic=="/tasks/start""#,
    r#"topic=="/tasks/exit""#,
];
/// How long after the events were asked for they surely come: containerd answers that with the first of them. What
/// happened before is found by asking again.
const SUBSCRIBED: Duration = Duration::from_secs(2);
/// Docker's namespace.
const DOCKER: &str = "moby";
/// In which namespace a request is meant.
const NAMESPACE: &str = "containerd-namespace";

/// Takes in what there is, and then what changes, until the engine goes away.
pub(super) async fn watch(engine: &Engine) -> Result<(), Status> {
    let channel = connect(&engine.socket.path).await?;
    let mut client = EventsClient::new(channel.clone());
    let filters = FILTERS.map(str::to_owned).to_vec();
    let subscribed = async move { client.subscribe(SubscribeRequest { filters }).await };
    let events = stream::once(subscribed).map_ok(Response::into_inner);
    let mut events = pin!(events.try_flatten());
    let mut listing = pin!(async {
        tell_all(engine, &channel).await?;
        tokio::time::sleep(SUBSCRIBED).await;
        tell_all(engine, &channel).await
    });
    let (mut watched, mut images) = (None, Images::default());
    loop {
        tokio::select! {
            listed = &mut listing, if watched.is_none() => {
                listed?;
                watched = Some(engine.began());
            }
            event = events.next() => match event {
                Some(event) => happened(engine, &channel, &mut images, event?).await?,
                None => return Ok(()),
            },
        }
    }
}

/// Something happened to a container or an image. What is not understood says nothing.
async fn happened(
    engine: &Engine,
    channel: &Channel,
    images: &mut Images,
    event: Envelope,
) -> Result<(), Status> {
    let Some(about) = event.event.filter(|_| event.namespace != DOCKER) else {
        return Ok(());
    };
    let about = &*about.value;
    let changed = match &*event.topic {
        "/containers/create" => ContainerCreate::decode(about).map(|it| it.id),
        "/containers/update" => ContainerUpdate::decode(about).map(|it| it.id),
        "/containers/delete" => {
            if let Ok(deleted) = ContainerDelete::decode(about) {
                engine.end(&deleted.id, None);
            }
            return Ok(());
        }
        "/tasks/exit" => {
            // Others that were executed in it end, too.
            if let Ok(exit) = TaskExit::decode(about)
                && exit.id == exit.container_id
            {
                let code = i32::try_from(exit.exit_status).ok();
                engine.end(&exit.id, code);
            }
            return Ok(());
        }
        "/tasks/start" => TaskStart::decode(about).map(|it| it.container_id),
        topic => {
            let event_of_image = (topic, about);
            return images
                .happened(engine, channel, &event.namespace, event_of_image)
                .await;
        }
    };
    if let Ok(id) = changed {
        let is_start = event.topic == "/tasks/start";
        match get(channel, &event.namespace, &id).await? {
            Some(details) => engine.tell(details, is_start),
            // Gone by the time that it is asked for.
            None if is_start => engine.start(&id),
            None => {}
        }
    }
    Ok(())
}

/// A container; `None` when it is gone.
async fn get(channel: &Channel, namespace: &str, id: &str) -> Result<Option<Details>, Status> {
    let mut containers = ContainersClient::new(channel.clone());
    let id = id.to_owned();
    let request = in_namespace(GetContainerRequest { id: id.clone() }, namespace)?;
    let container = found(in_time(containers.get(request)).await)?;
    let Some(details) = container.and_then(|it| convert::details(it.container?)) else {
        return Ok(None);
    };
    let mut tasks = TasksClient::new(channel.clone());
    let request = GetRequest {
        container_id: id,
        exec_id: String::new(),
    };
    let task = found(in_time(tasks.get(in_namespace(request, namespace)?)).await)?;
    let process = task.and_then(|it| it.process).filter(runs);
    let pid = process.map(|process| process.pid);
    Ok(Some(Details { pid, ..details }))
}

/// Whether a task has been started and has not ended.
fn runs(task: &Process) -> bool {
    !matches!(
        task.status(),
        TaskStatus::Unknown | TaskStatus::Created | TaskStatus::Stopped
    )
}

async fn tell_all(engine: &Engine, channel: &Channel) -> Result<(), Status> {
    let before = engine.running();
    engine.tell_all(before, all(channel).await?);
    Ok(())
}

/// All containers, whether they run or not.
async fn all(channel: &Channel) -> Result<Vec<Details>, Status> {
    let mut all = Vec::new();
    for namespace in namespaces(channel).await? {
        let listed = list(channel, &namespace).await?;
        // Asked for later: who has a task by now was listed.
        let tasks = tasks(channel, &namespace).await?;
        all.extend(listed.into_iter().map(|details| {
            let pid = tasks.get(&details.container.id).copied();
            Details { pid, ..details }
        }));
    }
    Ok(all)
}

async fn namespaces(channel: &Channel) -> Result<Vec<String>, Status> {
    let mut client = NamespacesClient::new(channel.clone());
    let answer = in_time(client.list(ListNamespacesRequest::default())).await?;
    let names = answer.into_inner().namespaces.into_iter().map(|it| it.name);
    Ok(names.filter(|name| name != DOCKER).collect())
}

/// The containers of a namespace, whether they run or not.
async fn list(channel: &Channel, namespace: &str) -> Result<Vec<Details>, Status> {
    let mut client = ContainersClient::new(channel.clone());
    // One by one: all together may be more than one message holds.
    let request = in_namespace(ListContainersRequest::default(), namespace)?;
    let listed = async {
        let answer = client.list_stream(request).await?.into_inner();
        let told =
            answer.try_filter_map(|it| async { Ok(it.container.and_then(convert::details)) });
        told.try_collect().await
    };
    in_time(listed).await
}

/// By container, the first process of those that run in a namespace.
async fn tasks(channel: &Channel, namespace: &str) -> Result<HashMap<String, u32>, Status> {
    let mut client = TasksClient::new(channel.clone());
    let request = in_namespace(ListTasksRequest::default(), namespace)?;
    let tasks = in_time(client.list(request)).await?.into_inner().tasks;
    let running = tasks.into_iter().filter(runs);
    Ok(running.map(|task| (task.id, task.pid)).collect())
}

fn in_namespace<T>(message: T, namespace: &str) -> Result<Request<T>, Status> {
    let name = MetadataValue::try_from(namespace);
    let name = name.map_err(|_| Status::invalid_argument("a namespace has a strange name"))?;
    let mut request = Request::new(message);
    request.metadata_mut().insert(NAMESPACE, name);
    Ok(request)
}

/// The version of the engine that answers.
pub(super) async fn version(path: &Path) -> Result<String, Status> {
    let mut client = VersionClient::new(connect(path).await?);
    Ok(in_time(client.version(())).await?.into_inner().version)
}

/// The containers that run, asked for once.
pub(super) async fn running(path: &Path) -> Result<Vec<Details>, Status> {
    let mut all = all(&connect(path).await?).await?;
    all.retain(|details| details.pid.is_some());
    Ok(all)
}
