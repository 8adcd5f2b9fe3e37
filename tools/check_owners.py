#!/usr/bin/env python3
"""Do the tables of ARCHITECTURE.md tell what the code says?

Tables of the database are those that the migrations make; an event's emitter is the service whose
sources fill in its message, or `each` when common/ does it for all; its listeners are the services whose
reactions or rules name it. Who hears all events whatever they are (the directory's audit trail, the
gateway's webhooks) stands in the text and not in the table. One line for each difference, and status 1
when there is any.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
SERVICES = sorted(p.parent.name for p in (ROOT / "services").glob("*/main.c"))


def read(*patterns):
    return "\n".join(p.read_text(encoding="utf-8") for g in patterns for p in sorted(ROOT.glob(g)))


def made_tables():
    """schema.table or schema_api.view -> service; `*.table` for those that common/ gives to each."""
    tables = {}
    for service in SERVICES:
        sql = read(f"services/{service}/migrations/*.sql").replace("${schema}", service)
        for name in re.findall(r"CREATE (?:TABLE|VIEW) (?:IF NOT EXISTS )?(\w+\.\w+)", sql):
            tables[name] = service
    for name in re.findall(r"CREATE TABLE \$\{schema\}\.(\w+)", read("common/migrations/*.sql")):
        tables[f"*.{name}"] = "each"
    return tables


def declared_events():
    for file in sorted(ROOT.glob("proto/daybook/*/v1/events.proto")):
        area = file.parts[-3]
        for name in re.findall(r"^message (\w+)", file.read_text(encoding="utf-8"), re.M):
            yield f"daybook.{area}.v1.{name}"


def named_events(source):
    """Events named in strings, also with the package in a macro: VISITS "VisitEnded"."""
    macros = dict(re.findall(r'^#define (\w+) "(daybook\.\w+\.v1\.)"', source, re.M))
    found = set(re.findall(r'"(daybook\.\w+\.v1\.[A-Z]\w+)"', source))
    for macro, package in macros.items():
        found.update(package + name for name in re.findall(rf'\b{macro} "(\w+)"', source))
    return found


def descriptor_init(area, symbol):
    """What makes an empty message: for code of common/, which fills them in by pointer."""
    return f"daybook__{area}__v1__{symbol.lower()}__init("


def coded_events():
    """event -> (emitters, listeners)"""
    events = {name: (set(), set()) for name in declared_events()}
    common = read("common/*.c")
    for service in SERVICES:
        source = read(*(f"services/{service}/{file}" for file in ("*.c", "*.h", "*/*.c", "*/*.h")))
        heard = named_events(read(f"services/{service}/reactions.c")) | named_events(
            read(f"services/{service}/rules.c"))
        for name, (emitters, listeners) in events.items():
            _, area, _, message = name.split(".")
            symbol = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", message)
            init = f"DAYBOOK__{area.upper()}__V1__{symbol.upper()}__INIT"
            descriptor = f"daybook__{area}__v1__{symbol.lower()}__descriptor"
            if service == area and (init in source or descriptor in source or f"EVENT({message}," in source):
                emitters.add(service)
            if name in heard:
                listeners.add(service)
            if descriptor_init(area, symbol) in common:
                emitters.clear()
                emitters.add("each")
    return events


def told(heading):
    """Rows of the first table below a heading, cells without backquotes."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows, begun = [], False
    for line in text.split(f"\n## {heading}\n", 1)[1].splitlines():
        if line.startswith("|"):
            rows.append([c.strip().replace("`", "") for c in line.strip("|").split("|")])
            begun = True
        elif begun:
            break
    return rows[2:]


def names(cell):
    return {n for n in re.split(r"[,\s]+", cell) if n and n != "–"}


def main():
    faults = []
    tables = made_tables()
    documented = {f"{row[0]}.{table}": row[1] for row in told("Who owns which table") for table in names(row[2])}
    for name in sorted(tables.keys() | documented.keys()):
        if tables.get(name) != documented.get(name):
            faults.append(f"table {name}: migrations say {tables.get(name)}, the document {documented.get(name)}")
    events = coded_events()
    documented = {event: (names(row[1]), names(row[2]))
                  for row in told("Who emits and who hears which event") for event in names(row[0])}
    for name in sorted(events):
        short = name.rsplit(".", 1)[1]
        if not events[name][0]:
            faults.append(f"event {short}: nobody emits it")
        if documented.pop(short, None) != events[name]:
            faults.append(f"event {short}: the code has emitters and listeners {events[name]}, the document others")
    faults += [f"event {short}: only the document knows it" for short in documented]
    for fault in faults:
        print(f"ARCHITECTURE.md: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
