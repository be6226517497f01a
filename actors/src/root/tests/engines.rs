//! Engines that are slow, silent or talk nonsense: the tree with a socket on which a test answers.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::runtime::engine::{Place, Socket};

const ID: &str = "4d9c2f0e5b1a4d9c2f0e5b1a4d9c2f0e5b1a4d9c2f0e5b1a4d9c2f0e5b1a4d9c";
/// What the sensor calls the engine.
const ENGINE: &str = "engine.0.docker";

/// How an engine answers.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// It tells of the container so long after it was asked for events.
    Tells(Duration),
    /// It never tells of it.
    Quiet,
    /// It takes connections and says nothing.
    Silent,
    /// What it says is no answer.
    Nonsense,
    /// It answers without end.
    Endless,
    /// It tells of the container at once, and is a user's, whose container it is not.
    OfUser,
}

async fn serve(listener: UnixListener, manner: Manner) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            // Who asked may have gone.
            let _ = answer(stream, manner).await;
        });
    }
}

async fn answer(mut stream: UnixStream, manner: Manner) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.split_whitespace().nth(1).unwrap_or_default();
    match manner {
        Manner::Silent => return std::future::pending().await,
        Manner::Nonsense => return stream.write_all(b"\x00\x01 what?\r\n\r\n").await,
        Manner::Endless => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n[")
                .await?;
            loop {
                stream.write_all(&[b' '; 4096]).await?;
            }
        }
        Manner::Tells(_) | Manner::Quiet | Manner::OfUser => {}
    }
    if path.contains("/events") {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await?;
        let after = match manner {
            Manner::Tells(after) => Some(after),
            Manner::OfUser => Some(Duration::ZERO),
            _ => None,
        };
        if let Some(after) = after {
            tokio::time::sleep(after).await;
            let event = json!({"Type": "container", "Action": "create", "Actor": {"ID": ID}});
            let event = format!("{event}\n");
            let chunk = format!("{:x}\r\n{event}\r\n", event.len());
            stream.write_all(chunk.as_bytes()).await?;
        }
        return std::future::pending().await;
    }
    let body = if path.contains("/version") {
        json!({"ApiVersion": "1.41", "Version": "1"})
    } else if path.contains(ID) {
        json!({"Id": ID, "Name": "/web", "Config": {"Image": "nginx:1"}})
    } else {
        json!([])
    };
    let body = body.to_string();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await
}

/// A sensor with such an engine, and a cgroup of its container.
struct Stage {
    directory: tempfile::TempDir,
    kernel: Arc<Fake>,
    handle: crate::root::Handle,
    cgroup: u64,
}

impl Stage {
    async fn new(manner: Manner) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let cgroups = directory.path().join("sys/fs/cgroup");
        let cgroup = cgroups.join(format!("system.slice/docker-{ID}.scope"));
        std::fs::create_dir_all(&cgroup).unwrap();
        std::fs::write(cgroups.join("cgroup.controllers"), "").unwrap();
        let socket: PathBuf = directory.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        if let Manner::OfUser = manner {
            std::os::unix::fs::chown(&socket, Some(12_345), None).unwrap();
        }
        tokio::spawn(serve(listener, manner));
        let kernel = Fake::new(None);
        let settings = Settings {
            engines: vec![Place::At(Socket::docker(Path::new("/"), &socket, 0))],
            ..settings(directory.path(), Some(directory.path()))
        };
        let handle = started(settings, &kernel, Kinds::ALL).await;
        handle.ready().await;
        let cgroup = std::fs::metadata(cgroup).unwrap().ino();
        Self {
            directory,
            kernel,
            handle,
            cgroup,
        }
    }

    /// A process of the container opens a file.
    fn open(&self, sequence: u64) {
        let header = Header {
            sequence,
            cgroup_id: self.cgroup,
            ..testing::header(Kind::FileOpen, 7)
        };
        let record = testing::file(header, &format!("/file-{sequence}"), "");
        self.kernel.submit(Kind::FileOpen, record);
    }

    async fn status(&self) -> Status {
        self.handle.status().await.unwrap()
    }

    /// Until its engine was asked.
    async fn watched(&self) {
        let fake_watch = async || {
            let status = self.status().await;
            actor(&status, ENGINE).state == ActorState::Running
        };
        until("the engine is watched", fake_watch).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }

    async fn events(self) -> (Vec<Value>, Status) {
        let status = self.handle.stop().await.unwrap();
        assert_balanced(&status);
        let events = events(self.directory.path());
        (
            of_action(&events, "file.open")
                .into_iter()
                .cloned()
                .collect(),
            status,
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_waits_for_its_containers_name() {
    let stage = Stage::new(Manner::Tells(Duration::from_millis(600))).await;
    stage.watched().await;
    stage.open(1);
    let written = async || stage.status().await.containers.told == 1;
    until("the engine tells", written).await;
    stage.open(2);
    let (events, status) = stage.events().await;
    let names: Vec<&Value> = events.iter().map(|it| &it["container"]["name"]).collect();
    assert_eq!(names, ["web", "web"]);
    assert_eq!(
        (status.containers.waited, status.containers.unnamed),
        (1, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_for_so_long_and_only_once() {
    let stage = Stage::new(Manner::Quiet).await;
    stage.watched().await;
    let began = Instant::now();
    stage.open(1);
    let count = async || {
        let status = stage.status().await;
        status.ledger.kinds["file.open"].emitted
    };
    until("it goes on", async || count().await == 1).await;
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(450), "{waited:?}");
    stage.open(2);
    until("the next as well", async || count().await == 2).await;
    let (events, status) = stage.events().await;
    assert!(
        events
            .iter()
            .all(|it| it["container"]["id"] == ID && it["container"]["name"].is_null())
    );
    // The second did not wait.
    assert_eq!(
        (status.containers.waited, status.containers.unnamed),
        (0, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_engine_is_not_believed_about_a_container_of_others() {
    if !rustix::process::geteuid().is_root() {
        return; // Nobody else can give a socket away.
    }
    let stage = Stage::new(Manner::OfUser).await;
    stage.watched().await;
    stage.open(1);
    let emitted = async || stage.status().await.ledger.kinds["file.open"].emitted == 1;
    until("it goes on", emitted).await;
    let (events, status) = stage.events().await;
    assert_eq!(events[0]["container"]["id"], ID);
    assert_eq!(events[0]["container"]["name"], Value::Null);
    assert_eq!(status.containers.told, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_an_engine_that_makes_no_sense() {
    for manner in [Manner::Silent, Manner::Nonsense, Manner::Endless] {
        let stage = Stage::new(manner).await;
        stage.watched().await;
        stage.open(1);
        let emitted = async || stage.status().await.ledger.kinds["file.open"].emitted == 1;
        until("it is not held up", emitted).await;
        if matches!(manner, Manner::Nonsense | Manner::Endless) {
            let told = async || {
                let status = stage.status().await;
                status.degraded.iter().any(|it| it.what == ENGINE)
            };
            until("it is told", told).await;
        }
        let (_, status) = stage.events().await;
        assert_eq!(
            (status.containers.waited, status.containers.unnamed),
            (0, 0),
            "{manner:?}"
        );
    }
}
