//! What we believe of the kernel, asked of the kernel.

mod support;

use dataplane::nft::Kernel;
use support::*;

#[test]
fn a_ruleset_with_everything_is_taken_and_read_back_as_it_was_written() {
    in_netns(|| {
        let kernel = Kernel::spawn().unwrap();
        let ruleset = full_ruleset();
        let committed = wait(kernel.commit(load(&ruleset))).unwrap();
        let observed = wait(kernel.dump()).unwrap();
        assert_eq!(observed.generation, committed.generation);
        assert_holds(&observed, &ruleset);
        println!("{}", sh("nft -n list ruleset"));
        sh("nft -j list ruleset");
        println!("{ruleset}");
    });
}
