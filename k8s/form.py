"""Whether an object has the form that Kubernetes, KEDA or the Gateway API give it; an unknown field is an error."""

import json
from pathlib import Path

import jsonschema
import kubernetes_validate

# The oldest Kubernetes that knows all fields, and the newest whose schemas there are.
VERSIONS = ("1.30", "1.37")
# Written down from the documentation of KEDA and of the Gateway API.
OWN_SCHEMAS = {
    kind: json.loads(Path(__file__).with_name("schemas").joinpath(f"{kind.lower()}.json").read_text())
    for kind in ("HTTPRoute", "ScaledObject", "TriggerAuthentication")
}


def find_fault(thing):
    """Says what is wrong with the form of an object, or nothing."""
    try:
        if thing["kind"] in OWN_SCHEMAS:
            jsonschema.Draft202012Validator(OWN_SCHEMAS[thing["kind"]]).validate(thing)
        else:
            for version in VERSIONS:
                kubernetes_validate.validate(thing, version, strict=True)
    except jsonschema.ValidationError as error:
        return f"{thing['kind']} {thing['metadata']['name']}: {error.json_path}: {error.message[:200]}"
    except kubernetes_validate.SchemaNotFoundError as error:
        return error.message
    return None
