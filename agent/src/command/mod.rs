//! The operator's commands, one file each.

pub mod config;
pub mod units_felix_config;
