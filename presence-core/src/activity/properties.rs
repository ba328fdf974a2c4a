//! What an event says about itself.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};

use crate::{Content, RegionName, Rejection};

/// A JSON object, checked once and kept as canonical text under the limits of [`Content`].
///
/// ```
/// use presence_core::EventProperties;
///
/// let properties = EventProperties::parse(r#"{"province": "Hunan", "clicks": 3}"#)?;
/// assert_eq!(properties.as_str(), r#"{"clicks":3,"province":"Hunan"}"#);
/// assert_eq!(EventProperties::parse("[1]").unwrap_err().code(), "INVALID_EVENT_PROPERTIES");
/// # Ok::<(), presence_core::Rejection>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(transparent)]
pub struct EventProperties(Content);

impl EventProperties {
    /// Parses JSON text.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidEventProperties`] where it is not a JSON object, or passes a limit of [`Content`].
    pub fn parse(json: &str) -> Result<Self, Rejection> {
        Self::of(Content::parse(json))
    }

    /// Takes back the text that [`EventProperties::as_str`] gave, byte by byte: what a store reads.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidEventProperties`] where it is not a JSON object, or too long to be ours.
    pub fn from_stored(text: &str) -> Result<Self, Rejection> {
        Self::of(Content::from_stored(text))
    }

    fn of(content: Result<Content, Rejection>) -> Result<Self, Rejection> {
        match content {
            Ok(content) if content.as_str().starts_with('{') => Ok(Self(content)),
            Ok(_) => Err(Rejection::InvalidEventProperties("are not a JSON object")),
            Err(Rejection::InvalidContent(reason)) => Err(Rejection::InvalidEventProperties(plural(reason))),
            Err(rejection) => Err(rejection),
        }
    }

    /// The canonical JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The object as a JSON value.
    #[must_use]
    pub fn to_value(&self) -> serde_json::Value {
        self.0.to_value()
    }

    /// The province and the city, where they are given as text that can name one.
    #[must_use]
    pub fn regions(&self) -> (Option<RegionName>, Option<RegionName>) {
        // Canonical text parses; what is no text, or no name, is none.
        let Places { province, city } = serde_json::from_str(self.as_str()).unwrap_or_default();
        let name = |text: Option<Cow<'_, str>>| text.and_then(|text| RegionName::parse(&text));
        (name(province), name(city))
    }
}

impl<'de> Deserialize<'de> for EventProperties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(Ok(Content::deserialize(deserializer)?)).map_err(D::Error::custom)
    }
}

/// The reasons of [`Content`], said of many.
fn plural(reason: &'static str) -> &'static str {
    match reason {
        "is longer than 16 KiB" => "are longer than 16 KiB",
        "has a whole number beyond 64 bits" => "have a whole number beyond 64 bits",
        "has a duplicate key" => "have a duplicate key",
        "has a NUL character" => "have a NUL character",
        "has more than 1000 keys" => "have more than 1000 keys",
        "nests deeper than 32 levels" => "nest deeper than 32 levels",
        _ => "are not JSON",
    }
}

/// The two members that figures are kept by; all others are passed over unread.
#[derive(Default)]
struct Places<'a> {
    province: Option<Cow<'a, str>>,
    city: Option<Cow<'a, str>>,
}

impl<'de> Deserialize<'de> for Places<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Places<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Places<'de>, A::Error> {
                let mut places = Places::default();
                while let Some(Key(key)) = members.next_key()? {
                    match key.as_ref() {
                        "province" => places.province = members.next_value::<Text<'_>>()?.0,
                        "city" => places.city = members.next_value::<Text<'_>>()?.0,
                        _ => drop(members.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(places)
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// Text, or `None` for any other value.
struct Text<'a>(Option<Cow<'a, str>>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Value<'a> {
            Text(#[serde(borrow)] Cow<'a, str>),
            Other(IgnoredAny),
        }

        Ok(match Value::deserialize(deserializer)? {
            Value::Text(text) => Self(Some(text)),
            Value::Other(_) => Self(None),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regions(json: &str) -> (Option<String>, Option<String>) {
        let (province, city) = EventProperties::parse(json).expect("an object").regions();
        (province.map(|name| name.to_string()), city.map(|name| name.to_string()))
    }

    #[test]
    fn only_an_object_is_taken() {
        for json in
            ["null", "[]", "3", "\"text\"", "", "{", "{\"a\":1,\"a\":2}", "{\"a\":99999999999999999999}"]
        {
            let refused = EventProperties::parse(json).expect_err(json);
            assert_eq!(refused.code(), "INVALID_EVENT_PROPERTIES", "{json}");
        }
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(16 * 1024));
        let refused = EventProperties::parse(&long).expect_err("too long");
        assert_eq!(refused.to_string(), "event properties are longer than 16 KiB");
        assert_eq!(EventProperties::parse(" { } ").expect("an object").as_str(), "{}");
    }

    #[test]
    fn regions_are_text_that_can_name_one() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(regions(r#"{"city":"Changsha","province":"Hunan"}"#), (some("Hunan"), some("Changsha")));
        assert_eq!(regions(r#"{"province":" 湖南 ","city":"a\"b"}"#), (some("湖南"), some("a\"b")));
        let nothing =
            [r#"{}"#, r#"{"province":""}"#, r#"{"province":"  ","city":null}"#, r#"{"province":7}"#];
        for json in nothing {
            assert_eq!(regions(json), (None, None), "{json}");
        }
        assert_eq!(regions(r#"{"deep":{"province":"Hunan"},"province":{"city":"x"}}"#), (None, None));
        assert_eq!(regions(&format!(r#"{{"city":"{}"}}"#, "x".repeat(65))), (None, None));
        assert_eq!(regions("{\"city\":\"a\\u0007b\"}"), (None, None));
    }
}
