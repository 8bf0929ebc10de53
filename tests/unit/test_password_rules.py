"""What a password must be like, by both profiles."""

from datetime import timedelta

import pytest

from app.identity.rules import POLICIES, normal, refusal
from config import PasswordProfile

BSSN, ASVS = POLICIES[PasswordProfile.BSSN], POLICIES[PasswordProfile.ASVS]


@pytest.mark.parametrize(
    ("password", "word"),
    [
        ("Pendek-1", "at least"),
        ("x" * 129 + "A1-", "at most"),
        ("semuanya huruf kecil", "three of these"),
        ("hurufkecildanangka99", "three of these"),
        ("Password1234!", "first that would be guessed"),
        ("Diskominfo2026!", "first that would be guessed"),
        ("Aa1-Aa1-Aa1-", "first that would be guessed"),
        ("Dewi.Lestari-2026", "name or your address"),
    ],
)
def test_bssn_refuses(password, word):
    found = refusal(password, BSSN, ("dewi.lestari", "Dewi", "Lestari"))

    assert found is not None
    assert word in found[0]


@pytest.mark.parametrize(
    "password", ["Kuda-lumping-77", "sore di tepian 3 Sungai", "a1b2c3-d4e5f6-S"]
)
def test_bssn_takes(password):
    assert refusal(password, BSSN, ("Dewi",)) is None


def test_asvs_asks_for_length_and_for_no_mixture():
    assert refusal("semuanya huruf kecil saja", ASVS) is None
    assert refusal("x" * 100 + "kuda lumping", ASVS) is None
    assert refusal("pendek", ASVS) is not None


@pytest.mark.parametrize(
    "password", ["1234567890123456", "qwertyuiop123", "iloveyou2026!!", "aaaaaaaaaaaa"]
)
def test_asvs_refuses_common_ones(password):
    assert refusal(password, ASVS) is not None


def test_age_and_memory_are_bssns_alone():
    assert BSSN.max_age == timedelta(days=183)
    assert BSSN.remembered == 5
    assert ASVS.max_age is None
    assert ASVS.remembered == 0


def test_two_ways_to_type_a_letter_are_one():
    assert normal("é") == normal("é")
