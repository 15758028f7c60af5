from datetime import UTC, datetime, timedelta

import pytest

from jobs.backup.postgres.copies import (
    RestoringCopy,
    abandoned_copies,
    is_replaced_name,
    parse_restoring_name,
    refresh_comment,
    replaced_name,
    restoring_name,
    without_refresh_comment,
)

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


def test_names_have_database_purpose_and_time() -> None:
    assert restoring_name("shop", NOW) == "shop_restoring_20261121_093000"
    assert replaced_name("shop", NOW) == "shop_replaced_20261121_093000"


def test_a_long_database_name_is_cut_and_the_ending_stays_whole() -> None:
    assert replaced_name("ü" * 40, NOW) == "ü" * 19 + "_replaced_20261121_093000"
    assert len(restoring_name("x" * 63, NOW)) == 63


def test_a_taken_name_moves_on_by_a_second() -> None:
    taken = {"shop_replaced_20261121_093000"}
    assert replaced_name("shop", NOW, taken) == "shop_replaced_20261121_093001"


@pytest.mark.parametrize(
    ("name", "copy"),
    [
        ("shop_restoring_20261121_093000", RestoringCopy("shop", NOW)),
        ("a_restoring_b_restoring_20261121_093000", RestoringCopy("a_restoring_b", NOW)),
        ("shop_replaced_20261121_093000", None),
        ("shop_restoring_mine", None),
        ("shop_restoring_20269999_093000", None),
        ("shop", None),
    ],
)
def test_restoring_names_are_parsed(name: str, copy: RestoringCopy | None) -> None:
    assert parse_restoring_name(name) == copy


def test_abandoned_copies_are_old_and_of_the_database() -> None:
    names = [
        "shop_restoring_20261120_093000",
        "shop_restoring_20261121_092930",
        "shop_replaced_20261120_093000",
        "shop_restoring_mine",
        "shop_restoring_20269999_093000",
        "workshop_restoring_20261120_093000",
        "shop",
    ]
    assert abandoned_copies(names, NOW, "shop") == ["shop_restoring_20261120_093000"]
    assert abandoned_copies(names, NOW) == ["shop_restoring_20261120_093000", "workshop_restoring_20261120_093000"]


def test_abandoned_copies_are_found_under_a_cut_name() -> None:
    database = "ü" * 31
    name = restoring_name(database, NOW - timedelta(days=1))
    assert abandoned_copies([name], NOW, database) == [name]


def test_the_comment_of_a_refresh_names_its_database() -> None:
    assert "shop" in refresh_comment("shop")


@pytest.mark.parametrize(
    ("name", "database", "is_ours"),
    [
        ("shop_replaced_20261121_093000", "shop", True),
        (replaced_name("ü" * 40, NOW), "ü" * 40, True),
        ("shop", "shop", False),
        ("shop_replaced_20261121_093000", "workshop", False),
        ("shop_replaced_20261121_093000", "shop_replaced_20261121_093000", False),
        ("shop_replaced_20269999_093000", "shop", False),
        ("shop_replaced_by_hand", "shop", False),
        ("shop_restoring_20261121_093000", "shop", False),
    ],
)
def test_only_names_that_we_made_are_replaced_names(name: str, database: str, is_ours: bool) -> None:
    assert is_replaced_name(name, database) is is_ours


def test_the_comment_of_a_refresh_is_not_copied() -> None:
    assert without_refresh_comment(refresh_comment("shop")) is None
    assert without_refresh_comment("the shop's") == "the shop's"
    assert without_refresh_comment(None) is None
