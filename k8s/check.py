"""Checks the manifests: their form, and that they say what the rest of the project says.

Run by check.sh. Both overlays are rendered as `kubectl apply -k` would; each object is held against the schemas of
Kubernetes, of KEDA and of the Gateway API, where an unknown field is an error; then come the promises of this project.
"""

import copy
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import yaml

import form
import one_entrance
import settings

K8S = Path(__file__).resolve().parent
ROOT = K8S.parent
# The first kubectl whose kustomize reads these files.
KUBECTL_MIN = (1, 21)
SERVICES = ("ingest-api", "list-api", "ws-fanout", "persist-worker", "stats-publisher")

# What each container gets beside the ConfigMap, and what nobody else gets.
SECRETS = {
    "ingest-api": {"REDIS_URL"},
    "ws-fanout": {"REDIS_URL"},
    "list-api": {"REDIS_URL", "DATABASE_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
    "persist-worker": {"REDIS_URL", "DATABASE_URL"},
    "stats-publisher": {"REDIS_URL", "DATABASE_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
    "migrate": {"DATABASE_URL"},
}

problems = []


def expect(holds, problem):
    if not holds:
        problems.append(problem)


def name_of(thing):
    return f"{thing['kind']} {thing['metadata']['name']}"


def find_kubectl():
    """Finds a kubectl in PATH that is new enough; gives it and its version."""
    for folder in os.get_exec_path():
        kubectl = Path(folder, "kubectl")
        if not os.access(kubectl, os.X_OK):
            continue
        said = subprocess.run([kubectl, "version", "--client", "-o", "json"], capture_output=True, text=True)
        found = re.search(r'"gitVersion": "v((\d+)\.(\d+)[^"]*)"', said.stdout)
        if found and (int(found[2]), int(found[3])) >= KUBECTL_MIN:
            return kubectl, found[1]
    return None


def render(kubectl, overlay):
    done = subprocess.run([kubectl, "kustomize", K8S / "overlays" / overlay], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"kubectl kustomize k8s/overlays/{overlay}: {done.stderr.strip()}")
    return list(yaml.safe_load_all(done.stdout))


def read_files(folder):
    files = sorted(path for path in (K8S / folder).glob("*.yaml") if path.name != "kustomization.yaml")
    return [thing for path in files for thing in yaml.safe_load_all(path.read_text())]


def read_literals(folder):
    """The ConfigMaps that kustomize would make."""
    kustomization = yaml.safe_load((K8S / folder / "kustomization.yaml").read_text())
    for generator in kustomization.get("configMapGenerator", []):
        data = dict(literal.split("=", 1) for literal in generator["literals"])
        yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"]}, "data": data}


def check_form(where, things):
    faults = [fault for fault in map(form.find_fault, things) if fault]
    problems.extend(f"{where}: {fault}" for fault in faults)
    print(f"{where}: {len(things) - len(faults)} of {len(things)} objects are well-formed")


def check_that_faults_are_found(things):
    """Puts a field that does not exist into one object of each schema: it has to be refused."""
    for kind in ("Deployment", "ScaledObject", "TriggerAuthentication", "HTTPRoute"):
        spoilt = copy.deepcopy(next(thing for thing in things if thing["kind"] == kind))
        spoilt["spec"]["unheardOf"] = "field"
        fault = form.find_fault(spoilt)
        expect(fault and "unheardOf" in fault, f"an unknown field in a {kind} is not refused")
        print(f"an unknown field is refused: {fault}")


def check_configuration(where, things):
    for thing in things:
        for name, value in thing["data"].items() if thing["kind"] == "ConfigMap" else ():
            fault = settings.find_fault(name, value)
            expect(not fault, f"{where}: {name}={value}: {fault}")


def check_secrets(where, things):
    given = {thing["metadata"]["name"]: thing for thing in things if thing["kind"] == "Secret"}
    for deployment, container in list_containers(things):
        variables = container.get("env", [])
        names = {variable["name"] for variable in variables}
        wanted = SECRETS.get(container["name"], names)
        expect(names == wanted, f"{where}: {container['name']} gets {sorted(names)}, not {sorted(wanted)}")
        sources = [list(source) for source in container.get("envFrom", [])]
        expect(sources in ([], [["configMapRef"]]), f"{where}: {container['name']} gets all of {sources}")
        for variable in variables:
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            expect(reference or container["name"] not in SECRETS, f"{where}: {variable['name']} is no secret")
            if reference and given:
                keys = given.get(reference["name"], {}).get("data", {})
                expect(reference["key"] in keys, f"{where}: {deployment}: no secret has {reference}")


def list_deployments(things):
    return [thing for thing in things if thing["kind"] == "Deployment"]


def list_containers(things):
    for deployment in list_deployments(things):
        pod = deployment["spec"]["template"]["spec"]
        for container in pod.get("initContainers", []) + pod["containers"]:
            yield deployment["metadata"]["name"], container


def check_hardening(where, things):
    for deployment in list_deployments(things):
        pod = deployment["spec"]["template"]["spec"]
        mine = f"{where}: {name_of(deployment)}"
        for field in ("enableServiceLinks", "automountServiceAccountToken"):
            expect(pod.get(field) is False, f"{mine}: {field} is not false")
        security = pod["securityContext"]
        expect(security.get("runAsNonRoot") is True and security.get("runAsUser", 0) > 0, f"{mine}: may run as root")
        expect(security.get("seccompProfile") == {"type": "RuntimeDefault"}, f"{mine}: has no seccomp profile")
    for deployment, container in list_containers(things):
        mine = f"{where}: {deployment}/{container['name']}"
        security = container["securityContext"]
        expect(security.get("allowPrivilegeEscalation") is False, f"{mine}: may escalate")
        expect(security.get("readOnlyRootFilesystem") is True, f"{mine}: may write to its root")
        expect(security.get("capabilities") == {"drop": ["ALL"]}, f"{mine}: keeps capabilities")
        resources = container["resources"]
        expect({"cpu", "memory"} <= resources["requests"].keys(), f"{mine}: requests are missing")
        expect("memory" in resources["limits"], f"{mine}: has no limit of memory")


def check_services(where, things):
    """What every service has: its objects, probes that tell live from ready, and time to leave."""
    there = {(thing["kind"], thing["metadata"]["name"]) for thing in things}
    deployments = {thing["metadata"]["name"]: thing["spec"] for thing in list_deployments(things)}
    for service in SERVICES:
        mine = f"{where}: {service}"
        for kind in ("Deployment", "Service", "ServiceAccount", "PodDisruptionBudget", "NetworkPolicy"):
            expect((kind, service) in there, f"{mine}: has no {kind}")
        spec = deployments[service]
        rolling = {"maxUnavailable": 0, "maxSurge": 1}
        expect(spec["strategy"].get("rollingUpdate") == rolling, f"{mine}: an upgrade takes pods away first")
        pod = spec["template"]["spec"]
        container = pod["containers"][0]
        for probe, path in (("startup", "/livez"), ("liveness", "/livez"), ("readiness", "/readyz")):
            asked = container[f"{probe}Probe"]["httpGet"]
            expect(asked == {"path": path, "port": "admin"}, f"{mine}: the {probe} probe asks {asked}")
        spread = {rule["topologyKey"]: rule["whenUnsatisfiable"] for rule in pod["topologySpreadConstraints"]}
        keys = ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
        expect(spread == dict.fromkeys(keys, "ScheduleAnyway"), f"{mine}: is spread by {spread}")
        slept = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        leaving = slept + int(settings.DEFAULTS["lifecycle"]["shutdown_timeout"].removesuffix("s"))
        expect(pod["terminationGracePeriodSeconds"] > leaving, f"{mine}: is killed while it leaves, {leaving} s")


def check_exposure(things):
    for thing in things:
        mine = f"production: {name_of(thing)}"
        expect(thing["kind"] not in ("Ingress", "HTTPRoute", "Gateway"), f"{mine}: leads in from outside")
        if thing["kind"] == "Service":
            expect(thing["spec"].get("type", "ClusterIP") == "ClusterIP", f"{mine}: can be reached from outside")
            expect("externalIPs" not in thing["spec"], f"{mine}: can be reached from outside")


def check_scaling(things):
    scaled = {name_of(thing): thing.get("spec") for thing in things}
    for name in ("ingest-api", "list-api"):
        expect(f"HorizontalPodAutoscaler {name}" in scaled, f"production: nothing scales {name}")
    threshold = float(scaled["ScaledObject ws-fanout"]["triggers"][0]["metadata"]["threshold"])
    limit = settings.DEFAULTS["fanout"]["connections_max"]
    expect(threshold < limit, f"production: ws-fanout is scaled at {threshold} connections, and takes {limit}")
    worker = scaled["ScaledObject persist-worker"]
    queues = {(trigger["metadata"]["stream"], trigger["metadata"]["consumerGroup"]) for trigger in worker["triggers"]}
    wanted = {("mayfly:{0}:messages", "persist"), ("mayfly:{0}:plays", "count")}
    expect(queues == wanted, f"production: persist-worker is scaled by {queues}")
    expect(worker["minReplicaCount"] >= 1, "production: persist-worker may be scaled to none")


def check_redis(things):
    """The Redis of the overlay has every directive of deploy/redis.conf."""
    redis = next(container for _, container in list_containers(things) if container["name"] == "redis")
    given = [words.split("\0") for words in "\0".join(redis["args"]).removeprefix("--").split("\0--")]
    for line in (ROOT / "deploy/redis.conf").read_text().splitlines():
        directive = shlex.split(line, comments=True)
        expect(not directive or directive in given, f"local: redis is started without `{line}`")


def check_entrance(things):
    route = next(thing for thing in things if thing["kind"] == "HTTPRoute")
    nginx, document = ROOT / "deploy/nginx.conf", ROOT / "docs/OPERATIONS.md"
    differences = list(one_entrance.compare(route, nginx.read_text(), document.read_text()))
    problems.extend(differences)
    print(f"the one entrance: {len(differences)} differences between gateway.yaml, nginx.conf and OPERATIONS.md")


def check_promises(overlays, entrance):
    for overlay, things in overlays.items():
        check_configuration(overlay, things)
        check_secrets(overlay, things)
        check_hardening(overlay, things)
        check_services(overlay, things)
    check_that_faults_are_found(overlays["production"] + entrance)
    check_exposure(overlays["production"])
    check_scaling(overlays["production"])
    check_redis(overlays["local"])
    check_entrance(entrance)


def main():
    kubectl = find_kubectl()
    base, entrance = read_files("base"), read_files("entrance")
    if kubectl:
        print(f"kubectl {kubectl[1]}, schemas of Kubernetes {' and '.join(form.VERSIONS)}")
        overlays = {overlay: render(kubectl[0], overlay) for overlay in ("local", "production")}
    else:
        least = ".".join(map(str, KUBECTL_MIN))
        print(f"k8s: no kubectl >= {least}: files are checked one by one, without patches", file=sys.stderr)
        base.extend(read_literals("base"))
        overlays = {
            "local": [*base, *read_files("overlays/local"), *read_literals("overlays/local")],
            "production": [*base, *read_literals("overlays/production")],
        }
    for where, things in {**overlays, "entrance": entrance}.items():
        check_form(where, things)
    # The rest looks into objects as they have to be.
    if not problems:
        check_promises(overlays, entrance)
    for problem in problems:
        print(f"k8s: {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
