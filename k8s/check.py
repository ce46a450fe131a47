"""Validates the manifests and their consistency with the rest of the project. Run by check.sh.

Renders both overlays like `kubectl apply -k`, validates each object against the schemas of Kubernetes, KEDA and the
Gateway API, and then checks the rules of this project.
"""

import copy
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import yaml

import routing
import settings
import validation

K8S = Path(__file__).resolve().parent
ROOT = K8S.parent
# The first version of kubectl whose kustomize supports these files.
KUBECTL_MIN = (1, 21)
SERVICES = ("ingest-api", "list-api", "ws-fanout", "persist-worker", "stats-publisher")

# The secrets of each container. A container must have exactly these.
SECRETS = {
    "ingest-api": {"REDIS_URL"},
    "ws-fanout": {"REDIS_URL"},
    "list-api": {"REDIS_URL", "DATABASE_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
    "persist-worker": {"REDIS_URL", "DATABASE_URL"},
    "stats-publisher": {"REDIS_URL", "DATABASE_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
    "migrate": {"DATABASE_URL"},
}

problems = []


def expect(condition, problem):
    if not condition:
        problems.append(problem)


def format_name(resource):
    return f"{resource['kind']} {resource['metadata']['name']}"


def find_kubectl():
    """Returns the first kubectl in PATH that is recent enough, and its version; None if there is none."""
    for directory in os.get_exec_path():
        kubectl = Path(directory, "kubectl")
        if not os.access(kubectl, os.X_OK):
            continue
        result = subprocess.run([kubectl, "version", "--client", "-o", "json"], capture_output=True, text=True)
        found = re.search(r'"gitVersion": "v((\d+)\.(\d+)[^"]*)"', result.stdout)
        if found and (int(found[2]), int(found[3])) >= KUBECTL_MIN:
            return kubectl, found[1]
    return None


def render(kubectl, overlay):
    result = subprocess.run([kubectl, "kustomize", K8S / "overlays" / overlay], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"kubectl kustomize k8s/overlays/{overlay}: {result.stderr.strip()}")
    return list(yaml.safe_load_all(result.stdout))


def read_files(directory):
    files = sorted(path for path in (K8S / directory).glob("*.yaml") if path.name != "kustomization.yaml")
    return [resource for path in files for resource in yaml.safe_load_all(path.read_text())]


def read_literals(directory):
    """Yields the ConfigMaps that kustomize would generate."""
    kustomization = yaml.safe_load((K8S / directory / "kustomization.yaml").read_text())
    for generator in kustomization.get("configMapGenerator", []):
        data = dict(literal.split("=", 1) for literal in generator["literals"])
        yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"]}, "data": data}


def check_schemas(scope, resources):
    errors = [error for error in map(validation.find_error, resources) if error]
    problems.extend(f"{scope}: {error}" for error in errors)
    print(f"{scope}: {len(resources) - len(errors)} of {len(resources)} objects are valid")


def check_that_unknown_fields_are_rejected(resources):
    """Adds an unknown field to one object of each schema and expects its rejection."""
    for kind in ("Deployment", "ScaledObject", "TriggerAuthentication", "HTTPRoute"):
        invalid = copy.deepcopy(next(resource for resource in resources if resource["kind"] == kind))
        invalid["spec"]["unknownField"] = "value"
        error = validation.find_error(invalid)
        expect(error and "unknownField" in error, f"an unknown field in a {kind} is not rejected")
        print(f"an unknown field is rejected: {error}")


def check_configuration(scope, resources):
    for resource in resources:
        for name, value in resource["data"].items() if resource["kind"] == "ConfigMap" else ():
            error = settings.find_error(name, value)
            expect(not error, f"{scope}: {name}={value}: {error}")


def check_secrets(scope, resources):
    secrets = {resource["metadata"]["name"]: resource for resource in resources if resource["kind"] == "Secret"}
    for deployment, container in list_containers(resources):
        variables = container.get("env", [])
        names = {variable["name"] for variable in variables}
        expected = SECRETS.get(container["name"], names)
        expect(
            names == expected,
            f"{scope}: {container['name']} has the variables {sorted(names)}, expected {sorted(expected)}",
        )
        sources = [list(source) for source in container.get("envFrom", [])]
        expect(sources in ([], [["configMapRef"]]), f"{scope}: {container['name']} must not import all of {sources}")
        for variable in variables:
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            expect(reference or container["name"] not in SECRETS, f"{scope}: {variable['name']} must be in a Secret")
            if reference and secrets:
                keys = secrets.get(reference["name"], {}).get("data", {})
                expect(reference["key"] in keys, f"{scope}: {deployment}: no Secret contains {reference}")


def list_deployments(resources):
    return [resource for resource in resources if resource["kind"] == "Deployment"]


def list_containers(resources):
    for deployment in list_deployments(resources):
        pod = deployment["spec"]["template"]["spec"]
        for container in pod.get("initContainers", []) + pod["containers"]:
            yield deployment["metadata"]["name"], container


def check_hardening(scope, resources):
    for deployment in list_deployments(resources):
        pod = deployment["spec"]["template"]["spec"]
        prefix = f"{scope}: {format_name(deployment)}"
        for field in ("enableServiceLinks", "automountServiceAccountToken"):
            expect(pod.get(field) is False, f"{prefix}: {field} must be false")
        security = pod["securityContext"]
        is_unprivileged = security.get("runAsNonRoot") is True and security.get("runAsUser", 0) > 0
        expect(is_unprivileged, f"{prefix}: must not run as root")
        profile = security.get("seccompProfile")
        expect(profile == {"type": "RuntimeDefault"}, f"{prefix}: seccompProfile must be RuntimeDefault")
    for deployment, container in list_containers(resources):
        prefix = f"{scope}: {deployment}/{container['name']}"
        security = container["securityContext"]
        expect(security.get("allowPrivilegeEscalation") is False, f"{prefix}: allowPrivilegeEscalation must be false")
        expect(security.get("readOnlyRootFilesystem") is True, f"{prefix}: readOnlyRootFilesystem must be true")
        expect(security.get("capabilities") == {"drop": ["ALL"]}, f"{prefix}: must drop all capabilities")
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        expect({"cpu", "memory"} <= requests.keys(), f"{prefix}: must request cpu and memory")
        expect("memory" in limits, f"{prefix}: must have a memory limit")


def check_services(scope, resources):
    """Checks the objects of each service, its liveness and readiness probes, and its time to shut down."""
    existing = {(resource["kind"], resource["metadata"]["name"]) for resource in resources}
    deployments = {resource["metadata"]["name"]: resource["spec"] for resource in list_deployments(resources)}
    for service in SERVICES:
        prefix = f"{scope}: {service}"
        for kind in ("Deployment", "Service", "ServiceAccount", "PodDisruptionBudget", "NetworkPolicy"):
            expect((kind, service) in existing, f"{prefix}: {kind} is missing")
        spec = deployments[service]
        rolling = {"maxUnavailable": 0, "maxSurge": 1}
        expect(spec["strategy"].get("rollingUpdate") == rolling, f"{prefix}: rollingUpdate must be {rolling}")
        pod = spec["template"]["spec"]
        container = pod["containers"][0]
        for probe, path in (("startup", "/livez"), ("liveness", "/livez"), ("readiness", "/readyz")):
            request = container[f"{probe}Probe"]["httpGet"]
            expect(request == {"path": path, "port": "admin"}, f"{prefix}: the {probe} probe must request {path}")
        spread = {rule["topologyKey"]: rule["whenUnsatisfiable"] for rule in pod["topologySpreadConstraints"]}
        keys = ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
        expect(spread == dict.fromkeys(keys, "ScheduleAnyway"), f"{prefix}: must be spread over {keys}")
        sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        shutdown = sleep + int(settings.DEFAULTS["lifecycle"]["shutdown_timeout"].removesuffix("s"))
        expect(
            pod["terminationGracePeriodSeconds"] > shutdown,
            f"{prefix}: terminationGracePeriodSeconds must be longer than the shutdown, {shutdown} s",
        )


def check_exposure(resources):
    for resource in resources:
        prefix = f"production: {format_name(resource)}"
        expect(resource["kind"] not in ("Ingress", "HTTPRoute", "Gateway"), f"{prefix}: must not be in the overlay")
        if resource["kind"] == "Service":
            is_internal = resource["spec"].get("type", "ClusterIP") == "ClusterIP"
            expect(is_internal, f"{prefix}: must not be reachable from outside the cluster")
            expect("externalIPs" not in resource["spec"], f"{prefix}: must not be reachable from outside the cluster")


def check_scaling(resources):
    scaled = {format_name(resource): resource.get("spec") for resource in resources}
    for name in ("ingest-api", "list-api"):
        expect(f"HorizontalPodAutoscaler {name}" in scaled, f"production: HorizontalPodAutoscaler {name} is missing")
    threshold = float(scaled["ScaledObject ws-fanout"]["triggers"][0]["metadata"]["threshold"])
    limit = settings.DEFAULTS["fanout"]["connections_max"]
    expect(threshold < limit, f"production: ws-fanout scales on {threshold} connections, must be below {limit}")
    worker = scaled["ScaledObject persist-worker"]
    queues = {(trigger["metadata"]["stream"], trigger["metadata"]["consumerGroup"]) for trigger in worker["triggers"]}
    expected = {("mayfly:{0}:messages", "persist"), ("mayfly:{0}:plays", "count")}
    expect(queues == expected, f"production: persist-worker scales on {queues}, expected {expected}")
    expect(worker["minReplicaCount"] >= 1, "production: persist-worker must have at least one replica")


def check_redis(resources):
    """Checks that the Redis of the overlay has every directive of deploy/redis.conf, with its own memory limit."""
    redis = next(container for _, container in list_containers(resources) if container["name"] == "redis")
    directives = [words.split("\0") for words in "\0".join(redis["args"]).removeprefix("--").split("\0--")]
    for line in (ROOT / "deploy/redis.conf").read_text().splitlines():
        directive = shlex.split(line, comments=True)
        is_present = directive in directives
        if directive[:1] == ["maxmemory"]:
            is_present = any(present[0] == "maxmemory" for present in directives)
        expect(not directive or is_present, f"local: the arguments of redis lack `{line}`")
    limit = parse_memory(redis["resources"]["limits"]["memory"])
    maxmemory = next((parse_memory(present[1]) for present in directives if present[0] == "maxmemory"), 0)
    # A rewrite of the append-only file copies the pages that change in the meantime.
    expect(0 < maxmemory <= 0.7 * limit, "local: maxmemory of redis does not fit into its memory limit")


def parse_memory(text):
    """Returns the bytes of a memory limit in the notation of Kubernetes or of Redis."""
    number, unit = re.fullmatch(r"(\d+)([A-Za-z]*)", text).groups()
    return int(number) << {"Mi": 20, "mb": 20, "Gi": 30, "gb": 30}[unit]


def check_entry_point(resources):
    route = next(resource for resource in resources if resource["kind"] == "HTTPRoute")
    nginx, document = ROOT / "deploy/nginx.conf", ROOT / "docs/OPERATIONS.md"
    differences = list(routing.find_differences(route, nginx.read_text(), document.read_text()))
    problems.extend(differences)
    print(f"entry point: {len(differences)} differences between gateway.yaml, nginx.conf and OPERATIONS.md")


def check_project_rules(overlays, ingress):
    for overlay, resources in overlays.items():
        check_configuration(overlay, resources)
        check_secrets(overlay, resources)
        check_hardening(overlay, resources)
        check_services(overlay, resources)
    check_that_unknown_fields_are_rejected(overlays["production"] + ingress)
    check_exposure(overlays["production"])
    check_scaling(overlays["production"])
    check_redis(overlays["local"])
    check_entry_point(ingress)


def main():
    kubectl = find_kubectl()
    base, ingress = read_files("base"), read_files("ingress")
    if kubectl:
        print(f"kubectl {kubectl[1]}, schemas of Kubernetes {' and '.join(validation.VERSIONS)}")
        overlays = {overlay: render(kubectl[0], overlay) for overlay in ("local", "production")}
    else:
        minimum = ".".join(map(str, KUBECTL_MIN))
        print(f"k8s: kubectl {minimum} or newer not found: checking single files without patches", file=sys.stderr)
        base.extend(read_literals("base"))
        overlays = {
            "local": [*base, *read_files("overlays/local"), *read_literals("overlays/local")],
            "production": [*base, *read_literals("overlays/production")],
        }
    for scope, resources in {**overlays, "ingress": ingress}.items():
        check_schemas(scope, resources)
    # The rules of the project assume valid objects.
    if not problems:
        check_project_rules(overlays, ingress)
    for problem in problems:
        print(f"k8s: {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
