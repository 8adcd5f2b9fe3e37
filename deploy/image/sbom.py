#!/usr/bin/env python3
"""A CycloneDX 1.5 bill of materials of an image: Daybook and the Debian packages whose libraries are in it, by dpkg.

    sbom.py PACKAGE... > daybook.cdx.json
"""

import json
import pathlib
import subprocess
import sys


def package(name):
    fields = "${Package}\n${Version}\n${Architecture}\n${source:Package}\n${source:Version}\n${Homepage}"
    told = subprocess.run(["dpkg-query", "--show", f"--showformat={fields}", name], check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    name, version, arch, source, source_version, home = told.split("\n")
    purl = f"pkg:deb/debian/{name}@{version}?arch={arch}"
    made = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl,
            "supplier": {"name": "Debian"}, "properties": [
                {"name": "debian:source", "value": f"{source} {source_version}"}]}
    if home:
        made["externalReferences"] = [{"type": "website", "url": home}]
    return made


def main():
    version = pathlib.Path("VERSION").read_text().strip() if pathlib.Path("VERSION").exists() else "dev"
    libraries = [package(name) for name in sorted(set(sys.argv[1:]))]
    root = {"type": "application", "bom-ref": "daybook", "name": "daybook", "version": version}
    json.dump({"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "metadata": {"component": root},
               "components": libraries,
               "dependencies": [{"ref": "daybook", "dependsOn": [c["bom-ref"] for c in libraries]}]},
              sys.stdout, indent=1, sort_keys=True)
    print()


if __name__ == "__main__":
    main()
