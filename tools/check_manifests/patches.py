"""Patches of objects: JSON 6902 operations, and merge patches as kustomize applies them to maps."""

import copy


class PatchError(Exception):
    """A patch that does not fit its object; the message names the place."""


def apply(content, patch):
    """A copy of `content` with `patch` (operations, or a partial object) applied."""
    content = copy.deepcopy(content)
    if isinstance(patch, list):
        for operation in patch:
            _operate(content, operation)
        return content
    return _merge(content, copy.deepcopy(patch), "")


def _merge(content, patch, place):
    for key, value in patch.items():
        here = f"{place}/{key}"
        if key.startswith("$") or isinstance(value, list):
            # Lists of built-in kinds merge by key, those of custom kinds are replaced.
            raise PatchError(f"{here}: use a JSON 6902 patch for lists and directives")
        if value is None:
            content.pop(key, None)
        elif isinstance(value, dict) and isinstance(content.get(key), dict):
            _merge(content[key], value, here)
        else:
            content[key] = value
    return content


def _parts(pointer):
    if not pointer.startswith("/"):
        raise PatchError(f"{pointer}: a path begins with /")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]


def _position(items, part, pointer, end):
    """Index of `part` in a list whose last allowed index is `end`."""
    if not part.isdigit() or int(part) > end:
        raise PatchError(f"{pointer}: no place {part} in a list of {len(items)}")
    return int(part)


def _parent(content, pointer):
    node = content
    *path, last = _parts(pointer)
    for part in path:
        if isinstance(node, list):
            node = node[_position(node, part, pointer, len(node) - 1)]
        elif isinstance(node, dict) and part in node:
            node = node[part]
        else:
            raise PatchError(f"{pointer}: there is no {part}")
    if not isinstance(node, (dict, list)):
        raise PatchError(f"{pointer}: {last} would be in a plain value")
    return node, last


def _operate(content, operation):
    kind, pointer = operation.get("op"), operation.get("path", "")
    if kind not in ("add", "remove", "replace", "test"):
        raise PatchError(f"operation {kind}: not supported")
    parent, last = _parent(content, pointer)
    if kind == "add":
        if isinstance(parent, dict):
            parent[last] = copy.deepcopy(operation["value"])
            return
        place = len(parent) if last == "-" else _position(parent, last, pointer, len(parent))
        parent.insert(place, copy.deepcopy(operation["value"]))
        return
    if isinstance(parent, list):
        last = _position(parent, last, pointer, len(parent) - 1)
    elif last not in parent:
        raise PatchError(f"{pointer}: there is no {last}")
    if kind == "remove":
        del parent[last]
    elif kind == "replace":
        parent[last] = copy.deepcopy(operation["value"])
    elif parent[last] != operation["value"]:
        raise PatchError(f"{pointer}: {parent[last]!r}, not {operation['value']!r}")
