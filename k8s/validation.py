"""Validates objects against the schemas of Kubernetes, KEDA and the Gateway API. An unknown field is an error."""

import json
from pathlib import Path

import jsonschema
import kubernetes_validate

# The oldest version of Kubernetes that supports all fields, and the newest whose schemas are available.
VERSIONS = ("1.30", "1.37")
# Written from the documentation of KEDA and of the Gateway API.
OWN_SCHEMAS = {
    kind: json.loads(Path(__file__).with_name("schemas").joinpath(f"{kind.lower()}.json").read_text())
    for kind in ("HTTPRoute", "ScaledObject")
}


def find_error(resource):
    """Returns the schema violation of an object, or None."""
    try:
        if resource["kind"] in OWN_SCHEMAS:
            jsonschema.Draft202012Validator(OWN_SCHEMAS[resource["kind"]]).validate(resource)
        else:
            for version in VERSIONS:
                kubernetes_validate.validate(resource, version, strict=True)
    except jsonschema.ValidationError as error:
        return f"{resource['kind']} {resource['metadata']['name']}: {error.json_path}: {error.message[:200]}"
    except kubernetes_validate.SchemaNotFoundError as error:
        return error.message
    return None
