//! Links made of descriptors (tun): what is written arrives on the link as a packet. They know bytes, not headers.

use crate::netns::Netns;
use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::fd::AsRawFd as _,
};

/// A link whose other end is this descriptor. The link is gone when it is dropped.
#[derive(Debug)]
pub struct Tun {
    device: File,
}

impl Tun {
    /// Makes a link of this name in a namespace. It is down and has no address.
    ///
    /// # Panics
    /// Without /dev/net/tun, which Linux has with its module `tun`.
    pub fn new(netns: &Netns, name: &str) -> Self {
        // The descriptor belongs to the namespace in which it was opened.
        let open = || {
            OpenOptions::new().read(true).write(true).open("/dev/net/tun").unwrap_or_else(|e| {
                panic!("/dev/net/tun: {e}; load the module `tun` (modprobe tun) and let this user open it")
            })
        };
        let device = netns.enter(open);
        // SAFETY: an ifreq is plain bytes, for which zero is a value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
        // SAFETY: the descriptor is open, and the kernel reads an ifreq, which this is.
        let done = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &request) };
        assert!(done == 0, "tun link {name}: {}", io::Error::last_os_error());
        Self { device }
    }

    /// Has an IP packet arrive on the link. The kernel has done with it when this returns: it was delivered to a
    /// socket, forwarded, or dropped.
    ///
    /// # Errors
    /// What the kernel says, for example of a link that is down.
    pub fn arrive(&self, packet: &[u8]) -> io::Result<()> {
        (&self.device).write_all(packet)
    }
}
