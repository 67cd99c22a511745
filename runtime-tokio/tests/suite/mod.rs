//! What must hold on every runtime: the driver against raw sockets.
//!
//! Each runtime's test file runs [`stories!`] with a function that makes its adapter.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod bodies;
pub mod calling;
pub mod client;
pub mod fetching;
pub mod gateway;
pub mod http;
pub mod life;
pub mod processes;
pub mod programs;
pub mod socket;
pub mod stage;
pub mod streams;
pub mod talk;
pub mod tls;

use std::net::SocketAddr;

use client::Client;

/// One `#[test]` for each story, on the runtime that `$make` makes.
macro_rules! stories {
    ($make:path) => {
        $crate::suite::stories! { $make:
            http {
                probes_answer_on_one_kept_connection,
                a_body_that_nobody_wants_does_not_disturb,
                an_upgrade_that_is_wrong_is_told_so,
                malformed_requests_harm_nobody,
                a_head_that_is_too_large_is_a_431,
                clients_that_dawdle_keep_nobody_waiting,
            }
            bodies {
                a_head_comes_whole,
                a_body_comes_whole_and_the_connection_goes_on,
                a_client_that_asks_first_is_told_to_go_on,
                a_body_that_is_declared_too_large_is_refused_while_it_is_sent,
                a_body_that_grows_too_large_is_refused_while_it_is_sent,
                a_body_of_which_nothing_more_comes_is_given_up,
                what_is_no_body_is_told_so,
                all_bodies_together_are_bounded,
            }
            streams {
                pieces_arrive_one_by_one_and_the_connection_goes_on,
                requests_sent_at_once_are_answered_in_order,
                an_old_client_reads_to_the_end_of_the_connection,
                head_gets_the_head_of_a_stream,
                a_client_that_reads_nothing_is_given_up,
                a_client_that_leaves_while_it_sends_is_gone_once,
                a_client_that_leaves_while_it_waits_is_gone_once,
                a_client_that_leaves_its_stream_is_gone_once,
                a_client_that_sends_nothing_more_still_gets_its_answer,
                a_client_that_has_its_answer_is_not_gone,
                last_words_are_heard_before_the_end,
                a_stream_that_the_end_cuts_off_does_not_look_whole,
            }
            programs {
                lines_go_in_and_come_back,
                everything_written_comes_before_the_end,
                a_program_that_is_missing_is_named,
                a_process_knows_no_more_than_it_is_told,
                a_killed_process_takes_its_children_with_it_and_says_nothing,
                no_process_outlives_the_gateway,
                a_process_that_ends_leaves_no_children,
                a_line_without_end_ends_the_process,
                a_process_that_does_not_read_is_ended,
            }
            socket {
                the_challenge_comes_and_pings_are_answered,
                a_frame_sent_with_the_upgrade_is_read,
                a_stranger_may_not_send_much,
                what_is_no_message_closes_with_1002,
                a_message_may_come_in_pieces_and_in_binary,
                a_close_is_answered,
                a_client_that_vanishes_gives_its_place_back,
            }
            talk {
                a_client_comes_in_and_asks,
                a_client_that_is_in_may_send_what_its_hello_says,
                a_client_that_does_not_read_is_still_heard,
                a_slow_consumer_is_closed_and_hurts_nobody,
                a_message_sent_just_before_the_end_is_heard,
                a_stop_tells_everyone_who_is_in,
            }
            life {
                a_stop_closes_sockets_with_1012_and_the_port,
                a_restart_is_told_apart,
                a_port_that_is_taken_is_named,
            }
            calling {
                the_client_hears_the_challenge_and_the_close,
                the_client_says_what_is_wrong,
            }
            tls {
                a_port_with_tls_serves_http_and_websocket,
                an_older_client_speaks_tls_1_2,
                another_certificate_is_told_and_nothing_is_sent,
                what_is_no_tls_is_closed_without_an_answer_in_the_clear,
                a_slow_handshake_is_cut_off_and_disturbs_nobody,
                a_new_certificate_is_taken_up_while_connections_stay,
                a_client_that_leaves_in_tls_is_gone_once,
                a_stop_ends_connections_in_tls,
            }
            fetching {
                a_stream_arrives_in_pieces,
                an_answer_that_breaks_off_fails,
                silence_is_a_timeout,
                nobody_there_is_told_with_the_host,
                a_server_without_tls_is_no_https_server,
                a_guarded_request_goes_nowhere_near,
                a_redirect_is_told_and_not_followed,
            }
            processes {
                a_process_reads_writes_and_ends,
                a_process_can_be_killed,
                a_program_that_is_not_there_is_an_error,
                work_that_panics_is_an_error,
            }
        }
    };
    ($make:path: $($module:ident { $($story:ident),* $(,)? })*) => { $($(
        #[test]
        fn $story() {
            let held = $make();
            $crate::suite::$module::$story(&held.runtime);
        }
    )*)* };
}
pub(crate) use stories;

fn healthy(addr: SocketAddr) {
    let (head, body) = Client::connect(addr).ask("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body, r#"{"ok":true,"status":"live"}"#);
}
