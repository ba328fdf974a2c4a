//! Local days as PostgreSQL's `DATE`. sqlx has this for chrono, in a feature that holds rusqlite back for everybody.

use chrono::{Days, NaiveDate};
use sqlx::{
    Decode, Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef, types::Oid},
};

/// A day, on the way to the server or back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Day(pub(crate) NaiveDate);

impl Day {
    /// One before all that a store has: they are days of an instant.
    pub(crate) fn before_all() -> Self {
        Self(NaiveDate::from_ymd_opt(1, 1, 1).unwrap_or_default())
    }
}

/// Day zero of the server: 2000-01-01.
fn zero() -> NaiveDate {
    NaiveDate::from_ymd_opt(2000, 1, 1).unwrap_or_default()
}

impl Type<Postgres> for Day {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1082))
    }
}

impl PgHasArrayType for Day {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1182))
    }
}

impl Encode<'_, Postgres> for Day {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let days = i32::try_from(self.0.signed_duration_since(zero()).num_days())?;
        Encode::<Postgres>::encode_by_ref(&days, buffer)
    }
}

impl Decode<'_, Postgres> for Day {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        // Statements with arguments are always answered so.
        if value.format() != PgValueFormat::Binary {
            return Err("a day in words".into());
        }
        let days = <i32 as Decode<Postgres>>::decode(value)?;
        let distance = Days::new(days.unsigned_abs().into());
        let day =
            if days < 0 { zero().checked_sub_days(distance) } else { zero().checked_add_days(distance) };
        Ok(Self(day.ok_or("a day beyond the calendar")?))
    }
}
