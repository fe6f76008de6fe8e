// A library of which the name counts: tests/CMakeLists.txt says what for.
namespace tintype {}
