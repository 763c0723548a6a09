//! Where a member comes from.
