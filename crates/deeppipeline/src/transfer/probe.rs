//! A look at what serde would read, before there is a sample: for a type that has to be asked what it is.
//!
//! No value is ever made, of whatever type: a user's `Drop` might take it for a real one. Whatever would be read is an
//! error, so of each type only what comes first in it is seen, and of an enum each variant in its turn. The rest is
//! found when the first sample is read.

use serde::de::value::U32Deserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};
use std::cell::Cell;
use std::fmt::{self, Display};

/// The depth to which types may lie in each other: one that has itself in it has no end.
const DEEPEST: usize = 64;

/// Returns true if a type is seen to learn from its bytes what it is.
pub(super) fn asks_what_it_is<T: DeserializeOwned>() -> bool {
    let variants = Cell::new(1);
    let mut variant = 0;
    while variant < variants.get() {
        if let Err(Seen::AsksWhatItIs) = T::deserialize(Probe { variant, variants: &variants, depth: 0 }) {
            return true;
        }
        variant += 1;
    }
    false
}

/// The end of every probe.
#[derive(Debug)]
enum Seen {
    AsksWhatItIs,
    Enough,
}

impl Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this is no value")
    }
}

impl std::error::Error for Seen {}

impl de::Error for Seen {
    fn custom<T: Display>(_: T) -> Self {
        Seen::Enough
    }
}

#[derive(Clone, Copy)]
struct Probe<'a> {
    /// The variant that every enum has this time.
    variant: u32,
    /// The most that an enum was seen to have.
    variants: &'a Cell<u32>,
    depth: usize,
}

impl Probe<'_> {
    fn deeper(self) -> Result<Self, Seen> {
        if self.depth == DEEPEST { Err(Seen::Enough) } else { Ok(Probe { depth: self.depth + 1, ..self }) }
    }

    /// Reads the first of `parts` parts.
    fn first<'de, V: Visitor<'de>>(self, parts: usize, visitor: V) -> Result<V::Value, Seen> {
        if parts == 0 { Err(Seen::Enough) } else { visitor.visit_seq(self.deeper()?) }
    }
}

macro_rules! enough {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Seen> {
            Err(Seen::Enough)
        })*
    };
}

macro_rules! asks {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Seen> {
            Err(Seen::AsksWhatItIs)
        })*
    };
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Seen;

    enough! {
        deserialize_bool deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_unit
    }

    asks! { deserialize_any deserialize_ignored_any deserialize_identifier }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Seen> {
        visitor.visit_some(self.deeper()?)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, _: V) -> Result<V::Value, Seen> {
        Err(Seen::Enough)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Seen> {
        visitor.visit_newtype_struct(self.deeper()?)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Seen> {
        self.first(1, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Seen> {
        self.first(length, visitor)
    }

    fn deserialize_tuple_struct<V>(self, _: &'static str, length: usize, visitor: V) -> Result<V::Value, Seen>
    where
        V: Visitor<'de>,
    {
        self.first(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Seen> {
        visitor.visit_map(self.deeper()?)
    }

    fn deserialize_struct<V>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Seen>
    where
        V: Visitor<'de>,
    {
        self.first(fields.len(), visitor)
    }

    fn deserialize_enum<V>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Seen>
    where
        V: Visitor<'de>,
    {
        let count = u32::try_from(variants.len()).unwrap_or(u32::MAX);
        self.variants.set(self.variants.get().max(count));
        visitor.visit_enum(self.deeper()?)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

impl<'de> de::SeqAccess<'de> for Probe<'_> {
    type Error = Seen;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Seen> {
        seed.deserialize(*self).map(Some)
    }
}

impl<'de> de::MapAccess<'de> for Probe<'_> {
    type Error = Seen;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Seen> {
        seed.deserialize(*self).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Seen> {
        seed.deserialize(*self)
    }
}

impl<'de> de::EnumAccess<'de> for Probe<'_> {
    type Error = Seen;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Seen> {
        // An enum with fewer variants has no such one, which is an error like any other.
        let variant: U32Deserializer<Seen> = self.variant.into_deserializer();
        Ok((seed.deserialize(variant)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Probe<'_> {
    type Error = Seen;

    fn unit_variant(self) -> Result<(), Seen> {
        Err(Seen::Enough)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Seen> {
        seed.deserialize(self.deeper()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Seen> {
        self.first(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Seen> {
        self.first(fields.len(), visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::asks_what_it_is;
    use serde::Deserialize;
    use std::collections::{BTreeMap, HashMap};

    #[derive(Deserialize)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "it is never made")]
    enum Untagged {
        Number(u32),
    }

    #[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Circle { radius: u32 },
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "it is never made")]
    struct Flat {
        number: u32,
        #[serde(flatten)]
        rest: HashMap<String, u32>,
    }

    /// A type of which whatever is read is a mistake.
    struct Real<T>(T);

    impl<'de, T: Deserialize<'de>> Deserialize<'de> for Real<T> {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            T::deserialize(deserializer).map(Real)
        }
    }

    impl<T> Drop for Real<T> {
        fn drop(&mut self) {
            panic!("a value was made of nothing");
        }
    }

    #[derive(Deserialize)]
    struct Empty {}

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "it is never made")]
    struct Tree {
        branches: Vec<Tree>,
        leaf: Option<Box<Tree>>,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "it is never made")]
    enum Mixed<T> {
        Unit,
        Tuple(u32, T),
        Struct { inner: Option<T> },
    }

    #[test]
    fn a_type_that_asks_what_it_is_is_seen_where_it_comes_first() {
        assert!(asks_what_it_is::<Untagged>() && asks_what_it_is::<Tagged>() && asks_what_it_is::<Flat>());
        assert!(asks_what_it_is::<Vec<Option<(Untagged, u32)>>>());
        assert!(asks_what_it_is::<BTreeMap<Tagged, u32>>() && asks_what_it_is::<Mixed<Tagged>>());
    }

    #[test]
    fn other_types_are_not_taken_for_such_and_no_value_is_made_of_them() {
        assert!(
            !asks_what_it_is::<Real<()>>() && !asks_what_it_is::<Real<Empty>>() && !asks_what_it_is::<Real<[u8; 0]>>()
        );
        assert!(!asks_what_it_is::<Real<Mixed<Real<String>>>>() && !asks_what_it_is::<Real<Option<Real<u8>>>>());
        assert!(!asks_what_it_is::<Tree>() && !asks_what_it_is::<HashMap<String, Vec<f64>>>());
        assert!(!asks_what_it_is::<std::time::Duration>() && !asks_what_it_is::<Result<char, std::net::IpAddr>>());
    }
}
