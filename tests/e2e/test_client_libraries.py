"""Client libraries that people use with vLLM, against a running group: nothing but the URL
differs."""

import json

import anthropic
import openai
import pytest
from running_group import ROOT

QUESTION = [{"role": "user", "content": "What is 17 + 25?"}]
WEATHER = {"type": "function",
           "function": {"name": "weather", "description": "Weather of a city.",
                        "parameters": {"type": "object", "properties": {"city": {"type": "string"}},
                                       "required": ["city"]}}}


@pytest.fixture
def client(group):
    with openai.OpenAI(base_url=group.endpoint, api_key="none", max_retries=0, timeout=60) as made:
        yield made


@pytest.fixture
def claude(group):
    with anthropic.Anthropic(base_url=group.base_url, api_key="none", max_retries=0,
                             timeout=60) as made:
        yield made


def test_openai_responses(client, group):
    options = {"model": group.model, "input": "What is 17 + 25?", "temperature": 0, "store": False}
    whole = client.responses.create(**options)
    assert whole.status == "completed"
    assert "42" in whole.output_text
    assert [item.type for item in whole.output] == ["reasoning", "message"]
    assert 0 < whole.usage.output_tokens_details.reasoning_tokens < whole.usage.output_tokens
    with client.responses.stream(**{key: options[key] for key in ("model", "input", "temperature")}
                                 ) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(deltas) == whole.output_text == final.output_text
    assert final.usage.output_tokens == whole.usage.output_tokens


def test_openai_raw_response_and_stream_helper(client, group):
    raw = client.chat.completions.with_raw_response.create(model=group.model, messages=QUESTION,
                                                           temperature=0)
    assert "chatcmpl-" + raw.headers["x-request-id"] == raw.parse().id
    with client.chat.completions.stream(model=group.model, messages=QUESTION,
                                        temperature=0) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == raw.parse().choices[0].message.content


def test_openai_tools_are_refused_where_the_template_hides_them(client, group):
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(model=group.model, messages=QUESTION, tools=[WEATHER])
    assert error.value.param == "tools"


def test_openai_tools(start_group):
    template = ROOT / "manifests/chat_templates/deepseek_r1_tools.jinja"
    group = start_group("--chat-template", template, "--tool-call-parser", "deepseek_v3",
                        "--enable-auto-tool-choice", stages=1, ranks=1)
    turns = [*QUESTION,
             {"role": "assistant", "content": None, "tool_calls": [
                 {"id": "c1", "type": "function",
                  "function": {"name": "weather", "arguments": "{\"city\": \"Köln\"}"}}]},
             {"role": "tool", "tool_call_id": "c1", "content": "12 degrees"}]
    with openai.OpenAI(base_url=group.endpoint, api_key="none", timeout=60) as made:
        answer = made.chat.completions.create(model=group.model, messages=turns, tools=[WEATHER],
                                              max_tokens=30,
                                              extra_body={"return_prompt_text": True})
    assert "<｜tool▁output▁begin｜>12 degrees<｜tool▁output▁end｜>" in answer.prompt_text
    assert "Weather of a city." in answer.prompt_text
    assert answer.usage.completion_tokens > 0


def test_anthropic_messages(claude, group):
    options = {"model": group.model, "max_tokens": 300, "messages": QUESTION,
               "extra_body": {"temperature": 0}}
    whole = claude.messages.create(**options)
    assert whole.stop_reason == "end_turn"
    assert [block.type for block in whole.content] == ["thinking", "text"]
    assert "42" in whole.content[1].text
    with claude.messages.stream(**options) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == whole.content[1].text
    assert final.content[0].thinking == whole.content[0].thinking
    assert final.usage.output_tokens == whole.usage.output_tokens
    count = claude.messages.count_tokens(model=group.model, messages=QUESTION)
    assert count.input_tokens == whole.usage.input_tokens + whole.usage.cache_read_input_tokens


def test_anthropic_tools(start_group):
    group = start_group("--chat-template", ROOT
                        / "manifests/chat_templates/deepseek_r1_tools.jinja",
                        stages=1, ranks=1)
    cities = {"type": "object", "properties": {"city": {"enum": ["Köln", "Rome"]}},
              "required": ["city"]}
    options = {"model": group.model, "max_tokens": 400, "messages": QUESTION,
               "tools": [{"name": "weather", "description": "Weather of a city.",
                          "input_schema": cities}],
               "thinking": {"type": "enabled", "budget_tokens": 20},
               "extra_body": {"temperature": 0}}
    forced = {**options, "tool_choice": {"type": "any", "disable_parallel_tool_use": True}}
    with anthropic.Anthropic(base_url=group.base_url, api_key="none", max_retries=0,
                             timeout=60) as made:
        with made.messages.stream(**forced) as stream:
            pieces = [event.partial_json for event in stream if event.type == "input_json"]
            final = stream.get_final_message()
        assert final.stop_reason == "tool_use"
        assert [block.type for block in final.content] == ["thinking", "tool_use"]
        call = final.content[1]
        assert call.name == "weather"
        assert call.input == json.loads("".join(pieces))
        assert call.input["city"] in ("Köln", "Rome")
        whole = made.messages.create(**forced)
        assert whole.content[1].input == call.input
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "12 degrees"}
        turns = [*QUESTION, {"role": "assistant", "content": final.content},
                 {"role": "user", "content": [result]}]
        second = made.messages.create(**{**options, "messages": turns})
    assert second.usage.input_tokens + second.usage.cache_read_input_tokens > \
        whole.usage.input_tokens + whole.usage.cache_read_input_tokens
    assert second.usage.output_tokens > 0


def test_anthropic_errors_are_its_exceptions(claude, group):
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.create(model="claude-9", max_tokens=5, messages=QUESTION)
    with pytest.raises(anthropic.BadRequestError) as error:
        claude.messages.create(model=group.model, max_tokens=0, messages=QUESTION)
    assert "max_tokens" in str(error.value)


def test_anthropic_conversation_with_thinking(claude, group):
    first = claude.messages.create(model=group.model, max_tokens=300, messages=QUESTION,
                                   extra_body={"temperature": 0}, system="Answer in one line.")
    turns = [*QUESTION, {"role": "assistant", "content": first.content},
             {"role": "user", "content": [{"type": "text", "text": "And 1 + 1?"}]}]
    second = claude.messages.create(model=group.model, max_tokens=20, messages=turns)
    assert second.usage.output_tokens > 0


def test_langchain(group):
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model=group.model, base_url=group.endpoint, api_key="none", temperature=0,
                       max_retries=0, stream_usage=True)
    whole = model.invoke("What is 17 + 25?")
    assert "42" in whole.content
    assert whole.usage_metadata["output_token_details"]["reasoning"] > 0
    chunks = list(model.stream("What is 17 + 25?"))
    assert "".join(chunk.content for chunk in chunks) == whole.content


def test_litellm(group, monkeypatch):
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    options = {"model": f"hosted_vllm/{group.model}", "api_base": group.endpoint, "api_key": "none",
               "messages": QUESTION, "temperature": 0, "num_retries": 0}
    whole = litellm.completion(**options).choices[0].message
    assert "42" in whole.content
    assert whole.reasoning_content
    pieces = [chunk.choices[0].delta.content or ""
              for chunk in litellm.completion(stream=True, **options)]
    assert "".join(pieces) == whole.content
