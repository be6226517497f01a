//! Texts that may have secrets in them.

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer};

/// A list of texts: rules judge it as it is, and whatever leaves the sensor has it redacted. Being
/// printed, in JSON or for debugging, is leaving.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Redactable<'a> {
    known: Cow<'a, [String]>,
    /// `None`: nothing of it is redacted.
    shown: Option<Cow<'a, [String]>>,
}

impl<'a> Redactable<'a> {
    /// `known` as it is, and what is shown in its place where that is something else.
    #[must_use]
    pub const fn new(known: Cow<'a, [String]>, shown: Option<Cow<'a, [String]>>) -> Self {
        Self { known, shown }
    }

    /// The same, borrowed.
    #[must_use]
    pub fn borrowed(&'a self) -> Self {
        Self {
            known: Cow::Borrowed(&self.known),
            shown: self.shown.as_deref().map(Cow::Borrowed),
        }
    }

    /// The same, owned.
    #[must_use]
    pub fn into_owned(self) -> Redactable<'static> {
        Redactable {
            known: Cow::Owned(self.known.into_owned()),
            shown: self.shown.map(|shown| Cow::Owned(shown.into_owned())),
        }
    }

    /// What rules judge.
    #[must_use]
    pub fn known(&self) -> &[String] {
        &self.known
    }

    /// What people see.
    #[must_use]
    pub fn shown(&self) -> &[String] {
        self.shown.as_deref().unwrap_or(&self.known)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Bytes that it takes, with 24 for each text's own `String`.
    #[must_use]
    pub fn weight(&self) -> usize {
        let shown = self.shown.as_deref().unwrap_or_default();
        let texts = self.known.iter().chain(shown);
        texts.map(|text| text.len() + 24).sum()
    }
}

impl Serialize for Redactable<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.shown().serialize(serializer)
    }
}

impl fmt::Debug for Redactable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown().fmt(f)
    }
}
