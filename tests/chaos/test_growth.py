"""What a soak (run.py, CHAOS_FAULTS=none) takes for growth (F69)."""

import random

import pytest

from chaos import mib_an_hour

MIB = 1 << 20


def test_f69_a_leak_is_seen_through_what_comes_and_goes():
    rng = random.Random(1)
    leaks = [(at, 20 * MIB + 2 * MIB * at / 3600 + rng.uniform(0, MIB)) for at in range(0, 3600, 10)]
    assert mib_an_hour(leaks) == pytest.approx(2, abs=0.2)
    assert mib_an_hour([(at, 20 * MIB + rng.uniform(0, MIB)) for at in range(0, 3600, 10)]) == pytest.approx(0, abs=0.2)
