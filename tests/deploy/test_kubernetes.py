"""deploy/kubernetes: each overlay is built, held against the schemas of Kubernetes and of the Prometheus operator, judged by
kube-score, and against what we ask of ourselves."""

import base64
import os
import re
import shutil
import subprocess

import pytest
import yaml

from api_server import ApiServer
from files import BIN, DAEMONS, DEPLOY, MADE, PROMTOOL, TOOLS, assert_known, drain_seconds, make_secrets, run

HERE = DEPLOY / "kubernetes"
PROGRAMS = MADE / "venv/bin"
VERSIONS = ["1.30", "1.37"]
COMPONENT = "app.kubernetes.io/component"
# CPU has no limit: throttled, a daemon would be late, not safe. Images have a version, so one pull will do. Topology spread
# is what it would have affinities for.
UNASKED = ["--ignore-container-cpu-limit"] + [word for test in (
    "container-image-pull-policy", "deployment-has-host-podantiaffinity", "statefulset-has-host-podantiaffinity")
    for word in ("--ignore-test", test)]


@pytest.fixture(scope="module", params=["small", "large", "small with all components"])
def source(request, tmp_path_factory):
    """The folder of an overlay; of the third one, what somebody would have copied and added to."""
    folder = HERE / "overlays" / request.param.split()[0]
    if "with" in request.param:
        tree = tmp_path_factory.mktemp("kubernetes") / "kubernetes"
        shutil.copytree(HERE, tree, ignore=shutil.ignore_patterns("files"))
        folder = tree / "overlays/small"
        made = yaml.safe_load((folder / "kustomization.yaml").read_text())
        made["components"] += ["../../components/tracing", "../../components/identity"]
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(made))
    return folder


@pytest.fixture(scope="module")
def overlay(source, tmp_path_factory):
    """The file that `kubectl apply` would get."""
    made = tmp_path_factory.mktemp("overlay") / "all.yaml"
    made.write_text(run(PROGRAMS / "kubectl", "kustomize", source))
    return made


@pytest.fixture(scope="module")
def objects(overlay):
    return list(yaml.safe_load_all(overlay.read_text()))


def of_kind(objects, *kinds):
    return [one for one in objects if one["kind"] in kinds]


def named(objects, kind, name):
    one, = [one for one in of_kind(objects, kind) if one["metadata"]["name"] == name]
    return one


def daemons(objects):
    return [one for one in of_kind(objects, "Deployment", "StatefulSet") if one["metadata"]["name"] != "cli"]


def pods(objects):
    return [(one["metadata"]["name"], one["spec"]["template"]) for one in of_kind(objects, "Deployment", "StatefulSet", "Job")]


def containers(objects):
    return [(name, one) for name, pod in pods(objects)
            for one in pod["spec"].get("initContainers", []) + pod["spec"]["containers"]]


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_would_take_it(overlay, version):
    told = subprocess.run([PROGRAMS / "kubernetes-validate", "--strict", "--kubernetes-version", version, overlay], text=True,
                          capture_output=True)
    assert told.returncode == 0, told.stdout + told.stderr
    unknown = [line for line in (told.stdout + told.stderr).splitlines() if "Couldn't find schema" in line]
    assert all(" monitoring.coreos.com/v1 " in line for line in unknown), unknown


def test_the_prometheus_operator_would_take_it(overlay, objects):
    with overlay.open() as text:
        found = int(run(TOOLS / "operator", stdin=text))
    assert found == len([one for one in objects if one["apiVersion"].startswith("monitoring.coreos.com/")])


def test_kube_score_has_nothing_to_say(overlay):
    told = subprocess.run([TOOLS / "kube-score", "score", "--output-format", "ci", *UNASKED, overlay], text=True,
                          capture_output=True)
    bad = [line for line in told.stdout.splitlines() if line.startswith(("[CRITICAL]", "[WARNING]"))]
    assert "[OK]" in told.stdout and not bad, "\n".join(bad)


def test_all_daemons_are_there_twice(objects):
    assert {one["metadata"]["name"] for one in daemons(objects)} == set(DAEMONS)
    for one in daemons(objects):
        name = one["metadata"]["name"]
        least = [scaler["spec"]["minReplicas"] for scaler in of_kind(objects, "HorizontalPodAutoscaler")
                 if scaler["spec"]["scaleTargetRef"]["name"] == name]
        assert (least or [one["spec"]["replicas"]])[0] >= 2, name
        assert not (least and "replicas" in one["spec"]), f"{name}: each apply would undo the scaler"
        assert one["spec"]["template"]["spec"]["containers"][0]["command"] == [f"daybook-{name}"]


def test_each_may_be_moved_but_not_all_at_once(objects):
    for one in daemons(objects):
        name = one["metadata"]["name"]
        budget = named(objects, "PodDisruptionBudget", name)["spec"]
        assert budget["minAvailable"] == 1 and budget["selector"] == one["spec"]["selector"]
        spread = one["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert {rule["topologyKey"] for rule in spread} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
        assert all(COMPONENT in rule["matchLabelKeys"] for rule in spread)
        if one["kind"] == "Deployment":
            assert one["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_each_has_the_rights_that_it_needs(objects):
    """As the restricted profile of the Pod Security Standards says, and a root that nobody writes to."""
    assert named(objects, "Namespace", "daybook")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for name, pod in pods(objects):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] == 65532, name
        assert spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", name
        assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
        assert all(set(volume) <= {"name", "secret", "emptyDir", "configMap"} for volume in spec["volumes"]), name
    for name, one in containers(objects):
        context = one["securityContext"]
        assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"], name
        assert context["capabilities"] == {"drop": ["ALL"]} and not context["privileged"], name


def test_each_says_what_it_needs(objects):
    for name, one in containers(objects):
        asked, limits = one["resources"]["requests"], one["resources"]["limits"]
        assert {"cpu", "memory", "ephemeral-storage"} <= set(asked), name
        assert {"memory", "ephemeral-storage"} <= set(limits), name
        tag = one["image"].rpartition(":")[2]
        assert re.fullmatch(r"\d+\.\d+\.\d+", tag), f"{name}: {one['image']}"


def test_probes_ask_what_they_should(objects):
    for one in daemons(objects):
        daemon, = one["spec"]["template"]["spec"]["containers"]
        for probe, path in (("startupProbe", "/startupz"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
            assert daemon[probe]["httpGet"] == {"path": path, "port": "admin"}
        assert {"name": "admin", "containerPort": 9100} in daemon["ports"]
        start = daemon["startupProbe"]
        assert start["periodSeconds"] * start["failureThreshold"] >= 60
        assert one["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > drain_seconds() + 5


def environment(objects, pod):
    settings = named(objects, "ConfigMap", "daybook")["data"]
    one = pod["spec"]["containers"][0]
    own = {entry["name"]: entry.get("value") for entry in one.get("env", [])}
    return {**(settings if "envFrom" in one else {}), **own}


def test_settings_are_known(objects):
    for name, pod in pods(objects):
        program = "daybook" if name in ("migrate", "cli") else f"daybook-{name}"
        assert_known(program, environment(objects, pod))
        assert not [key for key in environment(objects, pod) if key.endswith(("_PORT", "_HOST"))]


def test_each_bus_has_a_name_and_an_address_that_stay(objects):
    bus = named(objects, "StatefulSet", "bus")["spec"]
    settings = named(objects, "ConfigMap", "daybook")["data"]
    for key, port, listen in (("DAYBOOK_BUS_ENDPOINT", 5555, "DAYBOOK_BUS_LISTEN"),
                              ("DAYBOOK_BUS_EVENTS", 5556, "DAYBOOK_BUS_EVENTS_LISTEN")):
        assert settings[key] == ",".join(f"tcp://bus-{at}:{port}" for at in range(bus["replicas"]))
        assert environment(objects, bus["template"])[listen] == f"tcp://0.0.0.0:{port}"
    for at in range(bus["replicas"]):
        service = named(objects, "Service", f"bus-{at}")["spec"]
        assert service["selector"]["statefulset.kubernetes.io/pod-name"] == f"bus-{at}"
        assert service.get("clusterIP") != "None" and service["publishNotReadyAddresses"] is True
        assert [one["port"] for one in service["ports"]] == [5555, 5556, 9100]


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    """Those of deploy/kubernetes/secrets, of files as its head says: name -> keys."""
    folder = tmp_path_factory.mktemp("secrets")
    shutil.copy(HERE / "secrets/kustomization.yaml", folder)
    (folder / "files").mkdir()
    make_secrets(folder / "files")
    made = list(yaml.safe_load_all(run(PROGRAMS / "kubectl", "kustomize", folder)))
    assert all(one["kind"] == "Secret" and one["metadata"]["namespace"] == "daybook" for one in made)
    return {one["metadata"]["name"]: {key: base64.b64decode(value).decode() for key, value in one["data"].items()}
            for one in made}


def test_each_secret_is_where_it_is_looked_for(objects, secrets):
    for name, pod in pods(objects):
        mounts = {one["name"]: one["mountPath"] for one in pod["spec"]["containers"][0]["volumeMounts"]}
        there = {mounts[one["name"]] for one in pod["spec"]["volumes"]}
        for volume in pod["spec"]["volumes"]:
            there |= {f"{mounts[volume['name']]}/{key}" for key in secrets[volume["secret"]["secretName"]]}
        asked = {value for value in environment(objects, pod).values() if value and value.startswith("/run/secrets/")}
        assert asked <= there, f"{name}: {asked - there}"


def test_each_daemon_has_its_own(secrets):
    for name in DAEMONS:
        assert f"user=daybook_{name} " in secrets[f"daybook-{name}"]["db"]
        assert secrets["daybook-admitted"][f"{name}.pub"].startswith(secrets[f"daybook-{name}"]["bus.z85"].strip())
    assert secrets["daybook-shared"]["server.z85"] == secrets["daybook-bus"]["bus.z85"]
    assert len({secrets[f"daybook-{name}"]["bus.key"] for name in [*DAEMONS, "operator"]}) == len(DAEMONS) + 1


def test_one_command_for_an_operator(objects, secrets, tmp_path):
    """As in compose.yaml; a pod that stays, since nothing in the image could wait for somebody's exec but `top`."""
    assert "user=daybook_owner " in secrets["daybook-operator"]["db"]
    assert secrets["daybook-admitted"]["operator.pub"].startswith(secrets["daybook-operator"]["bus.z85"].strip())
    cli = named(objects, "Deployment", "cli")["spec"]
    one, = cli["template"]["spec"]["containers"]
    assert cli["replicas"] == 1 and one["command"][:2] == ["daybook", "top"] and "--count" not in one["command"]
    settings = environment(objects, cli["template"])
    # Rebuild runs a daemon's program with the same settings.
    common = named(objects, "ConfigMap", "daybook")["data"]
    files = {f"/run/secrets/{folder}/{key}": text for folder, secret in (("own", "daybook-operator"), ("shared", "daybook-shared"))
             for key, text in secrets[secret].items()}
    given = {key: str(tmp_path / value.lstrip("/")) if value in files else value or common[key] for key, value in settings.items()}
    for path, text in files.items():
        (tmp_path / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path.lstrip("/")).write_text(text)
    for name in ("customers", "visits", "reminders", "scoring"):
        run(BIN / f"daybook-{name}", "--check-config", env=given)
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["cli"]["environment"]
    assert set(yaml.safe_load((DEPLOY / "compose.yaml").read_text())["x-settings"]) | set(compose) \
        <= set(settings) | {"<<", "DAYBOOK_LOG_LEVEL", "DAYBOOK_TENANT"}
    bus = named(objects, "StatefulSet", "bus")["spec"]["replicas"]
    listed = dict(word.split("=") for word in settings["DAYBOOK_STATUS"].split())
    assert set(listed) == {f"bus-{at}" for at in range(bus)} | set(DAEMONS) - {"bus"}
    for name, address in listed.items():
        service, _, port = address.partition(":")
        found = named(objects, "Service", service)["spec"]
        assert found["selector"][COMPONENT] == name.partition("-")[0]
        assert {"name": "admin", "port": int(port), "targetPort": "admin"} in found["ports"]
        # Also what is not ready is asked why; and one replica each time, or rates would be of two.
        assert found["publishNotReadyAddresses"] is True
        assert name.startswith("bus-") or found["sessionAffinity"] == "ClientIP"
    text = (DEPLOY / "README.md").read_text()
    assert "kubectl -n daybook exec deploy/cli -- daybook status" in text


def test_no_secret_is_in_git():
    tracked = run("git", "ls-files", HERE, cwd=DEPLOY).splitlines()
    assert not [path for path in tracked if "/files/" in path or path.endswith((".key", ".db", ".pem"))]
    for path in HERE.rglob("*.yaml"):
        assert "files" in path.parts or "kind: Secret\n" not in path.read_text(), path


def lets(objects, direction, component):
    """(from or to, ports) of each policy that is for that component."""
    found = []
    for policy in of_kind(objects, "NetworkPolicy"):
        selector = policy["spec"]["podSelector"]
        if selector.get("matchLabels", {}).get(COMPONENT, component) != component:
            continue
        ok = True
        for rule in selector.get("matchExpressions", []):
            assert rule["key"] == COMPONENT
            ok = ok and (component in rule["values"]) == (rule["operator"] == "In")
        for rule in policy["spec"].get(direction, []) if ok else []:
            found.append((rule.get("from" if direction == "ingress" else "to"), {port["port"] for port in rule["ports"]}))
    return found


def test_nothing_is_let_through_but_what_is_needed(objects):
    nothing = named(objects, "NetworkPolicy", "nothing")["spec"]
    assert nothing == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    traced = "OTEL_EXPORTER_OTLP_ENDPOINT" in named(objects, "ConfigMap", "daybook")["data"]
    for name in DAEMONS + ["migrate", "cli"]:
        ports = set().union(*(ports for _, ports in lets(objects, "egress", name)))
        wanted = {53, 5432} | (set() if name == "migrate" else {5555, 5556})
        wanted |= {6379} if name == "reminders" else set()
        wanted |= {443} if name in ("gateway", "reminders") else set()
        wanted |= {9100} if name == "cli" else {4318} if traced and name != "migrate" else set()
        wanted |= {8080, 8443} if name == "gateway" and traced else set()
        assert ports == wanted, name
        inside = set().union(*(ports for _, ports in lets(objects, "ingress", name)))
        assert inside == {9100} | ({5555, 5556} if name == "bus" else {8080} if name == "gateway" else set()), name
        assert all(peers for peers, _ in lets(objects, "ingress", name)), f"{name} is open to all"
        admin = [peer for peers, ports in lets(objects, "ingress", name) if ports == {9100} for peer in peers]
        assert [peer.get("podSelector", {}).get("matchLabels", {}).get(COMPONENT) for peer in admin].count("cli") == 1
    outside, = [peers for peers, ports in lets(objects, "egress", "gateway") if ports == {443}]
    assert {"10.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16", "172.16.0.0/12"} <= set(outside[0]["ipBlock"]["except"])


def test_migrations_end_where_another_try_would_not_help(objects):
    job = named(objects, "Job", "migrate")["spec"]
    assert job["template"]["spec"]["containers"][0]["command"] == ["daybook", "migrate"]
    assert job["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [64, 70, 78]


def references(pod):
    """(kind, name) of what a pod needs to start, but for Secrets, which are applied by themselves."""
    spec = pod["spec"]
    found = {("ServiceAccount", spec["serviceAccountName"])}
    for one in spec["containers"]:
        found |= {("ConfigMap", source["configMapRef"]["name"]) for source in one.get("envFrom", [])}
        found |= {("ConfigMap", entry["valueFrom"]["configMapKeyRef"]["name"]) for entry in one.get("env", [])
                  if "configMapKeyRef" in entry.get("valueFrom", {})}
    return found


def test_an_upgrade_begins_with_the_buses(source, objects, tmp_path):
    """"Buses first" in DECISIONS.md: the selectors of deploy/README.md, as kubectl understands them."""
    text = (DEPLOY / "README.md").read_text()
    others, = re.findall(r"^others='(.*)'$", text, re.M)
    steps = ["-l \"$component notin ($others,bus)\"", "wait --for=condition=complete job/migrate --timeout=10m\nkubectl apply -k $O",
             "-l \"$component=bus\"", "rollout status statefulset/bus", "-l \"$component in ($others)\""]
    at = [text.index(step) for step in steps]
    assert f"component={COMPONENT}\n" in text and at == sorted(at)
    assert set(others.split(",")) == {one["metadata"]["labels"][COMPONENT] for one in of_kind(objects, "Deployment")}
    everything = {(one["kind"], one["metadata"]["name"]) for one in objects}
    with ApiServer(objects) as server:
        first = server.applied(PROGRAMS / "kubectl", source, f"{COMPONENT} notin ({others},bus)", tmp_path)
        buses = server.applied(PROGRAMS / "kubectl", source, f"{COMPONENT}=bus", tmp_path)
        rest = server.applied(PROGRAMS / "kubectl", source, f"{COMPONENT} in ({others})", tmp_path)
    assert first | buses | rest == everything and len(first) + len(buses) + len(rest) == len(everything)
    assert not [one for one in first | buses if one[0] in ("Deployment", "Ingress", "HorizontalPodAutoscaler")]
    assert {("Job", "migrate"), ("Namespace", "daybook")} <= first
    assert {("StatefulSet", "bus"), ("PodDisruptionBudget", "bus"), ("Service", "bus"), ("Service", "bus-0"),
            ("Service", "bus-1")} <= buses
    assert {one for one in everything if one[0] == "NetworkPolicy"} <= first | buses
    assert references(named(objects, "Job", "migrate")["spec"]["template"]) <= first
    assert references(named(objects, "StatefulSet", "bus")["spec"]["template"]) <= first | buses


def test_scalers_look_at_cpu_and_at_what_waits(objects):
    scalers = of_kind(objects, "HorizontalPodAutoscaler")
    # All that may have more replicas; the buses are known by name.
    assert not scalers or {one["metadata"]["name"] for one in scalers} == set(DAEMONS) - {"bus"}
    for scaler in scalers:
        name = scaler["metadata"]["name"]
        resource, external = scaler["spec"]["metrics"]
        assert resource["resource"]["name"] == "cpu"
        assert external["external"]["metric"]["selector"]["matchLabels"] == {"component": name}
    if scalers:
        rule = named(objects, "PrometheusRule", "daybook-queue-depth")["spec"]["groups"][0]["rules"][0]
        assert rule["record"] == scalers[0]["spec"]["metrics"][1]["external"]["metric"]["name"]


def test_the_alerts_are_those_of_prometheus(tmp_path):
    text = (HERE / "components/monitoring/rules.yaml").read_text()
    assert text == run(HERE / "rules.sh"), "make kubernetes-rules"
    alerts = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())
    assert yaml.safe_load(text)["spec"] == alerts
    backup = yaml.safe_load((DEPLOY / "prometheus/alerts-backup.yml").read_text())
    assert yaml.safe_load(run(HERE / "rules.sh", "backup"))["spec"] == backup
    monitor = yaml.safe_load((HERE / "components/monitoring/podmonitor.yaml").read_text())
    assert monitor["spec"]["jobLabel"] == COMPONENT, "alerts go by job"


def test_what_waits_is_counted_by_daemon(tmp_path):
    rule = yaml.safe_load((HERE / "components/queue-depth/rule.yaml").read_text())["spec"]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rule))
    series = 'daybook_bus_queue_depth{namespace="daybook",pod="bus-%d",service="daybook.%s"}'
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "tests": [{
        "interval": "15s",
        "input_series": [{"series": series % (0, "visits.v1.VisitService"), "values": "3 3"},
                         {"series": series % (1, "visits.v1.CommitmentService"), "values": "4 4"},
                         {"series": series % (0, "customers.v1.DealService"), "values": "5 5"}],
        "promql_expr_test": [{"expr": "daybook_queue_depth", "eval_time": "15s", "exp_samples": [
            {"labels": 'daybook_queue_depth{namespace="daybook",component="visits"}', "value": 7},
            {"labels": 'daybook_queue_depth{namespace="daybook",component="customers"}', "value": 5}]}]}]}))
    run(PROMTOOL, "test", "rules", tmp_path / "test.yml", env=dict(os.environ, HOME=str(tmp_path)))
