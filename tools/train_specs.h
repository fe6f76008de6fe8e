// Option values of `tintype train` that have a form of their own.
#pragma once

#include "passes/recompute.h"
#include "tools/driver/trainer.h"

#include <optional>
#include <string>

namespace tintype::cli {

// Each reads the text of the option of its name, and throws UsageError, naming the option, when it
// is malformed. An empty text stands for the option that is not given.

/// "REGEX,rate=0.1,weight_decay=0,max_norm=3"
ParameterGroup parse_group(const std::string& text);
/// "value=V", "norm=V", "global_norm=V"
Clipping parse_clipping(const std::string& text);
/// "l1=P,l2=P,max_norm=L"
void apply_regularizers(const std::string& text, TrainingOptions& options);
/// "ema,decay=D", "swa,start=E"
Averaging parse_averaging(const std::string& text);
/// "METRIC,patience=N,min_delta=D,restore_best=1"
std::optional<EarlyStopping> parse_early_stopping(const std::string& text);
/// "auto", a number of segments as "8", or a size as "200MB"
std::optional<RecomputeOptions> parse_recompute(const std::string& text);

}  // namespace tintype::cli
