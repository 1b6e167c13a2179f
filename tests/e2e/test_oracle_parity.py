"""A whole group against the independent oracle: token ids in over HTTP, log-probabilities and
greedy tokens out.

tests/conformance/model holds the stages against all of it in one process; here its numbers pass
model-loader, UCX, scheduler and gateway too, and the BF16 form is the one that `baton dequantize`
writes.
"""

import concurrent.futures
import json
import subprocess

import pytest
import running_group

ORACLE = running_group.DEMO_MODEL / "oracle"
TOLERANCE = 2e-3  # of a log-probability
# By id: addition; multiplication, the longest answer; a question with a system prompt; 609 and
# 1,121 tokens, the second one past the original context of 1,024; 300 random tokens, 24 of them
# bytes of longer characters (no sequence of the oracle is Chinese: the model has not learnt any).
SEQUENCES = (0, 13, 38, 40, 41, 45)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The folder of each form."""
    folder = tmp_path_factory.mktemp("dequantized") / "bf16"
    subprocess.run([running_group.BIN / "baton", "dequantize", running_group.DEMO_MODEL, folder],
                   check=True,
                   capture_output=True, timeout=120)
    return {"fp8": running_group.DEMO_MODEL, "bf16": folder}


def oracle(form):
    """The sequences of SEQUENCES, each with its best next tokens by position."""
    lines = map(json.loads, (ORACLE / f"{form}.jsonl").read_text().splitlines())
    chosen = {line["id"]: line for line in lines if line["id"] in SEQUENCES}
    assert set(chosen) == set(SEQUENCES)
    for line in chosen.values():
        line["best"] = {entry["position"]: dict(zip(entry["ids"], entry["logprobs"]))
                        for entry in line["top"]}
    return chosen


def answered(group, line):
    """(tokens of the answer, {position: {token: log-probability of it as the next}}): one token
    more than the oracle's."""
    code, text = running_group.complete(
        group, line["prompt_ids"], temperature=0, max_tokens=len(line["greedy_ids"]) + 1,
        ignore_eos=True,
        prompt_logprobs=20, logprobs=20, return_token_ids=True, return_tokens_as_token_ids=True)
    assert code == 200, text
    choice = json.loads(text)["choices"][0]
    assert choice["prompt_token_ids"] == line["prompt_ids"]
    assert choice["prompt_logprobs"][0] is None  # nothing comes before the first token
    found = {position: {int(token): entry["logprob"] for token, entry in entries.items()}
             for position, entries in enumerate(choice["prompt_logprobs"][1:])}
    for entries in choice["logprobs"]["top_logprobs"]:
        found[len(found)] = {int(token.removeprefix("token_id:")): logprob
                             for token, logprob in entries.items()}
    return choice["token_ids"], found


def check(group, line):
    """Returns the largest difference. That two tokens are nearly as good excuses none: no kernel of
    a CPU draws the other of two best ones, as tests/conformance/model says too."""
    tokens, found = answered(group, line)
    length = len(line["prompt_ids"])
    assert sorted(found) == list(range(length + len(line["greedy_ids"])))
    for place, (token, expected) in enumerate(zip(tokens, line["greedy_ids"])):
        best, second = sorted(line["best"][length + place - 1].values(), reverse=True)[:2]
        assert token == expected, f"sequence {line['id']} leaves the oracle at token {place}, " \
            f"where its best token is {best - second:.2g} better than the next"
    worst = 0
    for position, best in line["best"].items():
        for token, logprob in best.items():
            difference = abs(found[position].get(token, float("-inf")) - logprob)
            assert difference <= TOLERANCE, \
                f"sequence {line['id']}, position {position}, token {token}"
            worst = max(worst, difference)
    return worst


@pytest.mark.parametrize("form, stages, ranks", [("fp8", 2, 2), ("bf16", 2, 2), ("fp8", 2, 8)])
def test_gives_the_oracles_numbers(start_group, models, form, stages, ranks):
    group = start_group("--dtype", "float32", model_dir=models[form], stages=stages, ranks=ranks)
    lines = oracle(form)
    # All at once: their steps have rows of each other.
    with concurrent.futures.ThreadPoolExecutor(len(lines)) as pool:
        worst = dict(zip(lines, pool.map(lambda line: check(group, line), lines.values())))
    print(f"{form}, {stages} x {ranks}: largest differences by sequence {worst}")
