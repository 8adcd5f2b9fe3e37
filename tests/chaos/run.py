"""One chaos run: a load with a ledger, faults by a seed, and a judgement. Prints a timeline and figures, writes
build/chaos/report.{json,md}, and ends with 1 when anything that must hold does not.

CHAOS_SEED, CHAOS_SECONDS (60), CHAOS_FAULTS (names of faults.py parted by commas; all but messages, which is only done
by name; none: nothing but the load, and that no daemon's memory grows), CHAOS_REPLICAS (1, or 2 of each daemon, buses
too), CHAOS_RATE (commands a second that are offered, 120), CHAOS_COMPANIES (2), CHAOS_REPORT (folder of the report),
CHAOS_KEEP_LOGS (1: logs and ledger of a good run too).
"""

import collections
import contextlib
import json
import os
import pathlib
import random
import shutil
import statistics
import sys
import tempfile
import time
import traceback

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "acceptance"), str(TESTS / "support")]
import contract  # noqa: E402

contract.load()
import tamper  # noqa: E402
from chaos import Chaos  # noqa: E402
from faults import FAULTS  # noqa: E402
from under_load import Seen  # noqa: E402

SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(1 << 31))
SECONDS = float(os.environ.get("CHAOS_SECONDS") or 60)
NAMES = [n for n in (os.environ.get("CHAOS_FAULTS") or "").split(",") if n]
RATE = float(os.environ.get("CHAOS_RATE") or 120)
REPLICAS = int(os.environ.get("CHAOS_REPLICAS") or 1)
COMPANIES = int(os.environ.get("CHAOS_COMPANIES") or 2)
REPORT = pathlib.Path(os.environ.get("CHAOS_REPORT") or TESTS.parent / "build/chaos")
THREADS = 12  # of a company


def chosen():
    """Faults of this run, and those that the machine has not what they need for."""
    if NAMES == ["none"]:
        return [], []
    unknown = [n for n in NAMES if n not in FAULTS]
    if unknown:
        sys.exit(f"no such fault: {', '.join(unknown)}; there are {', '.join(FAULTS)}")
    if any(FAULTS[n].replicas > REPLICAS for n in NAMES):
        sys.exit("some of these faults need CHAOS_REPLICAS=2")
    wanted = [FAULTS[n] for n in NAMES] or [
        f for f in FAULTS.values() if f.replicas <= REPLICAS and not f.middle]
    possible = [f for f in wanted if not f.needs or f.needs()]
    return possible, [f.name for f in wanted if f not in possible]


class Deck:
    """Faults in random order, each as often as its weight; then anew. Every fourth one has one of the network
    in its midst."""

    def __init__(self, faults, rng):
        self.rng, self.faults, self.left = rng, faults, []
        self.net = [f for f in faults if f.name.startswith("net_")]

    def draw(self):
        if not self.left:
            self.left = [f for f in self.faults for _ in range(f.weight)]
            self.rng.shuffle(self.left)
        fault = self.left.pop()
        beside = fault not in self.net and self.net and self.rng.random() < 0.25
        return fault, self.rng.choice(self.net) if beside else None


def soak(chaos):
    while time.monotonic() - chaos.load_began < SECONDS:
        time.sleep(5)  # between two looks
        chaos.at_random()
        chaos.look_at_memory()


def do_faults(chaos, faults):
    deck = Deck(faults, chaos.rng)
    while time.monotonic() - chaos.load_began < SECONDS:
        chaos.at_random()
        entry = chaos.do(*deck.draw())
        chaos.look_at_memory()
        say(timeline_line(entry))


def timeline_line(entry):
    beside = f", with {entry['beside']}" if "beside" in entry else ""
    return (f"{entry['at']:8.2f} s  {entry['fault']:20} {str(entry.get('what', '?')) + beside:58} "
            f"{entry.get('seconds', 0):6.2f} s, works after {entry.get('recovery', float('nan')):.2f} s "
            f"{' '.join(entry.get('last', []))}{seen_line(entry) if 'failed' in entry else ''}")


def seen_line(entry):
    return (f"; {sum(entry['failed'].values())} tries failed, "
            f"{entry['longest_gap_s']:.2f} s without an acknowledged command")


def say(text):
    print(text, flush=True)


# --- the judgement --------------------------------------------------------------------------------------


def judge(chaos, soaked):
    """[{name, ok, looked_at, detail}]: what is looked at in the order in which it makes sense."""
    checks = []
    with check(checks, "the load ends and everything comes to rest"):
        chaos.stop_load()
        chaos.settle()
    judge = chaos.judge()
    for name, look in (
            ("every fault is got over, no daemon ends by itself", chaos.check_broken),
            ("nothing acknowledged is missing, nothing is done twice", judge.check_nothing_missing_nothing_twice),
            ("rows and events tell the same", judge.check_events_complete),
            ("the log is contiguous, each aggregate in order", judge.check_log),
            ("consumers are at the head and parked nothing for good",
             lambda: judge.check_consumers(set_aside=chaos.disk is not None)),  # what a full disk has no room for, waits
            ("timers fired exactly once", judge.check_timers),
            ("daily lists equal the database", judge.check_lists),
            ("webhooks came, none missing, in order of each key", chaos.check_webhooks),
            ("audit chains are intact", chaos.check_audit),
            ("read models equal a rebuild", judge.check_rebuilds),
            ("all daemons are ready", chaos.check_ready),
            ("no sanitizer has anything to say", chaos.check_logs),
            ("no daemon takes more memory than it may", chaos.check_memory),
            *([("no daemon's memory grows", chaos.check_growth)] if soaked else [])):
        with check(checks, name) as entry:
            entry["looked_at"] = look()
    return checks


@contextlib.contextmanager
def check(checks, name):
    entry = {"name": name, "ok": False, "looked_at": None, "detail": ""}
    checks.append(entry)
    try:
        yield entry
        entry["ok"] = True
    except Exception as failure:  # whatever it is, the others are looked at too
        entry["detail"] = str(failure)[:4000] or traceback.format_exc()
    say(f"{'ok' if entry['ok'] else 'BROKEN':6} {name}" + (f": {entry['detail'][:600]}" if entry["detail"] else ""))


# --- figures --------------------------------------------------------------------------------------------


def figures(chaos, skipped):
    kinds = collections.Counter(e["kind"] for e in chaos.entries())
    tries = [e["tries"] for e in chaos.entries() if "tries" in e]
    bad = ("refused", "unknown", "differs")
    acknowledged = sum(n for kind, n in kinds.items() if kind not in bad)
    recovery = sorted(e["recovery"] for e in chaos.timeline if "recovery" in e)
    return {"seed": chaos.seed, "replicas": chaos.replicas, "seconds": round(chaos.loaded_s, 1),
            "commands_sent": sum(tries), "commands_acknowledged": acknowledged, **{f"commands_{kind}": kinds[kind] for kind in bad},
            "replayed": sum(1 for e in chaos.entries() if e.get("replayed")), "by_kind": dict(sorted(kinds.items())),
            "faults": len(chaos.timeline), "faults_by_class": dict(sorted(collections.Counter(
                e["fault"] for e in chaos.timeline).items())),
            "faults_beside": sum("beside" in e for e in chaos.timeline), "not_possible_here": skipped,
            "recovery_p50_s": round(statistics.median(recovery), 2) if recovery else None,
            "recovery_max_s": recovery[-1] if recovery else None, "seen_by_clients": seen_by_clients(chaos),
            "memory": memory(chaos), "messages": dict(chaos.middle.counts) if chaos.middle else {},
            "carried_bytes": {name: link.carried for name, link in chaos.proxy.links.items()}}


def seen_by_clients(chaos):
    """By class of fault, apart for those that spared one of each kind: how often, the longest time without an
    acknowledged command, and the tries that came to nothing, from the fault's begin until everything worked again."""
    spans, told = [(e["began"], e["ended"]) for e in chaos.timeline], {}
    for entry, (gap, _, failed) in zip(chaos.timeline, Seen(chaos.entries()).during(spans)):
        one = told.setdefault(entry["fault"], {}).setdefault("one of two" if entry["one_of_two"] else "all", {
            "times": 0, "longest_gap_s": 0, "failed": collections.Counter()})
        one["times"] += 1
        one["longest_gap_s"] = max(one["longest_gap_s"], round(gap, 2))
        one["failed"] += failed
        entry["longest_gap_s"], entry["failed"] = round(gap, 2), failed
    return told


def memory(chaos):
    """Of each daemon: the most it took, and of the process that lived longest how it grew after its first minute."""
    told = {}
    for name in chaos.stack.daemons:
        samples = chaos.memory[name]
        lives = collections.defaultdict(list)
        for pid, at, size in samples:
            lives[pid].append((at, size))
        longest = max(lives.values(), key=lambda life: life[-1][0] - life[0][0], default=[])
        grown = [(at, size) for at, size in longest if at > longest[0][0] + 60]
        told[name] = {"most_mib": round(max((s for _, _, s in samples), default=0) / (1 << 20), 1),
                      "grew_mib": round((grown[-1][1] - grown[0][1]) / (1 << 20), 1) if len(grown) > 1 else None,
                      "in_minutes": round((grown[-1][0] - grown[0][0]) / 60, 1) if len(grown) > 1 else None}
    return told


def markdown(report):
    f = report["figures"]
    lines = ["# Chaos run", "", f"Seed {f['seed']}, {f['seconds']} s under faults, commit {report['commit']}.", "",
             "| figure | |", "| --- | --- |"]
    lines += [f"| {key.replace('_', ' ')} | {value} |" for key, value in f.items()
              if not isinstance(value, (dict, list))]
    lines += ["", "| must hold | | looked at |", "| --- | --- | --- |"]
    lines += [f"| {c['name']} | {'yes' if c['ok'] else '**NO** ' + c['detail'][:300].replace(chr(10), ' ')} | "
              f"{c['looked_at']} |" for c in report["checks"]]
    lines += ["", "| the judge finds | |", "| --- | --- |"]
    lines += [f"| {m['name']} | {'yes' if m['found'] else '**NO**'} |" for m in report["tampering"]]
    lines += ["", "| fault | times | works after: median, worst |", "| --- | --- | --- |"]
    for name, count in f["faults_by_class"].items():
        took = [e["recovery"] for e in report["timeline"] if e["fault"] == name and "recovery" in e]
        lines.append(f"| {name} | {count} | " + (f"{statistics.median(took):.2f} s, {max(took):.2f} s |" if took else "|"))
    lines += seen_table(f["seen_by_clients"])
    lines += ["", "```", *map(timeline_line, report["timeline"]), "```", ""]
    return "\n".join(lines)


def seen_table(seen):
    """What clients saw; of faults that spared one of each kind there should be little."""
    lines = ["", "| fault | of | times | longest time without an acknowledged command | tries refused | unknown | |",
             "| --- | --- | --- | --- | --- | --- | --- |"]
    for name, of in sorted(seen.items()):
        for which, one in sorted(of.items(), reverse=True):
            unknown = Seen.unknown(one["failed"])
            why = ", ".join(f"{n} {why}" for why, n in one["failed"].most_common(4))
            lines.append(f"| {name} | {which} | {one['times']} | {one['longest_gap_s']:.2f} s |"
                         f" {one['failed'].total() - unknown} | {unknown} | {why} |")
    return lines


def write(report):
    REPORT.mkdir(parents=True, exist_ok=True)
    (REPORT / "report.json").write_text(json.dumps(report, indent=1))
    (REPORT / "report.md").write_text(markdown(report))


def commit():
    binary = pathlib.Path(os.environ["DAYBOOK_BIN"]) / "daybook"
    return os.popen(f"'{binary}' version").read().strip()  # a path of our own build


def main():
    faults, skipped = chosen()
    names = {f.name for f in faults}
    folder = pathlib.Path(tempfile.mkdtemp(prefix="daybook-chaos-"))
    chaos = Chaos(folder, SEED, RATE, soon=10 if SECONDS < 300 else 40, companies=COMPANIES, threads=THREADS,
                  replicas=REPLICAS, disk=bool(names & {"disk_data", "disk_wal"}), clock="clock_step" in names,
                  middle=any(f.middle for f in faults))
    say(f"seed {SEED}, {SECONDS:.0f} s, {REPLICAS} of each daemon, {len(faults)} kinds of faults" +
        (f"; not possible here: {', '.join(skipped)}" if skipped else ""))
    good = False
    try:
        chaos.up()
        chaos.start_load()
        do_faults(chaos, faults) if faults else soak(chaos)
        checks = judge(chaos, soaked=not faults)
        report = {"figures": figures(chaos, skipped), "commit": commit(), "checks": checks, "tampering": [],
                  "timeline": chaos.timeline}
        write(report)
        say(json.dumps({k: v for k, v in report["figures"].items() if k != "carried_bytes"}, indent=1))
        good = all(c["ok"] for c in checks)
        if good:
            good = False  # until the judge has proved that it would have seen it
            report["tampering"] = tamper.all(chaos, say)
            write(report)
            good = all(t["found"] for t in report["tampering"])
        say(f"{'all that must hold holds' if good else 'BROKEN'}: seed {SEED}, report in {REPORT}")
    finally:
        if not good or os.environ.get("CHAOS_KEEP_LOGS") == "1":
            shutil.copytree(folder / "stack/log", REPORT / "log", dirs_exist_ok=True)
            shutil.copytree(folder / "ledger", REPORT / "ledger", dirs_exist_ok=True)
        chaos.remove()
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
