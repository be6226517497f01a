//! Containers to which something happened, asked about side by side: an engine answers about one that it is starting only
//! once that is done, and the others do not wait for it. What happens to one meanwhile waits for the answer about it.

use std::collections::{HashMap, VecDeque};

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::EventMessage;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use super::{convert, inspect};
use crate::runtime::engine::Watcher;
use crate::runtime::table::Details;

/// Containers asked about at a time: each has a connection of its own.
const AT_ONCE: usize = 16;

/// What happened to a container.
#[derive(Debug)]
enum Change {
    /// It ended, with this code where the event says.
    Ended(Option<i32>),
    /// It is another now, or has just been started; with what the event says of it.
    Told {
        attributes: HashMap<String, String>,
        is_start: bool,
    },
}

/// What the engine says of a container.
pub(super) struct Answer {
    id: String,
    attributes: HashMap<String, String>,
    is_start: bool,
    details: Result<Option<Details>, Error>,
}

/// See the module.
pub(super) struct Inquiries<'d> {
    docker: &'d Docker,
    watcher: &'d Watcher,
    open: FuturesUnordered<BoxFuture<'d, Answer>>,
    /// By container that is asked about, what happened to it since.
    behind: HashMap<String, VecDeque<Change>>,
}

impl<'d> Inquiries<'d> {
    pub(super) fn new(docker: &'d Docker, watcher: &'d Watcher) -> Self {
        Self {
            docker,
            watcher,
            open: FuturesUnordered::new(),
            behind: HashMap::new(),
        }
    }

    /// Whether nothing more is to be taken in for now.
    pub(super) fn is_full(&self) -> bool {
        self.open.len() >= AT_ONCE
    }

    /// The next answer; `None`: nothing is asked.
    pub(super) async fn next(&mut self) -> Option<Answer> {
        self.open.next().await
    }

    /// The engine tells of something. What is not about a container is left out.
    pub(super) fn happened(&mut self, event: EventMessage) {
        let actor = event.actor.unwrap_or_default();
        let Some(id) = actor.id else {
            return;
        };
        let attributes = actor.attributes.unwrap_or_default();
        let change = match event.action.as_deref() {
            Some("die" | "destroy") => Change::Ended(convert::exit_code(&attributes)),
            action => Change::Told {
                attributes,
                is_start: action == Some("start"),
            },
        };
        match self.behind.get_mut(&id) {
            Some(behind) => behind.push_back(change),
            None => self.carry_on(id, VecDeque::from([change])),
        }
    }

    /// An answer is there.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn answered(&mut self, answer: Answer) -> Result<(), Error> {
        let Answer {
            id,
            attributes,
            is_start,
            details,
        } = answer;
        let mut details = details?;
        if details.is_none() && !self.watcher.shared.containers.is_told(&id) {
            let runtime = self.watcher.socket.runtime;
            details = Some(convert::gone(id.clone(), attributes, runtime));
        }
        match details {
            Some(details) => self.watcher.tell(details, is_start),
            None if is_start => self.watcher.start(&id, None, true),
            None => {}
        }
        let behind = self.behind.remove(&id).unwrap_or_default();
        self.carry_on(id, behind);
        Ok(())
    }

    /// Does what happened to a container, up to where the engine has to be asked.
    fn carry_on(&mut self, id: String, mut behind: VecDeque<Change>) {
        while let Some(change) = behind.pop_front() {
            match change {
                Change::Ended(code) => self.watcher.shared.end_container(&id, code),
                Change::Told {
                    attributes,
                    is_start,
                } => {
                    let asked = ask(
                        self.docker,
                        self.watcher.socket.runtime,
                        id.clone(),
                        attributes,
                        is_start,
                    );
                    self.open.push(Box::pin(asked));
                    self.behind.insert(id, behind);
                    return;
                }
            }
        }
    }
}

async fn ask(
    docker: &Docker,
    runtime: &'static str,
    id: String,
    attributes: HashMap<String, String>,
    is_start: bool,
) -> Answer {
    let details = inspect(docker, &id, runtime).await;
    Answer {
        id,
        attributes,
        is_start,
        details,
    }
}
