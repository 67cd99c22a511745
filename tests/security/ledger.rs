//! Where every entry of spec 08 stands: a test of this suite (`s_<number>_…`), a test elsewhere ([`COVERED_BY`]), or
//! outstanding with its reason ([`OUTSTANDING`]). An entry with an outstanding part may have tests for the rest.

use std::collections::{BTreeMap, BTreeSet};

use telson_tests::support::binary::workspace;

/// The entries that the chapter numbers.
const ENTRIES: u32 = 114;

/// Entry, file, test: what is tested beside the code.
const COVERED_BY: &[(u32, &str, &str)] = &[
    (11, "tests/sim/stories/epochs.rs", "whatever_is_under_way_when_the_token_changes_ends_there"),
    (12, "core/src/auth/tests/epochs.rs", "a_new_secret_ends_whoever_came_with_the_old_one_and_nobody_else"),
    (28, "core/src/auth/tests/tailnet.rs", "the_same_headers_elsewhere_help_nobody"),
    (28, "core/src/auth/tests/tailnet.rs", "a_name_that_the_tailnet_does_not_confirm_is_refused"),
    (28, "core/src/auth/tests/tailnet.rs", "plain_http_never_takes_a_name"),
    (29, "host/src/helpers.rs", "the_search_path_of_the_process_does_not_count"),
    (29, "host/src/helpers.rs", "what_others_can_change_is_not"),
    (12, "tests/sim/stories/epochs.rs", "whatever_is_under_way_when_the_token_changes_ends_there"),
    (30, "host/src/cli/trust.rs", "a_secret_leaves_this_machine_in_tls_only"),
    (31, "core/src/peer.rs", "sixty_host_names_are_told_apart"),
    (42, "core/src/devices/tests.rs", "a_rotation_never_exceeds_caller_or_approval"),
    (44, "core/src/devices/tests.rs", "nobody_approves_more_than_they_hold"),
    (44, "core/src/auth/tests/orders.rs", "no_order_of_asking_and_deciding_gives_what_nobody_approved"),
    (49, "core/src/auth/tests/orders.rs", "no_order_of_coming_and_revoking_brings_a_token_back"),
    (53, "core/src/approvals/tests/grants.rs", "an_approval_lets_exactly_its_command_run_once"),
    (
        54,
        "core/src/nodes/tests/invoke.rs",
        "admins_alone_ask_for_the_commands_of_admins_and_nobody_for_the_nodes_own_rules",
    ),
    (55, "core/src/approvals/tests/grants.rs", "whatever_differs_was_not_approved"),
    (55, "core/src/approvals/tests/grants.rs", "an_approval_lets_exactly_its_command_run_once"),
    (55, "core/src/approvals/tests/grants.rs", "nobody_uses_what_another_has_asked_for"),
    (56, "core/src/approvals/tests/ledger.rs", "what_is_shown_is_the_whole_command_with_every_character"),
    (56, "core/src/approvals/tests/ledger.rs", "a_command_that_is_too_long_to_be_shown_whole_is_refused"),
    (56, "core/src/approvals/display.rs", "two_commands_never_look_the_same"),
    (57, "core/src/approvals/tests/ledger.rs", "without_an_answer_nothing_is_allowed"),
    (57, "core/src/approvals/tests/ledger.rs", "a_store_that_is_broken_allows_nothing"),
    (
        57,
        "core/src/approvals/tests/ledger.rs",
        "only_those_who_were_named_may_answer_and_an_empty_list_names_nobody",
    ),
    (57, "core/src/approvals/tests/ledger.rs", "a_restart_ends_what_waited_and_keeps_what_was_decided"),
    (
        59,
        "core/src/nodes/tests/pairing.rs",
        "a_paired_device_is_good_for_nothing_until_its_commands_are_approved",
    ),
    (
        60,
        "core/src/nodes/tests/pairing.rs",
        "a_node_that_asks_for_more_keeps_what_it_had_and_waits_for_the_rest",
    ),
    (60, "core/src/nodes/tests/policy.rs", "only_what_was_shown_is_granted"),
    (
        61,
        "core/src/nodes/tests/pairing.rs",
        "a_machine_that_says_it_is_another_one_can_be_asked_for_nothing_of_the_host",
    ),
    (61, "core/src/nodes/tests/policy.rs", "confusable_words_make_no_known_machine"),
    (
        62,
        "core/src/nodes/tests/events.rs",
        "what_is_said_to_a_node_is_answered_as_untrusted_words_with_few_tools",
    ),
    (62, "core/src/nodes/tests/events.rs", "an_invented_program_is_noted_nowhere_but_in_the_book_of_deeds"),
    (63, "core/src/nodes/tests/work.rs", "what_waits_too_long_or_is_no_longer_allowed_is_dropped"),
    (93, "host/src/cli/trust.rs", "first_use_never_replaces_a_pin"),
    (93, "host/src/cli/trust.rs", "a_damaged_book_is_not_taken_for_an_empty_one"),
    (
        94,
        "host/src/discovery/tests.rs",
        "the_minimal_announcement_tells_what_a_client_needs_and_nothing_of_the_host",
    ),
    (
        58,
        "core/src/approvals/tests/ledger.rs",
        "only_those_who_were_named_may_answer_and_an_empty_list_names_nobody",
    ),
    (
        7,
        "core/src/auth/tests/pairing.rs",
        "more_than_it_had_a_device_gets_only_by_an_approval_also_on_this_host_and_for_the_secret",
    ),
    (11, "core/src/auth/tests/decisions.rs", "a_removed_device_is_cut_off_and_nothing_of_it_comes_back"),
    (
        11,
        "core/src/auth/tests/decisions.rs",
        "a_new_token_is_told_to_its_device_only_and_ends_what_the_old_one_let_in",
    ),
    (45, "core/src/auth/tests/setup.rs", "of_many_that_show_a_code_at_once_one_comes_in"),
    (45, "core/src/auth/tests/setup.rs", "a_code_is_good_for_its_profile_and_its_time_only"),
    (46, "core/src/auth/tests/setup.rs", "a_code_holds_nothing_but_the_way_and_a_token_that_is_good_once"),
    (47, "core/src/auth/tests/setup.rs", "codes_are_for_admins_and_their_addresses_hold_no_secret"),
    (5, "core/src/auth/tests/vouched.rs", "a_user_gets_no_more_than_its_name_whatever_client_it_says_it_is"),
    (
        13,
        "core/src/auth/tests/vouched.rs",
        "the_password_is_for_clients_on_this_host_and_no_fallback_for_others",
    ),
    (
        18,
        "core/src/ingress/tests.rs",
        "an_upgrade_from_a_page_that_does_not_belong_here_is_refused_whatever_else_it_says",
    ),
    (20, "core/src/ingress/tests.rs", "what_a_form_or_image_of_another_page_can_send_changes_nothing"),
    (
        25,
        "core/src/ingress/tests.rs",
        "whoever_leaves_a_proxys_mark_is_never_local_and_untrusted_ones_are_attributed_to_nobody",
    ),
    (26, "core/src/ingress/walk.rs", "the_rightmost_untrusted_hop_is_the_client"),
    (27, "core/src/auth/tests/vouched.rs", "a_proxy_on_this_host_proves_itself_or_counts_for_nothing"),
    (76, "core/src/ingress/path.rs", "five_hundred_ways_to_write_a_path_otherwise_are_refused"),
    (2, "core/src/auth/tests/table.rs", "every_way_to_come_in_ends_as_the_table_says"),
    (2, "core/src/auth/tests/table.rs", "garbage_is_never_better_than_nothing"),
    (
        3,
        "core/src/auth/tests/table.rs",
        "whoever_names_no_scopes_gets_none_or_what_its_credential_is_bound_to",
    ),
    (
        8,
        "core/src/auth/tests/table.rs",
        "a_native_node_must_have_a_device_whatever_it_shows_and_calls_itself",
    ),
    (9, "core/src/auth/tests/table.rs", "what_a_client_calls_itself_changes_nothing_of_what_its_device_may"),
    (
        16,
        "core/src/switchboard/tests.rs",
        "an_event_reaches_those_who_may_hear_it_and_numbers_are_contiguous",
    ),
    (17, "core/src/auth/tests/hello.rs", "paths_and_the_auth_mode_are_for_admins"),
    (18, "core/src/auth/tests/refusals.rs", "pages_from_elsewhere_stay_out_in_every_dialect"),
    (
        32,
        "core/src/auth/tests/handshake.rs",
        "the_eleventh_guess_from_elsewhere_is_not_looked_at_in_whatever_words_it_comes",
    ),
    (33, "core/src/auth/tests/limiter.rs", "no_spread_of_guesses_is_looked_at_more_often"),
    (33, "core/src/auth/tests/limiter.rs", "addresses_have_one_spelling_each"),
    (
        36,
        "core/src/switchboard/tests.rs",
        "unauthenticated_connections_of_one_address_are_bounded_and_slots_come_back",
    ),
    (37, "core/src/switchboard/tests.rs", "the_eleventh_wrong_role_in_a_row_closes"),
    (
        40,
        "core/src/auth/tests/limiter.rs",
        "the_table_is_bounded_and_when_full_of_locked_sources_unknown_ones_wait",
    ),
    (40, "core/src/auth/tests/pairing.rs", "requests_are_few_and_one_address_cannot_push_the_others_out"),
    (41, "core/src/api/tests/media.rs", "what_comes_is_measured_while_it_comes"),
    (50, "core/src/auth/tests/pairing.rs", "an_unreadable_row_gives_no_rights_and_stays_as_it_is"),
    (52, "core/src/auth/tests/proof.rs", "keys_and_signatures_that_fit_everything_are_refused"),
    (52, "core/src/auth/tests/proof.rs", "a_second_spelling_of_a_signature_is_refused"),
    (65, "core/src/tools/tests/policy.rs", "the_owners_tools_are_for_nobody_else"),
    (70, "core/src/auth/tests/matrix.rs", "every_method_asks_of_every_principal_what_the_specification_says"),
    (70, "core/src/auth/tests/matrix.rs", "every_effect_asks_of_every_principal_what_the_specification_says"),
    (74, "core/src/api/tests/sessions.rs", "the_deny_list_can_be_changed_by_the_operator_but_not_for_others"),
    (89, "core/src/guard.rs", "only_addresses_of_the_public_internet_are_public"),
    (89, "core/src/guard.rs", "a_url_is_refused_with_the_reason"),
    (90, "core/src/tools/tests/web.rs", "each_redirect_is_judged_and_nothing_of_the_page_goes_along"),
    (90, "core/src/tools/tests/web.rs", "redirects_end_somewhere"),
    (91, "core/src/api/tests/media.rs", "urls_that_lead_inside_are_refused_before_and_after_a_redirect"),
    (91, "core/src/tools/tests/web.rs", "each_redirect_is_judged_and_nothing_of_the_page_goes_along"),
    (92, "core/src/tools/tests/web.rs", "a_private_address_is_never_asked"),
    (95, "core/src/config/tests.rs", "an_include_is_refused_rather_than_left_out"),
    (101, "host/src/logging/tests.rs", "nothing_a_client_sends_draws_on_the_terminal"),
    (102, "host/src/logging/tests.rs", "no_secret_reaches_any_sink_whatever_way_it_takes"),
];

/// Entry, and why it has no test yet or only a part of one. `docs/src/security.md` shows the same table.
const OUTSTANDING: &[(u32, &str)] = &[
    (21, "there is no web UI; the command line sends a stored token to its own gateway only"),
    (24, "there is no web UI and no export as HTML"),
    (34, "there are no webhooks"),
    (64, "the gateway fetches nothing that a node names; there is no test that tries"),
    (72, "batches of a session's queue are tested beside the code only as to their order"),
    (73, "the marker corpus is tested for web pages and history, not for system events"),
    (78, "there is no canvas"),
    (82, "there are no webhooks"),
    (83, "there are no webhooks"),
    (84, "there are no webhooks"),
    (85, "there are no webhooks and no templates"),
    (86, "nothing writes the configuration yet"),
    (87, "there are no webhooks"),
    (88, "there are no webhooks"),
    (97, "nothing writes the configuration yet"),
    (104, "no unit files are written yet"),
    (106, "no archives are read yet"),
    (107, "no archives are read yet"),
    (108, "nothing is installed yet"),
    (109, "there are no plugins"),
    (110, "there is no self-update"),
    (111, "there are no cron jobs"),
    (112, "there are no cron jobs"),
    (114, "of clients only; the gateway knows no deep links"),
];

/// The numbers of the tests in this suite.
fn tested() -> BTreeSet<u32> {
    let mut numbers = BTreeSet::new();
    for path in super::rig::files(&workspace().join("tests/security")) {
        let text = std::fs::read_to_string(&path).expect("a source can be read");
        let all: Vec<&str> = text.lines().collect();
        for (at, line) in all.iter().enumerate() {
            let Some((_, rest)) = line.split_once("fn s_") else { continue };
            let Some(number) = rest.split('_').next().and_then(|number| number.parse().ok()) else {
                continue;
            };
            let name: String =
                format!("s_{rest}").chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let marked = at > 0 && all[at - 1].trim() == "#[test]";
            let listed = text.contains("on_both_binaries!")
                && text
                    .split("on_both_binaries!")
                    .skip(1)
                    .any(|list| list.split(')').next().unwrap_or_default().contains(&name));
            assert!(marked || listed, "{}: {name} is never run", path.display());
            let ignored = at > 1 && all[at - 2].trim().starts_with("#[ignore");
            if ignored {
                let listed = OUTSTANDING.iter().any(|(entry, _)| *entry == number);
                assert!(listed, "{}: {name} is ignored and its entry is not outstanding", path.display());
            } else {
                numbers.insert(number);
            }
        }
    }
    numbers
}

#[test]
fn every_entry_of_the_chapter_is_tested_or_outstanding() {
    let tested = tested();
    let elsewhere: BTreeSet<u32> = COVERED_BY.iter().map(|(entry, ..)| *entry).collect();
    let outstanding: BTreeMap<u32, &str> = OUTSTANDING.iter().copied().collect();
    assert_eq!(outstanding.len(), OUTSTANDING.len(), "an entry is outstanding once");
    for entry in 1..=ENTRIES {
        let found = tested.contains(&entry) || elsewhere.contains(&entry) || outstanding.contains_key(&entry);
        assert!(found, "S-{entry:02} has no test, no place where it is tested, and no reason");
    }
    assert!(
        tested.iter().chain(&elsewhere).chain(outstanding.keys()).all(|entry| (1..=ENTRIES).contains(entry))
    );
}

#[test]
fn what_is_tested_elsewhere_is_there() {
    for (entry, file, name) in COVERED_BY {
        let text =
            std::fs::read_to_string(workspace().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let (before, _) = text
            .split_once(&format!("fn {name}("))
            .unwrap_or_else(|| panic!("S-{entry:02}: {file} has no test {name}"));
        let near = before.get(before.len().saturating_sub(400)..).unwrap_or(before);
        assert!(near.contains("#[test]") || near.contains("proptest!"), "S-{entry:02}: {name} is no test");
    }
}

#[test]
fn the_manual_shows_what_is_outstanding() {
    let page = std::fs::read_to_string(workspace().join("docs/src/security.md")).expect("the page is there");
    for (entry, reason) in OUTSTANDING {
        let row = format!("| S-{entry:02} | {reason} |");
        assert!(page.contains(&row), "docs/src/security.md lacks the row:\n{row}");
    }
    let rows = page.lines().filter(|line| line.starts_with("| S-")).count();
    assert_eq!(rows, OUTSTANDING.len(), "the page shows rows that are not outstanding any more");
}
