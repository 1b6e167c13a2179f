"""Writes an image as an OCI layout: one layer, the same bytes for the same files."""

import gzip
import hashlib
import io
import json
import tarfile

CREATED = "1970-01-01T00:00:00Z"
USER = "65532:65532"
MEDIA = "application/vnd.oci.image."


def layer(tree):
    """The files as a tar: sorted, owned by root, without times."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path in sorted(tree):
            entry = tree[path]
            record = tarfile.TarInfo(path)
            record.mode = entry.mode
            if entry.is_folder:
                record.type = tarfile.DIRTYPE
            elif entry.target is not None:
                record.type, record.linkname = tarfile.SYMTYPE, entry.target
            else:
                record.size = len(entry.data)
            archive.addfile(record, io.BytesIO(entry.data or b""))
    return output.getvalue()


def unpack(tree, folder):
    """Writes the files into a folder: what a container of the image would see."""
    with tarfile.open(fileobj=io.BytesIO(layer(tree))) as archive:
        archive.extractall(folder)


def _digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _json(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def write(folder, image, tag, tree):
    """Writes the layout into `folder`; returns the bytes of what a registry would store."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True, exist_ok=True)

    def store(data, kind):
        (blobs / _digest(data).partition(":")[2]).write_bytes(data)
        return {"mediaType": MEDIA + kind, "digest": _digest(data), "size": len(data)}

    archive = layer(tree)
    packed = store(gzip.compress(archive, 6, mtime=0), "layer.v1.tar+gzip")
    config = store(_json({
        "architecture": "amd64", "os": "linux", "created": CREATED,
        "config": {"User": USER, "WorkingDir": "/tmp", "Env": ["PATH=/usr/local/bin:/usr/bin"],
                   "Labels": {"org.opencontainers.image.title": f"baton {image}",
                              "org.opencontainers.image.version": tag,
                              "org.opencontainers.image.licenses": "Apache-2.0"}},
        "rootfs": {"type": "layers", "diff_ids": [_digest(archive)]},
        "history": [{"created": CREATED, "created_by": "tools/build_image"}],
    }), "config.v1+json")
    manifest = store(_json({"schemaVersion": 2, "mediaType": MEDIA + "manifest.v1+json",
                            "config": config, "layers": [packed]}), "manifest.v1+json")
    manifest["annotations"] = {"org.opencontainers.image.ref.name": tag}
    (folder / "index.json").write_bytes(_json({
        "schemaVersion": 2, "mediaType": MEDIA + "index.v1+json", "manifests": [manifest]}))
    (folder / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    return sum(path.stat().st_size for path in blobs.iterdir())
