// Philox4x32-10 against the known answers that its authors publish with Random123 (kat_vectors).
#include "runtime/host_ops.h"
#include "runtime/philox.h"

#include <gtest/gtest.h>

namespace tintype {
namespace {

using philox::Block;

TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox::words({0, 0, 0, 0}, {0, 0}),
            (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr uint32_t ones = 0xffffffff;
  EXPECT_EQ(philox::words({ones, ones, ones, ones}, {ones, ones}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(
      philox::words({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
      (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, RandomBitsWalkTheCounter) {
  Attributes attributes;
  attributes.set("stream", int64_t{0x85a308d3});
  std::vector<Tensor> outputs = {Tensor::empty(DType::u32, {7})};
  // Key and counter are those of the third known answer, but for the block number.
  const std::vector<Tensor> inputs = {Tensor::scalar<int64_t>(0x299f31d0a4093822),
                                      Tensor::scalar<int64_t>(0x0370734413198a2e)};
  ASSERT_TRUE(find_host_op("random_bits")->function({inputs, outputs, attributes}).ok());
  const auto values = outputs[0].values<uint32_t>();
  for (uint32_t i = 0; i < 7; ++i)
    EXPECT_EQ(values[i], philox::words({i / 4, 0x85a308d3, 0x13198a2e, 0x03707344},
                                       {0xa4093822, 0x299f31d0})[i % 4]);
}

}  // namespace
}  // namespace tintype
