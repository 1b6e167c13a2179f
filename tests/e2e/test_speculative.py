"""Speculative decoding with the MTP module (--speculative-config) changes when a token comes, never
which."""

import concurrent.futures
import json
import os
import signal
import subprocess

import pytest
import running_group

ONE = '{"method":"mtp","num_speculative_tokens":1}'
THREE = '{"method":"mtp","num_speculative_tokens":3}'
PROMPTS = ["What is 17 + 25?", "The quick brown fox", "List three colours:", "Once upon a time"]
WAYS = [
    {"temperature": 0, "logprobs": 2},
    {"temperature": 0.8, "seed": 7, "presence_penalty": 0.7, "frequency_penalty": 0.3},
    {"temperature": 1.0, "seed": 8, "repetition_penalty": 1.2, "logprobs": 3},
    {"temperature": 0.6, "seed": 9, "top_p": 0.9, "max_tokens": 1},
    {"temperature": 0.9, "seed": 10, "min_tokens": 12, "logit_bias": {"300": 2.0},
     "max_tokens": 23},
    {"temperature": 0, "ignore_eos": True, "max_tokens": 70},
    {"temperature": 0, "stop": ["e"]},
    {"temperature": 0, "stop": ["e"], "stream": True, "logprobs": 1},
    {"temperature": 0, "stop_token_ids": list(range(300, 420)), "min_tokens": 3, "logprobs": 1},
    {"temperature": 0.9, "seed": 12, "n": 2, "stream": True, "max_tokens": 33},
    {"temperature": 0.7, "seed": 14, "bad_words": ["a", "the", "so"], "thinking_token_budget": 20},
    {"temperature": 0.7, "seed": 11, "structured_outputs": {"regex": "[a-z ]{5,40}[.]"}},
]
ENDLESS = [way for way in WAYS if "structured_outputs" not in way]


def said_at_once(answer):
    """What one answer says: of its choices text, ending, tokens and log-probabilities; tokens that
    are charged."""
    choices = [[choice["text"], choice["finish_reason"], choice.get("token_ids"),
                choice.get("logprobs")]
               for choice in answer["choices"]]
    return choices, answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]


def said_in_pieces(stream):
    """The same of a stream's chunks, however its tokens are spread over them."""
    events = [line[6:] for line in stream.splitlines() if line.startswith("data: ")]
    assert events.pop() == "[DONE]"
    chunks = [json.loads(event) for event in events]
    choices = {}
    for choice in (choice for chunk in chunks for choice in chunk["choices"]):
        said = choices.setdefault(choice["index"], ["", None, [], {}])
        said[0] += choice["text"]
        said[1] = choice["finish_reason"] or said[1]
        said[2] += choice.get("token_ids") or []
        for name, values in (choice.get("logprobs") or {}).items():
            said[3].setdefault(name, []).extend(values)
    usage = chunks[-1]["usage"]
    said = [choices[index] for index in sorted(choices)]
    return said, usage["prompt_tokens"], usage["completion_tokens"]


def answers(group, ways=WAYS, prompts=PROMPTS, **more):
    """Everything that is said of each prompt in each way, all of them asked at the same time."""

    def ask(prompt, way):
        fields = {"max_tokens": 40, "return_token_ids": True, **way, **more}
        if fields.get("stream"):
            fields["stream_options"] = {"include_usage": True}
        code, text = running_group.complete(group, prompt, **fields)
        assert code == 200, text
        return said_in_pieces(text) if fields.get("stream") else said_at_once(json.loads(text))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, prompt, way) for prompt in prompts for way in ways]
        return [answer.result() for answer in asked]


def counters(group):
    """(checked, right, {position: right}) of guessed tokens, by the gateway."""
    samples = group.metrics("gateway")
    at = {name.split('position="')[1].split('"')[0]: value for name, value in samples.items()
          if name.startswith("vllm:spec_decode_num_accepted_tokens_per_pos_total{")}
    label = f'{{engine="0",model_name="{group.model}"}}'
    return (samples["vllm:spec_decode_num_draft_tokens_total" + label],
            samples["vllm:spec_decode_num_accepted_tokens_total" + label], at)


def expect_no_blocks_left(group):
    running_group.wait_until(
        lambda: all(group.metrics(name)["baton_stage_kv_blocks_used"] == 0
                    for name in group.pids if name.startswith("stage-worker")), "free blocks")


def test_bench_serve_reports_what_the_endpoint_counts(start_group, tmp_path):
    running = start_group("--speculative-config", ONE, stages=1, ranks=1)

    def bench(*arguments):
        """Its JSON result, its text, and how far the endpoint's count of drafts went on."""
        before = counters(running)
        result = subprocess.run(
            [running_group.BIN / "baton", "bench", "serve", "--base-url", running.base_url,
             "--max-concurrency", "1", "--random-input-len", "8", "--ignore-eos", "--temperature",
             "0", "--save-result", "--result-dir", tmp_path, "--result-filename",
             "run.json", *arguments],
            capture_output=True, text=True, timeout=120, check=True)
        figures = json.loads((tmp_path / "run.json").read_text())
        return figures, result.stdout, counters(running)[0] - before[0]

    # Long enough for several of the reports with which the scheduler tells the gateway what it
    # counts.
    figures, text, counted = bench("--num-prompts", "60", "--random-output-len", "60")
    assert "---------------Speculative Decoding---------------" in text
    assert "  Position 0:" in text
    checked, right = figures["spec_decode_draft_tokens"], figures["spec_decode_accepted_tokens"]
    assert checked == figures["spec_decode_num_drafts"] == counted > 0
    assert figures["spec_decode_acceptance_rate"] == pytest.approx(100 * right / checked)
    assert figures["spec_decode_acceptance_length"] == pytest.approx(1 + right / checked)
    assert figures["spec_decode_per_position_acceptance_rates"] == pytest.approx([right / checked])
    # Readiness check, warm-up and run ask the same; only the run's drafts are the run's.
    figures, _, counted = bench("--num-prompts", "1", "--random-output-len", "200",
                                "--ready-check-timeout-sec", "30", "--num-warmups", "1")
    assert 3 * figures["spec_decode_num_drafts"] == counted > 0


@pytest.mark.parametrize("stages,ranks", [(1, 2), (2, 1), (2, 2)])
def test_answers_are_the_same_on_and_off(start_group, stages, ranks):
    without = start_group(stages=stages, ranks=ranks)
    expected = answers(without)
    assert without.stop() == 0
    for config in (ONE, THREE):
        running = start_group("--speculative-config", config, stages=stages, ranks=ranks)
        assert answers(running) == expected
        assert answers(running) == expected
        running_group.wait_until(lambda: counters(running)[1] > 0, "guesses that are right")
        checked, right, at = counters(running)
        assert 0 < right < checked
        assert sum(at.values()) == right
        assert set(at) == ({"0"} if config == ONE else {"0", "1", "2"})
        assert min(at.values()) > 0
        expect_no_blocks_left(running)
        assert running.stop() == 0


def test_answers_are_the_same_behind_a_cached_beginning(start_group):
    prompts = ["What is 17 + 25? " * 40 + prompt for prompt in PROMPTS]
    ways = [{"temperature": 0, "ignore_eos": True, "max_tokens": 80}, {"temperature": 0.8,
                                                                       "seed": 3, "logprobs": 2}]
    without = start_group("--no-enable-prefix-caching", stages=2, ranks=1)
    expected = answers(without, ways, prompts)
    assert without.stop() == 0
    running = start_group("--speculative-config", THREE, stages=2, ranks=1)
    for _ in range(2):
        assert answers(running, ways, prompts) == expected
    found = running.metrics("scheduler")["baton_scheduler_prefix_cache_hit_tokens_total"]
    assert found >= len(PROMPTS) * len(ways) * 128


def test_answers_are_the_same_up_to_a_length_that_ends_no_block(start_group):
    flags = ["--max-model-len", "100"]
    way = [{"temperature": 0, "ignore_eos": True, "max_tokens": 80}, {"temperature": 1, "seed": 5,
                                                                      "max_tokens": 81}]
    without = start_group(*flags, stages=2, ranks=1)
    expected = answers(without, way)
    assert without.stop() == 0
    running = start_group(*flags, "--speculative-config", THREE, stages=2, ranks=1)
    assert answers(running, way) == expected


def test_answers_are_the_same_where_blocks_run_out(start_group):
    flags = ["--max-model-len", "192", "--num-gpu-blocks-override", "9"]
    without = start_group(*flags, stages=2, ranks=1)
    expected = answers(without, ENDLESS, ignore_eos=True, max_tokens=100)
    assert without.stop() == 0
    running = start_group(*flags, "--speculative-config", THREE, stages=2, ranks=1)
    assert answers(running, ENDLESS, ignore_eos=True, max_tokens=100) == expected
    running_group.wait_until(
        lambda: running.metrics("scheduler")["baton_scheduler_preemptions_total"] > 0,
        "sequences that gave way")
    expect_no_blocks_left(running)


@pytest.mark.parametrize("lost", ["stage-worker-0", "stage-worker-1", "scheduler"])
def test_answers_survive_a_loss(start_group, lost):
    without = start_group(stages=2, ranks=1)
    expected = answers(without, ENDLESS, ignore_eos=True, max_tokens=200)
    assert without.stop() == 0
    running = start_group("--speculative-config", ONE, stages=2, ranks=1, may_die=True)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(answers, running, ENDLESS, ignore_eos=True, max_tokens=200)
        running_group.wait_until(lambda: counters(running)[0] > 20, "guesses")
        os.kill(running.pids[lost], signal.SIGKILL)
        assert asked.result() == expected


@pytest.mark.parametrize("config,message", [
    ('{"method":"eagle3","num_speculative_tokens":2}', 'supported: "mtp"'),
    ('{"method":"mtp","num_speculative_tokens":0}', "allowed: 1 to 8"),
    ("mtp", "it is no JSON object"),
])
def test_what_is_not_supported_is_named(tmp_path, config, message):
    scheduler = subprocess.run([running_group.BIN / "baton-scheduler", "--model",
                                running_group.DEMO_MODEL, "--listen-address", "127.0.0.1:0",
                                "--metrics-address", "", "--speculative-config", config],
                               capture_output=True, text=True, timeout=60)
    assert scheduler.returncode != 0
    assert message in scheduler.stderr + scheduler.stdout
