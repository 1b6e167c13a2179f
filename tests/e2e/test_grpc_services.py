"""What operators' tools ask of every process: health (grpc.health.v1) and which services there are
(server reflection)."""

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase)

# By role, what protos/baton/v1 says of its services.
CALLS = {
    "gateway": {"Inference": ["Generate", "GenerateStream", "Tokenize", "Detokenize", "Abort",
                              "GetModelInfo"]},
    "scheduler": {"Scheduling": ["Submit", "WatchGroup"], "Stage": ["Attach"]},
    "model-loader": {"Loading": ["GetModel", "GetVocabulary", "Load"]},
    "stage-worker": {"StageStatus": ["GetStageStatus"]},
}
OF_ALL = {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


def services_of(name):
    """{full name: names of calls} of the process `name`, for example "stage-worker-1"."""
    role = next(role for role in CALLS if name.startswith(role))
    return {f"baton.v1.{service}": calls for service, calls in CALLS[role].items()}


@pytest.fixture(params=["gateway", "scheduler", "model-loader", "stage-worker-0",
                        "stage-worker-1"])
def process(request, group):
    """(name, channel to its gRPC port) of each process of the group."""
    assert set(group.grpc_ports) >= {request.param}
    address = f"127.0.0.1:{group.grpc_ports[request.param]}"
    with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        yield request.param, channel


def test_health_is_told_of_the_whole_and_of_each_service(process):
    name, channel = process
    health = health_pb2_grpc.HealthStub(channel)

    def check(service):
        return health.Check(health_pb2.HealthCheckRequest(service=service), timeout=30).status

    for service in ["", *services_of(name)]:
        assert check(service) == health_pb2.HealthCheckResponse.SERVING, service
    strangers = {service for other in CALLS if not name.startswith(other)
                 for service in services_of(other)}
    for service in strangers:
        with pytest.raises(grpc.RpcError) as unknown:
            check(service)
        assert unknown.value.code() == grpc.StatusCode.NOT_FOUND, service


def test_reflection_lists_its_own_services_and_describes_them(process):
    name, channel = process
    database = ProtoReflectionDescriptorDatabase(channel)
    expected = services_of(name)
    assert set(database.get_services()) == set(expected) | OF_ALL
    pool = DescriptorPool(database)
    for service, calls in expected.items():
        found = pool.FindServiceByName(service)
        assert [method.name for method in found.methods] == calls
