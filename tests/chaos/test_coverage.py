"""COVERAGE.md has every fault, and every test and fault that it names is there."""

import pathlib
import re

from faults import FAULTS

HERE = pathlib.Path(__file__).resolve().parent
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in
        (HERE / "COVERAGE.md").read_text().splitlines() if re.match(r"\| F\d\d ", line)]


def test_every_fault_has_its_line_and_a_test_or_a_reason():
    assert [row[0] for row in ROWS] == [f"F{n:02}" for n in range(1, 71)]
    assert not [row[0] for row in ROWS if not row[1] and not row[2]]


def test_every_test_that_is_named_exists():
    named = {name for row in ROWS for name in re.findall(r"`([^`]+::[^`]+)`", row[1])}
    assert len(named) > 60
    missing = []
    for name in sorted(named):
        file, function = name.split("::")
        path = HERE.parent / file
        text = path.read_text() if path.exists() else ""
        if not re.search(rf"(^def|static void) {function}\(", text, re.M):
            missing.append(name)
    assert not missing


def test_every_fault_of_a_run_is_named():
    named = {name for row in ROWS for name in re.findall(r"`([a-z_]+)`", row[1])}
    assert named == set(FAULTS)
    ids = {row[0]: row[1] for row in ROWS}
    assert not [(f.name, i) for f in FAULTS.values() for i in f.ids.split() if f"`{f.name}`" not in ids[i]]


def test_one_of_the_tests_of_a_line_bears_its_id():
    """Else a line may name tests that are about something else."""
    unfit = []
    for fault_id, tests, _ in ROWS:
        functions = re.findall(r"`[^`]+::([^`]+)`", tests)
        runs = [FAULTS[name].ids.split() for name in re.findall(r"`([a-z_]+)`", tests)]
        if (functions or runs) and not any(fault_id.lower() in f.lower().split("_") for f in functions) \
                and not any(fault_id in ids for ids in runs):
            unfit.append(fault_id)
    assert not unfit
