// Scaled dot product attention of ONNX.
#include "ir/ops/decompose.h"

#include <cmath>
#include <limits>

namespace tintype::ops {

namespace {

// softmax(scale q k^T + mask) v, for all heads at once.
//
// The scale stands behind the product of q and k, where it is part of its kernel. Heads of queries
// that share keys and values are an axis of their own, along which those are broadcast:
//   q[B, kv heads, heads per kv head, Tq, D], k and v[B, kv heads, 1, Tk, D]
class Attention {
 public:
  Attention(Builder& b, const Node& n) : b_(b), n_(n), dtype_(n.operand(0)->dtype()) {}

  Values run() {
    read_operands();
    // Products of 16-bit floats that are not scaled yet could overflow.
    const bool narrow = size_of(dtype_) == 2;
    Value* scores = narrow ? b_.make("dot", {scaled(q_, true), matrix_transpose(scaled(k_, true))})
                           : scaled(b_.make("dot", {q_, matrix_transpose(k_)}), false);
    Value* shown = mode() == 0 ? scores : nullptr;
    if (const double cap = n_.attrs().number("softcap", 0.0); cap != 0.0)
      scores = b_.with_scalar("mul", b_.unary("tanh", b_.with_scalar("div", scores, cap)), cap);
    if (mode() == 1) shown = scores;
    scores = masked(scores);
    if (mode() == 2) shown = scores;
    Value* weights = softmax(scores);
    if (mode() == 3) shown = weights;
    Value* y = whole(b_.make("dot", {weights, v_}));
    if (flat_)
      y = b_.reshape(b_.transpose(y, {0, 2, 1, 3}),
                     {y->shape()[0], y->shape()[2], y->shape()[1] * y->shape()[3]});
    if (shown == nullptr) fail(n_, "qk_matmul_output_mode must be 0, 1, 2 or 3");
    return {y, present_k_, present_v_, n_.result_count() > 3 ? whole(shown) : nullptr};
  }

 private:
  enum Operand { kQuery, kKey, kValue, kMask, kPastKey, kPastValue, kLengths };

  int64_t mode() const { return n_.attrs().integer("qk_matmul_output_mode"); }

  void read_operands() {
    flat_ = n_.operand(kQuery)->rank() == 3;
    q_ = in_heads(n_.operand(kQuery), "q_num_heads");
    k_ = in_heads(n_.operand(kKey), "kv_num_heads");
    v_ = in_heads(n_.operand(kValue), "kv_num_heads");
    if ((n_.operand(kPastKey) == nullptr) != (n_.operand(kPastValue) == nullptr))
      fail(n_, "past_key and past_value come together");
    if (Value* past = n_.operand(kPastKey); past != nullptr) {
      if (past->rank() != 4) fail(n_, "expected past keys with 4 axes, got " + past->type().text());
      past_ = past->shape()[2];
      k_ = b_.concat({past, k_}, 2);
      v_ = b_.concat({n_.operand(kPastValue), v_}, 2);
    }
    present_k_ = k_;
    present_v_ = v_;
    queries_ = q_->shape()[2];
    keys_ = k_->shape()[2];
    group_heads();
  }

  /// [B, heads, T, D] from that, or from [B, T, heads * D].
  Value* in_heads(Value* x, std::string_view attribute) {
    if (x->rank() == 4) return x;
    const int64_t heads = n_.attrs().integer(attribute, 0);
    if (x->rank() != 3) fail(n_, "expected 3 or 4 axes, got " + x->type().text());
    if (heads < 1) fail(n_, "operands with 3 axes need q_num_heads and kv_num_heads");
    const Shape& s = x->shape();
    return b_.transpose(b_.reshape(x, {s[0], s[1], Dim(heads), floor_div(s[2], Dim(heads))}),
                        {0, 2, 1, 3});
  }

  void group_heads() {
    const Shape q = q_->shape(), k = k_->shape();
    if (q[1] == k[1]) return;
    if (!q[1].is_static() || !k[1].is_static() || k[1].value() < 1 ||
        q[1].value() % k[1].value() != 0)
      fail(n_, q[1].text() + " heads of queries do not share " + k[1].text() + " of keys");
    group_ = q[1].value() / k[1].value();
    q_ = b_.reshape(q_, {q[0], k[1], Dim(group_), q[2], q[3]});
    for (Value** v : {&k_, &v_}) {
      const Shape s = (*v)->shape();
      *v = b_.reshape(*v, {s[0], s[1], Dim(1), s[2], s[3]});
    }
  }

  /// [B, heads, T, D] from what has the axis of groups.
  Value* whole(Value* x) {
    if (group_ == 0) return x;
    const Shape& s = x->shape();
    return b_.reshape(x, {s[0], s[1] * s[2], s[3], s[4]});
  }

  Value* matrix_transpose(Value* x) {
    std::vector<int64_t> perm = {0, 1, 3, 2};
    if (group_ != 0) perm = {0, 1, 2, 4, 3};
    return b_.transpose(x, perm);
  }

  /// x times the scale, or its root.
  Value* scaled(Value* x, bool root) {
    const Dim& width = q_->shape().back();
    if (n_.attrs().has("scale") || width.is_static()) {
      const double usual =
          width.is_static() ? 1.0 / std::sqrt(static_cast<double>(width.value())) : 1.0;
      const double scale = n_.attrs().number("scale", usual);
      return scale == 1.0 ? x : b_.with_scalar("mul", x, root ? std::sqrt(scale) : scale);
    }
    Value* divisor = b_.unary("sqrt", extent_scalar(b_, width, dtype_));
    return b_.div(x, root ? b_.unary("sqrt", divisor) : divisor);
  }

  // ---- masks --------------------------------------------------------------------------------

  /// A mask of any rank that broadcasts to [B, heads, Tq, Tk], with the axis of groups.
  Value* like_scores(Value* mask) {
    if (group_ == 0 || mask->rank() < 3) return mask;
    Shape s = mask->shape();
    const size_t heads = s.size() - 3;
    const bool one = s[heads].is(1);
    s[heads] = one ? Dim(1) : floor_div(s[heads], Dim(group_));
    s.insert(s.begin() + static_cast<std::ptrdiff_t>(heads) + 1, Dim(one ? 1 : group_));
    return b_.reshape(mask, s);
  }

  /// A mask may be shorter than the keys: the rest is masked.
  Value* as_long_as_keys(Value* mask) {
    if (mask->rank() == 0) fail(n_, "expected a mask over the keys, got " + mask->type().text());
    const Dim& length = mask->shape().back();
    if (length == keys_) return mask;
    Shape before(mask->shape().size(), Dim(0)), after = before;
    after.back() = keys_ - length;
    return b_.pad(mask, before, after,
                  mask->dtype() == DType::boolean ? b_.scalar(0, DType::boolean)
                                                  : lowest(b_, mask->dtype()));
  }

  /// 0, 1, ... along one of the last two axes: of queries or of keys.
  Value* positions(const Dim& count, bool keys) {
    Shape line = keys ? Shape{Dim(1), count} : Shape{count, Dim(1)};
    return b_.make("iota", {},
                   {{"shape", line}, {"axis", int64_t{keys ? 1 : 0}}, {"dtype", DType::i64}});
  }

  /// What precedes the first query: as many keys as there are in the past, or in the cache.
  Value* positions_of_queries() {
    Value* at = positions(queries_, false);
    if (Value* lengths = n_.operand(kLengths);
        lengths != nullptr && n_.operand(kPastKey) == nullptr)
      return b_.add(at, b_.sub(per_batch(lengths), extent_scalar(b_, queries_, DType::i64)));
    return past_.is(0) ? at : b_.add(at, extent_scalar(b_, past_, DType::i64));
  }

  Value* per_batch(Value* lengths) {
    Shape s(static_cast<size_t>(group_ == 0 ? 4 : 5), Dim(1));
    if (lengths->rank() != 1)
      fail(n_, "expected a length per batch, got " + lengths->type().text());
    s[0] = lengths->shape()[0];
    return b_.reshape(b_.cast(lengths, DType::i64), s);
  }

  void allow(Value* condition) {
    allowed_ = allowed_ == nullptr ? condition : b_.make("and", {allowed_, condition});
  }

  /// Adds what the mask adds, and minus infinity wherever a query may not look.
  Value* masked(Value* scores) {
    const AttrMap& a = n_.attrs();
    const int64_t left = a.integer("left_window_size", -1),
                  right = a.integer("right_window_size", -1);
    if (left < -1 || right < -1)
      fail(n_, "left_window_size and right_window_size must be -1 or not negative");
    if (Value* mask = n_.operand(kMask); mask != nullptr) {
      mask = like_scores(as_long_as_keys(mask));
      rows_may_be_empty_ = true;
      if (mask->dtype() == DType::boolean) allow(mask);
      else scores = b_.add(scores, mask);
    }
    const bool causal = a.integer("is_causal") != 0;
    if (causal || left >= 0 || right >= 0) {
      Value* query = positions_of_queries();
      Value* key = positions(keys_, true);
      if (causal) allow(b_.compare("le", key, query));
      if (left >= 0)
        allow(
            b_.compare("le", b_.sub(query, key), b_.scalar(static_cast<double>(left), DType::i64)));
      if (right >= 0)
        allow(b_.compare("le", b_.sub(key, query),
                         b_.scalar(static_cast<double>(right), DType::i64)));
      rows_may_be_empty_ = rows_may_be_empty_ || left >= 0 || right >= 0;
    }
    if (Value* lengths = n_.operand(kLengths); lengths != nullptr) {
      allow(b_.compare("lt", positions(keys_, true), per_batch(lengths)));
      rows_may_be_empty_ = true;
    }
    return allowed_ == nullptr ? scores : b_.select(allowed_, scores, lowest(b_, dtype_));
  }

  // A row of nothing but minus infinity becomes zeros: with the largest one taken as finite, all
  // exponentials are 0, and so is 0 divided by anything but 0. Other rows sum up to 1 at least.
  Value* softmax(Value* scores) {
    const int64_t code = n_.attrs().integer("softmax_precision", 0);
    if (code != 0) scores = b_.cast(scores, dtype_of_onnx(n_, code));
    const std::vector<int64_t> keys = {scores->rank() - 1};
    Value* largest = b_.reduce("reduce_max", scores, keys);
    if (rows_may_be_empty_)
      largest = b_.max(largest, b_.scalar(lowest_finite(scores->dtype()), scores->dtype()));
    Value* e = b_.exp(b_.sub(scores, largest));
    Value* sum = b_.reduce("reduce_sum", e, keys);
    if (rows_may_be_empty_) sum = b_.with_scalar("max", sum, 0.5);
    return b_.cast(b_.div(e, sum), dtype_);
  }

  static double lowest_finite(DType t) {
    if (t == DType::f16) return -65504.0;
    if (t == DType::f64) return std::numeric_limits<double>::lowest();
    return t == DType::bf16 ? -3.38953139e38
                            : static_cast<double>(std::numeric_limits<float>::lowest());
  }

  Builder& b_;
  const Node& n_;
  DType dtype_;
  bool flat_ = false, rows_may_be_empty_ = false;
  Value *q_ = nullptr, *k_ = nullptr, *v_ = nullptr, *present_k_ = nullptr, *present_v_ = nullptr;
  Value* allowed_ = nullptr;
  Dim past_ = 0, queries_ = 0, keys_ = 0;
  int64_t group_ = 0;  ///< heads of queries per head of keys; 0 where there are as many
};

Values attention(Builder& b, const Node& n) { return Attention(b, n).run(); }

constexpr AttrDef kAttention[] = {{"is_causal", AttrKind::integer},
                                  {"kv_num_heads", AttrKind::integer},
                                  {"left_window_size", AttrKind::integer},
                                  {"q_num_heads", AttrKind::integer},
                                  {"qk_matmul_output_mode", AttrKind::integer},
                                  {"right_window_size", AttrKind::integer},
                                  {"scale", AttrKind::number},
                                  {"softcap", AttrKind::number},
                                  {"softmax_precision", AttrKind::integer}};

constexpr OpDef kOps[] = {
    {.name = "Attention",
     .min_operands = 3,
     .max_operands = 7,
     .max_results = 4,
     .attrs = kAttention,
     .traits = kOnnx,
     .decompose = attention,
     .doc = "softmax(scale q k^T + mask) v for several heads"},
};

}  // namespace

std::span<const OpDef> onnx_attention() { return kOps; }

}  // namespace tintype::ops
