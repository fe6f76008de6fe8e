// The passes between a model and its kernels, as a pipeline whose text names every one of them.
#pragma once

#include "codegen/select_algorithms.h"
#include "passes/pass_manager.h"
#include "tools/driver/driver.h"

#include <string>
#include <string_view>

namespace tintype {

/// "auto", "never" or "always"; an Error says so.
Libraries parse_libraries(std::string_view name);

/// The name of the pipeline that `options` asks for apart from options.passes: "default", "strict"
/// or "reference".
std::string_view pipeline_name(const CompileOptions& options);
/// The pipeline options.passes, or the one of pipeline_name where there is none. Steps whose
/// options the text leaves open get the target and the likely extents of `options`. Throws Error
/// for unknown passes and options. Thread-safe.
PassPipeline pipeline_for(const CompileOptions& options);

/// What the options of a step of select-algorithms ask for. Throws Error.
SelectAlgorithmsOptions select_options(const PassContext& context);
/// Why options.tuning decides nothing where one would expect it: the default file is damaged, or
/// the one that was named has no choices for these options. "" when all is well.
std::string tuning_problem(const CompileOptions& options);

}  // namespace tintype
