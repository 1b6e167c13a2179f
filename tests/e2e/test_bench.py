"""`baton bench serve` and `baton top` against a group."""

import json
import subprocess

import running_group

KEYS = {
    "date", "backend", "model_id", "tokenizer_id", "num_prompts", "request_rate", "burstiness",
    "max_concurrency", "duration", "completed", "failed", "total_input_tokens",
    "total_output_tokens", "request_throughput", "request_goodput", "output_throughput",
    "total_token_throughput", "max_output_tokens_per_s", "max_concurrent_requests", "input_lens",
    "output_lens", "ttfts", "itls", "start_times", "generated_texts", "errors", "latencies",
    "queue_times",
} | {f"{kind}_{metric}_ms" for kind in ("mean", "median", "std", "p50", "p99")
     for metric in ("ttft", "tpot", "itl", "e2el")}


def run_baton(*arguments):
    command = [str(word) for word in (running_group.BIN / "baton", *arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def bench(group, folder, *arguments):
    """The JSON result and the text report of a run."""
    result = run_baton("bench", "serve", "--base-url", group.base_url, "--save-detailed",
                       "--result-dir", folder, "--result-filename", "run.json",
                       "--percentile-metrics", "ttft,tpot,itl,e2el", "--metric-percentiles",
                       "50,99", *arguments)
    assert result.returncode == 0, result.stderr
    return json.loads((folder / "run.json").read_text()), result.stdout


def test_open_loop_counts_what_it_sent(group, tmp_path):
    result, text = bench(group, tmp_path, "--num-prompts", 12, "--request-rate", 50,
                         "--random-input-len", 20, "--random-output-len", 6, "--ignore-eos",
                         "--num-warmups", 1, "--goodput", "e2el:60000")
    assert KEYS <= result.keys()
    assert (result["completed"], result["failed"]) == (12, 0)
    assert result["total_input_tokens"] == 12 * 20
    assert result["output_lens"] == [6] * 12
    assert result["request_goodput"] == result["request_throughput"]
    # Tokens that come together make one chunk.
    assert all(len(gaps) <= 5 for gaps in result["itls"])
    assert any(result["itls"])
    assert all(ttft > 0 for ttft in result["ttfts"])
    assert result["start_times"] == sorted(result["start_times"])
    assert "Successful requests:                     12" in text
    assert "Request goodput (req/s):" in text


def test_closed_loop_chats_with_text_of_known_length(group, tmp_path):
    result, _ = bench(group, tmp_path, "--backend", "openai-chat", "--tokenizer",
                      running_group.DEMO_MODEL, "--num-prompts", 6, "--max-concurrency", 2,
                      "--random-input-len", 16, "--random-output-len", 4, "--ignore-eos")
    assert (result["completed"], result["failed"]) == (6, 0)
    assert result["output_lens"] == [4] * 6
    assert result["max_concurrency"] == 2


def test_custom_prompts_are_counted_by_the_server(group, tmp_path):
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "What is 17 + 25?", "output_tokens": 3}\n')
    result, _ = bench(group, tmp_path, "--dataset-name", "custom", "--dataset-path",
                      tmp_path / "prompts.jsonl", "--num-prompts", 2, "--ignore-eos")
    assert result["output_lens"] == [3, 3]
    assert result["input_lens"][0] > 3


def test_conversations_are_sent_and_results_are_collected(group, tmp_path):
    turns = [{"from": "human", "value": "What is the sum of 17 and 25?"},
             {"from": "gpt", "value": "The sum of 17 and 25 is 42."}]
    (tmp_path / "chats.json").write_text(json.dumps([{"id": "1", "conversations": turns},
                                                     {"id": "2", "conversations": turns[:1]}]))
    for _ in range(2):
        result = run_baton("bench", "serve", "--base-url", group.base_url, "--dataset-name",
                           "sharegpt", "--dataset-path", tmp_path / "chats.json", "--tokenizer",
                           running_group.DEMO_MODEL, "--sharegpt-output-len", 3, "--num-prompts", 2,
                           "--ignore-eos", "--append-result", "--result-dir", tmp_path,
                           "--result-filename", "all.json", "--profile", "--probe-request-rate", 1)
        assert result.returncode == 0, result.stderr
        for flag in ("--profile", "--probe-request-rate"):
            assert f"{flag} is ignored" in result.stderr
    results = [json.loads(line) for line in (tmp_path / "all.json").read_text().splitlines()]
    assert [(one["completed"], one["total_output_tokens"]) for one in results] == [(2, 6), (2, 6)]


def test_refused_requests_are_failures_with_a_reason(group):
    result = run_baton("bench", "serve", "--base-url", group.base_url, "--num-prompts", 2,
                       "--model", "no-such-model", "--random-input-len", 8)
    assert result.returncode == 1
    assert "Failed requests:                         2" in result.stdout
    assert "no-such-model" in result.stderr


def test_top_shows_every_process_of_a_group(group):
    result = run_baton("top", "--once", "--interval", "0.1", "--state-file", group.state_file)
    assert result.returncode == 0, result.stderr
    assert "group      ready" in result.stdout
    assert "tiny-r1" in result.stdout
    rows = [line.split()[:2] for line in result.stdout.splitlines()]
    assert ["0", "ready"] in rows and ["1", "ready"] in rows
    assert "missing" not in result.stdout


def test_top_names_a_process_that_is_missing(group):
    gateway, stage = (group.metrics_urls[name] for name in ("gateway", "stage-worker-0"))
    result = run_baton("top", "--once", "--interval", "0.1", "--metrics", gateway, stage,
                       "http://127.0.0.1:1/metrics")
    assert result.returncode == 0, result.stderr
    assert "http://127.0.0.1:1/metrics missing: cannot connect" in result.stdout
