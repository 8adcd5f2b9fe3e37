"""Medians of interleaved runs, and the one table that they make."""

import json
import statistics


def interleave(runs, variants):
    """Runs each variant in turn, `runs` times; {variant: [result, ...]}."""
    got = {name: [] for name in variants}
    for _ in range(runs):
        for name, measure in variants.items():
            got[name].append(measure())
    return got


def median(results, field):
    return statistics.median(r[field] for r in results)


def number(v):
    if v is None:
        return ""
    if abs(v) >= 1000:
        return f"{v:,.0f}"
    return f"{v:.0f}" if abs(v) >= 100 else f"{v:.1f}" if abs(v) >= 10 else f"{v:.2f}"


class Table:
    def __init__(self):
        self.rows, self.raw = [], {}

    def add(self, row, what, value, unit, limit=None, limit_of="", target="", met=None):
        """limit: what was measured beside it; met: None where no target was set."""
        self.rows.append({"row": row, "what": what, "value": value, "unit": unit, "limit": limit,
                          "limit_of": limit_of, "ratio": value / limit if limit else None,
                          "target": target, "met": met})

    def keep(self, row, results):
        """The single runs, for the file."""
        self.raw.setdefault(row, {}).update(results)

    def show(self, about):
        head = ["", "measured", "", "unit", "limit", "limit is", "ratio", "target", ""]
        lines = [[r["row"], r["what"], number(r["value"]), r["unit"], number(r["limit"]), r["limit_of"],
                  f"{r['ratio']:.2f}" if r["ratio"] is not None else "", r["target"],
                  "" if r["met"] is None else "met" if r["met"] else "MISSED"] for r in self.rows]
        widths = [max(len(x[i]) for x in [head, *lines]) for i in range(len(head))]
        right = {2, 4, 6}
        for line in [head, ["-" * w for w in widths], *lines]:
            print("  ".join(t.rjust(w) if i in right else t.ljust(w)
                            for i, (t, w) in enumerate(zip(line, widths))).rstrip())
        print(f"\nMedians of {about['runs']} interleaved runs; {about['cpus']} CPUs shared by load, daemons and "
              f"PostgreSQL {about['postgresql']} (fsync {about['fsync']}); {about['seconds']} s"
              + ("; QUICK: short runs, rough numbers" if about["quick"] else ""))

    def write(self, path, about, faults):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"about": about, "faults": faults, "table": self.rows, "runs": self.raw},
                                   indent=1) + "\n")
