//! The wire format: how serde's values become bytes, and what serde's attributes may ask for that the bytes cannot
//! carry.
//!
//! The bytes have neither names nor types in them: the reader knows what comes, field after field. So nothing may be
//! left out, and nothing may be asked what it is.

mod check;

use check::Check;
use postcard::ser_flavors::Size;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The reason why a value cannot cross, or bytes are no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    /// A field that is expected there would be missing.
    #[error(
        "{of} leaves out its field {field:?}, as with #[serde(skip_serializing_if)], but every field must be there for the \
         other process: remove the attribute, or implement Transfer for the type"
    )]
    FieldLeftOut { of: &'static str, field: &'static str },
    /// The number of entries must be written before them.
    #[error(
        "the value has a map or a list that does not say its length, as with #[serde(flatten)], which the other process has to know \
         first: write the fields out, or implement Transfer for the type"
    )]
    LengthUnknown,
    /// The bytes do not tell what they are.
    #[error(
        "the value has a type that learns from its bytes what it is, as with #[serde(untagged)], #[serde(tag)], #[serde(flatten)] \
         and serde_json::Value, which these bytes do not tell: leave the attribute out, or implement Transfer for the type"
    )]
    AsksWhatItIs,
    /// The bytes that were written are not what is read.
    #[error(
        "what was written for {of} is not what is read ({why}): with #[serde(skip_serializing)], #[serde(skip_deserializing)] \
         or #[serde(with)], both sides must have the same fields"
    )]
    ReadsOtherwise { of: &'static str, why: String },
    /// An error of the value itself, or of the format.
    #[error("{0}")]
    Other(String),
}

/// Returns the number of bytes that a value takes.
pub(crate) fn size<T: Serialize + ?Sized>(value: &T) -> Result<usize, WireError> {
    Check::value(value)?;
    postcard::serialize_with_flavor(value, Size::default()).map_err(other)
}

/// Writes a value into as many bytes as `size` said.
pub(crate) fn write<T: Serialize + ?Sized>(value: &T, room: &mut [u8]) -> Result<(), WireError> {
    // `size` has come first, and has refused what has to be refused.
    postcard::to_slice(value, room).map(drop).map_err(other)
}

fn other(error: postcard::Error) -> WireError {
    WireError::Other(error.to_string())
}

/// The value again.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    let of = std::any::type_name::<T>();
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(WireError::ReadsOtherwise { of, why: format!("{} bytes are left over", rest.len()) }),
        Err(postcard::Error::WontImplement) => Err(WireError::AsksWhatItIs),
        // Its words are lost on the way through the format.
        Err(postcard::Error::SerdeDeCustom) => Err(WireError::Other(format!("{of} refuses what was written for it"))),
        Err(error) => Err(WireError::ReadsOtherwise { of, why: error.to_string() }),
    }
}

/// A value as bytes from which it can be read again: tried here, since the other process could only fail.
#[cfg(any(processes, test))]
pub(crate) fn to_readable_bytes<T: Serialize + DeserializeOwned>(value: &T) -> Result<Vec<u8>, WireError> {
    let mut bytes = vec![0; size(value)?];
    write(value, &mut bytes)?;
    read::<T>(&bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{WireError, read, size, to_readable_bytes};
    use serde::{Deserialize, Serialize};
    use std::collections::{BTreeMap, HashMap};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct LeavesOut {
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        number: u32,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Many {
        Unit,
        New(LeavesOut),
        Tuple(u8, Box<LeavesOut>),
        Struct { inner: (LeavesOut,), list: Vec<Option<LeavesOut>>, map: BTreeMap<u8, LeavesOut> },
    }

    fn whole() -> LeavesOut {
        LeavesOut { name: Some("a".to_owned()), number: 1 }
    }

    fn lacking() -> LeavesOut {
        LeavesOut { name: None, number: 0 }
    }

    fn all(one: fn() -> LeavesOut) -> [Many; 5] {
        let of = |inner: fn() -> LeavesOut, list: fn() -> LeavesOut, map: fn() -> LeavesOut| Many::Struct {
            inner: (inner(),),
            list: vec![None, Some(list())],
            map: [(7, map())].into(),
        };
        let tuple = Many::Tuple(2, Box::new(one()));
        [Many::New(one()), tuple, of(one, whole, whole), of(whole, one, whole), of(whole, whole, one)]
    }

    #[test]
    fn a_field_that_is_left_out_is_named_wherever_it_is() {
        assert_eq!(to_readable_bytes(&Many::Unit).map(|bytes| bytes.len()), Ok(1));
        for value in all(whole) {
            let bytes = to_readable_bytes(&value).unwrap();
            assert_eq!(bytes.len(), postcard::to_stdvec(&value).unwrap().len());
            assert_eq!(read::<Many>(&bytes).unwrap(), value);
        }
        for value in all(lacking) {
            assert_eq!(size(&value), Err(WireError::FieldLeftOut { of: "LeavesOut", field: "name" }), "{value:?}");
        }
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Flat {
        #[serde(flatten)]
        rest: HashMap<String, u32>,
    }

    #[derive(Debug, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u32),
    }

    #[derive(Debug, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Circle { radius: u32 },
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct ReadsLess {
        #[serde(skip_deserializing)]
        name: String,
        number: u32,
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct WritesLess {
        #[serde(skip_serializing)]
        #[expect(dead_code, reason = "it is not written")]
        name: String,
    }

    #[derive(Debug, Deserialize)]
    struct Shy;

    impl Serialize for Shy {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("too shy"))
        }
    }

    /// The refusal of a value, as its user reads it.
    fn refusal<T: Serialize + serde::de::DeserializeOwned>(value: &T) -> String {
        to_readable_bytes(value).unwrap_err().to_string()
    }

    #[test]
    fn attributes_that_the_bytes_cannot_carry_are_named() {
        assert!(refusal(&Flat { rest: [("a".to_owned(), 1)].into() }).contains("#[serde(flatten)]"));
        assert!(refusal(&Untagged::Number(1)).contains("#[serde(untagged)]"));
        assert!(refusal(&Tagged::Circle { radius: 1 }).contains("#[serde(tag)]"));
        let less = refusal(&ReadsLess { name: "a".to_owned(), number: 1 });
        assert!(less.contains("ReadsLess") && less.contains("#[serde(skip_deserializing)]"), "{less}");
        let less = refusal(&WritesLess { name: "a".to_owned() });
        assert!(less.contains("WritesLess") && less.contains("#[serde(skip_serializing)]"), "{less}");
        assert_eq!(refusal(&Shy), "too shy");
    }
}
