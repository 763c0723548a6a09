//! Numbers of the kernel's nf_tables interface that the crates libc and nftnl-sys do not name.
//!
//! Source: `include/uapi/linux/netfilter/nf_tables.h` and `nfnetlink.h`, `include/uapi/linux/netlink.h`.

/// `NFPROTO_INET`.
pub(super) const NFPROTO_INET: u8 = 1;

/// `enum nft_list_attributes`.
pub(super) const NFTA_LIST_ELEM: u16 = 1;

/// `enum nft_table_attributes`.
pub(super) const NFTA_TABLE_NAME: u16 = 1;

/// `enum nft_hook_attributes`.
pub(super) mod hook {
    pub(in super::super) const HOOKNUM: u16 = 1;
    pub(in super::super) const PRIORITY: u16 = 2;
}

/// `enum nft_chain_attributes`.
pub(super) mod chain {
    pub(in super::super) const TABLE: u16 = 1;
    pub(in super::super) const NAME: u16 = 3;
    pub(in super::super) const HOOK: u16 = 4;
    pub(in super::super) const POLICY: u16 = 5;
    pub(in super::super) const TYPE: u16 = 7;
    pub(in super::super) const FLAGS: u16 = 10;
}

/// `enum nft_rule_attributes`.
pub(super) mod rule {
    pub(in super::super) const TABLE: u16 = 1;
    pub(in super::super) const CHAIN: u16 = 2;
    pub(in super::super) const HANDLE: u16 = 3;
    pub(in super::super) const EXPRESSIONS: u16 = 4;
    pub(in super::super) const POSITION: u16 = 6;
    pub(in super::super) const USERDATA: u16 = 7;
}

/// `enum nft_set_attributes`.
pub(super) mod set {
    pub(in super::super) const TABLE: u16 = 1;
    pub(in super::super) const NAME: u16 = 2;
    pub(in super::super) const FLAGS: u16 = 3;
    pub(in super::super) const KEY_TYPE: u16 = 4;
    pub(in super::super) const KEY_LEN: u16 = 5;
    pub(in super::super) const DATA_TYPE: u16 = 6;
    pub(in super::super) const DESC: u16 = 9;
    pub(in super::super) const ID: u16 = 10;
    pub(in super::super) const TIMEOUT: u16 = 11;
    pub(in super::super) const USERDATA: u16 = 13;
    /// Inside [`DESC`].
    pub(in super::super) const DESC_SIZE: u16 = 1;
}

/// `enum nft_set_elem_list_attributes` and `enum nft_set_elem_attributes`.
pub(super) mod element {
    pub(in super::super) const LIST_TABLE: u16 = 1;
    pub(in super::super) const LIST_SET: u16 = 2;
    pub(in super::super) const LIST_ELEMENTS: u16 = 3;
    pub(in super::super) const KEY: u16 = 1;
    pub(in super::super) const DATA: u16 = 2;
    pub(in super::super) const FLAGS: u16 = 3;
    pub(in super::super) const USERDATA: u16 = 6;
    pub(in super::super) const PAD: u16 = 8;
}

/// `enum nft_data_attributes` and `enum nft_verdict_attributes`.
pub(super) mod data {
    pub(in super::super) const VALUE: u16 = 1;
    pub(in super::super) const VERDICT: u16 = 2;
    pub(in super::super) const VERDICT_CODE: u16 = 1;
    pub(in super::super) const VERDICT_CHAIN: u16 = 2;
}

/// `NFTA_GEN_ID`.
pub(super) const NFTA_GEN_ID: u16 = 1;

/// `NFTA_GEN_PROC_PID`, `NFTA_GEN_PROC_NAME`.
pub(super) const NFTA_GEN_PROC_PID: u16 = 2;
pub(super) const NFTA_GEN_PROC_NAME: u16 = 3;

/// `NFTA_TABLE_FLAGS`.
pub(super) const NFTA_TABLE_FLAGS: u16 = 2;

/// `NFNLGRP_NFTABLES`: where transactions are told.
pub(super) const NFNLGRP_NFTABLES: u32 = 7;

/// `enum nft_trace_attributes`.
pub(super) mod trace {
    pub(in super::super) const TABLE: u16 = 1;
    pub(in super::super) const CHAIN: u16 = 2;
    pub(in super::super) const RULE_HANDLE: u16 = 3;
    pub(in super::super) const TYPE: u16 = 4;
    pub(in super::super) const VERDICT: u16 = 5;
    pub(in super::super) const ID: u16 = 6;
    pub(in super::super) const OIF: u16 = 12;
    /// `enum nft_trace_types`.
    pub(in super::super) const TYPE_POLICY: u32 = 1;
    pub(in super::super) const TYPE_RULE: u32 = 3;
}

/// `NFNLGRP_NFTRACE`: where packets with `meta nftrace` are told of.
pub(super) const NFNLGRP_NFTRACE: u32 = 9;

/// Data type of a verdict map.
pub(super) const NFT_DATA_VERDICT: u32 = 0xffff_ff00;

/// `enum nft_verdicts`, as the 32 bits on the wire.
pub(super) mod verdict {
    pub(in super::super) const DROP: u32 = 0;
    pub(in super::super) const ACCEPT: u32 = 1;
    pub(in super::super) const JUMP: u32 = -3_i32 as u32;
    pub(in super::super) const GOTO: u32 = -4_i32 as u32;
    pub(in super::super) const RETURN: u32 = -5_i32 as u32;
}

/// `NFT_REG32_00`: the first of sixteen registers of 4 bytes; the same memory as `NFT_REG_1` on.
pub(super) const NFT_REG32_00: u32 = 8;

/// `enum nlmsgerr_attrs`.
pub(super) const NLMSGERR_ATTR_OFFS: u16 = 2;

/// `enum nft_fib_result`, `nft_fib_flags`.
pub(super) const NFT_FIB_RESULT_ADDRTYPE: u32 = 3;
pub(super) const NFTA_FIB_F_SADDR: u32 = 1;
pub(super) const NFTA_FIB_F_DADDR: u32 = 2;

/// `RTN_LOCAL`, `include/uapi/linux/rtnetlink.h`.
pub(super) const RTN_LOCAL: u32 = 2;

/// `IPS_DST_NAT`, `include/uapi/linux/netfilter/nf_conntrack_common.h`.
pub(super) const IPS_DST_NAT: u32 = 1 << 5;

/// `LOGLEVEL_INFO`: `level info` of nft(8).
pub(super) const LOG_LEVEL_INFO: u32 = 6;

/// `NFT_LOOKUP_F_INV`.
pub(super) const NFT_LOOKUP_F_INV: u32 = 1;

/// Most expressions of a rule that the kernel takes (`NFT_RULE_MAXEXPRS`).
pub(super) const NFT_RULE_MAXEXPRS: usize = 128;

/// `struct nlmsghdr` and `struct nfgenmsg`, in bytes.
pub(super) const NLMSG_HEADER_BYTES: usize = 16;
pub(super) const NFGENMSG_BYTES: usize = 4;

/// nf_tables' messages among nfnetlink's.
pub(super) const NFNL_SUBSYS: i32 = libc::NFNL_SUBSYS_NFTABLES << 8;

/// `NLM_F_CAPPED`, `NLM_F_ACK_TLVS`: flags of an error message.
pub(super) const NLM_F_CAPPED: u16 = 0x100;
pub(super) const NLM_F_ACK_TLVS: u16 = 0x200;
