"""Asks a gateway over gRPC and prints the answer as it comes: generate.py HOST:PORT QUESTION

python -m grpc_tools.protoc -I. --{python,grpc_python}_out=. protos/baton/v1/{types,inference}.proto
"""

import sys

import grpc
from protos.baton.v1 import inference_pb2, inference_pb2_grpc


def main(address, question):
    with grpc.insecure_channel(address) as channel:
        stub = inference_pb2_grpc.InferenceStub(channel)
        request = inference_pb2.GenerateRequest(
            chat={"messages": [{"role": "user", "content": question}]},
            temperature=0, max_tokens=400)
        # With keys: GenerateStream(request, metadata=[("authorization", "Bearer KEY")])
        for piece in stub.GenerateStream(request):
            print(piece.reasoning_text + piece.text, end="", flush=True)


main(*sys.argv[1:])
