//! Tests of rendering. The main one: for random worlds and packets, the rendered ruleset, interpreted, decides as a
//! naive reading of the semantics does.

mod incremental;
mod interpreter;
mod kernel;
mod naive;
mod packets;
mod rules;
mod stages;
mod worlds;
