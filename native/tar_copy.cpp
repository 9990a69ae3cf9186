#include "tar_copy.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "tar_format.hpp"

namespace datacup {
namespace {

constexpr std::int64_t kChunk = 1 << 18;  // bytes that are read and then written at a time: they stay in the cache

void write_octal(unsigned char* field, std::size_t digits, std::uint64_t value) {
  for (std::size_t i = digits; i-- > 0; value >>= 3) field[i] = static_cast<unsigned char>('0' + (value & 7));
}

class Copier {
 public:
  Copier(int target, const int* files, const Copies& members, CopyError& error)
      : target_(target), files_(files), members_(members), error_(error), bytes_(kChunk) {
    std::memcpy(empty_, members.header, sizeof empty_);
    std::memset(empty_ + kChecksum, ' ', kChecksumDigits + 2);
    std::memset(empty_ + kSize, 0, kSizeDigits);
    for (const unsigned char byte : empty_) empty_sum_ += byte;
  }

  bool all() {
    for (std::int64_t first = 0; first < members_.count;) {
      std::int64_t last = first;
      while (last < members_.count && end(last) - members_.starts[first] <= kChunk) ++last;
      if (last > first ? !chunk(first, last) : !large(first)) return false;
      first = std::max(last, first + 1);
    }
    return true;
  }

 private:
  std::int64_t payload_end(std::int64_t i) const { return members_.starts[i] + kBlock + members_.sizes[i]; }
  std::int64_t end(std::int64_t i) const { return members_.starts[i] + kBlock + padded(members_.sizes[i]); }

  // Do they lie behind one another in one source as they will in the target?
  bool joined(std::int64_t i, std::int64_t next) const {
    return members_.sources[i] == members_.sources[next] &&
           members_.offsets[next] - members_.offsets[i] == members_.starts[next] - members_.starts[i];
  }

  // Members that fit the buffer together. Those that are joined are one read, headers included, which are then replaced.
  bool chunk(std::int64_t first, std::int64_t last) {
    const std::int64_t begin = members_.starts[first];
    for (std::int64_t i = first; i < last;) {
      std::int64_t next = i + 1;
      while (next < last && joined(i, next)) ++next;
      const std::int64_t at = members_.starts[i] + kBlock;
      if (!read(i, members_.offsets[i], bytes_.data() + (at - begin), payload_end(next - 1) - at)) return false;
      i = next;
    }
    for (std::int64_t i = first; i < last; ++i) {
      header(i, bytes_.data() + (members_.starts[i] - begin));
      std::memset(bytes_.data() + (payload_end(i) - begin), 0, static_cast<std::size_t>(end(i) - payload_end(i)));
    }
    return write(bytes_.data(), end(last - 1) - begin, begin);
  }

  // A member that does not fit.
  bool large(std::int64_t i) {
    header(i, bytes_.data());
    std::int64_t filled = kBlock, position = members_.starts[i];
    for (std::int64_t done = 0; done < members_.sizes[i];) {
      const std::int64_t piece = std::min(kChunk - filled, members_.sizes[i] - done);
      if (!read(i, members_.offsets[i] + done, bytes_.data() + filled, piece)) return false;
      if (!write(bytes_.data(), filled + piece, position)) return false;
      done += piece;
      position += filled + piece;
      filled = 0;
    }
    const std::int64_t rest = end(i) - payload_end(i);
    std::memset(bytes_.data(), 0, static_cast<std::size_t>(rest));
    return write(bytes_.data(), rest, position);
  }

  // As competition.data.tar_headers.headers_of: the sum of bytes is taken with spaces in its own place.
  void header(std::int64_t i, unsigned char* block) const {
    std::memcpy(block, empty_, sizeof empty_);
    std::memcpy(block, members_.names + static_cast<std::size_t>(i) * kNameBytes, kNameBytes);
    write_octal(block + kSize, kSizeDigits, static_cast<std::uint64_t>(members_.sizes[i]));
    std::uint64_t sum = empty_sum_;
    for (std::size_t at = 0; at < kNameBytes; ++at) sum += block[at];
    for (std::size_t at = 0; at < kSizeDigits; ++at) sum += block[kSize + at];
    write_octal(block + kChecksum, kChecksumDigits, sum);
    std::memcpy(block + kChecksum + kChecksumDigits, members_.header + kChecksum + kChecksumDigits, 2);
  }

  bool read(std::int64_t i, std::int64_t offset, unsigned char* into, std::int64_t size) {
    const std::int64_t source = members_.sources[i];
    while (size > 0) {
      const ssize_t got = pread(files_[source], into, static_cast<std::size_t>(size), offset);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return fail(source, offset, got < 0 ? errno : 0);
      into += got, offset += got, size -= got;
    }
    return true;
  }

  bool write(const unsigned char* from, std::int64_t size, std::int64_t position) {
    while (size > 0) {
      const ssize_t put = pwrite(target_, from, static_cast<std::size_t>(size), position);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return fail(-1, position, errno);
      from += put, position += put, size -= put;
    }
    return true;
  }

  bool fail(std::int64_t source, std::int64_t position, int code) {
    error_ = {source, position, code};
    return false;
  }

  int target_;
  const int* files_;
  const Copies& members_;
  CopyError& error_;
  std::vector<unsigned char> bytes_;
  unsigned char empty_[kHeaderBytes];
  std::uint64_t empty_sum_ = 0;
};

}  // namespace

bool copy(int target, const int* files, const Copies& members, CopyError& error) {
  return Copier(target, files, members, error).all();
}

}  // namespace datacup
