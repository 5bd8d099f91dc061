//! Cases.

use crate::table::Case;

/// The cases.
pub const TABLE: &[Case] = &[];
