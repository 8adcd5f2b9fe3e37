"""What the shells offer at TAB: bash's function driven as bash drives it, zsh by a terminal."""

import os
import pty
import select
import shlex
import shutil
import subprocess
import time

import pytest

from stack import SLACK

CONSUMERS = ["directory", "customers", "visits", "reminders", "scoring", "gateway"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("completion")
    for name in ("shops.csv", "request.json"):
        (folder / name).write_text("")
    (folder / "customers").mkdir()
    return folder


def script(stack, shell):
    done = stack.daybook("completion", shell)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def offered(stack, folder):
    """The offers for the last of these words."""
    def offered(*words):
        line = " ".join(shlex.quote(word) for word in ("daybook", *words))
        source = script(stack, "bash") + f'COMP_WORDS=({line}); COMP_CWORD={len(words)}\n' \
            '_daybook; printf "%s\\n" "${COMPREPLY[@]}"\n'
        done = subprocess.run(["bash", "--norc"], input=source, text=True, cwd=folder,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode == 0 and not done.stderr, done.stderr
        return done.stdout.split()
    return offered


@pytest.mark.parametrize("words, want", [
    (("ev",), ["events"]),
    (("--tenant", "events", "ta"), ["tasks"]),  # a value is no command
    (("--json", "ver"), ["version"]),
    (("call", "CustomerS"), ["CustomerService/", "CustomerScoreService/"]),
    (("call", "CustomerService/Cr"), ["CustomerService/Create"]),
    (("call", "daybook.customers.v1.CustomerService/Cr"), ["daybook.customers.v1.CustomerService/Create"]),
    (("call", "--list", "EventS"), ["EventService"]),
    (("call", "CustomerService/Create", "@req"), ["@request.json"]),
    (("call", "CustomerService/Create", "req"), []),
    (("import", ""), ["customers", "orders"]),
    (("import", "customers", "sh"), ["shops.csv"]),
    (("import", "--batch", "7", "orders", "sh"), ["shops.csv"]),
    (("import", "--source", "erp", "cu"), ["customers"]),
    (("import", "customers", "x.csv", "--result", "sh"), ["shops.csv"]),
    (("import", "customers", "x.csv", "--result", "=", "sh"), ["shops.csv"]),
    (("import", "customers", "x.csv", "sh"), []),
    (("import", "--source", "sh"), []),
    (("tasks", "sh"), []),
    (("tasks", "--date", "sh"), []),
    (("events", ""), ["tail", "read", "parked", "replay"]),
    (("events", "replay", ""), CONSUMERS),
    (("events", "--seq", "3", "parked", ""), CONSUMERS),
    (("events", "read", "s"), []),
    (("timers", ""), ["parked", "replay"]),
    (("webhook", ""), ["listen"]),
    (("webhook", "listen", "--secret", "@req"), ["@request.json"]),
    (("call", "--api-key", "@req"), ["@request.json"]),
    (("call", "--api-key", "req"), []),
    (("migrate", "bus", "cu"), ["customers"]),
    (("rebuild", "sc"), ["scoring"]),
    (("rebuild", "d"), []),
    (("audit", ""), ["verify"]),
    (("rebuild", "scoring", "s"), []),
    (("keygen", "x", "--kind", ""), ["partner", "daemon", "edge", "system"]),
    (("status", "--w"), ["--wait"]),
    (("status", "--wait", "s"), []),
    (("help", "sett"), ["settings"]),
    (("completion", ""), ["bash", "zsh"]),
])
def test_bash_offers_what_may_stand_there(offered, words, want):
    assert sorted(offered(*words)) == sorted(want)


def test_every_command_and_option_is_offered(stack, offered):
    told = stack.daybook_json("help")
    assert offered("") == [c["name"] for c in told["commands"]]
    for command in told["commands"]:
        want = [f"--{o['name']}" for o in told["options"] + command["options"]]
        assert offered(command["name"], "--") == want


# --- zsh --------------------------------------------------------------------------------------------

class Terminal:
    """zsh on a terminal of its own."""

    def __init__(self, folder):
        self.seen = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execve(shutil.which("zsh"), ["zsh", "-i"],
                      {**os.environ, "ZDOTDIR": str(folder), "TERM": "dumb", "HOME": str(folder)})

    def type(self, text):
        self.seen = ""
        os.write(self.fd, text.encode())

    def read_until(self, text):
        until = time.monotonic() + 20 * SLACK
        while text not in self.seen:
            ready, _, _ = select.select([self.fd], [], [], max(0, until - time.monotonic()))
            assert ready, f"no {text!r} in {self.seen!r}"
            self.seen += os.read(self.fd, 4096).decode(errors="replace")

    def close(self):
        os.write(self.fd, b"\x15exit\r")
        os.close(self.fd)
        os.waitpid(self.pid, 0)


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_completes_at_the_first_tab(stack, folder):
    functions = folder / "functions"
    functions.mkdir()
    (functions / "_daybook").write_text(script(stack, "zsh"))
    (folder / ".zshrc").write_text("fpath=($PWD/functions $fpath)\nautoload -U compinit\ncompinit -u -D\n"
                                   "PS1='ready> '\n")
    terminal = Terminal(folder)
    try:
        terminal.read_until("ready> ")
        for typed, whole in (("daybook versi\t", "daybook version"),
                             ("daybook events replay remi\t", "daybook events replay reminders"),
                             ("daybook call CustomerService/Crea\t", "CustomerService/Create"),
                             ("daybook call InteractionS\tRecordInt\t", "InteractionService/RecordInteraction"),
                             ("daybook import customers --result sho\t", "--result shops.csv"),
                             ("daybook call X @requ\t", "@request.json")):
            terminal.type(typed)
            terminal.read_until(whole)
            terminal.type("\x15")
    finally:
        terminal.close()
