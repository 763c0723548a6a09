//! One netlink socket to nf_tables: it sends, and takes apart what comes back. What a message says is not its business.
//!
//! The kernel works while we send: when a send returns, all replies to it are queued, or the socket says that they did
//! not fit. So nothing here ever waits.

use super::{
    attribute::{Attributes, aligned},
    encode::{Header, finish_message},
    uapi::{
        NFGENMSG_BYTES, NFNL_SUBSYS, NFTA_GEN_ID, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_HEADER_BYTES,
        NLMSGERR_ATTR_OFFS,
    },
};
use std::{
    io,
    os::fd::{AsRawFd, RawFd},
};

/// What is asked of the socket's buffers. The defaults suit a host; tests ask for small ones.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of the send buffer: the largest batch. Only memory in use is taken.
    pub send_buffer: usize,
    /// Bytes of the receive buffer: replies that wait until a batch is done.
    pub receive_buffer: usize,
    /// Whether to use the acknowledgement of a batch's end where the kernel has it (Linux 6.10).
    pub end_ack: bool,
    /// Whether to size hash sets that begin large where the kernel lets a size be changed (Linux 6.5): loading is
    /// then two to three times faster, and the size is raised out of the way in the same batch, since it is a limit.
    pub resize_sets: bool,
    /// Whether to use NFLOG where the kernel has it (module nfnetlink_log).
    pub nflog: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            send_buffer: 512 << 20,
            receive_buffer: 16 << 20,
            end_ack: true,
            resize_sets: true,
            nflog: true,
        }
    }
}

/// Bytes that the kernel keeps of the send buffer (`netlink_sendmsg`).
const SEND_RESERVE_BYTES: usize = 32;

/// The kernel fills at most 32 KiB of a buffer in a dump; one message is at most a little over 64 KiB.
const RECEIVE_BYTES: usize = 128 << 10;

/// A socket, bound in the network namespace of the thread that opened it.
pub(super) struct Socket {
    socket: mnl::Socket,
    buffer: Vec<u8>,
    sequence: u32,
    send_limit: usize,
}

impl Socket {
    /// Opens a socket.
    pub(super) fn open(options: Options) -> io::Result<Self> {
        let socket = mnl::Socket::new(mnl::Bus::Netfilter)?;
        let fd = socket.as_raw_fd();
        set_nonblocking(fd)?;
        set_option(fd, libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, 1)?;
        set_option(fd, libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, 1)?;
        set_buffer(fd, (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF), options.send_buffer)?;
        set_receive_buffer(fd, options.receive_buffer)?;
        let send_limit = option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF)?.saturating_sub(SEND_RESERVE_BYTES);
        Ok(Self { socket, buffer: vec![0; RECEIVE_BYTES], sequence: 0, send_limit })
    }

    /// The address by which the kernel tells others whose transaction it was.
    pub(super) fn port(&self) -> u32 {
        self.socket.portid()
    }

    /// Most bytes that one send takes.
    pub(super) fn send_limit(&self) -> usize {
        self.send_limit
    }

    /// Sends all bytes at once.
    ///
    /// # Errors
    /// `EMSGSIZE` where they do not fit; nothing was sent then.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = self.socket.send(bytes)?;
        if sent != bytes.len() {
            return Err(io::Error::other("netlink took only a part of a batch"));
        }
        Ok(())
    }

    /// Hands each queued message to `take`, until none is left.
    ///
    /// # Errors
    /// `ENOBUFS` where replies were lost; what was queued before is handed over first.
    pub(super) fn drain(&mut self, mut take: impl FnMut(Message<'_>)) -> io::Result<()> {
        let mut lost = None;
        loop {
            let start = self.buffer.as_ptr().align_offset(align_of::<libc::nlmsghdr>());
            let received = match self.socket.recv_raw(&mut self.buffer[start..]) {
                Ok(length) => &self.buffer[start..start + length],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    lost = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            Messages(received).for_each(&mut take);
        }
        lost.map_or(Ok(()), Err)
    }

    /// Sends one request and hands each answer of type `answer` to `take`: the attributes after the family.
    ///
    /// # Errors
    /// The kernel's own, and `EINTR` where a dump was interrupted by a change of the ruleset or did not end.
    pub(super) fn ask(
        &mut self,
        request: Request<'_>,
        mut take: impl FnMut(u8, Attributes<'_>),
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        let mut bytes = Vec::new();
        let header = Header { kind: (NFNL_SUBSYS | request.kind) as u16, flags: request.flags, sequence };
        header.write(&mut bytes, request.family, 0);
        bytes.extend_from_slice(request.attributes);
        finish_message(&mut bytes, 0);
        self.send(&bytes)?;
        let wanted = (NFNL_SUBSYS | request.answer) as u16;
        let mut outcome = Ok(());
        let mut interrupted = false;
        let mut ended = request.flags & libc::NLM_F_DUMP as u16 == 0;
        self.drain(|message| {
            if message.sequence != sequence {
                return;
            }
            interrupted |= message.flags & libc::NLM_F_DUMP_INTR as u16 != 0;
            if let Some(code) = message.error_code() {
                ended = true;
                if code != 0 {
                    outcome = Err(io::Error::from_raw_os_error(-code));
                }
            } else if message.kind == wanted {
                take(message.family(), message.attributes());
            }
        })?;
        outcome?;
        if interrupted || !ended {
            return Err(io::Error::from_raw_os_error(libc::EINTR));
        }
        Ok(())
    }

    /// Generation of the netns' ruleset.
    pub(super) fn generation(&mut self) -> io::Result<u32> {
        let mut generation = None;
        let request = Request {
            kind: libc::NFT_MSG_GETGEN,
            answer: libc::NFT_MSG_NEWGEN,
            flags: libc::NLM_F_REQUEST as u16,
            family: 0,
            attributes: &[],
        };
        self.ask(request, |_, attributes| {
            generation = attributes.get(NFTA_GEN_ID).and_then(|attribute| attribute.be32());
        })?;
        generation.ok_or_else(|| io::Error::other("the kernel did not tell the ruleset's generation"))
    }
}

/// A question to the kernel.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    /// `NFT_MSG_GET…`.
    pub(super) kind: i32,
    /// `NFT_MSG_NEW…`.
    pub(super) answer: i32,
    pub(super) flags: u16,
    pub(super) family: u8,
    pub(super) attributes: &'a [u8],
}

/// One netlink message as received.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    /// Whom it answers, or whose transaction it tells of.
    pub(super) port: u32,
    payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The errno, negative, of an error or of the end of a dump; 0 of an acknowledgement. `None` for other messages.
    pub(super) fn error_code(self) -> Option<i32> {
        match i32::from(self.kind) {
            libc::NLMSG_ERROR | libc::NLMSG_DONE => {
                Some(self.payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code)))
            }
            _ => None,
        }
    }

    /// Where in the refused message the offending attribute is.
    pub(super) fn error_offset(self) -> Option<usize> {
        let told = NLM_F_CAPPED | NLM_F_ACK_TLVS;
        if self.flags & told != told {
            return None;
        }
        let attributes = Attributes(self.payload.get(size_of::<i32>() + NLMSG_HEADER_BYTES..)?);
        let offset = attributes.get(NLMSGERR_ATTR_OFFS)?;
        Some(u32::from_ne_bytes(offset.payload.try_into().ok()?) as usize)
    }

    /// The family of a netfilter message.
    pub(super) fn family(self) -> u8 {
        self.payload.first().copied().unwrap_or(0)
    }

    /// The attributes of a netfilter message.
    pub(super) fn attributes(self) -> Attributes<'a> {
        Attributes(self.payload.get(NFGENMSG_BYTES..).unwrap_or_default())
    }
}

/// The messages of a buffer, up to the first that is malformed.
pub(super) struct Messages<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let header = self.0.first_chunk::<NLMSG_HEADER_BYTES>()?;
        let word =
            |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let half = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        let length = word(0) as usize;
        let payload = self.0.get(NLMSG_HEADER_BYTES..length)?;
        self.0 = self.0.get(aligned(length)..).unwrap_or_default();
        Some(Message { kind: half(4), flags: half(6), sequence: word(8), port: word(12), payload })
    }
}

fn set_nonblocking(fd: RawFd) -> io::Result<()> {
    // SAFETY: plain system calls on a descriptor that is open.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    // SAFETY: as above.
    if flags < 0 || unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Sets a buffer's size: past the limit of the system where we may, else as near to it as it goes.
fn set_buffer(fd: RawFd, (force, ordinary): (i32, i32), bytes: usize) -> io::Result<()> {
    // The kernel doubles the value and keeps it in an int.
    let value = i32::try_from(bytes / 2).unwrap_or(i32::MAX / 2).max(1);
    match set_option(fd, libc::SOL_SOCKET, force, value) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            set_option(fd, libc::SOL_SOCKET, ordinary, value)
        }
        result => result,
    }
}

/// Sets the receive buffer, past the limit of the system where we may.
pub(super) fn set_receive_buffer(fd: RawFd, bytes: usize) -> io::Result<()> {
    set_buffer(fd, (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), bytes)
}

/// Lets the kernel run a filter on each datagram before it is queued; what it refuses takes no room and wakes nobody.
pub(super) fn attach_filter(fd: RawFd, filter: &mut [libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).expect("it is short"),
        filter: filter.as_mut_ptr(),
    };
    let (pointer, length) = ((&raw const program).cast(), size_of::<libc::sock_fprog>() as libc::socklen_t);
    // SAFETY: the program and the filter that it points to live through the call, which copies both.
    let result = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, pointer, length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn set_option(fd: RawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let pointer = (&raw const value).cast();
    // SAFETY: the pointer is to an int that lives through the call, and its size is given.
    let result = unsafe { libc::setsockopt(fd, level, name, pointer, size_of::<i32>() as libc::socklen_t) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn option(fd: RawFd, level: i32, name: i32) -> io::Result<usize> {
    let mut value = 0_i32;
    let mut length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: both pointers are to locals that live through the call; the length is that of the value.
    let result = unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut length) };
    if result == 0 { Ok(usize::try_from(value).unwrap_or(0)) } else { Err(io::Error::last_os_error()) }
}
