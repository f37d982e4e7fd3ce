"""KubeRay's own schema of a RayJob, without its descriptions: 12 KB in place of 1.4 MB.

    python -m tests.cluster.kuberay_schema ray.io_rayjobs.yaml

makes rayjob-schema.json.gz, beside this file, of ray-operator/config/crd/bases/ray.io_rayjobs.yaml
of KubeRay 1.7.0 (https://github.com/ray-project/kuberay, Apache License 2.0, by its authors).
"""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

SCHEMA_FILE = Path(__file__).with_name("rayjob-schema.json.gz")
VERSION = "v1"


def faults(resource: Any) -> list[str]:
    """Return what the schema has against a resource, with where it stands."""
    schema = json.loads(gzip.decompress(SCHEMA_FILE.read_bytes()))
    errors = Draft202012Validator(schema).iter_errors(resource)
    return [f"{error.json_path}: {error.message}" for error in errors]


def shortened(definition: dict[str, Any]) -> Any:
    """Return the schema of a custom resource's definition as plain JSON schema.

    Kubernetes drops fields that it does not know, or refuses them; here they are errors.
    """
    (version,) = (v for v in definition["spec"]["versions"] if v["name"] == VERSION)
    return _plain(version["schema"]["openAPIV3Schema"])


def _plain(part: Any) -> Any:
    if isinstance(part, list):
        return [_plain(one) for one in part]
    if not isinstance(part, dict):
        return part
    plain = {key: _plain(value) for key, value in part.items() if not _is_prose(key, value)}
    if part.get("type") == "object" and "properties" in part:
        plain["additionalProperties"] = False
    return plain


def _is_prose(key: str, value: Any) -> bool:
    return key == "description" and isinstance(value, str)


if __name__ == "__main__":
    definition = yaml.load(Path(sys.argv[1]).read_text(), Loader=yaml.CSafeLoader)
    text = json.dumps(shortened(definition), separators=(",", ":"))
    SCHEMA_FILE.write_bytes(gzip.compress(text.encode(), mtime=0))
