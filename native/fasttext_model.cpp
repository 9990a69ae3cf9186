#include "fasttext_model.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

namespace datacup {
namespace {

constexpr std::int32_t kMagic = 793712314, kVersion = 12, kHierarchicalSoftmax = 1, kSupervised = 3;
constexpr std::size_t kCentroids = 256;
constexpr std::int32_t kMaxLabels = 4096, kMaxBuckets = 1 << 28, kMaxNgram = 16;
constexpr std::size_t kMemoryRows = 1 << 20;
constexpr std::int64_t kNoCount = 1'000'000'000'000'000;  // fastText's count of a node that is not built yet
constexpr std::string_view kEndOfLine = "</s>", kLabelPrefix = "__label__";
constexpr std::uint32_t kHashStart = 2166136261u, kHashFactor = 16777619u;

// fastText hashes signed characters.
inline std::uint32_t hash_byte(std::uint32_t hash, char byte) {
  return (hash ^ static_cast<std::uint32_t>(static_cast<std::int8_t>(byte))) * kHashFactor;
}

std::uint32_t hash_text(std::string_view text) {
  std::uint32_t hash = kHashStart;
  for (char byte : text) hash = hash_byte(hash, byte);
  return hash;
}

inline bool continues_character(char byte) { return (byte & 0xC0) == 0x80; }

inline bool separates_words(char byte) {
  return byte == ' ' || (byte >= '\t' && byte <= '\r') || byte == '\0';
}

inline std::uint32_t count_bits(std::uint32_t bits) { return static_cast<std::uint32_t>(__builtin_popcount(bits)); }

inline float offset_log(float x) { return static_cast<float>(std::log(x + 1e-5)); }

void require(bool holds, const char* otherwise) {
  if (!holds) throw MalformedModel(otherwise);
}

void support(bool holds, const char* otherwise) {
  if (!holds) throw UnsupportedModel(otherwise);
}

}  // namespace

class Model::Reader {
 public:
  explicit Reader(std::string_view file) : rest_(file) {}

  const char* take(std::uint64_t bytes) {
    require(bytes <= rest_.size(), "it ends too early");
    const char* start = rest_.data();
    rest_.remove_prefix(bytes);
    return start;
  }
  template <typename T>
  T read() {
    T value;
    std::memcpy(&value, take(sizeof value), sizeof value);
    return value;
  }
  bool read_flag() { return *take(1) != 0; }
  std::string_view read_word() {
    const std::size_t length = rest_.find('\0');
    require(length != std::string_view::npos, "it ends inside a word");
    const char* start = take(length + 1);
    return {start, length};
  }
  // `rows` * `width` items of `size` bytes, checked before they are multiplied.
  const char* take_table(std::int64_t rows, std::uint64_t width, std::uint64_t size) {
    require(rows >= 0 && static_cast<std::uint64_t>(rows) <= rest_.size() / (width * size), "it ends inside a table");
    return take(static_cast<std::uint64_t>(rows) * width * size);
  }

 private:
  std::string_view rest_;
};

Model::Model(std::string_view file) {
  support(file.size() < std::size_t{1} << 30, "size of the file");
  Reader reader(file);
  require(reader.read<std::int32_t>() == kMagic, "it does not begin as one");
  support(reader.read<std::int32_t>() == kVersion, "format version");
  support(reader.read<std::int32_t>() == kDimensions, "number of dimensions");
  reader.take(4 * sizeof(std::int32_t));  // window, epochs, least count, negatives
  support(reader.read<std::int32_t>() <= 1, "word n-grams");
  support(reader.read<std::int32_t>() == kHierarchicalSoftmax, "loss");
  support(reader.read<std::int32_t>() == kSupervised, "kind of model");
  bucket_count_ = reader.read<std::int32_t>();
  min_n_ = reader.read<std::int32_t>();
  max_n_ = reader.read<std::int32_t>();
  support(min_n_ >= 0 && max_n_ >= 0 && max_n_ <= kMaxNgram, "length of n-grams");
  support(bucket_count_ <= kMaxBuckets, "number of buckets");
  require(bucket_count_ > 0 || max_n_ == 0, "it has n-grams and no buckets");
  if (bucket_count_ > 0) bucket_inverse_ = UINT64_MAX / static_cast<std::uint32_t>(bucket_count_) + 1;
  reader.take(sizeof(std::int32_t) + sizeof(double));  // learning rate's interval, sampling threshold
  read_dictionary(reader);
  const bool quantized = reader.read_flag();
  if (quantized) {
    read_quantized_input(reader);
  } else {
    read_dense_input(reader);
  }
  support(!reader.read_flag() || !quantized, "compressed output");
  read_output(reader);
  float largest = 0;
  measure_tree(static_cast<std::int32_t>(tree_.size()) - 1, 0, largest);
  largest_weight_ = largest;
}

void Model::read_dictionary(Reader& reader) {
  const auto size = reader.read<std::int32_t>(), words = reader.read<std::int32_t>(),
             labels = reader.read<std::int32_t>();
  require(words >= 0 && labels > 0 && size >= 0 && std::int64_t{words} + labels == size, "its word counts disagree");
  support(labels <= kMaxLabels, "number of labels");
  reader.read<std::int64_t>();  // tokens seen in training
  const auto pruned = reader.read<std::int64_t>();
  word_count_ = static_cast<std::uint32_t>(words);
  tree_.resize(2 * static_cast<std::size_t>(labels) - 1);
  for (std::int32_t i = 0; i < size; ++i) {
    const auto text = reader.read_word();
    const auto count = reader.read<std::int64_t>();
    const bool is_label = reader.read_flag();
    require(is_label == (i >= words), "its words and labels are mixed");
    words_.push_back({text, hash_text(text), is_label, 0, 0});
    if (!is_label) continue;
    require(count >= 0 && count < kNoCount / (2 * labels), "a label has an impossible count");
    tree_[static_cast<std::size_t>(i - words)].count = count;
    labels_.emplace_back(text);
  }
  read_pruned_buckets(reader, pruned);
  std::size_t slots = 16;
  while (slots < 2 * words_.size()) slots *= 2;
  slots_.assign(slots, -1);
  for (std::size_t i = 0; i < words_.size(); ++i) {
    std::size_t slot = words_[i].hash & (slots - 1);
    while (slots_[slot] >= 0 && words_[static_cast<std::size_t>(slots_[slot])].text != words_[i].text)
      slot = (slot + 1) & (slots - 1);
    slots_[slot] = static_cast<std::int32_t>(i);
  }
  std::string marked;
  for (std::uint32_t i = 0; i < word_count_; ++i) {
    words_[i].first = word_rows_.size();
    word_rows_.push_back(i);
    if (words_[i].text != kEndOfLine) add_subwords(words_[i].text, marked, word_rows_);
    words_[i].last = word_rows_.size();
  }
}

void Model::read_pruned_buckets(Reader& reader, std::int64_t count) {
  require(count >= -1 && count <= bucket_count_, "it keeps an impossible number of buckets");
  has_buckets_ = count != 0 && bucket_count_ > 0;
  if (count <= 0) return;
  std::map<std::int32_t, std::int32_t> row_of;  // the last one wins, as in fastText
  for (std::int64_t i = 0; i < count; ++i) {
    const auto bucket = reader.read<std::int32_t>(), row = reader.read<std::int32_t>();
    require(bucket >= 0 && bucket < bucket_count_ && row >= 0, "it keeps a bucket that does not exist");
    row_of[bucket] = row;
  }
  kept_.resize(static_cast<std::size_t>(bucket_count_) / 32 + 1);
  for (const auto& [bucket, row] : row_of) {
    kept_[static_cast<std::size_t>(bucket) / 32].present |= 1u << (bucket % 32);
    kept_rows_.push_back(word_count_ + static_cast<std::uint32_t>(row));
  }
  std::uint32_t before = 0;
  for (auto& part : kept_) {
    part.before = before;
    before += count_bits(part.present);
  }
}

void Model::read_dense_input(Reader& reader) {
  const auto rows = reader.read<std::int64_t>();
  support(reader.read<std::int64_t>() == kDimensions, "number of dimensions");
  require(kept_.empty(), "it keeps some buckets without being compressed");
  input_ = reader.take_table(rows, kDimensions, sizeof(float));
  input_rows_ = static_cast<std::size_t>(rows);
  const std::size_t needed = word_count_ + (has_buckets_ && max_n_ > 0 ? static_cast<std::size_t>(bucket_count_) : 0);
  require(input_rows_ >= needed, "it has too few rows");
}

// Rows are unpacked once, those of kept buckets in the order of the buckets.
void Model::read_quantized_input(Reader& reader) {
  const bool has_norms = reader.read_flag();
  const auto rows = reader.read<std::int64_t>();
  support(reader.read<std::int64_t>() == kDimensions, "number of dimensions");
  const auto code_bytes = reader.read<std::int32_t>();
  require(rows >= 0 && code_bytes >= 0 && rows <= code_bytes, "its codes do not fit its rows");
  const char* codes = reader.take(static_cast<std::uint64_t>(code_bytes));
  const auto dimensions = reader.read<std::int32_t>(), parts = reader.read<std::int32_t>(),
             width = reader.read<std::int32_t>(), last_width = reader.read<std::int32_t>();
  require(dimensions == kDimensions && width > 0 && parts > 0 && last_width > 0 && last_width <= width &&
              std::int64_t{parts - 1} * width + last_width == dimensions && rows * parts == code_bytes,
          "its codes do not fit its rows");
  const char* centroids = reader.take(kDimensions * kCentroids * sizeof(float));
  const char *norm_codes = nullptr, *norms = nullptr;
  if (has_norms) {
    norm_codes = reader.take_table(rows, 1, 1);
    const auto one = reader.read<std::array<std::int32_t, 4>>();
    require(one == std::array<std::int32_t, 4>{1, 1, 1, 1}, "its norms are not single numbers");
    norms = reader.take(kCentroids * sizeof(float));
  }
  const auto number = [](const char* table, std::size_t index) {
    float value;
    std::memcpy(&value, table + index * sizeof value, sizeof value);
    return value;
  };
  const auto unpack = [&](std::size_t row) {
    require(row < static_cast<std::size_t>(rows), "it has too few rows");
    Vector vector;
    const float norm = has_norms ? number(norms, static_cast<unsigned char>(norm_codes[row])) : 1.0f;
    for (std::size_t i = 0; i < kDimensions; ++i) {
      const std::size_t part = i / static_cast<std::size_t>(width), offset = i % static_cast<std::size_t>(width);
      const auto code = static_cast<unsigned char>(codes[row * static_cast<std::size_t>(parts) + part]);
      const std::size_t step = static_cast<std::size_t>(part + 1 == static_cast<std::size_t>(parts) ? last_width : width);
      vector[i] = norm * number(centroids, part * kCentroids * static_cast<std::size_t>(width) + code * step + offset);
    }
    return vector;
  };
  const bool all_buckets = kept_.empty() && has_buckets_ && max_n_ > 0;
  const std::size_t plain = word_count_ + (all_buckets ? static_cast<std::size_t>(bucket_count_) : 0);
  dequantized_.reserve(std::min(plain, static_cast<std::size_t>(rows)) + kept_rows_.size());
  for (std::size_t row = 0; row < plain; ++row) dequantized_.push_back(unpack(row));
  for (std::uint32_t row : kept_rows_) dequantized_.push_back(unpack(row));
  kept_rows_ = {};
  input_ = reinterpret_cast<const char*>(dequantized_.data());
  input_rows_ = dequantized_.size();
}

void Model::read_output(Reader& reader) {
  const auto rows = reader.read<std::int64_t>();
  support(reader.read<std::int64_t>() == kDimensions, "number of dimensions");
  require(rows == static_cast<std::int64_t>(labels_.size()), "its output does not fit its labels");
  const char* weights = reader.take_table(rows, kDimensions, sizeof(float));
  build_tree();
  for (std::size_t i = labels_.size(); i < tree_.size(); ++i)
    std::memcpy(tree_[i].weights.data(), weights + (i - labels_.size()) * sizeof(Vector), sizeof(Vector));
}

// Huffman's tree as fastText builds it: labels by falling count, so that two cursors find the least two.
void Model::build_tree() {
  const auto labels = static_cast<std::int32_t>(labels_.size());
  const auto at = [this](std::int32_t i) -> Node& { return tree_[static_cast<std::size_t>(i)]; };
  for (std::int32_t i = labels; i < 2 * labels - 1; ++i) at(i).count = kNoCount;
  std::int32_t leaf = labels - 1, node = labels;
  for (std::int32_t i = labels; i < 2 * labels - 1; ++i) {
    std::int32_t least[2];
    for (auto& child : least) child = leaf >= 0 && at(leaf).count < at(node).count ? leaf-- : node++;
    at(i).left = least[0];
    at(i).right = least[1];
    at(i).count = at(least[0]).count + at(least[1]).count;
  }
}

void Model::measure_tree(std::int32_t node, int depth, float& largest) {
  const Node& here = tree_[static_cast<std::size_t>(node)];
  depth_ = std::max(depth_, depth);
  if (here.left < 0) return;
  for (float weight : here.weights) largest = std::isfinite(weight) ? std::max(largest, std::fabs(weight)) : INFINITY;
  measure_tree(here.left, depth + 1, largest);
  measure_tree(here.right, depth + 1, largest);
}

std::int32_t Model::predict(std::string_view text, Memory& memory) const {
  Sum sum;
  const char *at = text.data(), *end = at + text.size();
  bool ended = false;
  while (!ended) {
    while (at < end && separates_words(*at)) ++at;
    if (at == end) break;
    const char* start = at;
    std::uint32_t hash = kHashStart;
    for (; at < end && !separates_words(*at); ++at) hash = hash_byte(hash, *at);
    const std::string_view word(start, static_cast<std::size_t>(at - start));
    add_word(word, hash, memory, sum);
    ended = word == kEndOfLine;
  }
  if (!ended) add_word(kEndOfLine, hash_text(kEndOfLine), memory, sum);
  if (sum.rows == 0) return -1;
  const auto factor = static_cast<float>(1.0 / static_cast<double>(sum.rows));
  for (float& value : sum.vector) value *= factor;
  return likeliest(sum.vector);
}

void Model::add_word(std::string_view text, std::uint32_t hash, Memory& memory, Sum& sum) const {
  if (const Word* word = find(text, hash)) {
    if (!word->is_label) add_rows(word_rows_.data() + word->first, word->last - word->first, sum);
  } else if (text.substr(0, kLabelPrefix.size()) != kLabelPrefix && text != kEndOfLine) {
    recall(text, hash, memory, sum);
  }
}

void Model::add_rows(const std::uint32_t* rows, std::size_t count, Sum& sum) const {
  using Lanes __attribute__((vector_size(16))) = float;  // compilers make less of an array of 16
  constexpr std::size_t kParts = sizeof(Vector) / sizeof(Lanes);
  Lanes total[kParts], next[kParts];
  std::memcpy(total, sum.vector.data(), sizeof total);
  for (std::size_t i = 0; i < count; ++i) {
    std::memcpy(next, input_ + std::size_t{rows[i]} * sizeof(Vector), sizeof next);
    for (std::size_t j = 0; j < kParts; ++j) total[j] += next[j];
  }
  std::memcpy(sum.vector.data(), total, sizeof total);
  sum.rows += count;
}

// Adds the rows of a word that the dictionary lacks. The same few words make up most of a pool.
void Model::recall(std::string_view text, std::uint32_t hash, Memory& memory, Sum& sum) const {
  Memory::Entry& entry = memory.entries[hash % memory.entries.size()];
  if (entry.hash != hash || entry.length != text.size() || std::memcmp(entry.text, text.data(), text.size()) != 0) {
    if (memory.rows.size() > kMemoryRows) memory.forget();
    entry = {hash, static_cast<std::uint32_t>(memory.rows.size()), 0, 0, {}};
    add_subwords(text, memory.word, memory.rows);
    if (text.size() > sizeof entry.text) {
      add_rows(memory.rows.data() + entry.first, memory.rows.size() - entry.first, sum);
      memory.rows.resize(entry.first);
      return;
    }
    entry.count = static_cast<std::uint16_t>(memory.rows.size() - entry.first);
    entry.length = static_cast<std::uint8_t>(text.size());
    std::memcpy(entry.text, text.data(), text.size());
  }
  add_rows(memory.rows.data() + entry.first, entry.count, sum);
}

void Model::Memory::forget() {
  std::fill(entries.begin(), entries.end(), Entry{});
  rows.clear();
}

const Model::Word* Model::find(std::string_view text, std::uint32_t hash) const {
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t slot = hash & mask; slots_[slot] >= 0; slot = (slot + 1) & mask) {
    const Word& word = words_[static_cast<std::size_t>(slots_[slot])];
    if (word.hash == hash && word.text == text) return &word;
  }
  return nullptr;
}

// Writes the row of an n-gram's bucket and says whether it has one: to the processor, that is the toss of a coin.
inline bool Model::Buckets::place(std::uint32_t hash, std::uint32_t* row) const {
  // hash % count without a division (Lemire, Kaser, Kurz, "Faster Remainder by Direct Computation", 2019).
  const auto bucket =
      static_cast<std::uint32_t>((static_cast<unsigned __int128>(inverse * hash) * count) >> 64);
  if (kept == nullptr) {
    *row = first_row + bucket;
    return true;
  }
  const KeptBuckets part = kept[bucket / 32];
  const std::uint32_t bit = 1u << (bucket % 32);
  *row = first_row + part.before + count_bits(part.present & (bit - 1));
  return (part.present & bit) != 0;
}

void Model::add_subwords(std::string_view text, std::string& word, std::vector<std::uint32_t>& rows) const {
  if (!has_buckets_ || max_n_ == 0) return;
  word.assign(1, '<').append(text).push_back('>');
  const std::size_t before = rows.size();
  rows.resize(before + word.size() * static_cast<std::size_t>(max_n_));
  std::uint32_t* row = rows.data() + before;
  const Buckets buckets = {bucket_inverse_, static_cast<std::uint32_t>(bucket_count_), word_count_,
                           kept_.empty() ? nullptr : kept_.data()};
  const std::int32_t least = min_n_, most = max_n_;
  const char *begin = word.data(), *end = begin + word.size();
  for (const char* start = begin; start < end; ++start) {
    if (continues_character(*start)) continue;
    std::uint32_t hash = kHashStart;
    const char* at = start;
    for (std::int32_t n = 1; at < end && n <= most; ++n) {
      hash = hash_byte(hash, *at++);
      while (at < end && continues_character(*at)) hash = hash_byte(hash, *at++);
      if (n >= least && !(n == 1 && (start == begin || at == end))) row += buckets.place(hash, row);
    }
  }
  rows.resize(static_cast<std::size_t>(row - rows.data()));
}

struct Model::Best {
  std::int32_t label = -1;
  float score = 0, second = 0;
};

// First a search in the likeliest order, in products of probabilities instead of sums of logarithms: few nodes, no
// logarithm. It is right unless two labels are nearly as likely: fastText's own search could then order them otherwise,
// by rounding, because a logarithm of (p + 1e-5) above 0 lets a branch rise, or since the last of equals wins. `slack`
// bounds all that a path can gain or lose so; where the margin is not several times as large, fastText's search decides.
std::int32_t Model::likeliest(const Vector& hidden) const {
  const auto root = static_cast<std::int32_t>(tree_.size()) - 1;
  float magnitude = 0;
  for (float value : hidden) magnitude += std::fabs(value);
  const float slack = static_cast<float>(depth_) * (1.5e-5f + 4e-6f * magnitude * largest_weight_);
  Best best;
  if (slack < 0.05f) {  // also false when not a number
    search_fast(root, 1.0f, hidden, best, 1.0f - 6 * slack);
    if (best.score > 2e-5f && best.second < best.score * (1.0f - 5 * slack)) return best.label;
  }
  best = Best();
  search(root, 0.0f, hidden, best);
  return best.label;
}

void Model::search_fast(std::int32_t node, float probability, const Vector& hidden, Best& best, float cut) const {
  const Node& here = tree_[static_cast<std::size_t>(node)];
  if (here.left < 0) {
    if (probability > best.score) {
      best.second = best.score;
      best.score = probability;
      best.label = node;
    } else {
      best.second = std::max(best.second, probability);
    }
    return;
  }
  float sums[4] = {};
  for (std::size_t i = 0; i < kDimensions; ++i) sums[i % 4] += here.weights[i] * hidden[i];
  const float right = 1.0f / (1.0f + std::exp(-((sums[0] + sums[1]) + (sums[2] + sums[3]))));
  float likelier = probability * (right + 1e-5f), other = probability * ((1.0f - right) + 1e-5f);
  const bool left_first = other > likelier;
  if (left_first) std::swap(likelier, other);
  if (likelier >= best.score * cut) search_fast(left_first ? here.left : here.right, likelier, hidden, best, cut);
  if (other >= best.score * cut) search_fast(left_first ? here.right : here.left, other, hidden, best, cut);
}

// fastText's depth-first search for the best one label, threshold 0.
void Model::search(std::int32_t node, float score, const Vector& hidden, Best& best) const {
  static const float lowest = offset_log(0.0f);
  if (score < lowest || (best.label >= 0 && score < best.score)) return;
  const Node& here = tree_[static_cast<std::size_t>(node)];
  if (here.left < 0) {
    best.label = node;
    best.score = score;
    return;
  }
  float product = 0;
  for (std::size_t i = 0; i < kDimensions; ++i) product += here.weights[i] * hidden[i];
  const auto right = static_cast<float>(1.0 / (1.0f + std::exp(-product)));
  search(here.left, score + offset_log(static_cast<float>(1.0 - right)), hidden, best);
  search(here.right, score + offset_log(right), hidden, best);
}

}  // namespace datacup
