#include "tar_scan.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace datacup {
namespace {

constexpr std::int64_t kMaxMember = std::int64_t{1} << 28;
constexpr std::size_t kMaxText = 1 << 16, kMaxTexts = std::size_t{1} << 26, kMaxExtensions = 64;
constexpr std::string_view kJson = "json", kUidKey = "\"uid\"";

bool is_blank(unsigned char c) { return c == 0 || c == ' '; }

// Octal digits, all of them; -1 where one is not.
std::int64_t octal(const unsigned char* field, std::size_t digits) {
  std::int64_t value = 0;
  for (std::size_t i = 0; i < digits; ++i) {
    const unsigned digit = field[i] ^ '0';
    if (digit > 7) return -1;
    value = value << 3 | digit;
  }
  return value;
}

// The payload's bytes if this is the header of a plain file, else -1.
std::int64_t plain_size(const unsigned char* header) {
  std::int64_t sum = 8 * ' ';
  for (std::size_t i = 0; i < kChecksum; ++i) sum += header[i];
  for (std::size_t i = kChecksum + 8; i < kHeaderBytes; ++i) sum += header[i];
  const bool plain = octal(header + kChecksum, kChecksumDigits) == sum && is_blank(header[kChecksum + 6]) &&
                     is_blank(header[kChecksum + 7]) && is_blank(header[kSize + kSizeDigits]) &&
                     (header[kKind] == '0' || header[kKind] == 0) && std::memcmp(header + kMagic, "ustar", 5) == 0 &&
                     header[kPrefix] == 0;
  const std::int64_t size = plain ? octal(header + kSize, kSizeDigits) : -1;
  return size <= kMaxMember ? size : -1;
}

bool is_zero(const unsigned char* block) {
  return block[0] == 0 && std::memcmp(block, block + 1, kHeaderBytes - 1) == 0;
}

// A name as key and extension, parted at its first dot; false where webdataset's rules need a closer look.
bool split(const unsigned char* field, std::string_view& key, std::string_view& extension) {
  const auto* name = reinterpret_cast<const char*>(field);
  std::size_t length = 0, dot = kNameBytes;
  for (; length < kNameBytes && field[length] != 0; ++length) {
    const unsigned char c = field[length];
    if (c == '/' || c > 127 || (dot < length && 'A' <= c && c <= 'Z')) return false;
    if (c == '.' && dot == kNameBytes) dot = length;
  }
  if (dot == 0 || dot + 1 >= length) return false;
  key = {name, dot};
  extension = {name + dot + 1, length - dot - 1};
  return true;
}

// Reads a file forwards; what is asked for stays valid until the next question.
class Window {
 public:
  Window(int file, std::int64_t length) : file_(file), length_(length) {}

  // `size` bytes from `position` on; null where the file has fewer, or cannot be read.
  const unsigned char* at(std::int64_t position, std::size_t size) {
    if (position < base_ || position + static_cast<std::int64_t>(size) > base_ + filled_) {
      if (size > bytes_.size()) return nullptr;
      base_ = position;
      filled_ = read(position, bytes_.data(), bytes_.size());
      if (filled_ < static_cast<std::int64_t>(size)) return nullptr;
    }
    return bytes_.data() + (position - base_);
  }

  // Into memory that may be larger than the window; returns the bytes read.
  std::int64_t read(std::int64_t position, unsigned char* into, std::size_t size) {
    const auto wanted = std::min(static_cast<std::int64_t>(size), length_ - position);
    std::int64_t done = 0;
    while (done < wanted) {
      const ssize_t got = pread(file_, into + done, static_cast<std::size_t>(wanted - done), position + done);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) error_ = errno;
      if (got <= 0) break;
      done += got;
    }
    return done;
  }

  int error() const { return error_; }

 private:
  int file_;
  std::int64_t length_, base_ = 0, filled_ = 0;
  int error_ = 0;
  std::array<unsigned char, 4096> bytes_;
};

class Scanner {
 public:
  Scanner(Window& window, SampleTable& table) : window_(window), table_(table) {}

  // Takes the member whose header is at `position`; returns the byte behind it, or -1 where it is not plain.
  std::int64_t add(const unsigned char* header, std::int64_t position, std::int64_t length) {
    const std::int64_t size = plain_size(header);
    std::string_view key, extension;
    if (size < 0 || size > length - position - kBlock || !split(header, key, extension)) return -1;
    const std::size_t kind = kind_of(extension);
    if (kind >= kMaxExtensions) return -1;
    const std::uint64_t bit = std::uint64_t{1} << kind;
    if (key != key_ || table_.starts.empty()) {
      close();
      key_ = key;
      seen_ = 0;
      table_.starts.push_back(position);
      table_.firsts.push_back(static_cast<std::int64_t>(table_.offsets.size()));
    } else if (seen_ & bit) {
      return -1;  // an extension twice: the second one begins another sample
    }
    seen_ |= bit;
    table_.offsets.push_back(position + kBlock);
    table_.sizes.push_back(size);
    table_.kinds.push_back(static_cast<std::int64_t>(kind));
    if (extension == kJson) add_text(position + kBlock, static_cast<std::size_t>(size));  // moves the window: comes last
    table_.text_ends.push_back(static_cast<std::int64_t>(table_.texts.size()));
    return behind_ = position + kBlock + padded(size);
  }

  // The open sample is complete.
  void close() {
    if (table_.stops.size() < table_.starts.size()) table_.stops.push_back(behind_);
  }

 private:
  std::size_t kind_of(std::string_view extension) {
    const auto found = std::find(table_.extensions.begin(), table_.extensions.end(), extension);
    if (found == table_.extensions.end() && table_.extensions.size() < kMaxExtensions) {
      table_.extensions.emplace_back(extension);
      return table_.extensions.size() - 1;
    }
    return static_cast<std::size_t>(found - table_.extensions.begin());
  }

  // What cannot be read now is left out, and read or reported by whoever needs it.
  void add_text(std::int64_t offset, std::size_t size) {
    const std::size_t before = table_.texts.size();
    if (size > kMaxText || before + size > kMaxTexts) return;
    if (const unsigned char* text = window_.at(offset, size)) {
      table_.texts.append(reinterpret_cast<const char*>(text), size);
      return;
    }
    table_.texts.resize(before + size);
    auto* into = reinterpret_cast<unsigned char*>(table_.texts.data() + before);
    if (window_.read(offset, into, size) < static_cast<std::int64_t>(size)) table_.texts.resize(before);
  }

  Window& window_;
  SampleTable& table_;
  std::string key_;
  std::uint64_t seen_ = 0;
  std::int64_t behind_ = 0;
};

int hex_digit(unsigned char c) {
  if ('0' <= c && c <= '9') return c - '0';
  c |= 0x20;
  return 'a' <= c && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hex(std::string_view digits, std::uint64_t& value) {
  value = 0;
  for (const char c : digits) {
    const int digit = hex_digit(static_cast<unsigned char>(c));
    if (digit < 0) return false;
    value = value << 4 | static_cast<std::uint64_t>(digit);
  }
  return true;
}

void skip_space(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
}

bool skip(std::string_view& text, std::string_view expected) {
  skip_space(text);
  if (text.substr(0, expected.size()) != expected) return false;
  text.remove_prefix(expected.size());
  return true;
}

// json may write a letter as an escape: the other way to spell a key.
bool escapes_a_letter(std::string_view text) {
  for (auto at = text.find('\\'); at != text.npos; at = text.find('\\', at + 1)) {
    const auto escape = text.substr(at, 5);
    if (escape == "\\u006" || escape == "\\u007") return true;
  }
  return false;
}

}  // namespace

Scan scan(int file, std::int64_t length, Range range, SampleTable& table, std::int64_t& end) {
  Window window(file, length);
  Scanner scanner(window, table);
  const bool whole = range.stop < 0;
  std::int64_t position = range.start;
  while (whole || position < range.stop) {
    const unsigned char* header = window.at(position, kHeaderBytes);
    if (header == nullptr) {
      errno = window.error();
      return errno ? Scan::kUnreadable : Scan::kOther;
    }
    if (whole && is_zero(header)) break;
    position = scanner.add(header, position, length);
    if (position < 0) return Scan::kOther;
  }
  scanner.close();
  end = position;
  return whole || position == range.stop ? Scan::kPlain : Scan::kOther;
}

bool proven_uid(std::string_view text, Uid& uid) {
  constexpr std::size_t kHalf = 16;
  std::string_view rest = text;
  if (!skip(rest, "{") || !skip(rest, kUidKey) || !skip(rest, ":") || !skip(rest, "\"")) return false;
  if (rest.size() <= 2 * kHalf || rest[2 * kHalf] != '"') return false;
  if (!hex(rest.substr(0, kHalf), uid.upper) || !hex(rest.substr(kHalf, kHalf), uid.lower)) return false;
  return rest.find(kUidKey, 2 * kHalf) == rest.npos && !escapes_a_letter(rest);
}

}  // namespace datacup
