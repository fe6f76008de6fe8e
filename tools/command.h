// What the subcommands of `tintype` share.
#pragma once

#include "ir/diagnostic.h"
#include "runtime/session.h"
#include "tools/driver/driver.h"

#include <CLI/CLI.hpp>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace tintype::cli {

/// Exit codes, also documented in `tintype --help`.
inline constexpr int kOk = 0;
inline constexpr int kFailed = 1;    ///< a mistake in the model or its input, or a failed check
inline constexpr int kUsage = 2;     ///< the command line
inline constexpr int kInternal = 3;  ///< a defect of tintype
inline constexpr int kSignal = 128;  ///< and the number of the signal that ended the work

/// A mistake in the words of the command line, which kUsage tells; an Error is one in what they
/// name.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// What `read` makes of the text of an option: what it throws is a mistake on the command line.
template <typename Read>
auto from_option(Read&& read) {
  try {
    return read();
  } catch (const Error& e) {
    throw UsageError(e.what());
  }
}

inline constexpr const char* kGraphHelp = "an .onnx model, or the text of a graph";
inline constexpr const char* kLibrariesHelp =
    "auto, never or always use cuBLASLt and cuDNN on an NVIDIA GPU; auto,f32: without TF32, whose "
    "error is up to 1e-2";
inline constexpr const char* kMathHelp =
    "default: error within 1e-4 of the output's scale (1e-2 where a GPU's libraries compute in TF32); "
    "strict: no Winograd, no folded batch norm, no TF32; fast or fast,f16: operands of products in "
    "bf16 or f16 where the machine has arithmetic for them";
inline constexpr const char* kTrainMathHelp =
    "strict, fast or fast,f16: as for run; weights stay f32";
inline constexpr const char* kTargetHelp =
    "cuda or cuda,sm_90: an NVIDIA GPU; host,cuda: what the GPU has kernels for; "
    "x86-64-linux-avx-avx2-f16c-fma-sse41, say: an instruction set (default: this computer)";

/// Options that every command taking a model understands.
struct ModelArguments {
  std::string path;
  std::string math = "default";
  std::string target;
  std::string libraries = "auto";
  std::string cache = "default";
  std::string tuning = "auto";
  bool no_cache = false;
  bool reference = false;
  int threads = 0;
  std::vector<std::string> dims;          ///< NAME=VALUE
  std::vector<std::string> known_inputs;  ///< NAME=FILE
  std::vector<std::string> shapes;        ///< NAME=1x3xHxW
  std::vector<std::string> lengths;       ///< NAME=NUMBER, NAME=none
  std::string passes;                     ///< pipeline; empty: patterns, then that of --math
  std::vector<std::string> disabled_passes;
  std::vector<std::string> patterns, plugins;  ///< files

  /// For commands that work on graphs.
  void add_to(CLI::App& app);
  /// For commands that run programs, and so take compiled ones, too.
  void add_program_to(CLI::App& app);
  /// Loads plugins and patterns as a side effect, so that passes and models may mention them.
  CompileOptions options() const;
  /// Values of symbols given with --dim.
  std::map<std::string, int64_t> dim_values() const;
  /// UsageError where --dim names none of the symbols.
  void check_dims(const std::vector<std::string>& symbols) const;

 private:
  void refuse_options_of_compiling() const;
  CLI::App* runs_programs_ = nullptr;  ///< the command, if it takes compiled programs
};

/// Checks of options whose numbers are counts, without a word in the help.
CLI::Validator not_negative();
CLI::Validator positive();
CLI::Validator share();  ///< from 0 to below 1
/// --seed, any number of 64 bits.
void add_seed(CLI::App& app, uint64_t& seed, const std::string& help);

/// Splits NAME=VALUE; UsageError when there is no '='.
std::pair<std::string, std::string> split_assignment(const std::string& text,
                                                     const std::string& option);

/// "28", "28x32", "1x28x28": positive extents. Throws UsageError naming the option.
std::vector<int64_t> parse_extents(const std::string& text, const std::string& option);

/// The symbols in the shapes of the graph's inputs.
std::vector<std::string> input_symbols(const Graph& graph);
/// UsageError where a name is none of the symbols.
void require_symbols(const std::map<std::string, int64_t>& dims,
                     const std::vector<std::string>& symbols);

/// A session of the model, for programs with states and without.
Session open_session(const CompiledModel& model, const std::string& path);

/// Ctrl-C, or a SIGTERM, asks for an end at the next good place; a second one ends the program.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  /// Since the last guard was made.
  static bool interrupted();
  /// kOk, or that of the signal.
  static int exit_code();
};

/// A bar of 24 cells for a share from 0 to 1.
std::string progress_bar(double share);
/// "0:23", "1:02:03"
std::string clock_text(double seconds);
/// Draws a bar on a terminal while kernels compile; says nothing elsewhere.
std::function<void(int, int)> compile_progress();
/// "cuBLASLt", "cuDNN", or where kernels took the place of a library, "kernels"; by step.
std::map<int32_t, std::string> library_steps(const Model& model);
/// What --math says; the values that the option accepts are math_modes.
void set_math(const std::string& text, CompileOptions& options);
std::vector<std::string> math_modes();
/// What --target says; UsageError where nothing is called that.
void set_target(const std::string& text, CompileOptions& options);
/// What --libraries says: auto, never or always, and ",f32" for no TF32.
void set_libraries(const std::string& text, CompileOptions& options);

/// Throws Error where a file cannot be written, before the work whose result goes there. "" and "-"
/// stand for no file.
void require_writable(const std::string& path);
/// Writes a file whole or not at all, or, for "-", to standard output. Throws Error.
void write_report(const std::string& text, const std::string& path);

/// Prints to standard error what libraries did in the last run, and why they did not do the rest.
void print_libraries(const Model& model);
/// Prints to standard error why kernels were not kept, or measured choices not used.
void print_warnings(const CompileReport& report);
/// Prints these, and the one-line summary after compiling ("compiled 14 kernels in 1.6 s").
void print_compile_summary(const CompileReport& report);
/// 25557032 -> "25,557,032"
std::string grouped(int64_t n);
/// Largest resident set of this process so far, in MB (10^6 bytes).
double peak_rss_mb();

using Runner = std::function<int()>;
Runner add_check(CLI::App& parent);
Runner add_compile(CLI::App& parent);
Runner add_run(CLI::App& parent);
Runner add_verify(CLI::App& parent);
Runner add_bench(CLI::App& parent);
Runner add_profile(CLI::App& parent);
Runner add_show(CLI::App& parent);
Runner add_opt(CLI::App& parent);
Runner add_zoo(CLI::App& parent);
Runner add_compare(CLI::App& parent);
Runner add_train(CLI::App& parent);
Runner add_evaluate(CLI::App& parent);
Runner add_gradcheck(CLI::App& parent);
Runner add_reduce(CLI::App& parent);
Runner add_bundle(CLI::App& parent);
Runner add_tune(CLI::App& parent);

}  // namespace tintype::cli
