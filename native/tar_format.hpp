// POSIX.1-2017 pax, "ustar Interchange Format": the places of a header's fields, as far as plain files need them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace datacup {

constexpr std::int64_t kBlock = 512;
constexpr std::size_t kHeaderBytes = 512, kNameBytes = 100, kSize = 124, kSizeDigits = 11, kChecksum = 148,
                      kChecksumDigits = 6, kKind = 156, kMagic = 257, kPrefix = 345;

constexpr std::int64_t padded(std::int64_t size) { return (size + kBlock - 1) & -kBlock; }

}  // namespace datacup
