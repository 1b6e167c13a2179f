"""C++ source text as the checks need it."""

import re

_TOKEN = re.compile(
    r"""
      //[^\n]*                                  # line comment
    | /\*.*?\*/                                 # block comment
    | R"(?P<delimiter>[^()\s\\]{0,16})\(.*?\)(?P=delimiter)"   # raw string
    | "(?:\\.|[^"\\\n])*"                       # string
    | (?<![0-9A-Fa-f])'(?:\\.|[^'\\\n])+'       # character, not a digit separator
    """,
    re.VERBOSE | re.DOTALL,
)

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+(["<])([^">]+)[">]', re.MULTILINE)


def blank(text):
    """`text` without comments and literals; line numbers stay."""
    return _TOKEN.sub(lambda match: "\n" * match.group().count("\n") or " ", text)


def includes(text):
    """(line, quoted, path) of every include line."""
    return [
        (text.count("\n", 0, match.start()) + 1, match.group(1) == '"', match.group(2))
        for match in INCLUDE.finditer(text)
    ]


_PREPROCESSOR = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
_SCOPE = re.compile(r"\b(namespace|class|struct|union|enum|extern)\b")
_CONTROL = re.compile(r"\b(if|for|while|switch|do|else|try|catch)\b")


def functions(text):
    """(first line, number of lines, name) of every function body outside other functions."""
    code = _PREPROCESSOR.sub(lambda match: "\n" * match.group().count("\n"), blank(text))
    found = []
    stack = []  # per open brace: None, or (line, name) of the function that it opens
    head = 0  # where the text that leads to the next brace begins
    line = 1
    parentheses = 0
    for position, character in enumerate(code):
        if character == "\n":
            line += 1
        elif character == "(":
            parentheses += 1
        elif character == ")":
            parentheses -= 1
        elif character == "{":
            lead = code[head:position]
            inside = any(entry is not None for entry in stack)
            opens = not inside and _opens_function(lead)
            stack.append((line, _name(lead)) if opens else None)
            head = position + 1
        elif character == "}" and stack:
            entry = stack.pop()
            if entry is not None:
                found.append((entry[0], line - entry[0] + 1, entry[1]))
            head = position + 1
        elif character == ";" and parentheses == 0:
            head = position + 1
    return found


def _opens_function(lead):
    if "(" not in lead or _CONTROL.search(lead.split("(")[0]):
        return False
    before = lead.split("(")[0]
    if _SCOPE.search(before) and not re.search(r"[\w>&*]\s+[\w:~]+\s*$", before):
        return False
    return not re.search(r"=\s*$", lead)


def _name(lead):
    match = re.search(r"([\w:~]+)\s*\([^()]*$", lead.split("(")[0] + "(")
    return match.group(1) if match else "?"
