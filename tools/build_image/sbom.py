"""The bill of materials of an image: SPDX 2.3 as JSON, from Debian's package list."""

import hashlib
import json
import subprocess

import layout


def _versions(packages):
    output = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package}\t${Version}\t${source:Package}\n",
         *sorted(packages)], capture_output=True, text=True, check=True).stdout
    return [line.split("\t") for line in output.splitlines()]


def _identity(name):
    return "SPDXRef-" + "".join(letter if letter.isalnum() or letter in ".-" else "-"
                                for letter in name)


def _package(name, version, reference=None, source=None):
    record = {"SPDXID": _identity(name), "name": name, "versionInfo": version,
              "downloadLocation": "NOASSERTION", "licenseConcluded": "NOASSERTION",
              "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION",
              "filesAnalyzed": False}
    if reference:
        record["externalRefs"] = [{"referenceCategory": "PACKAGE-MANAGER",
                                   "referenceType": "purl", "referenceLocator": reference}]
        record["sourceInfo"] = f"Debian source package {source}"
        record["licenseComments"] = f"/usr/share/doc/{name}/copyright in the image"
    return record


def write(path, image, tag, tree):
    names = {entry.package for entry in tree.values()} - {"", "baton"}
    packages = [_package("baton", tag)]
    for name, version, source in _versions(names):
        packages.append(_package(name, version, f"pkg:deb/debian/{name}@{version}?arch=amd64",
                                 source))
    files = hashlib.sha256(layout.layer(tree)).hexdigest()
    document = {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"baton-{image}-{tag}",
        "documentNamespace": f"https://baton.invalid/spdx/{image}-{files}",
        "creationInfo": {"created": layout.CREATED, "creators": ["Tool: tools/build_image"]},
        "packages": packages,
        "relationships": [{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES",
                           "relatedSpdxElement": record["SPDXID"]} for record in packages],
    }
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
