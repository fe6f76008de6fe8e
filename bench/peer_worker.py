#!/usr/bin/env python3
"""Measures one model in one inference engine in this process and prints one line of JSON.

usage: peer_worker.py '{"engine": "onnxruntime" | "openvino", "model": PATH, "threads": N,
                        "seconds": S, "inputs": [{"name", "dtype", "shape"}], "symbols": {NAME: N}}'
The fields of the answer are those of `tintype bench --json`, and base_rss_mb: the memory of the
bare interpreter, which is no fault of the engine. Each engine gets what helps it: static shapes,
inputs and outputs bound once; and arithmetic in f32, as Tintype computes.
"""

import importlib
import json
import pathlib
import re
import sys
import time

import numpy as np

MIN_RUNS = 5
WARM_UP_SECONDS = 0.2


def random_input(spec):
    random = np.random.default_rng(0)
    dtype = np.dtype(spec["dtype"])
    if np.issubdtype(dtype, np.floating):
        return random.standard_normal(spec["shape"]).astype(dtype)
    return random.integers(0, 2, spec["shape"]).astype(dtype)


def load_onnxruntime(job):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = job["threads"]
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    for name, extent in job["symbols"].items():
        options.add_free_dimension_override_by_name(name, extent)
    session = ort.InferenceSession(job["model"], options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for spec in job["inputs"]:
        binding.bind_cpu_input(spec["name"], random_input(spec))
    for output in session.get_outputs():
        binding.bind_output(output.name)
    return lambda: session.run_with_iobinding(binding)


def load_openvino(job):
    import openvino as ov

    core = ov.Core()
    model = core.read_model(job["model"])
    model.reshape({spec["name"]: spec["shape"] for spec in job["inputs"]})
    compiled = core.compile_model(model, "CPU", {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": job["threads"],
        "INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    for spec in job["inputs"]:
        request.set_tensor(spec["name"], ov.Tensor(random_input(spec)))
    return request.infer


LOAD = {"onnxruntime": load_onnxruntime, "openvino": load_openvino}


def milliseconds(function):
    start = time.perf_counter()
    result = function()
    return (time.perf_counter() - start) * 1e3, result


def peak_rss_mb():
    """From the memory map itself: getrusage would count what the parent had before exec."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 1024


def main():
    job = json.loads(sys.argv[1])
    base_rss_mb = peak_rss_mb()
    importlib.import_module(job["engine"])  # done here because it is not part of loading a model
    load_ms, run = milliseconds(lambda: LOAD[job["engine"]](job))
    first_run_ms, _ = milliseconds(run)

    warm_until = time.perf_counter() + WARM_UP_SECONDS
    while time.perf_counter() < warm_until:
        run()
    times = []
    until = time.perf_counter() + job["seconds"]
    while len(times) < MIN_RUNS or time.perf_counter() < until:
        times.append(milliseconds(run)[0])
    median, p90, p99 = np.percentile(times, [50, 90, 99])
    print(json.dumps({
        "median_ms": median, "p90_ms": p90, "p99_ms": p99, "min_ms": min(times), "runs": len(times),
        "load_ms": load_ms, "first_run_ms": first_run_ms, "peak_rss_mb": peak_rss_mb(),
        "base_rss_mb": base_rss_mb}))


if __name__ == "__main__":
    main()
