// tintype zoo: lists well-known networks, prints their layers, exports them with seeded weights.
#include "frontend/zoo/zoo.h"
#include "frontend/data/json.h"
#include "frontend/onnx/export.h"
#include "ir/diagnostic.h"
#include "tools/command.h"

#include <fmt/format.h>
#include <iostream>
#include <nlohmann/json.hpp>

namespace tintype::cli {

namespace {

struct ZooArguments {
  std::string name, output;
  ZooOptions options;
  bool json = false;
};

struct Totals {
  int64_t parameters = 0, multiply_adds = 0;
};

Totals totals(const GraphBuilder& g) {
  Totals t;
  for (const Layer& l : g.layers()) {
    t.parameters += l.parameters;
    t.multiply_adds += l.multiply_adds;
  }
  return t;
}

int list(bool json) {
  nlohmann::json rows = nlohmann::json::array();
  if (!json) fmt::print("{:<18} {:>12} {:>13}  {}\n", "network", "parameters", "multiply-adds", "");
  for (const ZooEntry& e : zoo()) {
    const Totals t = totals(*build_zoo_network(e.name, {.shapes_only = true}));
    if (json)
      rows.push_back({{"name", e.name},
                      {"summary", e.summary},
                      {"source", e.source},
                      {"parameters", t.parameters},
                      {"multiply_adds", t.multiply_adds}});
    else
      fmt::print("{:<18} {:>12} {:>11.1f} M  {}\n", e.name, grouped(t.parameters),
                 static_cast<double>(t.multiply_adds) * 1e-6, e.summary);
  }
  if (json) std::cout << json_text(rows);
  return kOk;
}

int print_layers(const ZooArguments& a) {
  const auto g = from_option([&a] { return build_zoo_network(a.name, a.options); });
  const Totals t = totals(*g);
  if (a.json) {
    nlohmann::json rows = nlohmann::json::array();
    for (const Layer& l : g->layers())
      rows.push_back({{"name", l.name},
                      {"op", l.op},
                      {"output", text_of(l.output)},
                      {"parameters", l.parameters},
                      {"multiply_adds", l.multiply_adds}});
    const nlohmann::json j = {{"name", a.name},
                              {"parameters", t.parameters},
                              {"multiply_adds", t.multiply_adds},
                              {"layers", rows}};
    std::cout << json_text(j);
    return kOk;
  }
  fmt::print("{:<28} {:<12} {:<18} {:>12} {:>15}\n", "layer", "op", "output", "parameters",
             "multiply-adds");
  for (const Layer& l : g->layers())
    fmt::print("{:<28} {:<12} {:<18} {:>12} {:>15}\n", l.name, l.op, text_of(l.output),
               l.parameters > 0 ? grouped(l.parameters) : "",
               l.multiply_adds > 0 ? grouped(l.multiply_adds) : "");
  fmt::print("{:<28} {:<12} {:<18} {:>12} {:>15}\n", "total", "", "", grouped(t.parameters),
             grouped(t.multiply_adds));
  return kOk;
}

int run_zoo(ZooArguments a) {
  if (a.name.empty()) return list(a.json);
  a.options.shapes_only = a.output.empty();
  if (a.output.empty()) return print_layers(a);
  const auto g = from_option([&a] { return build_zoo_network(a.name, a.options); });
  const Totals t = totals(*g);
  export_onnx(*g->take(), a.output);
  if (a.json)
    std::cout << json_text(
        nlohmann::json{{"name", a.name}, {"file", a.output}, {"parameters", t.parameters}});
  else
    fmt::print("{}: {} with {} parameters, seed {}\n", a.output, a.name, grouped(t.parameters),
               a.options.seed);
  return kOk;
}

}  // namespace

Runner add_zoo(CLI::App& parent) {
  auto args = std::make_shared<ZooArguments>();
  CLI::App* app =
      parent.add_subcommand("zoo", "list well-known networks, print their layers, export them");
  app->add_option("network", args->name, "a network; without one, all are listed");
  app->add_option("-o,--output", args->output,
                  "write the network, with seeded weights, as an .onnx model");
  add_seed(*app, args->options.seed, "of the weights");
  app->add_option("--classes", args->options.classes, "width of the last layer")->check(positive());
  app->add_flag("--auxiliary", args->options.auxiliary,
                "with the training heads of GoogLeNet and Inception v3");
  app->add_flag("--json", args->json, "print JSON");
  app->footer(
      "Examples:\n  tintype zoo\n  tintype zoo vgg16\n  tintype zoo resnet50 --seed 1 -o resnet50.onnx");
  return [args] { return run_zoo(*args); };
}

}  // namespace tintype::cli
