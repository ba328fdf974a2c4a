//! The forms of values that presence-core parses, each under one name. The promises are core's; these say the same to
//! clients, so a value that fits is taken and one that does not is refused.

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Object, ObjectBuilder, Ref, RefOr, Schema,
        schema::{AnyOfBuilder, ArrayBuilder, KnownFormat, SchemaFormat, Type},
    },
};

/// The last second of the year 9999.
const LAST_SECOND: i64 = 253_402_300_799;

/// What a name may be: no control character, no white space at either end, not `.` or `..`.
macro_rules! name {
    () => {
        concat!(
            r"(?!\.{1,2}$)",
            r"[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]",
            r"([^\u0000-\u001f\u007f-\u009f]*",
            r"[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000])?",
        )
    };
}

fn text(length: std::ops::RangeInclusive<usize>, example: &str) -> ObjectBuilder {
    let text = ObjectBuilder::new().schema_type(Type::String).examples([example]);
    text.min_length(Some(*length.start())).max_length(Some(*length.end()))
}

fn whole(format: KnownFormat, range: std::ops::RangeInclusive<i64>) -> ObjectBuilder {
    let number =
        ObjectBuilder::new().schema_type(Type::Integer).format(Some(SchemaFormat::KnownFormat(format)));
    number.minimum(Some(*range.start())).maximum(Some(*range.end()))
}

fn one_of(values: &[&str]) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(values.iter().copied()))
}

/// A schema and its name. There is no value of the type.
macro_rules! schema {
    ($(#[doc = $doc:literal])+ $name:ident = $schema:expr) => {
        $(#[doc = $doc])+
        pub(crate) enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $schema.description(Some(concat!($($doc),+).trim())).into()
            }
        }

        impl ToSchema for $name {}
    };
}

schema! {
    /// A user: no control characters, no white space at either end, not `.` or `..`; compared exactly.
    UserId = text(1..=128, "alice").pattern(Some(concat!("^", name!(), "$")))
}

schema! {
    /// A user id, as text or as a whole number, which is taken as its digits.
    UserIdOrNumber = AnyOfBuilder::new()
        .item(Ref::from_schema_name(UserId::name()))
        .item(whole(KnownFormat::Int64, i64::MIN..=i64::MAX))
}

schema! {
    /// What a user is doing: `Online`, `Offline`, `Idle`, `Working`, `Sleeping`, or any other name. Compared exactly.
    State = text(1..=64, "Working").pattern(Some(concat!("^", name!(), "$")))
}

schema! {
    /// The client's name for a request, unique per user: a repetition changes nothing and is answered alike.
    EventId = text(1..=128, "0190b6a0-7e2c-7c0e-9a53-0f6c3f1d2b4a").pattern(Some(concat!("^", name!(), "$")))
}

schema! {
    /// What happened: a letter, then letters, digits and `_`.
    EventName = text(1..=64, "app_session_start").pattern(Some("^[A-Za-z][A-Za-z0-9_]{0,63}$"))
}

schema! {
    /// What else there is to say of an event: a JSON object under the limits of content. `province` and `city` are counted
    /// by where they are text of 1 to 64 characters.
    EventProperties = {
        let no_nul = ObjectBuilder::new().schema_type(Type::String).pattern(Some(r"^[^\u0000]*$")).build();
        let any = Ref::from_schema_name(Content::name());
        ObjectBuilder::new().schema_type(Type::Object).property_names(Some(no_nul)).additional_properties(Some(any))
            .examples([serde_json::json!({ "province": "Hunan", "city": "Changsha" })])
    }
}

schema! {
    /// An event id in a header: printable ASCII.
    HeaderEventId = text(1..=128, "0190b6a0-7e2c-7c0e-9a53-0f6c3f1d2b4a")
        .pattern(Some(r"^(?!\.{1,2}$)[!-~]([ -~]*[!-~])?$"))
}

schema! {
    /// One installation of an app.
    InstallId = text(8..=64, "phone-4711").pattern(Some("^[A-Za-z0-9_-]{8,64}$"))
}

schema! {
    /// Somebody who is online: `u:` and a user, or `i:` and an install.
    Member = text(3..=130, "u:alice").pattern(Some(concat!("^(i:[A-Za-z0-9_-]{8,64}|u:", name!(), ")$")))
}

schema! {
    /// A room: no control characters, no white space at either end, not `.` or `..`.
    RoomId = text(1..=128, "1f1c8c2e-7d0f-4a6b-9c53-0f6c3f1d2b4a").pattern(Some(concat!("^", name!(), "$")))
}

schema! {
    /// What a room is called. Two may have the same name.
    RoomName = text(1..=128, "Lobby").pattern(Some(concat!("^", name!(), "$")))
}

schema! {
    /// Where events go, as the server calls it.
    SinkName = text(1..=32, "room_events").pattern(Some("^[a-z0-9_]{1,32}$"))
}

schema! {
    /// An instant in Unix seconds, up to the end of the year 9999.
    UnixSeconds = whole(KnownFormat::Int64, 0..=LAST_SECOND).examples([1_717_161_600])
}

schema! {
    /// An instant in Unix milliseconds.
    UnixMillis = whole(KnownFormat::Int64, 0..=LAST_SECOND * 1000 + 999).examples([1_717_161_600_000_i64])
}

schema! {
    /// An instant in RFC 3339, UTC, with milliseconds.
    Instant = text(24..=24, "2024-05-31T13:20:00.000Z")
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
}

schema! {
    /// An instant in RFC 3339 with any offset, from 1970 to 9999.
    DateTime = ObjectBuilder::new().schema_type(Type::String).examples(["2024-05-31T13:20:00Z"])
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
}

schema! {
    /// A local day in the zone of the server.
    Day = text(10..=10, "2024-05-31").pattern(Some("^[0-9]{4}-[0-9]{2}-[0-9]{2}$"))
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Date)))
}

schema! {
    /// How far the points of a history lie apart.
    Interval = one_of(&["1m", "5m", "15m", "30m", "1h"]).default(Some("5m".into()))
}

schema! {
    /// A run of days: the `week` from Monday to Sunday or the `month` of a day, or the 7 or 30 days up to it.
    Period = one_of(&["week", "month", "7d", "30d"]).default(Some("week".into()))
}

schema! {
    /// A length of time in seconds, floored.
    Seconds = whole(KnownFormat::Int64, 0..=LAST_SECOND).examples([340])
}

schema! {
    /// How long after a sign of life somebody counts as online, in seconds.
    WindowSeconds = whole(KnownFormat::Int32, 1..=86_400).examples([180])
}

schema! {
    /// How many.
    Count = whole(KnownFormat::Int64, 0..=i64::MAX).examples([3])
}

schema! {
    /// How many by region: 1 to 64 characters each.
    CountByRegion = ObjectBuilder::new().schema_type(Type::Object)
        .property_names(Some(text(1..=64, "Hunan").build()))
        .additional_properties(Some(Ref::from_schema_name(Count::name())))
}

schema! {
    /// How often figures were calculated: 1 at first.
    StatsVersion = whole(KnownFormat::Int64, 1..=i64::MAX).examples([4])
}

schema! {
    /// How many items a page has at most.
    Limit = whole(KnownFormat::Int32, 1..=1000).default(Some(100.into()))
}

schema! {
    /// The number of a checkpoint: increasing, never used again.
    CheckpointId = whole(KnownFormat::Int64, 1..=i64::MAX).examples([1])
}

schema! {
    /// Where the next page of a history begins: taken from `Link`, not made.
    Cursor = text(3..=33, "1717161600000-42").pattern(Some("^(0|[1-9][0-9]{0,13})-[1-9][0-9]{0,17}$"))
}

schema! {
    /// A zone by its IANA name; the rules are built in.
    TimeZone = text(1..=64, "Europe/Berlin").format(Some(SchemaFormat::Custom("iana-time-zone".to_owned())))
}

schema! {
    /// Where a checkpoint comes from: a report of the `client`, the `timeout` of a silence, or the sign of life that
    /// ended one (`wake`).
    Source = one_of(&["client", "timeout", "wake"])
}

schema! {
    /// What an answered write survives: a loss of power (`fsync`), the end of the process (`process`), or neither yet
    /// (`memory`): a heartbeat that only keeps a user alive is durable with the next flush.
    Durability = one_of(&["fsync", "process", "memory"])
}

schema! {
    /// What is wrong, for programs: it stays the same from version to version.
    Code = text(1..=64, "INVALID_STATE").pattern(Some("^[A-Z][A-Z0-9_]*$"))
}

schema! {
    /// Any JSON that says more about a state: at most 16 KiB, 32 levels and 1,000 keys, no NUL character, no key
    /// twice in an object, whole numbers within 64 bits. Its keys come back sorted.
    Content = {
        let no_nul = || ObjectBuilder::new().schema_type(Type::String).pattern(Some(r"^[^\u0000]*$")).build();
        let itself = || Ref::from_schema_name(Content::name());
        let kind = |kind| Object::with_type(kind);
        let map = ObjectBuilder::new().property_names(Some(no_nul())).additional_properties(Some(itself()));
        AnyOfBuilder::new()
            .item(kind(Type::Null))
            .item(kind(Type::Boolean))
            .item(ObjectBuilder::new().schema_type(Type::Number).minimum(Some(i64::MIN)).maximum(Some(u64::MAX)))
            .item(no_nul())
            .item(ArrayBuilder::new().items(itself()))
            .item(map)
            .examples([serde_json::json!({ "device": "MacBook", "battery": 85 })])
    }
}
