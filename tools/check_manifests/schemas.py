"""Validates objects against the schemas of schemas/: no field that the API does not have."""

import copy
import functools
import json
import pathlib

import jsonschema

FOLDER = pathlib.Path(__file__).parent / "schemas"
CORE = "kubernetes-1.36-definitions.json"
INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
TIME = "io.k8s.apimachinery.pkg.apis.meta.v1.Time"
DROPPED = {"format", "default"}


def _strict(node):
    """An API schema as JSON Schema that refuses unknown fields and takes numbers for strings where
    Kubernetes does."""
    if isinstance(node, list):
        return [_strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    result = {key: _strict_value(key, value) for key, value in node.items()
              if key not in DROPPED and not key.startswith("x-kubernetes-")}
    if ("properties" in result and "additionalProperties" not in result
            and not node.get("x-kubernetes-preserve-unknown-fields")):
        result["additionalProperties"] = False
    if node.get("nullable") and isinstance(result.get("type"), str):
        result["type"] = [result["type"], "null"]
    return result


def _strict_value(key, value):
    if key in ("properties", "definitions") and isinstance(value, dict):
        return {name: _strict(schema) for name, schema in value.items()}
    return _strict(value)


@functools.cache
def _core():
    definitions = json.loads((FOLDER / CORE).read_text())["definitions"]
    kinds = {(gvk["group"], gvk["version"], gvk["kind"]): name
             for name, definition in definitions.items()
             for gvk in definition.get("x-kubernetes-group-version-kind", [])}
    strict = {name: _strict(definition) for name, definition in definitions.items()}
    strict[INT_OR_STRING] = strict[QUANTITY] = {"type": ["integer", "number", "string"]}
    strict[TIME] = {"type": ["string", "null"]}
    return kinds, strict


@functools.cache
def _custom():
    """(group, version, kind) -> (schema with defaults, strict schema)."""
    found = {}
    for path in FOLDER.glob("*.json"):
        if path.name == CORE:
            continue
        record = json.loads(path.read_text())
        for version, schema in record["versions"].items():
            schema["properties"]["metadata"] = {
                "$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
            found[(record["group"], version, record["kind"])] = (schema, _strict(schema))
    return found


def _fill(content, schema):
    """Puts in what the API server would: a custom kind may require a field that has a default."""
    if isinstance(content, dict):
        for name, part in (schema.get("properties") or {}).items():
            if name not in content and "default" in part:
                content[name] = copy.deepcopy(part["default"])
            if name in content:
                _fill(content[name], part)
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            for value in content.values():
                _fill(value, extra)
    elif isinstance(content, list):
        for item in content:
            _fill(item, schema.get("items") or {})


@functools.cache
def _validator(gvk):
    kinds, definitions = _core()
    if gvk in kinds:
        schema = {"$ref": f"#/definitions/{kinds[gvk]}"}
    elif gvk in _custom():
        schema = _custom()[gvk][1]
    else:
        return None
    return jsonschema.Draft7Validator({**schema, "definitions": definitions})


def _place(error):
    return ".".join(str(part) for part in error.absolute_path) or "the object"


def check(content):
    """What is wrong with one object, as sentences that begin with the place."""
    group, _, version = content["apiVersion"].rpartition("/")
    gvk = (group, version, content["kind"])
    validator = _validator(gvk)
    if validator is None:
        return [f"no schema for {content['apiVersion']} {content['kind']}"]
    if gvk in _custom():
        content = copy.deepcopy(content)
        _fill(content, _custom()[gvk][0])
    errors = sorted(validator.iter_errors(content), key=lambda error: list(map(str, error.path)))
    return [f"{_place(error)}: {error.message[:200]}" for error in errors]
