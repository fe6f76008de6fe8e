#!/usr/bin/env python3
"""Compares Tintype's speed with that of ONNX Runtime and OpenVINO on ONNX models.

usage: peers.py MODEL.onnx... [--threads 2,1] [--batch 1,8] [--rounds 5] [--seconds 1]
                [--tintype build/release/tintype] [--engines tintype,onnxruntime,openvino]
                [--json FILE] [--markdown FILE] [--title TEXT]

Every measurement is a process of its own and only one runs at a time. A round measures each engine
once, one after the other, so that a machine that slows down does so for all; the figures are
medians over the rounds, and the ratio is the median over the rounds of (better peer's median /
Tintype's median): above 1, Tintype is faster. Memory is the peak in MB, for the peers less what
their Python interpreter takes. In the table `-` means not measured, and `failed` has its message in
the JSON. Run it with a Python that has onnx, onnxruntime and openvino (bench/run.sh does).
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import shlex
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PEERS = ("onnxruntime", "openvino")
ENGINES = ("tintype", *PEERS)
TITLES = {"tintype": "Tintype", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
TIMEOUT_SECONDS = 900


def model_inputs(path, batch):
    """Name, dtype and static shape of each input, and the extents given to symbolic dimensions."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs, symbols = [], {}
    # A model without symbolic extents runs as it is: its first axis may be time.
    fixed = all(dim.HasField("dim_value") for value in model.graph.input
                for dim in value.type.tensor_type.shape.dim)
    for value in model.graph.input:
        if value.name in weights:
            continue
        tensor = value.type.tensor_type
        shape = []
        for axis, dim in enumerate(tensor.shape.dim):
            if dim.HasField("dim_value"):
                shape.append(dim.dim_value)
            elif axis == 0:
                symbols[dim.dim_param] = batch
                shape.append(batch)
            else:
                raise ValueError(f"input {value.name}: dimension {axis} is symbolic, and only the "
                                 "batch may be")
        if shape and shape[0] != batch and not fixed:
            raise ValueError(f"input {value.name} has the fixed shape {shape}, not batch {batch}")
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        inputs.append({"name": value.name, "dtype": dtype.name, "shape": shape})
    return inputs, {name: extent for name, extent in symbols.items() if name}


def command_of(engine, options, model, threads, batch):
    if engine == "tintype":
        return [str(options.tintype), "bench", str(model), "--threads", str(threads), "--batch",
                str(batch), "--seconds", str(options.seconds), "--json", "-"]
    inputs, symbols = model_inputs(model, batch)
    job = {"engine": engine, "model": str(model), "threads": threads, "seconds": options.seconds,
           "inputs": inputs, "symbols": symbols}
    return [sys.executable, str(HERE / "peer_worker.py"), json.dumps(job)]


def measure(command):
    """One measurement, or {"error": text}."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"error": str(error)}
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        return {"error": lines[-1] if lines else f"exit code {done.returncode}"}
    try:
        return json.loads(done.stdout[done.stdout.index("{"):])
    except ValueError:
        return {"error": f"no JSON in its output: {done.stdout[-200:]!r}"}


def medians(rounds):
    """The median over the rounds of every number that all rounds have."""
    keys = [key for key, value in rounds[0].items() if isinstance(value, (int, float))]
    return {key: statistics.median(result[key] for result in rounds) for key in keys
            if all(key in result for result in rounds)}


def compare(options, model, threads, batch):
    """All rounds of one model in one setting."""
    commands = {engine: command_of(engine, options, model, threads, batch)
                for engine in options.engines}
    rounds, errors = {engine: [] for engine in commands}, {}
    for number in range(options.rounds):
        for engine, command in commands.items():
            if engine in errors:
                continue
            progress(f"{model.stem}, {threads} threads, batch {batch}: round {number + 1} of "
                     f"{options.rounds}, {TITLES[engine]}")
            result = measure(command)
            if "error" in result:
                errors[engine] = result["error"]
                print(f"{model.stem}: {TITLES[engine]} failed: {result['error']}", file=sys.stderr)
            else:
                rounds[engine].append(result)
    progress("")
    row = {"model": model.stem, "file": str(model), "threads": threads, "batch": batch,
           "engines": {engine: {**medians(results), "rounds": results}
                       for engine, results in rounds.items() if results and engine not in errors},
           "errors": errors}
    ratios = ratios_to_better_peer(row["engines"])
    if ratios:
        row["ratio"] = statistics.median(ratios)
        row["ratio_range"] = [min(ratios), max(ratios)]
    return row


def ratios_to_better_peer(engines):
    peers = [engines[peer]["rounds"] for peer in PEERS if peer in engines]
    if "tintype" not in engines or not peers:
        return []
    return [min(peer[i]["median_ms"] for peer in peers) / own["median_ms"]
            for i, own in enumerate(engines["tintype"]["rounds"])]


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def first_line(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=HERE)
        return done.stdout.partition("\n")[0]
    except OSError:
        return ""


def machine():
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    name = re.search(r"model name\s*: (.*)", cpuinfo)
    flags = re.search(r"flags\s*: (.*)", cpuinfo)
    vector = [flag for flag in ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")
              if flags and flag in flags[1].split()]
    memory = re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())
    return {"cpu": name[1] if name else platform.processor(), "cpus": len(os.sched_getaffinity(0)),
            "vector": vector, "memory_gb": round(int(memory[1]) / 2**20, 1) if memory else None,
            "system": platform.platform()}


def versions(options):
    found = {"python": platform.python_version()}
    for engine in options.engines:
        if engine == "tintype":
            found[engine] = first_line(["git", "describe", "--always", "--dirty"])
        else:
            found[engine] = importlib.metadata.version(engine)
    return found


def markdown(report):
    about, engines = report["machine"], report["engines"]
    versions_text = ", ".join(f"{TITLES.get(name, name)} {version}"
                              for name, version in report["versions"].items() if name in TITLES)
    lines = [f"# {report['title']}", "",
             f"{report['date']}; {about['cpu']}, {about['cpus']} CPUs "
             f"({', '.join(about['vector'])}), {about['memory_gb']} GB, {about['system']}", "",
             f"{versions_text}; f32; {report['rounds']} interleaved rounds of {report['seconds']} "
             "s, medians in milliseconds; ratio: better peer / Tintype (lowest to highest round)",
             "",
             f"    {report['command']}", "",
             "| model | threads | batch | " + " | ".join(TITLES[e] for e in engines) + " | ratio | "
             + " | ".join(f"memory {TITLES[e]}" for e in engines) + " |",
             "|---|---|---|" + "---|" * (2 * len(engines) + 1)]
    for row in report["results"]:
        times = [cell(row, engine, lambda m: f"{m['median_ms']:.2f}") for engine in engines]
        memory = [cell(row, engine, net_memory) for engine in engines]
        ratio = "-"
        if "ratio" in row:
            low, high = row["ratio_range"]
            ratio = f"{row['ratio']:.2f} ({low:.2f}-{high:.2f})"
        cells = [row["model"], str(row["threads"]), str(row["batch"]), *times, ratio, *memory]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def cell(row, engine, text):
    if engine in row["errors"]:
        return "failed"
    return text(row["engines"][engine]) if engine in row["engines"] else "-"


def net_memory(result):
    """Peak memory in MB less that of the Python interpreter around the peers."""
    return f"{result['peak_rss_mb'] - result.get('base_rss_mb', 0):.0f}"


def numbers(text):
    return [int(part) for part in text.split(",")]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--threads", type=numbers, default=[2])
    parser.add_argument("--batch", type=numbers, default=[1])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--tintype", type=pathlib.Path,
                        default=HERE.parent / "build/release/tintype")
    parser.add_argument("--engines", type=lambda text: text.split(","), default=list(ENGINES))
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--markdown", type=pathlib.Path)
    parser.add_argument("--title", default="Tintype and its peers")
    options = parser.parse_args()
    unknown = set(options.engines) - set(ENGINES)
    if unknown:
        parser.error(f"unknown engines {', '.join(sorted(unknown))}; known: {', '.join(ENGINES)}")
    missing = [str(model) for model in options.models if not model.is_file()]
    if missing:
        parser.error(f"no such file: {', '.join(missing)}")
    return options


def main():
    options = parse_arguments()
    results = [compare(options, model, threads, batch) for threads in options.threads
               for batch in options.batch for model in options.models]
    report = {"title": options.title, "date": datetime.date.today().isoformat(),
              "command": shlex.join(["bench/peers.py", *sys.argv[1:]]), "machine": machine(),
              "versions": versions(options), "engines": options.engines, "rounds": options.rounds,
              "seconds": options.seconds, "results": results}
    table = markdown(report)
    print(table, end="")
    if options.markdown:
        options.markdown.write_text(table)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 1 if any(row["errors"] for row in results) else 0


if __name__ == "__main__":
    sys.exit(main())
