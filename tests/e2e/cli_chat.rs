//! A conversation in a terminal.

use std::sync::Arc;

use telson_tests::on_every_runtime;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::Dialect;
use telson_tests::support::gateway::{Gateway, Home, is_private};
use telson_tests::support::model::{Answer, ModelServer, Step};
use telson_tests::support::terminal::Terminal;

use super::talk::{history, line, send};

on_every_runtime!(
    an_answer_is_drawn_as_it_is_meant,
    ctrl_c_stops_the_answer_and_a_second_one_leaves,
    what_was_said_is_shown_and_conversations_are_switched,
    lines_are_remembered_for_this_user_alone,
    a_conversation_survives_the_gateways_restart,
    words_said_while_the_gateway_is_gone_wait_for_it,
    words_whose_answer_broke_off_are_not_asked_twice,
    what_others_say_in_the_conversation_is_heard,
    the_gateways_commands_reach_it,
    a_failed_answer_does_not_end_the_conversation,
    ctrl_c_ends_a_single_question_with_a_code_of_its_own,
    an_agent_that_is_not_there_is_refused,
);

fn start(binary: Binary, answers: Vec<Answer>) -> (ModelServer, Gateway) {
    let server = ModelServer::start(answers);
    let home = Home::new(binary);
    home.configure(&server.config("sk-key-of-the-model"));
    (server, home.start())
}

fn says(words: &'static str) -> Answer {
    Answer::Stream(vec![Step::Say(words), Step::Done])
}

fn an_answer_is_drawn_as_it_is_meant(binary: Binary) {
    let answer = vec![Step::Say("## What "), Step::Say("moves\n\nthe **mo"), Step::Say("on**\n"), Step::Done];
    let (_server, gateway) = start(binary, vec![Answer::Stream(answer)]);
    let mut terminal = Terminal::start(&gateway.home, &["chat"]);
    terminal.prompt();
    terminal.line("tide?");
    terminal.until("\u{1b}[1mWhat moves\u{1b}[0m");
    terminal.until("the \u{1b}[1mmoon\u{1b}[0m");
    terminal.prompt();
    terminal.control('d');
    assert_eq!(terminal.end(), 0);
}

fn ctrl_c_stops_the_answer_and_a_second_one_leaves(binary: Binary) {
    let held = Answer::Stream(vec![Step::Say("ebb and flow"), Step::Hold]);
    let (_server, gateway) = start(binary, vec![held]);
    let mut terminal = Terminal::start(&gateway.home, &["chat"]);
    terminal.prompt();
    terminal.line("tide?");
    terminal.until("ebb and flow");
    terminal.control('c');
    terminal.until("stopped");
    terminal.prompt();
    terminal.control('c');
    assert_eq!(terminal.end(), 0);
    let mut client = gateway.operator(Dialect::V4);
    assert_eq!(history(&mut client), [line("user", "tide?"), line("assistant", "ebb and flow")]);
}

fn what_was_said_is_shown_and_conversations_are_switched(binary: Binary) {
    let (_server, gateway) = start(binary, vec![says("of the main one"), says("of the other one")]);
    gateway.run(&["chat", "-m", "first"]).success();
    gateway.run(&["chat", "-m", "second", "--session", "work"]).success();
    let mut terminal = Terminal::start(&gateway.home, &["chat"]);
    terminal.until("agent:main:main");
    terminal.until("of the main one");
    terminal.prompt();
    terminal.line("/session work");
    terminal.until("agent:main:work");
    terminal.until("of the other one");
    terminal.prompt();
    terminal.line("/sessions");
    terminal.until("agent:main:work");
    terminal.until("number: ");
    terminal.line("2");
    terminal.until("of the main one");
    terminal.prompt();
    terminal.line("/quit");
    assert_eq!(terminal.end(), 0);
}

fn lines_are_remembered_for_this_user_alone(binary: Binary) {
    let (_server, gateway) = start(binary, vec![says("the moon"), says("the moon again")]);
    let mut terminal = Terminal::start(&gateway.home, &["chat"]);
    terminal.prompt();
    terminal.line("what moves the sea?");
    terminal.until("the moon");
    terminal.prompt();
    terminal.control('d');
    terminal.end();
    assert!(is_private(&gateway.home.state().join("chat-history")));

    let mut terminal = Terminal::start(&gateway.home, &["chat", "--history", "0"]);
    terminal.prompt();
    terminal.keys("\u{1b}[A");
    terminal.until("what moves the sea?");
    terminal.keys("\r");
    terminal.until("the moon again");
    terminal.prompt();
    terminal.control('d');
    assert_eq!(terminal.end(), 0);
}

fn a_conversation_survives_the_gateways_restart(binary: Binary) {
    let (_server, gateway) = start(binary, vec![says("after the storm")]);
    let mut terminal = Terminal::start(&gateway.home, &["chat"]);
    terminal.prompt();
    terminal.keys("unsent ");
    terminal.until("unsent");
    let home: Arc<Home> = gateway.kill();
    terminal.until("trying again");
    let gateway = Gateway::start(&home, &[]);
    terminal.until("connected again");
    terminal.line("words");
    terminal.until("after the storm");
    terminal.prompt();
    terminal.control('d');
    assert_eq!(terminal.end(), 0);
    let mut client = gateway.operator(Dialect::V4);
    assert_eq!(history(&mut client)[0], line("user", "unsent words"), "the line was not lost");
}

fn words_said_while_the_gateway_is_gone_wait_for_it(binary: Binary) {
    let (_server, gateway) = start(binary, vec![says("after the storm")]);
    let mut terminal = Terminal::start(&gateway.home, &["chat"]);
    terminal.prompt();
    let home: Arc<Home> = gateway.kill();
    terminal.until("trying again");
    terminal.line("tide?");
    let _gateway = Gateway::start(&home, &[]);
    terminal.until("after the storm");
    terminal.prompt();
    terminal.control('d');
    assert_eq!(terminal.end(), 0);
}

fn words_whose_answer_broke_off_are_not_asked_twice(binary: Binary) {
    let held = Answer::Stream(vec![Step::Say("ebb"), Step::Hold]);
    let (_server, gateway) = start(binary, vec![held]);
    let mut terminal = Terminal::start(&gateway.home, &["chat"]);
    terminal.prompt();
    terminal.line("tide?");
    terminal.until("ebb");
    let home: Arc<Home> = gateway.kill();
    terminal.until("trying again");
    let gateway = Gateway::start(&home, &[]);
    terminal.until("connected again");
    terminal.prompt();
    terminal.control('d');
    assert_eq!(terminal.end(), 0);
    let mut client = gateway.operator(Dialect::V4);
    let asked = history(&mut client).iter().filter(|(role, _)| role == "user").count();
    assert_eq!(asked, 1, "the gateway knew the key of the words again");
}

fn what_others_say_in_the_conversation_is_heard(binary: Binary) {
    let (_server, gateway) = start(binary, vec![says("said to the phone")]);
    let mut terminal = Terminal::start(&gateway.home, &["chat"]);
    terminal.prompt();
    let mut phone = gateway.operator(Dialect::V4);
    send(&mut phone, "tide?", "from-the-phone");
    terminal.until("said to the phone");
    terminal.control('d');
    assert_eq!(terminal.end(), 0);
}

fn the_gateways_commands_reach_it(binary: Binary) {
    let (_server, gateway) = start(binary, vec![says("the moon")]);
    gateway.run(&["chat", "-m", "tide?"]).success();
    let mut terminal = Terminal::start(&gateway.home, &["chat"]);
    terminal.until("the moon");
    terminal.prompt();
    terminal.line("/new");
    terminal.prompt();
    terminal.line("/quit");
    assert_eq!(terminal.end(), 0);
    let mut client = gateway.operator(Dialect::V4);
    let left = history(&mut client);
    assert!(!left.contains(&line("assistant", "the moon")), "the conversation began anew: {left:?}");
}

fn a_failed_answer_does_not_end_the_conversation(binary: Binary) {
    let refusal = Answer::Refusal(401, vec![], serde_json::json!({"error": {"message": "no such key"}}));
    let (_server, gateway) = start(binary, vec![refusal, says("the moon")]);
    let mut terminal = Terminal::start(&gateway.home, &["chat"]);
    terminal.prompt();
    terminal.line("tide?");
    terminal.until("no such key");
    terminal.prompt();
    terminal.line("and now?");
    terminal.until("the moon");
    terminal.prompt();
    terminal.control('d');
    assert_eq!(terminal.end(), 0);
}

fn ctrl_c_ends_a_single_question_with_a_code_of_its_own(binary: Binary) {
    let held = Answer::Stream(vec![Step::Say("ebb and flow"), Step::Hold]);
    let (_server, gateway) = start(binary, vec![held]);
    let mut terminal = Terminal::start(&gateway.home, &["chat", "-m", "tide?"]);
    terminal.until("ebb and flow");
    terminal.control('c');
    terminal.until("interrupted");
    assert_eq!(terminal.end(), 130);
    let mut client = gateway.operator(Dialect::V4);
    assert_eq!(history(&mut client).pop(), Some(line("assistant", "ebb and flow")), "the run was aborted");
}

fn an_agent_that_is_not_there_is_refused(binary: Binary) {
    let gateway = Home::new(binary).start();
    let refused = gateway.run(&["chat", "-m", "tide?", "--agent", "nobody"]).failure(2);
    assert!(refused.stderr.contains("nobody") && refused.stderr.contains("there is: main"), "{refused:#?}");
    let answered = gateway.run(&["chat", "-m", "tide?", "--agent", "main", "--json"]).success();
    assert!(answered.stdout.contains("agent:main:main"), "{answered:#?}");
}
