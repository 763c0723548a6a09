//! Statements as the kernel's expressions, built by libnftnl. The only file that calls it.
//!
//! Single fields go through register 1. A lookup's key is spread over the registers of 4 bytes: the list's id in the
//! first two, the fields behind it.

use super::{
    attribute::{TooLong, Writer},
    key::link_bytes,
    trace::Deed,
    uapi::{
        IPS_DST_NAT, LOG_LEVEL_INFO, NFT_FIB_RESULT_ADDRTYPE, NFT_LOOKUP_F_INV, NFT_REG32_00,
        NFT_RULE_MAXEXPRS, NFTA_FIB_F_DADDR, NFTA_FIB_F_SADDR, NFTA_LIST_ELEM, RTN_LOCAL, rule, verdict,
    },
};
use crate::ruleset::{
    Comparison, Field, LinkMatch, NFLOG_QUEUE_THRESHOLD, NFLOG_SNAPLEN, SetName, Statement, Value, Verdict,
    nft_syntax::log_prefix_text,
};
use ipnet::IpNet;
use nftnl::nftnl_sys as sys;
use proto::{
    id::SetId,
    rule::{Direction, Family},
};
use std::{
    ffi::{CStr, CString},
    net::IpAddr,
    ptr::NonNull,
};

/// Register of single fields, 16 bytes wide.
const REGISTER: u32 = libc::NFT_REG_1.cast_unsigned();

/// An expression of a rule, of libnftnl.
struct Expression(NonNull<sys::nftnl_expr>);

impl Expression {
    fn new(name: &'static CStr) -> Self {
        // SAFETY: the name is a C string; libnftnl copies nothing of it.
        let expression = unsafe { sys::nftnl_expr_alloc(name.as_ptr()) };
        // Every name here is one that libnftnl knows, so that only memory can be lacking.
        Self(NonNull::new(expression).expect("libnftnl knows the expression and memory is left"))
    }

    fn u32(self, attribute: u32, value: u32) -> Self {
        // SAFETY: the expression is alive; the attribute is a number of this expression of this width.
        unsafe { sys::nftnl_expr_set_u32(self.0.as_ptr(), attribute as u16, value) };
        self
    }

    fn u16(self, attribute: u32, value: u16) -> Self {
        // SAFETY: as above; the attribute is a number of 16 bits.
        unsafe { sys::nftnl_expr_set_u16(self.0.as_ptr(), attribute as u16, value) };
        self
    }

    fn u8(self, attribute: u32, value: u8) -> Self {
        // SAFETY: as above; the attribute is a number of 8 bits.
        unsafe { sys::nftnl_expr_set_u8(self.0.as_ptr(), attribute as u16, value) };
        self
    }

    /// Data for a register: libnftnl has room for 64 bytes; ours have at most 16.
    fn data(self, attribute: u32, data: &[u8]) -> Self {
        assert!(data.len() <= 64, "register data is short");
        // SAFETY: the expression is alive; libnftnl copies `data.len()` bytes into its 64.
        unsafe {
            sys::nftnl_expr_set(self.0.as_ptr(), attribute as u16, data.as_ptr().cast(), data.len() as u32)
        };
        self
    }

    fn text(self, attribute: u32, text: &str) -> Self {
        let text = CString::new(text.replace('\0', "")).expect("the NULs are gone");
        // SAFETY: the expression is alive; libnftnl duplicates the C string.
        unsafe { sys::nftnl_expr_set_str(self.0.as_ptr(), attribute as u16, text.as_ptr()) };
        self
    }

    /// Appends the expression as an element of a rule's list.
    fn write(&self, scratch: &mut Scratch, out: &mut Writer<'_>) {
        let header = scratch.header();
        // SAFETY: the header is of an empty message in a buffer that holds any expression of ours (see `Scratch`);
        // the expression is alive.
        unsafe { sys::nftnl_expr_build_payload(header, self.0.as_ptr()) };
        out.bytes(NFTA_LIST_ELEM | 1 << 15, scratch.payload());
    }
}

impl Drop for Expression {
    fn drop(&mut self) {
        // SAFETY: allocated in `new`, given to nobody, freed once.
        unsafe { sys::nftnl_expr_free(self.0.as_ptr()) };
    }
}

/// Where libnftnl builds an expression: it checks no bounds. The longest of ours is a verdict with a chain name of 255
/// bytes, or a log prefix of 127, under a dozen attributes: far less than this.
struct Scratch(Box<[u32; 512]>);

impl Scratch {
    fn new() -> Self {
        Self(Box::new([0; 512]))
    }

    /// The header of an empty message. The buffer is cleared where it was used: the C library leaves the padding of
    /// attributes as it finds it, and equal expressions have to be equal bytes.
    fn header(&mut self) -> *mut libc::nlmsghdr {
        let used = (self.0[0] as usize).div_ceil(4).min(self.0.len());
        self.0[..used].fill(0);
        self.0[0] = size_of::<libc::nlmsghdr>() as u32;
        self.0.as_mut_ptr().cast()
    }

    /// What was built behind the header.
    fn payload(&self) -> &[u8] {
        let length = (self.0[0] as usize).min(size_of_val(&*self.0));
        let start = self.0.as_ptr().cast::<u8>();
        // SAFETY: `length` is within the buffer, whose words are initialised; bytes have no alignment.
        let message = unsafe { std::slice::from_raw_parts(start, length) };
        &message[size_of::<libc::nlmsghdr>()..]
    }
}

/// Why a rule cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooManyExpressions;

impl From<TooLong> for TooManyExpressions {
    fn from(_: TooLong) -> Self {
        Self
    }
}

/// Writes expressions, one rule at a time.
pub(super) struct Expressions {
    scratch: Scratch,
    count: usize,
}

impl Expressions {
    pub(super) fn new() -> Self {
        Self { scratch: Scratch::new(), count: 0 }
    }

    /// Appends the attribute that holds a rule's expressions.
    ///
    /// # Errors
    /// Where there are more than the kernel takes, which it would refuse or, from 64 KiB on, misread.
    pub(super) fn write(
        &mut self,
        statements: &[Statement],
        out: &mut Vec<u8>,
    ) -> Result<(), TooManyExpressions> {
        self.write_with(statements, None, out)
    }

    /// As [`Self::write`], with what only a witness's rule does at its end.
    pub(super) fn write_with(
        &mut self,
        statements: &[Statement],
        deed: Option<Deed>,
        out: &mut Vec<u8>,
    ) -> Result<(), TooManyExpressions> {
        self.count = 0;
        let nest = Writer(out).begin(rule::EXPRESSIONS);
        for statement in statements {
            self.statement(statement, out);
            if self.count > NFT_RULE_MAXEXPRS {
                return Err(TooManyExpressions);
            }
        }
        match deed {
            Some(Deed::Trace) => self.trace(out),
            Some(Deed::Translate(address, port)) => self.translate(address, port, out),
            None => {}
        }
        Ok(Writer(out).end(nest)?)
    }

    /// `meta nftrace set 1`.
    fn trace(&mut self, out: &mut Vec<u8>) {
        let one = Expression::new(c"immediate").u32(sys::NFTNL_EXPR_IMM_DREG, REGISTER);
        self.put(out, one.data(sys::NFTNL_EXPR_IMM_DATA, &[1]));
        let store = Expression::new(c"meta").u32(sys::NFTNL_EXPR_META_SREG, REGISTER);
        self.put(out, store.u32(sys::NFTNL_EXPR_META_KEY, libc::NFT_META_NFTRACE.cast_unsigned()));
    }

    /// `dnat to <address>:<port>`.
    fn translate(&mut self, address: IpAddr, port: Option<u16>, out: &mut Vec<u8>) {
        let second = libc::NFT_REG_2.cast_unsigned();
        let load = |register| Expression::new(c"immediate").u32(sys::NFTNL_EXPR_IMM_DREG, register);
        let family = if address.is_ipv4() { libc::NFPROTO_IPV4 } else { libc::NFPROTO_IPV6 };
        with_value(Value::Address(address), |bytes| {
            self.put(out, load(REGISTER).data(sys::NFTNL_EXPR_IMM_DATA, bytes));
        });
        let nat = Expression::new(c"nat")
            .u32(sys::NFTNL_EXPR_NAT_TYPE, libc::NFT_NAT_DNAT.cast_unsigned())
            .u32(sys::NFTNL_EXPR_NAT_FAMILY, family.cast_unsigned())
            .u32(sys::NFTNL_EXPR_NAT_REG_ADDR_MIN, REGISTER);
        let nat = match port {
            Some(port) => {
                self.put(out, load(second).data(sys::NFTNL_EXPR_IMM_DATA, &port.to_be_bytes()));
                nat.u32(sys::NFTNL_EXPR_NAT_REG_PROTO_MIN, second)
            }
            None => nat,
        };
        self.put(out, nat);
    }

    fn put(&mut self, out: &mut Vec<u8>, expression: Expression) {
        self.count += 1;
        expression.write(&mut self.scratch, &mut Writer(out));
    }

    fn statement(&mut self, statement: &Statement, out: &mut Vec<u8>) {
        match statement {
            Statement::Match(field, comparison) => self.comparison(*field, comparison, out),
            Statement::Lookup { list, fields, set, present } => {
                self.lookup(*list, fields, out);
                let flags = if *present { 0 } else { NFT_LOOKUP_F_INV };
                self.put(out, lookup(NFT_REG32_00, *set).u32(sys::NFTNL_EXPR_LOOKUP_FLAGS, flags));
            }
            Statement::CtState(bits) => {
                self.put(out, ct(libc::NFT_CT_STATE));
                self.any_bit(*bits, true, out);
            }
            Statement::CtDnat(translated) => {
                self.put(out, ct(libc::NFT_CT_STATUS));
                self.any_bit(IPS_DST_NAT, *translated, out);
            }
            Statement::Mark { mask, set } => {
                self.put(out, meta(libc::NFT_META_MARK));
                self.any_bit(*mask, *set, out);
            }
            Statement::SetMark { clear, set } => {
                self.put(out, meta(libc::NFT_META_MARK));
                self.put(out, bitwise(REGISTER, &(!(clear | set)).to_ne_bytes(), &set.to_ne_bytes()));
                let store = Expression::new(c"meta").u32(sys::NFTNL_EXPR_META_SREG, REGISTER);
                self.put(out, store.u32(sys::NFTNL_EXPR_META_KEY, libc::NFT_META_MARK.cast_unsigned()));
            }
            Statement::Link { direction, name, equal } => self.link(*direction, name, *equal, out),
            Statement::Dispatch { direction, map } => {
                self.put(out, link(*direction));
                let to_verdict = libc::NFT_REG_VERDICT.cast_unsigned();
                self.put(out, lookup(REGISTER, *map).u32(sys::NFTNL_EXPR_LOOKUP_DREG, to_verdict));
            }
            Statement::Log(prefix) => {
                let log = Expression::new(c"log").text(sys::NFTNL_EXPR_LOG_PREFIX, &log_prefix_text(prefix));
                self.put(out, log.u32(sys::NFTNL_EXPR_LOG_LEVEL, LOG_LEVEL_INFO));
            }
            Statement::Nflog { group, prefix } => {
                let log = Expression::new(c"log").text(sys::NFTNL_EXPR_LOG_PREFIX, &log_prefix_text(prefix));
                let log = log.u16(sys::NFTNL_EXPR_LOG_GROUP, *group);
                let log = log.u32(sys::NFTNL_EXPR_LOG_SNAPLEN, NFLOG_SNAPLEN);
                self.put(out, log.u16(sys::NFTNL_EXPR_LOG_QTHRESHOLD, NFLOG_QUEUE_THRESHOLD));
            }
            Statement::Notrack => self.put(out, Expression::new(c"notrack")),
            Statement::DestinationIsLocal => self.local(NFTA_FIB_F_DADDR, out),
            Statement::SourceIsLocal => self.local(NFTA_FIB_F_SADDR, out),
            Statement::Verdict(verdict) => self.put(out, verdict_expression(verdict)),
        }
    }

    fn comparison(&mut self, field: Field, comparison: &Comparison, out: &mut Vec<u8>) {
        match comparison {
            Comparison::Value(value, equal) => {
                self.put(out, load(field, REGISTER));
                with_value(*value, |value| self.put(out, compare(*equal, value)));
            }
            Comparison::Prefix(net, equal) => match net {
                IpNet::V4(net) => {
                    self.prefix(field, &net.network().octets(), (net.prefix_len(), *equal), out);
                }
                IpNet::V6(net) => {
                    self.prefix(field, &net.network().octets(), (net.prefix_len(), *equal), out);
                }
            },
            Comparison::Range(range, equal) => {
                let (first, last) = (range.first.to_be_bytes(), range.last.to_be_bytes());
                self.put(out, load(field, REGISTER));
                if first == last {
                    self.put(out, compare(*equal, &first));
                } else if *equal {
                    self.put(out, compare_as(libc::NFT_CMP_GTE, &first));
                    self.put(out, compare_as(libc::NFT_CMP_LTE, &last));
                } else {
                    let outside = Expression::new(c"range").u32(sys::NFTNL_EXPR_RANGE_SREG, REGISTER);
                    let outside = outside.u32(sys::NFTNL_EXPR_RANGE_OP, libc::NFT_CMP_NEQ.cast_unsigned());
                    let outside = outside.data(sys::NFTNL_EXPR_RANGE_FROM_DATA, &first);
                    self.put(out, outside.data(sys::NFTNL_EXPR_RANGE_TO_DATA, &last));
                }
            }
        }
    }

    /// An address in, or not in, a prefix: whole bytes of the address are loaded where the prefix ends with one, as
    /// nft(8) does.
    fn prefix(&mut self, field: Field, network: &[u8], (bits, equal): (u8, bool), out: &mut Vec<u8>) {
        let bits = usize::from(bits);
        if bits == 0 {
            if !equal {
                self.never(out);
            }
        } else if bits.is_multiple_of(8) {
            let load = load(field, REGISTER).u32(sys::NFTNL_EXPR_PAYLOAD_LEN, (bits / 8) as u32);
            self.put(out, load);
            self.put(out, compare(equal, &network[..bits / 8]));
        } else {
            let mut mask = [0; 16];
            for (index, byte) in mask[..network.len()].iter_mut().enumerate() {
                *byte = !(0xff_u8.checked_shr(bits.saturating_sub(8 * index) as u32).unwrap_or(0));
            }
            self.put(out, load(field, REGISTER));
            self.put(out, bitwise(REGISTER, &mask[..network.len()], &[0; 16][..network.len()]));
            self.put(out, compare(equal, network));
        }
    }

    fn link(&mut self, direction: Direction, name: &LinkMatch, equal: bool, out: &mut Vec<u8>) {
        let (name, length) = match name {
            LinkMatch::Name(name) => (link_bytes(name.as_str()), 16),
            LinkMatch::Prefix(prefix) => (link_bytes(prefix), prefix.len().min(16)),
        };
        if length == 0 {
            if !equal {
                self.never(out);
            }
            return;
        }
        self.put(out, link(direction));
        self.put(out, compare(equal, &name[..length]));
    }

    /// Loads the constant and the fields from the first register of 4 bytes on.
    fn lookup(&mut self, list: SetId, fields: &[Field], out: &mut Vec<u8>) {
        let id = Expression::new(c"immediate").u32(sys::NFTNL_EXPR_IMM_DREG, NFT_REG32_00);
        self.put(out, id.data(sys::NFTNL_EXPR_IMM_DATA, &list.0.to_be_bytes()));
        let mut register = NFT_REG32_00 + 2;
        for field in fields {
            self.put(out, load(*field, register));
            if let Some(mask) = field.mask() {
                with_value(Value::Address(mask), |mask| {
                    self.put(out, bitwise(register, mask, &[0; 16][..mask.len()]));
                });
            }
            register += width(*field).div_ceil(4);
        }
    }

    /// Some bit of `mask` is set in register 1, or none.
    fn any_bit(&mut self, mask: u32, some: bool, out: &mut Vec<u8>) {
        self.put(out, bitwise(REGISTER, &mask.to_ne_bytes(), &[0; 4]));
        self.put(out, compare(!some, &[0; 4]));
    }

    fn local(&mut self, flags: u32, out: &mut Vec<u8>) {
        let fib = Expression::new(c"fib").u32(sys::NFTNL_EXPR_FIB_DREG, REGISTER);
        let fib = fib.u32(sys::NFTNL_EXPR_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
        self.put(out, fib.u32(sys::NFTNL_EXPR_FIB_FLAGS, flags));
        self.put(out, compare(true, &RTN_LOCAL.to_ne_bytes()));
    }

    /// What no packet is: of protocol family 0.
    fn never(&mut self, out: &mut Vec<u8>) {
        self.put(out, load(Field::NfProto, REGISTER));
        self.put(out, compare(true, &[0]));
    }
}

fn with_value<R>(value: Value, body: impl FnOnce(&[u8]) -> R) -> R {
    match value {
        Value::Byte(byte) => body(&[byte]),
        Value::Port(port) => body(&port.to_be_bytes()),
        Value::Address(IpAddr::V4(address)) => body(&address.octets()),
        Value::Address(IpAddr::V6(address)) => body(&address.octets()),
    }
}

/// Bytes of a field.
fn width(field: Field) -> u32 {
    match field {
        Field::NfProto | Field::L4Proto | Field::IcmpType | Field::IcmpCode | Field::HopLimit => 1,
        Field::SourcePort | Field::DestinationPort => 2,
        Field::SourceAddress(family) | Field::SourceNet(family, _) => u32::from(family.address_bits()) / 8,
        Field::DestinationAddress(family) | Field::DestinationNet(family, _) => {
            u32::from(family.address_bits()) / 8
        }
    }
}

fn load(field: Field, register: u32) -> Expression {
    let network = libc::NFT_PAYLOAD_NETWORK_HEADER;
    let transport = libc::NFT_PAYLOAD_TRANSPORT_HEADER;
    let (base, offset) = match field {
        Field::NfProto => return meta(libc::NFT_META_NFPROTO).u32(sys::NFTNL_EXPR_META_DREG, register),
        Field::L4Proto => return meta(libc::NFT_META_L4PROTO).u32(sys::NFTNL_EXPR_META_DREG, register),
        Field::SourceAddress(Family::V4) | Field::SourceNet(Family::V4, _) => (network, 12),
        Field::DestinationAddress(Family::V4) | Field::DestinationNet(Family::V4, _) => (network, 16),
        Field::HopLimit => (network, 7),
        Field::SourceAddress(Family::V6) | Field::SourceNet(Family::V6, _) => (network, 8),
        Field::DestinationAddress(Family::V6) | Field::DestinationNet(Family::V6, _) => (network, 24),
        Field::SourcePort | Field::IcmpType => (transport, 0),
        Field::DestinationPort => (transport, 2),
        Field::IcmpCode => (transport, 1),
    };
    Expression::new(c"payload")
        .u32(sys::NFTNL_EXPR_PAYLOAD_DREG, register)
        .u32(sys::NFTNL_EXPR_PAYLOAD_BASE, base.cast_unsigned())
        .u32(sys::NFTNL_EXPR_PAYLOAD_OFFSET, offset)
        .u32(sys::NFTNL_EXPR_PAYLOAD_LEN, width(field))
}

fn meta(key: i32) -> Expression {
    let meta = Expression::new(c"meta").u32(sys::NFTNL_EXPR_META_KEY, key.cast_unsigned());
    // A store has no destination; it is built where it is needed.
    meta.u32(sys::NFTNL_EXPR_META_DREG, REGISTER)
}

fn link(direction: Direction) -> Expression {
    meta(match direction {
        Direction::Ingress => libc::NFT_META_IIFNAME,
        Direction::Egress => libc::NFT_META_OIFNAME,
    })
}

fn ct(key: i32) -> Expression {
    Expression::new(c"ct")
        .u32(sys::NFTNL_EXPR_CT_KEY, key.cast_unsigned())
        .u32(sys::NFTNL_EXPR_CT_DREG, REGISTER)
}

/// A register `and mask xor xor`.
fn bitwise(register: u32, mask: &[u8], xor: &[u8]) -> Expression {
    Expression::new(c"bitwise")
        .u32(sys::NFTNL_EXPR_BITWISE_SREG, register)
        .u32(sys::NFTNL_EXPR_BITWISE_DREG, register)
        .u32(sys::NFTNL_EXPR_BITWISE_LEN, mask.len() as u32)
        .data(sys::NFTNL_EXPR_BITWISE_MASK, mask)
        .data(sys::NFTNL_EXPR_BITWISE_XOR, xor)
}

fn compare(equal: bool, data: &[u8]) -> Expression {
    compare_as(if equal { libc::NFT_CMP_EQ } else { libc::NFT_CMP_NEQ }, data)
}

fn compare_as(operator: i32, data: &[u8]) -> Expression {
    Expression::new(c"cmp")
        .u32(sys::NFTNL_EXPR_CMP_SREG, REGISTER)
        .u32(sys::NFTNL_EXPR_CMP_OP, operator.cast_unsigned())
        .data(sys::NFTNL_EXPR_CMP_DATA, data)
}

fn lookup(register: u32, set: SetName) -> Expression {
    Expression::new(c"lookup")
        .u32(sys::NFTNL_EXPR_LOOKUP_SREG, register)
        .text(sys::NFTNL_EXPR_LOOKUP_SET, set.as_str())
}

fn verdict_expression(verdict: &Verdict) -> Expression {
    let (code, chain) = match verdict {
        Verdict::Accept => (verdict::ACCEPT, None),
        Verdict::Drop => (verdict::DROP, None),
        Verdict::Return => (verdict::RETURN, None),
        Verdict::Jump(chain) => (verdict::JUMP, Some(chain)),
        Verdict::Goto(chain) => (verdict::GOTO, Some(chain)),
        Verdict::Reject => {
            return Expression::new(c"reject")
                .u32(sys::NFTNL_EXPR_REJECT_TYPE, libc::NFT_REJECT_ICMPX_UNREACH.cast_unsigned())
                .u8(sys::NFTNL_EXPR_REJECT_CODE, libc::NFT_REJECT_ICMPX_PORT_UNREACH as u8);
        }
    };
    let immediate = Expression::new(c"immediate")
        .u32(sys::NFTNL_EXPR_IMM_DREG, libc::NFT_REG_VERDICT.cast_unsigned())
        .u32(sys::NFTNL_EXPR_IMM_VERDICT, code);
    match chain {
        Some(chain) => immediate.text(sys::NFTNL_EXPR_IMM_CHAIN, chain.as_str()),
        None => immediate,
    }
}
