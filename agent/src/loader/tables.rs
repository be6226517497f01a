//! Writing the policy tables: the half that is not in force is filled, then the halves are switched.

use std::time::Duration;

use aya::maps::lpm_trie::Key;
use aya::maps::{Array, HashMap, LpmTrie, MapData, MapError};
use holdfast_actors::clock;
use holdfast_policy::snapshot::Tables;
use holdfast_policy::table::{
    CLASSES, GENERATIONS, HOOKS, HookTable, KEY_PATH_BYTES, KEY_SUFFIX_BYTES, NAME_BUCKETS,
    NumberKey, Tag, Vector, WORDS, class_index,
};
use holdfast_wire::control::{Control, ProcessKey};

use super::maps::Maps;
use super::pod::Plain;
use super::reason::chain;

type PathTrie<V> = LpmTrie<MapData, [u8; KEY_PATH_BYTES + 4], V>;
type PathTrieKey = Key<[u8; KEY_PATH_BYTES + 4]>;
type SuffixTrieKey = Key<[u8; KEY_SUFFIX_BYTES + 4]>;
type AddressTrieKey = Key<[u8; 20]>;

/// The policy maps.
pub(crate) struct PolicyMaps {
    control: Array<MapData, Plain<Control>>,
    hooks: Array<MapData, Plain<HookTable>>,
    paths: PathTrie<Vector>,
    classes: PathTrie<u32>,
    ancestor_conditions: Array<MapData, u32>,
    suffixes: LpmTrie<MapData, [u8; KEY_SUFFIX_BYTES + 4], Vector>,
    names: Array<MapData, Vector>,
    addresses: LpmTrie<MapData, [u8; 20], Vector>,
    numbers: HashMap<MapData, Plain<NumberKey>, Vector>,
    /// What each half holds, to be removed before it is filled again.
    entered: [Entered; GENERATIONS],
    state: Control,
}

#[derive(Default)]
struct Entered {
    paths: Vec<PathTrieKey>,
    classes: Vec<PathTrieKey>,
    suffixes: Vec<SuffixTrieKey>,
    names: Vec<u32>,
    addresses: Vec<AddressTrieKey>,
    numbers: Vec<NumberKey>,
}

/// A program that read the old half may still be running when the halves are switched, and it may be
/// preempted; a half is not written again before this time has passed.
const GRACE: Duration = Duration::from_millis(50);

/// What reading two clocks one after the other may differ by, nanoseconds: far above what it does, far
/// below any suspension.
const CLOCK_TOLERANCE: u64 = 1_000_000;

impl PolicyMaps {
    /// Takes the maps.
    pub(super) fn take(maps: &mut Maps) -> Result<Self, String> {
        Ok(Self {
            control: maps.take("CONTROL")?,
            hooks: maps.take("HOOKS")?,
            paths: maps.take("PATHS")?,
            classes: maps.take("CLASSES_BY_PATH")?,
            ancestor_conditions: maps.take("ANCESTOR_CONDITIONS_BY_CLASS")?,
            suffixes: maps.take("SUFFIXES")?,
            names: maps.take("NAMES")?,
            addresses: maps.take("ADDRESSES")?,
            numbers: maps.take("NUMBERS")?,
            entered: Default::default(),
            state: Control::default(),
        })
    }

    /// Goes on with what an earlier sensor has written: what it put into force stays so.
    pub(super) fn adopt(&mut self) -> Result<(), String> {
        let Plain(state) = self.control.get(&0, 0).map_err(|error| chain(&error))?;
        self.state = state;
        let entered = &mut self.entered;
        note(
            self.paths.keys(),
            entered,
            |half| &mut half.paths,
            |key| half_of(&key.data()),
        )?;
        note(
            self.classes.keys(),
            entered,
            |half| &mut half.classes,
            |key| half_of(&key.data()),
        )?;
        note(
            self.suffixes.keys(),
            entered,
            |half| &mut half.suffixes,
            |key| half_of(&key.data()),
        )?;
        note(
            self.addresses.keys(),
            entered,
            |half| &mut half.addresses,
            |key| half_of(&key.data()),
        )?;
        let numbers = self.numbers.keys().map(|key| key.map(|Plain(key)| key));
        note(
            numbers,
            entered,
            |half| &mut half.numbers,
            |key| usize::from(key.tag.generation),
        )?;
        for (index, vector) in self.names.iter().enumerate() {
            let vector = vector.map_err(|error| chain(&error))?;
            if vector != [0; WORDS] {
                // The map has far fewer than 2^32 entries.
                entered[index / NAME_BUCKETS].names.push(index as u32);
            }
        }
        Ok(())
    }

    /// Tells the programs which process is the sensor; its number is 0 for none. `start`: see
    /// [`Control::sensor_start`].
    pub(crate) fn set_sensor(&mut self, sensor: ProcessKey) -> Result<(), String> {
        self.state.sensor_tgid = sensor.tgid;
        self.state.sensor_start = sensor.start;
        self.publish()
    }

    /// Tells the programs how far boot time is ahead of monotonic time, if that has changed: by the time
    /// that the machine was suspended.
    pub(crate) fn set_clock(&mut self) -> Result<(), String> {
        let ahead = clock::boottime_minus_monotonic();
        if ahead.abs_diff(self.state.boottime_ahead) <= CLOCK_TOLERANCE {
            return Ok(());
        }
        self.state.boottime_ahead = ahead;
        self.publish()
    }

    fn publish(&mut self) -> Result<(), String> {
        self.control
            .set(0, Plain(self.state), 0)
            .map_err(|error| chain(&error))
    }

    /// Puts `tables` into force.
    pub(crate) fn install(&mut self, tables: &Tables) -> Result<(), String> {
        let generation = (self.state.generation + 1) % GENERATIONS as u32;
        std::thread::sleep(GRACE);
        self.clear(generation)?;
        self.fill(generation, tables)?;
        self.state.generation = generation;
        self.publish()
    }

    fn clear(&mut self, generation: u32) -> Result<(), String> {
        let entered = std::mem::take(&mut self.entered[generation as usize]);
        for key in &entered.paths {
            self.paths.remove(key).map_err(|error| chain(&error))?;
        }
        for key in &entered.classes {
            self.classes.remove(key).map_err(|error| chain(&error))?;
        }
        for key in &entered.suffixes {
            self.suffixes.remove(key).map_err(|error| chain(&error))?;
        }
        for index in &entered.names {
            self.names
                .set(*index, [0; WORDS], 0)
                .map_err(|error| chain(&error))?;
        }
        for key in &entered.addresses {
            self.addresses.remove(key).map_err(|error| chain(&error))?;
        }
        for key in &entered.numbers {
            self.numbers
                .remove(&Plain(*key))
                .map_err(|error| chain(&error))?;
        }
        Ok(())
    }

    fn fill(&mut self, generation: u32, tables: &Tables) -> Result<(), String> {
        let entered = &mut self.entered[generation as usize];
        for entry in &tables.paths {
            let key = entry.key(generation);
            let key = Key::new(key.bits, joined(key.tag, &key.path));
            self.paths
                .insert(&key, entry.vector, 0)
                .map_err(|error| chain(&error))?;
            entered.paths.push(key);
        }
        for entry in &tables.classes {
            let key = entry.key(generation);
            let key = Key::new(key.bits, joined(key.tag, &key.path));
            self.classes
                .insert(&key, entry.class, 0)
                .map_err(|error| chain(&error))?;
            entered.classes.push(key);
        }
        for entry in &tables.suffixes {
            let key = entry.key(generation);
            let key = Key::new(key.bits, joined(key.tag, &key.reversed));
            self.suffixes
                .insert(&key, entry.vector, 0)
                .map_err(|error| chain(&error))?;
            entered.suffixes.push(key);
        }
        for entry in &tables.names {
            let index = generation * NAME_BUCKETS as u32 + entry.bucket;
            self.names
                .set(index, entry.vector, 0)
                .map_err(|error| chain(&error))?;
            entered.names.push(index);
        }
        for entry in &tables.addresses {
            let key = entry.key(generation);
            let key = Key::new(key.bits, joined(key.tag, &key.address));
            self.addresses
                .insert(&key, entry.vector, 0)
                .map_err(|error| chain(&error))?;
            entered.addresses.push(key);
        }
        for entry in &tables.numbers {
            let key = entry.key(generation);
            self.numbers
                .insert(Plain(key), entry.vector, 0)
                .map_err(|error| chain(&error))?;
            entered.numbers.push(key);
        }
        for class in 0..CLASSES as u32 {
            let met = tables.ancestor_conditions.get(class as usize);
            self.ancestor_conditions
                .set(class_index(generation, class), met.copied().unwrap_or(0), 0)
                .map_err(|error| chain(&error))?;
        }
        for (kind, table) in &tables.hooks {
            let index = generation * HOOKS as u32 + *kind as u32;
            self.hooks
                .set(index, Plain(**table), 0)
                .map_err(|error| chain(&error))?;
        }
        Ok(())
    }
}

/// Notes the keys that a map has in the half that each belongs to.
fn note<K>(
    keys: impl Iterator<Item = Result<K, MapError>>,
    entered: &mut [Entered; GENERATIONS],
    list: impl Fn(&mut Entered) -> &mut Vec<K>,
    half: impl Fn(&K) -> usize,
) -> Result<(), String> {
    for key in keys {
        let key = key.map_err(|error| chain(&error))?;
        if let Some(entered) = entered.get_mut(half(&key)) {
            list(entered).push(key);
        }
    }
    Ok(())
}

/// Which half the data of a trie key belong to: see [`joined`].
fn half_of<const DATA: usize>(data: &[u8; DATA]) -> usize {
    usize::from(data[0])
}

/// The data of a trie key: the tag, then the value.
fn joined<const VALUE: usize, const DATA: usize>(tag: Tag, value: &[u8; VALUE]) -> [u8; DATA] {
    let mut data = [0; DATA];
    data[..4].copy_from_slice(&[tag.generation, tag.hook, tag.dimension, tag.reserved]);
    data[4..4 + VALUE].copy_from_slice(value);
    data
}
