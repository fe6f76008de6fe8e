// Assembling the hook trampolines with LLVM and linking with lld.
#include "codegen/shared_object.h"

#include "ir/diagnostic.h"
#include "runtime/halide_hooks.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <lld/Common/Driver.h>
#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/IR/Module.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/Target/TargetMachine.h>
#include <llvm/TargetParser/Triple.h>
#include <mutex>

LLD_HAS_DRIVER(elf)

namespace tintype {

namespace {

/// A private folder, removed with everything in it.
class ScratchFolder {
 public:
  ScratchFolder() {
    const char* dir = std::getenv("TMPDIR");
    path_ = std::string(dir == nullptr || *dir == '\0' ? "/tmp" : dir) + "/tintype-link-XXXXXX";
    if (mkdtemp(path_.data()) == nullptr)
      throw Error("cannot create a temporary folder at '" + path_ + "'; set TMPDIR");
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

void write_file(const std::string& path, const char* data, size_t bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(data, static_cast<std::streamsize>(bytes));
  if (!out.flush()) throw Error(path + ": cannot be written");
}

/// Object code of assembler text for a triple.
void assemble(const std::string& text, const std::string& triple_text, const std::string& path) {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    llvm::InitializeNativeTargetAsmParser();
  });
  const llvm::Triple triple(triple_text);
  std::string problem;
  const llvm::Target* target = llvm::TargetRegistry::lookupTarget(triple, problem);
  if (target == nullptr) throw Error("cannot assemble for " + triple_text + ": " + problem);
  const std::unique_ptr<llvm::TargetMachine> machine(
      target->createTargetMachine(triple, "", "", llvm::TargetOptions(), llvm::Reloc::PIC_));
  llvm::LLVMContext context;
  llvm::Module module("hooks", context);
  module.setTargetTriple(triple);
  module.setDataLayout(machine->createDataLayout());
  module.setModuleInlineAsm(text);
  std::error_code error;
  llvm::raw_fd_ostream out(path, error);
  if (error) throw Error(path + ": cannot be written (" + error.message() + ")");
  llvm::legacy::PassManager passes;
  if (machine->addPassesToEmitFile(passes, out, nullptr, llvm::CodeGenFileType::ObjectFile))
    throw InternalError("LLVM cannot emit objects for " + triple_text);
  passes.run(module);
}

}  // namespace

std::vector<char> link_shared_object(const std::vector<KernelObject>& objects,
                                     const std::string& target) {
  const bool arm = target.starts_with("arm-64");
  const std::string trampolines = hook_trampolines(arm ? "aarch64" : "x86_64");
  if (trampolines.empty())
    throw Error("compiled files are not supported for target '" + target + "'");
  const ScratchFolder folder;
  std::vector<std::string> arguments = {"ld.lld",
                                        "-shared",
                                        "-o",
                                        folder.file("model.so"),
                                        "-z",
                                        "noexecstack",
                                        "--allow-shlib-undefined",
                                        "-z",
                                        "now"};
  assemble(trampolines, arm ? "aarch64-linux-gnu" : "x86_64-linux-gnu", folder.file("hooks.o"));
  arguments.push_back(folder.file("hooks.o"));
  for (size_t i = 0; i < objects.size(); ++i) {
    const std::string path = folder.file(std::to_string(i) + ".o");
    write_file(path, objects[i].bytes.data(), objects[i].bytes.size());
    arguments.push_back(path);
  }
  std::vector<const char*> argv;
  for (const std::string& a : arguments) argv.push_back(a.c_str());
  std::string messages;
  llvm::raw_string_ostream sink(messages);
  static std::mutex mutex;  // lld keeps its state in globals
  {
    const std::lock_guard lock(mutex);
    const lld::Result result = lld::lldMain(argv, sink, sink, {{lld::Gnu, &lld::elf::link}});
    if (result.retCode != 0) throw Error("linking the compiled model failed: " + sink.str());
  }
  std::ifstream in(folder.file("model.so"), std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace tintype
