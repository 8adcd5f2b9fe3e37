"""The Debian package as a file: what is in it, whether its pages can be read, whether its units are strict (issue 4)."""

import os
import re
import shutil
import subprocess

import pytest

DAEMONS = ("bus", "directory", "customers", "visits", "reminders", "scoring", "gateway")
DEB = os.environ["DAYBOOK_DEB"]


def run(*words, **options):
    return subprocess.run([str(w) for w in words], check=True, text=True, capture_output=True, **options).stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    run("dpkg-deb", "--raw-extract", DEB, folder)
    return folder


def unit_of(tree, name):
    return (tree / "usr/lib/systemd/system" / name).read_text()


def test_what_is_in_it(tree):
    for name in DAEMONS:
        assert (tree / f"usr/bin/daybook-{name}").stat().st_mode & 0o777 == 0o755
        assert (tree / f"usr/share/man/man8/daybook-{name}.8.gz").exists()
    for file in ("usr/bin/daybook", "usr/sbin/daybook-setup", "usr/share/daybook/roles.sql",
                 "usr/share/daybook/proto/daybook/customers/v1/customers.proto",
                 "usr/share/daybook/prometheus/alerts.yml", "usr/share/doc/daybook/runbook.md",
                 "usr/share/doc/daybook/copyright", "usr/share/bash-completion/completions/daybook"):
        assert (tree / file).stat().st_size > 0, file
    owners = {line.split()[1] for line in run("dpkg-deb", "--contents", DEB).splitlines()}
    assert owners == {"root/root"}


def test_no_settings_file_is_overwritten_by_an_upgrade(tree):
    conffiles = (tree / "DEBIAN/conffiles").read_text().split()
    assert conffiles == [f"/{p.relative_to(tree)}" for p in sorted((tree / "etc").rglob("*")) if p.is_file()]


def test_every_library_has_its_package(tree):
    depends = re.search("^Depends: (.*)$", (tree / "DEBIAN/control").read_text(), re.M)[1]
    for library in ("libzmq5", "libpq5", "libhiredis", "libprotobuf-c1", "libsodium23", "libmicrohttpd12", "libcurl4"):
        assert library in depends


def test_settings_are_known_to_the_daemons(tree):
    known = set(re.findall(r"^ *(DAYBOOK_\w+)\b", "".join(
        run(tree / f"usr/bin/daybook-{name}", "--help-settings") for name in DAEMONS)
        + run(tree / "usr/bin/daybook", "help", "settings"), re.M))
    used = set()
    for file in (*(tree / "etc/daybook").iterdir(), tree / "usr/sbin/daybook-setup",
                 tree / "usr/lib/systemd/system/daybook@.service"):
        used |= set(re.findall(r"\bDAYBOOK_\w+", file.read_text()))
    used -= {"DAYBOOK_ETC", "DAYBOOK_SHARE"}  # of the script itself
    assert len(used) > 8
    assert used - known == set()


@pytest.mark.parametrize("page", ["man1/daybook.1", "man8/daybook-setup.8", *(f"man8/daybook-{d}.8" for d in DAEMONS)])
def test_pages_can_be_read(tree, page):
    text = subprocess.run(["zcat", tree / f"usr/share/man/{page}.gz"], check=True, capture_output=True).stdout
    done = subprocess.run(["groff", "-ww", "-man", "-Tutf8", "-P-cbou"], input=text, capture_output=True)
    assert done.returncode == 0 and not done.stderr, done.stderr.decode()
    assert "SYNOPSIS" in done.stdout.decode()


def test_scripts_have_no_fault(tree):
    for name in ("postinst", "prerm", "postrm"):
        run("sh", "-n", tree / "DEBIAN" / name)
    run("bash", "-n", tree / "usr/sbin/daybook-setup")
    assert "master.key" in run(tree / "usr/sbin/daybook-setup", "--help")
    wrong = subprocess.run([tree / "usr/sbin/daybook-setup", "--what"], capture_output=True)
    assert wrong.returncode == 64


@pytest.mark.parametrize("unit", ["daybook@.service", "daybook-migrate.service"])
def test_units_are_strict(tree, unit):
    assert "CAP" not in unit_of(tree, unit) or "CapabilityBoundingSet=\n" in unit_of(tree, unit)
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here: the exposure was not judged")
    file = tree / "usr/lib/systemd/system" / unit.replace("@", "@visits")
    if "@" in unit:
        shutil.copy(tree / "usr/lib/systemd/system" / unit, file)
    said = run("systemd-analyze", "security", "--offline=yes", "--threshold=20", file)
    level = float(re.search(r"exposure level for \S+: ([\d.]+)", said)[1])
    assert level <= 2.0


def test_a_daemon_is_stopped_later_than_it_drains(tree):
    unit = unit_of(tree, "daybook@.service")
    default = re.search(r"DRAIN_TIMEOUT \(duration, default (\d+)s\)",
                        run(tree / "usr/bin/daybook-visits", "--help-settings"))[1]
    assert int(re.search(r"TimeoutStopSec=(\d+)", unit)[1]) > int(default)
    assert "Type=notify" in unit and "WatchdogSec=" in unit
