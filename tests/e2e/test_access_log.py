"""--access-log json: lines that a program can read, one per exchange."""

import json

import openai
import pytest
from running_group import fetch, wait_until


def entries(group):
    found = []
    for line in group.log.read_text(errors="replace").splitlines():
        begin = line.find('{"time"')
        if begin >= 0:
            found.append(json.loads(line[begin:]))
    return found


def test_a_line_per_exchange(start_group):
    group = start_group("--access-log", "json", "--api-key", "secret", "--api-key",
                        "other", "--no-public-metrics")
    client = openai.OpenAI(base_url=group.endpoint, api_key="other", max_retries=0)
    answer = client.completions.create(model=group.model, prompt="x", max_tokens=2,
                                       extra_headers={"X-Request-Id": "mine"})
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=group.endpoint, api_key="wrong", max_retries=0).models.list()
    assert fetch(group.base_url + "/metrics")[0] == 404
    wait_until(lambda: any(entry["path"] == "/metrics" for entry in entries(group)), "its line")
    by_path = {entry["path"]: entry for entry in entries(group)}
    done = by_path["/v1/completions"]
    assert (done["status"], done["key"], done["id"], done["complete"]) == (200, "key-2", "mine",
                                                                           True)
    assert done["method"] == "POST" and done["bytes"] > 100 and done["ms"] > 0
    assert answer.id == "cmpl-mine"
    assert by_path["/v1/models"]["status"] == 401 and by_path["/v1/models"]["key"] == ""
    assert by_path["/metrics"]["status"] == 404
