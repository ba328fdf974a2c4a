//! Batches: items that are judged each by itself.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::value::RawValue;
use utoipa::{
    ToSchema,
    openapi::{
        Array, Ref,
        schema::{AnyOfBuilder, ArrayBuilder},
    },
};

use crate::{AppState, extract::parse_object, openapi::schemas};

/// The most items of a batch.
pub(super) const BATCH: usize = 1000;

/// An item that was refused.
#[derive(Serialize, ToSchema)]
pub(super) struct Refused {
    /// Its place in the batch, from 0.
    #[schema(value_type = schemas::Count)]
    pub(super) index: usize,
    #[schema(value_type = schemas::Code)]
    pub(super) code: &'static str,
}

impl Refused {
    /// In the order of the batch, and counted by code.
    pub(super) fn counted(mut refused: Vec<Self>, state: &AppState) -> Vec<Self> {
        refused.sort_by_key(|refused| refused.index);
        refused.iter().for_each(|refused| state.traffic().refuse(refused.code, 1));
        refused
    }
}

/// An item by its names: the parser would also take an array of its values in order.
pub(super) struct Item<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Item<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ItemVisitor(PhantomData)).map(Item)
    }
}

struct ItemVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ItemVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// Each item parsed by itself, or why it is none.
pub(super) fn one_by_one<'a, T: Deserialize<'a>>(items: Vec<&'a RawValue>) -> Vec<Result<T, &'static str>> {
    let parse = |item: &'a RawValue| parse_object(item.get().as_bytes()).map_err(|problem| problem.code());
    items.into_iter().map(parse).collect()
}

/// The form of a batch of `T`, and of what is none among them, of which `others` says what becomes.
pub(super) fn schema<T: ToSchema>(others: &str) -> Array {
    let item = AnyOfBuilder::new()
        .item(Ref::from_schema_name(T::name()))
        .item(utoipa::openapi::schema::empty())
        .description(Some(others));
    ArrayBuilder::new().items(item).min_items(Some(1)).max_items(Some(BATCH)).build()
}
