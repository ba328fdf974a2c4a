//! The free JSON that a checkpoint may carry.

use std::{cell::Cell, collections::BTreeMap, fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::Rejection;

/// The longest content, in bytes of JSON as it arrives and as it is stored.
const MAX_BYTES: usize = 16 * 1024;
/// How deep arrays and objects may nest.
const MAX_DEPTH: usize = 32;
/// How many keys all objects together may have.
const MAX_KEYS: usize = 1000;

/// Any JSON value, checked once and kept as canonical text: keys sorted, no white space.
///
/// At most 16 KiB, 32 levels and 1,000 keys; no duplicate keys, no NUL character, whole numbers within 64 bits.
///
/// ```
/// use presence_core::Content;
///
/// let content = Content::parse(r#"{"device": "MacBook", "battery": 85}"#)?;
/// assert_eq!(content.as_str(), r#"{"battery":85,"device":"MacBook"}"#);
/// assert!(Content::parse(r#"{"a": 1, "a": 2}"#).is_err());
/// # Ok::<(), presence_core::Rejection>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Content(Arc<str>);

impl Content {
    /// Parses JSON text.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidContent`] where it is not JSON or passes a limit.
    pub fn parse(json: &str) -> Result<Self, Rejection> {
        const TOO_LONG: Rejection = Rejection::InvalidContent("is longer than 16 KiB");
        if json.len() > MAX_BYTES {
            return Err(TOO_LONG);
        }
        if has_wide_integer(json) {
            return Err(Rejection::InvalidContent("has a whole number beyond 64 bits"));
        }
        let mut input = serde_json::Deserializer::from_str(json);
        let keys = Cell::new(0);
        let top = Place { depth: 0, keys: &keys };
        let value = top.deserialize(&mut input).and_then(|value| input.end().map(|()| value));
        let value = value.map_err(|error| Rejection::InvalidContent(reason(&error.to_string())))?;
        // Only maps with keys that are not strings fail to serialise, and there are none.
        let text = serde_json::to_string(&value).map_err(|_| Rejection::InvalidContent(NOT_JSON))?;
        // Canonical text can be longer than what came in: 1e9 is written 1000000000.0.
        if text.len() > MAX_BYTES { Err(TOO_LONG) } else { Ok(Self(text.into())) }
    }

    /// Takes back the text that [`Content::as_str`] gave, byte by byte: what a store reads.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidContent`] where it is not JSON, or too long to be ours.
    pub fn from_stored(text: &str) -> Result<Self, Rejection> {
        match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) if text.len() <= MAX_BYTES => Ok(Self(text.into())),
            _ => Err(Rejection::InvalidContent(NOT_JSON)),
        }
    }

    /// Takes a JSON value; duplicate keys and wide numbers are gone before it gets here.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidContent`] where it passes a limit.
    pub fn from_value(value: &serde_json::Value) -> Result<Self, Rejection> {
        Self::parse(&value.to_string())
    }

    /// The canonical JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The content as a JSON value.
    #[must_use]
    pub fn to_value(&self) -> serde_json::Value {
        // Parsed before, so it parses again.
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_value().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Self::from_value(&value).map_err(D::Error::custom)
    }
}

const NOT_JSON: &str = "is not JSON";
const DUPLICATE: &str = "has a duplicate key";
const TOO_DEEP: &str = "nests deeper than 32 levels";
const TOO_MANY: &str = "has more than 1000 keys";
const NUL: &str = "has a NUL character";

/// Our own reason where one of ours stopped the parser.
fn reason(error: &str) -> &'static str {
    [DUPLICATE, TOO_DEEP, TOO_MANY, NUL]
        .into_iter()
        .find(|known| error.starts_with(known))
        .unwrap_or(NOT_JSON)
}

/// Whether a number without fraction or exponent does not fit 64 bits. The parser would make a float of it, and the
/// client would get back another number than it sent.
fn has_wide_integer(json: &str) -> bool {
    let mut rest = json;
    while let Some(start) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        rest = &rest[start..];
        if let Some(text) = rest.strip_prefix('"') {
            let mut escaped = false;
            let end = text.find(|c| {
                let closes = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                closes
            });
            rest = end.map_or("", |end| &text[end..]).strip_prefix('"').unwrap_or_default();
        } else {
            let number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
            let (token, after) = rest.split_at(rest.find(|c| !number(c)).unwrap_or(rest.len()));
            let whole = !token.contains(['.', 'e', 'E']);
            if whole && token.parse::<i64>().is_err() && token.parse::<u64>().is_err() {
                return true;
            }
            rest = after;
        }
    }
    false
}

/// A JSON value whose keys are sorted whatever features of the parser an application switches on.
#[derive(Serialize)]
#[serde(untagged)]
enum Json {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    Array(Vec<Self>),
    Object(BTreeMap<String, Self>),
}

/// Where a value stands: this deep, behind so many keys.
#[derive(Clone, Copy)]
struct Place<'a> {
    depth: usize,
    keys: &'a Cell<usize>,
}

impl Place<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth.saturating_add(1);
        if depth <= MAX_DEPTH { Ok(Self { depth, ..self }) } else { Err(E::custom(TOO_DEEP)) }
    }

    fn key<E: Error>(self, key: String) -> Result<String, E> {
        self.keys.set(self.keys.get().saturating_add(1));
        if self.keys.get() <= MAX_KEYS { text(key) } else { Err(E::custom(TOO_MANY)) }
    }
}

fn text<E: Error>(text: String) -> Result<String, E> {
    if text.contains('\0') { Err(E::custom(NUL)) } else { Ok(text) }
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        serde_json::Number::from_f64(value).map(Json::Number).ok_or_else(|| E::custom(NOT_JSON))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Json, E> {
        text(value.to_owned()).map(Json::Text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let inside = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inside)? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let inside = self.deeper()?;
        let mut object = BTreeMap::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.insert(self.key(key)?, entries.next_value_seed(inside)?).is_some() {
                return Err(A::Error::custom(DUPLICATE));
            }
        }
        Ok(Json::Object(object))
    }
}
