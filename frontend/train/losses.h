// Loss functions as graph fragments of core ops.
//
// Names, formulas and defaults are those that the PyTorch 2.15 documentation of the class in each
// comment gives; x is the prediction, t the target. The per-element losses are averaged (mean) or
// summed. Arithmetic happens in the prediction's element type.
#pragma once

#include "ir/builder.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace tintype {

enum class LossReduction : uint8_t { mean, sum };

/// -log softmax(x)[t], through log-sum-exp (torch.nn.CrossEntropyLoss). x is [N,C,...] or [C];
/// classes on axis 1 (axis 0 of a vector). t: class indices i64[N,...], or distributions of x's
/// type and shape when `probabilities`. The mean is over labels that are not `ignore_index`, or
/// over N,... for distributions. With smoothing e the target distribution becomes (1-e) t + e/C. A
/// label outside [0, C) other than ignore_index counts with loss 0: check labels beforehand.
struct CrossEntropy {
  static constexpr std::string_view kName = "cross_entropy";
  double label_smoothing = 0;
  std::optional<int64_t> ignore_index = {};
  bool probabilities = false;
  template <typename V>
  void fields(V& visit) {
    visit("label_smoothing", label_smoothing);
    visit("ignore_index", ignore_index);
    visit("probabilities", probabilities);
  }
};

/// -w t log sigmoid(x) - (1-t) log(1 - sigmoid(x)), w = pos_weight, stable for all x
/// (torch.nn.BCEWithLogitsLoss). t has the type and shape of x, elements in [0, 1].
struct BinaryCrossEntropy {
  static constexpr std::string_view kName = "binary_cross_entropy";
  double pos_weight = 1;
  template <typename V>
  void fields(V& visit) {
    visit("pos_weight", pos_weight);
  }
};

/// (x - t)^2 (torch.nn.MSELoss)
struct MeanSquaredError {
  static constexpr std::string_view kName = "mse";
  template <typename V>
  void fields(V&) {}
};

/// |x - t| (torch.nn.L1Loss)
struct MeanAbsoluteError {
  static constexpr std::string_view kName = "l1";
  template <typename V>
  void fields(V&) {}
};

/// d = x - t: d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2) (torch.nn.HuberLoss)
struct Huber {
  static constexpr std::string_view kName = "huber";
  double delta = 1;
  template <typename V>
  void fields(V& visit) {
    visit("delta", delta);
  }
};

/// The Huber loss with delta = beta, divided by beta (torch.nn.SmoothL1Loss)
struct SmoothL1 {
  static constexpr std::string_view kName = "smooth_l1";
  double beta = 1;
  template <typename V>
  void fields(V& visit) {
    visit("beta", beta);
  }
};

/// Multi-class hinge: sum over i != t of max(0, margin - x[t] + x[i])^p / C, p 1 or 2
/// (torch.nn.MultiMarginLoss). x is [N,C], t i64[N].
struct MultiMargin {
  static constexpr std::string_view kName = "multi_margin";
  int64_t p = 1;
  double margin = 1;
  template <typename V>
  void fields(V& visit) {
    visit("p", p);
    visit("margin", margin);
  }
};

/// Binary hinge: max(0, 1 - t x), t is -1 or 1, of x's type and shape (Cortes & Vapnik 1995).
struct Hinge {
  static constexpr std::string_view kName = "hinge";
  template <typename V>
  void fields(V&) {}
};

/// t (log t - x), x holds log-probabilities (torch.nn.KLDivLoss). The mean is over all elements, or
/// over the first axis when `batch_mean`, which is the divergence itself.
struct KlDivergence {
  static constexpr std::string_view kName = "kl_divergence";
  bool log_target = false;
  bool batch_mean = false;
  template <typename V>
  void fields(V& visit) {
    visit("log_target", log_target);
    visit("batch_mean", batch_mean);
  }
};

/// -x[t], x holds log-probabilities [N,C,...], t i64[N,...] (torch.nn.NLLLoss)
struct NegativeLogLikelihood {
  static constexpr std::string_view kName = "nll";
  std::optional<int64_t> ignore_index = {};
  template <typename V>
  void fields(V& visit) {
    visit("ignore_index", ignore_index);
  }
};

using Loss = std::variant<CrossEntropy, BinaryCrossEntropy, MeanSquaredError, MeanAbsoluteError,
                          Huber, SmoothL1, MultiMargin, Hinge, KlDivergence, NegativeLogLikelihood>;

/// "cross_entropy,label_smoothing=0.1" and back. Throws Error for unknown names, keys and values
/// out of range.
Loss parse_loss(std::string_view text);
std::string text_of(const Loss& loss);

/// Whether targets are class indices.
bool takes_labels(const Loss& loss);
/// The type that targets of this prediction have. Throws Error when the loss can not take it.
TensorType target_type(const Loss& loss, const TensorType& prediction);
/// The scalar loss. Throws Error when the types do not fit.
Value* add_loss(Builder& b, const Loss& loss, Value* prediction, Value* target,
                LossReduction reduction = LossReduction::mean);

/// The axis that holds the classes of a prediction: 1, or 0 for a vector.
int class_axis(const TensorType& prediction);
/// bool, of the prediction's shape: true where the class index equals the label.
Value* label_mask(Builder& b, Value* prediction, Value* labels);

}  // namespace tintype
