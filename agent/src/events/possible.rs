//! Whether this kernel can tell of packets at all. One that cannot refuses each rule that shall tell, so it is asked
//! before there are any, once, and policy goes without.

use dataplane::nft::Kernel;
use proto::settings::PacketLog;
use tracing::error;

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
            let answer = self.kernel.check_nflog().await;
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
        assert_eq!(possible.of(wanted).await, PacketLog::default(), "to the kernel log only");
        let mut possible = Possible::new(Kernel::spawn().expect("tests run as root of a namespace"));
        assert_eq!(possible.of(wanted).await, wanted);
    }
}
