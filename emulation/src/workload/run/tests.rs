use super::super::command::Job;
use super::super::results::Results;
use crate::topology::Reading;

fn job(text: &str, topology: &str) -> Job {
    job_of(60, text, topology)
}

fn job_of(lasts_s: u64, text: &str, topology: &str) -> Job {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("test.toml");
    std::fs::write(
        &file,
        format!("name = \"test\"\nlasts_s = {lasts_s}\nmeasure_s = 20\n{text}"),
    )
    .expect("a file");
    Job::load(&file, topology, &Reading::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn play(job: &Job, seed: u64) -> Results {
    job.play(seed, &|_, _| {})
        .unwrap_or_else(|error| panic!("{error}"))
}

fn ended(results: &Results, word: &str) -> u64 {
    results.total.endings.get(word).copied().unwrap_or_default()
}

const CALLS: &str = "[[applications]]\nname = \"calls\"\nkind = \"inelastic\"\narrivals = { requests = 40 }\n\
                     rates = [\"2Mbit\"]\nduration = { fixed_s = 20 }\n";

const RING: &str = "gen:ring,n=4,capacity=1Gbit";

#[test]
fn where_there_is_room_all_are_served_as_paid_and_a_seed_repeats_itself() {
    let job = job(CALLS, RING);
    let results = play(&job, 3);
    assert_eq!(ended(&results, "served"), 40, "{:?}", results.total);
    assert_eq!(results.total.asked_mbit, 40 * 2 * 20);
    assert_eq!(results.total.served_mbit, results.total.asked_mbit);
    // 1 000 000 nanos for a Mbit/s and second.
    assert_eq!(results.total.earned_nanos, 1_600_000_000);
    assert!(!results.measured.is_empty());
    for seen in &results.measured {
        assert!(
            seen.least_ppm > 999_000,
            "every flow gets its rate: {seen:?}"
        );
    }
    assert_eq!(results.digest, play(&job, 3).digest);
    assert_ne!(results.digest, play(&job, 4).digest);
}

#[test]
fn where_there_is_none_inelastic_flows_are_refused_and_elastic_ones_take_less() {
    let elastic = "[[applications]]\nname = \"files\"\nkind = \"elastic\"\narrivals = { requests = 10 }\nrates = [\"64Mbit\"]\n\
                   least_rate = \"1Mbit\"\nsize = { fixed_bytes = 500000 }\n";
    let results = play(
        &job(&format!("{CALLS}{elastic}"), "gen:ring,n=4,capacity=5Mbit"),
        1,
    );
    assert!(ended(&results, "no-capacity") > 0, "{:?}", results.total);
    let files = &results.applications["files"];
    assert!(files.endings["served"] > 0, "{files:?}");
    let rates: Vec<&str> = results
        .flows_csv
        .lines()
        .filter(|line| line.contains(",files,"))
        .collect();
    assert!(
        rates
            .iter()
            .all(|line| !line.contains(",64000000,64000000,") || line.contains("no-capacity"))
    );
}

#[test]
fn who_values_it_less_than_its_price_or_has_spent_its_budget_does_not_buy() {
    let poor = format!("{CALLS}value_nanos_per_mbit_second = [1, 999999]\n");
    let results = play(&job(&poor, RING), 1);
    assert_eq!(ended(&results, "too-dear"), 40, "{:?}", results.total);
    // Each flow costs 40 000 000 nanos: every host can pay two.
    let short = format!("{CALLS}budget_nanos = 90000000\n");
    let results = play(&job(&short, RING), 1);
    assert_eq!(ended(&results, "served"), 8, "{:?}", results.total);
    assert_eq!(ended(&results, "no-budget"), 32);
}

#[test]
fn failures_move_flows_and_a_controller_that_is_killed_loses_none() {
    let failures = "[[failures]]\nat_s = 20\nlasts_s = 10\nlink = [\"s1\", \"s2\"]\n\
                    [[failures]]\nat_s = 40\nlasts_s = 3\nwhat = \"controller\"\n\
                    [[failures]]\nat_s = 50\nlasts_s = 3\nwhat = \"ledger\"\n";
    let results = play(&job(&format!("{CALLS}{failures}"), RING), 2);
    assert!(results.moves > 0, "{:?}", results.total);
    assert_eq!(ended(&results, "broken"), 0, "{:?}", results.total);
    assert!(ended(&results, "served") >= 36, "{:?}", results.total);
}

#[test]
fn eight_times_as_much_in_eight_times_the_time_is_eight_times_the_work() {
    let short = play(&job(CALLS, RING), 1);
    let more = CALLS.replace("requests = 40", "requests = 320");
    let long = play(&job_of(480, &more, RING), 1);
    assert_eq!(ended(&long, "served"), 320, "{:?}", long.total);
    assert!(
        long.events <= 8 * short.events,
        "{} events, and {} of an eighth",
        long.events,
        short.events
    );
}
