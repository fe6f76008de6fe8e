#!/usr/bin/env python3
"""Does literally what a document says, in an empty folder.

usage: follow.py DOCUMENT FOLDER

Fenced blocks with a file name behind the language ("```cpp square.cpp") become files. In ```console
blocks, lines that begin with "$ " run; the lines below are what they must print, where "..." stands
for anything: within a line, or as a line of its own for any number of lines. "$ ! command" must
fail. Standard error counts as output and comes first.
"""

import pathlib
import re
import subprocess
import sys

FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pattern_of(lines):
    parts = []
    for line in lines:
        if line == "...":
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(".*".join(re.escape(p) for p in line.split("...")) + r"\n")
    return re.compile("".join(parts))


def run(command, expected, folder, place):
    must_fail = command.startswith("! ")
    done = subprocess.run(["bash", "-c", command.removeprefix("! ")], cwd=folder, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=600)
    output = done.stderr + done.stdout
    if (done.returncode != 0) != must_fail:
        sys.exit(f"{place}: '{command}' exits with {done.returncode}\n{output}")
    if not pattern_of(expected).fullmatch(output):
        sys.exit(f"{place}: '{command}' prints\n{output}instead of\n" + "\n".join(expected))


def main():
    document, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True)
    text = document.read_text()
    files = commands = 0
    for block in FENCE.finditer(text):
        language, name, content = block.groups()
        place = f"{document.name}:{text[:block.start()].count(chr(10)) + 1}"
        if name:
            (folder / name).write_text(content)
            files += 1
        if language != "console":
            continue
        lines = content.splitlines()
        starts = [i for i, line in enumerate(lines) if line.startswith("$ ")]
        for start, end in zip(starts, starts[1:] + [len(lines)]):
            run(lines[start][2:], lines[start + 1:end], folder, place)
            commands += 1
    print(f"{document.name}: {files} files, {commands} commands")
    return 0 if files and commands else 1


if __name__ == "__main__":
    sys.exit(main())
