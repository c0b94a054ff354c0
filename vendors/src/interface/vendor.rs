//! Platforms by their names and numbers.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::definition::{Catalogue, Definition};
use crate::description::Schema;
use crate::policy::{Handling, Policy};

/// A platform that this room speaks to: the name of a definition that is built in or was loaded
/// when the process began ([`Catalogue::install`]).
#[derive(Clone, Copy)]
pub struct Vendor(&'static Definition);

impl Vendor {
    /// Every vendor in the order of their numbers, for lists and help.
    pub fn all() -> Vec<Vendor> {
        Catalogue::current().all().into_iter().map(Vendor).collect()
    }

    /// The vendor of a configuration word, such as `huawei`.
    pub fn named(word: &str) -> Option<Vendor> {
        Catalogue::current().named(word).map(Vendor)
    }

    /// The vendor of a type's number.
    pub fn numbered(id: u32) -> Option<Vendor> {
        Vendor::all().into_iter().find(|v| v.0.id == id)
    }

    /// Huawei Cloud PrivateNumber, the one that samples and tests are made with.
    pub fn huawei() -> Vendor {
        Vendor::named("huawei").expect("it is built in")
    }

    /// One that is in no catalogue.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of(definition: &'static Definition) -> Vendor {
        Vendor(definition)
    }

    /// The word in configuration.
    pub fn name(self) -> &'static str {
        &self.0.name
    }

    /// What it can do and how its numbers may be combined.
    pub fn policy(self) -> Policy {
        self.0.policy
    }

    /// How it wants to be treated when things go wrong.
    pub fn handling(self) -> &'static Handling {
        &self.0.handling
    }

    /// What a form for an interface of it needs.
    pub fn schema(self) -> Schema<'static> {
        self.0.schema()
    }

    /// Everything that is known of it.
    pub fn describe(self) -> &'static Definition {
        self.0
    }
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name)
    }
}

impl fmt::Debug for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name)
    }
}

impl PartialEq for Vendor {
    fn eq(&self, other: &Vendor) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Vendor {}

impl Serialize for Vendor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.name)
    }
}

impl<'de> Deserialize<'de> for Vendor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Vendor, D::Error> {
        let word = String::deserialize(deserializer)?;
        Vendor::named(&word)
            .ok_or_else(|| D::Error::custom(format!("`{word}` is no platform's type")))
    }
}
