//! Watches links and local addresses by rtnetlink: subscribes, then dumps, then passes on what happens. Decides nothing.
//!
//! Nothing is polled. After an overrun (the kernel dropped notifications because we were slow) it starts again from
//! a new subscription and sends a new snapshot. A notification that was queued while the dump ran is passed on after
//! it: the last one about an object agrees with the dump or is newer.

use super::{
    message,
    table::{Link, LinkEvent},
};
use futures_util::StreamExt;
use ipnet::IpNet;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::LinkMessage,
    route::{RouteMessage, RouteType},
};
use rtnetlink::{
    Handle, MulticastGroup,
    packet_core::{NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload},
    sys::AsyncSocket,
};
use std::{io, time::Duration};
use tokio::sync::mpsc;

/// Depth of the channel to the reconciler. When it is full the socket is not read; when that is full too the kernel
/// reports an overrun, and a snapshot replaces what was lost. So memory stays bounded however fast links change.
pub const EVENTS_MAX: usize = 256;

/// Receive buffer that we ask for: about 4,000 notifications. The kernel gives as much of it as `rmem_max` allows.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Pause before a new subscription after an overrun: lets the burst pass that caused it.
const RESYNC_PAUSE: Duration = Duration::from_millis(20);

/// Attempts at a dump that the kernel says was disturbed by changes. They are a few milliseconds each; after these
/// the last one counts, as the notifications that follow it mend it.
const DUMP_ATTEMPTS: u32 = 8;

/// Why links cannot be watched any more. What was committed stays in force.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum MonitorError {
    #[error(
        "cannot subscribe to links: {0}; the agent needs AF_NETLINK sockets (a unit's RestrictAddressFamilies?)"
    )]
    Subscribe(#[source] io::Error),
    #[error("cannot list {what}: {source}")]
    Dump {
        what: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("the kernel closed the socket on which links are watched")]
    Closed,
}

/// Watches the links of this network namespace until the receiver is dropped (`Ok`) or the kernel refuses.
///
/// # Errors
/// See [`MonitorError`]. None of them can be mended by trying again at once: the caller ends and is started again.
pub async fn watch(events: mpsc::Sender<LinkEvent>) -> Result<(), MonitorError> {
    loop {
        match session(&events).await? {
            End::ReceiverGone => return Ok(()),
            End::Overrun => {
                tracing::warn!("link notifications were lost, reading all links again");
                tokio::time::sleep(RESYNC_PAUSE).await;
            }
        }
    }
}

enum End {
    ReceiverGone,
    Overrun,
}

/// One subscription. The connection is driven only while we wait for its messages, so its queue does not grow while
/// the receiver is slow.
async fn session(events: &mpsc::Sender<LinkEvent>) -> Result<End, MonitorError> {
    let (mut connection, handle, mut messages) = rtnetlink::new_multicast_connection(&[
        MulticastGroup::Link,
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv6Route,
    ])
    .map_err(MonitorError::Subscribe)?;
    let socket = connection.socket_mut().socket_mut();
    // Without it the kernel would dump every route of every table. Kernels have had it since 4.20.
    socket.set_netlink_get_strict_chk(true).map_err(MonitorError::Subscribe)?;
    if let Err(error) = socket.set_rx_buf_sz(RECEIVE_BUFFER_BYTES as u32) {
        tracing::debug!(%error, "receive buffer for link notifications stays at its default");
    }
    // The end of a dump says whether it failed or was disturbed.
    connection.set_forward_done(true);
    tokio::pin!(connection);

    let snapshot = tokio::select! {
        snapshot = dump(handle) => snapshot?,
        () = &mut connection => return Err(MonitorError::Closed),
    };
    if events.send(snapshot).await.is_err() {
        return Ok(End::ReceiverGone);
    }
    loop {
        let message = tokio::select! {
            biased;
            message = messages.next() => message,
            () = &mut connection => return Err(MonitorError::Closed),
            () = events.closed() => return Ok(End::ReceiverGone),
        };
        let event = match message.map(|(message, _)| message.payload) {
            None => return Err(MonitorError::Closed),
            Some(NetlinkPayload::Overrun(_)) => return Ok(End::Overrun),
            Some(NetlinkPayload::InnerMessage(inner)) => message::event(&inner),
            Some(_) => None,
        };
        if let Some(event) = event
            && events.send(event).await.is_err()
        {
            return Ok(End::ReceiverGone);
        }
    }
}

async fn dump(mut handle: Handle) -> Result<LinkEvent, MonitorError> {
    let (mut links, mut local) = (vec![], vec![]);
    let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
    collect(&mut handle, request, "links", &mut |event| {
        if let LinkEvent::Link(link) = event {
            links.push(link);
        }
    })
    .await?;
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut route = RouteMessage::default();
        route.header.address_family = family;
        route.header.table = message::TABLE_LOCAL;
        route.header.kind = RouteType::Local;
        let request = RouteNetlinkMessage::GetRoute(route);
        collect(&mut handle, request, "local routes", &mut |event| {
            if let LinkEvent::LocalAdded { index, net } = event {
                local.push((index, net));
            }
        })
        .await?;
    }
    Ok(snapshot(links, local))
}

fn snapshot(links: Vec<Link>, local: Vec<(u32, IpNet)>) -> LinkEvent {
    tracing::debug!(links = links.len(), addresses = local.len(), "all links read");
    LinkEvent::Snapshot { links, local }
}

async fn collect(
    handle: &mut Handle,
    request: RouteNetlinkMessage,
    what: &'static str,
    take: &mut (dyn FnMut(LinkEvent) + Send),
) -> Result<(), MonitorError> {
    let fail = |source| MonitorError::Dump { what, source };
    for _ in 0..DUMP_ATTEMPTS {
        let mut message = NetlinkMessage::from(request.clone());
        message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let mut answers = handle.request(message).map_err(|error| fail(io::Error::other(error)))?;
        let mut disturbed = false;
        while let Some(answer) = answers.next().await {
            disturbed |= answer.header.flags & NLM_F_DUMP_INTR != 0;
            match answer.payload {
                NetlinkPayload::InnerMessage(inner) => {
                    message::event(&inner).into_iter().for_each(&mut *take)
                }
                NetlinkPayload::Error(error) => tolerate(error.to_io()).map_err(fail)?,
                NetlinkPayload::Done(done) if done.code != 0 => {
                    tolerate(io::Error::from_raw_os_error(-done.code)).map_err(fail)?;
                }
                NetlinkPayload::Overrun(_) => disturbed = true,
                _ => {}
            }
        }
        if !disturbed {
            break;
        }
    }
    Ok(())
}

/// A kernel without IPv6, or a namespace in which no address was ever set, has no such table: there is nothing.
fn tolerate(error: io::Error) -> io::Result<()> {
    match error.raw_os_error() {
        None | Some(0 | libc::ENOENT | libc::EAFNOSUPPORT | libc::EOPNOTSUPP) => Ok(()),
        Some(_) => Err(error),
    }
}
