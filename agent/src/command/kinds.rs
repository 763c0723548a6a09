//! The words for kinds on the command line, as calicoctl knows them.

use super::error::CommandError;
use proto::key::Kind;

/// Kinds with their short words. Singular, plural and the kind's own name go without saying, in any case.
const KINDS: [(Kind, &[&str]); 12] = [
    (Kind::HostEndpoint, &["hep", "heps"]),
    (Kind::GlobalNetworkPolicy, &["gnp", "gnps"]),
    (Kind::NetworkPolicy, &["np", "nps", "policy", "pol", "policies", "pols"]),
    (Kind::Tier, &[]),
    (Kind::Profile, &["pro", "pros"]),
    (Kind::GlobalNetworkSet, &["gnetsets", "gns", "globalns"]),
    (Kind::NetworkSet, &["netset", "netsets", "ns"]),
    (Kind::FelixConfiguration, &["felixconfig", "felixconfigs"]),
    (Kind::ClusterInformation, &["clusterinfo", "clusterinfos"]),
    (Kind::WorkloadEndpoint, &["wep", "weps"]),
    (Kind::Node, &["no", "nos"]),
    (Kind::IPPool, &["ipp", "ipps", "pool", "pools"]),
];

/// The kind that a word on the command line means.
///
/// # Errors
/// [`CommandError::UnknownKind`], which lists the words.
pub fn parse(word: &str) -> Result<Kind, CommandError> {
    let lower = word.to_ascii_lowercase();
    let known = |(kind, short): &&(Kind, &[&str])| {
        lower == kind.name().to_ascii_lowercase() || lower == kind.plural() || short.contains(&lower.as_str())
    };
    match KINDS.iter().find(known) {
        Some((kind, _)) => Ok(*kind),
        None => Err(CommandError::UnknownKind(word.to_owned())),
    }
}

/// The singular words, for messages and help.
pub fn words() -> String {
    KINDS.map(|(kind, _)| kind.name().to_ascii_lowercase()).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_known_by_the_words_of_calicoctl() {
        let cases = [
            ("hostendpoint", Some(Kind::HostEndpoint)),
            ("HostEndpoints", Some(Kind::HostEndpoint)),
            ("hep", Some(Kind::HostEndpoint)),
            ("globalnetworkpolicies", Some(Kind::GlobalNetworkPolicy)),
            ("gnp", Some(Kind::GlobalNetworkPolicy)),
            ("gnetsets", Some(Kind::GlobalNetworkSet)),
            ("networkpolicy", Some(Kind::NetworkPolicy)),
            ("policy", Some(Kind::NetworkPolicy)),
            ("felixConfig", Some(Kind::FelixConfiguration)),
            ("tiers", Some(Kind::Tier)),
            ("ippool", Some(Kind::IPPool)),
            ("Pools", Some(Kind::IPPool)),
            ("bgppeer", None),
            ("", None),
        ];
        for (word, kind) in cases {
            assert_eq!(parse(word).ok(), kind, "{word}");
        }
    }
}
