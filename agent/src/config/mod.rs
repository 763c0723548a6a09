//! The configuration: which settings exist, where their values come from, which are in force, and why.
//!
//! It reads one file and the environment, and takes FelixConfiguration resources as text from whoever watches the
//! datastore. It applies nothing.
//!
//! | module | what |
//! |---|---|
//! | [`table`] | the settings: name, type, default, meaning |
//! | [`parse`], [`failsafe`] | one value, as text and as meant |
//! | [`ini`] | the dialect of the configuration file |
//! | [`sources`] | file and environment |
//! | [`resolve`] | all sources → the values in force |
//! | [`in_force`] | those values, typed for their users |
//! | [`sample`] | the table as a commented configuration file |

pub mod failsafe;
pub mod in_force;
pub mod ini;
pub mod parse;
pub mod resolve;
pub mod sample;
pub mod sources;
pub mod table;

pub use in_force::{Datastore, HealthAddress, LogFormat, LogLevel};
pub use resolve::{Problem, Resolved, ResourceValues, Severity, Sources, resolve};
pub use sources::{ConfigError, DEFAULT_FILE, LocalSources};
