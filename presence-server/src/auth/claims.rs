//! What a token says, with the types that it must have.

use std::{collections::BTreeSet, fmt};

use presence_core::{Timestamp, UserId};
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};

/// The claims that count. Others are passed over, but no claim may stand twice: two readers could read two tokens.
///
/// A claim of the wrong type is an error and never an absent one, `null` included. `aud` is left to the library.
#[derive(Debug)]
pub(super) struct Claims {
    pub(super) exp: Timestamp,
    pub(super) nbf: Option<Timestamp>,
    pub(super) iat: Option<Timestamp>,
    pub(super) sub: UserId,
    scope: String,
}

impl Claims {
    /// Whether `name` is in the space-separated list of `scope`.
    pub(super) fn has_scope(&self, name: &str) -> bool {
        self.scope.split(' ').any(|scope| scope == name)
    }
}

/// A whole number of seconds from 0 to the end of 9999.
struct Seconds(Timestamp);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = i64::deserialize(deserializer)?;
        Timestamp::from_secs(seconds).map(Self).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Object)
    }
}

struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Claims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of claims")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims, A::Error> {
        let (mut exp, mut nbf, mut iat, mut sub) = (None, None, None, None);
        let mut scope = String::new();
        let mut seen = BTreeSet::new();
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "exp" => exp = Some(map.next_value::<Seconds>()?.0),
                "nbf" => nbf = Some(map.next_value::<Seconds>()?.0),
                "iat" => iat = Some(map.next_value::<Seconds>()?.0),
                "sub" => sub = Some(map.next_value::<UserId>()?),
                "scope" => scope = map.next_value()?,
                // The library would also take a list of issuers.
                "iss" => drop(map.next_value::<String>()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
            if !seen.insert(name) {
                return Err(A::Error::custom("a claim stands twice"));
            }
        }
        let exp = exp.ok_or_else(|| A::Error::missing_field("exp"))?;
        let sub = sub.ok_or_else(|| A::Error::missing_field("sub"))?;
        Ok(Claims { exp, nbf, iat, sub, scope })
    }
}
