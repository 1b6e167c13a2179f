"""The ranks of a stage share one thread where there are fewer cores than ranks; answers do not
depend on it."""

import concurrent.futures
import json
import re

import running_group

PROMPTS = ["What is 17 + 25?", "The quick brown fox", [5 + i * 7 % 1900 for i in range(300)]]
WAYS = [
    {"temperature": 0, "logprobs": 5, "ignore_eos": True},
    {"temperature": 0.8, "seed": 7, "logprobs": 3, "repetition_penalty": 1.2, "ignore_eos": True},
]


def answers(group):
    """What is said of each prompt in each way, all asked at the same time."""

    def ask(prompt, way):
        code, text = running_group.complete(group, prompt, max_tokens=40,
                                            return_token_ids=True, **way)
        assert code == 200, text
        choice = json.loads(text)["choices"][0]
        return choice["text"], choice["token_ids"], choice["logprobs"]

    with concurrent.futures.ThreadPoolExecutor(len(PROMPTS) * len(WAYS)) as pool:
        asked = [pool.submit(ask, prompt, way) for prompt in PROMPTS for way in WAYS]
        return [answer.result() for answer in asked]


def ranks_and_devices(group):
    """Of each stage, as its worker says; a device of a CPU is a thread."""
    return re.findall(r"stage (\d) is ready: .* (\d+) ranks on (\d+) devices",
                      group.log.read_text())


def test_a_thread_for_each_rank_gives_the_same_answers(start_group, monkeypatch):
    answered = {}
    for devices in ("1", "8"):
        monkeypatch.setenv("BATON_NUM_DEVICES", devices)
        group = start_group(stages=2, ranks=8)
        assert sorted(ranks_and_devices(group)) == [("0", "8", devices), ("1", "8", devices)]
        answered[devices] = answers(group)
        assert group.stop() == 0
    assert answered["8"] == answered["1"]
