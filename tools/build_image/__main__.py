"""tools/build_image: an image of Baton as an OCI layout, without a container engine.

usage: python3 tools/build_image control|worker OUT_DIR [--bin-dir DIR] [--tag TAG] [--rootfs DIR]

control: gateway, scheduler, `baton`. worker: stage-worker, model-loader, UCX with its transports.
Takes the built programs and, from this machine's Debian packages, exactly the files that they load.
Writes OUT_DIR/image (the OCI layout), OUT_DIR/contents.txt (each file, its bytes and its package)
and OUT_DIR/sbom.spdx.json. The same programs and packages give the same bytes.
"""

import argparse
import pathlib
import sys

import contents
import layout
import sbom

ROOT = pathlib.Path(__file__).parents[2]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", choices=sorted(contents.IMAGES))
    parser.add_argument("out", type=pathlib.Path, metavar="OUT_DIR")
    parser.add_argument("--bin-dir", type=pathlib.Path, default=ROOT / "build/release/bin",
                        help="folder of the built programs")
    parser.add_argument("--tag", default="0.1.0", help="name of the image in the layout")
    parser.add_argument("--rootfs", type=pathlib.Path, help="also unpacks the files into DIR")
    arguments = parser.parse_args()
    try:
        tree = contents.collect(arguments.image, arguments.bin_dir)
    except contents.ContentsError as error:
        print(f"build_image: {error}", file=sys.stderr)
        return 1
    arguments.out.mkdir(parents=True, exist_ok=True)
    lines = [f"{len(entry.data or b''):>10}  {entry.package or '-':<24} /{path}"
             for path, entry in sorted(tree.items()) if not entry.is_folder]
    (arguments.out / "contents.txt").write_text("\n".join(lines) + "\n")
    sbom.write(arguments.out / "sbom.spdx.json", arguments.image, arguments.tag, tree)
    size = layout.write(arguments.out / "image", arguments.image, arguments.tag, tree)
    if arguments.rootfs:
        layout.unpack(tree, arguments.rootfs)
    unpacked = sum(len(entry.data or b"") for entry in tree.values())
    print(f"{arguments.image}: {len(lines)} files, {unpacked / 1e6:.1f} MB, "
          f"{size / 1e6:.1f} MB compressed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
