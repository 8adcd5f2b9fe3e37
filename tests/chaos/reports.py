"""A run (run.py) by a fixed seed, as a test has it done."""

import json
import os
import pathlib
import subprocess
import sys

RUN = pathlib.Path(__file__).with_name("run.sh")
SECONDS = 60
SEED = 20261130


def report_of(folder, **settings):
    """What it reports, its output and its exit status. The environment has the last word on seed and seconds."""
    env = {"CHAOS_SEED": SEED, "CHAOS_SECONDS": SECONDS, **os.environ, **settings, "CHAOS_REPORT": folder}
    done = subprocess.run([RUN, sys.executable], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={name: str(value) for name, value in env.items()}, timeout=1800)
    assert (folder / "report.json").exists(), done.stdout
    told = json.loads((folder / "report.json").read_text())
    told["output"], told["status"] = done.stdout, done.returncode
    return told
