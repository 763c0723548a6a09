//! What is in force, typed for those who act on it.

use super::{
    parse::Typed,
    resolve::{Resolved, Severity, Value},
    sources::{ConfigError, Source},
    table::{self, Effect, Parameter},
};
use crate::{etcd_client::EtcdOptions, status::writer::Reporting};
use proto::settings::{
    DenyAction, Encapsulation, EndpointToHostAction, EssentialIcmpV6, Failsafe, InterfaceExclude, PacketLog,
    Settings,
};
use std::{path::PathBuf, time::Duration};

/// Where resources come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Datastore {
    /// etcd v3.
    Etcd(EtcdOptions),
    /// A directory of YAML and JSON files.
    Directory(PathBuf),
}

/// Where health is served.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct HealthAddress {
    pub host: String,
    pub port: u16,
}

/// Least severity that is logged, in Felix's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum LogLevel {
    Off,
    Fatal,
    Error,
    Warning,
    Info,
    Debug,
    Trace,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum LogFormat {
    Text,
    Json,
}

impl Resolved {
    /// Every parameter with the value in force, in the order of the table.
    pub fn values(&self) -> impl Iterator<Item = (&'static Parameter, &Value)> {
        table::parameters().map(|p| (p, self.value(p.name)))
    }

    /// The value of a parameter of the table.
    ///
    /// # Panics
    /// If the table has no parameter of exactly this name.
    pub fn value(&self, name: &str) -> &Value {
        self.values.get(name).expect("resolving gives every parameter of the table a value")
    }

    /// Whether an agent may start.
    ///
    /// # Errors
    /// [`ConfigError::Values`] with every bad local value that matters. Failsafe lists are none of them, because a
    /// mistake there must not keep the host from being protected (D11); nor is a bad value in the datastore, which
    /// could change while we are not looking.
    pub fn check(&self) -> Result<(), ConfigError> {
        let stops = |p: &&super::Problem| {
            p.severity == Severity::Refused
                && !matches!(p.source, Source::Global | Source::Host(_))
                && !matches!(self.value(p.parameter).typed, Typed::Failsafes(_))
        };
        let mut problems: Vec<_> = self.problems.iter().filter(stops).map(ToString::to_string).collect();
        if let (Typed::Secret(_), Typed::Nothing) =
            (&self.value("EtcdPassword").typed, &self.value("EtcdUsername").typed)
        {
            problems.push("EtcdPassword is set and EtcdUsername is not: set both, or neither".into());
        }
        let discovery = self.value("EtcdDiscoverySrv");
        if discovery.typed != Typed::Nothing && matches!(self.datastore(), Datastore::Etcd(_)) {
            // With endpoints beside it Calico refuses both; without, etcd would be looked for on this host.
            problems.push(format!(
                "EtcdDiscoverySrv ({}) is not supported: list the URLs of etcd in EtcdEndpoints, and take it away",
                discovery.source
            ));
        }
        if problems.is_empty() { Ok(()) } else { Err(ConfigError::Values(problems)) }
    }

    /// Parameters whose new values take effect only at the next start.
    pub fn needs_restart(&self, next: &Self) -> Vec<&'static str> {
        let changed = |p: &&Parameter| {
            p.effect == Effect::Restart && self.value(p.name).typed != next.value(p.name).typed
        };
        table::parameters().filter(changed).map(|p| p.name).collect()
    }

    /// What decides packets.
    pub fn settings(&self) -> Settings {
        Settings {
            workload_prefixes: self.list("InterfacePrefix"),
            exclude: self.exclude(),
            failsafe_in: self.failsafes("FailsafeInboundHostPorts"),
            failsafe_out: self.failsafes("FailsafeOutboundHostPorts"),
            endpoint_to_host: match self.text("DefaultEndpointToHostAction") {
                "ACCEPT" => EndpointToHostAction::Accept,
                "RETURN" => EndpointToHostAction::Return,
                _ => EndpointToHostAction::Drop,
            },
            vxlan_from_workloads: self.is("AllowVXLANPacketsFromWorkloads"),
            ipip_from_workloads: self.is("AllowIPIPPacketsFromWorkloads"),
            deny: match self.text(self.of_pair("NftablesFilterDenyAction", "IptablesFilterDenyAction")) {
                "REJECT" => DenyAction::Reject,
                _ => DenyAction::Drop,
            },
            drop_invalid: !self.is("DisableConntrackInvalidCheck"),
            ipv6: self.is("Ipv6Support"),
            essential_icmpv6: match self.text("EssentialICMPv6") {
                "Policy" => EssentialIcmpV6::Policy,
                _ => EssentialIcmpV6::Allow,
            },
            wildcard_covers_loopback: self.text("WildcardCoversLoopback") != "Disabled",
            log_prefix: self.text("LogPrefix").to_owned(),
            packet_log: self.packet_log(),
            mark_mask: match self.value(self.of_pair("NftablesMarkMask", "IptablesMarkMask")).typed {
                Typed::Mask(mask) => mask,
                _ => Settings::default().mark_mask,
            },
            encapsulation: self.encapsulation(),
        }
    }

    fn encapsulation(&self) -> Encapsulation {
        let asked = |name| match self.value(name).typed {
            Typed::Bool(yes) => Some(yes),
            _ => None,
        };
        let port = |name| match self.value(name).typed {
            Typed::Int(port) => u16::try_from(port).ok().filter(|port| *port > 0),
            _ => None,
        };
        let wireguard = |enabled, of| if self.is(enabled) { port(of) } else { None };
        let defaults = Encapsulation::default();
        Encapsulation {
            ipip: asked("IpInIpEnabled"),
            vxlan4: asked("VXLANEnabled"),
            vxlan_port: port("VXLANPort").unwrap_or(defaults.vxlan_port),
            wireguard4: wireguard("WireguardEnabled", "WireguardListeningPort"),
            wireguard6: wireguard("WireguardEnabledV6", "WireguardListeningPortV6"),
            external_nodes: match &self.value("ExternalNodesCIDRList").typed {
                Typed::Nets(nets) => nets.iter().copied().map(ipnet::IpNet::V4).collect(),
                _ => Vec::new(),
            },
            ..defaults
        }
    }

    /// Where packets are told of.
    pub fn packet_log(&self) -> PacketLog {
        let group = match self.value("LogNflogGroup").typed {
            Typed::Int(group) => u16::try_from(group).ok(),
            _ => None,
        };
        let destination = self.text("LogDestination");
        PacketLog {
            // Without a group there is nobody to tell.
            kernel: destination != "Nflog" || group.is_none(),
            logged: group.filter(|_| matches!(destination, "Nflog" | "Both")),
            denied: group.filter(|_| self.text("LogDenied") == "Enabled"),
            allowed: group.filter(|_| self.text("LogAllowed") == "Enabled"),
        }
    }

    /// Where to write events; `None` is standard output.
    pub fn events_file(&self) -> Option<PathBuf> {
        Some(self.text("LogEventsFile")).filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    /// Which of two parameters counts. Felix asks `NFTablesMode`; we are always in nftables mode, and a host that
    /// was set up for iptables keeps what it was set up for: the Nftables one where any source sets it, else the
    /// Iptables one.
    fn of_pair(&self, nftables: &'static str, iptables: &'static str) -> &'static str {
        match self.value(nftables).source {
            Source::Default => iptables,
            _ => nftables,
        }
    }

    /// How to reach the datastore.
    pub fn datastore(&self) -> Datastore {
        if self.text("DatastoreType") == "file" {
            return Datastore::Directory(self.text("FileDatastorePath").into());
        }
        let file = |name| Some(self.text(name)).filter(|path| !path.is_empty()).map(PathBuf::from);
        Datastore::Etcd(EtcdOptions {
            endpoints: self.endpoints(),
            ca_file: file("EtcdCaFile"),
            cert_file: file("EtcdCertFile"),
            key_file: file("EtcdKeyFile"),
            username: self.text("EtcdUsername").to_owned(),
            password: self.text("EtcdPassword").to_owned(),
        })
    }

    /// `EtcdEndpoints`, unless only Calico's clients' environment sets it and `EtcdAddr` is set on top of that; and
    /// `EtcdAddr` where nothing else is known.
    fn endpoints(&self) -> Vec<String> {
        let endpoints = self.value("EtcdEndpoints");
        let inherited = matches!(endpoints.source, Source::Default | Source::ClientEnvironment(_));
        let addr_is_set = self.value("EtcdAddr").source != Source::Default;
        let list = self.list("EtcdEndpoints");
        if list.is_empty() || inherited && addr_is_set {
            return vec![format!("{}://{}", self.text("EtcdScheme"), self.text("EtcdAddr"))];
        }
        list
    }

    /// The node that this is.
    pub fn hostname(&self) -> &str {
        self.text("FelixHostname")
    }

    /// Where to serve health, if at all.
    pub fn health(&self) -> Option<HealthAddress> {
        let port = match self.value("HealthPort").typed {
            Typed::Int(port) => u16::try_from(port).ok()?,
            _ => return None,
        };
        let host = Some(self.text("HealthHost")).filter(|h| !h.is_empty()).unwrap_or("localhost");
        self.is("HealthEnabled").then(|| HealthAddress { host: host.to_owned(), port })
    }

    /// How often to look whether a change of our table by others was missed; `None` for never.
    pub fn audit_interval(&self) -> Option<Duration> {
        match self.value("NftablesRefreshInterval").typed {
            Typed::Seconds(seconds) => {
                Duration::try_from_secs_f64(seconds).ok().filter(|every| !every.is_zero())
            }
            _ => None,
        }
    }

    /// What is reported to etcd. A directory is never written to.
    pub fn reporting(&self) -> Reporting {
        Reporting {
            enabled: self.is("EndpointReportingEnabled") && matches!(self.datastore(), Datastore::Etcd(_)),
            delay: self.seconds("EndpointReportingDelaySecs"),
            interval: self.seconds("ReportingIntervalSecs"),
            ttl: self.seconds("ReportingTTLSecs"),
            region: self.text("OpenstackRegion").to_owned(),
        }
    }

    /// Where `portcullis status` asks, if anywhere.
    pub fn status_socket(&self) -> Option<PathBuf> {
        Some(self.text("StatusSocketPath")).filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    /// Least severity to log.
    pub fn log_level(&self) -> LogLevel {
        match self.text("LogSeverityScreen") {
            "TRACE" => LogLevel::Trace,
            "DEBUG" => LogLevel::Debug,
            "INFO" => LogLevel::Info,
            "WARNING" => LogLevel::Warning,
            "ERROR" => LogLevel::Error,
            "FATAL" => LogLevel::Fatal,
            _ => LogLevel::Off,
        }
    }

    /// Form of the log.
    pub fn log_format(&self) -> LogFormat {
        if self.text("LogFormat") == "JSON" { LogFormat::Json } else { LogFormat::Text }
    }

    fn text(&self, name: &str) -> &str {
        match &self.value(name).typed {
            Typed::Text(text) | Typed::Secret(text) => text,
            _ => "",
        }
    }

    fn is(&self, name: &str) -> bool {
        self.value(name).typed == Typed::Bool(true)
    }

    fn seconds(&self, name: &str) -> Duration {
        match self.value(name).typed {
            // More is as good as never, and an Instant has no room for what a float has.
            Typed::Seconds(seconds) => Duration::from_secs_f64(seconds.clamp(0.0, 365.0 * 86_400.0)),
            _ => Duration::ZERO,
        }
    }

    fn list(&self, name: &str) -> Vec<String> {
        match &self.value(name).typed {
            Typed::List(items) => items.clone(),
            _ => Vec::new(),
        }
    }

    /// Each once, however often it is written.
    fn failsafes(&self, name: &str) -> Vec<Failsafe> {
        let Typed::Failsafes(list) = &self.value(name).typed else { return Vec::new() };
        let mut once: Vec<Failsafe> = Vec::with_capacity(list.len());
        for failsafe in list {
            if !once.contains(failsafe) {
                once.push(failsafe.clone());
            }
        }
        once
    }

    fn exclude(&self) -> Vec<InterfaceExclude> {
        match &self.value("InterfaceExclude").typed {
            Typed::Exclude(items) => items.clone(),
            _ => Vec::new(),
        }
    }
}
