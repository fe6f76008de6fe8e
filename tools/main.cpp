// Entry of the `tintype` program.
#include "ir/diagnostic.h"
#include "tools/command.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fmt/format.h>
#include <iostream>
#include <malloc.h>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace {

/// Weights are allocated, packed and freed one after the other. By default the C library answers
/// the first large free by keeping the next ones: what was freed would stay resident.
void return_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 256 << 10);
  mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

/// One empty line in front of the examples, so that the help of every command fits a screen.
class CompactHelp : public CLI::Formatter {
 public:
  std::string make_help(const CLI::App* app, std::string name,
                        CLI::AppFormatMode mode) const override {
    std::string text = CLI::Formatter::make_help(app, std::move(name), mode);
    if (const size_t at = text.find("\n\n\n"); at != std::string::npos) text.erase(at, 1);
    return text;
  }
  /// An argument without a line of its own has a name all the same.
  std::string make_option_usage(const CLI::Option* option) const override {
    if (!option->get_group().empty()) return CLI::Formatter::make_option_usage(option);
    return "[" + option->get_single_name() + "]";
  }
};

/// What was printed counts when it has arrived: on a full disk nothing else says that it has not.
int after_output(int code) {
  std::cout.flush();
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && std::cout) return code;
  throw tintype::Error(std::string("standard output cannot be written: ") + std::strerror(errno));
}

using Names = std::vector<std::string>;

/// The command of which the words are, or `app` itself where there is none.
const CLI::App& command_of(const CLI::App& app) {
  const auto parsed = app.get_subcommands();
  return parsed.empty() ? app : *parsed.front();
}

/// A word that belongs nowhere, with what may have been meant.
std::string unexpected(const CLI::App& command, const std::string& word, bool no_command) {
  Names known;
  if (no_command && !word.starts_with("-")) {
    for (const CLI::App* c : command.get_subcommands([](const CLI::App*) { return true; }))
      known.push_back(c->get_name());
    return "there is no command '" + word + "'" + tintype::did_you_mean(word, known);
  }
  if (!word.starts_with("-")) return "'" + word + "' is left over";
  const std::string name = word.substr(0, word.find('='));
  for (const CLI::Option* o : command.get_options())
    for (const std::string& n : o->get_lnames()) known.push_back("--" + n);
  const bool letter = !name.starts_with("--");  // near every other one
  return "there is no option '" + name + "'" + (letter ? "" : tintype::did_you_mean(name, known));
}

/// One line for words that do not parse. Words that are not known come first: what is missing
/// because of them is no help.
int usage_mistake(const CLI::App& app, const CLI::ParseError& e) {
  const CLI::App& command = command_of(app);
  const bool no_command = &command == &app;
  const Names left = app.remaining(/*recurse=*/true);
  const auto option = std::find_if(left.begin(), left.end(),
                                   [](const std::string& w) { return w.starts_with("-"); });
  std::string what = e.what();
  if (!left.empty())
    what = unexpected(command, option != left.end() ? *option : left.front(), no_command);
  const std::string name = no_command ? "tintype" : "tintype " + command.get_name();
  fmt::print(stderr, "error: {}; {} --help says what there is\n", what, name);
  return tintype::cli::kUsage;
}

/// Says what was thrown, and whose mistake it is. To be called while it is being handled.
int code_of_exception() {
  using namespace tintype;
  using namespace tintype::cli;
  try {
    throw;
  } catch (const UsageError& e) {
    fmt::print(stderr, "error: {}\n", e.what());
    return kUsage;
  } catch (const Error& e) {
    fmt::print(stderr, "error: {}\n", e.what());
    return kFailed;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "error: out of memory\n");
    return kFailed;
  } catch (const std::length_error& e) {  // a shape with more elements than can be counted
    fmt::print(stderr, "error: {}\n", e.what());
    return kFailed;
  } catch (const std::filesystem::filesystem_error& e) {
    fmt::print(stderr, "error: {}: {}\n", e.path1().string(), e.code().message());
    return kFailed;
  } catch (const std::system_error& e) {  // fmt::print, of a file that is full
    const bool printing = std::string_view(e.what()).starts_with("cannot write to file");
    fmt::print(stderr, "error: {}{}\n", printing ? "standard output cannot be written: " : "",
               printing ? e.code().message() : e.what());
    return kFailed;
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}\n", e.what());
    return kInternal;
  }
}

}  // namespace

int main(int argc, char** argv) {
  return_freed_memory();
  using namespace tintype;
  using namespace tintype::cli;
  CLI::App app("tintype compiles, runs, checks and measures ONNX models");
  app.formatter(std::make_shared<CompactHelp>());
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 success, 1 a mistake in a model or its input or a failed check,\n"
      "2 a mistake on the command line, 3 a defect of tintype, 130 after Ctrl-C, 143 after SIGTERM.\n\n"
      "Examples:\n  tintype run resnet50.onnx --image cat.jpg --preprocess imagenet --top 3\n"
      "  tintype bench resnet50.onnx --threads 2");
  std::vector<std::pair<CLI::App*, Runner>> commands;
  for (auto add : {add_check, add_compile, add_run, add_verify, add_bench, add_profile, add_show,
                   add_opt, add_reduce, add_zoo, add_compare, add_train, add_evaluate,
                   add_gradcheck, add_bundle, add_tune}) {
    Runner runner = add(app);
    commands.emplace_back(app.get_subcommands([](CLI::App*) { return true; }).back(),
                          std::move(runner));
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);  // --help
    return usage_mistake(app, e);
  }
  try {
    for (auto& [command, runner] : commands)
      if (command->parsed()) return after_output(runner());
  } catch (...) {
    return code_of_exception();
  }
  return kOk;
}
