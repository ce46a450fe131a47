"""Validates the manifests and their consistency with the rest of the project. Run by check.sh.

Renders both overlays like `kubectl apply -k`, validates each object against the schemas of Kubernetes, KEDA and the
Gateway API, and then checks the rules of this project.
"""

import copy
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

import memory
import routing
import settings
import validation

K8S = Path(__file__).resolve().parent
ROOT = K8S.parent
# The first version of kubectl whose kustomize supports these files.
KUBECTL_MIN = (1, 21)
SERVICES = ("ingest-api", "list-api", "ws-fanout", "persist-worker", "stats-publisher")
# The kind of each autoscaler. The comments in persist-worker.yaml and stats-publisher.yaml explain why those have none.
AUTOSCALERS = {
    "ingest-api": "HorizontalPodAutoscaler",
    "list-api": "HorizontalPodAutoscaler",
    "ws-fanout": "ScaledObject",
}
BINARIES = (*SERVICES, "mayfly")
# No name server can resolve a name under `.invalid` (RFC 2606), so no image of another account is ever pulled.
REGISTRY = "registry.invalid/mayfly/"

# The secrets of each container. A container must have exactly these. Those of AWS are optional: without them, the AWS
# SDK uses the role of the pod or of the node, from the addresses below.
SECRETS = {
    "ingest-api": {"REDIS_URL"},
    "ws-fanout": {"REDIS_URL"},
    "list-api": {"REDIS_URL", "DATABASE_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
    "persist-worker": {"REDIS_URL", "DATABASE_URL"},
    "stats-publisher": {"REDIS_URL", "DATABASE_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
    "migrate": {"DATABASE_URL"},
    "mayfly-cli": {"REDIS_URL", "DATABASE_URL"},
    "mayfly-audit": {"REDIS_URL", "DATABASE_URL"},
}
# The instance metadata service of AWS and EKS Pod Identity, over IPv4 and IPv6, on port 80.
IDENTITY_NETWORKS = {"169.254.169.254/32", "169.254.170.23/32", "fd00:ec2::254/128", "fd00:ec2::23/128"}

problems = []


def expect(condition, problem):
    if not condition:
        problems.append(problem)


def find(kind, resources, problem):
    """Returns the first object of a kind. If there is none, reports the problem and returns None."""
    found = next((resource for resource in resources if resource["kind"] == kind), None)
    expect(found, problem)
    return found


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
    result = subprocess.run([kubectl, "kustomize", overlay], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"kubectl kustomize {overlay}: {result.stderr.strip()}")
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
    for kind in ("Deployment", "CronJob", "ScaledObject", "HTTPRoute"):
        invalid = copy.deepcopy(find(kind, resources, f"there is no {kind}"))
        if not invalid:
            continue
        invalid["spec"]["unknownField"] = "value"
        error = validation.find_error(invalid)
        expect(error and "unknownField" in error, f"an unknown field in a {kind} is not rejected")
        print(f"an unknown field is rejected: {error}")


def read_settings(container):
    """Returns the settings that apply to one container only. They take precedence over the ConfigMap."""
    return {
        variable["name"]: variable["value"]
        for variable in container.get("env", [])
        # The path of a file with a secret is no secret.
        if "value" in variable and (container["name"] in SERVICES or variable["name"].endswith("_FILE"))
    }


def check_configuration(scope, resources):
    values = [resource["data"] for resource in resources if resource["kind"] == "ConfigMap"]
    values.extend(read_settings(container) for _, container in list_containers(resources))
    for name, value in (item for group in values for item in group.items()):
        error = settings.find_error(name, value)
        expect(not error, f"{scope}: {name}={value}: {error}")


def check_secrets(scope, resources):
    secrets = {resource["metadata"]["name"]: resource for resource in resources if resource["kind"] == "Secret"}
    for deployment, container in list_containers(resources):
        own = read_settings(container)
        variables = [variable for variable in container.get("env", []) if variable["name"] not in own]
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
            is_optional = (reference or {}).get("optional", False)
            is_credential = container["name"] in SECRETS and variable["name"].startswith("AWS_")
            expect(
                is_optional == is_credential,
                f"{scope}: {deployment}: only the credentials of AWS must be optional, not {variable['name']}",
            )
            if reference and secrets:
                keys = secrets.get(reference["name"], {}).get("data", {})
                expect(reference["key"] in keys, f"{scope}: {deployment}: no Secret contains {reference}")


def list_deployments(resources):
    return [resource for resource in resources if resource["kind"] == "Deployment"]


def list_pods(resources):
    """Yields the Deployments and CronJobs with the specifications of their pods."""
    for resource in resources:
        if resource["kind"] == "Deployment":
            yield resource, resource["spec"]["template"]["spec"]
        if resource["kind"] == "CronJob":
            yield resource, resource["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def list_containers(resources):
    for resource, pod in list_pods(resources):
        for container in pod.get("initContainers", []) + pod["containers"]:
            yield resource["metadata"]["name"], container


def check_hardening(scope, resources):
    for resource, pod in list_pods(resources):
        prefix = f"{scope}: {format_name(resource)}"
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
        spec = deployments.get(service)
        if not spec:
            continue
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
    """Checks that the HTTPRoute is the only entry point of the cluster, and that it requires credentials."""
    routes = [resource for resource in resources if resource["kind"] == "HTTPRoute"]
    expect(len(routes) == 1, f"production: has {len(routes)} HTTPRoutes, expected one")
    environments = [(name, read_settings(container)) for name, container in list_containers(resources)]
    environments += [(format_name(one), one["data"]) for one in resources if one["kind"] == "ConfigMap"]
    for name, environment in environments:
        expect(environment.get("MAYFLY_AUTH__MODE", "keys") == "keys", f"production: {name}: must require credentials")
    for resource in resources:
        prefix = f"production: {format_name(resource)}"
        expect(resource["kind"] not in ("Ingress", "Gateway"), f"{prefix}: must not be in the overlay")
        if resource["kind"] == "Service":
            is_internal = resource["spec"].get("type", "ClusterIP") == "ClusterIP"
            expect(is_internal, f"{prefix}: must not be reachable from outside the cluster")
            expect("externalIPs" not in resource["spec"], f"{prefix}: must not be reachable from outside the cluster")


def check_images(scope, resources):
    """Checks that every image of Mayfly has a name that cannot be resolved until a registry is set."""
    for name, container in list_containers(resources):
        image = container["image"]
        if any(image.split(":")[0].endswith(f"/{binary}") for binary in BINARIES):
            expect(image.startswith(REGISTRY), f"{scope}: {name}: the image {image} must be in {REGISTRY}")


def check_registry_in_one_place(kubectl):
    """Renders the production overlay with another registry and expects it in all images."""
    with tempfile.TemporaryDirectory() as directory:
        for part in ("base", "ingress", "overlays"):
            shutil.copytree(K8S / part, Path(directory, part))
        overlay = Path(directory, "overlays/production/kustomization.yaml")
        overlay.write_text(overlay.read_text().replace(f"newName: {REGISTRY}", "newName: registry.example.org/mayfly/"))
        for name, container in list_containers(render(kubectl, overlay.parent)):
            is_set = container["image"].startswith("registry.example.org/mayfly/")
            expect(is_set, f"production: {name}: the overlay does not set the registry of {container['image']}")


def check_scaling(resources):
    """Checks that every service scales on its limit, and that no query includes other installations."""
    autoscalers = [resource for resource in resources if resource["kind"] in AUTOSCALERS.values()]
    targets = sorted((resource["spec"]["scaleTargetRef"]["name"], resource["kind"]) for resource in autoscalers)
    expected = sorted(AUTOSCALERS.items())
    expect(targets == expected, f"production: the targets of autoscalers are {targets}, expected {expected}")
    replicas = [
        deployment["spec"].get("replicas", 1)
        for deployment in list_deployments(resources)
        if deployment["metadata"]["name"] == "persist-worker"
    ]
    expect(max(replicas, default=0) >= 2, "production: persist-worker must have two replicas, for failover")
    for resource in autoscalers:
        if resource["kind"] != "ScaledObject":
            continue
        prefix = f"production: {format_name(resource)}"
        pause = f"annotate scaledobject/{resource['metadata']['name']} autoscaling.keda.sh/paused-replicas=0"
        expect(pause in (K8S / "README.md").read_text(), f"{prefix}: README.md does not explain how to stop its pods")
        if resource["spec"]["scaleTargetRef"]["name"] == "ws-fanout":
            threshold = float(resource["spec"]["triggers"][0]["metadata"]["threshold"])
            limit = settings.DEFAULTS["fanout"]["connections_max"]
            expect(threshold < limit, f"{prefix}: scales on {threshold} connections, must be below {limit}")
        for trigger in resource["spec"]["triggers"]:
            if trigger["type"] == "prometheus":
                ignores = trigger["metadata"].get("ignoreNullValues")
                expect(ignores == "false", f'{prefix}: ignoreNullValues must be "false": missing data does not mean 0')
            # Single files have no namespace: the overlays set it.
            selector = f'{{namespace="{resource["metadata"].get("namespace", "mayfly")}"}}'
            query = trigger["metadata"].get("query", selector)
            metrics = re.findall(r"[a-z]+_\w+(?:\{.*?\})?", query)
            for metric in metrics:
                expect(metric.endswith(selector), f"{prefix}: {metric} must have the selector {selector}")


def check_audit(resources):
    audit = next((resource["spec"] for resource in resources if format_name(resource) == "CronJob mayfly-audit"), None)
    expect(audit, "production: CronJob mayfly-audit is missing")
    if audit:
        rules = (ROOT / "deploy/prometheus/rules.yml").read_text()
        expect('cronjob="mayfly-audit"' in rules, "rules.yml has no alert about CronJob mayfly-audit")
        expect(re.fullmatch(r"\d+ \* \* \* \*", audit["schedule"]), "production: mayfly-audit must run hourly")
        expect(not audit.get("suspend"), "production: mayfly-audit must not be suspended")


def check_network_policies(scope, resources):
    """Checks that each pod has a policy, and that pods with AWS credentials can obtain them from a role."""
    policies = [resource["spec"] for resource in resources if resource["kind"] == "NetworkPolicy"]
    for name, labels in list_pod_labels(resources):
        if labels.get("app.kubernetes.io/part-of") != "mayfly":
            continue
        selected = [
            policy
            for policy in policies
            if policy["podSelector"].get("matchLabels", {}).items() <= labels.items()
            and not policy["podSelector"].get("matchExpressions")
        ]
        for direction in ("Ingress", "Egress"):
            has_policy = any(direction in policy["policyTypes"] for policy in selected)
            expect(has_policy, f"{scope}: {name}: has no policy for {direction}")
        reachable = {
            peer["ipBlock"]["cidr"]
            for policy in selected
            for rule in policy.get("egress", [])
            for peer in rule.get("to", [])
            if "ipBlock" in peer and {"port": 80} in rule["ports"]
        }
        expected = IDENTITY_NETWORKS if any("AWS" in secret for secret in SECRETS.get(name, ())) else set()
        expect(reachable == expected, f"{scope}: {name} can reach {sorted(reachable)}, expected {sorted(expected)}")


def list_pod_labels(resources):
    for resource, _ in list_pods(resources):
        template = resource["spec"].get("jobTemplate", resource)["spec"]["template"]
        yield resource["metadata"]["name"], template["metadata"]["labels"]


def check_load_balancers(ingress, resources):
    """Checks that the policy for clients that are not pods selects exactly the services with a public port."""
    policy = find("NetworkPolicy", ingress, "ingress: the NetworkPolicy for load balancers is missing")
    if not policy:
        return
    names = set(policy["spec"]["podSelector"]["matchExpressions"][0]["values"])
    public = {
        deployment["metadata"]["name"]
        for deployment in list_deployments(resources)
        for container in deployment["spec"]["template"]["spec"]["containers"]
        if any(port["name"] == "http" for port in container.get("ports", []))
    }
    expect(names == public, f"ingress: network-policy.yaml selects {sorted(names)}, expected {sorted(public)}")


def check_memory(scope, resources):
    """Checks the memory limits of the services against the formulas in OPERATIONS.md and the settings."""
    shared, values, limits = {}, {}, {}
    for resource in resources:
        shared.update(resource["data"] if resource["kind"] == "ConfigMap" else {})
    for _, container in list_containers(resources):
        values[container["name"]] = shared | read_settings(container)
        limits[container["name"]] = container["resources"]["limits"]["memory"]
    problems.extend(f"{scope}: {problem}" for problem in memory.find_problems(limits, values, SERVICES))


def check_redis(resources):
    """Checks that the Redis of the overlay has every directive of deploy/redis.conf, with its own memory limit."""
    redis = next((container for _, container in list_containers(resources) if container["name"] == "redis"), None)
    expect(redis, "local: the container redis is missing")
    if not redis:
        return
    directives = [words.split("\0") for words in "\0".join(redis["args"]).removeprefix("--").split("\0--")]
    for line in (ROOT / "deploy/redis.conf").read_text().splitlines():
        directive = shlex.split(line, comments=True)
        is_present = directive in directives
        if directive[:1] == ["maxmemory"]:
            is_present = any(present[0] == "maxmemory" for present in directives)
        expect(not directive or is_present, f"local: the arguments of redis lack `{line}`")
    limit = memory.parse_size(redis["resources"]["limits"]["memory"])
    maxmemory = next((memory.parse_size(present[1]) for present in directives if present[0] == "maxmemory"), 0)
    # A rewrite of the append-only file copies the pages that change in the meantime.
    expect(0 < maxmemory <= 0.7 * limit, "local: maxmemory of redis does not fit into its memory limit")


def check_entry_point(resources):
    route = find("HTTPRoute", resources, "ingress: the HTTPRoute is missing")
    if not route:
        return
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
        check_images(overlay, resources)
        check_network_policies(overlay, resources)
        check_memory(overlay, resources)
    check_that_unknown_fields_are_rejected(overlays["production"] + ingress)
    check_exposure(overlays["production"])
    check_scaling(overlays["production"])
    check_audit(overlays["production"])
    check_load_balancers(ingress, overlays["production"])
    check_redis(overlays["local"])
    check_entry_point(ingress)


def main():
    kubectl = find_kubectl()
    base, ingress = read_files("base"), read_files("ingress")
    if kubectl:
        print(f"kubectl {kubectl[1]}, schemas of Kubernetes {' and '.join(validation.VERSIONS)}")
        overlays = {overlay: render(kubectl[0], K8S / "overlays" / overlay) for overlay in ("local", "production")}
    else:
        minimum = ".".join(map(str, KUBECTL_MIN))
        print(f"k8s: kubectl {minimum} or newer not found: checking single files without patches", file=sys.stderr)
        base.extend(read_literals("base"))
        overlays = {
            "local": [*base, *read_files("overlays/local"), *read_literals("overlays/local")],
            "production": [
                *base,
                *read_literals("overlays/production"),
                *(resource for resource in ingress if resource["kind"] == "HTTPRoute"),
            ],
        }
    for scope, resources in {**overlays, "ingress": ingress}.items():
        check_schemas(scope, resources)
    # The rules of the project assume valid objects.
    if not problems:
        check_project_rules(overlays, ingress)
        if kubectl:
            check_registry_in_one_place(kubectl[0])
    for problem in problems:
        print(f"k8s: {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
