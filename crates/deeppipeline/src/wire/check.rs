//! A look at what serde would write, for what the bytes cannot carry: a field that is left out, a length that is not
//! known.

use super::WireError;
use serde::ser::{self, Serialize, Serializer};
use std::fmt::Display;

/// Writes nothing. For values without such fields there is nothing to be done, and the compiler does so.
pub(super) struct Check {
    /// The struct or variant that it is in.
    of: &'static str,
}

impl Check {
    pub(super) fn value<T: Serialize + ?Sized>(value: &T) -> Result<(), WireError> {
        value.serialize(Check { of: "a value" })
    }
}

impl ser::Error for WireError {
    fn custom<T: Display>(text: T) -> Self {
        WireError::Other(text.to_string())
    }
}

macro_rules! nothing_in {
    ($($method:ident($type:ty))*) => {
        $(fn $method(self, _: $type) -> Result<(), WireError> {
            Ok(())
        })*
    };
}

impl Serializer for Check {
    type Ok = ();
    type Error = WireError;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    nothing_in! {
        serialize_bool(bool) serialize_char(char) serialize_str(&str) serialize_bytes(&[u8])
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64) serialize_i128(i128)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64) serialize_u128(u128)
        serialize_f32(f32) serialize_f64(f64) serialize_unit_struct(&'static str)
    }

    fn serialize_none(self) -> Result<(), WireError> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), WireError> {
        Check::value(value)
    }

    fn serialize_unit(self) -> Result<(), WireError> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), WireError> {
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), WireError> {
        Check::value(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), WireError> {
        Check::value(value)
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Self, WireError> {
        length.map(|_| self).ok_or(WireError::LengthUnknown)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, WireError> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, of: &'static str, _: usize) -> Result<Self, WireError> {
        Ok(Check { of })
    }

    fn serialize_tuple_variant(self, _: &'static str, _: u32, of: &'static str, _: usize) -> Result<Self, WireError> {
        Ok(Check { of })
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Self, WireError> {
        length.map(|_| self).ok_or(WireError::LengthUnknown)
    }

    fn serialize_struct(self, of: &'static str, _: usize) -> Result<Self, WireError> {
        Ok(Check { of })
    }

    fn serialize_struct_variant(self, _: &'static str, _: u32, of: &'static str, _: usize) -> Result<Self, WireError> {
        Ok(Check { of })
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

macro_rules! parts {
    ($($part:ident::$method:ident)*) => {
        $(impl ser::$part for Check {
            type Ok = ();
            type Error = WireError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), WireError> {
                Check::value(value)
            }

            fn end(self) -> Result<(), WireError> {
                Ok(())
            }
        })*
    };
}

parts! {
    SerializeSeq::serialize_element SerializeTuple::serialize_element SerializeTupleStruct::serialize_field
    SerializeTupleVariant::serialize_field
}

macro_rules! fields {
    ($($part:ident)*) => {
        $(impl ser::$part for Check {
            type Ok = ();
            type Error = WireError;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Result<(), WireError> {
                Check::value(value)
            }

            fn skip_field(&mut self, field: &'static str) -> Result<(), WireError> {
                Err(WireError::FieldLeftOut { of: self.of, field })
            }

            fn end(self) -> Result<(), WireError> {
                Ok(())
            }
        })*
    };
}

fields! { SerializeStruct SerializeStructVariant }

impl ser::SerializeMap for Check {
    type Ok = ();
    type Error = WireError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), WireError> {
        Check::value(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), WireError> {
        Check::value(value)
    }

    fn end(self) -> Result<(), WireError> {
        Ok(())
    }
}
