// A compiled model in a program that links the runtime alone.
//   deployed MODEL.tt
#include <tintype/runtime/model.h>

#include <iostream>

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: deployed MODEL.tt\n";
    return 2;
  }
  const auto model = tintype::Model::load(argv[1]);
  if (!model.ok()) {
    std::cerr << model.status().message() << "\n";
    return 1;
  }
  const auto x = tintype::Tensor::from<float>({1, 4}, {-2, -1, 0, 1});
  const auto results = model.value().run({{"x", x}});
  if (!results.ok()) {
    std::cerr << results.status().message() << "\n";
    return 1;
  }
  for (float v : results.value()[0].values<float>()) std::cout << v << " ";
  std::cout << "\n";
}
