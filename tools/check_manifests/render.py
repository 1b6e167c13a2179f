"""Renders a kustomization: the part of kustomize that manifests/ uses, and no other.

Supported: resources, components, configMapGenerator (without a name suffix), patches (JSON 6902,
and merge patches without lists), namespace, labels (without selectors), images. Whatever else
stands in a kustomization is an error, so that a file never means one thing here and another to
kubectl.
"""

import pathlib
import re

import yaml

import patches

KUSTOMIZATION = "kustomization.yaml"
KNOWN_KEYS = {
    "apiVersion", "kind", "resources", "components", "configMapGenerator", "patches", "namespace",
    "labels", "images",
}
CLUSTER_KINDS = {"Namespace", "PersistentVolume", "PriorityClass", "StorageClass", "ClusterRole"}


class RenderError(Exception):
    """A kustomization that cannot be rendered; the message begins with its file."""


class UniqueKeyLoader(yaml.CSafeLoader):
    """Refuses a key that stands twice in one mapping, of which YAML would keep the last."""


def _mapping(loader, node):
    keys = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if key in keys:
            raise yaml.YAMLError(f"line {key_node.start_mark.line + 1}: key {key!r} stands twice")
        keys.add(key)
    return yaml.CSafeLoader.construct_mapping(loader, node, deep=True)


UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path):
    """The documents of a file, empty ones left out."""
    try:
        return _documents(path.read_text(), path)
    except OSError as error:
        raise RenderError(f"{path}: cannot be read: {error.strerror}") from error


def _documents(text, path):
    try:
        return [document for document in yaml.load_all(text, UniqueKeyLoader)
                if document is not None]
    except yaml.YAMLError as error:
        raise RenderError(f"{path}: not YAML: {error}") from error


class Object:
    """One Kubernetes object and the file that it comes from."""

    def __init__(self, content, origin):
        self.content = content
        self.origin = origin

    @property
    def kind(self):
        return self.content.get("kind", "")

    @property
    def name(self):
        return (self.content.get("metadata") or {}).get("name", "")

    @property
    def labels(self):
        return (self.content.get("metadata") or {}).get("labels") or {}

    def key(self):
        return (self.content.get("apiVersion", "").rpartition("/")[0], self.kind, self.name)

    def __str__(self):
        return f"{self.kind} {self.name}"


def _object(content, path):
    if not isinstance(content, dict) or not content.get("apiVersion") or not content.get("kind"):
        raise RenderError(f"{path}: not a Kubernetes object: apiVersion and kind are missing")
    result = Object(content, path)
    if not result.name:
        raise RenderError(f"{path}: {result.kind} without a name")
    return result


def _add(objects, new, path):
    if any(new.key() == known.key() for known in objects):
        raise RenderError(f"{path}: {new} exists already")
    objects.append(new)


def render(folder):
    """The objects of the kustomization in `folder`. Errors: RenderError."""
    return _accumulate(pathlib.Path(folder), [], ())


def render_with(folder, components):
    """As render, of `folder` with `components` (folders) on top."""
    objects = render(folder)
    for component in components:
        objects = _accumulate(pathlib.Path(component), objects, ())
    return objects


def _accumulate(folder, objects, parents):
    path = folder / KUSTOMIZATION
    if path.resolve() in parents:
        raise RenderError(f"{path}: includes itself")
    parents = (*parents, path.resolve())
    documents = read_yaml(path)
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise RenderError(f"{path}: not one kustomization")
    (content,) = documents
    unknown = sorted(set(content) - KNOWN_KEYS)
    if unknown:
        raise RenderError(f"{path}: {', '.join(unknown)}: not supported; see render.py")
    if content.get("kind") not in ("Kustomization", "Component"):
        raise RenderError(f"{path}: kind is {content.get('kind')}, not Kustomization or Component")
    objects = list(objects)
    for entry in content.get("resources") or []:
        _add_resource(folder / entry, path, objects, parents)
    for entry in content.get("components") or []:
        _require_kind(folder / entry, "Component", path)
        objects = _accumulate(folder / entry, objects, parents)
    for entry in content.get("configMapGenerator") or []:
        _add(objects, Object(_config_map(entry, folder, path), path), path)
    _transform(content, folder, path, objects)
    return objects


def _require_kind(folder, kind, path):
    documents = read_yaml(folder / KUSTOMIZATION)
    if not documents or documents[0].get("kind") != kind:
        raise RenderError(f"{path}: {folder.name} is not a {kind}")


def _add_resource(entry, path, objects, parents):
    if entry.is_dir():
        _require_kind(entry, "Kustomization", path)
        for new in _accumulate(entry, [], parents):
            _add(objects, new, path)
        return
    for document in read_yaml(entry):
        _add(objects, _object(document, entry), path)


def _config_map(entry, folder, path):
    options = entry.get("options") or {}
    if not options.get("disableNameSuffixHash"):
        raise RenderError(f"{path}: configMapGenerator {entry.get('name')} needs "
                          "disableNameSuffixHash: references in custom kinds are not renamed")
    unknown = sorted(set(entry) - {"name", "files", "literals", "options"})
    if unknown:
        raise RenderError(f"{path}: configMapGenerator: {', '.join(unknown)}: not supported")
    contents = dict(literal.split("=", 1) for literal in entry.get("literals") or [])
    for file in entry.get("files") or []:
        key, _, name = file.rpartition("=")
        try:
            contents[key or pathlib.PurePath(name).name] = (folder / name).read_text()
        except OSError as error:
            raise RenderError(f"{path}: {name}: {error.strerror}") from error
    metadata = {"name": entry["name"]}
    for field in ("labels", "annotations"):
        if options.get(field):
            metadata[field] = dict(options[field])
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": contents}


def _transform(content, folder, path, objects):
    for entry in content.get("patches") or []:
        _apply_patch(entry, folder, path, objects)
    namespace = content.get("namespace")
    for item in objects if namespace else []:
        if item.kind not in CLUSTER_KINDS:
            item.content["metadata"]["namespace"] = namespace
    for entry in content.get("labels") or []:
        if set(entry) - {"pairs"}:
            raise RenderError(f"{path}: labels: only pairs are supported")
        for item in objects:
            item.content["metadata"].setdefault("labels", {}).update(entry["pairs"])
    for entry in content.get("images") or []:
        for item in objects:
            _set_images(item.content, entry)


def _apply_patch(entry, folder, path, objects):
    if set(entry) - {"patch", "path", "target"}:
        raise RenderError(f"{path}: patches: {sorted(entry)}: not supported")
    if "path" in entry:
        documents = read_yaml(folder / entry["path"])
    else:
        documents = _documents(entry["patch"], path)
    target = entry.get("target")
    for document in documents:
        if target is None:
            if not isinstance(document, dict):
                raise RenderError(f"{path}: a JSON 6902 patch without a target")
            wanted = _object(document, path).key()
            found = [item for item in objects if item.key() == wanted]
            if not found:
                raise RenderError(f"{path}: nothing to patch: no {wanted[1]} {wanted[2]}")
        else:
            found = [item for item in objects if _matches(item, target, path)]
        for item in found:
            try:
                item.content = patches.apply(item.content, document)
            except patches.PatchError as error:
                raise RenderError(f"{path}: patch of {item}: {error}") from error


def _matches(item, target, path):
    unknown = set(target) - {"group", "version", "kind", "name", "labelSelector"}
    if unknown:
        raise RenderError(f"{path}: patch target: {sorted(unknown)}: not supported")
    group, _, version = item.content["apiVersion"].rpartition("/")
    facts = {"group": group, "version": version, "kind": item.kind, "name": item.name}
    for field, value in facts.items():
        if target.get(field) and not re.fullmatch(target[field], value):
            return False
    for term in filter(None, (target.get("labelSelector") or "").split(",")):
        name, _, value = term.partition("=")
        if item.labels.get(name) != value:
            return False
    return True


def _set_images(node, entry):
    if isinstance(node, list):
        for item in node:
            _set_images(item, entry)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key in ("containers", "initContainers") and isinstance(value, list):
            for container in value:
                _set_image(container, entry)
        _set_images(value, entry)


def _set_image(container, entry):
    name, _, tag = container.get("image", "").partition(":")
    if name != entry["name"]:
        return
    name = entry.get("newName", name)
    tag = entry.get("newTag", tag)
    if entry.get("digest"):
        container["image"] = f"{name}@{entry['digest']}"
    else:
        container["image"] = f"{name}:{tag}" if tag else name
