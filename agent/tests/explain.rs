//! What `portcullis explain` answers, word for word, over one host with every kind of policy; and that `--verify` notices
//! a kernel that does something else. Goldens are rewritten with `UPDATE=1`.

use agent::command::{
    explain::{Answered, ExplainArgs, ExplainError, answer},
    local::SubjectArgs,
};
use clap::Parser;
use std::{
    fs,
    path::{Path, PathBuf},
};

const LINKS: &str = "--link eth0=192.0.2.1,2001:db8::1 --link eth1=198.51.100.1 --link eth2=192.0.2.65 --link eth3=192.0.2.129 --link cali1=10.65.0.1 --link cali2";

#[derive(Debug, Parser)]
struct Words {
    #[command(flatten)]
    explain: ExplainArgs,
}

#[derive(Debug, Parser)]
struct Other {
    #[command(flatten)]
    subject: SubjectArgs,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/explain")
}

/// Whose resources, as words.
fn subject(directory: &Path) -> String {
    format!("portcullis -c /dev/null --node myhost --directory {}", directory.display())
}

fn parsed(words: &str) -> ExplainArgs {
    let all = format!("{} {words}", subject(&folder().join("resources")));
    Words::try_parse_from(all.split_whitespace()).unwrap_or_else(|error| panic!("{words}: {error}")).explain
}

fn of(directory: &Path) -> SubjectArgs {
    Other::try_parse_from(subject(directory).split_whitespace()).expect("words that clap knows").subject
}

async fn explained(words: &str) -> Result<Answered, ExplainError> {
    answer(&parsed(words), &of(&folder().join("resources"))).await
}

#[tokio::test]
async fn answers_are_told_word_for_word() {
    let cases = [
        ("failsafe", "--in eth0 --from 192.0.2.9 --to 192.0.2.1:22"),
        ("tier-pass", "--in eth0 --from 203.0.113.7 --to 192.0.2.1:443"),
        ("tier-end", "--in eth0 --from 192.0.2.9 --to 192.0.2.1:443"),
        ("set-member-ipv6", "--in eth0 --from 2001:db8:1::9 --to [2001:db8::1]:443"),
        ("rule-denies", "--out eth0 --from 192.0.2.1 --to 192.0.2.9 --icmp 8"),
        ("profile", "--in eth1 --from 198.51.100.9 --to 198.51.100.1:80"),
        ("end-of-endpoint", "--in eth1 --from 192.0.2.9 --to 198.51.100.1:80"),
        ("missing-profile", "--in eth3 --from 192.0.2.9 --to 192.0.2.129:80"),
        ("untracked", "--in eth2 --from 192.0.2.9 --to 192.0.2.65:53 --proto udp"),
        (
            "pre-dnat",
            "--in eth3 --out cali1 --from 192.0.2.9 --to 10.65.0.2:80 --dnat-from 192.0.2.129:30080",
        ),
        ("pre-dnat-denies", "--in eth3 --from 192.0.2.9 --to 192.0.2.129:30081"),
        ("forwarded", "--in eth0 --out eth1 --from 192.0.2.9 --to 198.51.100.9:8443"),
        ("forwarded-denied", "--in eth0 --out eth1 --from 192.0.2.9 --to 198.51.100.9:22"),
        ("to-a-workload", "--out cali1 --from 192.0.2.1 --to 10.65.0.2:80"),
        ("a-workload-sends", "--in cali1 --out eth1 --from 10.65.0.2 --to 198.51.100.9:80"),
        ("a-workload-to-the-host", "--in cali1 --from 10.65.0.2 --to 10.65.0.1:53 --proto udp"),
        ("an-unknown-workload", "--in cali2 --out eth1 --from 10.65.0.9 --to 198.51.100.9:80"),
        ("established", "--in eth0 --from 192.0.2.9 --to 192.0.2.1:443 --state established"),
        ("loopback", "--in lo --out lo --from 127.0.0.1 --to 127.0.0.1:80"),
        ("a-strange-address", "--in eth0 --from 192.0.2.9 --to 192.0.2.77:443"),
        ("a-protocol-without-a-name", "--in eth0 --from 192.0.2.9 --to 192.0.2.1 --proto 89"),
    ];
    for (name, words) in cases {
        let human = explained(&format!("{LINKS} {words}")).await.expect(name).text;
        let json = explained(&format!("{LINKS} {words} --output json")).await.expect(name).text;
        let text =
            format!("$ portcullis explain {words}\n{human}\n$ portcullis explain --output json …\n{json}");
        let path = folder().join(format!("golden/{name}.txt"));
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &text).expect("the checkout can be written");
        }
        let golden = fs::read_to_string(&path).unwrap_or_default();
        assert!(golden == text, "{} differs; UPDATE=1 rewrites it. Answered now:\n{text}", path.display());
    }
}

#[tokio::test]
async fn a_question_that_cannot_be_answered_says_what_to_do() {
    let cases = [
        (
            "a link that is not described",
            "--link eth0 --in eth9 --from 192.0.2.9 --to 192.0.2.1:443",
            "add --link eth9",
        ),
        (
            "a link that the host does not have",
            "--in eth9 --from 192.0.2.9 --to 192.0.2.1:443",
            "which has lo: mind the spelling",
        ),
    ];
    for (why, words, said) in cases {
        let error = explained(words).await.expect_err(why);
        assert!(error.to_string().contains(said), "{why}: {error}");
    }
}

/// The kernel is given other resources than are explained.
#[tokio::test]
async fn a_kernel_that_does_something_else_is_noticed() {
    let other = tempfile::tempdir().expect("a temporary directory");
    let resources = folder().join("resources");
    for name in ["host.yaml", "policy.yaml"] {
        let text = fs::read_to_string(resources.join(name)).expect("a fixture");
        // One rule more before all others, and a tier that ends otherwise.
        let text = text.replace(
            "  ingress:\n  - {action: Log, protocol: TCP}\n",
            "  ingress:\n  - {action: Pass, protocol: UDP}\n  - {action: Log, protocol: TCP}\n",
        );
        let text = text.replace("ports: [443]", "ports: [444]");
        fs::write(other.path().join(name), text).expect("a temporary directory");
    }
    let office = "--in eth0 --from 203.0.113.7 --to 192.0.2.1:443 --verify";
    let cases = [
        ("another verdict", office.to_owned(), "The kernel DISAGREES: there the packet is dropped."),
        ("which rules matched", office.to_owned(), "<- DISAGREES"),
        ("the same for programs", format!("{office} --output json"), "\"agrees\": false"),
        (
            "the same verdict by another rule",
            "--in eth0 --from 192.0.2.9 --to 192.0.2.1:80 --verify".to_owned(),
            "policy platform platform.audit ingress 1",
        ),
    ];
    for (why, words, said) in cases {
        let words = parsed(&format!("{LINKS} {words}"));
        let same = answer(&words, &of(&resources)).await.expect(why);
        assert!(same.verified.is_ok(), "{why}: control: {}", same.text);
        let Answered { text, verified } = answer(&words, &of(other.path())).await.expect(why);
        assert!(matches!(verified, Err(ExplainError::Disagreement)), "{why}: {verified:?}\n{text}");
        assert!(text.contains(said), "{why}: {text}");
    }
}
