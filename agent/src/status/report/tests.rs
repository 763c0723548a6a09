//! What is written to etcd, tick by tick, and that after any history it is what is true.

use super::*;

const TICK: Duration = Duration::from_secs(1);

fn statuses(text: &str) -> Statuses {
    let one = |pair: &str| {
        let (name, status) = pair.split_once('=').expect("name=status");
        let status = [Status::Up, Status::Down, Status::Error].into_iter().find(|s| s.as_str() == status);
        (HostEndpointName::new(name), status.expect("a status"))
    };
    text.split_whitespace().map(one).collect()
}

/// An etcd that is asked whenever the planner wants it, and what was asked.
struct World {
    planner: Planner,
    start: Instant,
    now: Instant,
    stored: BTreeMap<String, String>,
    fails: bool,
    /// In milliseconds since the start.
    writes: Vec<(u128, String)>,
    lists: Vec<u128>,
}

impl World {
    fn new(stored: &str) -> Self {
        let now = Instant::now();
        let stored = statuses(stored)
            .iter()
            .map(|(name, status)| (endpoint_key("h", name.as_str()), endpoint_value(*status)))
            .collect();
        let planner = Planner::new("h", TICK, 7);
        Self { planner, start: now, now, stored, fails: false, writes: vec![], lists: vec![] }
    }

    fn say(&mut self, text: &str) {
        self.planner.on_statuses(&statuses(text), self.now);
        self.work();
    }

    fn work(&mut self) {
        while let Some(task) = self.planner.take_task(self.now) {
            let at = self.now.duration_since(self.start).as_millis();
            if let Task::List(prefix) = task {
                assert_eq!(prefix, "/calico/felix/v1/host/h/endpoint/");
                self.lists.push(at);
                let listed = (!self.fails).then(|| self.stored.clone());
                self.planner.on_listed(listed, self.now);
                continue;
            }
            let short = |key: &str| key.rsplit('/').next().expect("a key").to_owned();
            let told = match (&task, self.fails) {
                (Task::Put { key, value }, false) => {
                    self.stored.insert(key.clone(), value.clone());
                    format!("{}={value}", short(key))
                }
                (Task::Delete(key), false) => {
                    self.stored.remove(key);
                    format!("-{}", short(key))
                }
                (_, _) => "failed".into(),
            };
            self.writes.push((at, told));
            self.planner.on_written((!self.fails).then_some(()), self.now);
        }
    }

    /// Lets time pass, from deadline to deadline.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.planner.deadline().filter(|at| *at <= until) {
            self.now = at.max(self.now);
            let before = (self.writes.len(), self.lists.len());
            self.work();
            assert!(
                before != (self.writes.len(), self.lists.len()) || self.planner.deadline() > Some(self.now),
                "a deadline without work, again and again"
            );
        }
        self.now = until;
    }

    fn stored(&self) -> String {
        let short = |(key, value): (&String, &String)| format!("{}={value}", key.rsplit('/').next().unwrap());
        self.stored.iter().map(short).collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn etcd_comes_to_hold_what_is_true() {
    let cases = [
        // why                                             stored before   true               stored after
        ("nothing stored, nothing true", "", "", ""),
        ("new endpoints", "", "a=up b=error", r#"a={"status":"up"} b={"status":"error"}"#),
        ("left behind by an earlier run", "old=up a=up", "a=up", r#"a={"status":"up"}"#),
        ("changed while nobody ran", "a=up", "a=down", r#"a={"status":"down"}"#),
    ];
    for (why, before, now, after) in cases {
        let mut world = World::new(before);
        world.say(now);
        world.pass(Duration::from_secs(20));
        assert_eq!(world.stored(), after, "{why}");
        let writes = world.writes.len();
        world.pass(Duration::from_secs(100));
        assert_eq!(world.writes.len(), writes, "{why}: written once");
    }
}

#[test]
fn nothing_is_asked_before_policy_is_in_force() {
    let mut world = World::new("a=up");
    world.pass(Duration::from_secs(1000));
    assert_eq!((world.lists.len(), world.writes.len()), (0, 0));
    assert_eq!(world.planner.deadline(), None, "and nobody is woken");
}

#[test]
fn writes_are_paced_and_a_flapping_link_is_written_once() {
    let mut world = World::new("");
    world.say("a=up b=up c=up d=up");
    world.pass(Duration::from_secs(10));
    let times: Vec<_> = world.writes.iter().map(|(at, _)| *at).collect();
    assert_eq!(times.len(), 4);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 900), "one a tick: {times:?}");

    world.writes.clear();
    for _ in 0..5 {
        world.say("a=down b=up c=up d=up");
        world.say("a=up b=up c=up d=up");
    }
    world.pass(Duration::from_secs(10));
    assert_eq!(world.writes, [], "back to what it was before a tick was over");
    world.say("b=up c=up d=up");
    world.pass(Duration::from_secs(5));
    assert_eq!(world.writes.iter().map(|(_, told)| told.as_str()).collect::<Vec<_>>(), ["-a"]);
}

#[test]
fn failed_writes_are_tried_again_ever_more_slowly() {
    let mut world = World::new("");
    world.say("a=up");
    world.pass(Duration::from_secs(5));
    world.fails = true;
    world.say("a=down b=up");
    world.pass(Duration::from_secs(600));
    let attempts = world.writes.len();
    assert!((5..40).contains(&attempts), "{attempts} attempts in ten minutes");
    world.say("b=up");
    world.fails = false;
    world.pass(Duration::from_secs(300));
    assert_eq!(world.stored(), r#"b={"status":"up"}"#);
}

#[test]
fn what_others_change_is_mended_at_the_next_comparison() {
    let mut world = World::new("");
    world.say("a=up");
    world.pass(Duration::from_secs(10));
    world.stored.clear();
    world.stored.insert(endpoint_key("h", "ghost"), endpoint_value(Status::Up));
    world.pass(Duration::from_secs(220));
    assert_eq!(world.stored(), r#"a={"status":"up"}"#);
    world.pass(Duration::from_secs(3600));
    assert!((18..25).contains(&world.lists.len()), "every three minutes: {}", world.lists.len());
}

#[test]
fn keys_are_felixs() {
    assert_eq!(endpoint_key("edge-1", "a/b%c"), "/calico/felix/v1/host/edge-1/endpoint/a%2fb%25c");
    let live = |region| ProcessStatus::live_key("edge-1", region);
    assert_eq!(live(""), "/calico/felix/v2/no-region/host/edge-1/status");
    assert_eq!(live("west"), "/calico/felix/v2/region-west/host/edge-1/status");
    assert_eq!(ProcessStatus::last_key("h", ""), "/calico/felix/v2/no-region/host/h/last_reported_status");
}

#[test]
fn the_process_reports_ten_seconds_after_its_start_and_then_at_each_interval() {
    let start = Instant::now();
    let seconds = Duration::from_secs;
    assert!(Heartbeat::new(start, Duration::ZERO, start).is_none(), "zero is never");
    let mut beat = Heartbeat::new(start, seconds(30), start).expect("an interval");
    let time = || "2026-02-03T09:30:40Z".to_owned();
    assert_eq!(beat.take(start + seconds(9), time()), None);
    let first = beat.take(start + seconds(10), time()).expect("the first");
    assert_eq!(
        serde_json::to_string(&first).expect("JSON"),
        r#"{"time":"2026-02-03T09:30:40Z","uptime":10.0,"first_update":true}"#
    );
    assert!(beat.take(start + seconds(40), time()).expect("the second").first_update, "none was written");
    beat.on_written();
    assert_eq!(beat.deadline(), start + seconds(70));
    assert!(!beat.take(start + seconds(500), time()).expect("one after a pause").first_update);
    assert_eq!(beat.take(start + seconds(529), time()), None, "missed ones are not made up for");
}

proptest::proptest! {
    #[test]
    fn after_any_history_etcd_holds_what_is_true(
        steps in proptest::collection::vec((0..5u8, "[a-d]", 0..3u8, 0..4000u64), 1..40)
    ) {
        let mut world = World::new("a=down z=up");
        let mut truth = Statuses::new();
        for (what, name, status, millis) in steps {
            let name = HostEndpointName::new(name);
            match what {
                0 => { truth.remove(&name); }
                1 => world.fails = !world.fails,
                2 => { world.stored.remove(&endpoint_key("h", name.as_str())); }
                _ => {
                    let status = [Status::Up, Status::Down, Status::Error][usize::from(status)];
                    truth.insert(name, status);
                }
            }
            world.planner.on_statuses(&truth, world.now);
            world.work();
            world.pass(Duration::from_millis(millis));
        }
        world.fails = false;
        // The longest pause after failures, a comparison, and a write for each key.
        world.pass(Duration::from_secs(70 + 210 + 20));
        let expected: BTreeMap<_, _> = truth
            .iter()
            .map(|(name, status)| (endpoint_key("h", name.as_str()), endpoint_value(*status)))
            .collect();
        proptest::prop_assert_eq!(&world.stored, &expected);
    }
}
