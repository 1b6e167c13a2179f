"""What nvcc made of the kernels: no spills where speed counts, Hopper's matrix instructions where they belong, and not
one after the other.

Reads the reports that tools/cmake/compile_cuda leaves beside each object.
"""

import argparse
import pathlib
import re
import sys

# Sources whose kernels multiply on the tensor cores.
WITH_WGMMA = {"bf16_gemm.cu", "block_gemm.cu", "expert_gemm.cu", "mla_attention.cu"}
SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
# What ptxas says when it has to wait for each matrix instruction before the next: right, but slow.
SERIALIZED = "wgmma.mma_async instructions are serialized"
KERNEL = re.compile(r"Compiling entry function '(\w+)'")


def check(resources):
    """Complaints about one object; `resources` is its report."""
    source = resources.name.removesuffix(".o.resources")
    text = resources.read_text()
    kernels = KERNEL.findall(text)
    figures = SPILLS.findall(text)
    complaints = []
    if len(figures) < len(kernels):
        complaints.append(f"{source}: {len(kernels)} kernels, figures of {len(figures)}")
    for kernel, (_, stores, loads) in zip(kernels, figures):
        if int(stores) + int(loads) > 0:
            complaints.append(f"{source}: {kernel} spills {stores} bytes and loads {loads}")
    if SERIALIZED in text:
        complaints.append(f"{source}: {SERIALIZED}")
    ptx = resources.with_name(f"{source}.o.ptx").read_text()
    if source in WITH_WGMMA and "wgmma.mma_async" not in ptx:
        complaints.append(f"{source}: no wgmma in its PTX")
    return complaints


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, required=True, help="build/cuda")
    folder = parser.parse_args().build / "kernels" / "cuda"
    # The plain kernels are for any shape, not for speed.
    reports = [path for path in sorted(folder.rglob("*.o.resources")) if path.parent.name != "plain"]
    found = {path.name.removesuffix(".o.resources") for path in reports}
    complaints = [f"{name}: not compiled" for name in sorted(WITH_WGMMA - found)]
    for report in reports:
        complaints += check(report)
    for complaint in complaints:
        print(complaint)
    print(f"{len(reports)} objects, {len(complaints)} complaints")
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
