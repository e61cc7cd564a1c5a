//! How much is asked at most.

use crate::endpoint::{Endpoint, plain, status};
use crate::{JudgeConfig, config, questions, talked_into, verdicts, word};
use std::time::Duration;
use wk_watcher::judge::{Answered, Job};

/// The same question of `n` sessions; `same` keeps the action's words alike.
fn jobs(n: usize, same: bool) -> Vec<Job> {
    let one = |i: usize| {
        let mut s = talked_into(&format!("s{i}"), "");
        if !same {
            let body = format!("{{\"to\":\"eve@x.example\",\"body\":\"number {i}\"}}");
            s.call("c3", "mcp__mail__send_email", "other", &body, None);
        }
        questions(&s).pop().unwrap()
    };
    (0..n).map(one).collect()
}

fn words(answered: &[Answered]) -> Vec<String> {
    answered.iter().map(word).collect()
}

#[tokio::test]
async fn a_question_that_comes_again_costs_nothing() {
    let endpoint = Endpoint::start(vec![plain()]).await;
    let answered = verdicts(config(&endpoint.url()), jobs(3, true)).await;
    assert_eq!(endpoint.requests().len(), 1);
    assert_eq!(words(&answered), ["answered"; 3]);
    assert_eq!(answered.iter().map(|a| a.verdict.cost.looks).collect::<Vec<_>>(), [1, 0, 0]);
    // Each speaks of its own record.
    assert!(answered.iter().all(|a| a.verdict.about == a.question.about && a.verdict.question == a.question.id));
}

#[tokio::test]
async fn an_endpoint_that_goes_on_failing_is_left_alone() {
    let endpoint = Endpoint::start(vec![status(500)]).await;
    let config = JudgeConfig {
        attempts: 1,
        breaker_failures: 2,
        breaker_pause: Duration::from_secs(3600),
        ..config(&endpoint.url())
    };
    let answered = verdicts(config, jobs(4, false)).await;
    assert_eq!(words(&answered), ["server_error", "server_error", "breaker_open", "breaker_open"]);
    assert_eq!(endpoint.requests().len(), 2);
}

#[tokio::test]
async fn after_a_pause_the_endpoint_is_tried_again() {
    let endpoint = Endpoint::start(vec![status(500), status(500), plain()]).await;
    let config =
        JudgeConfig { attempts: 1, breaker_failures: 2, breaker_pause: Duration::ZERO, ..config(&endpoint.url()) };
    let answered = verdicts(config, jobs(4, false)).await;
    assert_eq!(words(&answered), ["server_error", "server_error", "answered", "answered"]);
}

#[tokio::test]
async fn the_budget_is_kept() {
    let endpoint = Endpoint::start(vec![plain()]).await;
    let asked = JudgeConfig { burst: 2, per_minute: 0, ..config(&endpoint.url()) };
    assert_eq!(words(&verdicts(asked, jobs(3, false)).await), ["answered", "answered", "budget"]);
    let spent = JudgeConfig { tokens_per_day: 100, ..config(&endpoint.url()) };
    assert_eq!(words(&verdicts(spent, jobs(2, false)).await), ["answered", "budget"]);
}

#[tokio::test]
async fn an_answer_that_comes_too_late_for_its_hold_is_not_asked_for() {
    let endpoint = Endpoint::start(vec![plain()]).await;
    let mut late = jobs(1, true).remove(0);
    late.question.deadline = Some(late.question.asked_at);
    let answered = verdicts(config(&endpoint.url()), vec![late]).await;
    assert_eq!((words(&answered), endpoint.requests().len()), (vec!["late".to_owned()], 0));
}
