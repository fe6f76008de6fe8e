// Algorithms as text, the keys of nodes, and what a record may decide.
#include "codegen/algorithm_choice.h"
#include "ir/parse.h"

#include <gtest/gtest.h>

#include <set>

namespace tintype {
namespace {

using Kind = Algorithm::Kind;

TEST(AlgorithmText, ReadsBack) {
  const Algorithm all[] = {
      {},
      {.kind = Kind::packed, .panel = 48},
      {.kind = Kind::winograd, .form = {4}, .panel = 64},
      {.kind = Kind::winograd, .form = {2, true}, .panel = 32},
      {.kind = Kind::winograd, .form = {2}},
      {.kind = Kind::winograd_fused, .form = {4}, .panel = 16},
      {.kind = Kind::patches},
      {.kind = Kind::patches, .panel = 64},
      {.kind = Kind::wide, .positions = 3},
      {.kind = Kind::library},
  };
  std::set<std::string> texts;
  for (const Algorithm& a : all) {
    texts.insert(a.text());
    const auto back = parse_algorithm(a.text());
    ASSERT_TRUE(back.has_value()) << a.text();
    EXPECT_EQ(*back, a) << a.text();
  }
  EXPECT_EQ(texts.size(), std::size(all));
  EXPECT_EQ(all[2].text(), "winograd f4 64");
  EXPECT_EQ(all[5].text(), "winograd fused f4 16");
  EXPECT_TRUE(all[1].same_family({.kind = Kind::packed, .panel = 16}));
  EXPECT_FALSE(all[6].same_family(all[7]));
}

TEST(AlgorithmText, NothingElseIsRead) {
  for (const char* text :
       {"", "packe", "packed ", "packed 0", "packed -16", "packed 16 16", "packed 99999999999999",
        "winograd", "winograd f", "winograd fx", "winograd f4 zero", "winogradf4", "wide", "wide x",
        "library always", "Packed 16", " packed 16", "packed 16\n"})
    EXPECT_FALSE(parse_algorithm(text).has_value()) << "'" << text << "'";
}

SelectAlgorithmsOptions for_avx512() {
  SelectAlgorithmsOptions options;
  options.machine.lanes = 16;
  options.machine.registers = 32;
  return options;
}

std::vector<Decision> decisions(const std::string& text, SelectAlgorithmsOptions options) {
  std::vector<Decision> list;
  options.decided = [&list](const Decision& d) { list.push_back(d); };
  const auto graph = parse_graph(text);
  select_algorithms(*graph, options);
  return list;
}

std::string conv(const std::string& image, const std::string& weights, const std::string& strides,
                 const std::string& behind = "return %1 as \"y\"") {
  return "graph \"net\"(%x: " + image + ", %w: " + weights + ") {\n" +
         "  %1 = conv(%x, %w) {filters = 32, strides = " + strides + ", window = [3, 3]}\n  " +
         behind + "\n}\n";
}

TEST(ChoiceKey, HasWhatDecides) {
  SelectAlgorithmsOptions options = for_avx512();
  std::set<std::string> keys;
  const auto add = [&](const std::string& text) {
    const auto list = decisions(text, options);
    ASSERT_EQ(list.size(), 1u) << text;
    keys.insert(list[0].key);
  };
  const std::string x = "f32[1,30,30,16]", w = "f32[3,3,16,32]";
  add(conv(x, w, "[1, 1]"));
  add(conv(x, w, "[2, 2]"));
  add(conv("f32[1,31,30,16]", w, "[1, 1]"));
  add(conv(x, w, "[1, 1]", "%2 = tanh(%1)\n  return %2 as \"y\""));
  add("graph \"net\"(%x: f32[1,28,28,16], %w: f32[3,3,16,32]) {\n"
      "  %0 = pad(%x) {after = <0,1,1,0>, before = <0,1,1,0>}\n"
      "  %1 = conv(%0, %w) {filters = 32, strides = [1, 1], window = [3, 3]}\n"
      "  return %1 as \"y\"\n}\n");
  EXPECT_EQ(keys.size(), 5u);
  for (const int64_t batch : {1, 8}) {
    options.hints = {{"N", batch}};
    add(conv("f32[N,30,30,16]", w, "[1, 1]"));
  }
  EXPECT_EQ(keys.size(), 6u) << "a likely batch of 1 is a batch of 1, one of 8 is another";
}

TEST(TunedChoice, IsTakenWhereItStillHolds) {
  SelectAlgorithmsOptions options = for_avx512();
  const std::string text = conv("f32[1,30,30,16]", "f32[3,3,16,32]", "[1, 1]");
  const Decision untuned = decisions(text, options).at(0);
  EXPECT_EQ(untuned.choice, untuned.reckoned);
  ASSERT_GE(untuned.candidates.size(), 4u);
  for (const Algorithm& a : untuned.candidates) {
    const Tuning tuning = {{untuned.key, {.choice = a, .reckoned = untuned.reckoned}}};
    options.tuning = &tuning;
    const Decision d = decisions(text, options).at(0);
    EXPECT_NE(d.tuned, nullptr) << a.text();
    EXPECT_EQ(d.choice, a) << a.text();
  }
  // Against another choice of the cost model it was not measured; and no node can do everything.
  const Algorithm other =
      untuned.candidates[0] == untuned.reckoned ? untuned.candidates[1] : untuned.candidates[0];
  for (const TunedAlgorithm& t :
       {TunedAlgorithm{.choice = untuned.reckoned, .reckoned = other},
        TunedAlgorithm{.choice = {.kind = Kind::packed, .panel = 7}, .reckoned = untuned.reckoned},
        TunedAlgorithm{.choice = {.kind = Kind::library}, .reckoned = untuned.reckoned},
        TunedAlgorithm{.choice = {.kind = Kind::winograd, .form = {2, true}, .panel = 32},
                       .reckoned = untuned.reckoned}}) {
    const Tuning tuning = {{untuned.key, t}};
    options.tuning = &tuning;
    const Decision d = decisions(text, options).at(0);
    EXPECT_EQ(d.tuned, nullptr) << t.choice.text();
    EXPECT_EQ(d.choice, untuned.reckoned) << t.choice.text();
  }
  options.tuning = nullptr;
  options.strict = true;
  for (const Algorithm& a : decisions(text, options).at(0).candidates)
    EXPECT_NE(a.kind, Kind::winograd) << "strict takes no algorithm that adds across taps";
}

}  // namespace
}  // namespace tintype
