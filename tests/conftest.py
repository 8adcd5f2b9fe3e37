"""For all tests in Python. They run side by side, a file by one worker, each with a stack and a network of its own."""

import signal

import pytest

# Begun first, the longest one before the others, so that nobody waits for one of them at the end: a minute and more each.
LONG = ("test_interop_schemathesis.py", "test_transfer.py", "test_calendar.py", "test_metrics.py", "test_webhook_faults.py",
        "test_cli_repair.py", "test_traces.py", "test_restore.py", "test_http_identity.py", "test_audit.py",
        "test_secrets.py", "test_steps.py", "test_chaos.py", "test_messages.py")
FIGURES = "figures"


def pytest_configure():
    """Who is ended stops what he started, as at an interrupt from the keyboard."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's job in the background ignores the former
        signal.signal(number, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    turns = {name: turn for turn, name in enumerate(LONG)}
    items.sort(key=lambda item: turns.get(item.path.name, len(LONG)))


@pytest.fixture
def tell(record_property):
    """Of the figures of a run, which are shown at the end, also when all is well."""
    return lambda text: record_property(FIGURES, text)


def pytest_terminal_summary(terminalreporter):
    told = [text for reports in terminalreporter.stats.values() for report in reports
            if getattr(report, "when", None) == "call" for name, text in report.user_properties if name == FIGURES]
    for text in told:
        terminalreporter.write_line(text)
