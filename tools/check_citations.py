#!/usr/bin/env python3
"""Is all that SECURITY.md and docs/threat-model.md name there? `path` must be a file or folder of the tree, and
`path::name` a file in which that name stands.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
CITED = re.compile(r"`((?:cli|common|deploy|docs|mk|proto|services|tests|tools)/[^`\s:]*)(?:::(\w+))?`")


def main():
    faults, seen = [], 0
    for document in ("SECURITY.md", "docs/threat-model.md"):
        for path, name in CITED.findall((ROOT / document).read_text()):
            seen += 1
            file = ROOT / path
            if not file.exists():
                faults.append(f"{document}: there is no {path}")
            elif name and not re.search(rf"\b{name}\b", file.read_text()):
                faults.append(f"{document}: {path} has no {name}")
    for fault in faults:
        print(fault, file=sys.stderr)
    if not seen:
        sys.exit("no citation was found")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
