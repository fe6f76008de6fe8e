// The instructions of an object are told apart by LLVM's disassembler, so that bytes which merely
// look like a prefetch are safe. All prefetches have the same length.
#include "codegen/prefetch_level.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <llvm-c/Disassembler.h>
#include <llvm/Object/ELFObjectFile.h>
#include <llvm/Support/TargetSelect.h>
#include <memory>
#include <mutex>

namespace tintype {

namespace {

constexpr uint8_t kTwoByteOpcode = 0x0f, kPrefetch = 0x18;
// The register field of the operand selects the kind: 0 is prefetchnta, 2 prefetcht1.
constexpr uint8_t kKindMask = 0x38, kSecondLevel = 2 << 3;

/// Changes an instruction that is a non-temporal prefetch.
void redirect(uint8_t* code, size_t length) {
  uint8_t* end = code + length;
  uint8_t* opcode = std::find(code, end, kTwoByteOpcode);  // behind prefixes, which differ from it
  if (end - opcode < 3 || opcode[1] != kPrefetch || (opcode[2] & kKindMask) != 0) return;
  opcode[2] |= kSecondLevel;
}

void redirect_all(LLVMDisasmContextRef disassembler, uint8_t* code, size_t size) {
  constexpr char kMnemonic[] = "prefetchnta";
  char text[256];
  for (size_t at = 0; at < size;) {
    const size_t length =
        LLVMDisasmInstruction(disassembler, code + at, size - at, at, text, sizeof text);
    if (length == 0) return;
    if (std::strstr(text, kMnemonic) != nullptr) redirect(code + at, length);
    at += length;
  }
}

}  // namespace

void fetch_into_second_level(std::vector<char>& object) {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeAllTargetInfos();
    llvm::InitializeAllTargetMCs();
    llvm::InitializeAllDisassemblers();
  });
  auto file = llvm::object::ObjectFile::createObjectFile(
      {llvm::StringRef(object.data(), object.size()), "kernel"});
  if (!file) return llvm::consumeError(file.takeError());
  if ((*file)->getArch() != llvm::Triple::x86_64) return;
  const std::unique_ptr<void, decltype(&LLVMDisasmDispose)> disassembler(
      LLVMCreateDisasm("x86_64-unknown-linux-gnu", nullptr, 0, nullptr, nullptr),
      &LLVMDisasmDispose);
  if (!disassembler) return;
  for (const llvm::object::SectionRef& section : (*file)->sections()) {
    if (!section.isText()) continue;
    llvm::Expected<llvm::StringRef> code = section.getContents();
    if (!code) return llvm::consumeError(code.takeError());
    auto* begin = reinterpret_cast<uint8_t*>(object.data()) + (code->data() - object.data());
    redirect_all(disassembler.get(), begin, code->size());
  }
}

}  // namespace tintype
