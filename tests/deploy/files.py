"""Help for the tests of deploy/: where things are, and what a daemon says of its settings."""

import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
BIN = pathlib.Path(os.environ.get("DAYBOOK_BIN", ROOT / "build/release/bin"))
MADE = pathlib.Path(os.environ.get("DAYBOOK_DEPLOY", ROOT / "build/deploy"))
TOOLS = MADE / "tools"
PROMTOOL = pathlib.Path(os.environ.get("DAYBOOK_DEBIAN", ROOT / "build/debian")) / "promtool"
DAEMONS = ["bus", "directory", "customers", "visits", "reminders", "scoring", "gateway"]


def run(*words, **more):
    made = subprocess.run([str(word) for word in words], text=True, capture_output=True, **more)
    assert made.returncode == 0, f"{words}: {made.stdout}\n{made.stderr}"
    return made.stdout


def settings_of(program):
    """Names of its settings, each with its default."""
    text = run(BIN / program, *(["help", "settings"] if program == "daybook" else ["--help-settings"]))
    return {name.removesuffix("_FILE"): default for name, default in
            re.findall(r"^ *((?:DAYBOOK|OTEL)_\w+)(?: \(.*?default ([^)]*)\))?", text, re.M)}


def assert_known(program, names):
    known = settings_of(program)
    assert not [name for name in names if name.removesuffix("_FILE") not in known]


def drain_seconds():
    return int(settings_of("daybook-visits")["DAYBOOK_DRAIN_TIMEOUT"].removesuffix("s"))


def make_secrets(folder):
    """What deploy/compose/secrets.sh makes, in that folder."""
    run(DEPLOY / "compose/secrets.sh", folder, env=dict(os.environ, DAYBOOK_DB_AT="host=db.example.com dbname=daybook"))
    return folder
