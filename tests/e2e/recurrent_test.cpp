// RNN, GRU and LSTM nodes of random configurations, with the results of ONNX Runtime
// (make_recurrent_cases.py); then what lies beyond them: lengths, empty sequences, mistakes.
#include "frontend/data/npy.h"
#include "frontend/graph/recurrent.h"
#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "runtime/session.h"
#include "tests/support/evaluate.h"
#include "tools/driver/driver.h"
#include "tools/driver/pipeline.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <functional>

namespace tintype::test {

namespace {

using json = nlohmann::ordered_json;

Attr attribute(const json& value) {
  if (value.is_number_integer()) return value.get<int64_t>();
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) return value.get<std::string>();
  if (value.at(0).is_string()) return value.get<std::vector<std::string>>();
  return value.get<std::vector<double>>();
}

/// The elements of all tensors, one after the other.
class Elements {
 public:
  Elements() : all_(load_npy(TINTYPE_TEST_DIR "/data/recurrent.npy").value()) {}
  Tensor next(const std::string& name, const std::vector<int64_t>& dims) {
    Tensor t = Tensor::empty(name == "sequence_lens" ? DType::i32 : DType::f32, dims);
    for (int64_t i = 0; i < t.size(); ++i) {
      const float v = all_.values<float>()[at_++];
      if (t.dtype() == DType::f32) t.mutable_values<float>()[static_cast<size_t>(i)] = v;
      else t.mutable_values<int32_t>()[static_cast<size_t>(i)] = static_cast<int32_t>(v);
    }
    return t;
  }

 private:
  Tensor all_;
  size_t at_ = 0;
};

struct RecurrentCase {
  std::string op;
  AttrMap attributes;
  bool constant = false;  ///< weights are constants of the graph
  std::map<std::string, Tensor> inputs;
  std::vector<Tensor> outputs;
};

std::vector<RecurrentCase> read_cases() {
  std::ifstream file(TINTYPE_TEST_DIR "/data/recurrent.json");
  const json index = json::parse(file);
  Elements elements;
  std::vector<RecurrentCase> cases;
  for (const json& about : index) {
    RecurrentCase c;
    c.op = about.at("op");
    c.constant = about.at("constant");
    for (const auto& [name, value] : about.at("attributes").items())
      c.attributes.set(name, attribute(value));
    for (const auto& [name, dims] : about.at("inputs").items())
      c.inputs[name] = elements.next(name, dims);
    for (const auto& [name, dims] : about.at("outputs").items())
      c.outputs.push_back(elements.next(name, dims));
    cases.push_back(std::move(c));
  }
  return cases;
}

struct BuiltGraph {
  std::unique_ptr<Graph> graph;
  std::vector<Tensor> inputs;
};

BuiltGraph build(const RecurrentCase& c) {
  BuiltGraph built{std::make_unique<Graph>(c.op), {}};
  Builder b(*built.graph);
  std::vector<Value*> operands;
  for (const char* name : {"X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"}) {
    const auto it = c.inputs.find(name);
    if (it == c.inputs.end()) {
      operands.push_back(nullptr);
      continue;
    }
    const std::vector<int64_t>& dims = it->second.dims();
    const bool weight = std::string("WRBP").find(name[0]) != std::string::npos && name[1] == 0;
    if (weight && c.constant) {
      operands.push_back(b.constant(it->second));
    } else {
      operands.push_back(
          built.graph->add_input(name, {it->second.dtype(), Shape(dims.begin(), dims.end())}));
      built.inputs.push_back(it->second);
    }
  }
  while (operands.back() == nullptr) operands.pop_back();
  const Node* n = b.create(c.op, operands, c.attributes, static_cast<int>(c.outputs.size()));
  for (size_t i = 0; i < c.outputs.size(); ++i)
    built.graph->add_output("y" + std::to_string(i), n->result(static_cast<int>(i)));
  return built;
}

void expect_results(const std::vector<Tensor>& got, const RecurrentCase& c, size_t number,
                    const char* how) {
  ASSERT_EQ(got.size(), c.outputs.size());
  for (size_t i = 0; i < got.size(); ++i)
    EXPECT_EQ(difference(got[i], c.outputs[i], 1e-5), "")
        << how << ", case " << number << ": " << c.op << ", output " << i;
}

TEST(Recurrent, HostEvaluationAgreesWithOnnxRuntime) {
  const std::vector<RecurrentCase> cases = read_cases();
  ASSERT_EQ(cases.size(), 200u);
  for (size_t i = 0; i < cases.size(); ++i) {
    const BuiltGraph built = build(cases[i]);
    expect_results(evaluate(*built.graph, built.inputs), cases[i], i, "host");
  }
}

/// The cases of one op; one test each, so that several compile at a time.
class RecurrentKernels : public testing::TestWithParam<const char*> {};

/// The number of cases of this op.
int expect_agreement(const std::string& op, const CompileOptions& options) {
  const std::vector<RecurrentCase> cases = read_cases();
  int compiled = 0;
  for (size_t i = 0; i < cases.size(); ++i) {
    if (cases[i].op != op) continue;
    BuiltGraph built = build(cases[i]);
    const CompiledModel m = compile_graph(std::move(built.graph), options);
    auto results = m.model.run(std::span<const Tensor>(built.inputs));
    EXPECT_TRUE(results.ok()) << results.status().message();
    if (results.ok()) expect_results(results.value(), cases[i], i, "compiled");
    ++compiled;
  }
  return compiled;
}

TEST_P(RecurrentKernels, AgreeWithOnnxRuntime) { EXPECT_GE(expect_agreement(GetParam(), {}), 66); }

TEST_P(RecurrentKernels, AgreeWhereStepsMultiplyTheirInput) {
  CompileOptions options;  // whatever the number of sequences
  options.passes = "canonical,merge-projections{rows=1},select-algorithms,finish";
  EXPECT_GE(expect_agreement(GetParam(), options), 66);
}

// There, tiles of the product before the loop are larger than those of a step.
TEST(Recurrent, WithSixteenRegistersStepsDoNotMultiplyTheirInput) {
  CompileOptions options;
  options.target = "x86-64-linux-avx-avx2-f16c-fma-sse41";
  const PassPipeline pipeline = pipeline_for(options);
  const auto merge = std::find_if(pipeline.begin(), pipeline.end(), [](const PassStep& step) {
    return step.pass->name == "merge-projections";
  });
  ASSERT_NE(merge, pipeline.end());
  EXPECT_EQ(merge->options.at("rows"), "0");
}

INSTANTIATE_TEST_SUITE_P(Ops, RecurrentKernels, testing::Values("RNN", "GRU", "LSTM"),
                         [](const auto& instance) { return std::string(instance.param); });

std::vector<Tensor> run(const Model& m, const std::vector<Tensor>& inputs, int threads = 0) {
  RunOptions options;
  options.threads = threads;
  auto results = m.run(std::span<const Tensor>(inputs), options);
  if (!results.ok()) throw Error(results.status().message());
  return std::move(results).value();
}

Tensor random_values(std::vector<int64_t> dims, uint64_t seed) {
  Graph g;
  g.add_input("x", {DType::f32, Shape(dims.begin(), dims.end())});
  return random_inputs(g, {}, seed)[0];
}

/// An LSTM over X [T, N, 3] with constant weights, bidirectional, with lengths.
std::unique_ptr<Graph> symbolic_lstm(int64_t hidden) {
  auto graph = std::make_unique<Graph>("lstm");
  Builder b(*graph);
  b.set_origins({"encoder"});
  Value* x = graph->add_input("x", {DType::f32, {Dim::symbol("T"), Dim::symbol("N"), 3}});
  Value* lengths = graph->add_input("lengths", {DType::i32, {Dim::symbol("N")}});
  const Node* n =
      b.create("LSTM",
               {x, b.constant(random_values({2, 4 * hidden, 3}, 1)),
                b.constant(random_values({2, 4 * hidden, hidden}, 2)),
                b.constant(random_values({2, 8 * hidden}, 3)), lengths},
               {{"direction", std::string("bidirectional")}, {"hidden_size", hidden}}, 3);
  for (int i = 0; i < 3; ++i) graph->add_output("y" + std::to_string(i), n->result(i));
  return graph;
}

Tensor lengths_of(const std::vector<int32_t>& values) {
  return Tensor::from<int32_t>({static_cast<int64_t>(values.size())}, values);
}

// One compiled model: any number of steps, none included, any batch, lengths of 0 and of all steps.
TEST(Recurrent, StepsAndBatchAreSymbols) {
  const auto graph = symbolic_lstm(19);
  const CompiledModel m = compile_graph(graph->clone());
  const std::vector<std::vector<int32_t>> batches = {{5, 0, 3}, {1}, {7, 7}, {0, 0}};
  for (const auto& lengths : batches) {
    const int64_t steps = *std::max_element(lengths.begin(), lengths.end());
    const std::vector<Tensor> inputs = {
        random_values({steps, static_cast<int64_t>(lengths.size()), 3}, 5), lengths_of(lengths)};
    const std::vector<Tensor> want = evaluate(*graph, inputs);
    const std::vector<Tensor> got = run(m.model, inputs);
    for (size_t i = 0; i < want.size(); ++i) EXPECT_EQ(difference(got[i], want[i], 1e-5), "");
  }
}

TEST(Recurrent, ResultsDoNotDependOnTheNumberOfThreads) {
  const CompiledModel m = compile_graph(symbolic_lstm(70));
  const std::vector<Tensor> inputs = {random_values({9, 13, 3}, 5),
                                      lengths_of({9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9})};
  const std::vector<Tensor> one = run(m.model, inputs, 1);
  for (int threads : {2, 3}) {
    const std::vector<Tensor> many = run(m.model, inputs, threads);
    for (size_t i = 0; i < one.size(); ++i)
      EXPECT_EQ(std::memcmp(one[i].data(), many[i].data(), one[i].bytes()), 0);
  }
}

// Weights that change from run to run are packed once a run, before the steps that use them.
TEST(Recurrent, WeightsThatAreInputsArePackedBeforeTheLoop) {
  for (const int64_t hidden : {32, 19}) {
    Graph graph("lstm");
    Builder b(graph);
    Value* x = graph.add_input("x", {DType::f32, {6, 20, 5}});
    Value* w = graph.add_input("w", {DType::f32, {1, 4 * hidden, 5}});
    Value* r = graph.add_input("r", {DType::f32, {1, 4 * hidden, hidden}});
    const Node* n = b.create("LSTM", {x, w, r}, {{"hidden_size", hidden}}, 3);
    for (int i = 0; i < 3; ++i) graph.add_output("y" + std::to_string(i), n->result(i));
    const CompiledModel m = compile_graph(graph.clone());
    int packs = 0;
    bool in_loop = false;
    for (const Step& s : m.model.program().steps) {
      in_loop = in_loop || s.kind == Step::Kind::loop;
      const bool pack = s.name.find("pack") != std::string::npos;
      packs += pack ? 1 : 0;
      EXPECT_FALSE(pack && in_loop) << "units: " << hidden;
    }
    EXPECT_GE(packs, 1) << "units: " << hidden;
    const std::vector<Tensor> inputs = {random_values({6, 20, 5}, 1),
                                        random_values({1, 4 * hidden, 5}, 2),
                                        random_values({1, 4 * hidden, hidden}, 3)};
    const std::vector<Tensor> want = evaluate(graph, inputs);
    const std::vector<Tensor> got = run(m.model, inputs);
    for (size_t i = 0; i < want.size(); ++i) EXPECT_EQ(difference(got[i], want[i], 1e-5), "");
  }
}

TEST(Recurrent, LengthsThatDoNotFitTheDataAreRefused) {
  const CompiledModel m = compile_graph(symbolic_lstm(5));
  const Tensor x = random_values({4, 2, 3}, 5);
  const auto refusal = [&](const std::vector<int32_t>& lengths) {
    const std::vector<Tensor> inputs = {x, lengths_of(lengths)};
    const auto results = m.model.run(std::span<const Tensor>(inputs));
    if (results.ok()) return std::string("none");
    EXPECT_EQ(results.status().code(), StatusCode::invalid_argument);
    return results.status().message();
  };
  EXPECT_EQ(refusal({4, 0}), "none");
  EXPECT_EQ(refusal({4, -3}),
            "step 'bounded' (from encoder): sequence_lens[1] is -3, expected 0 to 4");
  EXPECT_EQ(refusal({5, 0}),
            "step 'bounded' (from encoder): sequence_lens[0] is 5, expected 0 to 4");
  EXPECT_EQ(refusal({1, 2, 3}),
            "input 'lengths': expected i32[N], got i32[3] (N is 2, from axis 1 of input 'x')");
  EXPECT_EQ(refusal({4, 4}), "none");  // the failures left nothing behind
}

// Lengths that have an extent of their own must agree with the batch when a run begins.
TEST(Recurrent, TheNumberOfLengthsIsThatOfTheBatch) {
  auto graph = std::make_unique<Graph>("rnn");
  Builder b(*graph);
  Value* x = graph->add_input("x", {DType::f32, {3, Dim::symbol("N"), 2}});
  Value* lengths = graph->add_input("lengths", {DType::i32, {Dim::symbol("M")}});
  const Node* n = b.create("RNN", {x, b.constant(random_values({1, 4, 2}, 1)),
                                   b.constant(random_values({1, 4, 4}, 2)), nullptr, lengths});
  graph->add_output("y", n->result());
  const CompiledModel m = compile_graph(std::move(graph));
  const std::vector<Tensor> inputs = {random_values({3, 2, 2}, 1), lengths_of({1, 2, 3})};
  const auto results = m.model.run(std::span<const Tensor>(inputs));
  ASSERT_FALSE(results.ok());
  EXPECT_EQ(results.status().message(),
            "RNN: extents of sequence_lens: M is 3, N is 2 for N=2, M=3");
}

// Nothing to do is something to do right: without steps the states are the initial ones; without
// rows everything is empty.
TEST(Recurrent, EmptySequencesAndBatches) {
  for (const char* op : {"RNN", "GRU", "LSTM"}) {
    const int64_t gates = op == std::string("RNN") ? 1 : op == std::string("GRU") ? 3 : 4;
    auto graph = std::make_unique<Graph>(op);
    Builder b(*graph);
    const Dim steps = Dim::symbol("T"), batch = Dim::symbol("N");
    Value* x = graph->add_input("x", {DType::f32, {steps, batch, 2}});
    Value* h = graph->add_input("h", {DType::f32, {1, batch, 5}});
    const Node* n = b.create(op,
                             {x, b.constant(random_values({1, gates * 5, 2}, 1)),
                              b.constant(random_values({1, gates * 5, 5}, 2)), nullptr, nullptr, h},
                             {}, 2);
    graph->add_output("y", n->result(0));
    graph->add_output("y_h", n->result(1));
    const CompiledModel m = compile_graph(std::move(graph));
    const Tensor initial = random_values({1, 3, 5}, 7);
    const std::vector<Tensor> no_steps = run(m.model, {random_values({0, 3, 2}, 1), initial});
    EXPECT_EQ(no_steps[0].dims(), (std::vector<int64_t>{0, 1, 3, 5}));
    EXPECT_EQ(difference(no_steps[1], initial, 0), "");
    const std::vector<Tensor> no_rows =
        run(m.model, {random_values({4, 0, 2}, 1), random_values({1, 0, 5}, 1)});
    EXPECT_EQ(no_rows[0].dims(), (std::vector<int64_t>{4, 1, 0, 5}));
    EXPECT_EQ(no_rows[1].dims(), (std::vector<int64_t>{1, 0, 5}));
  }
}

std::string mistake_of(const std::function<void(RecurrentCase&)>& spoil) {
  RecurrentCase c;
  c.op = "LSTM";
  c.attributes = {{"hidden_size", int64_t{2}}};
  c.inputs = {{"X", random_values({3, 2, 4}, 1)},
              {"W", random_values({1, 8, 4}, 2)},
              {"R", random_values({1, 8, 2}, 3)}};
  c.outputs.resize(1);
  spoil(c);
  try {
    build(c);
  } catch (const Error& e) {
    return e.what();
  }
  return "no mistake";
}

TEST(Recurrent, MistakesAreNamed) {
  using Case = RecurrentCase;
  EXPECT_EQ(mistake_of([](Case&) {}), "no mistake");
  EXPECT_EQ(mistake_of([](Case& c) { c.attributes.set("hidden_size", int64_t{3}); }),
            "LSTM: hidden_size is 3, the weights R are f32[1,8,2]");
  EXPECT_EQ(mistake_of([](Case& c) { c.inputs["W"] = random_values({1, 8, 5}, 1); }),
            "LSTM: W must be [1,8,4], got f32[1,8,5]");
  EXPECT_EQ(mistake_of([](Case& c) { c.attributes.set("direction", std::string("both")); }),
            "LSTM: direction 'both' is not one of forward, reverse, bidirectional");
  EXPECT_EQ(
      mistake_of([](Case& c) { c.attributes.set("direction", std::string("bidirectional")); }),
      "LSTM: W must be [2,8,4], got f32[1,8,4]");
  EXPECT_EQ(mistake_of([](Case& c) {
              c.attributes.set("activations", std::vector<std::string>{"Sigmoid", "Tanhh", "Tanh"});
            }),
            "LSTM: there is no activation 'Tanhh' (did you mean 'tanh'?)");
  EXPECT_EQ(mistake_of(
                [](Case& c) { c.attributes.set("activations", std::vector<std::string>{"Tanh"}); }),
            "LSTM: attribute 'activations' needs 3 functions, has 1");
  EXPECT_EQ(mistake_of([](Case& c) { c.inputs["sequence_lens"] = lengths_of({1, 2, 3}); }),
            "LSTM: sequence_lens must be [2], got i32[3]");
  EXPECT_EQ(
      mistake_of([](Case& c) { c.inputs["sequence_lens"] = Tensor::from<int16_t>({2}, {1, 2}); }),
      "LSTM: sequence_lens must be i32, got i16[2]");
  EXPECT_EQ(mistake_of([](Case& c) { c.attributes.set("hidden_size", int64_t{0}); }),
            "LSTM: hidden_size is 0, the weights R are f32[1,8,2]");
  EXPECT_EQ(mistake_of([](Case& c) { c.inputs["initial_h"] = random_values({1, 2, 3}, 1); }),
            "LSTM: initial_h must be [1,2,2], got f32[1,2,3]");
}

// A stream fed step by step ends where one run over all steps does.
TEST(Recurrent, SessionsKeepTheStatesOfAStream) {
  const auto make = [](bool stream) {
    GraphBuilder g("stream");
    const Variable x = g.input("x", f32(1, "T", 3));
    Recurrent options{.name = "lstm", .units = 6, .layers = 2};
    if (stream) {
      options.h = g.state("h", Tensor::zeros(DType::f32, {2, 1, 6}));
      options.c = g.state("c", Tensor::zeros(DType::f32, {2, 1, 6}));
    }
    const RecurrentResult r = x.lstm(options);
    g.output("y", r.y);
    if (stream) {
      g.set_next(*options.h, r.h);
      g.set_next(*options.c, *r.c);
    }
    return compile_graph(g.take());
  };
  const CompiledModel whole = make(false), stream = make(true);
  const Tensor x = random_values({1, 7, 3}, 4);
  const Tensor want = run(whole.model, {x})[0];
  auto session = Session::create(stream.model);
  ASSERT_TRUE(session.ok());
  for (int64_t t = 0; t < 7; ++t) {
    const Tensor step =
        Tensor::from<float>({1, 1, 3}, x.values<float>().subspan(static_cast<size_t>(3 * t), 3));
    const std::vector<Tensor> inputs = {step};
    const auto got = session.value().run(std::span<const Tensor>(inputs));
    ASSERT_TRUE(got.ok()) << got.status().message();
    for (size_t u = 0; u < 6; ++u)
      EXPECT_NEAR(got.value()[0].values<float>()[u],
                  want.values<float>()[static_cast<size_t>(6 * t) + u], 1e-6);
  }
}

}  // namespace

}  // namespace tintype::test
