"""For all tests in Python. They run side by side, a file by one worker, each with a stack and a network of its own."""

import pathlib
import signal

# Begun first, so that nobody waits for one of them at the end: minutes each.
LONG = ("test_transfer.py", "test_interop_schemathesis.py", "test_calendar.py", "test_metrics.py")


def pytest_configure():
    """Who is ended stops what he started, as at an interrupt from the keyboard."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: pathlib.Path(item.fspath).name not in LONG)
