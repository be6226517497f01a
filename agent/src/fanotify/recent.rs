//! A table of bounded size: what came first goes first.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// See the module.
#[derive(Debug)]
pub(crate) struct Recent<K, V, const SIZE: usize> {
    values: HashMap<K, V>,
    /// In the order in which they came; some are gone already.
    order: VecDeque<K>,
}

impl<K, V, const SIZE: usize> Default for Recent<K, V, SIZE> {
    fn default() -> Self {
        Self {
            values: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<K: Copy + Eq + Hash, V, const SIZE: usize> Recent<K, V, SIZE> {
    pub(crate) fn get(&self, key: K) -> Option<&V> {
        self.values.get(&key)
    }

    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.values.get_mut(&key)
    }

    /// The value of a key, made if it has none.
    pub(crate) fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        if !self.values.contains_key(&key) {
            while self.values.len() >= SIZE
                && let Some(oldest) = self.order.pop_front()
            {
                self.values.remove(&oldest);
            }
            if self.order.len() >= 2 * SIZE {
                let values = &self.values;
                self.order.retain(|key| values.contains_key(key));
            }
            self.order.push_back(key);
        }
        self.values.entry(key).or_insert_with(make)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.values.iter()
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<V> {
        self.values.remove(&key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_and_the_order_is_bounded() {
        let mut recent = Recent::<u32, u32, 4>::default();
        for key in 0..6 {
            *recent.entry(key, || 0) += key;
        }
        assert_eq!((recent.get(1), recent.get(2)), (None, Some(&2)));
        *recent.get_mut(2).unwrap() = 9;
        assert_eq!(recent.remove(2), Some(9));
        for key in 0..1000 {
            recent.entry(key % 7, || 0);
            recent.remove(key % 7);
        }
        assert!(recent.order.len() <= 8 && recent.values.len() <= 4);
    }
}
