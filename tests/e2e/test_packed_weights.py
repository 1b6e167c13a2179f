"""`baton serve --packed-weights-dir` twice: the second start maps what the first one kept, asks the
model-loader for nothing, and answers alike."""

import json

import running_group
from running_group import wait_until

PROMPTS = ("What is 17 + 25?", "a", "Hello, " * 20)
STAGES = ("stage-worker-0", "stage-worker-1")


def serve_once(folder, weights, run):
    """Answers of a group with these packed weights, and what `run(group)` gives before it stops."""
    # A bound, for a machine's file system may be fuller than the default wants.
    group = running_group.RunningGroup(folder, *running_group.PATIENT, "--packed-weights-dir",
                                       weights, "--packed-weights-bytes", "1GiB")
    try:
        group.wait_ready()
        answers = []
        for prompt in PROMPTS:
            code, text = running_group.complete(group, prompt, temperature=0, max_tokens=12,
                                                logprobs=1)
            assert code == 200, text
            answers.append(json.loads(text)["choices"])
        return answers, run(group)
    finally:
        assert group.stop() == 0, group.log_tail()


def counts(group, name):
    """Of each stage. Once they say that it has joined, they are those of after its load: a stage
    brings its metrics up to date with each heartbeat."""
    wait_until(lambda: all(group.metrics(stage)["baton_stage_joined"] == 1 for stage in STAGES),
               "metrics of stages that have joined")
    return [group.metrics(stage)[f"baton_stage_packed_{name}_total"] for stage in STAGES]


def test_the_second_start_maps_what_the_first_kept(tmp_path):
    weights = tmp_path / "weights"

    def written(group):
        missed = counts(group, "missed")
        wait_until(lambda: counts(group, "written") == missed, "a file for each device")
        return missed

    first, missed = serve_once(tmp_path / "first", weights, written)
    assert min(missed) >= 1
    assert len(list(weights.glob("*.packed"))) == sum(missed)
    assert not list(weights.glob("*.tmp"))

    def read(group):
        return (counts(group, "adopted"), counts(group, "missed"),
                group.metrics("model-loader")["baton_loader_sent_bytes_total"])

    second, found = serve_once(tmp_path / "second", weights, read)
    assert found == (missed, [0, 0], 0)
    assert second == first
