//! Precedence, bad values, and what is in force then.

use super::*;
use crate::config::{Datastore, in_force::LogLevel};
use proptest::prelude::*;
use proto::settings::{DenyAction, Settings};
use std::path::Path;

/// `E:` environment, `F:` file, `H:` host resource, `G:` global resource; items are separated by blanks.
fn world(text: &str, previous: Option<&Resolved>) -> Resolved {
    let of = |prefix: &str| -> Vec<(String, String)> {
        let items = text.split(' ').filter_map(|i| i.strip_prefix(prefix)?.split_once('='));
        items.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    };
    let file: String = of("F:").iter().map(|(k, v)| format!("{k}={v}\n")).collect();
    let local = LocalSources::from_text(Path::new("felix.cfg"), &file, of("E:"), "Host-1").expect("is INI");
    let (global, host) = (of("G:").into_iter().collect(), of("H:").into_iter().collect());
    resolve(&Sources { local: &local, global: Some(&global), host: Some(&host) }, previous)
}

fn shown(resolved: &Resolved, name: &str) -> String {
    let value = resolved.value(name);
    format!("{} ({})", value.typed, value.source)
}

#[test]
fn the_highest_source_wins() {
    let cases = [
        ("nothing is set", "", "INFO (default)"),
        ("global", "G:LogSeverityScreen=Error", "ERROR (FelixConfiguration default)"),
        (
            "host over global",
            "G:LogSeverityScreen=Error H:LogSeverityScreen=Debug",
            "DEBUG (FelixConfiguration node.host-1)",
        ),
        ("file over host", "F:logseverityscreen=Fatal H:LogSeverityScreen=Debug", "FATAL (felix.cfg)"),
        (
            "environment over file",
            "E:FELIX_LOGSEVERITYSCREEN=Warning F:LogSeverityScreen=Fatal",
            "WARNING (FELIX_LOGSEVERITYSCREEN in the environment)",
        ),
        (
            "an empty text is not set",
            "E:FELIX_LOGSEVERITYSCREEN= G:LogSeverityScreen=Error",
            "ERROR (FelixConfiguration default)",
        ),
        ("none hides lower sources", "F:LogSeverityScreen=NONE G:LogSeverityScreen=Error", " (felix.cfg)"),
        (
            "a bad value is the default, with its source's rank",
            "F:LogSeverityScreen=loud G:LogSeverityScreen=Error",
            "INFO (felix.cfg)",
        ),
    ];
    for (why, text, expected) in cases {
        assert_eq!(shown(&world(text, None), "LogSeverityScreen"), expected, "{why}");
    }
}

#[test]
fn local_parameters_do_not_come_from_the_datastore() {
    let resolved = world("G:FelixHostname=other G:EtcdEndpoints=nonsense", None);
    assert_eq!((resolved.hostname(), resolved.problems.len(), resolved.ignored.len()), ("host-1", 0, 2));
}

#[test]
fn only_the_kernels_host_name_is_lower_cased() {
    assert_eq!(world("", None).hostname(), "host-1");
    assert_eq!(world("F:FelixHostname=Edge-1", None).hostname(), "Edge-1");
}

#[test]
fn a_bad_failsafe_list_keeps_what_parses_and_the_built_in_list_and_the_one_until_now() {
    let built_in = Settings::default().failsafe_in.len();
    let before = world("G:FailsafeInboundHostPorts=tcp:2222", None);
    assert_eq!(before.settings().failsafe_in.len(), 1);
    let bad = "G:FailsafeInboundHostPorts=udp:7,icmp:8";
    let at_start = world(bad, None);
    assert_eq!(at_start.settings().failsafe_in.len(), built_in + 1);
    let running = world(bad, Some(&before));
    assert_eq!(running.settings().failsafe_in.len(), built_in + 2);
    assert_eq!(world(bad, Some(&running)), running, "resolving again changes nothing");
    let text = running.problems[0].to_string();
    for part in [
        "FailsafeInboundHostPorts",
        "FelixConfiguration default",
        "\"icmp:8\"",
        "tcp, udp or sctp",
        "tcp:2222",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(world("F:FailsafeInboundHostPorts=icmp:8", None).check().is_ok(), "it does not stop the agent");
}

#[test]
fn no_failsafes_at_all_is_possible() {
    let settings = world("G:FailsafeInboundHostPorts=none G:FailsafeOutboundHostPorts=none", None).settings();
    assert_eq!((settings.failsafe_in.len(), settings.failsafe_out.len()), (0, 0));
}

#[test]
fn a_bad_value_that_matters_stops_the_start_or_leaves_the_value_until_now() {
    let bad = "DefaultEndpointToHostAction=Reject";
    let error = world(&format!("F:{bad}"), None).check().expect_err("it is local").to_string();
    for part in ["DefaultEndpointToHostAction", "felix.cfg", "Reject", "DROP, RETURN, ACCEPT"] {
        assert!(error.contains(part), "{error}");
    }
    let hidden = world(&format!("F:{bad} E:FELIX_DefaultEndpointToHostAction=ACCEPT"), None);
    assert!(hidden.check().is_ok(), "hidden by a higher source");
    assert_eq!(hidden.problems[0].severity, Severity::Hidden);
    let in_datastore = world(&format!("G:{bad}"), None);
    assert!(in_datastore.check().is_ok());
    assert_eq!(in_datastore.problems[0].severity, Severity::Refused);
    let before = world("G:DefaultEndpointToHostAction=Accept", None);
    let running = world(&format!("G:{bad}"), Some(&before));
    assert_eq!(running.settings().endpoint_to_host, proto::settings::EndpointToHostAction::Accept);
    assert!(world("F:DatastoreType=kubernetes", None).check().is_err());
    assert!(world("F:EtcdEndpoints=nonsense", None).check().is_err(), "it must not become another address");
    assert!(world("F:InterfacePrefix=none", None).check().is_err(), "none where none cannot be");
}

#[test]
fn etcd_is_found_wherever_calico_says_it_is() {
    let cases = [
        ("nothing is set", "", "http://127.0.0.1:2379"),
        ("the file", "F:EtcdEndpoints=https://a:1,https://b:2/", "https://a:1 https://b:2"),
        ("address and scheme", "F:EtcdAddr=a:1 F:EtcdScheme=https", "https://a:1"),
        (
            "Felix ignores these (D8)",
            "E:FELIX_ETCDENDPOINTS=http://a:1 F:EtcdEndpoints=http://b:2",
            "http://a:1",
        ),
        ("and this", "E:FELIX_ETCDADDR=a:1", "http://a:1"),
        ("Calico's clients", "E:ETCD_ENDPOINTS=http://a:1", "http://a:1"),
        ("which the file hides", "E:ETCD_ENDPOINTS=http://a:1 F:EtcdEndpoints=http://b:2", "http://b:2"),
        ("and an address too", "E:ETCD_ENDPOINTS=http://a:1 F:EtcdAddr=b:2", "http://b:2"),
        ("endpoints over address", "F:EtcdEndpoints=http://a:1 F:EtcdAddr=b:2", "http://a:1"),
    ];
    for (why, text, expected) in cases {
        let Datastore::Etcd(options) = world(text, None).datastore() else { panic!("{why}") };
        assert_eq!(options.endpoints.join(" "), expected, "{why}");
    }
    let resolved = world("E:ETCD_USERNAME=u E:CALICO_ETCD_PASSWORD=p E:ETCD_CA_CERT_FILE=/ca", None);
    let Datastore::Etcd(options) = resolved.datastore() else { panic!("etcd is the default") };
    assert_eq!((options.username.as_str(), options.password.as_str()), ("u", "p"));
    assert_eq!(options.ca_file.as_deref(), Some(Path::new("/ca")));
    assert!(
        !shown(&resolved, "EtcdPassword").contains('p')
            || shown(&resolved, "EtcdPassword").starts_with("****")
    );
    assert!(world("E:ETCD_PASSWORD=p", None).check().is_err(), "a password without a user");
    for text in
        ["E:ETCD_DISCOVERY_SRV=example.org", "F:EtcdDiscoverySrv=example.org", "E:FELIX_ETCDDISCOVERYSRV=x"]
    {
        let error = world(text, None).check().expect_err(text).to_string();
        assert!(error.contains("EtcdDiscoverySrv (") && error.contains("EtcdEndpoints"), "{text}: {error}");
    }
    assert!(
        world("E:ETCD_DISCOVERY_SRV=x F:DatastoreType=file F:FileDatastorePath=/r", None).check().is_ok()
    );
    let directory = world("F:DatastoreType=file F:FileDatastorePath=/r", None).datastore();
    assert_eq!(directory, Datastore::Directory("/r".into()));
}

#[test]
fn a_host_that_was_set_up_for_iptables_keeps_its_settings() {
    let cases = [
        ("neither", "", DenyAction::Drop),
        ("only iptables", "F:IptablesFilterDenyAction=Reject", DenyAction::Reject),
        ("only nftables", "G:NftablesFilterDenyAction=Reject", DenyAction::Reject),
        (
            "nftables wins where it is set",
            "F:IptablesFilterDenyAction=Reject G:NftablesFilterDenyAction=Drop",
            DenyAction::Drop,
        ),
    ];
    for (why, text, expected) in cases {
        assert_eq!(world(text, None).settings().deny, expected, "{why}");
    }
    assert_eq!(world("F:IptablesMarkMask=0x700", None).settings().mark_mask, 0x700);
}

#[test]
fn defaults_are_those_of_the_vocabulary() {
    assert_eq!(world("", None).settings(), Settings::default());
    assert_eq!(world("", None).log_level(), LogLevel::Info);
    assert_eq!(world("", None).health(), None);
    let health = world("F:HealthEnabled=true F:HealthPort=0x2383", None).health();
    assert_eq!(health.map(|h| (h.host, h.port)), Some(("localhost".into(), 9091)));
}

#[test]
fn what_does_nothing_is_said() {
    let resolved = world("F:XDPEnabled=true G:NoSuchThing=1 F:FailsafeInboundHostPort=tcp:22", None);
    let names: Vec<_> = resolved.ignored.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(names, ["FailsafeInboundHostPort", "NoSuchThing", "XDPEnabled"]);
}

#[test]
fn what_waits_for_a_restart_is_said() {
    let (old, new) = (world("", None), world("F:FelixHostname=other F:Ipv6Support=false", None));
    assert_eq!(old.needs_restart(&new), ["FelixHostname"]);
}

proptest! {
    #[test]
    fn resolving_never_panics_and_gives_every_parameter_a_value(
        names in proptest::collection::vec(("[EFGH]", 0..80usize, "[0-9a-zA-Z:,/]{0,12}"), 0..12)
    ) {
        let all: Vec<_> = table::parameters().collect();
        let item = |(layer, index, value): &(String, usize, String)| {
            let name = all[index % all.len()].name;
            let prefix = if layer == "E" { "FELIX_" } else { "" };
            format!("{layer}:{prefix}{name}={value}")
        };
        let text: Vec<_> = names.iter().map(item).collect();
        let first = world(&text.join(" "), None);
        let again = world(&text.join(" "), Some(&first));
        prop_assert_eq!(first.values().count(), all.len());
        prop_assert_eq!(again.settings(), first.settings());
    }
}
