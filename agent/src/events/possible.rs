//! Whether this kernel can tell of packets at all. One that cannot refuses each rule that shall tell, so it is asked
//! before there are any, once, and policy goes without.

use dataplane::nft::Kernel;
use proto::{settings::PacketLog, update::Update};
use std::{io, sync::Arc};
use tracing::error;

/// How often the kernel is asked at most: only a refusal is an answer, anything else is one that got lost.
const TRIES: usize = 3;

/// What the kernel lets rules do; see the module's text.
#[derive(Debug)]
pub struct Possible {
    kernel: Kernel,
    /// Its answer; `None` before it was asked.
    nflog: Option<bool>,
}

impl Possible {
    /// Nothing is asked yet: a host without events needs no module for them.
    pub fn new(kernel: Kernel) -> Self {
        Self { kernel, nflog: None }
    }

    /// As much of `wanted` as the kernel can do. Says once what is missing.
    pub async fn of(&mut self, wanted: PacketLog) -> PacketLog {
        if wanted.group().is_none() {
            return wanted;
        }
        if self.nflog.is_none() {
            let answer = self.ask().await;
            if let Err(error) = &answer {
                error!(
                    %error,
                    "this kernel cannot tell of packets by NFLOG, so there are no events, and rules with action Log write \
                     to the kernel log: load its module nfnetlink_log and start the agent again; policy is enforced all \
                     the same"
                );
            }
            self.nflog = Some(answer.is_ok());
        }
        match self.nflog {
            Some(true) => wanted,
            _ => PacketLog::default(),
        }
    }

    /// Takes out of settings what the kernel cannot do.
    pub async fn limit(&mut self, updates: &mut [Update]) {
        for update in updates {
            if let Update::Settings(settings) = update {
                let packet_log = self.of(settings.packet_log).await;
                if packet_log != settings.packet_log {
                    Arc::make_mut(settings).packet_log = packet_log;
                }
            }
        }
    }

    async fn ask(&self) -> io::Result<()> {
        let mut answer = self.kernel.check_nflog().await;
        for _ in 1..TRIES {
            match &answer {
                // The kernel's word for a missing module.
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    answer = self.kernel.check_nflog().await;
                }
                _ => break,
            }
        }
        answer
    }
}

/// What is missing where somebody wants to be told of packets and is not, as a sentence.
pub fn missing(wanted: &PacketLog, given: &PacketLog) -> Option<&'static str> {
    (wanted.group().is_some() && given.group().is_none()).then_some(
        "LogDestination, LogDenied, LogAllowed: this kernel cannot tell of packets by NFLOG, so there are no events; load \
         its module nfnetlink_log and start the agent again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::nft::Options;

    #[tokio::test]
    async fn a_kernel_without_nflog_is_asked_once_and_policy_goes_without_events() {
        let without = Options { nflog: false, ..Options::default() };
        let wanted = PacketLog { kernel: false, logged: Some(3), denied: Some(3), allowed: None };
        let mut possible =
            Possible::new(Kernel::spawn_with(without).expect("tests run as root of a namespace"));
        assert_eq!(possible.nflog, None, "not asked before somebody wants events");
        assert_eq!(possible.of(PacketLog::default()).await, PacketLog::default());
        assert_eq!(possible.nflog, None);
        let given = possible.of(wanted).await;
        assert_eq!(given, PacketLog::default(), "to the kernel log only");
        assert!(missing(&wanted, &given).is_some_and(|why| why.contains("nfnetlink_log")));
        assert_eq!(missing(&PacketLog::default(), &given), None, "nobody misses it");
        let mut possible = Possible::new(Kernel::spawn().expect("tests run as root of a namespace"));
        assert_eq!(possible.of(wanted).await, wanted);
        assert_eq!(missing(&wanted, &wanted), None);
    }
}
