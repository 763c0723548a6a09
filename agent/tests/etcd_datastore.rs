//! The etcd syncer against a real etcd: what is read, what is followed, and what is survived.

#[allow(unreachable_pub)]
mod world;

use agent::{
    etcd_client::EtcdOptions,
    syncer::{SyncEvent, etcd},
};
use etcd_client::{CompactionOptions, Permission, PermissionType, Txn, TxnOp};
use std::time::{Duration, Instant};
use world::{Etcd, Listener, Relay, at, path, shown};

#[tokio::test]
async fn a_snapshot_is_followed_by_every_change() {
    let etcd = Etcd::start(&[]).await;
    etcd.put("tiers/a", "1").await;
    etcd.put("hostendpoints/h", "2").await;
    etcd.put("networksets/ns/s", "3").await;
    // None of these is a resource that we read.
    etcd.put("bgppeers/p", "4").await;
    etcd.put("tiersandmore/x", "5").await;
    etcd.put("networksets/no-namespace", "6").await;
    let mut listener = Listener::start(etcd.options());
    listener.connected().await;
    let snapshot = listener.snapshot().await;
    let keys: Vec<_> = snapshot.entries.iter().map(|(key, _)| key.to_string()).collect();
    assert_eq!(keys, ["Tier a", "NetworkSet ns/s", "HostEndpoint h"]);

    etcd.put("bgppeers/p", "7").await;
    etcd.put("tiers/a", "8").await;
    etcd.delete("hostendpoints/h").await;
    let first = listener.revision().await;
    assert_eq!((shown(&first).as_str(), first.revision), ("Tier a=8", snapshot.revision + 2));
    assert_eq!(shown(&listener.revision().await), "HostEndpoint h");
    listener.silence().await;
}

#[tokio::test]
async fn an_endpoint_that_is_down_is_passed_over() {
    let etcd = Etcd::start(&[]).await;
    let live = etcd.options();
    let dead = "http://127.0.0.1:1".to_owned();
    for dead_first in [true, false] {
        let mut options = live.clone();
        options.endpoints.insert(if dead_first { 0 } else { live.endpoints.len() }, dead.clone());
        etcd::snapshot(&options).await.expect("one of them answers");
        let mut listener = Listener::start(options);
        listener.connected().await;
        listener.snapshot().await;
    }
    let nowhere = EtcdOptions { endpoints: vec![dead.clone(), "http://127.0.0.1:2".to_owned()], ..live };
    let refused = etcd::snapshot(&nowhere).await.expect_err("none answers").to_string();
    assert!(nowhere.endpoints.iter().all(|endpoint| refused.contains(endpoint)), "{refused}");
}

#[tokio::test]
async fn a_transaction_arrives_in_one_piece() {
    let etcd = Etcd::start(&[]).await;
    let mut listener = Listener::start(etcd.options());
    listener.connected().await;
    listener.snapshot().await;
    let value = "v".repeat(2000);
    let operation = |i| match i % 2 {
        0 => TxnOp::put(path(&format!("tiers/{i:03}")), value.as_str(), None),
        _ => TxnOp::put(path(&format!("networksets/ns/{i:03}")), value.as_str(), None),
    };
    let operations: Vec<_> = (0..600).map(operation).collect();
    etcd.client().await.txn(Txn::new().and_then(operations)).await.expect("etcd takes it");
    assert_eq!(listener.revision().await.changes.len(), 600);
}

#[tokio::test]
async fn a_state_of_more_than_4_mib_is_read_and_followed() {
    let etcd = Etcd::start(&[]).await;
    let value = "v".repeat(1_000_000);
    let mut client = etcd.client().await;
    for i in 0..12 {
        client
            .put(path(&format!("globalnetworksets/{i}")), value.as_str(), None)
            .await
            .expect("etcd takes it");
    }
    for chunk in 0..6 {
        let put = |i| TxnOp::put(path(&format!("profiles/{chunk}-{i:03}")), "p", None);
        let operations: Vec<_> = (0..200).map(put).collect();
        client.txn(Txn::new().and_then(operations)).await.expect("etcd takes it");
    }
    let mut listener = Listener::start(etcd.options());
    listener.connected().await;
    let snapshot = listener.snapshot().await;
    assert_eq!(snapshot.entries.len(), 12 + 1200, "more than a page of one kind");
    let big = "w".repeat(1_400_000);
    client.put(path("globalnetworksets/0"), big.as_str(), None).await.expect("etcd takes it");
    assert_eq!(listener.revision().await.changes[0].1.as_ref().map(Vec::len), Some(1_400_000));
}

#[tokio::test]
async fn a_server_that_restarts_is_resumed_without_a_snapshot() {
    let mut etcd = Etcd::start(&[]).await;
    let mut listener = Listener::start(etcd.options());
    listener.connected().await;
    listener.snapshot().await;
    etcd.stop();
    let reason = listener.lost().await;
    assert!(!reason.is_empty());
    etcd.start_again();
    listener.connected_after_losses().await;
    etcd.put("tiers/a", "1").await;
    assert_eq!(shown(&listener.revision().await), "Tier a=1");
    listener.silence().await;
}

/// It goes on answering, and would never tell of a change.
#[tokio::test]
async fn a_member_that_lost_its_leader_counts_as_lost() {
    let mut members = Etcd::cluster().await;
    let mut listener = Listener::start(members[0].options());
    listener.connected().await;
    listener.snapshot().await;
    members[1..].iter_mut().for_each(Etcd::stop);
    let reason = listener.lost().await;
    assert!(reason.contains("leader"), "{reason}");
    members[1..].iter_mut().for_each(Etcd::start_again);
    listener.connected_after_losses().await;
    members[1].put("tiers/a", "1").await;
    assert_eq!(shown(&listener.revision().await), "Tier a=1");
    listener.silence().await;
}

#[tokio::test]
async fn what_changed_while_the_connection_was_lost_is_made_up_for() {
    let etcd = Etcd::start(&[]).await;
    let relay = Relay::start(etcd.port()).await;
    let mut listener = Listener::start(at(relay.port));
    listener.connected().await;
    listener.snapshot().await;
    relay.black_hole();
    let begin = Instant::now();
    etcd.put("tiers/a", "1").await;
    etcd.delete("tiers/a").await;
    etcd.put("tiers/b", "2").await;
    listener.lost().await;
    listener.connected_after_losses().await;
    for expected in ["Tier a=1", "Tier a", "Tier b=2"] {
        assert_eq!(shown(&listener.revision().await), expected);
    }
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_compacted_history_is_read_again() {
    let mut etcd = Etcd::start(&[]).await;
    etcd.put("tiers/gone", "1").await;
    let relay = Relay::start(etcd.port()).await;
    let mut listener = Listener::start(at(relay.port));
    listener.connected().await;
    let first = listener.snapshot().await;
    relay.black_hole();
    etcd.delete("tiers/gone").await;
    etcd.put("tiers/new", "2").await;
    etcd.put("tiers/new", "3").await;
    let options = Some(CompactionOptions::new().with_physical());
    etcd.client().await.compact(first.revision + 3, options).await.expect("etcd compacts");
    // A restart is the quickest way to end the connection for good.
    etcd.start_again();
    let snapshot = loop {
        if let SyncEvent::Snapshot(snapshot) = listener.event().await {
            break snapshot;
        }
    };
    let keys: Vec<_> = snapshot.entries.iter().map(|(key, _)| key.to_string()).collect();
    assert_eq!((keys, snapshot.revision), (vec!["Tier new".to_owned()], first.revision + 3));
}

#[tokio::test]
async fn a_datastore_that_was_replaced_is_noticed_and_read_again() {
    let mut etcd = Etcd::start(&[]).await;
    for i in 0..20 {
        etcd.put(&format!("tiers/{i}"), "1").await;
    }
    let mut listener = Listener::start(etcd.options());
    listener.connected().await;
    let before = listener.snapshot().await.revision;
    etcd.wipe();
    let snapshot = loop {
        if let SyncEvent::Snapshot(snapshot) = listener.event().await {
            break snapshot;
        }
    };
    assert!(snapshot.entries.is_empty() && snapshot.revision < before, "{snapshot:?}");
}

#[tokio::test]
async fn an_etcd_that_comes_late_is_waited_for_and_said_once() {
    let mut etcd = Etcd::start(&[]).await;
    etcd.stop();
    let mut listener = Listener::start(etcd.options());
    let reason = listener.lost().await;
    assert!(reason.contains("nothing listens there"), "{reason}");
    listener.silence().await;
    etcd.start_again();
    listener.connected_after_losses().await;
    listener.snapshot().await;
}

#[tokio::test]
async fn tls_works_and_what_is_wrong_with_it_is_said() {
    let etcd = Etcd::start_with_tls().await;
    let right = etcd.tls_options("client");
    etcd::snapshot(&right).await.expect("the right files");
    let wrong_ca = EtcdOptions { ca_file: Some(etcd.file("other.crt")), ..right.clone() };
    let system = EtcdOptions { ca_file: None, ..right.clone() };
    let anonymous = EtcdOptions { cert_file: None, key_file: None, ..right.clone() };
    let missing = EtcdOptions { ca_file: Some(etcd.file("nowhere.crt")), ..right.clone() };
    let half = EtcdOptions { key_file: None, ..right.clone() };
    let plain = EtcdOptions { endpoints: at(etcd.port()).endpoints, ..EtcdOptions::default() };
    let cases = [
        ("another authority", wrong_ca, "CA"),
        ("the system's authorities", system, "CA"),
        ("no certificate of our own", anonymous, "certificate"),
        ("a file that is not there", missing, "nowhere.crt"),
        ("a certificate without its key", half, "key"),
        ("http where https is spoken", plain, "https"),
    ];
    for (why, options, expected) in cases {
        let mut listener = Listener::start(options);
        let reason = listener.lost().await;
        assert!(reason.contains(expected), "{why}: {reason}");
    }
}

/// Users `root`, and `agent`, who may read below the given prefixes.
async fn with_users(etcd: &Etcd, prefixes: &[String]) {
    let mut client = etcd.client().await;
    client.user_add("root", "rootpw", None).await.expect("a user");
    client.user_grant_role("root", "root").await.expect("a role");
    client.user_add("agent", "secret", None).await.expect("a user");
    client.role_add("reader").await.expect("a role");
    for prefix in prefixes {
        let permission = Permission::new(PermissionType::Read, prefix.as_str()).with_prefix();
        client.role_grant_permission("reader", permission).await.expect("a permission");
    }
    client.user_grant_role("agent", "reader").await.expect("a role");
    client.auth_enable().await.expect("users are asked for");
}

async fn put_as_root(etcd: &Etcd, below: &str) {
    let options = user(etcd, "root", "rootpw");
    let mut client = agent::etcd_client::connect(&options).await.expect("root may");
    client.put(path(below), "1", None).await.expect("etcd takes it");
}

fn user(etcd: &Etcd, name: &str, password: &str) -> EtcdOptions {
    EtcdOptions { username: name.into(), password: password.into(), ..etcd.options() }
}

#[tokio::test]
async fn an_expired_token_is_renewed() {
    let mut etcd = Etcd::start(&["--auth-token-ttl", "1"]).await;
    with_users(&etcd, &["/calico/".into()]).await;
    let mut listener = Listener::start(user(&etcd, "agent", "secret"));
    listener.connected().await;
    listener.snapshot().await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    put_as_root(&etcd, "tiers/a").await;
    assert_eq!(shown(&listener.revision().await), "Tier a=1");
    // Simple tokens do not outlive the server.
    etcd.start_again();
    listener.lost().await;
    listener.connected_after_losses().await;
    put_as_root(&etcd, "tiers/b").await;
    assert_eq!(shown(&listener.revision().await), "Tier b=1");
}

#[tokio::test]
async fn a_user_who_may_read_only_the_kinds_can_follow_them() {
    let etcd = Etcd::start(&[]).await;
    let prefixes: Vec<_> = etcd::WATCHED.iter().map(|kind| kind.list_prefix()).collect();
    with_users(&etcd, &prefixes).await;
    let mut listener = Listener::start(user(&etcd, "agent", "secret"));
    listener.connected().await;
    let revision = listener.snapshot().await.revision;
    for (offset, name) in
        ["tiers/a", "bgppeers/hidden", "hostendpoints/h", "networksets/n/s"].iter().enumerate()
    {
        put_as_root(&etcd, name).await;
        if !name.starts_with("bgppeers") {
            let change = listener.revision().await;
            assert_eq!(change.revision, revision + offset as i64 + 1, "{}", shown(&change));
        }
    }
    listener.silence().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_user_is_said() {
    let etcd = Etcd::start(&[]).await;
    with_users(&etcd, &["/calico/resources/v3/projectcalico.org/tiers/".into()]).await;
    let cases = [
        ("a wrong password", user(&etcd, "agent", "wrong"), "ETCD_PASSWORD"),
        ("no user", etcd.options(), "ETCD_USERNAME"),
        ("a user who may not read", user(&etcd, "agent", "secret"), "permission"),
    ];
    for (why, options, expected) in cases {
        let mut listener = Listener::start(options);
        let reason = listener.lost().await;
        assert!(reason.contains(expected), "{why}: {reason}");
        listener.silence().await;
    }
}
