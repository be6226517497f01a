//! containerd as a node of Kubernetes has it: pods are run by CRI, as the kubelet does.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use k8s_cri::v1::{
    ContainerConfig, ContainerMetadata, CreateContainerRequest, ImageSpec, LinuxPodSandboxConfig,
    LinuxSandboxSecurityContext, NamespaceMode, NamespaceOption, PodSandboxConfig,
    PodSandboxMetadata, RemovePodSandboxRequest, RunPodSandboxRequest, StartContainerRequest,
    StopPodSandboxRequest,
};
use tokio::runtime::Runtime;
use tonic::transport::Channel;

use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::engine;

/// How long it may take to be there.
const START: Duration = Duration::from_secs(60);
/// How long one of its commands may take.
const COMMAND: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// Where its side of CRI keeps everything.
const NAMESPACE: &str = "k8s.io";

/// A pod that runs.
pub struct Pod {
    /// Its sandbox's id.
    pub id: String,
    config: PodSandboxConfig,
}

/// The engine; dropping it ends it.
pub struct Cri {
    directory: PathBuf,
    daemon: Child,
    runtime: Runtime,
}

impl Cri {
    /// Starts it with the images of an archive, of which `pause` is that of sandboxes; waits until it answers.
    pub fn start(bench: &Bench, archive: &Path, pause: &str) -> Result<Self> {
        let directory = bench.path("cri");
        fs::create_dir_all(&directory).context("make the engine's directory")?;
        let at = |name: &str| directory.join(name).display().to_string();
        let config = format!(
            "version = 2\nroot = '{root}'\nstate = '{state}'\n[grpc]\naddress = '{socket}'\n\
             [plugins.'io.containerd.grpc.v1.cri']\nsandbox_image = '{pause}'\ndisable_tcp_service = true\n\
             restrict_oom_score_adj = true\n[plugins.'io.containerd.grpc.v1.cri'.cni]\nbin_dir = '{cni}'\n\
             conf_dir = '{cni}'\n",
            root = at("root"),
            state = at("state"),
            socket = at("containerd.sock"),
            cni = at("cni"),
        );
        fs::write(directory.join("config.toml"), config).context("configure containerd")?;
        let log = File::create(directory.join("log")).context("make the engine's log")?;
        let daemon = Command::new("containerd")
            .args(["--config", &at("config.toml")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("start containerd: `tools/setup test` installs it")?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start a runtime")?;
        let cri = Self {
            directory,
            daemon,
            runtime,
        };
        let deadline = Instant::now() + START;
        while cri.ctr(&["version"]).is_err() {
            ensure!(
                Instant::now() < deadline,
                "containerd did not answer within {START:?}: {}",
                fs::read_to_string(cri.directory.join("log")).unwrap_or_default()
            );
            sleep(POLL);
        }
        cri.ctr(&["images", "import", &archive.display().to_string()])?;
        Ok(cri)
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("containerd.sock")
    }

    fn ctr(&self, args: &[&str]) -> Result<()> {
        let socket = self.socket().display().to_string();
        Command::new("ctr")
            .args(["--address", &socket, "--namespace", NAMESPACE])
            .args(args)
            .output_within(COMMAND)?
            .with_code(0)?;
        Ok(())
    }

    /// A pod in the host's network, labelled as the kubelet does, and with `label`.
    pub fn pod(&self, name: &str, label: (&str, &str)) -> Result<Pod> {
        let uid = format!("{name}-uid");
        let config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: name.to_owned(),
                uid: uid.clone(),
                namespace: "shop".to_owned(),
                attempt: 0,
            }),
            labels: labels(name, &uid, &[label]),
            linux: Some(LinuxPodSandboxConfig {
                security_context: Some(LinuxSandboxSecurityContext {
                    namespace_options: Some(NamespaceOption {
                        network: NamespaceMode::Node.into(),
                        ..Default::default()
                    }),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let request = RunPodSandboxRequest {
            config: Some(config.clone()),
            ..Default::default()
        };
        let id = self.ask(async |client| {
            let answer = client.run_pod_sandbox(request).await?;
            Ok(answer.into_inner().pod_sandbox_id)
        })?;
        Ok(Pod { id, config })
    }

    /// A container in a pod, which has been started; its id.
    pub fn container(
        &self,
        pod: &Pod,
        name: &str,
        image: &str,
        command: &[&str],
    ) -> Result<String> {
        let metadata = pod.config.metadata.clone().unwrap_or_default();
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata {
                name: name.to_owned(),
                attempt: 0,
            }),
            image: Some(ImageSpec {
                image: image.to_owned(),
                ..Default::default()
            }),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            labels: labels(
                &metadata.name,
                &metadata.uid,
                &[("io.kubernetes.container.name", name)],
            ),
            ..Default::default()
        };
        let request = CreateContainerRequest {
            pod_sandbox_id: pod.id.clone(),
            config: Some(config),
            sandbox_config: Some(pod.config.clone()),
        };
        self.ask(async |client| {
            let id = client
                .create_container(request)
                .await?
                .into_inner()
                .container_id;
            let container_id = id.clone();
            client
                .start_container(StartContainerRequest { container_id })
                .await?;
            Ok(id)
        })
    }

    /// Ends a pod, and takes it away with all that is in it. As the kubelet does, again until that is done: what ends by
    /// itself at that moment makes the engine fail.
    pub fn end(&self, pod: &Pod) -> Result<()> {
        let deadline = Instant::now() + COMMAND;
        loop {
            let pod_sandbox_id = pod.id.clone();
            let ended = self.ask(async |client| {
                let stop = StopPodSandboxRequest {
                    pod_sandbox_id: pod_sandbox_id.clone(),
                };
                client.stop_pod_sandbox(stop).await?;
                client
                    .remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id })
                    .await?;
                Ok(())
            });
            if ended.is_ok() || Instant::now() > deadline {
                return ended;
            }
            sleep(POLL);
        }
    }

    fn ask<T>(
        &self,
        what: impl AsyncFnOnce(&mut RuntimeServiceClient<Channel>) -> Result<T>,
    ) -> Result<T> {
        let socket = format!("unix://{}", self.socket().display());
        self.runtime.block_on(async {
            let asked = async {
                let mut client = RuntimeServiceClient::connect(socket).await?;
                what(&mut client).await
            };
            let answer = tokio::time::timeout(COMMAND, asked).await;
            answer.context("CRI did not answer in time")?
        })
    }
}

impl Drop for Cri {
    fn drop(&mut self) {
        engine::end(&mut self.daemon, &self.directory);
    }
}

/// Those by which the kubelet finds its containers again, and others.
fn labels(pod: &str, uid: &str, more: &[(&str, &str)]) -> HashMap<String, String> {
    let kubelet = [
        ("io.kubernetes.pod.name", pod),
        ("io.kubernetes.pod.namespace", "shop"),
        ("io.kubernetes.pod.uid", uid),
    ];
    let all = kubelet.iter().chain(more);
    all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}
