//! Fixed part of records about containers, which the sensor itself writes: engines tell it of them.

/// `container.start`, `container.exit`. The header's process is the container's first one. String: its id.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Lifecycle {
    /// What the first process ended with, as its engine says; [`NO_EXIT_CODE`] where it does not.
    pub exit_code: i32,
    /// Bytes of the id.
    pub id_length: u16,
    /// Explicit padding, zero.
    pub reserved: u16,
}

/// [`Lifecycle::exit_code`] of a container that starts, or of which no engine says it.
pub const NO_EXIT_CODE: i32 = i32::MIN;

/// `container.image`. Strings: what the image is called, its tags, its digests; tags and digests have a space between
/// one and the next, which is in none of them.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Image {
    /// Whose it is: an index into [`RUNTIMES`].
    pub runtime: u16,
    /// What happened to it: an index into [`OPERATIONS`].
    pub operation: u16,
    /// Bytes of the name.
    pub name_length: u16,
    /// Bytes of the tags.
    pub tags_length: u16,
    /// Bytes of the digests.
    pub digests_length: u16,
    /// Explicit padding, zero.
    pub reserved: u16,
}

/// Engines that tell of their images.
pub const RUNTIMES: [&str; 3] = ["docker", "podman", "containerd"];

/// What happens to images. Docker and Podman say how one came, containerd says only that a name came (`create`), now
/// stands for another image (`update`), or went (`delete`).
pub const OPERATIONS: [&str; 9] = [
    "build", "create", "delete", "import", "load", "pull", "tag", "untag", "update",
];

const _: () = {
    assert!(size_of::<Lifecycle>() == 8);
    assert!(size_of::<Image>() == 12);
};
