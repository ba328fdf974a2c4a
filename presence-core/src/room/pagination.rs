//! Numbered pages, as the management of rooms has them.

use serde::{Deserialize, Serialize};

use crate::Rejection;

/// Which page of a list, from 1, and how many items a page holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PageNumber {
    page: u64,
    limit: u64,
}

impl PageNumber {
    /// Page `page` of `limit` items, at most `cap`.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidPage`] where either is 0.
    pub fn new(page: u64, limit: u64, cap: u64) -> Result<Self, Rejection> {
        if page == 0 || limit == 0 {
            return Err(Rejection::InvalidPage);
        }
        Ok(Self { page, limit: limit.min(cap) })
    }

    /// How many items come before the page.
    #[must_use]
    pub const fn skip(self) -> u64 {
        self.page.saturating_sub(1).saturating_mul(self.limit)
    }

    /// How many items it holds.
    #[must_use]
    pub fn limit(self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }

    /// Where the page stands in a list of `total` items.
    #[must_use]
    pub const fn of(self, total: u64) -> Pagination {
        let Self { page, limit } = self;
        let total_pages = total.div_ceil(limit);
        Pagination {
            current_page: page,
            total_pages,
            total_records: total,
            page_size: limit,
            has_next: page < total_pages,
            has_prev: page > 1 && total_pages > 0,
        }
    }
}

/// Where a page stands in its list.
///
/// ```
/// use presence_core::PageNumber;
///
/// let last = PageNumber::new(3, 2, 10_000)?.of(5);
/// assert_eq!((last.total_pages, last.has_next, last.has_prev), (3, false, true));
/// # Ok::<(), presence_core::Rejection>(())
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Pagination {
    /// Which page it is, from 1. It may lie behind the last one, and is empty then.
    pub current_page: u64,
    /// How many there are; 0 where there is nothing.
    pub total_pages: u64,
    /// How many items there are on all of them.
    pub total_records: u64,
    /// How many a page holds.
    pub page_size: u64,
    /// Whether there is a page after it.
    pub has_next: bool,
    /// Whether there is a page before it.
    pub has_prev: bool,
}
