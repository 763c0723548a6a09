//! What nft(8) and the kernel say of a namespace's ruleset. Tests judge by packets; this is for what packets cannot show.

use crate::netns::Netns;

impl Netns {
    /// Loads an nft script, as an administrator or another program would.
    pub fn nft(&self, script: &str) {
        self.feed(&["nft", "-f", "-"], script);
    }

    /// The whole ruleset as nft(8) lists it; without elements' and rules' handles.
    pub fn ruleset(&self) -> String {
        self.run(&["nft", "list", "ruleset"])
    }

    /// The kernel's generation of this namespace's ruleset: it counts commits, whoever made them.
    ///
    /// # Panics
    /// When the kernel has no nf_tables.
    pub fn generation(&self) -> u64 {
        generation::read(self)
    }

    /// Whether a table of family inet exists.
    pub fn has_table(&self, name: &str) -> bool {
        self.run(&["nft", "list", "tables"]).lines().any(|line| line == format!("table inet {name}"))
    }
}

mod generation {
    //! `NFT_MSG_GETGEN` over a netlink socket of the namespace; nft(8) has no command for it.

    use crate::netns::Netns;
    use nix::sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
    };
    use std::os::fd::AsRawFd as _;

    const NFNL_SUBSYS_NFTABLES: u16 = 10;
    const NFT_MSG_GETGEN: u16 = 16;
    const NLM_F_REQUEST: u16 = 1;
    const NFTA_GEN_ID: u16 = 1;

    pub(super) fn read(netns: &Netns) -> u64 {
        let netlink = netns
            .enter(|| {
                socket(
                    AddressFamily::Netlink,
                    SockType::Raw,
                    SockFlag::SOCK_CLOEXEC,
                    SockProtocol::NetlinkNetFilter,
                )
            })
            .expect("a netfilter netlink socket needs no privilege");
        let mut request = Vec::new();
        request.extend(20_u32.to_ne_bytes());
        request.extend((NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN).to_ne_bytes());
        request.extend(NLM_F_REQUEST.to_ne_bytes());
        request.extend([0; 8]); // sequence number, port: ours is the only question on this socket
        request.extend([0; 4]); // nfgenmsg: family unspecified, version 0, resource 0
        sendto(netlink.as_raw_fd(), &request, &NetlinkAddr::new(0, 0), MsgFlags::empty())
            .expect("the kernel takes a request");
        let mut answer = [0; 4096];
        let bytes = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty()).expect("the kernel answers");
        // nlmsghdr (16), nfgenmsg (4), then the first attribute: NFTA_GEN_ID, big-endian.
        let attribute = &answer[20..bytes];
        assert_eq!(
            u16::from_ne_bytes([attribute[2], attribute[3]]),
            NFTA_GEN_ID,
            "GETGEN answers with the generation first"
        );
        u64::from(u32::from_be_bytes([attribute[4], attribute[5], attribute[6], attribute[7]]))
    }
}
