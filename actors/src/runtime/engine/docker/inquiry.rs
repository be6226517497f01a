//! Containers and images to which something happened, asked about side by side: an engine answers about one that it is starting only
//! once that is done, and the others do not wait for it. What happens to one meanwhile waits for the answer about it.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{EventMessage, EventMessageTypeEnum, ImageInspect};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use super::image::Happened;
use super::{convert, inspect, inspect_image};
use crate::runtime::engine::Engine;
use crate::runtime::table::Details;

/// Containers and images asked about at a time: each has a connection of its own.
const AT_ONCE: usize = 16;

/// What happened to a container or an image.
#[derive(Debug)]
enum Change {
    /// Something, to an image.
    Image(Happened),
    /// A container ended, with this code where the event says.
    Ended(Option<i32>),
    /// A container is another now, or has just been started; with what the event says of it.
    Told {
        attributes: HashMap<String, String>,
        is_start: bool,
    },
}

/// What the engine says of a container or an image.
pub(super) struct Answer {
    id: String,
    about: About,
}

enum About {
    Container {
        attributes: HashMap<String, String>,
        is_start: bool,
        details: Result<Option<Box<Details>>, Error>,
    },
    Image(Happened, Result<Option<Box<ImageInspect>>, Error>),
}

/// See the module.
pub(super) struct Inquiries<'d> {
    docker: &'d Docker,
    engine: &'d Engine,
    open: FuturesUnordered<BoxFuture<'d, Answer>>,
    /// Since when what happens to images is news.
    began: Duration,
    /// By container or image that is asked about, what happened to it since.
    behind: HashMap<String, VecDeque<Change>>,
}

impl<'d> Inquiries<'d> {
    /// For a watch that began so long after 1970.
    pub(super) fn new(docker: &'d Docker, engine: &'d Engine, began: Duration) -> Self {
        Self {
            docker,
            engine,
            began,
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

    /// The engine tells of something. What is not about a container or an image is left out.
    pub(super) fn happened(&mut self, event: EventMessage) {
        let actor = event.actor.unwrap_or_default();
        if event.typ == Some(EventMessageTypeEnum::IMAGE) {
            // What a container became is asked for, and old news of it does no harm; that an image came is told each time.
            let at = event.time_nano.and_then(|at| u64::try_from(at).ok());
            let is_news = at.is_none_or(|at| Duration::from_nanos(at) >= self.began);
            if let Some(happened) =
                Happened::read(event.action.as_deref(), actor).filter(|_| is_news)
            {
                self.add(happened.key().to_owned(), Change::Image(happened));
            }
            return;
        }
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
        self.add(id, change);
    }

    fn add(&mut self, id: String, change: Change) {
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
        let Answer { id, about } = answer;
        match about {
            About::Container {
                attributes,
                is_start,
                details,
            } => self.tell(&id, attributes, is_start, details?.map(|it| *it)),
            About::Image(happened, inspected) => self.tell_image(happened, inspected?),
        }
        let behind = self.behind.remove(&id).unwrap_or_default();
        self.carry_on(id, behind);
        Ok(())
    }

    fn tell(
        &self,
        id: &str,
        attributes: HashMap<String, String>,
        is_start: bool,
        mut details: Option<Details>,
    ) {
        if details.is_none() && !self.engine.shared.containers.is_told(id) {
            let runtime = self.engine.socket.runtime;
            details = Some(convert::gone(id.to_owned(), attributes, runtime));
        }
        match details {
            Some(details) => self.engine.tell(details, is_start),
            None if is_start => self.engine.start(id),
            None => {}
        }
    }

    fn tell_image(&self, happened: Happened, inspected: Option<Box<ImageInspect>>) {
        let operation = happened.operation;
        if let Some(image) = happened.image(inspected.map(|it| *it)) {
            let runtime = self.engine.socket.runtime;
            self.engine.shared.tell_image(runtime, operation, &image);
        }
    }

    /// Does what happened to a container or an image, up to where the engine has to be asked.
    fn carry_on(&mut self, id: String, mut behind: VecDeque<Change>) {
        while let Some(change) = behind.pop_front() {
            match change {
                Change::Image(happened) if happened.is_gone() => self.tell_image(happened, None),
                Change::Image(happened) => {
                    let asked = ask_about_image(self.docker, id.clone(), happened);
                    self.open.push(Box::pin(asked));
                    self.behind.insert(id, behind);
                    return;
                }
                Change::Ended(code) => self.engine.end(&id, code),
                Change::Told {
                    attributes,
                    is_start,
                } => {
                    let asked = ask(
                        self.docker,
                        self.engine.socket.runtime,
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
    let details = details.map(|it| it.map(Box::new));
    let about = About::Container {
        attributes,
        is_start,
        details,
    };
    Answer { id, about }
}

async fn ask_about_image(docker: &Docker, id: String, happened: Happened) -> Answer {
    let inspected = inspect_image(docker, happened.key()).await;
    Answer {
        id,
        about: About::Image(happened, inspected),
    }
}
