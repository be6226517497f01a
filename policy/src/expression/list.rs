//! The named lists of a policy, and those in expressions. What is made of one is made once, however many rules
//! ask for it: the room that a policy takes does not grow with the length of its lists times its rules.

use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use holdfast_wire::text;

/// Longest list that `Debug` shows.
const SHOWN: usize = 16;

/// Texts, sorted.
#[derive(Default)]
pub(crate) struct List {
    texts: Vec<String>,
    paths: OnceLock<Option<Arc<[Vec<u8>]>>>,
    addresses: OnceLock<Option<Arc<[IpAddr]>>>,
}

impl List {
    pub(crate) fn new(mut texts: Vec<String>) -> Self {
        texts.sort_unstable();
        Self {
            texts,
            ..Self::default()
        }
    }

    /// As the kernel's bytes, sorted; `None` where one of the texts is that of no path.
    pub(crate) fn paths(&self) -> Option<Arc<[Vec<u8>]>> {
        let paths = self.paths.get_or_init(|| {
            let paths = self.texts.iter().map(|text| path_bytes(text));
            let mut paths: Vec<_> = paths.collect::<Option<_>>()?;
            paths.sort_unstable();
            Some(paths.into())
        });
        paths.clone()
    }

    /// As canonical addresses, sorted; `None` where one of the texts is none.
    pub(crate) fn addresses(&self) -> Option<Arc<[IpAddr]>> {
        let addresses = self.addresses.get_or_init(|| {
            let parsed = self.texts.iter().map(|text| text.parse::<IpAddr>().ok());
            let canonical = parsed.map(|address| address.map(|it| it.to_canonical()));
            let mut addresses: Vec<_> = canonical.collect::<Option<_>>()?;
            addresses.sort_unstable();
            Some(addresses.into())
        });
        addresses.clone()
    }
}

/// The kernel's bytes of a path that events show like this; `None` where they show none so.
pub(crate) fn path_bytes(text: &str) -> Option<Vec<u8>> {
    let bytes = text::path_bytes(text)?;
    // A NUL ends a path.
    (!bytes.contains(&0)).then(|| bytes.into_owned())
}

impl Deref for List {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.texts
    }
}

impl PartialEq for List {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self.texts == other.texts
    }
}

/// Of a long list no more than which one it is.
impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.texts.len() <= SHOWN {
            self.texts.fmt(f)
        } else {
            write!(f, "{} texts at {:p}", self.texts.len(), self.texts.as_ptr())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> List {
        List::new(texts.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn what_is_made_of_a_list_is_made_once() {
        let list = list(&["::ffff:10.0.0.1", "::1"]);
        let addresses = list.addresses().unwrap();
        assert_eq!(
            *addresses,
            [
                "10.0.0.1".parse::<IpAddr>().unwrap(),
                "::1".parse().unwrap()
            ]
        );
        assert!(Arc::ptr_eq(&addresses, &list.addresses().unwrap()));
        assert!(Arc::ptr_eq(&list.paths().unwrap(), &list.paths().unwrap()));
    }

    #[test]
    fn one_that_is_none_spoils_all() {
        assert_eq!(list(&["10.0.0.1", "10.0.0"]).addresses(), None);
        assert_eq!(list(&["/a", "/b\0"]).paths(), None);
    }
}
