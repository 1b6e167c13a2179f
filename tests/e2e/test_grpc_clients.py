"""The examples of tools/examples against a running group: what a stranger would write first."""

import os
import re
import subprocess
import sys

import grpc
import openai
import pytest
from running_group import BIN, ROOT

QUESTION = "What is 17 + 25?"
EXAMPLES = ROOT / "tools/examples"


@pytest.fixture(scope="session")
def compiled_protos(tmp_path_factory):
    """A folder with the Python modules of the gRPC API."""
    folder = tmp_path_factory.mktemp("protos")
    protos = [f"protos/baton/v1/{name}.proto" for name in ("types", "inference")]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I.", f"--python_out={folder}",
                    f"--grpc_python_out={folder}", *protos], cwd=ROOT, check=True)
    return folder


@pytest.fixture(scope="session")
def expected(group):
    """The same answer over HTTP."""
    client = openai.OpenAI(base_url=group.endpoint, api_key="none", max_retries=0)
    answer = client.chat.completions.create(
        model=group.model, messages=[{"role": "user", "content": QUESTION}], temperature=0,
        max_tokens=400)
    message = answer.choices[0].message
    return message.reasoning_content + (message.content or "")


def run(command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          timeout=120, **options)


def test_cpp_example(group, expected):
    result = run([BIN / "example-generate", f"127.0.0.1:{group.grpc_port}", QUESTION])
    assert result.returncode == 0, result.stderr
    assert result.stdout == expected


def test_python_example(group, expected, compiled_protos):
    result = run([sys.executable, EXAMPLES / "generate.py", f"127.0.0.1:{group.grpc_port}",
                  QUESTION],
                 env={**os.environ, "PYTHONPATH": str(compiled_protos)})
    assert result.returncode == 0, result.stderr
    assert result.stdout == expected


@pytest.mark.parametrize("name", ["generate.cc", "generate.py"])
def test_readme_shows_the_examples_as_they_are(name):
    shown = re.findall(r"```(?:cpp|python)\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert (EXAMPLES / name).read_text() in shown
    assert len((EXAMPLES / name).read_text().splitlines()) <= 31


def test_calls_of_the_grpc_api(group, expected, compiled_protos):
    sys.path.insert(0, str(compiled_protos))
    try:
        from protos.baton.v1 import inference_pb2, inference_pb2_grpc
    finally:
        sys.path.remove(str(compiled_protos))
    with grpc.insecure_channel(f"127.0.0.1:{group.grpc_port}") as channel:
        stub = inference_pb2_grpc.InferenceStub(channel)
        chat = {"messages": [{"role": "user", "content": QUESTION}]}
        whole = stub.Generate(inference_pb2.GenerateRequest(chat=chat, temperature=0,
                                                            max_tokens=400))
        assert whole.reasoning_text + whole.text == expected
        tokens = stub.Tokenize(inference_pb2.TokenizeRequest(chat=chat)).token_ids
        assert len(tokens) == whole.usage.prompt_tokens
        text = stub.Detokenize(inference_pb2.DetokenizeRequest(token_ids=tokens)).text
        assert QUESTION in text
        asked = inference_pb2.GenerateRequest(text="x", constraint={"regex": "[ab]{5}"})
        assert re.fullmatch("[ab]{5}", stub.Generate(asked).text)
        assert stub.Abort(inference_pb2.AbortRequest(request_ids=["nobody"])).num_aborted == 0
        assert stub.GetModelInfo(inference_pb2.GetModelInfoRequest()).model == group.model
        with pytest.raises(grpc.RpcError) as refused:
            stub.Generate(inference_pb2.GenerateRequest(text="x", temperature=3))
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
