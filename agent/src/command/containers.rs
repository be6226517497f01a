//! `holdfast containers`: what the cgroups of processes and the engines say, with or without a sensor.

use holdfast_actors::runtime::listing;
use holdfast_wire::event::Image;

use crate::cli::Show;
use crate::control::client::block_on;
use crate::failure::Failure;
use crate::output::{self, Table};

/// As much of an id as people read.
const SHORT: usize = 12;

pub(super) fn containers(arguments: &Show) -> Result<(), Failure> {
    let config = arguments.settings.inputs().load()?;
    let listing = block_on(async { Ok(listing::list(&config.host.fs, &config.engines()).await) })?;
    for error in &listing.errors {
        eprintln!("holdfast: an engine does not answer, so its containers have no name: {error}");
    }
    if arguments.json {
        return output::json(&listing);
    }
    let mut table = Table::new([
        "CONTAINER",
        "NAME",
        "IMAGE",
        "RUNTIME",
        "POD",
        "PRIVILEGED",
        "KERNEL",
        "PROCESSES",
    ]);
    for listed in &listing.containers {
        let container = &listed.container;
        let id = &container.id[..container.id.floor_char_boundary(SHORT)];
        let image = container.image.as_ref();
        let image = image.map(Image::reference);
        let pod = listed.pod.as_ref().map(|pod| match pod.name.as_str() {
            "" => pod.uid.clone(),
            name => format!("{}/{name}", pod.namespace),
        });
        let privileged = container.privileged;
        table.row([
            id.to_owned(),
            container.name.clone().unwrap_or_default(),
            image.unwrap_or_default(),
            container.runtime.unwrap_or_default().to_owned(),
            pod.unwrap_or_default(),
            privileged
                .map_or("", |it| if it { "yes" } else { "no" })
                .to_owned(),
            listed.guest_kernel.unwrap_or("host").to_owned(),
            listed.processes.to_string(),
        ]);
    }
    output::text(&table.render(0))?;
    if listing
        .containers
        .iter()
        .any(|it| it.guest_kernel.is_some())
    {
        eprintln!(
            "holdfast: what happens in containers with a kernel of their own is not seen from this host: see docs/install/guest-kernels.md"
        );
    }
    Ok(())
}
