//! The election over a fake API server, in paused time: minutes pass in milliseconds.

use std::time::Duration;

use jiff::Timestamp;
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, advance, sleep, timeout},
};

use super::{
    fake::{FakeLeases, Link},
    *,
};

const SECOND: Duration = Duration::from_secs(1);

struct Contender {
    name: &'static str,
    link: usize,
    leadership: Leadership,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Contender {
    fn start(api: &FakeLeases, name: &'static str, wall: &str) -> Self {
        let (client, link) = api.client();
        let (keeper, leadership) = leadership();
        let clock = Clock::runtime(wall.parse::<Timestamp>().unwrap());
        let elector = Elector::new(
            client,
            ("slipway", "slipway"),
            identity(name),
            clock,
            keeper,
            Metrics::new(),
        );
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(elector.run(async move { _ = stopped.await }));
        Self {
            name,
            link,
            leadership,
            stop: Some(stop),
            task,
        }
    }

    async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        timeout(4 * SECOND, self.task)
            .await
            .expect("the elector does not end")
            .unwrap();
    }

    async fn leads_within(&self, limit: Duration) -> Duration {
        let start = Instant::now();
        timeout(limit, self.leadership.gained())
            .await
            .unwrap_or_else(|_| panic!("{} does not lead", self.name));
        assert!(self.leadership.allows_writes());
        start.elapsed()
    }
}

/// Lets time pass and looks, twenty times a second, whether two may write at once.
async fn pass(time: Duration, contenders: &[&Contender]) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        let may = contenders
            .iter()
            .filter(|one| one.leadership.allows_writes())
            .count();
        assert!(may <= 1, "{may} processes may write at once");
        sleep(SECOND / 20).await;
    }
}

async fn two(api: &FakeLeases) -> (Contender, Contender) {
    let first = Contender::start(api, "a", "2026-01-01T00:00:00Z");
    first.leads_within(SECOND).await;
    let second = Contender::start(api, "b", "2026-01-01T00:00:00Z");
    (first, second)
}

fn transitions(api: &FakeLeases) -> Option<i32> {
    api.lease()?.spec?.lease_transitions
}

#[tokio::test(start_paused = true)]
async fn one_of_two_leads_and_asks_for_nothing_but_the_lease() {
    let api = FakeLeases::default();
    let (first, second) = two(&api).await;
    pass(120 * SECOND, &[&first, &second]).await;
    assert!(first.leadership.allows_writes());
    assert!(!*second.leadership.watch().borrow());
    assert!(api.holder().starts_with("a_"));
    assert_eq!(transitions(&api), Some(0));
    let requests = api.requests();
    assert!(
        requests.iter().all(|request| request.contains("/leases")),
        "{requests:?}"
    );
    let renewals = requests
        .iter()
        .filter(|request| request.starts_with("PUT"))
        .count();
    assert!(
        (22..=25).contains(&renewals),
        "{renewals} renewals in two minutes"
    );
    let others = requests.len() - renewals;
    assert!(
        others <= 8,
        "more than create, look, list and watch: {requests:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_follower_goes_on_at_once_after_a_release() {
    let api = FakeLeases::default();
    let (first, second) = two(&api).await;
    pass(20 * SECOND, &[&first, &second]).await;
    let leadership = first.leadership.clone();
    first.stop().await;
    assert!(!leadership.allows_writes());
    assert!(second.leads_within(SECOND).await < SECOND / 10);
    assert_eq!(transitions(&api), Some(1));
    second.stop().await;
    assert_eq!(api.holder(), "");
}

#[tokio::test(start_paused = true)]
async fn a_cut_off_holder_stops_writing_before_a_follower_takes_over() {
    for kind in [Link::Hangs, Link::Refused] {
        let api = FakeLeases::default();
        let (first, second) = two(&api).await;
        pass(22 * SECOND, &[&first, &second]).await;
        let cut = Instant::now();
        api.set(first.link, kind);
        pass(9 * SECOND, &[&first, &second]).await;
        first.leadership.lost().await;
        let stopped = cut.elapsed();
        assert!(!first.leadership.allows_writes());
        assert!(stopped <= 10 * SECOND, "{kind:?}: wrote for {stopped:?}");
        second.leads_within(7 * SECOND).await;
        assert!(
            cut.elapsed() <= 16 * SECOND,
            "{kind:?}: nobody led for {:?}",
            cut.elapsed()
        );

        api.set(first.link, Link::Up);
        pass(60 * SECOND, &[&first, &second]).await;
        assert!(api.holder().starts_with("b_"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_holder_is_followed_after_its_time() {
    let api = FakeLeases::default();
    let (first, second) = two(&api).await;
    pass(12 * SECOND, &[&first, &second]).await;
    first.task.abort();
    let waited = second.leads_within(16 * SECOND).await;
    assert!(waited >= 12 * SECOND, "took over after {waited:?}");
}

#[tokio::test(start_paused = true)]
async fn clocks_that_differ_change_nothing() {
    for wall in ["2025-01-01T00:00:00Z", "2027-01-01T00:00:00Z"] {
        let api = FakeLeases::default();
        let first = Contender::start(&api, "a", "2026-01-01T00:00:00Z");
        first.leads_within(SECOND).await;
        let second = Contender::start(&api, "b", wall);
        pass(120 * SECOND, &[&first, &second]).await;
        assert!(first.leadership.allows_writes());
        assert_eq!(transitions(&api), Some(0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_of_somebody_else_costs_a_second_look_and_not_the_lead() {
    let api = FakeLeases::default();
    let (first, second) = two(&api).await;
    let mut watch = first.leadership.watch();
    watch.mark_unchanged();
    for _ in 0..5 {
        pass(7 * SECOND, &[&first, &second]).await;
        api.edit(|lease| {
            lease
                .metadata
                .annotations
                .get_or_insert_default()
                .insert("note".into(), "hello".into());
        });
    }
    pass(7 * SECOND, &[&first, &second]).await;
    assert!(first.leadership.allows_writes());
    assert!(!watch.has_changed().unwrap());
    assert!(api.lease().unwrap().metadata.annotations.is_some());
}

#[tokio::test(start_paused = true)]
async fn an_api_server_away_for_half_a_minute_stops_writes_and_nothing_else() {
    for kind in [Link::Hangs, Link::Refused] {
        let api = FakeLeases::default();
        let (first, second) = two(&api).await;
        pass(11 * SECOND, &[&first, &second]).await;
        for one in [&first, &second] {
            api.set(one.link, kind);
        }
        pass(30 * SECOND, &[&first, &second]).await;
        assert!(!first.leadership.allows_writes() && !second.leadership.allows_writes());
        for one in [&first, &second] {
            api.set(one.link, Link::Up);
        }
        pass(8 * SECOND, &[&first, &second]).await;
        assert!(
            first.leadership.allows_writes() ^ second.leadership.allows_writes(),
            "{kind:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_slept_for_a_minute_may_not_write_when_it_wakes() {
    let api = FakeLeases::default();
    let first = Contender::start(&api, "a", "2026-01-01T00:00:00Z");
    first.leads_within(SECOND).await;
    // Asleep in the middle of a renewal that the API server applies.
    api.set(first.link, Link::LosesAnswers);
    sleep(5 * SECOND + SECOND / 2).await;
    assert!(first.leadership.allows_writes());
    advance(60 * SECOND).await;
    assert!(!first.leadership.allows_writes());
    api.set(first.link, Link::Up);
    first.leadership.lost().await;
    first.leads_within(5 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_found_out_by_looking() {
    let api = FakeLeases::default();
    let first = Contender::start(&api, "a", "2026-01-01T00:00:00Z");
    api.set(first.link, Link::LosesAnswers);
    sleep(20 * SECOND).await;
    assert!(!first.leadership.allows_writes());
    api.set(first.link, Link::Up);
    first.leads_within(6 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_is_made_again_by_its_holder() {
    let api = FakeLeases::default();
    let (first, second) = two(&api).await;
    pass(11 * SECOND, &[&first, &second]).await;
    api.delete();
    pass(30 * SECOND, &[&first, &second]).await;
    assert!(api.holder().starts_with("a_"));
    assert!(first.leadership.allows_writes());
}

#[tokio::test(start_paused = true)]
async fn three_contend_for_a_released_lease_and_one_wins() {
    let api = FakeLeases::default();
    let (first, second) = two(&api).await;
    let third = Contender::start(&api, "c", "2026-01-01T00:00:00Z");
    pass(8 * SECOND, &[&first, &second, &third]).await;
    first.stop().await;
    pass(30 * SECOND, &[&second, &third]).await;
    assert!(second.leadership.allows_writes() ^ third.leadership.allows_writes());
    assert_eq!(transitions(&api), Some(1));
}
