//! What is filled in on each write, before validation.

use super::{policy_name, text::Cidr};
use crate::v3::{
    AnyResource, FelixConfigurationSpec, IPPoolSpec, TierSpec, WorkloadEndpoint, WorkloadEndpointSpec,
};

/// The namespace of a namespaced resource that names none.
pub const NAMESPACE: &str = "default";
/// The order of a tier that gives none, and of the default tier.
pub const DEFAULT_TIER_ORDER: f64 = 1_000_000.0;
/// The order of the tier of Kubernetes' admin policies.
pub const ADMIN_TIER_ORDER: f64 = 1_000.0;

/// Fills in what calicoctl v3.29.7 fills in.
pub fn fill(resource: &mut AnyResource) {
    match resource {
        AnyResource::GlobalNetworkPolicy(object) => {
            let spec = &mut object.spec;
            types(&mut spec.types, spec.ingress.is_empty(), spec.egress.is_empty());
            tier_label(&spec.tier, &mut object.metadata.labels);
        }
        AnyResource::NetworkPolicy(object) => {
            let spec = &mut object.spec;
            types(&mut spec.types, spec.ingress.is_empty(), spec.egress.is_empty());
            tier_label(&spec.tier, &mut object.metadata.labels);
        }
        AnyResource::Tier(object) => tier(&mut object.spec),
        AnyResource::FelixConfiguration(object) => felix(&mut object.spec),
        AnyResource::WorkloadEndpoint(object) => workload_endpoint(object),
        AnyResource::IPPool(object) => ip_pool(&mut object.spec),
        _ => {}
    }
}

/// Which directions a policy governs that does not say it: those for which it has rules, or else ingress.
fn types(types: &mut Vec<String>, no_ingress: bool, no_egress: bool) {
    if !types.is_empty() {
        return;
    }
    let default: &[&str] = match (no_ingress, no_egress) {
        (_, true) => &["Ingress"],
        (true, false) => &["Egress"],
        (false, false) => &["Ingress", "Egress"],
    };
    types.extend(default.iter().map(|&name| name.to_owned()));
}

/// In the default tier a label of the user stays, whatever it says.
fn tier_label(tier: &str, labels: &mut std::collections::BTreeMap<String, String>) {
    let tier = policy_name::tier_or_default(tier);
    if tier != policy_name::DEFAULT_TIER {
        labels.insert(policy_name::TIER_LABEL.to_owned(), tier.to_owned());
    }
}

fn tier(spec: &mut TierSpec) {
    spec.order.get_or_insert(DEFAULT_TIER_ORDER);
    spec.default_action.get_or_insert_with(|| "Deny".to_owned());
}

fn felix(spec: &mut FelixConfigurationSpec) {
    spec.floatingIPs.get_or_insert_with(|| "Disabled".to_owned());
    spec.bpfConnectTimeLoadBalancing.get_or_insert_with(|| "TCP".to_owned());
    spec.bpfHostNetworkedNATWithoutCTLB.get_or_insert_with(|| "Enabled".to_owned());
    // The older flag decides over both newer fields.
    if let Some(enabled) = spec.bpfConnectTimeLoadBalancingEnabled {
        spec.bpfHostNetworkedNATWithoutCTLB = Some("Disabled".to_owned());
        spec.bpfConnectTimeLoadBalancing = Some(if enabled { "Enabled" } else { "Disabled" }.to_owned());
    }
}

/// calicoctl fills these in on reading too: pools of older versions lack some.
fn ip_pool(spec: &mut IPPoolSpec) {
    let or = |field: &mut String, default: &str| {
        if field.is_empty() {
            default.clone_into(field);
        }
    };
    // One with bits behind the prefix is refused later, as it was typed.
    if let Some(cidr) = Cidr::parse(&spec.cidr).filter(Cidr::is_masked) {
        spec.cidr = cidr.to_string();
        let block_size = if cidr.version() == 4 { 26 } else { 122 };
        spec.block_size = spec.block_size.filter(|&size| size != 0).or(Some(block_size));
    }
    or(&mut spec.ipip_mode, "Never");
    or(&mut spec.vxlan_mode, "Never");
    or(&mut spec.node_selector, "all()");
    if spec.allowed_uses.is_empty() {
        spec.allowed_uses = vec!["Workload".to_owned(), "Tunnel".to_owned()];
    }
}

fn workload_endpoint(object: &mut WorkloadEndpoint) {
    if object.metadata.name.is_empty()
        && let Some(name) = workload_endpoint_name(&object.spec)
    {
        object.metadata.name = name;
    }
    let labels = &mut object.metadata.labels;
    labels.insert("projectcalico.org/namespace".to_owned(), object.metadata.namespace.clone());
    labels.insert("projectcalico.org/orchestrator".to_owned(), object.spec.orchestrator.clone());
    if !object.spec.service_account_name.is_empty() {
        let name = object.spec.service_account_name.clone();
        labels.insert("projectcalico.org/serviceaccount".to_owned(), name);
    }
}

/// The name that a workload endpoint must have: node, orchestrator, workload and endpoint, dashes doubled. `None`
/// where the spec lacks one of them.
pub fn workload_endpoint_name(spec: &WorkloadEndpointSpec) -> Option<String> {
    let workload = match spec.orchestrator.as_str() {
        "k8s" => &spec.pod,
        "cni" => &spec.container_id,
        "libnetwork" => "libnetwork",
        _ => &spec.workload,
    };
    let parts = [&spec.node, &spec.orchestrator, workload, &spec.endpoint];
    let complete = parts.iter().all(|part| !part.is_empty());
    complete.then(|| parts.map(|part| part.replace('-', "--")).join("-"))
}
