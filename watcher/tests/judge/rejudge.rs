//! Stored sessions are judged again.

use crate::endpoint::{Endpoint, first, plain, second};
use crate::{config, judge, talked_into, verdicts};
use wk_schemas::body::Step;
use wk_schemas::{Body, Header, Record, RecordId, Topic};
use wk_watcher::judge::{HoldPower, open, rejudge};

#[tokio::test]
async fn the_same_question_is_asked_again_and_the_difference_is_shown() {
    let script = talked_into("s", "");
    let then = Endpoint::start(vec![plain()]).await;
    let answered = verdicts(config(&then.url()), crate::questions(&script)).await.remove(0);
    let finding = answered.verdict.finding(Step::Note, &script.session, &crate::command_key());
    let header =
        Header { record_id: RecordId::derived(&[answered.question.about], "judge verdict"), ..answered.header };
    let mut stored: Vec<(Topic, Record)> = script.records.iter().map(|r| (Topic::Events, r.clone())).collect();
    stored.push((Topic::Findings, Record { header, body: Body::from(finding) }));

    let same = Endpoint::start(vec![plain()]).await;
    let (client, policy) = open(config(&same.url())).unwrap();
    let differences = rejudge(&judge(HoldPower::None), &client, &policy, stored.clone()).await.unwrap();
    let [difference] = &differences[..] else { panic!("{differences:?}") };
    assert_eq!((difference.agrees, difference.is_same_prompt), (Some(true), Some(true)));
    assert_eq!(then.requests()[0].text, same.requests()[0].text, "word for word");

    let stricter = Endpoint::start(vec![first("high", "low", "goal"), second(&["a2"], 88)]).await;
    let (client, policy) = open(config(&stricter.url())).unwrap();
    let differences = rejudge(&judge(HoldPower::None), &client, &policy, stored.clone()).await.unwrap();
    let [difference] = &differences[..] else { panic!("{differences:?}") };
    assert_eq!((difference.agrees, difference.is.score), (Some(false), Some(88)));
    let said = difference.to_string();
    assert!(said.contains("DIFFERS") && said.contains("was low/high/none 5 (scripted-1)"), "{said}");

    let none = rejudge(&crate::common::judge(), &client, &policy, stored).await.unwrap_err();
    assert!(none.to_string().contains("[judge]"), "{none}");
}
