#!/usr/bin/env python3
"""Compares docs/dependencies.md with what the programs are linked with, and writes its facts.

    tools/dependencies.py PROGRAM...           exit status 1: a library that is not listed, one that is and is not
                                               there, another licence or user. Versions may differ: Debian mends.
    tools/dependencies.py --write PROGRAM...   puts package, version, source and user of each into the tables; licence
                                               and what it reads are written by hand

Which libraries a program names is read from its ELF file (NEEDED), which of them come along from the loader
(ldd); what they are, from dpkg; licences, from /usr/share/doc/PACKAGE/copyright: the one in the table must be one of
the file's licences, or, where it is not in Debian's format, stand in it word for word.
"""

import functools
import pathlib
import re
import subprocess
import sys

DOC = pathlib.Path(__file__).resolve().parents[1] / "docs/dependencies.md"
ROW = re.compile(r"^\| `(?P<package>[^`]+)` \|(?P<cells>.*)\|$")
NEEDED = re.compile(r"\(NEEDED\).*\[(.+)\]")


def told(*command, check=True):
    return subprocess.run(command, check=check, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


@functools.cache
def package_of(path):
    """dpkg may know /usr/lib/... by the name that it has by the link /lib."""
    real = str(pathlib.Path(path).resolve())
    for name in (real, real.removeprefix("/usr"), "/usr" + real):
        found = told("dpkg-query", "--search", name, check=False)
        if found:
            return found.split(":")[0]
    sys.exit(f"{path}: of no package")


def libraries(program):
    """Packages of what the program names, and of what the loader brings along."""
    named = set(NEEDED.findall(told("readelf", "--wide", "--dynamic", program)))
    direct, along = set(), set()
    for line in told("ldd", program).splitlines():
        words = line.split()
        path = words[2] if "=>" in words else words[0]
        if path.startswith("/"):
            (direct if words[0] in named else along).add(package_of(path))
    return direct, along


def facts(programs):
    """package -> (how it comes, which of the programs name it)"""
    direct, along = {}, set()
    for program in programs:
        named, more = libraries(program)
        along |= more
        for package in named:
            direct.setdefault(package, []).append(pathlib.Path(program).name)
    groups = {tuple(sorted(pathlib.Path(p).name for p in programs)): "all",
              tuple(sorted(n for p in programs if "-" in (n := pathlib.Path(p).name))): "the daemons"}

    def user(package):
        names = tuple(sorted(direct.get(package, [])))
        return groups.get(names) or ", ".join(names) or "along"
    return {package: user(package) for package in along | set(direct)}


def has_licence(package, licence):
    text = pathlib.Path(f"/usr/share/doc/{package}/copyright").read_text(errors="replace")
    if "Format:" in text[:400]:
        return licence in [line.strip() for line in re.findall(r"^License:(.*)$", text, re.MULTILINE)]
    return licence in re.sub(r"\s+", " ", text)


def row(package, user, licence, reads):
    version, source = told("dpkg-query", "--show", "--showformat=${Version}\t${source:Package}", package).split("\t")
    return f"| `{package}` | {version} | {source} | {user} | {licence} | {reads} |"


def main():
    write = sys.argv[1:2] == ["--write"]
    programs = sys.argv[1 + write:]
    if not programs:
        sys.exit(__doc__)
    there, lines, faults = facts(programs), [], []
    for line in DOC.read_text().splitlines():
        found = ROW.match(line)
        if found:
            package = found["package"]
            _, _, user, licence, reads = (cell.strip() for cell in found["cells"].split("|"))
            if package not in there:
                faults.append(f"{package}: listed, but nothing is linked with it")
                continue
            if not has_licence(package, licence):
                faults.append(f"{package}: its copyright file has no licence {licence!r}")
            if user != there[package] and not write:
                faults.append(f"{package}: used by {there[package]}, not by {user}")
            line = row(package, there.pop(package), licence, reads)
        lines.append(line)
    faults += [f"{package} ({user}): not listed" for package, user in sorted(there.items())]
    if write:
        DOC.write_text("\n".join(lines) + "\n")
    for fault in faults:
        print(f"docs/dependencies.md: {fault}", file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
