"""deploy/compose.yaml, as docker-compose 1.29 (where there is one) and as Compose v2 read it. Run for real by
`make compose-check`."""

import json
import os
import re
import shutil
import subprocess

import pytest
import yaml

from files import DAEMONS, DEPLOY, ROOT, TOOLS, assert_known, drain_seconds, make_secrets, run

FILE = DEPLOY / "compose.yaml"
PUBLIC = {"postgres", "redis", "nginx", "prometheus", "grafana"}


@pytest.fixture(scope="module", params=["1.29", "2"])
def read(request, tmp_path_factory):
    """All of it, with all profiles; secrets in a folder of its own."""
    env = {key: value for key, value in os.environ.items() if not key.endswith("_IMAGE")}
    env["DAYBOOK_SECRETS"] = str(tmp_path_factory.mktemp("secrets"))
    if request.param == "2":
        return yaml.safe_load(run(TOOLS / "compose", FILE, env=env))
    program = shutil.which("docker-compose")
    if not program or "version 1." not in subprocess.run([program, "version"], text=True, capture_output=True).stdout:
        pytest.skip("docker-compose 1.29 is not installed")
    return yaml.safe_load(run(program, "-f", FILE, "--profile", "grafana", "--profile", "cli", "config", env=env))


@pytest.fixture(scope="module")
def services(read):
    return read["services"]


def test_all_of_daybook_is_there(services):
    assert set(services) == set(DAEMONS) | PUBLIC | {"migrate", "cli"}
    for name in DAEMONS:
        assert services[name]["command"] == [f"daybook-{name}"]
        assert "container_name" not in services[name] and not services[name].get("ports"), "it could not be scaled"


def test_each_has_the_rights_that_it_needs(services):
    for name, one in services.items():
        assert one["read_only"] and one["cap_drop"] == ["ALL"] and "cap_add" not in one, name
        assert one["security_opt"] == ["no-new-privileges:true"] and "privileged" not in one, name
        assert one["user"] not in ("", "0", "root", "0:0"), name
        assert one["mem_limit"] and one["pids_limit"] and one["logging"]["options"]["max-size"], name
        if name not in PUBLIC:
            assert one["user"] == "65532:65532" and one["tmpfs"], name


def test_images_are_of_a_version(services):
    for name, one in services.items():
        tag = one["image"].rpartition(":")[2]
        assert re.search(r"\d+\.\d+", tag), f"{name}: {one['image']}"
    version = (ROOT / "VERSION").read_text().strip()
    for name in DAEMONS + ["migrate", "cli"]:
        assert services[name]["image"] == f"daybook:{version}"


def test_daemons_have_time_to_stop(services):
    for name in DAEMONS:
        text = services[name]["stop_grace_period"]
        assert int(text.removesuffix("s")) > drain_seconds() + 5


def test_an_upgrade_replaces_the_bus_before_the_others(services):
    """"Buses first" in DECISIONS.md."""
    for name in DAEMONS:
        first = services[name]["depends_on"]
        assert first["migrate"]["condition"] == "service_completed_successfully", name
        assert set(first) == ({"migrate"} if name == "bus" else {"migrate", "bus"}), name
    assert "bus" not in services["migrate"]["depends_on"] and not services["cli"].get("depends_on")


def test_the_steps_of_an_upgrade_leave_nobody_out(services):
    """Those of up.sh, which names what it brings up."""
    text = (DEPLOY / "compose/up.sh").read_text()
    others, = re.findall(r"^ *others=\((.*)\)$", text, re.M)
    steps = ["--no-deps postgres redis\n", 'migrate "$((', "--no-deps bus\n", '"${others[@]}"\n']
    at = [text.index(step) for step in steps]
    assert at == sorted(at)
    named = {*others.split(), "postgres", "redis", "bus"}
    assert named == set(services) - {"grafana", "migrate", "cli"}


def test_only_the_proxy_is_open_to_others(read):
    assert read["networks"]["back"]["internal"] is True
    for name, one in read["services"].items():
        networks = set(one["networks"])
        if name not in ("nginx", "gateway", "reminders", "prometheus", "grafana"):
            assert networks == {"back"}, f"{name} has a way out"
        for port in one.get("ports", []):
            loopback = port.startswith("127.0.0.1:") if isinstance(port, str) else port.get("host_ip") == "127.0.0.1"
            assert loopback or name == "nginx", f"{name} is open"


def test_the_gateways_believe_their_proxy_alone(read):
    subnet = read["networks"]["front"]["ipam"]["config"][0]["subnet"]
    assert read["services"]["gateway"]["environment"]["DAYBOOK_HTTP_TRUSTED_PROXIES"] == subnet
    assert set(read["services"]["nginx"]["networks"]) == {"front"}


def test_settings_are_known(services):
    for name in DAEMONS:
        assert_known(f"daybook-{name}", services[name]["environment"])
    assert_known("daybook", [key for key in services["cli"]["environment"] if key != "DAYBOOK_LOG_LEVEL"])
    assert_known("daybook", services["migrate"]["environment"])


def test_secrets_are_files_that_are_made(read, tmp_path):
    made = make_secrets(tmp_path)
    for name, one in read["secrets"].items():
        assert (made / os.path.basename(one["file"])).stat().st_size, name
    for name in DAEMONS + ["migrate", "cli"]:
        one = read["services"][name]
        targets = {f"/run/secrets/{secret['target'].removeprefix('/run/secrets/')}" for secret in one["secrets"]}
        targets |= {volume.split(":")[1] if isinstance(volume, str) else volume["target"]
                    for volume in one.get("volumes", [])}
        asked = {value for key, value in one["environment"].items() if str(value).startswith("/run/secrets/")}
        assert asked <= targets, name
        # Each has its own key and its own role.
        own = {"cli": "operator", "migrate": None}.get(name, name)
        role = {"cli": "migrate"}.get(name, name)
        sources = {secret["source"] for secret in one["secrets"]}
        assert f"{role}_db" in sources
        assert not own or {f"{own}_key", f"{own}_public"} <= sources
        assert len([source for source in sources if source.endswith("_key") and source != "master_key"]) == bool(own)


def test_secrets_stay_as_they_are_and_are_for_their_owner(tmp_path):
    def contents():
        return {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    make_secrets(tmp_path)
    before = contents()
    assert tmp_path.stat().st_mode & 0o777 == 0o700
    make_secrets(tmp_path)
    assert contents() == before
    passwords = [line.rpartition("password=")[2] for name in DAEMONS
                 for line in (tmp_path / f"{name}.db").read_text().splitlines()]
    assert len(set(passwords)) == len(DAEMONS) and all(len(one) == 48 for one in passwords)
    for one in passwords:
        assert f"PASSWORD '{one}'" in (tmp_path / "passwords.sql").read_text()
    assert re.fullmatch("[0-9a-f]{64}", (tmp_path / "master.key").read_text())


def test_prometheus_asks_for_what_runs(services):
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    own = [job for job in config["scrape_configs"] if "dns_sd_configs" in job]
    assert {job["job_name"] for job in own} == set(DAEMONS)
    for job in own:
        assert job["dns_sd_configs"][0]["names"] == [job["job_name"]]
    assert "back" in services["prometheus"]["networks"]
    # One network in common with each, or a name would stand for two addresses of one replica.
    for name in DAEMONS:
        assert len(set(services[name]["networks"]) & set(services["prometheus"]["networks"])) == 1


def test_the_operator_adds_to_prometheus_in_a_folder_of_his_own():
    """Alertmanagers, a node_exporter, the alert of backups, which nobody here takes: absent() would page for ever."""
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    assert config["rule_files"] == ["alerts.yml", "local/alerts*.yml"]
    others = [job for job in config["scrape_configs"] if "file_sd_configs" in job]
    for one in others + config["alerting"]["alertmanagers"]:
        assert all(file.startswith("local/") for sd in one["file_sd_configs"] for file in sd["files"])
    assert "daybook_backup" not in (DEPLOY / "prometheus/alerts.yml").read_text()
    told = run("git", "check-ignore", "alertmanager.yml", "node.yml", cwd=DEPLOY / "prometheus/local")
    assert len(told.split()) == 2, "a changed tree"


def test_one_command_for_an_operator(services):
    listed = dict(word.split("=") for word in services["cli"]["environment"]["DAYBOOK_STATUS"].split())
    assert listed == {name: f"{name}:9100" for name in DAEMONS}
    assert services["cli"].get("entrypoint") == ["daybook"], json.dumps(services["cli"])
