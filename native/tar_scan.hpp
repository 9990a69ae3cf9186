// Where the samples of a tar lie, and the uids in their json: competition/data/sample_table.py and sample_uids.py in C++.
//
// Only what is plain is answered: ustar or GNU headers without extensions, ASCII names without folders, json that begins
// with its uid. Anything else, and whatever is wrong, is left to the Python code, which decides and says what is damaged.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tar_format.hpp"

namespace datacup {

struct Range {
  std::int64_t start, stop;
};

// The columns of Python's SampleTable. `texts` holds the json payloads one behind the other: that of member i, if it was
// read, ends at text_ends[i].
struct SampleTable {
  std::vector<std::int64_t> starts, stops, firsts, offsets, sizes, kinds, text_ends;
  std::vector<std::string> extensions;
  std::string texts;
};

enum class Scan { kPlain, kOther, kUnreadable };

// Members from the header at range.start up to range.stop, or, with stop = -1, up to the first block of zeros, whose
// place goes to `end`. kUnreadable: errno tells why.
Scan scan(int file, std::int64_t length, Range range, SampleTable& table, std::int64_t& end);

struct Uid {
  std::uint64_t upper, lower;
};

// The uid of a json object that begins with {"uid": "<32 digits>" and has no other way to mean another one.
bool proven_uid(std::string_view text, Uid& uid);

}  // namespace datacup
