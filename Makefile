# Everyday commands; `make help` lists them. CMake and the scripts below do the work.

XDG_CACHE_HOME ?= $(HOME)/.cache
TINTYPE_DEPS ?= $(XDG_CACHE_HOME)/tintype-deps
export TINTYPE_DEPS
# Set-up puts CMake and Ninja into its virtual environment; Debian's own CMake is too old for ONNX.
export PATH := $(TINTYPE_DEPS)/venv/bin:$(PATH)
PRESET ?= release
JOBS ?= $(shell nproc)
PREFIX ?= $(HOME)/.local

.PHONY: help setup configure build install test demo bench suite ptxas format lint clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  PRESET=release|debug|asan|tsan, JOBS=N, PREFIX=$(PREFIX), TINTYPE_DEPS=$(TINTYPE_DEPS)"

setup: ## install what the build needs: packages, Halide, ONNX (once)
	@tools/setup/setup.sh

configure: setup
	@mkdir -p build
	@cmake --preset $(PRESET) >build/configure.log 2>&1 || { cat build/configure.log; exit 1; }

build: configure ## build everything; the program is build/release/tintype
	@cmake --build --preset $(PRESET) --parallel $(JOBS)

install: build ## install program, library and headers into PREFIX
	@cmake --install build/$(PRESET) --prefix $(PREFIX) --strip

test: build suite ptxas ## build, then run all tests
	@ctest --preset $(PRESET) --parallel 2

demo: build ## compile, run, check and measure two networks on real photographs
	@examples/demo.sh build/$(PRESET)/tintype

bench: build ## compare speed with ONNX Runtime and OpenVINO (fetches several GB, once)
	@bench/run.sh build/$(PRESET)/tintype

suite: setup ## export the official ONNX test suite (once)
	@tools/setup/suite.sh

ptxas: setup ## install NVIDIA's PTX assembler for the tests of CUDA kernels (once)
	@tools/setup/ptxas.sh >/dev/null

format: ## format all sources in place
	@tools/setup/apt.sh --lint
	@tools/format.sh --fix

lint: configure ## check formatting and run clang-tidy
	@tools/setup/apt.sh --lint
	@tools/format.sh --check
	@tools/tidy.sh build/$(PRESET)

clean: ## remove the build folder
	@rm -rf build
