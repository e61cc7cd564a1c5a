//! What the shim refuses, in the agent's own words; and agents whose every byte goes through the shim's proxy.

use crate::world::{Agent, World, say, shown};
use crate::{TASK, shell};
use serde_json::json;
use std::process::Stdio;

/// The model is told in the result of the call what was refused during it, by which rule, and under which ticket.
fn the_result_of_a_call_says_what_was_refused_and_why(agent: Agent) {
    let Some(mut world) = World::new(agent) else { return };
    world.write("work/keys.txt", "planted\n");
    world.rules =
        "[files]\ndefault = \"allow\"\n[[files.rules]]\nmatch = \"${workspace}/keys.txt\"\naction = \"deny\"\n\
                   reason = \"keys for other machines\"\n"
            .to_owned();
    // Once as a call that fails, once as one that does not.
    let turns = [
        vec![shell(agent, "cat keys.txt")],
        vec![shell(agent, "cat keys.txt || echo went on")],
        vec![shell(agent, "cat README.md")],
        vec![say("Done.")],
    ];
    let run = world.begin(TASK, &turns);
    assert_eq!(run.end(), Some(0), "{}", world.printed());
    world.is_complete();
    let asked = world.asked();
    let refused = format!("refused {}: ", shown(&world.path("work/keys.txt")));
    let told = asked.lines().last().unwrap().matches(&refused).count();
    assert!(told >= 2, "told {told} times:\n{asked}");
    assert!(asked.contains("keys for other machines") && !asked.contains("planted"), "{asked}");
    let denied =
        "SELECT record_id AS id FROM records WHERE kind = 'file_accessed' AND file_accessed['outcome'] = 'DENIED'";
    let tickets = world.column(denied, "id");
    let said = tickets.iter().filter(|ticket| asked.contains(&format!("(ticket {ticket})"))).count();
    assert!(said >= 2, "{said} of {tickets:?}:\n{asked}");
}

/// An agent in a network of its own reaches its model by name, through the proxy, and nothing else.
fn an_agent_reaches_its_model_through_the_proxy_and_nothing_else(agent: Agent) {
    let Some(mut world) = World::new(agent) else { return };
    let port = world.start_model(&[
        vec![shell(agent, "sed -i 's/helo/hello/' README.md")],
        vec![shell(agent, "curl -s -m 20 http://elsewhere.example/ || echo refused")],
        vec![say("Done.")],
    ]);
    let policy = format!(
        "name = \"behind\"\nhold_timeout = \"5m\"\n[egress]\ndefault = \"deny\"\n[[egress.rules]]\n\
         match = \"model.example:80\"\nat = \"127.0.0.1:{port}\"\naction = \"allow\"\nreason = \"the model\"\n"
    );
    world.write("policy.toml", &policy);
    let mut command = world.asking(TASK);
    world.introduce_at(&mut command, "http://model.example");
    let run = world.start(command.stdin(Stdio::null()));
    assert_eq!(run.end(), Some(0), "{}", world.printed());
    world.is_complete();
    assert_eq!(std::fs::read_to_string(world.path("work/README.md")).unwrap(), "hello\n", "{}", world.printed());
    assert_eq!(world.heard(), 0);
    // A program that asks the door by itself is refused there; one that looks the name up, by the answer.
    let outcomes = |host: &str| {
        let query = format!(
            "SELECT DISTINCT o FROM (SELECT outcome AS o FROM connections WHERE host_name = '{host}' UNION ALL \
             SELECT name_resolved['outcome'] AS o FROM records WHERE kind = 'name_resolved' AND \
             name_resolved['name'] = '{host}') a"
        );
        world.sql(&query)
    };
    assert_eq!(outcomes("model.example"), [json!({"o": "ALLOWED"})]);
    assert_eq!(outcomes("elsewhere.example"), [json!({"o": "DENIED"})]);
    let wall = "SELECT session_id FROM records WHERE kind = 'session_started' AND \
                array_has(session_started['confinement'], 'egress-proxy')";
    assert_eq!(world.sql(wall).len(), 1);
}

for_all_agents! {
    the_result_of_a_call_says_what_was_refused_and_why
    an_agent_reaches_its_model_through_the_proxy_and_nothing_else
}
