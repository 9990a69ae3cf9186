// Writes members of a tar by copying byte ranges of others: participant_kit/reshard/copying.py's loop in C++.
#pragma once

#include <cstddef>
#include <cstdint>

namespace datacup {

// Members in order. Member i's header goes to byte starts[i] of the target, its payload of sizes[i] bytes, which begins
// at offsets[i] of file sources[i], behind it, and zeros behind that up to a whole block.
struct Copies {
  const unsigned char* header;  // of an empty file without a name
  const unsigned char* names;   // kNameBytes each, padded with zeros
  const std::int64_t *sources, *offsets, *sizes, *starts;
  std::int64_t count;
};

struct CopyError {
  std::int64_t source, position;  // source -1: the target
  int code;                       // errno; 0: the file ends there
};

// False, with `error`, where something could not be read or written.
bool copy(int target, const int* files, const Copies& members, CopyError& error);

}  // namespace datacup
