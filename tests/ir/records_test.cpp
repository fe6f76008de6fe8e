// Every op record is complete: nobody can add an op and forget a part of it.
#include "ir/op_def.h"
#include "passes/evaluate.h"
#include "runtime/host_ops.h"

#include <gtest/gtest.h>

#include <set>

namespace tintype::test {

namespace {

TEST(Records, CoreOpsHaveInferenceAndDoc) {
  for (const OpDef* def : all_ops()) {
    if (!def->is_core()) continue;
    EXPECT_NE(def->infer, nullptr) << def->name;
    EXPECT_EQ(def->decompose, nullptr) << def->name;
    EXPECT_FALSE(def->doc.empty()) << def->name;
  }
}

TEST(Records, OnnxOpsHaveADecomposition) {
  for (const OpDef* def : all_ops())
    EXPECT_EQ(def->is_core(), def->decompose == nullptr) << def->name;
}

TEST(Records, CoreOpsHaveAGradientOrAReason) {
  for (const OpDef* def : all_ops()) {
    EXPECT_EQ(def->gradient == nullptr, !def->is_core() || !def->not_differentiable.empty())
        << def->name;
    EXPECT_TRUE(def->is_core() || def->not_differentiable.empty()) << def->name;
  }
}

TEST(Records, CoreOpsHaveAHostEvaluation) {
  const std::set<std::string_view> structure = {"constant", "if", "loop", "region", "scan"};
  for (const OpDef* def : all_ops()) {
    if (!def->is_core() || structure.count(def->name) != 0) continue;
    EXPECT_NE(find_host_op(def->name), nullptr) << def->name;
  }
}

TEST(Records, CountsAndAttributesMakeSense) {
  for (const OpDef* def : all_ops()) {
    EXPECT_TRUE(def->max_operands < 0 || def->min_operands <= def->max_operands) << def->name;
    EXPECT_TRUE(def->max_results < 0 || def->min_results <= def->max_results) << def->name;
    std::set<std::string_view> names;
    for (const AttrDef& a : def->attrs)
      EXPECT_TRUE(names.insert(a.name).second) << def->name << ": " << a.name;
    EXPECT_EQ(find_op(def->name), def);
  }
  EXPECT_EQ(find_op("no such op"), nullptr);
}

}  // namespace

}  // namespace tintype::test
