//! The kernel programs' lookups, over the tables as the loader would write them.

use std::net::IpAddr;

use holdfast_policy::decision::Candidates;
use holdfast_policy::snapshot::{PathBytes, Tables};
use holdfast_policy::table::{
    Dimension, HookTable, KEY_PATH_BYTES, PathKey, Tag, Vector, WORDS, executable_vector_index,
};
use holdfast_wire::Kind;

/// Which half of the maps.
const GENERATION: u32 = 1;

/// What a kernel program knows of an operation; `None` is not known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) target_path: Option<Vec<u8>>,
    pub(crate) executable: Option<Vec<u8>>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: Option<u16>,
    pub(crate) access: Option<usize>,
    /// What the operation is known not to have.
    pub(crate) absent: &'static [Dimension],
}

/// Runs a hook's lookups.
pub(crate) fn candidates(tables: &Tables, kind: Kind, known: &Known) -> Candidates {
    let hook = hook(tables, kind);
    let mut candidates = Candidates::all(hook);
    let mut narrow = |dimension: Dimension, vector: Option<Option<Vector>>| {
        if hook.dimensions >> dimension as u32 & 1 == 0 {
            return;
        }
        match vector {
            None if known.absent.contains(&dimension) => candidates.unlisted(hook, dimension),
            None => candidates.unknown(hook, dimension),
            Some(None) => candidates.unlisted(hook, dimension),
            Some(Some(vector)) => candidates.keep(&vector),
        }
    };
    for (dimension, path) in [
        (Dimension::Path, &known.path),
        (Dimension::TargetPath, &known.target_path),
    ] {
        let tag = Tag::new(GENERATION, kind, dimension);
        let found = path.as_ref().map(|path| {
            let keys = tables
                .paths
                .iter()
                .map(|entry| (entry.key(GENERATION), entry.vector));
            longest(keys, tag, path)
        });
        narrow(dimension, found);
    }
    let class = known.executable.as_ref().map(|path| {
        let keys = tables
            .classes
            .iter()
            .map(|entry| (entry.key(GENERATION), entry.class));
        longest(keys, Tag::executable_class(GENERATION), path).unwrap_or(0)
    });
    let vector = class.map(|class| {
        let index = executable_vector_index(GENERATION, kind as u32, class);
        let mut vectors = tables.executable_vectors.iter();
        let entry = vectors.find(|entry| entry.index(GENERATION) == index);
        Some(entry.map_or([0; WORDS], |entry| entry.vector))
    });
    narrow(Dimension::Executable, vector);
    narrow(
        Dimension::Address,
        known
            .address
            .map(|address| by_address(tables, kind, address)),
    );
    let port = known.port.map(|port| {
        let tag = Tag::new(GENERATION, kind, Dimension::Port);
        let mut ports = tables
            .ports
            .iter()
            .map(|entry| (entry.key(GENERATION), entry.vector));
        ports
            .find(|(key, _)| key.tag == tag && key.port == u32::from(port))
            .map(|(_, vector)| vector)
    });
    narrow(Dimension::Port, port);
    narrow(
        Dimension::Access,
        known.access.map(|mode| Some(hook.access[mode])),
    );
    candidates
}

/// The hook of a kind.
pub(crate) fn hook(tables: &Tables, kind: Kind) -> &HookTable {
    &tables.hooks.iter().find(|(of, _)| *of == kind).unwrap().1
}

fn by_address(tables: &Tables, kind: Kind, address: IpAddr) -> Option<Vector> {
    let bits = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    };
    let tag = Tag::new(GENERATION, kind, Dimension::Address);
    let keys = tables
        .addresses
        .iter()
        .map(|entry| (entry.key(GENERATION), entry.vector));
    let matches = keys.filter(|(key, _)| {
        let behind = 128 - (key.bits - 32);
        let network = u128::from_be_bytes(key.address);
        key.tag == tag && (bits ^ network).checked_shr(behind).unwrap_or(0) == 0
    });
    matches
        .max_by_key(|(key, _)| key.bits)
        .map(|(_, vector)| vector)
}

/// The value of the longest key that `path` with its NUL begins with.
fn longest<T>(keys: impl Iterator<Item = (PathKey, T)>, tag: Tag, path: &[u8]) -> Option<T> {
    let mut bytes = path.to_vec();
    bytes.push(0);
    bytes.truncate(KEY_PATH_BYTES);
    let matches = keys.filter(|(key, _)| {
        let length = (key.bits as usize - 32) / 8;
        key.tag == tag && bytes.get(..length) == Some(&key.path[..length])
    });
    matches
        .max_by_key(|(key, _)| key.bits)
        .map(|(_, value)| value)
}

/// Entries are no longer than keys.
pub(crate) fn all_fit(tables: &Tables) -> bool {
    let fits = |path: &PathBytes| path.as_bytes().len() <= KEY_PATH_BYTES;
    tables.paths.iter().all(|entry| fits(&entry.path))
        && tables.classes.iter().all(|entry| fits(&entry.path))
}
