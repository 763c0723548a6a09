//! Tests of rendering. The main one: for random worlds and packets, the rendered ruleset, interpreted, decides as the
//! judge of `proto::judge` does.

mod established;
mod fold;
mod incremental;
mod interpreter;
mod kernel;
mod packets;
mod rules;
mod runs;
mod stages;
mod worlds;
