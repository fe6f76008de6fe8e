// The compiler as a library: a plugin, a pattern and a pipeline, then a run.
//   embed MODEL PLUGIN PATTERNS PASSES
#include <tintype/passes/pattern_file.h>
#include <tintype/passes/plugin.h>
#include <tintype/tools/driver/driver.h>

#include <iostream>

int main(int argc, char** argv) {
  using namespace tintype;
  if (argc != 5) {
    std::cerr << "usage: embed MODEL PLUGIN PATTERNS PASSES\n";
    return 2;
  }
  try {
    load_plugin(argv[2]);
    load_patterns(argv[3]);
    CompileOptions options;
    options.passes = argv[4];
    const CompiledModel compiled = compile_model(argv[1], options);
    const Tensor x = Tensor::from<float>({1, 5}, {-2, -1, 0, 1, 2});
    const auto results = compiled.model.run({{"x", x}});
    if (!results.ok()) throw Error(results.status().message());
    for (const Tensor& t : results.value()) {
      for (float v : t.values<float>()) std::cout << v << " ";
      std::cout << "\n";
    }
  } catch (const Error& e) {
    std::cerr << e.what() << "\n";
    return 1;
  }
}
