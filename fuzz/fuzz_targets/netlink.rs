//! Any bytes as what the kernel answers.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| dataplane::nft::decode_anything(input));
