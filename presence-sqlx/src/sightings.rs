//! A page of sightings, as the server sends it: one value. A row for each would cost several times what is in it.

use presence_core::{EventRank, RegionRef, SightingRef, Timestamp};

use crate::error::Fault;

/// The sightings of the table `d` as one value: what `record_send` makes of each, one after the other.
macro_rules! packed_sightings {
    () => {
        "string_agg(record_send((d.install_id, d.user_id, d.province, d.province_at, d.province_rank,
        d.city, d.city_at, d.city_rank)), '')"
    };
}
pub(crate) use packed_sightings;

/// The sightings that were packed, in their order.
pub(crate) fn unpack(mut packed: &[u8], count: usize) -> Result<Vec<SightingRef<'_>>, Fault> {
    let mut sightings = Vec::with_capacity(count.min(packed.len()));
    while !packed.is_empty() {
        sightings.push(sighting(&mut packed).ok_or(Fault::Call("sightings that are packed otherwise"))??);
    }
    Ok(sightings)
}

/// `None` where it is no record of these columns.
fn sighting<'a>(packed: &mut &'a [u8]) -> Option<Result<SightingRef<'a>, Fault>> {
    const COLUMNS: u32 = 8;
    if number(packed)? != COLUMNS {
        return None;
    }
    let install = text(column(packed)??)?;
    let user = Some(text(column(packed)??)?).filter(|user| !user.is_empty());
    let (province, city) = (region(packed)?, region(packed)?);
    Some(province.and_then(|province| Ok(SightingRef { install, user, province, city: city? })))
}

fn region<'a>(packed: &mut &'a [u8]) -> Option<Result<Option<RegionRef<'a>>, Fault>> {
    let (name, at, rank) = (column(packed)?, column(packed)?, column(packed)?);
    let Some(name) = name else { return Some(Ok(None)) };
    let name = text(name)?;
    let at = Timestamp::from_millis(i64::from_be_bytes(at?.try_into().ok()?));
    let at = at.map_err(Fault::rejected("daily_sightings.province_at or city_at"));
    let rank = rank.unwrap_or_default().try_into().map(u128::from_be_bytes);
    let rank = rank.map_err(|_| Fault::unknown("daily_sightings.province_rank or city_rank"));
    Some(at.and_then(|at| Ok(Some(RegionRef { at, rank: EventRank(rank?), name }))))
}

/// A column: its type, its length, and as many bytes; inside, `None` where it is NULL.
fn column<'a>(packed: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (_oid, length) = (number(packed)?, number(packed)?);
    if length == u32::MAX {
        return Some(None);
    }
    let (value, rest) = packed.split_at_checked(usize::try_from(length).ok()?)?;
    *packed = rest;
    Some(Some(value))
}

fn number(packed: &mut &[u8]) -> Option<u32> {
    let (number, rest) = packed.split_first_chunk()?;
    *packed = rest;
    Some(u32::from_be_bytes(*number))
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(columns: &[Option<&[u8]>]) -> Vec<u8> {
        let mut record = u32::try_from(columns.len()).unwrap().to_be_bytes().to_vec();
        for column in columns {
            record.extend(25_u32.to_be_bytes());
            let length = column.map_or(u32::MAX, |value| u32::try_from(value.len()).unwrap());
            record.extend(length.to_be_bytes());
            record.extend(column.unwrap_or_default());
        }
        record
    }

    #[test]
    fn sightings_come_one_after_the_other_and_half_a_one_is_none() {
        let (at, rank) = (7_i64.to_be_bytes(), 9_u128.to_be_bytes());
        let hunan: [Option<&[u8]>; 3] = [Some("湖南".as_bytes()), Some(&at), Some(&rank)];
        let known =
            record(&[&[Some(&b"phone"[..]), Some(b"alice")][..], &hunan[..], &[None; 3][..]].concat());
        let nobody = record(&[&[Some(&b"kiosk"[..]), Some(b"")][..], &[None; 3][..], &hunan[..]].concat());
        let both = [known.clone(), nobody].concat();
        let sightings = unpack(&both, 2).unwrap();
        let told: Vec<_> = sightings.iter().map(|seen| (seen.install, seen.user)).collect();
        assert_eq!(told, [("phone", Some("alice")), ("kiosk", None)]);
        let region = sightings[0].province.as_ref().unwrap();
        assert_eq!((region.name, region.at.as_millis(), region.rank), ("湖南", 7, EventRank(9)));
        assert!(
            sightings[0].city.is_none() && sightings[1].province.is_none() && sightings[1].city.is_some()
        );
        for end in 1..known.len() {
            assert!(unpack(&both[..end], 1).is_err(), "{end} bytes");
        }
        assert!(unpack(&record(&[None; 8]), 1).is_err(), "an install is never missing");
        assert!(unpack(&record(&[Some(&b"7"[..]); 9]), 1).is_err(), "nor is there more");
        assert!(unpack(&[], 0).unwrap().is_empty());
    }
}
