"""Which test shows which row: class BA and BR11 to BR15, the eleven traps, abuse X12 to X41.

A row without a test says why there is nothing to abuse here. The names are looked up, so that a
test that is renamed or dropped is missed.
"""

import importlib
from collections.abc import Mapping
from typing import Final

import pytest

ADMIN, BAD, WALL = "console.test_admin", "console.test_bad_pages", "console.test_wall"
APPROVALS, DECISIONS = "console.test_approvals", "pipeline.test_decisions"
REFERENCE, TABLE = "console.test_reference_admin", "test_permissions"
EACH_DOOR = "test_each_door_answers_each_person_as_the_table_says"
STAGES, BODIES = "pipeline.test_stages", "api.test_strict_bodies"

SHOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "BA01": (f"{ADMIN}:test_a_form_without_its_token_is_refused",
             f"{WALL}:test_a_decision_needs_its_token"),
    "BA02": (f"{ADMIN}:test_who_only_looks_cannot_post_an_action",),
    "BA03": (f"{ADMIN}:test_an_action_asks_how_many_and_why_before_it_acts",
             f"{ADMIN}:test_more_rows_than_anybody_has_looked_at_are_refused_as_a_whole"),
    "BA04": (f"{ADMIN}:test_an_action_reaches_only_rows_in_scope",),
    "BA05": (f"{ADMIN}:test_no_form_changes_adds_or_deletes_an_order",),
    "BA06": (f"{BAD}:test_ba06_a_form_sent_after_a_freeze_landed_changes_nothing",),
    "BA07": (f"{BAD}:test_ba07_approve_pressed_twice_is_one_approval",
             f"{WALL}:test_pressing_twice_is_one_release_and_no_error"),
    "BA08": (f"{ADMIN}:test_more_rows_than_anybody_has_looked_at_are_refused_as_a_whole",),
    "BA09": (f"{ADMIN}:test_no_column_but_the_filters_offered_can_be_asked_for",
             f"{ADMIN}:test_every_list_refuses_every_column_it_does_not_offer"),
    "BA10": (f"{ADMIN}:test_no_address_breaks_a_list",),
    "BA11": (f"{ADMIN}:test_a_popup_cannot_ask_by_another_column",),
    "BA12": (f"{ADMIN}:test_the_log_in_page_stays_on_the_site",),
    "BA13": (f"{ADMIN}:test_not_even_a_technical_administrator_gets_at_orders",),
    "BA14": (f"{ADMIN}:test_what_is_out_of_scope_is_not_found_on_any_page",),
    "BA15": (f"{ADMIN}:test_an_autocomplete_needs_the_right_to_see_what_it_completes",),
    "BA16": (f"{WALL}:test_a_reason_that_says_too_little_or_too_much_changes_nothing",),
    "BA17": (f"{REFERENCE}:test_a_hundred_thousand_inline_forms_are_refused",),
    "BA18": (f"{ADMIN}:test_frozen_orders_in_a_bulk_release_are_refused_one_by_one",),
    "BA19": (f"{APPROVALS}:test_who_asked_cannot_approve_even_as_ceo",),
    "BA20": (f"{APPROVALS}:test_a_request_that_changed_since_it_was_shown_is_not_approved",),
    "BA21": (f"{BAD}:test_ba21_of_two_reviewers_the_second_is_told_who_and_when",),
    "BA22": (f"{BAD}:test_ba22_a_card_left_open_through_lunch_leads_to_log_in_and_the_fresh_wall",),
    "BR11": ("console.test_shops:test_the_mode_is_one_of_three_and_the_interval_one_of_the_list",),
    "BR12": (f"{BAD}:test_br12_br13_no_page_schedules_a_job",),
    "BR13": (f"{BAD}:test_br12_br13_no_page_schedules_a_job",
             "pipeline.test_jobs_are_ours:test_no_schedule_names_a_function_that_is_not_ours"),
    "BR14": ("console.test_shops:test_no_secret_is_in_any_page_of_a_shop",
             f"{REFERENCE}:test_it_gives_a_carrier_its_secrets_and_nobody_sees_them_again"),
    "BR15": (f"{BAD}:test_br15_cards_of_a_rule_that_was_switched_off_stay_with_their_version",),
    "trap 1": (f"{ADMIN}:test_no_column_but_the_filters_offered_can_be_asked_for",),
    "trap 2": (f"{ADMIN}:test_an_admin_class_with_a_rightless_action_cannot_be_written",),
    "trap 3": (f"{ADMIN}:test_no_form_changes_adds_or_deletes_an_order",),
    "trap 4": (f"{ADMIN}:test_the_pages_of_the_libraries_are_not_there",),
    "trap 5": (f"{ADMIN}:test_the_pages_of_the_libraries_are_not_there",),
    "trap 6": ("pipeline.test_jobs_are_ours:test_after_the_key_was_changed_the_schedules_go_on",),
    "trap 7": ("console.test_login:test_behind_no_proxy_a_forwarded_address_is_not_believed",),
    "trap 8": (f"{BODIES}:test_a_body_that_can_be_read_in_two_ways_or_none_is_400",
               "channels_sync.test_strict_json:test_a_deep_message_is_refused_and_does_not_crash"),
    "trap 9": (f"{BODIES}:test_a_body_that_can_be_read_in_two_ways_or_none_is_400",),
    "trap 10": (f"{BODIES}:test_a_body_that_can_be_read_in_two_ways_or_none_is_400",),
    "trap 11": ("console.test_login:test_guesses_at_users_that_do_not_exist_lock_nobody_out",),
    "X12": (f"{BAD}:test_x12_releasing_by_hand_posted_by_the_warehouse_is_refused",),
    "X13": (f"{STAGES}:test_what_must_stop_gets_no_label", f"{TABLE}:{EACH_DOOR}"),
    "X14": (
        f"{STAGES}:test_asking_twice_for_a_label_is_one_number",
        "pipeline.test_reprinting:test_a_label_is_printed_again_for_a_reason_on_record",
    ),
    "X15": (f"{TABLE}:{EACH_DOOR}",
            "pipeline.test_privacy:test_x15_who_has_no_business_with_buyers_sees_none"),
    "X16": ("inventory.test_adjustments:test_a_large_correction_waits_for_a_second_person",),
    "X17": ("api.test_orders:test_nothing_is_written_and_nothing_described",),
    "X20": (f"{TABLE}:{EACH_DOOR}",
            f"{BAD}:test_x12_releasing_by_hand_posted_by_the_warehouse_is_refused"),
    "X22": (f"{STAGES}:test_a_task_is_finished_once",),
    "X24": (f"{ADMIN}:test_no_form_changes_adds_or_deletes_an_order",),
    "X25": (f"{TABLE}:{EACH_DOOR}",),
    "X26": ("console.test_stock:test_the_files_hold_what_is_filtered_and_cells_are_inert",),
    "X27": (f"{DECISIONS}:test_a_freeze_of_tier_3_is_lifted_by_no_release_not_even_the_ceos",),
    "X19": ("console.test_idle:test_x19_after_twenty_idle_minutes_a_packer_has_to_log_in",),
    "X29": ("console.test_wall_cards:test_five_hundred_releases_in_a_minute_are_not_possible",),
    "X30": (f"{TABLE}:{EACH_DOOR}",),
    "X31": ("console.test_reveals:test_a_spent_quota_is_429_and_says_so",),
    "X32": (f"{DECISIONS}:test_a_freeze_is_asked_for_by_deciders_and_approved_by_the_ceo_alone",),
    "X33": ("inventory.test_adjustments:test_nobody_agrees_to_his_own_correction",),
    "X34": (f"{REFERENCE}:test_nobody_gives_himself_a_role",),
    "X35": ("risk.test_sets:test_switching_off_a_rule_that_holds_orders_takes_a_second_person",),
    "X36": (f"{ADMIN}:test_an_action_reaches_only_rows_in_scope",
            f"{ADMIN}:test_more_rows_than_anybody_has_looked_at_are_refused_as_a_whole"),
    "X37": (f"{ADMIN}:test_no_form_changes_adds_or_deletes_an_order",
            "audit.test_services:test_the_database_refuses_to_rewrite_history"),
    "X39": (f"{DECISIONS}:test_nobody_approves_their_own_request_not_even_the_ceo",),
    "X40": (f"{TABLE}:{EACH_DOOR}",),
    "X41": (f"{DECISIONS}:test_an_approval_of_what_has_changed_since_is_refused",
            "races.test_approval_races:test_k10_one_of_approval_and_edit_counts_and_the_other_is_told"),
    "X59": ("audit.test_tampering:test_every_kind_of_tampering_is_found",),
    "X60": ("audit.test_tampering:test_an_old_backup_restored_does_not_match_what_is_outside",),
}  # fmt: skip

NOTHING_TO_ABUSE: Final[Mapping[str, str]] = {
    "X18": "no door takes a quantity at the bench: a parcel holds what its reservations hold",
    "X21": "nobody makes an order by hand: every order comes from a channel or a sheet",
    "X23": "no refund is given here: the platform gives it and tells us",
    "X28": "nobody makes an order by hand, and reviewers have no shop account of their own",
    "X38": "no door exports orders",
}
WANTED: Final = (
    *(f"BA{n:02}" for n in range(1, 23)),
    *(f"BR{n}" for n in range(11, 16)),
    *(f"trap {n}" for n in range(1, 12)),
    *(f"X{n}" for n in range(12, 42)),
)


@pytest.mark.parametrize("row", WANTED)
def test_every_row_has_a_test_or_a_reason(row: str) -> None:
    assert (row in SHOWN) + (row in NOTHING_TO_ABUSE) == 1


@pytest.mark.parametrize("row", SHOWN)
def test_the_tests_named_are_there(row: str) -> None:
    for name in SHOWN[row]:
        module, _colon, test = name.partition(":")
        assert callable(getattr(importlib.import_module(f"tests.{module}"), test, None)), name
