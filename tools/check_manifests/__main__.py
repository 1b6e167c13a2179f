"""tools/check_manifests: renders what manifests/ offers and checks every object of it.

usage: python3 tools/check_manifests [--bin-dir DIR] [--list] [FOLDER...]

Without FOLDER: every overlay, and every form with every storage and component that offered.py
names.
With FOLDERs (kustomizations): these alone, your own overlays for example.
Prints a line "file: reason" per fault and ends with status 1 if there is one.
"""

import argparse
import pathlib
import sys

import checks
import offered
import programs
import render
from context import ROOT


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin-dir", type=pathlib.Path, default=ROOT / "build/release/bin",
                        help="folder of the built programs, which know their flags")
    parser.add_argument("--list", action="store_true", help="prints what would be checked")
    parser.add_argument("folders", nargs="*", type=pathlib.Path, metavar="FOLDER")
    arguments = parser.parse_args()
    if arguments.folders:
        wanted = [(str(folder), folder, ()) for folder in arguments.folders]
    else:
        wanted = offered.combinations()
    if arguments.list:
        print("\n".join(name for name, _, _ in wanted))
        return 0
    try:
        built = programs.Programs(arguments.bin_dir)
    except FileNotFoundError as error:
        print(f"check_manifests: {error}", file=sys.stderr)
        return 2
    failures = 0
    for name, folder, components in wanted:
        try:
            complaints = checks.check(render.render_with(folder, components), built)
        except render.RenderError as error:
            complaints = [str(error)]
        for complaint in complaints:
            print(f"[{name}] {complaint}")
        failures += bool(complaints)
    print(f"check_manifests: {len(wanted)} combinations, {failures} with faults")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
