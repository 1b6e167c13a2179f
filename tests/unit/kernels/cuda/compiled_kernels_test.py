"""What nvcc made of the kernels: no spills where speed counts, Hopper's matrix instructions where
they belong, and not one after the other; the same kernels for every architecture asked for, the
plain ones that stand in for Hopper's among them.

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


# Kernels whose roles trade registers (setmaxnreg), and what a thread has of them when it starts: of
# a multiprocessor's 65536 for 384 threads, in eights, 65536 / 384 = 170 -> 168. The roles share out
# just these: 256 x 232 + 128 x 40 = 384 x 168. With less to begin with, a role that grows would
# wait for ever for the rest.
TRADING_REGISTERS = 168
USED = re.compile(r"Used (\d+) registers")
ENTRY = re.compile(r"\.entry (\w+)")
# Maps of tensors are written by the host, whose writes only a fence in the system's scope sees.
MAP_FENCE = re.compile(r"fence\.proxy\.tensormap::generic\.acquire\.(\w+)")
READS_MAPS_FROM_MEMORY = {"bf16_gemm.cu", "expert_gemm.cu"}


def entries(ptx):
    """{kernel: its PTX, for all targets}"""
    starts = list(ENTRY.finditer(ptx))
    ends = [start.start() for start in starts[1:]] + [len(ptx)]
    bodies = {}
    for start, end in zip(starts, ends):
        bodies[start[1]] = bodies.get(start[1], "") + ptx[start.start():end]
    return bodies


def check_for_hopper(source, kernels, text, ptx):
    """Complaints about one object's kernels for sm_90a: their tensor maps, stacks and registers.
    `kernels`: name, architecture."""
    complaints = []
    scopes = set(MAP_FENCE.findall(ptx))
    if scopes != ({"sys"} if source in READS_MAPS_FROM_MEMORY else set()):
        complaints.append(f"{source}: fences of tensor maps in the scopes {sorted(scopes)}")
    bodies = entries(ptx)
    if set(bodies) != {kernel for kernel, _ in kernels}:
        complaints.append(f"{source}: PTX and report name different kernels")
    for (kernel, architecture), figures, registers in zip(kernels, SPILLS.findall(text),
                                                          USED.findall(text)):
        if architecture != "sm_90a":
            continue
        if source in WITH_WGMMA and int(figures[0]) > 0:
            complaints.append(f"{source}: {kernel} has {figures[0]} bytes of stack")
        if "setmaxnreg" in bodies.get(kernel, "") and int(registers) != TRADING_REGISTERS:
            complaints.append(
                f"{source}: {kernel} starts with {registers} registers, not {TRADING_REGISTERS}")
    if source == "mla_attention.cu" and sum("setmaxnreg" in body for body in bodies.values()) != 4:
        complaints.append(f"{source}: not four kernels whose roles trade registers")
    return complaints


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
    if for_hopper:
        complaints += check_for_hopper(source, kernels, text, ptx)
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
        complaints.append(
            f"{source}: compiled for {sorted(kernels)}, wanted {sorted(architectures)}")
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
    parser.add_argument("--architectures", required=True,
                        help="as BATON_CUDA_ARCHITECTURES: 80;90a")
    arguments = parser.parse_args()
    architectures = arguments.architectures.split(";")
    root = arguments.build / "kernels" / "cuda"
    every = sorted(root.rglob("*.o.resources"))
    # The plain kernels are for any shape, not for speed.
    reports = [path for path in every if not path.is_relative_to(root / "plain")]
    plain = [path for path in every if path.is_relative_to(root / "plain")]
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
