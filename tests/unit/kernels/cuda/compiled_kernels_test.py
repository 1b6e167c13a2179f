"""What nvcc made of the kernels: no spills where speed counts, Hopper's matrix instructions where they belong, and not
one after the other; the same kernels for every architecture asked for, the plain ones that stand in for Hopper's among
them.

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
KERNEL = re.compile(r"Compiling entry function '(\w+)' for '(\w+)'")
# What takes the operations where Hopper's instructions are not to be had.
PLAIN_KERNELS = {
    "attention.cu": ("AttendKernel",),
    "experts.cu": ("GateUpKernel", "DownKernel", "CombineKernel"),
    "linear.cu": ("LinearKernel",),
}


def check(resources, for_hopper):
    """Complaints about one object; `resources` is its report."""
    source = resources.name.removesuffix(".o.resources")
    text = resources.read_text()
    kernels = KERNEL.findall(text)
    figures = SPILLS.findall(text)
    complaints = []
    if len(figures) < len(kernels):
        complaints.append(f"{source}: {len(kernels)} kernels, figures of {len(figures)}")
    for (kernel, architecture), (_, stores, loads) in zip(kernels, figures):
        if architecture == "sm_90a" and int(stores) + int(loads) > 0:
            complaints.append(f"{source}: {kernel} spills {stores} bytes and loads {loads}")
    if SERIALIZED in text:
        complaints.append(f"{source}: {SERIALIZED}")
    ptx = resources.with_name(f"{source}.o.ptx").read_text()
    if for_hopper and source in WITH_WGMMA and "wgmma.mma_async" not in ptx:
        complaints.append(f"{source}: no wgmma in its PTX")
    return complaints


def kernels_by_architecture(resources):
    """{"90a": {kernel, ...}, ...} of one object."""
    kernels = {}
    for name, architecture in KERNEL.findall(resources.read_text()):
        kernels.setdefault(architecture.removeprefix("sm_"), set()).add(name)
    return kernels


def check_architectures(resources, architectures):
    """Complaints about one object whose kernels are not the same for all of `architectures`."""
    source = resources.name.removesuffix(".o.resources")
    kernels = kernels_by_architecture(resources)
    complaints = []
    if set(kernels) != set(architectures):
        complaints.append(f"{source}: compiled for {sorted(kernels)}, wanted {sorted(architectures)}")
    for architecture, names in kernels.items():
        missing = set.union(*kernels.values()) - names
        complaints += [f"{source}: no {name} for {architecture}" for name in sorted(missing)]
    return complaints


def check_plain(resources, architectures):
    """Complaints about the object of a plain operation that lacks one of its kernels somewhere."""
    source = resources.name.removesuffix(".o.resources")
    kernels = kernels_by_architecture(resources)
    return [f"plain/{source}: no {wanted} for {architecture}"
            for architecture in architectures for wanted in PLAIN_KERNELS[source]
            if not any(wanted in name for name in kernels.get(architecture, ()))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, required=True, help="build/cuda")
    parser.add_argument("--architectures", required=True, help="as BATON_CUDA_ARCHITECTURES: 80;90a")
    arguments = parser.parse_args()
    architectures = arguments.architectures.split(";")
    every = sorted((arguments.build / "kernels" / "cuda").rglob("*.o.resources"))
    # The plain kernels are for any shape, not for speed.
    reports = [path for path in every if path.parent.name != "plain"]
    plain = [path for path in every if path.parent.name == "plain"]
    found = {path.name.removesuffix(".o.resources") for path in reports}
    complaints = []
    if "90a" in architectures:
        complaints += [f"{name}: not compiled" for name in sorted(WITH_WGMMA - found)]
    missing = set(PLAIN_KERNELS) - {path.name.removesuffix(".o.resources") for path in plain}
    complaints += [f"plain/{name}: not compiled" for name in sorted(missing)]
    for report in reports:
        complaints += check(report, "90a" in architectures)
    for report in plain:
        complaints += check_plain(report, architectures)
    for report in every:
        complaints += check_architectures(report, architectures)
    for complaint in complaints:
        print(complaint)
    print(f"{len(every)} objects for {arguments.architectures}, {len(complaints)} complaints")
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
