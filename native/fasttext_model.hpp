// fastText's supervised classifier with hierarchical softmax, for prediction only.
//
// Joulin et al., "Bag of Tricks for Efficient Text Classification" (2017) and "FastText.zip" (2016). The answers equal
// those of fastText's own predictor bit for bit: the same hashes, the same float32 sums in the same order, the same
// depth-first search. What is left out is refused at loading, never approximated.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace datacup {

constexpr std::size_t kDimensions = 16;  // of both published lid.176 models
using Vector = std::array<float, kDimensions>;

// The file is damaged or is not a fastText model.
struct MalformedModel : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A fastText model, but of a kind that only fastText itself reads.
struct UnsupportedModel : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Model {
 public:
  // Keeps pointing into `file`, which must outlive the model.
  explicit Model(std::string_view file);

  const std::vector<std::string>& labels() const { return labels_; }

  // What predictions of one batch share: words met before, with their rows.
  struct Memory {
    struct alignas(64) Entry {
      std::uint32_t hash = 0, first = 0;
      std::uint16_t count = 0;
      std::uint8_t length = 0;
      char text[53] = {};
    };
    std::vector<Entry> entries = std::vector<Entry>(1 << 14);
    std::string word;
    std::vector<std::uint32_t> rows;
    void forget();
  };

  // Position of the likeliest label; -1 where fastText gives none. A newline counts as a space.
  std::int32_t predict(std::string_view text, Memory& memory) const;

 private:
  class Reader;
  struct Word {
    std::string_view text;
    std::uint32_t hash;
    bool is_label;
    std::size_t first, last;  // its rows: a range of word_rows_
  };
  struct KeptBuckets {  // 32 buckets: which of them have a row, and how many rows come before
    std::uint32_t present = 0, before = 0;
  };
  struct Buckets {
    std::uint64_t inverse;
    std::uint32_t count, first_row;
    const KeptBuckets* kept;  // null when every bucket has a row
    bool place(std::uint32_t hash, std::uint32_t* row) const;
  };
  struct Node {
    std::int32_t left = -1, right = -1;
    std::int64_t count = 0;
    Vector weights{};
  };
  struct Sum {
    Vector vector{};
    std::size_t rows = 0;
  };
  struct Best;

  void read_dictionary(Reader& reader);
  void read_pruned_buckets(Reader& reader, std::int64_t count);
  void read_dense_input(Reader& reader);
  void read_quantized_input(Reader& reader);
  void read_output(Reader& reader);
  void build_tree();
  void measure_tree(std::int32_t node, int depth, float& largest);

  const Word* find(std::string_view text, std::uint32_t hash) const;
  void add_word(std::string_view text, std::uint32_t hash, Memory& memory, Sum& sum) const;
  void add_rows(const std::uint32_t* rows, std::size_t count, Sum& sum) const;
  void recall(std::string_view text, std::uint32_t hash, Memory& memory, Sum& sum) const;
  void add_subwords(std::string_view text, std::string& word, std::vector<std::uint32_t>& rows) const;
  std::int32_t likeliest(const Vector& hidden) const;
  void search(std::int32_t node, float score, const Vector& hidden, Best& best) const;
  void search_fast(std::int32_t node, float probability, const Vector& hidden, Best& best, float cut) const;

  std::int32_t bucket_count_ = 0, min_n_ = 0, max_n_ = 0;
  std::uint64_t bucket_inverse_ = 0;
  std::uint32_t word_count_ = 0;
  bool has_buckets_ = true;
  std::vector<KeptBuckets> kept_;  // empty when every bucket has a row
  std::vector<std::uint32_t> kept_rows_;  // while loading: the file's row of each kept bucket
  std::vector<Word> words_;
  std::vector<std::int32_t> slots_;  // open addressing: position in words_, or -1
  std::vector<std::uint32_t> word_rows_;
  std::vector<std::string> labels_;
  std::vector<Vector> dequantized_;
  const char* input_ = nullptr;  // rows of kDimensions float32, not necessarily aligned
  std::size_t input_rows_ = 0;
  std::vector<Node> tree_;  // leaves first, the root last
  int depth_ = 0;
  float largest_weight_ = 0;
};

}  // namespace datacup
