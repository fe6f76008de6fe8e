// Loading of kernel objects through LLVM ORC.
#include "codegen/object_library.h"

#include "ir/diagnostic.h"
#include "runtime/halide_hooks.h"

#include <llvm/ExecutionEngine/Orc/ExecutionUtils.h>
#include <llvm/ExecutionEngine/Orc/LLJIT.h>
#include <llvm/Support/MemoryBuffer.h>
#include <llvm/Support/TargetSelect.h>
#include <mutex>
#include <unordered_map>

namespace tintype {

namespace {

template <typename T>
T unwrap(llvm::Expected<T> value, const char* doing) {
  if (!value) throw Error(std::string(doing) + " failed: " + llvm::toString(value.takeError()));
  return std::move(*value);
}

void check(llvm::Error error, const char* doing) {
  if (error) throw Error(std::string(doing) + " failed: " + llvm::toString(std::move(error)));
}

class OrcLibrary final : public KernelLibrary {
 public:
  explicit OrcLibrary(const std::vector<KernelObject>& objects) {
    static std::once_flag once;
    std::call_once(once, [] {
      llvm::InitializeNativeTarget();
      llvm::InitializeNativeTargetAsmPrinter();
    });
    jit_ = unwrap(llvm::orc::LLJITBuilder().create(), "starting the linker");
    llvm::orc::JITDylib& dylib = jit_->getMainJITDylib();
    llvm::orc::SymbolMap hooks;
    for (const HookSymbol& h : halide_hook_symbols())
      hooks[jit_->mangleAndIntern(h.name)] = {llvm::orc::ExecutorAddr::fromPtr(h.address),
                                              llvm::JITSymbolFlags::Exported};
    check(dylib.define(llvm::orc::absoluteSymbols(std::move(hooks))), "defining the hooks");
    // libc and libm, for memset and scalar mathematics.
    dylib.addGenerator(unwrap(llvm::orc::DynamicLibrarySearchGenerator::GetForCurrentProcess(
                                  jit_->getDataLayout().getGlobalPrefix()),
                              "searching the process for symbols"));
    for (const KernelObject& o : objects)
      check(jit_->addObjectFile(llvm::MemoryBuffer::getMemBufferCopy(
                llvm::StringRef(o.bytes.data(), o.bytes.size()), o.symbol)),
            "adding a kernel object");
    for (const KernelObject& o : objects) {
      const auto address = unwrap(jit_->lookup(o.symbol + "_argv"), "linking a kernel");
      functions_[o.symbol] = address.toPtr<KernelFunction>();
    }
  }

  Result<KernelFunction> find(std::string_view symbol) const override {
    auto it = functions_.find(std::string(symbol));
    if (it == functions_.end())
      return Status(StatusCode::internal,
                    "kernel '" + std::string(symbol) + "' is not in the library");
    return it->second;
  }

 private:
  std::unique_ptr<llvm::orc::LLJIT> jit_;
  std::unordered_map<std::string, KernelFunction> functions_;
};

}  // namespace

std::shared_ptr<const KernelLibrary> link_objects(const std::vector<KernelObject>& objects) {
  return std::make_shared<OrcLibrary>(objects);
}

}  // namespace tintype
