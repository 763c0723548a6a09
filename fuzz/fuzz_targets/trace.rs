//! Any bytes as what the kernel tells of a traced packet.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| dataplane::nft::trace::decode_anything(input));
