//! The types of an isolated stage, by which the pipeline and a worker know that they mean the same stage.

use super::Isolated;
use serde::{Deserialize, Serialize};
use std::any::{TypeId, type_name};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The types of an isolated stage: their names, for messages, and a fingerprint that is the same in every process of
/// one program, and tells apart what is named alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Types {
    pub(super) stage: String,
    input: String,
    output: String,
    settings: String,
    fingerprint: u64,
}

impl Types {
    /// Those of a stage that gives a `V` to the next.
    pub(super) fn of<S: Isolated, V: 'static>() -> Self {
        let mut hasher = DefaultHasher::new();
        TypeId::of::<S>().hash(&mut hasher);
        TypeId::of::<S::Input>().hash(&mut hasher);
        TypeId::of::<V>().hash(&mut hasher);
        TypeId::of::<S::Settings>().hash(&mut hasher);
        Types {
            stage: type_name::<S>().to_owned(),
            input: type_name::<S::Input>().to_owned(),
            output: type_name::<V>().to_owned(),
            settings: type_name::<S::Settings>().to_owned(),
            fingerprint: hasher.finish(),
        }
    }
}

impl fmt::Display for Types {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Types { stage, input, output, settings, .. } = self;
        write!(f, "{stage}, which takes {input}, gives {output} and is made from {settings}")
    }
}
