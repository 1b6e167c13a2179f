"""The comparison of templates sees what differs, and what only one of two refuses."""

import pytest

from compare_templates import first_difference, read_template

SAYS = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
CONTEXTS = [{"messages": []}, {"messages": [{"content": "a"}]}, {"messages": [{"content": ""}]}]


def test_templates_that_print_the_same_are_the_same():
    other = "{%- for m in messages -%}\n{{ m['content'] + '\\n' }}\n{%- endfor -%}"
    assert first_difference(SAYS, other, CONTEXTS) is None


@pytest.mark.parametrize("other,said", [
    (SAYS.replace("m.content", "m.content or 'b'"), "b\n"),
    ("{% if messages and not messages[0].content %}{{ raise_exception('empty') }}{% endif %}"
     + SAYS,
     None),
])
def test_the_first_difference_is_found(other, said):
    assert first_difference(SAYS, other, CONTEXTS) == (CONTEXTS[2], "\n", said)


def test_a_template_is_read_from_a_tokenizer_config(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": "x"}')
    (tmp_path / "t.jinja").write_text("y")
    assert read_template(tmp_path / "tokenizer_config.json") == "x"
    assert read_template(tmp_path / "t.jinja") == "y"
